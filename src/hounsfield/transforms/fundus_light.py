"""The light of a fundus photograph evened out: each channel beside its own surroundings.

Flash, iris, lens and camera multiply what the retina gives back by factors that vary slowly, and blood takes
light away by a factor too. So the part by which a pixel differs from the mean about it is that of the retina
alone: a camera's colour cast and the fall-off of light divide out. Graham (Kaggle Diabetic Retinopathy
Detection 2015, report of the winner) subtracts the local mean and multiplies by 4; dividing by it, as
luminosity and contrast are normalised by Foracchia, Grisan & Ruggeri (Med Image Anal 2005;9:179), makes a
dark photograph as good as a bright one. His mean takes in the black around the circle, this one does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.transforms.field_of_view import disc_of

__all__ = ["even_light"]

_DARK = 0.02  # of the range: so dark that what is left is noise of the sensor


def even_light(data: NDArray[Any], *, width: float = 0.12, contrast: float = 1.0) -> NDArray[Any]:
    """A photograph (C, 1, D, D) cropped to its field, each channel as its contrast with its surroundings.

    The middle of the type's range means "as its surroundings", 0 "all light taken away", the top twice as
    bright or more (at `contrast` 1, which multiplies the difference); outside the circle the middle stands
    too. `width` is the spread of the surroundings in radii: wider, light is left uneven; narrower, large
    haemorrhages fade (Graham's is 1/30). Whole numbers only; their range is that of their type, or of the
    bits that the image uses.

    >>> even = even_light(np.full((3, 1, 32, 32), 77, np.uint8))
    >>> bool((even == 128).all()), even.dtype
    (True, dtype('uint8'))
    """
    import cv2

    most = _most(data)
    side = data.shape[2]
    disc = _shown(data)
    weight = disc.astype(np.float32)
    shrink = max(1, int(width * side / 16))  # the mean is smooth: an eighth of its spread is fine enough
    small = (max(1, data.shape[3] // shrink), max(1, data.shape[2] // shrink))
    spread = width * side / 2 / shrink
    held = cv2.GaussianBlur(cv2.resize(weight, small, interpolation=cv2.INTER_AREA), (0, 0), spread)
    out = np.empty_like(data)
    for channel in range(data.shape[0]):
        plane = data[channel, 0].astype(np.float32) * weight
        mean = cv2.GaussianBlur(cv2.resize(plane, small, interpolation=cv2.INTER_AREA), (0, 0), spread)
        mean /= np.maximum(held, 1e-3)
        mean = cv2.resize(mean, (data.shape[3], data.shape[2]), interpolation=cv2.INTER_LINEAR)
        parts = contrast * (plane - mean) / (mean + _DARK * most)
        parts[~disc] = 0
        half = (most + 1) / 2
        out[channel, 0] = np.clip(np.rint(half * (1 + parts)), 0, most).astype(data.dtype)
    return out


def _shown(data: NDArray[Any]) -> NDArray[np.bool_]:
    """The circle of a square, less the rows and columns that the sensor cut off: they hold nothing at all."""
    lit = data[:, 0].any(0)
    seen: NDArray[np.bool_] = lit.any(1)[:, None] & lit.any(0)[None]
    return seen & disc_of(data.shape[2]) if data.shape[2] == data.shape[3] else seen


def _most(data: NDArray[Any]) -> float:
    """The top of the range that an image uses: of 8 bits 255, of more the next power of two less one."""
    if data.dtype.itemsize == 1:
        return float(np.iinfo(data.dtype).max)
    return float(2 ** int(np.ceil(np.log2(max(float(data.max()), 255.0) + 1))) - 1)
