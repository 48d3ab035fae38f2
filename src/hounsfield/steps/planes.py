"""A volume seen from the front, the side and above: three planes with the letters of the patient's sides.

Patient axes are DICOM's: x to the left, y to the back, z to the head. An oblique volume is not resampled:
its own axes are shown, each under the name of the patient axis nearest to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.steps.view import WrongView

__all__ = ["PLANES", "Upright", "cut", "edge_letters", "upright"]

PLANES = ("axial", "coronal", "sagittal")
_TOWARDS = (("R", "L"), ("A", "P"), ("F", "H"))


@dataclass(frozen=True, slots=True, eq=False)
class Upright:
    """Values with axes (C, head, back, left), each growing in that direction; a view, nothing is copied.

    `spacing_mm` belongs to (head, back, left), `middle` is the voxel asked for on the same axes, and
    `oblique_deg` the largest angle between an axis of the volume and the patient axis it is shown as.
    `sheared` is True where the axes are not perpendicular: a tilted gantry.
    """

    values: NDArray[Any]
    spacing_mm: tuple[float, float, float]
    middle: tuple[int, int, int]
    oblique_deg: float
    sheared: bool


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One plane: values (C, H, W), size of a pixel in mm (down, across), letters left, right, top, bottom."""

    name: str
    values: NDArray[Any]
    pixel_mm: tuple[float, float]
    letters: tuple[str, str, str, str]
    number: int
    count: int


def upright(
    values: NDArray[Any], affine: NDArray[np.float64], *, at: tuple[int, int, int] | None = None
) -> Upright:
    """Turn a volume (C, K, J, I) by right angles so that its axes run to head, back and left.

    `at` is a voxel (i, j, k), the middle if None. Raises WrongView where it lies outside.

    >>> import numpy as np
    >>> seen = upright(np.arange(6).reshape(1, 1, 2, 3), np.diag([-1.0, 1.0, 2.0, 1.0]))
    >>> seen.values[0, 0, 0].tolist(), seen.spacing_mm
    ([2, 1, 0], (2.0, 1.0, 1.0))
    """
    sizes = values.shape[:0:-1]  # along i, j, k
    at = at or (sizes[0] // 2, sizes[1] // 2, sizes[2] // 2)
    if any(not 0 <= a < n for a, n in zip(at, sizes, strict=True)):
        raise WrongView(
            f"the voxel {','.join(map(str, at))} was asked for in a volume of "
            f"{'×'.join(map(str, sizes))}; expected i,j,k from 0 to below these"
        )
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / np.where(lengths > 0, lengths, 1)
    order = max(permutations(range(3)), key=lambda p: sum(abs(directions[w, p[w]]) for w in range(3)))
    turned = np.transpose(values, (0, 3 - order[2], 3 - order[1], 3 - order[0]))
    backwards = [directions[w, order[w]] < 0 for w in range(3)]
    flips = tuple(slice(None, None, -1 if backwards[w] else 1) for w in (2, 1, 0))
    middle = [sizes[order[w]] - 1 - at[order[w]] if backwards[w] else at[order[w]] for w in range(3)]
    cosines = [min(1.0, abs(float(directions[w, order[w]]))) for w in range(3)]
    skew = np.abs(directions.T @ directions - np.eye(3)).max()
    return Upright(
        turned[(slice(None), *flips)],
        (float(lengths[order[2]]), float(lengths[order[1]]), float(lengths[order[0]])),
        (middle[2], middle[1], middle[0]),
        float(np.degrees(np.arccos(min(cosines)))),
        bool(skew > 0.005),
    )


def cut(seen: Upright, plane: str) -> Cut:
    """One of the three planes through the middle, as radiologists hang it: the patient's right on the left.

    >>> import numpy as np
    >>> cut(upright(np.zeros((1, 4, 5, 6)), np.eye(4)), "sagittal").letters
    ('A', 'P', 'H', 'F')
    """
    head, back, left = seen.middle
    z, y, x = seen.spacing_mm
    if plane == "axial":
        shown, pixel, letters, axis = seen.values[:, head], (y, x), ("R", "L", "A", "P"), 1
    elif plane == "coronal":
        shown, pixel, letters, axis = seen.values[:, ::-1, back], (z, x), ("R", "L", "H", "F"), 2
    else:
        shown, pixel, letters, axis = seen.values[:, ::-1, :, left], (z, y), ("A", "P", "H", "F"), 3
    return Cut(plane, shown, pixel, letters, seen.middle[axis - 1] + 1, seen.values.shape[axis])


def edge_letters(affine: NDArray[np.float64]) -> tuple[str, str, str, str]:
    """Left, right, top and bottom of a slice as stored, each by the nearest patient axis.

    >>> import numpy as np
    >>> edge_letters(np.eye(4))
    ('R', 'L', 'A', 'P')
    """
    ends = []
    for column in (0, 1):
        direction = affine[:3, column]
        axis = int(np.argmax(np.abs(direction)))
        ends.append(_TOWARDS[axis][:: 1 if direction[axis] > 0 else -1])
    return ends[0][0], ends[0][1], ends[1][0], ends[1][1]
