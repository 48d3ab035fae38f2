"""Bring an image to the size a network expects, keeping its integer type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["pad_to_aspect", "resize"]


def resize(data: NDArray[Any], size: tuple[int, int, int], *, interpolation: str = "area") -> NDArray[Any]:
    """Resample (C, K, J, I) to (C, *size); `interpolation` is "area", "linear" or "cubic".

    "area" averages where an axis shrinks and is linear where it grows; "linear" and "cubic" widen their
    kernel where an axis shrinks, slices too, so that nothing aliases. Integers are rounded and clipped to
    their type.

    >>> resize(np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4), (1, 2, 2))[0, 0].tolist()
    [[2, 4], [10, 12]]
    """
    if data.shape[1:] == size:
        return data
    if interpolation != "area":
        from hounsfield.transforms.separable import resampled

        smooth = resampled(data.astype(np.float32), size, interpolation=interpolation)
        return _as_type(smooth, data.dtype)
    flat = data
    if (size[1] - data.shape[2]) * (size[2] - data.shape[3]) < 0:
        # OpenCV averages only where both axes shrink: one axis at a time where one shrinks and one grows
        flat = _resize_planes(flat, size[1], data.shape[3])
    flat = _resize_planes(flat, size[1], size[2])
    if flat.shape[1] != size[0]:
        flat = _resize_slices(flat, size[0])
    return _as_type(flat, data.dtype)


def pad_to_aspect(data: NDArray[Any], size: tuple[int, int, int]) -> NDArray[Any]:
    """Pad rows or columns with the least value so that (J, I) has the aspect of `size`.

    >>> pad_to_aspect(np.ones((1, 1, 4, 2), np.uint8), (1, 8, 8)).shape
    (1, 1, 4, 4)
    """
    rows, columns = data.shape[2:]
    want_columns = max(columns, round(rows * size[2] / size[1]))
    want_rows = max(rows, round(columns * size[1] / size[2]))
    if want_columns > columns:
        want_rows = rows
    top, left = (want_rows - rows) // 2, (want_columns - columns) // 2
    around = ((0, 0), (0, 0), (top, want_rows - rows - top), (left, want_columns - columns - left))
    return np.pad(data, around, constant_values=data.min())


def _resize_planes(data: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    import cv2

    shrinks = rows < data.shape[2] or columns < data.shape[3]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    out = np.empty((data.shape[0], data.shape[1], rows, columns), np.float32)
    for c in range(data.shape[0]):
        for k in range(data.shape[1]):
            plane = np.ascontiguousarray(data[c, k], np.float32)
            out[c, k] = cv2.resize(plane, (columns, rows), interpolation=method)
    return out


def _resize_slices(data: NDArray[Any], slices: int) -> NDArray[Any]:
    """Along k: averaging where slices become fewer, linear where they become more."""
    import cv2

    channels, old, rows, columns = data.shape
    method = cv2.INTER_AREA if slices < old else cv2.INTER_LINEAR
    out = np.empty((channels, slices, rows, columns), np.float32)
    width = 1 << 14  # OpenCV's remapping takes at most 32,767 columns at once
    for c in range(channels):
        table = data[c].reshape(old, rows * columns)
        resized = [
            cv2.resize(
                table[:, s : s + width], (min(width, table.shape[1] - s), slices), interpolation=method
            )
            for s in range(0, table.shape[1], width)
        ]
        out[c] = np.concatenate(resized, 1).reshape(slices, rows, columns)
    return out


def _as_type(data: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind not in "iu":
        return data.astype(dtype)
    limits = np.iinfo(dtype)
    if dtype.itemsize > 2:  # the limits of wide integers are no numbers of float32
        data = data.astype(np.float64)
    return np.clip(np.rint(data), limits.min, limits.max).astype(dtype)
