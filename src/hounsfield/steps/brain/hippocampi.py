"""The hippocampi of an upright head, by a network that learned from drawn images of any contrast.

A box is laid where hippocampi lie in a brain of this size, the network looks at it, and once more about what
it found. A right hippocampus is mirrored: the network knows left ones only. The volume is the sum of the
network's probabilities about the largest piece, so that voxels at the border count as far as they belong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.model import Model
from hounsfield.steps.brain.extract import largest
from hounsfield.steps.brain.upright import Upright

if TYPE_CHECKING:
    from torch import nn

__all__ = ["HOME", "Hippocampi", "Hippocampus", "find_hippocampi", "outlined_box"]

Floats = NDArray[np.float32]
HOME = Path(__file__).parent / "hippocampi_network"
_SIZE_MM = (64.0, 72.0, 56.0)
_BELOW_TOP_MM, _FROM_FRONT, _ASIDE = 91.0, 0.52, 0.385  # the last two in parts of length and half the width
_LOOKS = 2
_RIM = 2
_LEAST_ML, _MOST_ML = 0.8, 7.0
_LEAST_SURE = 0.83
"""Mean probability inside: .94 in real hippocampi, .89 in simulated ones, .70 to .80 in noise."""


@dataclass(frozen=True)
class Hippocampus:
    """One side: its volume in ml and where it lies: probabilities (k, j, i) from voxel `low` of the head on.

    `doubt` says in words why the volume is not to be believed; "" where nothing speaks against it.
    """

    volume_ml: float
    low: tuple[int, int, int]
    probability: Floats
    doubt: str = ""


@dataclass(frozen=True)
class Hippocampi:
    """Both sides."""

    left: Hippocampus
    right: Hippocampus


def find_hippocampi(head: Upright, hull: NDArray[np.bool_], *, home: Path = HOME) -> Hippocampi:
    """Find both hippocampi in a head whose brain is `hull` (K, J, I).

    `home` is a model of `recipes/hippocampi.py`. Raises BadInput where it is none.
    """
    where = np.argwhere(hull)
    low, high = where.min(0), where.max(0)
    k = high[0] - _BELOW_TOP_MM / head.step_mm
    j = low[1] + _FROM_FRONT * (high[1] - low[1])
    middle, half = (low[2] + high[2]) / 2, (high[2] - low[2]) / 2
    left, right = (
        _found(head, np.array([k, j, middle + side * _ASIDE * half]), side < 0, home) for side in (1, -1)
    )
    return Hippocampi(left, right)


def outlined_box(cut: Floats, step_mm: float, *, mirrored: bool = False, home: Path = HOME) -> Floats:
    """How likely each voxel (k, j, i) of a box is of a hippocampus; `mirrored` for one of the right side.

    k runs to the top, j to the back and i to the left.
    """
    import torch

    from hounsfield.steps.compute import available_cores, computing
    from hounsfield.steps.regions.to_grid import Native, gridded
    from hounsfield.steps.regions.windows import answer_of, tensor_of
    from hounsfield.steps.segmentation.outline import divisor_of, on_native_grid
    from hounsfield.tasks.segmentation import probabilities_of

    model, networks = _loaded(home)
    plan, aside = model.plan, slice(None, None, -1 if mirrored else 1)
    place = np.diag([step_mm, step_mm, step_mm, 1.0])
    native = Native(np.ascontiguousarray(cut[:, :, aside])[None], place, (step_mm,) * 3, None, None)
    made = gridded(native, plan.grid)
    with computing(available_cores()):
        image = tensor_of(made.data, made.levels, torch.device("cpu"))
        answer = answer_of(
            networks, image, plan, divisor=divisor_of(networks[0]),
            finish=lambda a: probabilities_of(a, plan.segmentation),
        )[1].numpy()  # fmt: skip
    return np.ascontiguousarray(on_native_grid(answer, made.place)[:, :, aside])


@lru_cache(2)
def _loaded(home: Path) -> tuple[Model, tuple[nn.Module, ...]]:
    from hounsfield.io.model_store import read_model
    from hounsfield.steps.regions.members import networks_of

    model = read_model(home)
    # The same volumes on every machine, and of one head each time.
    model = replace(model, plan=model.plan.changed({"device": "cpu", "fit.precision": "float32"}))
    return model, tuple(networks_of(model))


def _found(head: Upright, centre: NDArray[np.float64], mirrored: bool, home: Path) -> Hippocampus:
    size = np.round(np.array(_SIZE_MM) / head.step_mm).astype(int)
    for look in range(_LOOKS):
        low = np.clip(
            np.round(centre - size / 2).astype(int), 0, np.maximum(np.array(head.data.shape) - size, 0)
        )
        box = tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))
        seen = outlined_box(head.data[box], head.step_mm, mirrored=mirrored, home=home)
        body = largest(seen > 0.5)
        if not body.any():
            break
        if look < _LOOKS - 1:
            centre = low + np.array(ndimage.center_of_mass(body))
    near = ndimage.binary_dilation(body, iterations=_RIM)
    held = np.where(near, seen, 0).astype(np.float32)
    ml = float(held.sum()) * head.step_mm**3 / 1000.0
    return Hippocampus(ml, (int(low[0]), int(low[1]), int(low[2])), held, _doubt(ml, body, seen))


def _doubt(ml: float, body: NDArray[np.bool_], seen: Floats) -> str:
    if not body.any():
        return "no hippocampus was found"
    if (sure := float(seen[body].mean())) < _LEAST_SURE:
        return f"the network is not sure of what it found ({sure:.2f} where {_LEAST_SURE} is expected)"
    if not _LEAST_ML <= ml <= _MOST_ML:
        return f"{ml:.1f} ml is no hippocampus of an adult"
    edges = [body.take(n, axis).any() for axis in range(3) for n in (0, -1)]
    return "what was found reaches the end of the box that was looked at" if any(edges) else ""
