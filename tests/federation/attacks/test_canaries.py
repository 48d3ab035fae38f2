"""An audit: patients made to be seen are put in by coins; who guesses the coins bounds epsilon from below.

Steinke 2023: of r guesses that each are right with odds of exp(epsilon) at most, so many right ones would be
rare. A build that spends more than it says is caught, and so is one that cuts images and not patients.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom

from federation.attacks.victims import OFF, Protection, linear, train

BUDGET = Protection(epsilon=1.0, clip=1.0)
SIDE = 20


def guessed(
    protection: Protection, *, images_each: int = 1, by_image: bool = False, steps: int = 10, seed: int = 0
) -> tuple[int, int]:
    """Right guesses, and guesses: canaries light one pixel each, so that each moves a weight of its own."""
    canaries = SIDE * SIDE
    coins = np.random.default_rng(seed).random(canaries) < 0.5
    lit = torch.eye(canaries).view(-1, 1, SIDE, SIDE)[np.repeat(np.flatnonzero(coins), images_each)] * 3
    who = np.repeat(np.arange(int(coins.sum())), images_each)
    if by_image:
        who = np.arange(len(who))
    net = train(
        linear(SIDE), lit, torch.ones(len(lit), 1), protection, who=who.tolist(), rate=1.0, steps=steps,
        speed=1.0, seed=seed,
    )  # fmt: skip
    weight = net[1].weight.detach().numpy().ravel()  # type: ignore[index,union-attr]
    order = np.argsort(weight)
    sure = canaries // 8
    right = int(coins[order[-sure:]].sum()) + int((~coins[order[:sure]]).sum())
    return right, 2 * sure


def least_epsilon(right: int, guesses: int, *, level: float = 0.99) -> float:
    """The least epsilon under which so many right guesses are not too rare."""
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        rare = binom.sf(right - 1, guesses, 1 / (1 + math.exp(-middle))) < 1 - level
        low, high = (middle, high) if rare else (low, middle)
    return low


def test_what_canaries_show_is_below_the_budget_only_where_the_noise_is_on() -> None:
    assert least_epsilon(*guessed(BUDGET)) < BUDGET.epsilon
    assert least_epsilon(*guessed(OFF)) > 3.0


def test_canaries_with_many_images_are_no_easier_to_see_since_the_patient_is_the_unit() -> None:
    assert least_epsilon(*guessed(BUDGET, images_each=10)) < BUDGET.epsilon
    assert least_epsilon(*guessed(BUDGET, images_each=10, by_image=True)) > BUDGET.epsilon


@pytest.mark.slow
def test_a_hundred_audits_find_the_budget_kept() -> None:
    right, guesses = np.sum([guessed(BUDGET, seed=s) for s in range(100)], axis=0)
    assert 0.05 < least_epsilon(int(right), int(guesses)) < BUDGET.epsilon  # the audit sees something
