"""Mean, spread and percentiles are numpy's in float64, whatever the type and however many values."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.transforms.measures import mean_and_spread, percentiles_of

KINDS = [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 3, 5), (3, 1, 211, 97), (1, 20, 60, 60)])
def test_they_are_those_of_numpy(kind: type, shape: tuple[int, ...]) -> None:
    low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if np.dtype(kind).kind in "iu" else (-900, 900)
    values = np.random.default_rng(1).integers(low, high, shape).astype(kind)
    exact = values.astype(np.float64)
    mean, spread = mean_and_spread(values)
    assert mean == pytest.approx(exact.mean(), rel=1e-9, abs=1e-6)
    assert spread == pytest.approx(exact.std(), rel=1e-9)
    wanted = np.percentile(exact, (0, 0.5, 37, 50, 99.5, 100))
    np.testing.assert_allclose(percentiles_of(values, (0, 0.5, 37, 50, 99.5, 100)), wanted, rtol=1e-12)


def test_a_small_spread_beside_a_large_offset_is_kept() -> None:
    values = 1e6 + np.random.default_rng(0).normal(0, 0.25, (1, 1, 200, 200))
    assert mean_and_spread(values)[1] == pytest.approx(0.25, rel=0.02)
    lifted = (values + 3e4).astype(np.float32)
    assert mean_and_spread(lifted)[1] == pytest.approx(lifted.astype(np.float64).std(), rel=1e-9)


def test_a_view_is_measured_and_not_what_lies_around_it() -> None:
    whole = np.zeros((1, 1, 400, 400), np.int16)
    whole[..., 100:300, 50:350] = np.random.default_rng(0).integers(-1000, 1000, (200, 300))
    part = whole[..., 100:300, 50:350]
    assert mean_and_spread(part)[0] == pytest.approx(part.astype(float).mean())
    np.testing.assert_allclose(percentiles_of(part, (1, 99)), np.percentile(part, (1, 99)))
