"""Objects as a source of annotations gives them, and grids of images, which turn millimetres into voxels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.io.catalogue import read_volume
from hounsfield.io.source import Source

__all__ = ["Drawn", "Grids", "Told", "box_of_points", "spacing_of", "voxels_of"]

Triple = tuple[float, float, float]
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drawn:
    """An object in the voxels (k, j, i) of the image `series` (its id), and the name of its class.

    The other fields are those of `Marked`.
    """

    series: str
    name: str
    centre: Triple
    size: Triple
    shape: Literal["sphere", "box"] = "box"
    diameter_mm: float | None = None
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """All that a source says: its objects, the ids of the images that it speaks of, and what to know of it.

    `names` are class names in the source's own order, where it lists them. Where `others` is True it may
    hold objects that nobody asked for (the organs of a structure set), which are then left out; else a name
    that is not among the classes is a fault.
    """

    objects: tuple[Drawn, ...]
    images: frozenset[str]
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = field(default=())
    others: bool = False


class Grids:
    """The affines of the images of an index, read when they are asked for; a context manager."""

    def __init__(self, index: Index) -> None:
        self._source = Source(index.source)
        self._affines: dict[str, Points] = {}

    def affine(self, series: Series) -> Points:
        """Voxel (i, j, k) to LPS mm, (4, 4). Raises BadInput where the image has no place in millimetres."""
        if series.id not in self._affines:
            if series.affine:
                self._affines[series.id] = np.reshape(np.array(series.affine, np.float64), (4, 4))
            else:
                volume = read_volume(self._source, series)
                if not volume.spacing_known:
                    raise BadInput(
                        f"image {series.id} has no spacing, and the annotations are in millimetres; expected "
                        "images with a place in the patient; give annotations in pixels"
                    )
                self._affines[series.id] = volume.affine
        return self._affines[series.id]

    def voxels(self, series: Series, points_mm: Points) -> Points:
        """Points (N, 3) in LPS mm as voxels (k, j, i) of the image."""
        return voxels_of(points_mm, self.affine(series))

    @property
    def source(self) -> Source:
        return self._source

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.close()


def voxels_of(points_mm: Points, affine: Points) -> Points:
    """Points (N, 3) in LPS mm as voxels (k, j, i), by the inverse of an affine from (i, j, k).

    >>> voxels_of(np.array([[1.0, 4.0, 10.0]]), np.diag([0.5, 2.0, 5.0, 1.0])).tolist()
    [[2.0, 2.0, 2.0]]
    """
    inverse = np.linalg.inv(affine)
    return np.asarray((points_mm @ inverse[:3, :3].T + inverse[:3, 3])[:, ::-1])


def spacing_of(affine: Points) -> Points:
    """The lengths of a voxel (k, j, i) in mm."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0)[::-1])


def box_of_points(points: Points, *, margin: Iterable[float] = (0.0, 0.0, 0.0)) -> tuple[Triple, Triple]:
    """Centre and size of the box around points (N, 3), wider by `margin` on either side of each axis.

    >>> box_of_points(np.array([[0.0, 1, 1], [2, 1, 5]]), margin=(0.5, 0.5, 0.5))
    ((1.0, 1.0, 3.0), (3.0, 1.0, 5.0))
    """
    wide = np.array(list(margin))
    low, high = points.min(axis=0) - wide, points.max(axis=0) + wide
    centre, size = (low + high) / 2, high - low
    return (
        (float(centre[0]), float(centre[1]), float(centre[2])),
        (float(size[0]), float(size[1]), float(size[2])),
    )
