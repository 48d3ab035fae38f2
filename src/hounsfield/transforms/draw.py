"""What is drawn for the images of an epoch: once, in numpy, to be applied anywhere, recorded and undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Augment
from hounsfield.transforms.affine import affine_matrices
from hounsfield.transforms.counted import BIAS, ELASTIC, counted_uniform, keys_of

__all__ = ["BIAS_POINTS", "Draw", "draw"]

Real = NDArray[np.float64]

BIAS_POINTS = 4  # control points of a bias field along an axis: one cubic
_AXES = {2: ("height", "width"), 3: ("slices", "height", "width")}
_MIRRORED = {"width": "flipped_left_right", "height": "flipped_up_down", "slices": "flipped_slices"}
_OFF = {
    "brightness": 0.0, "contrast": 1.0, "gamma": 1.0, "noise": 0.0, "blur": 0.0, "sharpness": 0.0,
    "bias_field": 0.0, "low_resolution": 1.0, "motion": 0.0, "ghosting": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """What was drawn for N images of `shape` (J, I) or (K, J, I); d axes, in the order of the array.

    `matrix` (N, d, d + 1) takes a voxel of the changed image to the voxel of the image that it shows:
    rotation, tilt, shear, zoom, mirroring, shift and exchanged axes in one; the parts stand beside it for the
    record, `order` (N, d) as the axes of the image that those of the changed one show.
    `displacement` is added there. What lies outside is filled as `fill` says, "constant" with `fill_value` in
    units of the normalised image.

    Each intensity (N,) holds what is done: `brightness` in spreads of the image, `contrast` and
    `low_resolution` factors, `gamma` the exponent, `noise` in spreads, `blur` a sigma in voxels, `sharpness`
    a share of the difference from a binomial blur, `bias_field` the largest |log| of its factor, `motion`
    (N, 2) a move along rows and columns of the slice (j, i), `ghosting` the ghosts' strength and
    `ghost_move` their distance; moves are fractions of the image. The lines of k-space lie across axis j
    where `phase_axis` is 0, i where 1. 0 is off, 1 for contrast, gamma and low resolution. `cutout` (N, 2,
    d) holds the first voxel of a box and the one after its last.
    """

    shape: tuple[int, ...]
    fill: str
    fill_value: float
    elastic_points: int
    matrix: Real
    rotation_deg: Real
    tilt_deg: Real
    shear_deg: Real
    zoom: Real
    flipped: NDArray[np.bool_]
    order: NDArray[np.int64]
    shift: Real
    elastic: Real
    brightness: Real
    contrast: Real
    gamma: Real
    noise: Real
    blur: Real
    sharpness: Real
    bias_field: Real
    low_resolution: Real
    motion: Real
    ghosting: Real
    ghost_move: Real
    phase_axis: NDArray[np.int64]
    cutout: NDArray[np.int64]
    seed: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.matrix)

    def of(self, rows: slice | Sequence[int] | NDArray[Any]) -> Draw:
        """The draw of some of the images: whole numbers, a slice or a mask.

        >>> draw(Augment(rotation_deg=10), 5, (8, 8), 0).of([4, 4, 1]).rotation_deg.shape
        (3,)
        """
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v[rows] for k, v in held.items() if isinstance(v, np.ndarray)})

    def moves_only(self) -> Draw:
        """The same moves, with values left as they are.

        >>> draw(Augment(brightness=1), 2, (8, 8), 0).moves_only().changes_values
        False
        """
        off = {name: np.full_like(getattr(self, name), value) for name, value in _OFF.items()}
        return replace(self, **off, cutout=np.zeros_like(self.cutout))

    @cached_property
    def displacement(self) -> NDArray[np.float32] | None:
        """Control points (N, d, p[, p], p) of a cubic B-spline over the image, in voxels (`spline`).

        They follow from the seeds, so that an epoch's table stays small; None where nothing is elastic.
        """
        if not self.elastic.any():
            return None
        d, p = len(self.shape), self.elastic_points
        drawn = counted_uniform(keys_of(self.seed, ELASTIC), d * p**d).reshape(-1, d, *[p] * d)
        reach = (self.elastic[:, None] * np.asarray(self.shape)).astype(np.float32)
        points: NDArray[np.float32] = (2 * drawn - 1) * reach.reshape(-1, d, *[1] * d)
        return points

    @cached_property
    def bias_points(self) -> NDArray[np.float32]:
        """Control points (N, 4[, 4], 4) of the bias field's logarithm, a spline like `displacement`."""
        d = len(self.shape)
        drawn = counted_uniform(keys_of(self.seed, BIAS), BIAS_POINTS**d).reshape(-1, *[BIAS_POINTS] * d)
        return (2 * drawn - 1) * self.bias_field.reshape(-1, *[1] * d).astype(np.float32)

    @cached_property
    def mirrored(self) -> NDArray[np.bool_] | None:
        """Which axes (k, j, i) are turned round (N, 3), if no image is moved in any other way; or None.

        >>> draw(Augment(flip_up_down=True), 3, (8, 8), 0).mirrored.any(0).tolist()
        [False, True, False]
        """
        if self.elastic.any() or (np.abs(self.matrix[:, 0, 0]) != 1).any():
            return None
        d, squares = len(self.shape), self.matrix[:, :, :-1]
        signs = np.diagonal(squares, axis1=1, axis2=2)
        ends = np.where(signs < 0, np.asarray(self.shape) - 1.0, 0.0)
        exact = (squares == signs[:, None] * np.eye(d)).all() and (np.abs(signs) == 1).all()
        if not exact or not (self.matrix[:, :, -1] == ends).all():
            return None
        made = np.zeros((len(self), 3), bool)
        made[:, 3 - d :] = signs < 0
        return made

    @cached_property
    def changes_values(self) -> bool:
        """True if the values of any image change, other than by what moves into it and by a cut-out."""
        held = {off: [getattr(self, k).ravel() for k, v in _OFF.items() if v == off] for off in (0.0, 1.0)}
        return any(bool((np.concatenate(amounts) != off).any()) for off, amounts in held.items())

    def record(self, row: int) -> dict[str, Any]:
        """What was changed in one image, as JSON values, in the plan's terms and units, within its amounts.

        Zoom and contrast are given about 1, gamma as the logarithm of its exponent, `motion` along rows and
        columns, `cutout` as the first voxel of its box and the one after its last.

        >>> draw(Augment(flip_left_right=True, gamma=0.3), 1, (8, 8), 3).record(0)
        {...}
        """
        said: dict[str, Any] = {}
        for name in ("rotation_deg", "shear_deg", "elastic", "brightness", "noise", "blur", "sharpness"):
            said[name] = float(getattr(self, name)[row])
        for name in ("bias_field", "low_resolution", "ghosting"):
            said[name] = float(getattr(self, name)[row])
        said["tilt_deg"] = self.tilt_deg[row].tolist()
        said["zoom"], said["contrast"] = float(self.zoom[row]) - 1, float(self.contrast[row]) - 1
        said["gamma"] = float(np.log(self.gamma[row]))
        said["motion"] = self.motion[row].tolist()
        for axis, name in enumerate(_AXES[len(self.shape)]):
            said[f"shift_{name}"] = float(self.shift[row, axis])
            said[_MIRRORED[name]] = bool(self.flipped[row, axis])
        if (self.order[row] != np.arange(len(self.shape))).any():
            said["transposed"] = self.order[row].tolist()
        if self.cutout[row].any():
            said["cutout"] = self.cutout[row].tolist()
        if said["low_resolution"] == 1:
            del said["low_resolution"]
        return {k: v for k, v in said.items() if np.any(v)}


def draw(
    plan: Augment,
    n: int,
    shape: tuple[int, ...],
    seed_or_rng: int | np.random.Generator,
    *,
    spacing_mm: Sequence[float] | None = None,
) -> Draw:
    """Draw for `n` images of `shape` (J, I) or (K, J, I) what the plan allows; every range evenly.

    `spacing_mm` of these axes keeps rotations and tilts rigid where voxels are not cubes. Raises BadInput for
    another number of axes.

    Keras' ImageDataGenerator has other names: `rotation_range` is `rotation_deg`; `width_shift_range` and
    `height_shift_range` (fractions) are `shift_width` and `shift_height`; `shear_range` (degrees) is
    `shear_deg`, though Keras also shortens the sheared axis by the cosine; `zoom_range` is `zoom`, though
    Keras draws a factor for each axis; `horizontal_flip` and `vertical_flip` are `flip_left_right` and
    `flip_up_down`; `fill_mode` nearest, constant (`cval`), reflect and wrap are `fill`, and `rescale` is
    `input.normalise`. Both turn about the middle of the image.

    >>> drawn = draw(Augment(rotation_deg=10, flip_left_right=True), 100, (32, 48), 0)
    >>> len(drawn), bool(abs(drawn.rotation_deg).max() <= 10), int(drawn.flipped[:, 1].sum())
    (100, True, 44)
    """
    if len(shape) not in (2, 3):
        raise BadInput(f"a shape of {len(shape)} axes was given; expected (J, I), or (K, J, I) of a volume")
    if spacing_mm is not None:
        spacing_mm = tuple(spacing_mm)[-len(shape) :]
    rng = np.random.default_rng(seed_or_rng)
    seed = rng.integers(0, 2**63 - 1, n)
    moved = _moves(plan, n, shape, rng)
    still = not plan.is_spatial
    matrix = np.tile(np.eye(len(shape), len(shape) + 1), (n, 1, 1)) if still else None
    return Draw(
        shape=tuple(shape),
        fill=plan.fill,
        fill_value=plan.fill_value,
        elastic_points=plan.elastic_points,
        matrix=affine_matrices(shape, spacing_mm=spacing_mm, **moved) if matrix is None else matrix,
        elastic=np.full(n, plan.elastic),
        seed=seed,
        cutout=_boxes(plan, n, shape, rng),
        **moved,
        **_intensities(plan, n, rng),
        **_artefacts(plan, n, rng),
    )


def _even(rng: np.random.Generator, largest: float, size: int | tuple[int, ...]) -> Real:
    """Evenly from -largest to largest."""
    return rng.uniform(-largest, largest, size) if largest else np.zeros(size)


def _moves(plan: Augment, n: int, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Any]:
    d = len(shape)
    shifts = (plan.shift_slices, plan.shift_height, plan.shift_width)[-d:]
    flips = (plan.flip_slices, plan.flip_up_down, plan.flip_left_right)[-d:]
    flipped = np.zeros((n, d), bool)
    for axis, allowed in enumerate(flips):
        if allowed:
            flipped[:, axis] = rng.random(n) < 0.5
    return {
        "rotation_deg": _even(rng, plan.rotation_deg, n),
        "tilt_deg": _even(rng, plan.tilt_deg if d == 3 else 0.0, (n, 2)),
        "shear_deg": _even(rng, plan.shear_deg, n),
        "zoom": 1 + _even(rng, plan.zoom, n),
        "flipped": flipped,
        "shift": np.stack([_even(rng, largest, n) for largest in shifts], 1),
        "order": _orders(plan, n, shape, rng),
    }


def _orders(plan: Augment, n: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Every order of axes of equal length as likely as any other."""
    order = np.tile(np.arange(len(shape)), (n, 1))
    if plan.transpose:
        for side in set(shape):
            axes = np.flatnonzero(np.array(shape) == side)
            if len(axes) > 1:
                order[:, axes] = rng.permuted(order[:, axes], axis=1)
    return order


def _intensities(plan: Augment, n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Each in an image with the plan's chance, or off."""
    ranges = {
        "brightness": (-plan.brightness, plan.brightness),
        "contrast": (1 - plan.contrast, 1 + plan.contrast),
        "gamma": (-plan.gamma, plan.gamma),
        "noise": (0.0, plan.noise),
        "blur": (0.0, plan.blur),
        "sharpness": (-plan.sharpness, plan.sharpness),
        "bias_field": (0.0, plan.bias_field),
    }
    made = {}
    for name, (low, high) in ranges.items():
        off = _OFF[name]
        if low == high:
            made[name] = np.full(n, off)
            continue
        found = rng.uniform(low, high, n)
        chosen = rng.random(n) < plan.intensity_chance
        made[name] = np.where(chosen, np.exp(found) if name == "gamma" else found, off)
    return made


def _artefacts(plan: Augment, n: int, rng: np.random.Generator) -> dict[str, Any]:
    made: dict[str, Any] = {
        "low_resolution": np.ones(n),
        "motion": np.zeros((n, 2)),
        "ghosting": np.zeros(n),
        "ghost_move": np.zeros(n),
        "phase_axis": np.zeros(n, np.int64),
    }
    if plan.motion or plan.ghosting:
        made["phase_axis"] = rng.integers(0, 2, n)
    if plan.low_resolution > 1:
        chosen = rng.random(n) < plan.artefact_chance
        made["low_resolution"] = np.where(chosen, rng.uniform(1, plan.low_resolution, n), 1.0)
    if plan.motion:
        chosen = rng.random(n) < plan.artefact_chance
        far, angle = rng.uniform(0, plan.motion, n), rng.uniform(0, 2 * np.pi, n)
        made["motion"] = np.stack((np.sin(angle), np.cos(angle)), 1) * (far * chosen)[:, None]
    if plan.ghosting:
        chosen = rng.random(n) < plan.artefact_chance
        made["ghosting"] = np.where(chosen, rng.uniform(0, plan.ghosting, n), 0.0)
        made["ghost_move"] = rng.uniform(0.125, 0.5, n)
    return made


def _boxes(plan: Augment, n: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Boxes (N, 2, d) to cut out (DeVries 2017): a centre anywhere, each side its own; empty where spared."""
    made = np.zeros((n, 2, len(shape)), np.int64)
    if not plan.cutout:
        return made
    size = np.asarray(shape)
    half = rng.uniform(0.3, 1.0, (n, len(shape))) * plan.cutout * size / 2
    centre = rng.uniform(0, 1, (n, len(shape))) * size - 0.5
    made[:, 0] = np.clip(np.ceil(centre - half), 0, size)
    made[:, 1] = np.clip(np.floor(centre + half) + 1, 0, size)
    empty = (made[:, 1] <= made[:, 0]).any(1) | (rng.random(n) >= plan.cutout_chance)
    made[empty] = 0
    return made
