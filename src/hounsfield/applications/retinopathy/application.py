"""Diabetic retinopathy: the grade of each eye, 0 to 4; and its phantom."""

from __future__ import annotations

from collections.abc import Sequence

from hounsfield.applications.catalogue import Application
from hounsfield.applications.modality import accepts_only
from hounsfield.applications.retinopathy.clinical import grading
from hounsfield.applications.retinopathy.phantom import write_cohort
from hounsfield.core.case import Case
from hounsfield.core.evidence import Finding
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.design import Detail
from hounsfield.steps.gather import Question
from hounsfield.steps.gradability import gradable_cases

__all__ = ["retinopathy"]


def retinopathy() -> Application:
    """The application with its question and its phantom; grades rise, so their loss is ordinal."""
    return Application(
        name="retinopathy",
        title="Diabetic retinopathy: grade 0 to 4",
        write_cohort=write_cohort,
        patients=300,
        question=Question(target=("grade",), groups=("gradable",), test_fraction=0.3),
        accepts=accepts_only(
            "retinopathy", "photographs of the fundus", modalities=("OP", "SC", "OT", "XC"), flat=True
        ),
        keeps=_gradable,
        clinical=grading,
        changes=(
            ("input.fundus", "evened"),
            ("input.normalise", "unit"),
            ("fit.loss", "ordinal"),
            ("fit.label_smoothing", 0.0),
        ),
        detail=Detail(side=256.0),  # a microaneurysm is a pixel or two wide there
        minutes=4.0,
        full_patients=600,
        full_minutes=40.0,
        full_changes=(("input.size", (1, 384, 384)),),
        phantom_changes=(
            # Microaneurysms are two or three pixels wide: the demo keeps what it can afford of them.
            ("input.size", (1, 256, 256)),
        ),
    )


def _gradable(cases: Sequence[Case], store: PixelStore) -> tuple[tuple[Case, ...], tuple[Finding, ...]]:
    kept, _, finding = gradable_cases(cases, store)
    return kept, (finding,)
