"""Look for better settings within a time: successive halving over plans (Jamieson & Talwalkar 2016).

Every candidate trains one member on the same folds. After each round the worse half is left out and the
others train twice as long. The plan itself is always among them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from hounsfield.core.plan import Augment, Plan
from hounsfield.steps.fit import Progress
from hounsfield.steps.job import Job
from hounsfield.steps.trial import quiet, removed, tried

__all__ = ["Searched", "candidates", "search"]

MOST = 32
_ROUNDS = 3
_OWN = ("compact", "plain")
_AMOUNTS = (
    "rotation_deg", "tilt_deg", "shift_width", "shift_height", "shift_slices", "shear_deg", "zoom", "elastic",
    "brightness", "contrast", "gamma", "noise", "blur", "sharpness", "bias_field",
)  # fmt: skip
_BOUNDS = {"shear_deg": 45.0, "zoom": 0.6, "elastic": 0.2, "contrast": 0.9}


@dataclass(frozen=True)
class Searched:
    """The plan that was found, in how many trials, and the log loss of fold 0 before and after."""

    plan: Plan
    trials: int
    before: float
    after: float
    seconds: float

    @property
    def note(self) -> str:
        """One sentence for the reader."""
        changed = sorted(k for k, v in self.plan.reasons.items() if v.startswith("found by search"))
        what = ", ".join(changed) if changed else "nothing: the designed plan was the best"
        return (
            f"{self.trials} trials in {self.seconds / 60:.1f} minutes, judged on fold 0 alone; "
            f"log loss {self.before:.3f} as designed, {self.after:.3f} as chosen; changed: {what}"
        )


def search(
    job: Job,
    *,
    minutes: float,
    fixed: Collection[str] = (),
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Searched:
    """The best plan that was found in `minutes`; keys in `fixed` were set by the user and stay.

    A round that cannot be finished in time is not begun: the best of the last whole round is taken.
    """
    say = progress or (lambda _: None)
    began = clock()
    deadline = began + 60 * minutes
    short = max(2, math.ceil(job.plan.fit.epochs / 2 ** (_ROUNDS - 1)))
    first = _loss(job, job.plan, short, "round-0-0", say)
    each = max(1e-3, clock() - began)
    count = _affordable(deadline - began, each)
    plans = [job.plan, *candidates(job.plan, count - 1, fixed=fixed)]
    losses = {0: first}
    trials, epochs, alive = 1, short, list(range(len(plans)))
    designed = first
    for level in range(_ROUNDS):
        found = dict(losses) if level == 0 else {}
        for k in alive:
            if k not in found and clock() < deadline:
                found[k] = _loss(job, plans[k], epochs, f"round-{level}-{k}", say)
                trials += 1
        if len(found) < len(alive) and level > 0:
            break
        losses, designed = found, found.get(0, designed)
        alive = sorted(found, key=lambda k: (found[k], k))[: max(1, math.ceil(len(found) / 2))]
        each = (clock() - began) / trials
        if len(alive) == 1 or clock() + 2 * each * len(alive) > deadline:
            break
        epochs = min(job.plan.fit.epochs, 2 * epochs)
    best = min(losses, key=lambda k: (losses[k], k))
    removed(job, "search")
    chosen = _with_reasons(job.plan, plans[best], losses[best])
    return Searched(chosen, trials, losses.get(0, designed), losses[best], clock() - began)


def candidates(plan: Plan, count: int, *, fixed: Collection[str] = ()) -> list[Plan]:
    """`count` plans near this one, drawn from its seed; what is fixed stays.

    Learning rate and weight decay are drawn log-uniformly, the strength of the augmentation, dropout, label
    smoothing and (for networks of our own) the width from a few values.

    >>> [p.fit.epochs for p in candidates(Plan(), 2)]
    [30, 30]
    """
    rng = np.random.default_rng([plan.seed, 0x5EA])
    return [_one(plan, rng, fixed) for _ in range(count)]


def _one(plan: Plan, rng: np.random.Generator, fixed: Collection[str]) -> Plan:
    strength = float(rng.choice([0.5, 1.0, 1.0, 1.5]))
    changes: dict[str, Any] = {
        "fit.learning_rate": plan.fit.learning_rate * 10 ** float(rng.uniform(-1, 0.5)),
        "fit.weight_decay": max(plan.fit.weight_decay, 1e-4) * 10 ** float(rng.uniform(-1, 1)),
        "fit.label_smoothing": float(rng.choice([0.0, 0.05, 0.1])),
        "network.dropout": float(rng.choice([0.0, 0.2, 0.5])),
    }
    if plan.network.name in _OWN:
        changes["network.width"] = max(8, int(plan.network.width * rng.choice([0.5, 1.0, 1.0, 2.0])))
    changes |= {f"augment.{k}": v for k, v in _scaled(plan.augment, strength).items()}
    rounded = {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in changes.items()}
    return plan.changed({k: v for k, v in rounded.items() if k not in fixed})


def _scaled(augment: Augment, strength: float) -> dict[str, float]:
    """Every amount of an augmentation, stronger or weaker."""
    found = {}
    for name in _AMOUNTS:
        amount = float(getattr(augment, name))
        if amount:
            found[name] = min(amount * strength, _BOUNDS.get(name, math.inf))
    return found


def _loss(job: Job, plan: Plan, epochs: int, name: str, say: Progress) -> float:
    fit = plan.fit.model_copy(update={"epochs": epochs, "patience": 0})
    shortened = plan.model_copy(update={"fit": fit})
    return tried(job, shortened, f"search/{name}", quiet(say, f"search {name}")).loss


def _affordable(seconds: float, each: float) -> int:
    """A power of two of candidates whose rounds take about the time: each round costs as much as the
    first.
    """
    most = max(1, int(seconds / (each * _ROUNDS)))
    return min(MOST, 1 << (most.bit_length() - 1))


def _with_reasons(designed: Plan, found: Plan, loss: float) -> Plan:
    """The plan found, with a reason at every key in which it differs from the designed one."""
    reasons = dict(designed.reasons)
    before, after = designed.model_dump(mode="json"), found.model_dump(mode="json")
    for section, values in after.items():
        if isinstance(values, dict) and section != "reasons":
            for key, value in values.items():
                if value != before[section][key]:
                    reasons[f"{section}.{key}"] = f"found by search (log loss {loss:.3f} on fold 0)"
    return found.model_copy(update={"reasons": reasons})
