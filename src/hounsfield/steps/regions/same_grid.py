"""Whether a mask lies on its image's grid, how far off it is, and the labels that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.transforms.onto_grid import corner_shift_mm, same_place

__all__ = ["grid_difference", "in_order_of", "labels_of_mask", "require_same_grid_as", "voxels_coincide"]

_MOST_NAMED = 8
_SAME_VOXELS = 0.01
_MOST_LABELS = 256  # more different values than these are an image and no mask
_FULL = (255, 65535)  # what pictures of masks hold for "here"
_LARGEST = 65535


def grid_difference(first: Volume, second: Volume) -> str:
    """How far the second volume's grid is from the first's, "" where they are the same.

    They are the same where the shapes are and no corner voxel moves by over 0.01 mm and a hundredth of a
    voxel. Pictures without a known spacing are compared by their shape alone.

    >>> one = Volume(np.zeros((1, 2, 4, 4)), np.diag([1.0, 1, 5, 1]), (), True)
    >>> moved = one.affine.copy()
    >>> moved[0, 3] = 2.5
    >>> grid_difference(one, one), grid_difference(one, Volume(one.data, moved, (), True))
    ('', 'its first voxel lies 2.50 mm away')
    """
    shapes = [v.data.shape[1:] for v in (first, second)]
    parts = []
    if shapes[0] != shapes[1]:
        given, wanted = ("×".join(map(str, s)) for s in (shapes[1], shapes[0]))
        parts.append(f"it has {given} voxels (k×j×i) and not {wanted}")
    if not (first.spacing_known and second.spacing_known):
        return ", ".join(parts)
    shape = (shapes[0][0], shapes[0][1], shapes[0][2])
    if not parts and same_place(shape, first.affine, second.affine):
        return ""
    ours, theirs = first.spacing_mm, second.spacing_mm
    if any(abs(a / b - 1) > 1e-3 for a, b, n in zip(ours, theirs, shape, strict=True) if n > 1):
        given, wanted = ("×".join(f"{s:.4g}" for s in three) for three in (theirs, ours))
        parts.append(f"its spacing is {given} mm (k×j×i) and not {wanted} mm")
    begins = float(np.linalg.norm(first.affine[:3, 3] - second.affine[:3, 3]))
    if begins > 0.005:
        parts.append(f"its first voxel lies {begins:.2f} mm away")
    turned = _turned_deg(first.affine, second.affine)
    if turned > 0.05:
        parts.append(f"an axis points {turned:.1f} degrees elsewhere")
    if not parts:
        parts.append(
            f"its farthest corner lies {corner_shift_mm(shape, first.affine, second.affine):.3g} mm away"
        )
    return ", ".join(parts)


def _turned_deg(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The largest angle between an axis and its fellow."""
    one, two = (a[:3, :3] / np.maximum(np.linalg.norm(a[:3, :3], axis=0), 1e-12) for a in (first, second))
    return float(np.degrees(np.arccos(np.clip((one * two).sum(0), -1, 1))).max())


def voxels_coincide(image: Volume, mask: Volume) -> bool:
    """True where every voxel of a mask is one of the image's grid, within a hundredth of its width.

    The mask may hold a part of the image, and its axes may run in another order or backwards.

    >>> whole = Volume(np.zeros((1, 4, 4, 4)), np.eye(4), (), True)
    >>> slices = Volume(np.zeros((1, 2, 4, 4)), np.diag([1.0, 1, 3, 1]), (), True)
    >>> voxels_coincide(whole, Volume(whole.data[:, :2], np.eye(4), (), True)), voxels_coincide(whole, slices)
    (True, False)
    """
    if not (image.spacing_known and mask.spacing_known):
        return False
    try:
        matrix = np.linalg.inv(image.affine) @ mask.affine
    except np.linalg.LinAlgError:
        return False
    if not np.isfinite(matrix).all():
        return False
    whole = np.rint(matrix)
    turned = np.abs(whole[:3, :3])
    reach = np.array([*(n - 1 for n in mask.data.shape[:0:-1]), 1.0])
    stray = np.abs(matrix - whole) @ reach
    ordered = bool((turned.sum(0) == 1).all() and (turned.sum(1) == 1).all())
    return ordered and bool(stray.max() <= _SAME_VOXELS)


def in_order_of(image: Volume, mask: Volume) -> Volume:
    """A mask whose voxels are the image's in another order, in the image's; any other as it is.

    NIfTI files of a DICOM series hold its rows from the bottom up, for instance. No value is changed.

    >>> image = Volume(np.zeros((1, 1, 1, 3)), np.eye(4), (), True)
    >>> backwards = np.array([[-1.0, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> in_order_of(image, Volume(np.array([[[[1, 0, 0]]]]), backwards, (), True)).data.tolist()
    [[[[0, 0, 1]]]]
    """
    if not grid_difference(image, mask) or not voxels_coincide(image, mask):
        return mask
    if image.data[0].size != mask.data[0].size:
        return mask
    matrix = np.rint(np.linalg.inv(image.affine) @ mask.affine)[2::-1, 2::-1]  # of voxels (k, j, i)
    order = np.abs(matrix).argmax(axis=1)
    turned = mask.data.transpose(0, *(1 + order).tolist())
    for axis in range(3):
        if matrix[axis, order[axis]] < 0:
            turned = np.flip(turned, 1 + axis)
    affine = _affine_of(mask, order, matrix)
    made = Volume(np.ascontiguousarray(turned), affine, mask.source, True)
    return mask if grid_difference(image, made) else made


def _affine_of(mask: Volume, order: NDArray[np.int64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine of the mask's voxels after their axes (k, j, i) were ordered and turned round."""
    sizes, affine = mask.data.shape[1:], np.eye(4)
    begins = np.zeros(4)
    begins[3] = 1.0
    for axis in range(3):
        own = int(order[axis])
        backwards = matrix[axis, own] < 0
        affine[:3, 2 - axis] = mask.affine[:3, 2 - own] * (-1.0 if backwards else 1.0)
        begins[2 - own] = sizes[own] - 1 if backwards else 0
    affine[:3, 3] = (mask.affine @ begins)[:3]
    return affine


def require_same_grid_as(image: Volume, mask: Volume, *, what: str) -> None:
    """Raise BadInput where a mask lies on another grid than its image; `what` names the case.

    >>> picture = Volume(np.zeros((1, 1, 4, 4)), np.eye(4))
    >>> require_same_grid_as(picture, Volume(np.zeros((1, 1, 4, 5)), np.eye(4)), what="case 0007")
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: case 0007: the mask lies on another grid than its image: it has 1×4×5 \
voxels (k×j×i) and not 1×4×4; give the mask that was drawn on this image
    """
    apart = grid_difference(image, mask)
    if apart:
        offer = "give the mask that was drawn on this image"
        if image.spacing_known and mask.spacing_known:
            offer += ", or let it be resampled (nearest voxel) by --resample-masks"
        raise BadInput(f"{what}: the mask lies on another grid than its image: {apart}; {offer}")


def labels_of_mask(
    mask: Volume, *, names: Sequence[str] = (), ignore: int = -1, what: str = "the mask"
) -> NDArray[Any]:
    """The labels (K, J, I) of a mask as uint8, or uint16 where a label is above 255; 0 is nothing.

    `names` are those of the labels 1, 2, …; without any every label is taken. `ignore` is a label that may
    stand beside them. Real numbers are taken where they are whole (NIfTI often stores them so), colours where
    they are greys. A mask that says "here" by 255 or 65535, or in a picture by any one value, says 1
    where only one structure is named (or none is, and it holds 255 or 65535 alone).

    Raises BadInput, beginning with `what`, for other numbers, for labels that have no name, and for a spacing
    that is 0 or not finite. A mask of nothing is a mask.

    >>> labels_of_mask(Volume(np.array([[[[0, 255.0]]]]), np.eye(4)), names=("vessel",)).tolist()
    [[[0, 1]]]
    >>> labels_of_mask(Volume(np.array([[[[0, 0.25]]]]), np.eye(4)), names=("vessel",))
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: the mask holds 0.25; expected whole labels (0 for nothing), so \
threshold it, or save it without interpolation
    """
    _require_spacing(mask, what)
    plane = _single_channel(mask.data, what)
    values = _values(plane, what)
    given = [v for v in values if v not in (0, ignore)]
    if len(given) == 1 and _means_here(given[0], names, picture=not mask.spacing_known):
        labels: NDArray[Any] = (plane == given[0]).astype(np.uint8 if ignore < 256 else np.uint16)
        if ignore in values:
            labels[plane == ignore] = ignore
        return labels
    unknown = [v for v in given if names and v > len(names)]
    if unknown:
        shown = ", ".join(map(str, unknown[:_MOST_NAMED])) + (" …" if len(unknown) > _MOST_NAMED else "")
        raise BadInput(
            f"{what} holds labels that are not in the list ({shown}); the list has 1 to {len(names)} "
            f"({', '.join(names[:_MOST_NAMED])}): name all of them, or set the others to 0"
        )
    if len(values) > _MOST_LABELS:
        raise BadInput(
            f"{what} holds {len(values)} different values, as an image does; give a mask of label numbers"
        )
    return plane.astype(np.uint8 if max(values) < 256 else np.uint16)


def _require_spacing(mask: Volume, what: str) -> None:
    spacing = mask.spacing_mm
    if not np.isfinite(mask.affine).all() or min(spacing) <= 0:
        shown = "×".join(f"{s:g}" for s in spacing)
        raise BadInput(
            f"{what} has a spacing of {shown} mm (k×j×i); expected lengths above 0, so correct its header"
        )


def _single_channel(data: NDArray[Any], what: str) -> NDArray[Any]:
    """The one channel (K, J, I), or that of three which are equal."""
    first: NDArray[Any] = data[0]
    if len(data) in (3, 4) and all(np.array_equal(first, other) for other in data[1:3]):
        return first
    if len(data) != 1:
        raise BadInput(
            f"{what} has {len(data)} channels that differ (colours?); "
            "expected one number a voxel, so save it as a grey picture of label numbers"
        )
    return first


def _values(plane: NDArray[Any], what: str) -> list[int]:
    """The different values of a mask, rising; each one whole and from 0 to 65535."""
    if plane.dtype.kind == "b" or plane.dtype == np.uint8:
        return _counted(plane.view(np.uint8))
    if plane.dtype.kind == "f":
        odd = ~(plane == np.rint(plane)) | ~np.isfinite(plane)  # not-a-number equals nothing
        if odd.any():
            raise BadInput(
                f"{what} holds {float(plane[odd][0]):.4g}; expected whole labels (0 for nothing), so "
                "threshold it, or save it without interpolation"
            )
    low, high = (float(plane.min()), float(plane.max())) if plane.size else (0.0, 0.0)
    if low < 0 or high > _LARGEST:
        raise BadInput(
            f"{what} holds labels from {low:g} to {high:g}; expected 0 (nothing) to {_LARGEST}, so number "
            "the structures from 1"
        )
    return _counted(plane)


def _counted(plane: NDArray[Any]) -> list[int]:
    """Slice by slice: numpy counts in 8 bytes a voxel."""
    found = np.zeros(_LARGEST + 1, np.bool_)
    for part in plane:
        found[: _LARGEST + 1] |= np.bincount(part.ravel().astype(np.uint16), minlength=_LARGEST + 1) > 0
    return np.flatnonzero(found).tolist()


def _means_here(value: int, names: Sequence[str], *, picture: bool) -> bool:
    if len(names) > 1:
        return False
    return value in _FULL or (picture and len(names) == 1)
