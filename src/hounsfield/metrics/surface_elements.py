"""What a surface is made of: the outer voxels of a mask, or the facets between voxels.

Voxels: those inside that have a face neighbour (an edge neighbour in a plane image) outside; what lies
beyond the image is outside. Each counts alike.

Facets: between every eight neighbouring voxel centres lies a piece of a triangulated surface
(marching cubes with vertices at the middles of edges); its place is the middle of the eight, its weight
its area in mm2. This is the definition of DeepMind's surface-distance (Nikolov, J Med Internet Res
2021;23:e26151). In a plane image four centres enclose a piece of a line, and the weight is its length.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from hounsfield.core.compiled import compiled

__all__ = ["facet_areas_mm2", "facets", "outer_voxels"]

Marks = npt.NDArray[np.uint8]
Points = npt.NDArray[np.int32]

# One neighbourhood of each of the 14 kinds that rotation, mirror and exchange of inside and outside leave,
# and its triangles: twice four times the area projected along k, j and i, in units of voxel faces.
_KINDS: dict[int, tuple[tuple[int, int, int], ...]] = {
    0b00000000: (),
    0b00000001: ((1, 1, 1),),
    0b00000011: ((2, 2, 0),) * 2,
    0b00000110: ((1, 1, 1),) * 2,
    0b00000111: ((4, 0, 0), (2, 2, 2), (1, 1, 1)),
    0b00001111: ((4, 0, 0),) * 2,
    0b00010110: ((1, 1, 1),) * 3,
    0b00010111: ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 1)),
    0b00011000: ((1, 1, 1),) * 2,
    0b00011001: ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    0b00011011: ((1, 1, 1), (3, 3, 3), (0, 2, 2), (2, 0, 2)),
    0b00011110: ((4, 0, 0), (1, 1, 1), (2, 2, 2), (1, 1, 1)),
    0b00111100: ((2, 2, 0),) * 4,
    0b01101001: ((1, 1, 1),) * 4,
}
_BITS = np.array([[[128, 64], [32, 16]], [[8, 4], [2, 1]]])


def outer_voxels(mask: Marks, *, flat: bool) -> tuple[Marks, Points]:
    """The outer voxels of a mask (K, J, I) that a margin of zeros surrounds: as marks, and as points (P, 3).

    `flat` is for a plane image, of one slice that the margin repeats along k.

    >>> mask = np.zeros((5, 5, 5), np.uint8)
    >>> mask[1:4, 1:4, 1:4] = 1
    >>> marks, points = outer_voxels(mask, flat=False)
    >>> len(points), int(marks[2, 2, 2])
    (26, 0)
    """
    marks, count = _outer(mask, flat)
    return marks, _places(marks, count)


def facets(
    mask: Marks, spacing_mm: tuple[float, float, float], *, flat: bool
) -> tuple[Marks, Points, npt.NDArray[np.float64]]:
    """The facets of a mask (K, J, I) that a margin of zeros surrounds: marks, points (P, 3), areas (P,).

    Point (k, j, i) is the middle of the eight voxels from (k, j, i) to (k + 1, j + 1, i + 1).

    >>> mask = np.zeros((3, 3, 3), np.uint8)
    >>> mask[1, 1, 1] = 1
    >>> _, points, areas = facets(mask, (1.0, 1.0, 1.0), flat=False)
    >>> len(points), round(float(areas.sum()), 4)
    (8, 1.7321)
    """
    spacing = (1.0, *spacing_mm[1:]) if flat else spacing_mm
    codes, count = _codes(mask, flat)
    points = _places(codes, count)
    areas = facet_areas_mm2(spacing)[codes[points[:, 0], points[:, 1], points[:, 2]]]
    return codes, points, areas


def facet_areas_mm2(spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """The area of the surface (256,) within each neighbourhood of eight voxels, by its code.

    >>> facet_areas_mm2((1.0, 2.0, 3.0))[[0b00001111, 0b01010101]].tolist()
    [6.0, 2.0]
    """
    k, j, i = spacing_mm
    faces = np.array([j * i, k * i, k * j])
    return np.asarray(np.linalg.norm(_triangles() * faces, axis=2).sum(axis=1))


@cache
def _triangles() -> npt.NDArray[np.float64]:
    """Projected areas (256, 4, 3) of up to four triangles in every neighbourhood."""
    table = np.zeros((256, 4, 3))
    for code, triangles in _KINDS.items():
        inside = (code & _BITS) > 0
        for axes in permutations(range(3)):
            for mirrored in product((False, True), repeat=3):
                seen = np.flip(inside.transpose(axes), tuple(axis for axis in range(3) if mirrored[axis]))
                found = int(_BITS[seen].sum())
                for row, triangle in enumerate(triangles):
                    turned = [triangle[axis] / 8 for axis in axes]
                    table[found, row] = table[255 - found, row] = turned
    return table


@compiled
def _outer(mask, flat):  # type: ignore[no-untyped-def]
    deep, high, wide = mask.shape
    marks = np.zeros((deep, high, wide), np.uint8)
    count = 0
    for k in range(1, deep - 1):
        below, above = (k, k) if flat else (k - 1, k + 1)
        for j in range(1, high - 1):
            here, out = mask[k, j], marks[k, j]
            one, two, three, four = mask[k, j - 1], mask[k, j + 1], mask[below, j], mask[above, j]
            for i in range(1, wide - 1):
                inner = here[i - 1] & here[i + 1] & one[i] & two[i] & three[i] & four[i]
                out[i] = here[i] & (inner ^ 1)
            for i in range(1, wide - 1):
                count += out[i]
    return marks, count


@compiled
def _codes(mask, flat):  # type: ignore[no-untyped-def]
    """The code of every neighbourhood that a surface crosses, 0 elsewhere."""
    deep, high, wide = mask.shape
    codes = np.zeros((deep, high, wide), np.uint8)
    count = 0
    first, last = (1, 2) if flat else (0, deep - 1)
    for k in range(first, last):
        for j in range(high - 1):
            left = 0
            for i in range(wide):
                right = mask[k, j, i] * 64 + mask[k, j + 1, i] * 16
                right += mask[k + 1, j, i] * 4 + mask[k + 1, j + 1, i]
                code = 2 * left + right
                left = right
                if i and code and code != 255:
                    codes[k, j, i - 1] = code
                    count += 1
    return codes, count


@compiled
def _places(marks, count):  # type: ignore[no-untyped-def]
    points = np.empty((count, 3), np.int32)
    at = 0
    deep, high, wide = marks.shape
    for k in range(deep):
        for j in range(high):
            for i in range(wide):
                if marks[k, j, i]:
                    points[at, 0], points[at, 1], points[at, 2] = k, j, i
                    at += 1
    return points
