"""Tell the body from the background, and cut an image to the box around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.transforms.resize import resize

__all__ = ["crop_foreground", "foreground_threshold"]

_PADDING_HU, _AIR_HU, _BODY_HU = -4096.0, -900.0, -500.0
_REDUCED = {True: 256, False: 64}  # longest side on which a flat image or a volume is looked at
_BESIDE = 0.1  # a part of at least this share of the largest is body too: the other leg, the other breast
_DARK, _QUIET = 0.4, 0.06  # a background is so dark and so even, as shares of the range of square roots
_LEAST_SHARE = 0.01  # a smaller box is a marker on an empty film, not a body


def foreground_threshold(data: NDArray[Any]) -> float:
    """The stored value above which a voxel of (C, K, J, I) is taken for body.

    A least value from -4096 to -900 is that of Hounsfield units, of air or of the padding around a scan:
    there the body begins at -500. Elsewhere it is Otsu's threshold (1979) on square roots, halved, so that
    faint tissue beside bright is body too, but above the noise of the background at the rim.

    >>> foreground_threshold(np.repeat([0, 900], 8).astype(np.uint16).reshape(1, 1, 4, 4)) < 450
    True
    """
    return _threshold(_reduced(data))


def crop_foreground(data: NDArray[Any], *, margin: float = 0.02) -> NDArray[Any]:
    """Cut (C, K, J, I) to the box around the body, along every axis; a view, nothing is copied.

    Only the largest connected part counts, and others of a tenth of its size: a marker beside the body does
    not widen the box. `margin` is added on every side as a fraction of the box. Where no body stands out
    from a background, the image is returned whole.

    >>> x = np.zeros((1, 1, 20, 20), np.uint8); x[..., 5:15, 0:10] = 200
    >>> crop_foreground(x, margin=0).shape
    (1, 1, 10, 10)
    """
    reduced = _reduced(data)
    mask = reduced > _threshold(reduced)
    box = _box(mask)
    if box is None:
        return data
    cut = [slice(None)]
    for part, cells, full in zip(box, mask.shape, data.shape[1:], strict=True):
        size = full / cells
        wide = int(margin * (part.stop - part.start) * size) + (size > 1)
        cut.append(
            slice(
                max(0, int(np.floor(part.start * size)) - wide),
                min(full, int(np.ceil(part.stop * size)) + wide),
            )
        )
    return data[tuple(cut)]


def _threshold(values: NDArray[np.float32]) -> float:
    import cv2

    if _PADDING_HU <= float(values.min()) <= _AIR_HU:
        return _BODY_HU
    low, high = (float(v) for v in np.percentile(values, (0.1, 99.5)))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        return low
    roots = np.sqrt(np.clip((values - low) / (high - low), 0, 1))
    level = np.rint(roots * 255).astype(np.uint8).reshape(values.shape[0], -1)
    found, _ = cv2.threshold(level, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    chosen = max(0.5 * found, min(_noise(level.reshape(values.shape), found), found))
    return float(low + (high - low) * (chosen / 255) ** 2)


def _noise(level: NDArray[np.uint8], found: float) -> float:
    """Up to where the background's noise reaches at the rim of the image; 0 where the rim shows none."""
    faces = [np.take(level, (0, -1), axis).ravel() for axis in range(3) if level.shape[axis] > 1]
    rim = np.concatenate(faces) if faces else level.ravel()
    dark = rim[rim <= found].astype(np.float64)
    if not dark.size:
        return 0.0
    middle = float(np.median(dark))
    spread = 1.4826 * float(np.median(np.abs(dark - middle)))
    return middle + 3 * spread if middle <= _DARK * 255 and spread <= _QUIET * 255 else 0.0


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """The box (k, j, i) of the body among the connected parts; None if there is no body to cut to."""
    from scipy import ndimage

    parts, count = ndimage.label(mask, np.ones((3, 3, 3), bool))
    if count == 0 or mask.all():
        return None
    sizes = np.bincount(parts.ravel())[1:]
    kept = np.flatnonzero(sizes >= _BESIDE * sizes.max())
    boxes = ndimage.find_objects(parts)
    box = tuple(
        slice(min(boxes[n][axis].start for n in kept), max(boxes[n][axis].stop for n in kept))
        for axis in range(mask.ndim)
    )
    held = np.prod([(s.stop - s.start) / n for s, n in zip(box, mask.shape, strict=True)])
    return None if held < _LEAST_SHARE else box


def _reduced(data: NDArray[Any]) -> NDArray[np.float32]:
    """The mean of the channels (K, J, I), averaged down to a size that is quick to look at and quiet."""
    most = _REDUCED[data.shape[1] == 1]
    k, j, i = (min(n, most) for n in data.shape[1:])
    small = resize(data, (k, j, i), interpolation="area").astype(np.float32)
    return np.asarray(small.mean(0))
