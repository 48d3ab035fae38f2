"""What was found in cases and what a reader marked there, in millimetres along the axes of each image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.metrics.detection_objects import Boxes, Spheres

__all__ = ["Detected"]


@dataclass(frozen=True, slots=True)
class Detected:
    """Candidates and lesions of N cases; the `image` of an object is the row of its case.

    Both are spheres or both boxes, in `unit` ("mm" along (k, j, i) of the image, or "pixel" where no spacing
    is known); `candidate_class` and `lesion_class` are numbers of `classes`. `candidate_mm` and `lesion_mm`
    are diameters. `match` and `match_iou` are the plan's rule of a hit. `patients`, `groups` and `kind` as in
    a table of predictions.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    candidates: Spheres | Boxes
    lesions: Spheres | Boxes
    candidate_class: NDArray[np.int64]
    lesion_class: NDArray[np.int64]
    candidate_mm: NDArray[np.float64]
    lesion_mm: NDArray[np.float64]
    match: str = "centre"
    match_iou: float = 0.1
    unit: str = "mm"
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kind: str = "test"
    patients_known: bool = True

    def __post_init__(self) -> None:
        n = len(self.ids)
        if len(self.patients) != n or any(len(g) != n for g in self.groups.values()):
            raise BadInput(f"a table of detections in {n} cases has columns of other lengths")

    def __len__(self) -> int:
        return len(self.ids)
