"""The report's figures: SVG whose colours come from the page, so that they suit dark, light and print."""

from hounsfield.steps.figures.agreement import agreement
from hounsfield.steps.figures.curves import calibration, precision_recall, roc, scores
from hounsfield.steps.figures.decision import decision_curve, predictive_values
from hounsfield.steps.figures.forest import forest_blocks, forest_rows
from hounsfield.steps.figures.froc import froc
from hounsfield.steps.figures.hundred import hundred
from hounsfield.steps.figures.learning import learning
from hounsfield.steps.figures.outlines import dice_by_volume, dice_strips
from hounsfield.steps.figures.panels import data_uris
from hounsfield.steps.figures.plot import plot
from hounsfield.steps.figures.reliance import risk_coverage, robustness

__all__ = [
    "agreement",
    "calibration",
    "data_uris",
    "decision_curve",
    "dice_by_volume",
    "dice_strips",
    "forest_blocks",
    "forest_rows",
    "froc",
    "hundred",
    "learning",
    "plot",
    "precision_recall",
    "predictive_values",
    "risk_coverage",
    "robustness",
    "roc",
    "scores",
]
