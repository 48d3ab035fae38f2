"""Values change as the words of the plan say: each beside its formula, scipy or numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, stats

from hounsfield.core.plan import Augment
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.draw import Draw, draw
from hounsfield.transforms.spline import spline_weights

SHAPES = [(21, 34), (6, 21, 34)]
AS_IS = np.array([[1.0, 0, -np.inf, np.inf]])


def _images(shape: tuple[int, ...], n: int = 6) -> NDArray[np.float32]:
    """Smooth images (n, 2, *shape) about 0."""
    noise = np.random.default_rng(3).normal(size=(n, 2, *shape))
    return ndimage.gaussian_filter(noise, (0, 0, *[1] * len(shape))).astype(np.float32) * 3 + 0.5


def _changed(images: NDArray[np.float32], drawn: Draw, *, standardise: bool = False) -> NDArray[np.float32]:
    stored = images.reshape(*images.shape[:2], *((1,) if images.ndim == 4 else ()), *images.shape[2:])
    return augmented(stored, np.tile(AS_IS, (len(images), 1)), drawn, standardise=standardise)


def _asked(shape: tuple[int, ...], n: int = 6, **amounts: Any) -> Draw:
    return draw(Augment(intensity_chance=1, artefact_chance=1, **amounts), n, shape, 1)


def _close(found: NDArray[Any], wanted: NDArray[Any]) -> None:
    np.testing.assert_allclose(found, wanted, atol=2e-6 * float(np.ptp(wanted)), rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_gamma_is_about_the_image_s_own_range(shape: tuple[int, ...]) -> None:
    images, drawn = _images(shape), _asked(shape, gamma=0.8)
    for x, y, power in zip(images.astype(float), _changed(images, drawn), drawn.gamma, strict=True):
        low, spread = x.min(), np.ptp(x)
        _close(y, ((x - low) / spread) ** power * spread + low)


@pytest.mark.parametrize("shape", SHAPES)
def test_contrast_is_about_the_mean_and_brightness_in_spreads(shape: tuple[int, ...]) -> None:
    images, drawn = _images(shape), _asked(shape, contrast=0.6, brightness=0.9)
    for n, (x, y) in enumerate(zip(images.astype(float), _changed(images, drawn), strict=True)):
        wanted = (x - x.mean()) * drawn.contrast[n] + x.mean()
        _close(y, wanted + drawn.brightness[n] * wanted.std())


@pytest.mark.parametrize("shape", [*SHAPES, (5, 7)])
def test_noise_is_normal_and_in_spreads(shape: tuple[int, ...]) -> None:
    images, drawn = _images(shape, 40), _asked(shape, 40, noise=0.5)
    added = _changed(images, drawn) - images
    spread = drawn.noise * images.std((1, *range(2, images.ndim)))
    each = (added / spread.reshape(-1, *[1] * (images.ndim - 1))).reshape(40, -1)
    assert stats.kstest(each[:, :1428].ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(each) - np.eye(40)).max() < 6 / np.sqrt(each.shape[1])


def test_noise_follows_the_seed_of_its_image_alone() -> None:
    images, drawn = _images((9, 9)), _asked((9, 9), noise=0.5)
    alone = _changed(images[[4]], drawn.of([4]))
    np.testing.assert_array_equal(alone[0], _changed(images, drawn)[4])
    other = replace(drawn, seed=drawn.seed + 1)
    assert not np.allclose(_changed(images, other), _changed(images, drawn))


@pytest.mark.parametrize("shape", [*SHAPES, (3, 40), (2, 3, 4), (1, 9)])
def test_blur_is_a_gaussian(shape: tuple[int, ...]) -> None:
    images, drawn = _images(shape), _asked(shape, blur=2.5)
    for x, y, sigma in zip(images.astype(float), _changed(images, drawn), drawn.blur, strict=True):
        along = [sigma if size > 1 else 0 for size in shape]
        _close(y, ndimage.gaussian_filter(x, (0, *along), mode="nearest", truncate=4))


@pytest.mark.parametrize("shape", SHAPES)
def test_sharpness_is_about_the_binomial_blur(shape: tuple[int, ...]) -> None:
    images, drawn = _images(shape), _asked(shape, sharpness=1.0)
    for x, y, share in zip(images.astype(float), _changed(images, drawn), drawn.sharpness, strict=True):
        smooth = x
        for axis in range(1, x.ndim):
            for _ in range(2):
                smooth = ndimage.correlate1d(smooth, [0.25, 0.5, 0.25], axis, mode="nearest")
        _close(y, x + share * (x - smooth))


def test_sharpness_ranges_from_the_blur_of_a_point_to_as_much_sharpening() -> None:
    point = np.zeros((40, 1, 9, 9), np.float32)
    point[..., 4, 4] = 1
    out = _changed(point, _asked((9, 9), 40, sharpness=1.0))
    np.testing.assert_allclose(out.sum((1, 2, 3)), 1, atol=1e-5)
    assert out[:, 0, 4, 4].min() < 0.5 and out[:, 0, 4, 4].max() > 1.4


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bias_field_is_a_smooth_factor_about_the_least_value(shape: tuple[int, ...]) -> None:
    images, drawn = _images(shape), _asked(shape, bias_field=0.9)
    assert (np.abs(drawn.bias_points).reshape(6, -1).max(1) <= drawn.bias_field).all()
    for x, y, points in zip(images.astype(float), _changed(images, drawn), drawn.bias_points, strict=True):
        field = points.astype(float)
        for axis, size in enumerate(shape):
            field = np.moveaxis(np.tensordot(field, spline_weights(size, 4), ([axis], [1])), -1, axis)
        _close(y, (x - x.min()) * np.exp(field) + x.min())


@pytest.mark.parametrize("shape", SHAPES)
def test_low_resolution_removes_detail_and_keeps_the_rest(shape: tuple[int, ...]) -> None:
    drawn = _asked(shape, low_resolution=4)
    flat = np.full((6, 1, *shape), 2.5, np.float32)
    np.testing.assert_allclose(_changed(flat, drawn), flat, atol=1e-5)
    detail = np.broadcast_to(np.indices(shape[-2:]).sum(0) % 2 * 2.0 - 1, (6, 1, *shape)).astype(np.float32)
    left = _changed(detail, replace(drawn, low_resolution=np.full(6, 3.0)))
    assert np.abs(left).max() < 0.2
    slope = np.broadcast_to(np.arange(34.0), (6, 1, *shape)).astype(np.float32)
    kept = _changed(slope, replace(drawn, low_resolution=np.full(6, 2.0)))
    np.testing.assert_allclose(kept[..., 4:-4], slope[..., 4:-4], atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_ghosts_are_a_modulation_of_the_lines_of_k_space(shape: tuple[int, ...], axis: int) -> None:
    images, drawn = _images(shape), _asked(shape, ghosting=0.4)
    drawn = replace(drawn, phase_axis=np.full(6, axis))
    size = shape[-2 + axis]
    for n, (x, y) in enumerate(zip(images.astype(float), _changed(images, drawn), strict=True)):
        strength, distance = drawn.ghosting[n], round(drawn.ghost_move[n] * size)
        lines = np.fft.fftfreq(size) * size
        weight = 1 + 2 * strength * (np.cos(2 * np.pi * lines * distance / size) - 1)
        at = x.ndim - 2 + axis
        weight = weight.reshape(-1, *[1] * (x.ndim - 1 - at))
        wanted = np.fft.ifft(np.fft.fft(x, axis=at) * weight, axis=at)
        assert np.abs(wanted.imag).max() < 1e-9
        _close(y, wanted.real)
        assert y.mean() == pytest.approx(x.mean(), abs=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_motion_sees_one_half_of_k_space_in_each_position(axis: int) -> None:
    images, drawn = _images((20, 30)), _asked((20, 30), motion=0.2)
    # Whole pixels, so that the second position is the image rolled.
    move = np.array([[2, 3]] * 6)
    drawn = replace(drawn, motion=move / [20, 30], phase_axis=np.full(6, axis))
    for x, y in zip(images.astype(float), _changed(images, drawn), strict=True):
        before = x - x.min()
        after = np.roll(before, (2, 3), (1, 2))
        early = np.fft.fftfreq((20, 30)[axis]) < 0
        early = early[:, None] if axis == 0 else early[None]
        seen = np.where(early, np.fft.fft2(before), np.fft.fft2(after))
        _close(y, np.abs(np.fft.ifft2(seen)) + x.min())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_patient_who_hardly_moves_leaves_the_image(shape: tuple[int, ...]) -> None:
    images, drawn = _images(shape), _asked(shape, motion=0.2)
    _close(_changed(images, replace(drawn, motion=drawn.motion * 1e-9 + 1e-12)), images)


@pytest.mark.parametrize("shape", SHAPES)
def test_cutting_out_leaves_the_mean_in_the_box_alone(shape: tuple[int, ...]) -> None:
    images = _images(shape, 40)
    drawn = _asked(shape, 40, cutout=0.5, cutout_chance=0.8)
    out = _changed(images, drawn)
    assert 20 < drawn.cutout.any((1, 2)).sum() < 40
    for x, y, (low, high) in zip(images, out, drawn.cutout, strict=True):
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        wanted = x.copy()
        wanted[(slice(None), *box)] = x.mean()
        np.testing.assert_allclose(y, wanted, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_standardised_images_have_mean_zero_and_spread_one(shape: tuple[int, ...]) -> None:
    drawn = _asked(shape, contrast=0.5, brightness=0.5, rotation_deg=20)
    out = _changed(_images(shape), drawn, standardise=True).reshape(6, -1)
    np.testing.assert_allclose(out.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(1), 1, atol=1e-5)
    flat = _changed(np.full((6, 2, *shape), 9, np.float32), drawn, standardise=True)
    assert np.abs(flat).max() < 1e-2


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_image_survives_everything(shape: tuple[int, ...]) -> None:
    amounts = {
        "brightness": 1, "contrast": 0.5, "gamma": 1, "noise": 1, "blur": 2, "sharpness": 1, "bias_field": 1,
        "low_resolution": 3, "motion": 0.2, "ghosting": 0.4, "cutout": 0.5,
    }  # fmt: skip
    out = _changed(np.full((6, 2, *shape), 4, np.float32), _asked(shape, **amounts))
    np.testing.assert_allclose(out, 4, atol=1e-4)


def test_order_is_gamma_before_contrast_before_noise() -> None:
    images = _images((21, 34))
    drawn = _asked((21, 34), gamma=0.7, contrast=0.5, noise=0.3)
    parts = [
        replace(drawn, contrast=np.ones(6), noise=np.zeros(6)),
        replace(drawn, gamma=np.ones(6), noise=np.zeros(6)),
        replace(drawn, gamma=np.ones(6), contrast=np.ones(6)),
    ]
    step = images
    for part in parts:
        step = _changed(step, part)
    _close(_changed(images, drawn), step)
