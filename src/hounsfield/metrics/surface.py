"""How far apart the surfaces of two masks lie: HD95, surface Dice, average distance, in mm.

Two definitions of a surface (`surface_elements`), each with its own percentile:

* "voxels" (MONAI's): the outer voxels, each counted alike; HD95 is the larger of the two directed 95th
  percentiles, linear between ranks.
* "facets" (DeepMind's surface-distance; Nikolov, J Med Internet Res 2021;23:e26151): pieces of a
  triangulated surface, weighted by area; a directed HD95 is the first distance at which the area of all
  nearer pieces reaches 95 %, and the larger of the two is taken.

Surface Dice (NSD) is the share of both surfaces, by number or by area, that lies within the tolerance of
the other (a hair of 1e-6 of the tolerance is allowed for rounding). The average symmetric surface distance
is the mean over the elements of both surfaces together.

The rule for empty masks: where both are empty nothing is defined; where one is, the surface Dice is 0 and
distances are not defined, and the reason says which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.masks import Mask, MaskPair, check_masks
from hounsfield.metrics.patients import FloatArray

__all__ = ["Elements", "SurfaceAgreement", "measure_surface", "surface_agreement"]

Elements = Literal["voxels", "facets"]

_ROUNDING = 1 + 1e-6
_WORTH_THREADS = 200_000
_LONGEST_ROW = 15_000


@dataclass(frozen=True, slots=True)
class SurfaceAgreement:
    """The distances of two surfaces in mm and the share of them within `tolerance_mm` of each other.

    What is not defined is None, and `reason` says why. `definition` names how each number was made.
    """

    hd_mm: float | None
    hd95_mm: float | None
    assd_mm: float | None
    nsd: float | None
    tolerance_mm: float
    elements: Elements
    reason: str = ""

    @property
    def definition(self) -> str:
        """In words, for a report."""
        if self.elements == "voxels":
            return (
                "outer voxels; HD95: the larger directed 95th percentile, linear between ranks; "
                f"surface Dice at {self.tolerance_mm:g} mm by number of voxels"
            )
        return (
            "facets (marching cubes at the middles of edges); HD95: the larger directed distance that 95 % "
            f"of the area does not exceed; surface Dice at {self.tolerance_mm:g} mm by area"
        )


@dataclass(frozen=True, slots=True)
class _Surface:
    points: npt.NDArray[np.int32]
    weights: FloatArray
    gaps: npt.NDArray[np.int16]


def surface_agreement(
    prediction: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    elements: Elements = "voxels",
) -> SurfaceAgreement:
    """Compare the surfaces of two masks of zeros and ones, (K, J, I) or (J, I), voxels of `spacing_mm`.

    What lies beyond the image counts as outside. The tolerance belongs to the question: the deviation
    that two readers show, or that changes nothing for the patient. Raises BadInput for other input.

    >>> import numpy as np
    >>> mask = np.zeros((6, 6, 6), bool)
    >>> mask[1:4, 1:4, 1:4] = True
    >>> found = surface_agreement(np.roll(mask, 1, 2), mask, spacing_mm=(3.0, 1.0, 2.0), tolerance_mm=1.0)
    >>> found.hd95_mm, round(found.nsd, 4)
    (2.0, 0.6538)
    """
    pair = check_masks(prediction, reference, spacing_mm=spacing_mm)
    return measure_surface(pair, tolerance_mm=tolerance_mm, elements=elements)


def measure_surface(
    pair: MaskPair, *, tolerance_mm: float, elements: Elements = "voxels"
) -> SurfaceAgreement:
    """The same for masks that were checked before.

    >>> import numpy as np
    >>> empty, one = np.zeros((3, 3), bool), np.eye(3, dtype=bool)
    >>> measure_surface(check_masks(empty, one, spacing_mm=(1, 1)), tolerance_mm=1.0).reason
    'the prediction is empty: its distance is not defined'
    """
    if elements not in ("voxels", "facets"):
        raise BadInput(f'the elements are "{elements}"; expected "voxels" or "facets".')
    if not 0 <= tolerance_mm < np.inf:
        raise BadInput(f"the tolerance is {tolerance_mm:g} mm; expected a length of 0 mm or more.")
    if max(pair.reference.shape) > _LONGEST_ROW:
        raise BadInput(f"a mask has an axis longer than {_LONGEST_ROW} voxels; compare it in parts.")
    boxes = pair.cropped()
    named = zip(("prediction", "reference"), boxes, strict=True)
    lacking = [name for name, box in named if not box.any()]
    if lacking:
        reason = f"the {lacking[0]} is empty: its distance is not defined"
        if len(lacking) == 2:
            reason = "both masks are empty: no surface to compare"
        nsd = None if len(lacking) == 2 else 0.0
        return SurfaceAgreement(None, None, None, nsd, tolerance_mm, elements, reason)
    both = _in_two_threads if boxes[0].size > _WORTH_THREADS else map
    one, two = both(lambda box: _surface(box, pair, elements), boxes)
    from hounsfield.metrics.surface_distance import distances_mm

    far = list(
        both(lambda s: distances_mm(s[0].points, s[1].gaps, pair.spacing_mm), ((one, two), (two, one)))
    )
    return _agreement(far, (one.weights, two.weights), tolerance_mm, elements)


def _agreement(
    far: Sequence[FloatArray], weights: tuple[FloatArray, FloatArray], tolerance_mm: float, elements: Elements
) -> SurfaceAgreement:
    percentile = _ranked_95 if elements == "voxels" else _weighted_95
    total = sum(float(w.sum()) for w in weights)
    near = sum(float(w[d <= tolerance_mm * _ROUNDING].sum()) for d, w in zip(far, weights, strict=True))
    mean = sum(float(d @ w) for d, w in zip(far, weights, strict=True)) / total
    robust = max(percentile(d, w) for d, w in zip(far, weights, strict=True))
    furthest = max(float(d.max()) for d in far)
    return SurfaceAgreement(furthest, robust, mean, near / total, tolerance_mm, elements)


def _surface(box: Mask, pair: MaskPair, elements: Elements) -> _Surface:
    from hounsfield.metrics.surface_distance import row_gaps
    from hounsfield.metrics.surface_elements import facets, outer_voxels

    mask = np.zeros(tuple(n + 2 for n in box.shape), np.uint8)
    mask[1:-1, 1:-1, 1:-1] = box
    if pair.flat:
        mask[0] = mask[2] = mask[1]
    if elements == "voxels":
        marks, points = outer_voxels(mask, flat=pair.flat)
        return _Surface(points, np.ones(len(points)), row_gaps(marks))
    marks, points, areas = facets(mask, pair.spacing_mm, flat=pair.flat)
    return _Surface(points, areas, row_gaps(marks))


def _ranked_95(distances: FloatArray, _: FloatArray) -> float:
    return float(np.percentile(distances, 95))


def _weighted_95(distances: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(distances)
    reached = np.cumsum(weights[order])
    at = int(np.searchsorted(reached / reached[-1], 0.95))
    return float(distances[order[min(at, len(order) - 1)]])


def _in_two_threads(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """The kernels hold no lock, so that two cores take one surface each."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, items))
