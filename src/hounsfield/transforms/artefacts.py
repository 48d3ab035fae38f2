"""What an acquisition does to an image: the patient moved between two halves of k-space; voxels are large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.transforms.separable import resampled

__all__ = ["coarse_size", "coarsened", "k_space_ramps", "moved_halfway"]


def moved_halfway(image: NDArray[np.float32], move: Sequence[float], axis: int) -> NDArray[np.float32]:
    """An image (C, K, J, I) whose patient moved by `move` (j, i) of its size after half of a slice's k-space.

    The lines of k-space lie across `axis` j (0) or i (1) and are read from the lowest frequency to the
    highest; from frequency 0 on they see the moved patient. The result is the magnitude, as of an MR image,
    so the image's least value stands for 0.

    >>> x = np.zeros((1, 1, 4, 4), np.float32); x[..., 1, 1] = 1
    >>> np.allclose(moved_halfway(x, (0, 0), 0), x, atol=1e-6)
    True
    """
    least = image.min()
    rows, columns = k_space_ramps(image.shape[2:], np.asarray(move, np.float64)[None])
    factor = rows[0][:, None] * columns[0]
    earlier = np.fft.fftfreq(factor.shape[axis]) < 0
    if axis == 0:
        factor[earlier] = 1
    else:
        factor[:, earlier] = 1
    seen: NDArray[np.float32] = np.abs(np.fft.ifft2(np.fft.fft2(image - least) * factor))
    return seen + least


def k_space_ramps(
    shape: Sequence[int], moves: NDArray[np.float64]
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """What moves (N, 2) of the size along j and i do to the frequencies: factors (N, J) and (N, I)."""
    made = []
    for axis in range(2):
        frequency = np.fft.fftfreq(shape[axis]) * shape[axis]
        made.append(np.exp(-2j * np.pi * moves[:, axis, None] * frequency).astype(np.complex64))
    return made[0], made[1]


def coarse_size(shape: Sequence[int], factor: float) -> tuple[int, ...]:
    """How many voxels are left of each axis when they become larger by a factor.

    >>> coarse_size((1, 30, 64), 2.0)
    (1, 15, 32)
    """
    return tuple(max(1, round(size / factor)) for size in shape)


def coarsened(image: NDArray[np.float32], factor: float) -> NDArray[Any]:
    """An image (C, K, J, I) averaged to larger voxels and interpolated back, linearly along each axis.

    >>> coarsened(np.ones((1, 1, 4, 4), np.float32), 2.0).round(6).min()
    np.float32(1.0)
    """
    size = image.shape[1:]
    small = coarse_size(size, factor)
    coarse = resampled(image, (small[0], small[1], small[2]), interpolation="linear")
    return resampled(coarse, (size[0], size[1], size[2]), interpolation="linear")
