"""What a site has spent of its patients' privacy, kept on its disk; and the secret of its noise.

A round is charged before it is trained, and what was charged is never given back: a lost answer was paid.
The same round from the same weights has the same noise (`private_step.secret_rng`), tells nothing new, and
costs nothing; from other weights it costs again. A charge beyond the budget is refused, and the run stops.

```python
ledger = PrivacyLedger(folder, run=plan_hash, epsilon=plan.federation.epsilon, delta=plan.federation.delta)
noise = ledger.noise(rate=rate, steps=rounds * steps)     # the same for the whole run, kept with it
ledger.charge(number, digest_of_weights, rate=rate, steps=steps)       # before the round is trained
rng = secret_rng(ledger.secret, plan_hash, number, digest_of_weights, step)
```
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hounsfield.core.errors import GateRefused, HounsfieldError
from hounsfield.federation.privacy.accounting import Accountant, Steps, noise_for, spent
from hounsfield.io.files import write_json, write_secret

__all__ = ["BudgetSpent", "PrivacyLedger", "Spending"]

LEDGER, SECRET = "privacy.json", "noise.key"


class BudgetSpent(GateRefused):
    """A step would spend more of a patient's privacy than the plan allows; the run stops before it."""


@dataclass(frozen=True)
class Spending:
    """(epsilon, delta) that `steps` private steps of `rounds` rounds have spent on each patient, at most.

    `limit` is the plan's epsilon, `clip` the length of a patient's gradient, `noise` in clips, `rate` the
    chance of a patient in a step, `patients` how many trained.
    """

    epsilon: float
    delta: float
    limit: float
    accountant: Accountant
    noise: float
    rate: float
    clip: float
    steps: int
    rounds: int
    patients: int


class PrivacyLedger:
    """The account of one site and one run (a plan by its hash), in `folder`; other runs are kept beside it.

    Raises HounsfieldError where the file cannot be understood: a budget that was lost is not begun anew.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> ledger = PrivacyLedger(folder, run="a1", epsilon=8, delta=1e-5)
    >>> _ = ledger.noise(rate=0.5, steps=4)
    >>> [ledger.charge(n, "weights", rate=0.5, steps=2) for n in (1, 2, 2)]
    [True, True, False]
    >>> PrivacyLedger(folder, run="a1", epsilon=8, delta=1e-5).charge(3, "weights", rate=0.5, steps=2)
    Traceback (most recent call last):
    hounsfield.federation.privacy.ledger.BudgetSpent: round 3 would bring epsilon to ..., and the plan \
allows 8 at delta 1e-05; the site answers no more rounds of it, and the run ends with what it has
    """

    def __init__(self, folder: Path, *, run: str, epsilon: float, delta: float) -> None:
        self.folder, self.run, self.epsilon, self.delta = folder, run, epsilon, delta
        self._runs: dict[str, Any] = self._read()
        self._own: dict[str, Any] = self._runs.setdefault(run, {"noise": None, "charges": []})

    @property
    def secret(self) -> bytes:
        """32 bytes that only this site knows, made at the first call."""
        place = self.folder / SECRET
        made = secrets.token_bytes(32)
        try:
            write_secret(place, made)
        except FileExistsError:
            found = place.read_bytes()
            if len(found) != 32:
                raise HounsfieldError(
                    f"{SECRET} of the site's folder holds {len(found)} bytes; expected 32; remove it, "
                    "and let the site take part in a new plan"
                ) from None
            return found
        return made

    def noise(self, *, rate: float, steps: int) -> float:
        """The noise, in clips, with which `steps` steps of the whole run stay within the budget.

        It is found once; a run that goes on keeps it.
        """
        if self._own["noise"] is None:
            self._own["noise"] = noise_for(self.epsilon, delta=self.delta, rate=rate, steps=steps)
            self._write()
        return float(self._own["noise"])

    def charge(self, number: int, weights: str, *, rate: float, steps: int) -> bool:
        """Pay for a round from weights of this digest, before it is trained; False where it was paid for.

        Raises BudgetSpent.
        """
        made = [number, weights, rate, steps]
        if made in self._own["charges"]:
            return False
        if self._own["noise"] is None:
            raise RuntimeError("a charge before the run's noise was found")
        more = Steps(self._own["noise"], rate, steps)
        epsilon, _ = spent([*self._steps(self.run), more], delta=self.delta)
        if epsilon > self.epsilon:
            raise BudgetSpent(
                f"round {number} would bring epsilon to {epsilon:.2f}, and the plan allows {self.epsilon:g} "
                f"at delta {self.delta:g}; the site answers no more rounds of it, and the run ends with "
                "what it has"
            )
        self._own["charges"].append(made)
        self._write()
        return True

    def spending(self, *, clip: float, patients: int) -> Spending:
        """What this run has spent."""
        steps = self._steps(self.run)
        epsilon, accountant = spent(steps, delta=self.delta)
        rates = [some.rate for some in steps]
        return Spending(
            epsilon, self.delta, self.epsilon, accountant, float(self._own["noise"] or 0.0),
            max(rates, default=0.0), clip, sum(some.count for some in steps),
            len({charge[0] for charge in self._own["charges"]}), patients,
        )  # fmt: skip

    def overall(self) -> float:
        """An upper bound of epsilon, at this run's delta, of all runs that this folder knows together."""
        return spent([step for run in self._runs for step in self._steps(run)], delta=self.delta)[0]

    def _steps(self, run: str) -> list[Steps]:
        known = self._runs[run]
        return [Steps(float(known["noise"]), rate, steps) for _, _, rate, steps in known["charges"]]

    def _read(self) -> dict[str, Any]:
        place = self.folder / LEDGER
        if not place.exists():
            return {}
        try:
            runs: dict[str, Any] = json.loads(place.read_text("utf-8"))["runs"]
            for own in runs.values():
                [float(rate) + int(steps) for _, _, rate, steps in own["charges"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HounsfieldError(
                f"{LEDGER} of the site's folder cannot be understood, so that what was spent is not known; "
                "restore it from a copy"
            ) from error
        return runs

    def _write(self) -> None:
        write_json(self.folder / LEDGER, {"runs": self._runs})
