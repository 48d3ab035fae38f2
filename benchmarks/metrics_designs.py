"""Ways in which a simulated study could have been made, whose metrics are known from very many cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

__all__ = ["CLUSTERED", "DESIGNS", "SMALL", "Design", "Study", "logits_of"]


@dataclass(frozen=True, slots=True)
class Study:
    """Two models' probabilities, the answers 0 or 1 and the patients of N cases, all (N,)."""

    first: np.ndarray
    second: np.ndarray
    answers: np.ndarray
    patients: np.ndarray


@dataclass(frozen=True)
class Design:
    """How a study is made: logits are normal with this mean and spread; a share `shared` of their variance,
    and of the answers' own luck, belongs to the patient; the true logit is slope * logit + shift."""

    name: str
    n: int
    mean: float = 0.0
    spread: float = 1.5
    slope: float = 1.0
    shift: float = 0.0
    images: int = 1
    uneven: bool = False
    shared: float = 0.0
    levels: int = 0

    def patients(self, n: int) -> np.ndarray:
        """Each case's patient, the same in every study."""
        if self.uneven:
            sizes = np.random.default_rng(7).integers(1, 2 * self.images, n)
            return np.repeat(np.arange(n), sizes)[:n]
        return np.arange(n) // self.images

    def study(self, rng: np.random.Generator, n: int) -> Study:
        """One study of n cases."""
        who = self.patients(n)
        count = who[-1] + 1

        def normal() -> np.ndarray:
            own = rng.normal(size=n)
            if not self.shared:
                return own
            return np.sqrt(self.shared) * rng.normal(size=count)[who] + np.sqrt(1 - self.shared) * own

        logit = self.mean + self.spread * normal()
        # Luck of which the patient has a share keeps answers alike within a patient.
        answers = ndtr(normal()) < expit(self.slope * logit + self.shift)
        other = self.mean + 0.8 * (logit - self.mean) + 0.8 * normal()
        first, second = expit(logit), expit(other)
        if self.levels:
            first, second = (
                np.ceil(p * self.levels) / self.levels - 0.5 / self.levels for p in (first, second)
            )
        return Study(first, second, answers.astype(int), who)


DESIGNS = (
    Design("60 cases", 60),
    Design("200 cases", 200, mean=-1.0),
    Design("200, rare (10 %)", 200, mean=-3.0, spread=1.8),
    Design("1,000, rare (5 %)", 1000, mean=-4.0, spread=1.8),
    Design("400, nearly perfect", 400, spread=7.0),
    Design("300, five levels", 300, levels=5),
    Design("500, overconfident", 500, slope=0.5, shift=0.7),
    Design("60 patients of 4", 240, images=4, shared=0.6),
    Design("60 patients of 1 to 9", 300, images=5, uneven=True, shared=0.5),
    Design("300 patients of 3", 900, images=3, shared=0.5, mean=-1.5),
)
SMALL = ("200 cases", "500, overconfident", "60 patients of 4")
"""Where metrics are simulated that resample or refit hundreds of times in each study."""
CLUSTERED = tuple(design.name for design in DESIGNS if design.images > 1)


def logits_of(p: np.ndarray) -> np.ndarray:
    """Logits of probabilities, kept finite."""
    clipped = p.clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
