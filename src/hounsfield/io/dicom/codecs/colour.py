"""Luminance and chroma to red, green, blue (PS3.3 C.7.6.3.1.2, ITU-T T.871 clause 7), 8 bits each.

Where green lies exactly between two numbers, rounding decides: sums are rounded to float32 after each term,
as a fused multiply-add in single precision does, so that values equal those of pydicom on such machines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import compiled

__all__ = ["to_rgb"]


def to_rgb(values: NDArray[Any], *, into: NDArray[Any] | None = None) -> NDArray[np.uint8]:
    """YBR_FULL (…, 3) as uint8 to RGB, each value rounded to the nearest and held within 0 to 255.

    `into` may be `values` itself.
    """
    flat = np.ascontiguousarray(values).reshape(-1, 3)
    target = np.empty(values.shape, np.uint8) if into is None or not into.flags.c_contiguous else into
    out = target.reshape(-1, 3)
    chroma = np.arange(-128, 128, dtype=np.float64)
    red = np.floor(1.402 * chroma + 0.5).astype(np.int32)
    blue = np.floor(1.772 * chroma + 0.5).astype(np.int32)
    green_of_blue = chroma * np.float64(np.float32(-0.114 * 1.772 / 0.587))
    green_of_red = chroma * np.float64(np.float32(-0.299 * 1.402 / 0.587))
    _convert(flat, red, blue, green_of_blue, green_of_red, out)
    return target


@compiled
def _convert(
    values: NDArray[Any],
    red: NDArray[Any],
    blue: NDArray[Any],
    green_of_blue: NDArray[Any],
    green_of_red: NDArray[Any],
    out: NDArray[Any],
) -> None:
    for n in range(values.shape[0]):
        y, b, r = values[n, 0], values[n, 1], values[n, 2]
        green = np.float32(np.float64(y) + green_of_blue[b])
        green = np.float32(np.float64(green) + green_of_red[r])
        out[n, 0] = np.uint8(min(max(np.int32(y) + red[r], 0), 255))
        out[n, 1] = np.uint8(min(max(np.int32(np.floor(green + np.float32(0.5))), 0), 255))
        out[n, 2] = np.uint8(min(max(np.int32(y) + blue[b], 0), 255))
