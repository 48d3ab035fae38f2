"""The report's figures: SVG whose colours come from the page, so that they suit dark, light and print."""

from hounsfield.steps.figures.curves import calibration, precision_recall, roc, scores
from hounsfield.steps.figures.forest import forest_rows
from hounsfield.steps.figures.hundred import hundred
from hounsfield.steps.figures.learning import learning
from hounsfield.steps.figures.panels import data_uris

__all__ = [
    "calibration",
    "data_uris",
    "forest_rows",
    "hundred",
    "learning",
    "precision_recall",
    "roc",
    "scores",
]
