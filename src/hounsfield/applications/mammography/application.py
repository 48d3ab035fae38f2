"""Mammography: malignant or not, per image; its phantom, and the marker test its report must show."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hounsfield.applications.catalogue import Application
from hounsfield.applications.mammography.clinical import screening
from hounsfield.applications.mammography.marker import burn_marker, erase_marker
from hounsfield.applications.mammography.phantom import write_cohort
from hounsfield.applications.modality import accepts_only
from hounsfield.core.case import Case
from hounsfield.steps.design import Detail
from hounsfield.steps.gather import Question
from hounsfield.steps.intervene import Intervention

__all__ = ["mammography"]

accepts_mammograms = accepts_only("mammography", "mammograms", modalities=("MG",), flat=True)


def mammography() -> Application:
    """The application with its question, its phantom and its interventions."""
    return Application(
        name="mammography",
        title="Mammography: malignant or not",
        write_cohort=write_cohort,
        patients=120,
        question=Question(target=("malignant",), groups=("marker", "density"), test_fraction=0.3),
        interventions=(
            Intervention(
                "marker_inserted",
                "the marker of site B was put into images that have none; the breast was not touched",
                _inserted,
            ),
            Intervention(
                "marker_removed",
                "the marker was wiped out of the images that have one; the breast was not touched",
                _removed,
            ),
        ),
        accepts=accepts_mammograms,
        clinical=screening,
        detail=Detail(
            side=400.0,
            changes=(
                ("network.name", "attention"),
                ("network.width", 16),
                ("network.depth", 4),
                ("input.fit", "pad"),
                ("fit.learning_rate", 3e-3),
                ("fit.batch_size", 16),
            ),
            why="a finding is small in the picture of a breast: attention looks for it, its shape is kept",
        ),
        full_patients=300,
        full_minutes=40.0,
        full_changes=(("input.size", (1, 448, 352)),),
        phantom_changes=(
            # The whole picture is kept, marker and all: the demo is to show what the marker does, in seconds.
            ("input.crop_foreground", False),
            ("input.size", (1, 160, 128)),
            ("input.fit", "stretch"),
            ("network.name", "plain"),
            ("network.width", 16),
            ("network.depth", 3),
            ("fit.learning_rate", 1e-2),
            ("fit.batch_size", 64),
        ),
    )


def _inserted(image: NDArray[Any], case: Case) -> NDArray[Any] | None:
    series = case.images[0]
    if case.groups.get("marker") != "0":
        return None
    return burn_marker(image, laterality=series.laterality, view=series.view)  # type: ignore[arg-type]


def _removed(image: NDArray[Any], case: Case) -> NDArray[Any] | None:
    series = case.images[0]
    if case.groups.get("marker") != "1":
        return None
    return erase_marker(image, laterality=series.laterality, view=series.view)  # type: ignore[arg-type]
