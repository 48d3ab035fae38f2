"""Resizing keeps what a pixel means: averages, integer types, proportions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hounsfield.transforms.resize import pad_to_aspect, resize


def test_area_is_the_mean_of_the_pixels_that_fall_into_one() -> None:
    rng = np.random.default_rng(0)
    data = rng.random((2, 1, 12, 20)).astype(np.float32)
    wanted = data.reshape(2, 1, 3, 4, 5, 4).mean((3, 5))
    np.testing.assert_allclose(resize(data, (1, 3, 5)), wanted, atol=1e-6)


def test_area_averages_slices_too() -> None:
    data = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1) * np.ones((1, 8, 6, 7), np.float32)
    np.testing.assert_allclose(resize(data, (4, 6, 7))[0, :, 0, 0], [0.5, 2.5, 4.5, 6.5], atol=1e-6)


def test_an_axis_that_shrinks_is_averaged_even_where_the_other_grows() -> None:
    data = np.zeros((1, 1, 64, 4), np.float32)
    data[:, :, ::8] = 8  # one bright row in eight: sampling would see all of it or nothing
    np.testing.assert_allclose(resize(data, (1, 8, 8)), 1.0, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("how", ["area", "linear", "cubic"])
def test_integers_keep_their_type_and_never_wrap(dtype: type, how: str) -> None:
    limits = np.iinfo(dtype)
    data = np.full((1, 1, 9, 9), limits.min, dtype)
    data[..., 4:, :] = limits.max
    for size in ((1, 5, 5), (1, 17, 23)):
        out = resize(data, size, interpolation=how)
        assert out.dtype == dtype
        assert out[0, 0, 0, 0] == limits.min and out[0, 0, -1, -1] == limits.max


def test_sixteen_bits_survive() -> None:
    data = np.array([[40_001, 40_003], [40_005, 40_007]], np.uint16).reshape(1, 1, 2, 2)
    assert resize(data, (1, 1, 1)).item() == 40_004


def test_wide_integers_keep_their_largest_value() -> None:
    data = np.full((1, 1, 4, 4), np.iinfo(np.uint32).max, np.uint32)
    assert (resize(data, (1, 2, 2)) == np.iinfo(np.uint32).max).all()


def test_wide_volumes_pass_the_limit_of_opencv() -> None:
    data = np.random.default_rng(0).random((1, 4, 200, 200)).astype(np.float32)
    np.testing.assert_allclose(
        resize(data, (2, 200, 200)), data.reshape(1, 2, 2, 200, 200).mean(2), atol=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 12)] * 3), st.tuples(*[st.integers(1, 12)] * 3), st.integers(0, 255))
def test_a_constant_stays_that_constant(
    before: tuple[int, ...], after: tuple[int, int, int], value: int
) -> None:
    data = np.full((1, *before), value, np.uint8)
    out = resize(data, after)
    assert out.shape == (1, *after) and (out == value).all()


@pytest.mark.parametrize(
    "shape, size", [((10, 4), (8, 8)), ((4, 10), (8, 8)), ((30, 20), (40, 20)), ((7, 7), (3, 9))]
)
def test_padding_reaches_the_aspect_and_keeps_every_pixel(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    data = np.random.default_rng(0).integers(1, 200, (1, 1, *shape)).astype(np.uint8)
    data[0, 0, 0, 0] = 0
    out = pad_to_aspect(data, (1, *size))
    assert abs(out.shape[2] / out.shape[3] - size[0] / size[1]) < 0.5 / min(shape)
    assert out.astype(int).sum() == data.astype(int).sum()
