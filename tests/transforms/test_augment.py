"""Augmentation changes an image exactly as its parameters say, from a seed, in two and three dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from hounsfield.core.plan import Augment
from hounsfield.transforms import augment as module
from hounsfield.transforms.augment import augment, mix, sample_affine

FLAT, DEEP = (3, 1, 12, 20), (2, 1, 6, 10, 14)
EVERYTHING: dict[str, Any] = {
    "rotation_deg": 20,
    "shift": 0.2,
    "shear_deg": 10,
    "zoom": 0.2,
    "flip_left_right": True,
    "flip_up_down": True,
    "flip_slices": True,
    "brightness": 0.3,
    "contrast": 0.3,
    "gamma": 0.3,
    "noise": 0.2,
    "sharpness": 0.8,
    "cutout": 0.4,
}


def _seed(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def _random(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=_seed(9))


def _fixed(monkeypatch: pytest.MonkeyPatch, matrix: list[list[float]]) -> None:
    """Let every image be resampled by one matrix."""
    monkeypatch.setattr(module, "sample_affine", lambda n, dims, plan, generator: torch.tensor([matrix] * n))


@pytest.mark.parametrize("shape", [FLAT, DEEP])
def test_nothing_asked_changes_nothing(shape: tuple[int, ...]) -> None:
    images = _random(shape)
    assert torch.equal(augment(images, Augment(), _seed()), images)


@pytest.mark.parametrize("shape", [FLAT, DEEP])
def test_the_seed_decides(shape: tuple[int, ...]) -> None:
    images, plan = _random(shape), Augment(**EVERYTHING)
    first, again, other = (augment(images, plan, _seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.allclose(first, other)
    assert first.shape == images.shape and torch.isfinite(first).all()


@pytest.mark.parametrize(
    "shape, plan, axis",
    [
        (FLAT, Augment(flip_left_right=True), -1),
        (FLAT, Augment(flip_up_down=True), -2),
        (DEEP, Augment(flip_left_right=True), -1),
        (DEEP, Augment(flip_up_down=True), -2),
        (DEEP, Augment(flip_slices=True), -3),
    ],
)
def test_a_flip_is_the_mirror_image_or_the_image(shape: tuple[int, ...], plan: Augment, axis: int) -> None:
    image = _random((1, *shape[1:]))
    out = augment(image.repeat(32, *[1] * (len(shape) - 1)), plan, _seed())
    kept = [torch.allclose(x, image[0], atol=1e-4) for x in out]
    turned = [torch.allclose(x, image[0].flip(axis), atol=1e-4) for x in out]
    assert all(k != t for k, t in zip(kept, turned, strict=True))
    assert 5 < sum(turned) < 27


@pytest.mark.parametrize("fill", ["wrap", "nearest", "constant", "reflect"])
def test_a_shift_by_whole_pixels_is_exact_and_fills_as_told(
    monkeypatch: pytest.MonkeyPatch, fill: str
) -> None:
    image = _random((1, 1, 8, 10))
    _fixed(monkeypatch, [[1, 0, 2 * 3 / 10], [0, 1, 2 * 2 / 8]])  # read three columns right, two rows down
    out = augment(image, Augment(shift=0.5, fill=fill), _seed())[0, 0].numpy()  # type: ignore[arg-type]
    how = {"wrap": "wrap", "nearest": "edge", "constant": "constant", "reflect": "symmetric"}[fill]
    wanted = np.pad(image[0, 0].numpy(), ((0, 2), (0, 3)), how)[2:, 3:]
    np.testing.assert_allclose(out, wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 40, 40), (1, 1, 40, 64)])
def test_a_rotation_is_that_of_scipy(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    image = torch.from_numpy(ndimage.gaussian_filter(_random(shape).numpy(), (0, 0, 2, 2)))
    image = image * torch.outer(*(torch.hann_window(n, periodic=False) for n in shape[2:]))
    angle = 0.35
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    _fixed(monkeypatch, [[cos, -sin, 0], [sin, cos, 0]])
    out = augment(image, Augment(rotation_deg=20, fill="constant"), _seed())[0, 0].numpy()
    # (x, y) to (j, i): the same turn as seen by rows and columns about the middle
    turn = np.array([[cos, sin], [-sin, cos]])
    middle = (np.array(shape[2:]) - 1) / 2
    wanted = ndimage.affine_transform(image[0, 0].numpy(), turn, middle - turn @ middle, order=3)
    assert np.abs(out - wanted).max() < 1e-2 * float(image.max())  # what two interpolations differ by


@pytest.mark.parametrize("shape", [(1, 1, 48, 96), (1, 1, 96, 48), (1, 1, 6, 48, 96)])
def test_a_turned_disc_stays_a_disc(shape: tuple[int, ...]) -> None:
    j, i = np.indices(shape[-2:])
    disc = np.hypot(j - shape[-2] / 2 + 0.5, i - shape[-1] / 2 + 0.5) < 16
    images = torch.from_numpy(np.broadcast_to(disc, shape).astype(np.float32).copy()).repeat(
        8, *[1] * (len(shape) - 1)
    )
    out = augment(images, Augment(rotation_deg=60, fill="constant"), _seed())
    assert float((out - images).abs().mean()) < 0.01


def test_zoom_and_shift_stay_within_the_plan() -> None:
    matrix = sample_affine(500, 2, Augment(zoom=0.2, shift=0.1), _seed())
    factor = 1 / matrix[:, 0, 0]
    assert factor.min() >= 0.8 - 1e-6 and factor.max() <= 1.2 + 1e-6 and factor.std() > 0.08
    assert matrix[:, :, 2].abs().max() <= 0.2 + 1e-6


def test_a_volume_is_not_turned_out_of_its_slices() -> None:
    matrix = sample_affine(50, 3, Augment(rotation_deg=30, shear_deg=10), _seed())
    wanted = torch.tensor([0.0, 0.0, 1.0])
    assert torch.allclose(matrix[:, 2, :3], wanted.expand(50, 3)) and torch.allclose(
        matrix[:, :, 2], wanted.expand(50, 3)
    )


def test_mixing_keeps_the_sum_of_every_target() -> None:
    targets = torch.eye(3)[torch.arange(30) % 3]
    images = targets[:, :, None, None].expand(30, 3, 4, 4).contiguous()
    mixed, wanted = mix(images, targets, 0.4, _seed())
    torch.testing.assert_close(wanted.sum(1), torch.ones(30))
    torch.testing.assert_close(wanted.sum(0), targets.sum(0), atol=6.0, rtol=0)
    torch.testing.assert_close(mixed.mean((2, 3)), wanted)  # image and target are blended alike
    assert (wanted.max(1).values >= 0.5 - 1e-6).all() and (wanted.max(1).values < 0.999).any()


def test_the_blend_follows_the_beta_distribution() -> None:
    share = module._beta(0.4, 4000, _seed())
    assert float(share.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(share.var()) == pytest.approx(0.25 / 1.8, abs=0.006)  # 1 / (4 (2 a + 1))


def test_cutting_out_leaves_the_mean_and_a_box_no_larger_than_told() -> None:
    images = _random((40, 1, 20, 20))
    out = augment(images, Augment(cutout=0.5, cutout_chance=1.0), _seed())
    changed = (out != images)[:, 0]
    assert changed.flatten(1).any(1).sum() > 30
    for image, before, hit in zip(out[:, 0], images[:, 0], changed, strict=True):
        if hit.any():
            rows, columns = hit.any(1).sum(), hit.any(0).sum()
            assert rows <= 11 and columns <= 11
            torch.testing.assert_close(image[hit], before.mean().expand(int(hit.sum())))


def test_sharpness_keeps_a_constant_and_the_sum_of_a_point() -> None:
    plan = Augment(sharpness=1.0)
    flat = torch.full((2, 1, 9, 9), 3.0)
    torch.testing.assert_close(augment(flat, plan, _seed()), flat)
    point = torch.zeros(40, 1, 9, 9)
    point[..., 4, 4] = 1
    out = augment(point, plan, _seed())[:, 0]
    torch.testing.assert_close(out.sum((1, 2)), torch.ones(40))
    torch.testing.assert_close(out, out.transpose(1, 2))
    peaks = out[:, 4, 4]
    assert peaks.min() < 0.5 and peaks.max() > 1.4  # from the binomial blur to as much sharpening


def test_standardised_images_have_mean_zero_and_spread_one() -> None:
    out = augment(_random(FLAT), Augment(contrast=0.5, brightness=0.5), _seed(), standardise=True)
    torch.testing.assert_close(out.mean((1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((1, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
