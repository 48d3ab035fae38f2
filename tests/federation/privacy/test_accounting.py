"""The budget: bounds that are known by other means, and a ledger that does not forget."""

from __future__ import annotations

import math
import stat
from pathlib import Path

import pytest
from scipy.special import log_ndtr

from hounsfield.core.errors import BadInput, HounsfieldError
from hounsfield.federation.privacy.accounting import Steps, noise_for, spent
from hounsfield.federation.privacy.ledger import BudgetSpent, PrivacyLedger


def exact_epsilon(noise: float, count: int, delta: float) -> float:
    """Of `count` steps that see everyone: they are one Gaussian (Balle & Wang 2018, theorem 8)."""
    mu = math.sqrt(count) / noise

    def chance(eps: float) -> float:
        a, b = float(log_ndtr(mu / 2 - eps / mu)), float(log_ndtr(-mu / 2 - eps / mu))
        return math.exp(a) - math.exp(eps + b)

    low, high = 0.0, 200.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if chance(middle) < delta else (middle, high)
    return high


@pytest.mark.parametrize(("noise", "count"), [(4.0, 20), (10.0, 100)])
def test_epsilon_is_an_upper_bound_close_to_the_exact_one(noise: float, count: int) -> None:
    exact = exact_epsilon(noise, count, 1e-5)
    bound, by = spent([Steps(noise, 1.0, count)], delta=1e-5)
    assert exact <= bound < exact + 0.05 and by == "prv"


def test_epsilon_grows_with_steps_and_chance_and_falls_with_noise() -> None:
    of = lambda noise, rate, count: spent([Steps(noise, rate, count)], delta=1e-5)[0]  # noqa: E731
    assert of(1.5, 0.1, 100) < of(1.5, 0.1, 200) < of(1.5, 0.2, 200)
    assert of(3.0, 0.1, 100) < of(1.5, 0.1, 100)
    parts = [Steps(1.5, 0.1, 60), Steps(1.5, 0.1, 40)]
    assert spent(parts, delta=1e-5)[0] == of(1.5, 0.1, 100)


def test_a_step_without_noise_promises_nothing() -> None:
    assert spent([Steps(1.0, 0.1, 10), Steps(0.0, 0.1, 1)], delta=1e-5)[0] == math.inf


def test_the_noise_found_is_enough_and_hardly_more() -> None:
    noise = noise_for(3.0, delta=1e-5, rate=0.1, steps=80)
    assert spent([Steps(noise, 0.1, 80)], delta=1e-5)[0] <= 3.0
    assert spent([Steps(noise * 0.98, 0.1, 80)], delta=1e-5)[0] > 3.0


def test_a_budget_that_no_noise_keeps_is_refused() -> None:
    with pytest.raises(BadInput, match=r"federation\.epsilon"):
        noise_for(1e-5, delta=1e-12, rate=1.0, steps=100_000)


def test_a_run_stops_when_its_budget_is_spent_even_if_it_began_again(tmp_path: Path) -> None:
    def ledger(run: str = "plan") -> PrivacyLedger:
        return PrivacyLedger(tmp_path, run=run, epsilon=4.0, delta=1e-5)

    assert ledger().noise(rate=0.5, steps=6) == ledger().noise(rate=0.5, steps=600)
    for number in (1, 2):
        assert ledger().charge(number, "w", rate=0.5, steps=2)
        assert not ledger().charge(number, "w", rate=0.5, steps=2)  # the same question, the same answer
    assert ledger().charge(2, "other weights", rate=0.5, steps=2)
    with pytest.raises(BudgetSpent, match="round 3"):
        ledger().charge(3, "w", rate=0.5, steps=2)
    told = ledger().spending(clip=1.0, patients=40)
    assert 3.8 < told.epsilon <= 4.0 and told.steps == 6 and told.rounds == 2 and told.limit == 4.0
    second = ledger("second plan")
    second.noise(rate=0.5, steps=2)
    assert second.charge(1, "w", rate=0.5, steps=2)
    assert ledger().overall() > 4.0
    assert ledger().secret == ledger("second plan").secret
    assert stat.S_IMODE((tmp_path / "noise.key").stat().st_mode) == 0o600


def test_a_ledger_that_cannot_be_read_is_not_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "privacy.json").write_text('{"runs": {"plan": {"noise": 1.0, "charges": [[1, "w"')
    with pytest.raises(HounsfieldError, match="restore"):
        PrivacyLedger(tmp_path, run="plan", epsilon=4.0, delta=1e-5)
