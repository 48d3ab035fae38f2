"""How much of a patient's privacy steps have spent: epsilon and delta, by Opacus's accountants.

(epsilon, delta) of a site speak of its own patients: two runs that differ in one patient of the site give any
result with odds that differ by exp(epsilon) at most, but for a chance of delta. PRV (Gopi 2021) counts the
losses of the steps as random variables; where it cannot, RDP (Mironov 2017) gives a larger bound. Both take
steps in which every patient is drawn by a coin of its own (`private_step.PrivateDraws`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from hounsfield.core.errors import BadInput

__all__ = ["Accountant", "Steps", "noise_for", "spent"]

Accountant = Literal["prv", "rdp"]

_MOST_NOISE = 1e4
_CLOSE = 1.01
"""The noise is found to one in a hundred, above."""
_LARGE = 50.0
"""Above it epsilon promises nothing, and RDP's bound of it is enough."""
_ORDERS = [*range(2, 65), 72, 80, 96, 128, 192, 256, 512]
_SURE = 1 - 1e-9
_ERROR = 0.01
"""The error of epsilon by PRV, which is added to it."""


@dataclass(frozen=True)
class Steps:
    """`count` steps in which each patient is drawn with the chance `rate` and the noise is `noise` clips."""

    noise: float
    rate: float
    count: int


def spent(steps: Sequence[Steps], *, delta: float) -> tuple[float, Accountant]:
    """An upper bound of epsilon after all of `steps`, and whose it is; infinite where a step had no noise.

    >>> eps, by = spent([Steps(1.1, 0.01, 1000)], delta=1e-5)
    >>> by, round(eps, 1)
    ('prv', 1.5)
    >>> spent([], delta=1e-5)
    (0.0, 'prv')
    """
    merged: dict[tuple[float, float], int] = {}
    for some in steps:
        if some.count > 0:
            key = (some.noise, some.rate)
            merged[key] = merged.get(key, 0) + some.count
    return _spent(tuple(sorted((*key, count) for key, count in merged.items())), delta)


def noise_for(epsilon: float, *, delta: float, rate: float, steps: int) -> float:
    """The least noise, in clips, with which `steps` steps at `rate` spend at most (`epsilon`, `delta`).

    Raises BadInput where no noise is enough.

    >>> noise = noise_for(8, delta=1e-5, rate=0.2, steps=100)
    >>> spent([Steps(noise, 0.2, 100)], delta=1e-5)[0] <= 8
    True
    """
    if epsilon <= 0 or not 0 < delta < 1 or not 0 < rate <= 1 or steps < 1:
        raise ValueError("a budget of nothing, a rate outside (0, 1], or no step")
    return _noise_for(epsilon, delta, rate, steps)


@lru_cache(maxsize=256)
def _noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    high = _bisected(lambda noise: _rdp(((noise, rate, steps),), delta), epsilon, 0.3, 2.0)
    if high is None:
        raise BadInput(
            f"a budget of epsilon {epsilon:g} at delta {delta:g} cannot be kept in {steps} steps that see "
            f"each patient with a chance of {rate:.3g}; raise federation.epsilon, or take fewer rounds"
        )
    found = _bisected(lambda noise: _spent(((noise, rate, steps),), delta)[0], epsilon, high * 0.8, high)
    return high if found is None else found


def _bisected(of: Callable[[float], float], epsilon: float, low: float, high: float) -> float | None:
    """A noise at which `of`, which falls with it, is just at most `epsilon`, or None; the bounds grow."""
    while of(high) > epsilon:
        low, high = high, high * 2
        if high > _MOST_NOISE:
            return None
    while low > 0.01 and of(low) <= epsilon:
        low, high = low * 0.8, low
    while high > low * _CLOSE:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if of(middle) <= epsilon else (middle, high)
    return high


@lru_cache(maxsize=1024)
def _spent(history: tuple[tuple[float, float, int], ...], delta: float) -> tuple[float, Accountant]:
    if not history:
        return 0.0, "prv"
    if any(noise <= 0 for noise, _, _ in history):
        return math.inf, "prv"
    bound = _rdp(history, delta)
    by_prv = _prv(history, delta) if bound < _LARGE else math.inf
    return (by_prv, "prv") if by_prv <= bound else (bound, "rdp")


def _rdp(history: tuple[tuple[float, float, int], ...], delta: float) -> float:
    """RDP's bound by whole orders: the others take minutes, and every order gives a bound."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = list(history)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a better order might lie beyond those tried: the bound holds
        return float(accountant.get_epsilon(delta, alphas=_ORDERS))


def _prv(history: tuple[tuple[float, float, int], ...], delta: float) -> float:
    """PRV's bound; infinite where the losses do not fit onto a grid."""
    from opacus.accountants.analysis import prv

    error, little = _ERROR, delta / 1000
    steps = sum(count for _, _, count in history)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        losses = [prv.PoissonSubsampledGaussianPRV(min(rate, _SURE), noise) for noise, rate, _ in history]
        one_step = (_rdp(((noise, rate, 1),), little / (8 * steps)) for noise, rate, _ in history)
        reach = max(_rdp(history, little / 4), *one_step, error) + 3  # Gopi 2021, remark 5.6, as in Opacus
        mesh = error / math.sqrt(steps * math.log(12 / little) / 2)
        try:
            grid = prv.Domain.create_aligned(-reach, reach, mesh)
            parts = [
                prv.discretize(prv.TruncatedPrivacyRandomVariable(loss, grid.t_min, grid.t_max), grid)
                for loss in losses
            ]
            whole = prv.compose_heterogeneous(
                dprvs=parts, num_self_compositions=[count for _, _, count in history]
            )
            found = float(whole.compute_epsilon(delta, little, error)[2])
        except (RuntimeError, ValueError, MemoryError, FloatingPointError, IndexError):
            return math.inf
    return found if math.isfinite(found) and found > 0 else math.inf
