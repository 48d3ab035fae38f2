"""Where objects lie in images of visits: as readers marked them, or as a model of detection finds them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.volume import Volume
from hounsfield.steps.following import Places

if TYPE_CHECKING:
    from hounsfield.io.source import Source

__all__ = ["places_by_model", "places_by_readers"]


def places_by_readers(marks: str, index: Index) -> Places:
    """The marked places of a file or folder; BadInput where it marks no image of the index."""
    from hounsfield.steps.detection.annotations import read_marks

    held = read_marks(marks, index).by_series

    def places(series: Series, volume: Volume) -> NDArray[np.float64]:  # noqa: ARG001
        found = [m.centre for m in held.get(series.id, ()) if not m.excluded]
        return np.array(found, np.float64).reshape(-1, 3)

    return places


def places_by_model(run: Path, source: Source) -> Places:
    """What the model of a run calls at its score; BadInput where the model does not detect."""
    from hounsfield.io.model_store import read_model
    from hounsfield.steps.detection.predict import located_cases

    model = read_model(run)
    if model.plan.task != "detection":
        raise BadInput(
            f"{run.name} holds a model of {model.plan.task}; expected one that finds objects; give the "
            "run of hu train --task detection"
        )
    least = model.operating_point.values[0]

    def places(series: Series, volume: Volume) -> NDArray[np.float64]:  # noqa: ARG001
        case = Case(series.id, series.patient or series.id, (series,))
        (_, _, found), *_ = located_cases(model, source, [case])
        return found.centre[found.score >= least]

    return places
