"""The grid, the patch and the network that follow from the images, and the plan that is made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hounsfield.networks.unet import build_unet
from hounsfield.steps.regions.fingerprint import RegionFacts
from hounsfield.steps.regions.shape_of_net import Fitted, fitted_grid
from hounsfield.steps.segmentation.design import design_segmentation, within_minutes

Three = tuple[int, int, int]
CPU, GPU = 64**3, 128**3


def _facts(
    shape: Three, spacing: tuple[float, ...] = (), *, n: int = 5, kind: str = "other", channels: int = 1
) -> RegionFacts:
    return RegionFacts(
        n, np.array([shape] * n), np.array([spacing] * n, float).reshape(n, -1),
        tuple(f"c{k}" for k in range(channels)), (kind,) * channels,
        ((-100.0, 300.0, 50.0, 40.0),) * channels, np.array([]),
    )  # fmt: skip


def _whole(made: Fitted) -> None:
    """What every fit must be: patches that the strides divide, a first stage at full resolution."""
    divisor = [math.prod(s[a] for s in made.strides) for a in range(3)]
    assert all(p % d == 0 for p, d in zip(made.patch, divisor, strict=True))
    assert made.strides[0] == (1, 1, 1) and len(made.strides) == len(made.kernels)
    assert set(made.reasons) == {"grid.spacing_mm", "grid.patch", "network.strides"}


SETS = [
    ((36, 50, 35), (1.0, 1.0, 1.0), CPU), ((155, 240, 240), (1.0, 1.0, 1.0), CPU),
    ((20, 320, 320), (3.6, 0.62, 0.62), CPU), ((12, 256, 256), (8.0, 1.0, 1.0), CPU),
    ((482, 512, 512), (1.0, 0.77, 0.77), GPU), ((1, 584, 565), (), 160 * 160), ((1, 48, 48), (), 160 * 160),
    ((3, 5, 4), (1.0, 1.0, 1.0), CPU), ((1, 1, 1), (), CPU), ((40, 8, 8), (0.5, 2.0, 2.0), CPU),
    ((1, 2000, 3000), (1.0, 0.1, 0.1), 512 * 512), ((90, 20, 300), (), CPU),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "spacing", "most"), SETS)
def test_a_network_can_be_built_for_any_images(shape: Three, spacing: tuple[float, ...], most: int) -> None:
    made = fitted_grid(_facts(shape, spacing), most_voxels=most)
    _whole(made)
    assert math.prod(made.patch) <= 2.2 * most  # rounded up to what the strides divide
    assert all(p < n + d for p, n, d in zip(made.patch, made.shape, np.prod(made.strides, 0), strict=True))
    plan = design_segmentation(_facts(shape, spacing), ("a",), device="cpu")
    net = build_unet(plan.network, channels=1, outputs=2, size=plan.grid.patch)
    assert all(w >= p for w, p in zip(plan.grid.window, plan.grid.patch, strict=True)) and net.divisor


def test_cubic_voxels_are_halved_alike() -> None:
    made = fitted_grid(_facts((96, 96, 96), (1.0, 1.0, 1.0)), most_voxels=CPU)
    assert made.spacing_mm == (1.0, 1.0, 1.0) and len(set(made.patch)) == 1 and 56 <= made.patch[0] <= 72
    assert all(len(set(s)) == 1 for s in made.strides) and all(k == (3, 3, 3) for k in made.kernels)
    assert min(np.array(made.patch) / np.prod(made.strides, 0)) >= 4


def test_thick_slices_are_left_alone_until_the_others_are_as_coarse() -> None:
    made = fitted_grid(_facts((16, 256, 256), (8.0, 1.0, 1.0)), most_voxels=CPU)
    assert made.spacing_mm == (8.0, 1.0, 1.0)
    spacing = np.array(made.spacing_mm)
    for stride, kernel in zip(made.strides, made.kernels, strict=True):
        spacing = spacing * stride
        assert kernel[1:] == (3, 3) and kernel[0] == (3 if spacing[0] < 2 * spacing[1] else 1)
    assert made.kernels[0] == (1, 3, 3) and made.strides[1:4] == ((1, 2, 2),) * 3
    assert made.kernels[-1] == (3, 3, 3) and made.strides[-1][0] == 2
    assert made.patch[0] <= 16 and made.patch[1] > 2 * made.patch[0]


def test_of_mixed_slice_thickness_thin_slices_count() -> None:
    spacings = np.array([(t, 1.0, 1.0) for t in (2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)])
    facts = RegionFacts(
        10, np.array([(40, 128, 128)] * 10), spacings, ("c",), ("other",), ((0, 1, 0, 1),), np.array([])
    )
    made = fitted_grid(facts, most_voxels=CPU)
    assert 2.0 <= made.spacing_mm[0] < 5.0 and "tenth of the finest" in made.reasons["grid.spacing_mm"]
    even = fitted_grid(_facts((40, 128, 128), (2.0, 1.0, 1.0)), most_voxels=CPU)
    assert even.spacing_mm[0] == 2.0


def test_volumes_smaller_than_a_patch_are_held_whole() -> None:
    made = fitted_grid(_facts((18, 22, 20), (1.0, 1.0, 1.0)), most_voxels=CPU)
    assert all(p >= n for p, n in zip(made.patch, (18, 22, 20), strict=True))
    assert "holds it whole" in made.reasons["grid.patch"]


def test_volumes_of_which_a_patch_would_see_little_are_made_coarser() -> None:
    facts = _facts((482, 512, 512), (1.0, 0.75, 0.75))
    made = fitted_grid(facts, most_voxels=CPU)
    factor = made.spacing_mm[0] / 1.0
    assert factor > 1.3 and made.spacing_mm[1] / 0.75 == pytest.approx(factor, rel=1e-3)
    assert math.prod(made.shape) == pytest.approx(48 * CPU, rel=0.05)
    assert "times as coarse" in made.reasons["grid.spacing_mm"]
    assert fitted_grid(facts, most_voxels=CPU, keep_fine=True).spacing_mm == (1.0, 0.75, 0.75)


def test_pictures_keep_their_pixels_and_one_slice() -> None:
    made = fitted_grid(_facts((1, 584, 565)), most_voxels=160 * 160)
    assert made.spacing_mm == () and made.patch[0] == 1 and all(s[0] == 1 for s in made.strides)
    assert all(k == (1, 3, 3) for k in made.kernels) and abs(made.patch[1] - made.patch[2]) <= 32
    long = fitted_grid(_facts((1, 200, 3000)), most_voxels=160 * 160)
    assert long.patch[2] >= long.patch[1]


def test_hounsfield_units_are_clipped_to_fixed_numbers_and_others_image_by_image() -> None:
    ct = design_segmentation(_facts((64, 64, 64), (1.0, 1.0, 1.0), kind="ct", channels=2), ("a",))
    assert ct.grid.normalise == ("fixed", "fixed") and ct.grid.fixed == ((-100.0, 300.0, 50.0, 40.0),) * 2
    mr = design_segmentation(_facts((64, 64, 64), (1.0, 1.0, 1.0)), ("a",))
    assert mr.grid.normalise == ("zscore",) and mr.grid.fixed == ()


def test_sides_that_structures_are_named_by_are_not_mirrored() -> None:
    named = design_segmentation(_facts((1, 64, 64)), ("left_lung", "right_lung"))
    assert named.grid.mirror == (1,) and not named.augment.flip_left_right
    plain = design_segmentation(_facts((1, 64, 64)), ("vessel", "delight"))
    assert plain.grid.mirror == (1, 2) and plain.augment.flip_left_right
    assert design_segmentation(_facts((9, 64, 64), (5.0, 1.0, 1.0)), ("a",)).augment.tilt_deg == 0


def test_a_plan_takes_the_time_that_is_given() -> None:
    plan = design_segmentation(_facts((64, 64, 64), (1.0, 1.0, 1.0)), ("a",), folds=5)
    for minutes, seconds, beside in ((50, 0.4, 2), (5, 0.4, 1), (600, 0.1, 4), (0.01, 5.0, 1)):
        made = within_minutes(plan, seconds, minutes=minutes, beside=beside)
        patches = made.validation.members * made.fit.epochs * made.grid.steps * made.fit.batch_size
        assert 1 <= made.validation.members <= 5 and made.fit.epochs >= 2
        assert patches * seconds / beside <= max(minutes * 60, 2 * seconds * made.fit.batch_size)
        if minutes >= 5:
            assert patches * seconds / beside >= 0.6 * minutes * 60
    busy = within_minutes(plan, 0.4, minutes=50, beside=2, besides=1000)
    patches = busy.validation.members * busy.fit.epochs * busy.grid.steps * busy.fit.batch_size
    assert 0.6 * 6000 <= (patches + 1000 * busy.validation.members) * 0.4 <= 6000
    small = plan.model_copy(update={"task": "detection"})
    assert within_minutes(small, 0.4, minutes=50, beside=2).validation.members == 1  # 12,750 small patches
    assert within_minutes(plan, 0.4, minutes=50, beside=2).validation.members == 5
    fixed = plan.changed({"fit.epochs": 3, "grid.steps": 7, "validation.members": 2})
    made = within_minutes(
        fixed, 0.4, minutes=50, beside=2, fixed=("fit.epochs", "grid.steps", "validation.members")
    )
    assert (made.fit.epochs, made.grid.steps, made.validation.members) == (3, 7, 2)
