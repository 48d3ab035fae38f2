"""The report's figures: SVG whose colours come from the page, so that they suit dark, light and print."""

from hounsfield.steps.figures.curves import calibration, precision_recall, roc, scores
from hounsfield.steps.figures.decision import decision_curve, predictive_values
from hounsfield.steps.figures.forest import forest_blocks, forest_rows
from hounsfield.steps.figures.hundred import hundred
from hounsfield.steps.figures.learning import learning
from hounsfield.steps.figures.panels import data_uris
from hounsfield.steps.figures.reliance import risk_coverage, robustness

__all__ = [
    "calibration",
    "data_uris",
    "decision_curve",
    "forest_blocks",
    "forest_rows",
    "hundred",
    "learning",
    "precision_recall",
    "predictive_values",
    "risk_coverage",
    "robustness",
    "roc",
    "scores",
]
