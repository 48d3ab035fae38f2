"""Chest CT: is a malignant nodule there or not, per series; and its phantom."""

from __future__ import annotations

from hounsfield.applications.catalogue import Application
from hounsfield.applications.chest_ct.phantom import write_cohort
from hounsfield.steps.gather import Question

__all__ = ["chest_ct"]


def chest_ct() -> Application:
    """The application with its question and its phantom; `annotations.csv` says where each nodule lies."""
    return Application(
        name="chest-ct",
        title="Chest CT: a malignant nodule or none",
        write_cohort=write_cohort,
        patients=100,
        question=Question(target=("malignant",), groups=("kernel",), test_fraction=0.3),
    )
