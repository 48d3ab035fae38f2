"""Random changes to images on a CPU: all that moves them is one resampling, compiled, in threads.

The order is that of an image's making: it moves, its stored numbers become normalised ones, then come motion,
ghosts, bias field, low resolution, blur, sharpness, gamma, contrast, brightness and noise, the
standardisation where a network is given standardised images, and the box that is cut out.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.transforms import intensity
from hounsfield.transforms.artefacts import coarsened, moved_halfway
from hounsfield.transforms.counted import NOISE, keys_of
from hounsfield.transforms.draw import BIAS_POINTS, Draw
from hounsfield.transforms.resample import (
    FILLS,
    KINDS,
    Resampling,
    copied,
    resampled,
)
from hounsfield.transforms.spline import spline_weights

__all__ = ["augmented", "background_of", "refuse_unfit"]

_FARTHEST = 1e9  # voxels: beyond it, whole numbers of 32 bits end
_MOST_VOXELS, _LONGEST = 2**31, 10**6  # whole numbers of 32 bits, and those that float32 holds
# A cubic B-spline between four control points, as powers 0 to 3 of the place between the inner two.
_CUBIC = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6


def augmented(
    images: NDArray[Any],
    levels: NDArray[Any],
    draw: Draw,
    *,
    standardise: bool = False,
    threads: int = 1,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Change images (n, C, K, J, I) of stored numbers as drawn; the result is normalised and contiguous.

    It is (n, C, J, I) if the draw is of (J, I), else (n, C, K, J, I). `levels` (n, 4) normalise each image
    (`transforms.normalise`), `standardise` then brings it to mean 0 and spread 1, as it will be when
    predicted. 8- and 16-bit integers and single precision are read as they are. `threads` share the images;
    `out` receives the result. Raises BadInput where images, levels, draw and out do not fit, or a matrix is
    not finite.

    >>> from hounsfield.core.plan import Augment
    >>> from hounsfield.transforms.draw import draw
    >>> images = np.arange(32, dtype=np.uint8).reshape(2, 1, 1, 4, 4)
    >>> levels = np.array([[1, 0, -np.inf, np.inf]] * 2)
    >>> bool((augmented(images, levels, draw(Augment(), 2, (4, 4), 0)) == images[:, :, 0]).all())
    True
    """
    refuse_unfit(images.shape, levels.shape, draw)
    kind = images.dtype.newbyteorder("=") if images.dtype.name in KINDS else np.dtype(np.float32)
    images = np.require(images, kind, ("C", "A"))
    n, channels = images.shape[:2]
    shape = (n, channels, *draw.shape)
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise BadInput(f"an array {out.shape} {out.dtype} was given for the result; expected {shape} float32")
    whole = out.reshape(images.shape)
    if n == 0:
        return out
    work = _Work(images, whole, np.asarray(levels, np.float64), draw, standardise)
    # One image at a time stays in the processor's cache through all its changes.
    step = 1 if work.changes_values else max(1, n // (4 * threads))
    spans = [(low, min(low + step, n)) for low in range(0, n, step)]
    if threads > 1 and len(spans) > 1:
        list(_pool(threads).map(work.do, spans))
    else:
        for span in spans:
            work.do(span)
    return out


def refuse_unfit(images: tuple[int, ...], levels: tuple[int, ...], draw: Draw) -> None:
    """Raise BadInput where shapes do not belong together, or a matrix would lead anywhere."""
    shape = images[3:] if len(images) == 5 and images[2] == 1 and len(draw.shape) == 2 else images[2:]
    if (
        len(images) != 5
        or 0 in images[1:]
        or shape != draw.shape
        or (images[0], 4) != levels
        or images[0] != len(draw)
    ):
        raise BadInput(
            f"images {images} and levels {levels} were given for {len(draw)} drawn images of {draw.shape}; "
            "expected images (n, C, K, J, I) of that shape, with K = 1 if it is (J, I), and levels (n, 4)"
        )
    if math.prod(s + 2 for s in images[2:]) >= _MOST_VOXELS or max(images[2:]) > _LONGEST:
        raise BadInput(
            f"images of {images[2:]} voxels were given; expected fewer than 2^31, a million along an axis; "
            "resample them first"
        )
    farthest = np.abs(draw.matrix).max(initial=0) * (sum(draw.shape) + 1)
    displacement = draw.displacement
    if not farthest < _FARTHEST or not (displacement is None or np.isfinite(displacement).all()):
        raise BadInput(
            "a drawn matrix or displacement leads out of all bounds; expected finite, usual numbers"
        )


def background_of(levels: NDArray[np.float64], fill_value: float) -> NDArray[np.float64]:
    """The stored number (n,) that becomes `fill_value` when it is normalised."""
    scale, offset = levels[:, 0], levels[:, 1]
    none = scale == 0
    return np.where(none, 0.0, (fill_value - offset) / (scale + none))


class _Work:
    """One call: what the compiled loops need, and which of them suffices."""

    def __init__(
        self,
        images: NDArray[Any],
        out: NDArray[np.float32],
        levels: NDArray[np.float64],
        draw: Draw,
        standardise: bool,
    ) -> None:
        self.out, self.draw, self.standardise = out, draw, standardise
        self.mirrored = draw.mirrored
        matrices = _of_volumes(draw.matrix)
        level = len(draw.shape) == 2 or not matrices[:, 0, 1:3].any()
        self.by_slices = level and (len(draw.shape) == 2 or draw.displacement is None)
        self.resampling = _resampling(images, out, levels, draw, matrices, 2 if self.by_slices else 3)
        self.cuts = bool(draw.cutout.any())
        self.changes_values = standardise or self.cuts or draw.changes_values
        if self.changes_values:
            self.noise_keys = keys_of(draw.seed, NOISE).astype(np.int64)
            self.boxes = _boxes_of_volumes(draw.cutout, images.shape[2])
            self.tones = np.stack((draw.gamma, draw.contrast, draw.brightness, draw.noise), 1)

    def do(self, span: tuple[int, int]) -> None:
        """Make the images of a span of rows."""
        if self.mirrored is not None:
            copied(self.resampling, self.mirrored, *span)
        else:
            resampled(self.resampling, self.by_slices, *span)
        if self.changes_values:
            for row in range(*span):
                self._change_values(row)

    def _change_values(self, row: int) -> None:
        draw, image = self.draw, self.out[row]
        axis = int(draw.phase_axis[row])
        if draw.motion[row].any():
            image[:] = moved_halfway(image, draw.motion[row], axis)
        if draw.ghosting[row] != 0:
            distance = round(float(draw.ghost_move[row]) * image.shape[2 + axis])
            intensity.ghosted(image, draw.ghosting[row], distance, axis)
        if draw.bias_field[row] != 0:
            intensity.toned_by_field(image, _field_pieces(draw.bias_points[row], image.shape[1:3]))
        if draw.low_resolution[row] > 1:
            image[:] = coarsened(image, float(draw.low_resolution[row]))
        if draw.blur[row] > 0:
            intensity.filtered(image, intensity.gaussian_kernel(float(draw.blur[row])))
        if draw.sharpness[row] != 0:
            intensity.sharpened(image, draw.sharpness[row])
        intensity.toned(image, *self.tones[row], self.noise_keys[row])
        if self.standardise:
            intensity.standardised(image)
        if self.cuts and self.boxes[row, 1, 0]:
            intensity.cut_out(image, self.boxes[row])


def _resampling(
    images: NDArray[Any],
    out: NDArray[np.float32],
    levels: NDArray[np.float64],
    draw: Draw,
    matrices: NDArray[np.float64],
    axes: int,
) -> Resampling:
    # Bytes that cannot be written: one compiled form for all kinds of numbers, arrays and files in memory.
    stored = images.reshape(len(images), -1).view(np.uint8)
    stored.flags.writeable = False
    points, p, depth = draw.displacement, draw.elastic_points, images.shape[2]
    q = 1 if axes == 2 else p
    points = np.empty((0, axes, q * p * p), np.float32) if points is None else points
    return Resampling(
        stored=stored,
        kind=KINDS[images.dtype.name],
        out=out,
        matrices=matrices,
        points=points.reshape(-1, axes, q, p, p),
        across=np.ones((depth, 1), np.float32) if axes == 2 else _weights(depth, p),
        along=_weights(images.shape[3], p),
        outside=background_of(levels, draw.fill_value),
        fill=FILLS[draw.fill],
        levels=levels,
    )


@lru_cache(maxsize=64)
def _weights(size: int, points: int) -> NDArray[np.float32]:
    return spline_weights(size, points).astype(np.float32)


def _of_volumes(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices (n, 3, 4), those of slices with their k as it is."""
    if matrix.shape[1] == 3:
        return np.ascontiguousarray(matrix)
    made = np.zeros((len(matrix), 3, 4))
    made[:, 0, 0] = 1
    made[:, 1:, 1:] = matrix
    return made


def _boxes_of_volumes(boxes: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """Boxes (n, 2, 3); in slices from the first k to the last."""
    if boxes.shape[2] == 3:
        return np.ascontiguousarray(boxes)
    made = np.zeros((len(boxes), 2, 3), np.int64)
    made[:, :, 1:] = boxes
    made[:, 1, 0] = np.where(boxes[:, 1].any(1), depth, 0)
    return made


def _field_pieces(points: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """For each row (K, J) the polynomial (4,) of log2 of the bias field, over 0 to 1 along the row."""
    depth, height = shape
    volume = points if points.ndim == 3 else points[None]
    across = spline_weights(depth, BIAS_POINTS) if points.ndim == 3 else np.ones((1, 1))
    along = spline_weights(height, BIAS_POINTS)
    control = np.einsum("ka,jb,abc->kjc", across, along, volume, optimize=True)
    return (control @ _CUBIC / np.log(2)).astype(np.float32)


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads are kept between batches: starting them takes longer than an image."""
    return ThreadPoolExecutor(threads, thread_name_prefix="augment")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
