"""Watches the loss while a member trains: what is not finite or runs away is taken back to the last good
step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hounsfield.core.errors import HounsfieldError

if TYPE_CHECKING:
    from hounsfield.steps.learner import Learner

__all__ = ["EVERY", "Guard", "Place"]

EVERY = 50
"""Steps between two copies of a good state in memory."""

_MOST = 3
_FIRST = 10


@dataclass(frozen=True)
class Place:
    """The next step of a training: its epoch and step, and the sum of losses over the images seen so far."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0
    seen: int = 0

    def after(self, loss: float, size: int) -> Place:
        """The place behind a step that was made with this mean loss on `size` images."""
        return Place(self.epoch, self.step + 1, self.total + loss * size, self.seen + size)


class Guard:
    """Judges each step's loss, keeps the last good state, and halves the learning rate when it is needed.

    A loss has run away when its smoothed value is above four times the mean of the first ten, plus one.
    """

    def __init__(self) -> None:
        self.scale, self.recoveries = 1.0, 0
        self.first: list[float] = []
        self.smoothed = 0.0
        self._kept: dict[str, Any] = {}

    def facts(self) -> dict[str, Any]:
        """Its state for a checkpoint."""
        return {
            "scale": self.scale,
            "recoveries": self.recoveries,
            "first": self.first,
            "smoothed": self.smoothed,
        }

    def resume(self, facts: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.scale, self.recoveries = facts["scale"], facts["recoveries"]
        self.first, self.smoothed = list(facts["first"]), facts["smoothed"]

    def fault(self, loss: float) -> str:
        """What is wrong with this loss, "" for nothing.

        >>> Guard().fault(float("nan")), Guard().fault(0.7)
        ('the loss is not finite', '')
        """
        if not math.isfinite(loss):
            return "the loss is not finite"
        if len(self.first) < _FIRST:
            self.first.append(loss)
            self.smoothed = sum(self.first) / len(self.first)
            return ""
        self.smoothed = 0.9 * self.smoothed + 0.1 * loss
        if self.smoothed > 4 * sum(self.first) / _FIRST + 1:
            return f"the loss has risen to {self.smoothed:.3g}"
        return ""

    def keep(self, learner: Learner, place: Place) -> None:
        """Remember this state, before the step at `place`."""
        self._kept = {
            "state": {k: v.detach().clone() for k, v in learner.tensors().items()},
            "place": place,
            "watch": (list(self.first), self.smoothed),
        }

    def recover(self, learner: Learner, fault: str, rate: float) -> Place:
        """Go back to the last good state with half the learning rate; the place from which to go on.

        Raises HounsfieldError, naming the fault, when that has not helped three times.
        """
        if self.recoveries >= _MOST:
            raise HounsfieldError(
                f"training diverged: {fault}, although the learning rate was halved {_MOST} times (it is "
                f"{rate:g}); rerun with a lower fit.learning_rate, or look for images with extreme values"
            )
        self.recoveries += 1
        self.scale /= 2
        learner.give_back(self._kept["state"])
        first, self.smoothed = self._kept["watch"]
        self.first = list(first)
        place: Place = self._kept["place"]
        return place
