"""Bring an image to the size a network expects, keeping its integer type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["crop_foreground", "pad_to_aspect", "resize"]


def resize(data: NDArray[Any], size: tuple[int, int, int], *, interpolation: str = "area") -> NDArray[Any]:
    """Resample (C, K, J, I) to (C, *size); `interpolation` is "area", "linear" or "cubic".

    "area" averages where the image shrinks and is linear where it grows; "linear" and "cubic" are
    anti-aliased by averaging first when they shrink more than twofold. Integers are rounded and
    clipped to their type.

    >>> resize(np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4), (1, 2, 2))[0, 0].tolist()
    [[2, 4], [10, 12]]
    """
    if data.shape[1:] == size:
        return data
    flat = data
    if (size[1] - data.shape[2]) * (size[2] - data.shape[3]) < 0:
        # OpenCV averages only where both axes shrink: one axis at a time where one shrinks and one grows
        flat = _resize_planes(flat, size[1], data.shape[3], interpolation)
    flat = _resize_planes(flat, size[1], size[2], interpolation)
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


def crop_foreground(data: NDArray[Any], *, margin: float = 0.02) -> NDArray[Any]:
    """Cut (C, K, J, I) to the box around what is brighter than the background.

    The background is the darkest level, told from the rest by Otsu's threshold on the square root
    of the values (Otsu 1979); the largest connected part is kept, so a marker beside the body
    does not widen the box.

    >>> x = np.zeros((1, 1, 20, 20), np.uint8); x[..., 5:15, 0:10] = 200
    >>> crop_foreground(x, margin=0).shape
    (1, 1, 10, 10)
    """
    import cv2

    plane = data.astype(np.float32).mean((0, 1))
    scaled = np.sqrt(np.maximum(plane - plane.min(), 0))
    top = float(scaled.max())
    if top <= 0:
        return data
    level = (scaled * (255 / top)).astype(np.uint8)
    threshold, _ = cv2.threshold(level, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    mask = (level > 0.5 * threshold).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return data
    left, up, width, height, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    pad_j, pad_i = int(margin * height), int(margin * width)
    return data[:, :, max(0, up - pad_j) : up + height + pad_j, max(0, left - pad_i) : left + width + pad_i]


def _resize_planes(data: NDArray[Any], rows: int, columns: int, interpolation: str) -> NDArray[Any]:
    import cv2

    shrinks = rows < data.shape[2] or columns < data.shape[3]
    shrinks_far = 2 * rows < data.shape[2] or 2 * columns < data.shape[3]
    method = {"area": cv2.INTER_LINEAR, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}[interpolation]
    if shrinks_far or (interpolation == "area" and shrinks):
        method = cv2.INTER_AREA
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
    return np.clip(np.rint(data), limits.min, limits.max).astype(dtype)
