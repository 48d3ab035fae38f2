"""The report's figures: hand-drawn SVG whose colours come from the page, so they suit dark, light and print."""

from hounsfield.steps.figures.curves import calibration, precision_recall, roc, scores
from hounsfield.steps.figures.forest import Scale, mark, scale_for
from hounsfield.steps.figures.hundred import hundred
from hounsfield.steps.figures.learning import learning
from hounsfield.steps.figures.panels import data_uris

__all__ = [
    "Scale",
    "calibration",
    "data_uris",
    "hundred",
    "learning",
    "mark",
    "precision_recall",
    "roc",
    "scale_for",
    "scores",
]
