"""Histogram normalisation: the percentiles of an image brought to those of the development images.

L. G. Nyúl and J. K. Udupa, On standardizing the MR image intensity scale, Magn. Reson. Med. 42 (1999) 1072;
the landmarks are those of Nyúl, Udupa and Zhang, IEEE Trans. Med. Imaging 19 (2000) 143.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.transforms.foreground import foreground_threshold
from hounsfield.transforms.measures import percentiles_of

__all__ = ["PERCENTAGES", "image_landmarks", "learn_landmarks", "standardised", "to_landmarks"]

PERCENTAGES = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)
"""The percentiles of the foreground that are landmarks."""

_CLOSEST = 1e-4  # landmarks keep this distance of the scale of 1, so that no two grey values fall together
_BOUNDS = (-1.0, 3.0)  # what lies this far outside the landmarks is clipped


def image_landmarks(data: NDArray[Any]) -> NDArray[np.float64]:
    """The landmarks (11,) of one image (C, K, J, I), in stored values, measured on its foreground.

    >>> image_landmarks(np.arange(1024, dtype=np.uint16).reshape(1, 1, 32, 32)).shape
    (11,)
    """
    inside = data[:, data.astype(np.float32).mean(0) > foreground_threshold(data)]
    return percentiles_of(inside if inside.size else data, PERCENTAGES)


def learn_landmarks(images: Iterable[NDArray[Any]]) -> tuple[float, ...]:
    """The standard scale: the mean of the images' landmarks, each image's first at 0 and its last at 1.

    Give development images only. Raises BadInput where none has a foreground of more than one value.

    >>> learn_landmarks([np.arange(2048, dtype=np.uint16).reshape(2, 1, 32, 32)])[::5]
    (0.0, 0.5, 1.0)
    """
    return standardised(image_landmarks(image) for image in images)


def standardised(found: Iterable[NDArray[np.float64]]) -> tuple[float, ...]:
    """The standard scale of landmarks that were measured image by image, as `learn_landmarks`."""
    scaled = [(x - x[0]) / (x[-1] - x[0]) for x in found if x[-1] > x[0]]
    if not scaled:
        raise BadInput(
            "histogram normalisation was asked for, but in no development image does the foreground hold "
            "more than one value; expected grey images; set input.normalise to zscore"
        )
    steps = np.maximum(np.diff(np.mean(scaled, 0)), _CLOSEST)
    scale = np.concatenate(([0.0], np.cumsum(steps) / steps.sum()))
    return tuple(round(float(v), 6) for v in scale)


def to_landmarks(
    data: NDArray[Any], landmarks: tuple[float, ...]
) -> tuple[NDArray[np.uint16], tuple[float, float]]:
    """One image with its own landmarks moved to these, as 16-bit integers, and their scale and offset.

    The map is piecewise linear, goes on beyond the first and last landmark as straight as in the segment
    beside it, and never falls; what would lie below -1 or above 3 is clipped there. Landmarks of
    the image that coincide count as one, at the mean of where they go.

    >>> x = np.arange(1024, dtype=np.uint16).reshape(1, 1, 32, 32)
    >>> stored, (scale, offset) = to_landmarks(x, learn_landmarks([x]))
    >>> stored.dtype, bool(np.diff(stored.ravel().astype(int)).min() > 0), round(scale * 65535 + offset, 1)
    (dtype('uint16'), True, 1.0)
    """
    low, high = float(data.min()), float(data.max())
    given, wanted = _knots(image_landmarks(data), np.asarray(landmarks, np.float64), (low, high))
    mapped = np.interp(data.astype(np.float64), given, wanted)
    np.clip(mapped, *_BOUNDS, out=mapped)
    least, most = float(mapped.min()), float(mapped.max())
    scale = (most - least) / 65535 or 1.0
    return np.rint((mapped - least) / scale).astype(np.uint16), (scale, least)


def _knots(
    found: NDArray[np.float64], landmarks: NDArray[np.float64], ends: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rising knots of the map and where they go, from the least to the greatest value of the image."""
    given, place = np.unique(found, return_inverse=True)
    wanted = np.bincount(place, landmarks) / np.bincount(place)
    if len(given) == 1:  # all of the foreground is alike: the image from least to greatest instead
        if ends[0] == ends[1]:
            return given, wanted
        return np.array(ends), landmarks[[0, -1]]
    if ends[0] < given[0]:
        slope = (wanted[1] - wanted[0]) / (given[1] - given[0])
        wanted = np.concatenate(([wanted[0] - slope * (given[0] - ends[0])], wanted))
        given = np.concatenate(([ends[0]], given))
    if ends[1] > given[-1]:
        slope = (wanted[-1] - wanted[-2]) / (given[-1] - given[-2])
        wanted = np.concatenate((wanted, [wanted[-1] + slope * (ends[1] - given[-1])]))
        given = np.concatenate((given, [ends[1]]))
    return given, wanted
