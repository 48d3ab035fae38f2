"""Brain MRI over several visits: who declines, and how much brain is lost; and its phantom."""

from __future__ import annotations

from hounsfield.applications.brain_mri.phantom import write_cohort
from hounsfield.applications.catalogue import Application
from hounsfield.steps.gather import Question

__all__ = ["atrophy"]


def atrophy() -> Application:
    """The application with its question and its phantom; `labels.csv` says what each visit lost in truth."""
    return Application(
        name="atrophy",
        title="Brain MRI: normal, mild impairment or dementia",
        write_cohort=write_cohort,
        patients=60,
        question=Question(target=("diagnosis",), groups=("site", "sex"), test_fraction=0.3),
    )
