"""The components of a structure and the holes in it, found within the box that holds it.

Voxels that touch by a face, an edge or a corner are one component; a hole is what no path through faces
leads out of. An image of one slice is a plane: its holes are those of the plane.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "boxes_of", "components", "counts", "holes"]

Box = tuple[slice, slice, slice]
Labels = NDArray[Any]
Mask = NDArray[np.bool_]


def boxes_of(labels: Labels, structures: int) -> list[Box | None]:
    """The box of each label 1 … `structures` in (K, J, I), None for one that is not there.

    >>> boxes_of(np.array([[[0, 2, 2]]]), 2)
    [None, (slice(0, 1, None), slice(0, 1, None), slice(1, 3, None))]
    """
    from scipy.ndimage import find_objects

    found: list[Box | None] = find_objects(labels, max_label=structures)
    return [*found, *[None] * (structures - len(found))]


def components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Numbers of the components (K, J, I) from 1, 0 outside, and how many voxels each one has.

    >>> components(np.array([[[1, 0, 1, 1]]], bool))[1].tolist()
    [1, 2]
    """
    from scipy.ndimage import label

    numbered, found = label(mask, np.ones((3, 3, 3), np.int8))
    return numbered, counts(numbered, found)


def counts(labels: Labels, most: int) -> NDArray[np.int64]:
    """How many voxels (K, J, I) have the labels 1 … `most`, each.

    >>> counts(np.array([[[2, 0, 2, 9]]]), 3).tolist()
    [0, 2, 0]
    """
    found = np.zeros(most + 1, np.int64)
    for plane in labels:  # numpy counts in 8 bytes a voxel
        found += np.bincount(plane.ravel(), minlength=most + 1)[: most + 1]
    return found[1:]


def holes(mask: Mask) -> Mask:
    """The voxels of a box (K, J, I) that a mask encloses; nothing that reaches the border is enclosed.

    >>> ring = np.ones((1, 3, 3), bool)
    >>> ring[0, 1, 1] = False
    >>> int(holes(ring).sum())
    1
    """
    from scipy.ndimage import label

    plane = mask.shape[0] == 1
    numbered, found = label(~mask[0] if plane else ~mask)
    open_ = np.zeros(found + 1, np.bool_)
    open_[0] = True  # the mask itself
    for axis in range(numbered.ndim):
        for end in (0, -1):
            open_[np.unique(np.take(numbered, end, axis))] = True
    return np.asarray(~open_[numbered].reshape(mask.shape))
