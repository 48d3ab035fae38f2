"""Lung nodules in CT: found in 3D, measured, listed, followed; and their phantom."""

from __future__ import annotations

from hounsfield.applications.catalogue import Application
from hounsfield.applications.chest_ct.phantom import write_cohort
from hounsfield.applications.modality import accepts_only
from hounsfield.applications.nodule.clinical import reading
from hounsfield.applications.nodule.follow import follow_nodules
from hounsfield.steps.gather import Question

__all__ = ["nodule"]


def nodule() -> Application:
    """The application; its phantom's annotations.csv says where each nodule lies."""
    return Application(
        name="nodule",
        title="Lung nodules in CT",
        write_cohort=write_cohort,
        patients=40,
        question=Question(test_fraction=0.3),
        task="detection",
        accepts=accepts_only(
            "nodule", "CT of the chest", modalities=("CT",), flat=False,
            parts=("CHEST", "LUNG", "THORAX", "THORACIC"),
        ),
        clinical=reading,
        follow=follow_nodules,
        minutes=5.0,
        full_patients=100,
        full_minutes=60.0,
    )  # fmt: skip
