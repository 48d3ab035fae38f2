"""Was this patient in the training? Who has the model must do no better than a little above chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from federation.attacks.victims import OFF, Protection, linear, losses, noise_pictures, train
from hounsfield.metrics.discrimination import area

BUDGET = Protection(epsilon=2.0, clip=1.0)


def loss_threshold(protection: Protection, *, n: int = 80, seed: int = 0) -> float:
    """The area under the ROC curve of "a low loss means that it was there" (Yeom 2018)."""
    images, wanted = noise_pictures(seed, 2 * n)
    net = train(
        linear(), images[:n], wanted[:n], protection, rate=0.5, steps=40, speed=1.0, seed=seed
    )  # fmt: skip
    found = area(-losses(net, images, wanted), np.arange(2 * n) < n)
    assert found is not None
    return found


def test_a_low_loss_tells_members_only_where_the_noise_is_off() -> None:
    assert loss_threshold(OFF) > 0.8
    assert loss_threshold(BUDGET) < 0.65


def scores_of(
    protection: Protection, *, shadows: int, n: int, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logit confidences (shadows, n) of models trained on random halves, and who was in."""
    images, wanted = noise_pictures(1, n)
    inside = np.random.default_rng(2).permuted(np.tile(np.arange(n) < n // 2, (shadows, 1)), axis=1)
    found = np.zeros((shadows, n))
    for s in range(shadows):
        own = torch.from_numpy(inside[s])
        net = train(
            linear(), images[own], wanted[own], protection, rate=0.5, steps=steps, speed=0.5, seed=s
        )  # fmt: skip
        lost = losses(net, images, wanted)
        found[s] = -np.log(np.expm1(np.clip(lost, 1e-6, 30)))  # log p / (1 - p) of the right answer
    return found, inside


def lira(scores: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    """The area of the likelihood ratio attack (Carlini 2022): each model is judged by all others."""
    ratios = np.zeros_like(scores)
    for target in range(len(scores)):
        others = np.arange(len(scores)) != target
        both = []
        for was_in in (True, False):
            group = np.where(inside[others] == was_in, scores[others], np.nan)
            mean = np.nanmean(group, 0)
            spread = np.sqrt(np.nanmean((group - mean) ** 2))
            both.append(-0.5 * ((scores[target] - mean) / spread) ** 2 - np.log(spread))
        ratios[target] = both[0] - both[1]
    found = area(ratios.ravel(), inside.ravel())
    assert found is not None
    return found


def test_likelihood_ratios_of_shadow_models_tell_members_only_where_the_noise_is_off() -> None:
    attacked = {p: lira(*scores_of(p, shadows=10, n=60, steps=25)) for p in (OFF, BUDGET)}
    assert attacked[OFF] > 0.95
    assert attacked[BUDGET] < 0.65


@pytest.mark.slow
def test_many_shadow_models_tell_hardly_more_than_the_budget_allows() -> None:
    strict, loose = Protection(epsilon=1.0, clip=1.0), Protection(epsilon=8.0, clip=1.0)
    found = {p: lira(*scores_of(p, shadows=64, n=100, steps=60)) for p in (OFF, loose, strict)}
    assert found[OFF] > 0.95
    assert found[strict] < 0.6 and found[strict] < found[loose] < found[OFF]
