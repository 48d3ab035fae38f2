"""Rank correlation agrees with scipy; structural similarity with its formula where that is closed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from hounsfield.explainers.similarity import rank_correlation, structural_similarity


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(2, 50))
def test_rank_correlation_is_spearmans_with_ties(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, levels, (9, 7)).astype(np.float32) for _ in range(2))
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic)


def test_an_even_map_correlates_with_nothing() -> None:
    assert rank_correlation(np.zeros((4, 4), np.float32), np.eye(4, dtype=np.float32)) == 0.0


def test_large_maps_are_compared_by_a_part_of_their_voxels() -> None:
    rng = np.random.default_rng(0)
    one = rng.random((60, 60, 60), np.float32)
    other = (one + rng.normal(0, 0.3, one.shape)).astype(np.float32)
    whole = spearmanr(one.ravel(), other.ravel()).statistic
    assert rank_correlation(one, other) == pytest.approx(whole, abs=0.02)


def test_structural_similarity_of_even_maps_is_that_of_their_levels() -> None:
    # Wang 2004, equation 13 with no variance: only the light remains
    one, other = np.full((12, 12), 0.2, np.float32), np.full((12, 12), 0.6, np.float32)
    wanted = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert structural_similarity(one, other) == pytest.approx(wanted, abs=1e-5)


def test_structural_similarity_falls_with_noise_and_is_symmetric() -> None:
    rng = np.random.default_rng(1)
    one = rng.random((32, 32)).astype(np.float32)
    near, far = (np.clip(one + rng.normal(0, s, one.shape), 0, 1).astype(np.float32) for s in (0.05, 0.5))
    assert 1 > structural_similarity(one, near) > structural_similarity(one, far)
    assert structural_similarity(one, far) == pytest.approx(structural_similarity(far, one))
