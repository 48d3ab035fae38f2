"""Batched torch makes the images that the compiled engine makes, from the same draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Augment
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.draw import draw
from hounsfield.transforms.on_device import augmented_on_device

SHAPES = [(37, 52), (9, 20, 31)]
FILLS = ["nearest", "constant", "reflect", "wrap"]
MOVES: dict[str, Any] = {
    "rotation_deg": 40, "tilt_deg": 15, "shift_width": 0.3, "shift_height": 0.3, "shift_slices": 0.3,
    "zoom": 0.4, "shear_deg": 20, "flip_left_right": True, "flip_up_down": True, "flip_slices": True,
}  # fmt: skip
VALUES: dict[str, float] = {
    "brightness": 0.5, "contrast": 0.5, "gamma": 0.6, "noise": 0.4, "blur": 2, "sharpness": 1,
    "bias_field": 0.7, "low_resolution": 3, "motion": 0.1, "ghosting": 0.3, "cutout": 0.5,
}  # fmt: skip
LEVELS = np.array([[1 / 50, -1, -np.inf, np.inf], [1 / 80, 0.3, -np.inf, np.inf], [1 / 50, -1, -2, 0.9]] * 2)


def _difference(
    plan: Augment, shape: tuple[int, ...], *, dtype: str = "uint8", standardise: bool = False
) -> float:
    """The largest difference between the engines, as a share of the result's range."""
    whole = (1, *shape) if len(shape) == 2 else shape
    stored = np.random.default_rng(0).integers(0, 200, (6, 2, *whole)).astype(dtype)
    drawn = draw(plan, 6, shape, 1)
    one = augmented(stored, LEVELS, drawn, standardise=standardise)
    other = augmented_on_device(
        torch.from_numpy(stored), torch.from_numpy(LEVELS), drawn, standardise=standardise
    ).numpy()
    assert one.shape == other.shape and other.dtype == np.float32
    return float(np.abs(one - other).max() / np.ptp(one))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("elastic", [0.0, 0.1])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_moved_alike(shape: tuple[int, ...], elastic: float, fill: Any) -> None:
    assert _difference(Augment(**MOVES, elastic=elastic, fill=fill, fill_value=-0.7), shape) < 5e-5


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_change_alike(shape: tuple[int, ...], name: str) -> None:
    plan = Augment(**{name: VALUES[name]}, intensity_chance=0.8, artefact_chance=0.8, cutout_chance=0.8)
    assert _difference(plan, shape) < 2e-6


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_everything_together_is_alike(shape: tuple[int, ...], standardise: bool, dtype: str) -> None:
    plan = Augment(**MOVES, **VALUES, elastic=0.05, intensity_chance=0.7, artefact_chance=0.5)
    assert _difference(plan, shape, dtype=dtype, standardise=standardise) < 1e-4


@pytest.mark.parametrize("shape", [*SHAPES, (1, 5), (3, 1, 4)])
def test_mirroring_alone_is_exact(shape: tuple[int, ...]) -> None:
    plan = Augment(flip_left_right=True, flip_up_down=True, flip_slices=True)
    assert _difference(plan, shape) < 1e-6


def test_the_images_given_are_left_as_they_are() -> None:
    stored = torch.rand(3, 1, 1, 8, 8)
    before = stored.clone()
    augmented_on_device(stored, torch.from_numpy(LEVELS[:3]), draw(Augment(**VALUES), 3, (8, 8), 0))
    assert torch.equal(stored, before)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="expected images"):
        augmented_on_device(torch.zeros(2, 1, 1, 8, 8), torch.ones(2, 4), draw(Augment(), 3, (8, 8), 0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_graphics_processor_makes_them_too(shape: tuple[int, ...]) -> None:
    whole = (1, *shape) if len(shape) == 2 else shape
    stored = np.random.default_rng(0).integers(0, 200, (6, 2, *whole)).astype(np.uint8)
    plan = Augment(**MOVES, **VALUES, elastic=0.05, intensity_chance=0.7, artefact_chance=0.5)
    drawn = draw(plan, 6, shape, 1)
    one = augmented(stored, LEVELS, drawn)
    other = augmented_on_device(torch.from_numpy(stored).cuda(), torch.from_numpy(LEVELS).cuda(), drawn)
    assert np.abs(one - other.cpu().numpy()).max() < 2e-3 * np.ptp(one)
