"""Brain MRI over several visits: who declines, and how much brain is lost; and its phantom."""

from __future__ import annotations

from hounsfield.applications.brain_mri.follow import follow_brains
from hounsfield.applications.brain_mri.phantom import write_cohort
from hounsfield.applications.catalogue import Application
from hounsfield.applications.modality import accepts_only
from hounsfield.steps.gather import Question

__all__ = ["atrophy"]


def atrophy() -> Application:
    """The application with its question and its phantom; `labels.csv` says what each visit lost in truth."""
    return Application(
        name="atrophy",
        title="Brain MRI: normal, mild impairment or dementia",
        write_cohort=write_cohort,
        patients=6,
        question=Question(target=("diagnosis",), on="series_uid", groups=("site", "sex"), test_fraction=0.3),
        accepts=accepts_only(
            "atrophy", "MRI of the head", modalities=("MR",), flat=False, parts=("HEAD", "BRAIN", "SKULL")
        ),
        follow=follow_brains,
        demo="follow",
        full_patients=60,
    )
