"""Normalisation is one scale and one offset, and the numbers are those that the plan promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.core.plan import Input
from hounsfield.transforms.normalise import apply_levels, levels_of


def _seen(data: NDArray[Any], *, bits: int = 8, **plan: Any) -> NDArray[np.float32]:
    levels = levels_of(data, Input(**plan), bits=bits)
    return apply_levels(data[None], np.array([levels], np.float32))[0]


def _image(dtype: type = np.uint16, top: int = 4095) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, top + 1, (1, 1, 30, 40)).astype(dtype)


def test_zscore_has_mean_zero_and_spread_one() -> None:
    seen = _seen(_image(), normalise="zscore")
    assert abs(seen.mean()) < 1e-4 and abs(seen.std() - 1) < 1e-4


def test_zscore_of_a_constant_is_zero() -> None:
    assert not _seen(np.full((1, 1, 4, 4), 700, np.int16), normalise="zscore").any()


def test_unit_divides_by_what_the_stored_depth_can_hold() -> None:
    data = np.array([0, 2047, 4095], np.uint16).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(_seen(data, bits=12, normalise="unit").ravel(), [0, 2047 / 4095, 1], atol=1e-6)


def test_unit_of_floats_spans_zero_to_one() -> None:
    data = np.linspace(-0.5, 0.5, 12, dtype=np.float32).reshape(1, 1, 3, 4)
    seen = _seen(data, bits=32, normalise="unit")
    assert seen.min() == pytest.approx(0, abs=1e-6) and seen.max() == pytest.approx(1, abs=1e-6)


def test_percentile_clips_what_lies_outside() -> None:
    data = _image()
    low, high = np.percentile(data, (0.5, 99.5))
    wanted = np.clip((data - low) / (high - low), 0, 1)
    np.testing.assert_allclose(_seen(data, normalise="percentile"), wanted, atol=1e-5)


def test_window_is_zero_and_one_at_its_edges() -> None:
    data = np.array([-1024, -160, 40, 240, 3000], np.int16).reshape(1, 1, 1, 5)
    seen = _seen(data, normalise="window", window=(40, 400))
    np.testing.assert_allclose(seen.ravel(), [0, 0, 0.5, 1, 1], atol=1e-6)


def test_a_batch_takes_each_image_by_its_own_levels() -> None:
    images = np.stack([_image(top=100), _image(top=4000)])
    levels = np.array([levels_of(x, Input(), bits=16) for x in images], np.float32)
    together = apply_levels(images, levels)
    for n in (0, 1):
        np.testing.assert_allclose(together[n], apply_levels(images[n : n + 1], levels[n : n + 1])[0])
