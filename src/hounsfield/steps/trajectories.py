"""The course of a cohort: how much a measure changes a year in each group, patients with slopes of their own.

A linear mixed-effects model (Laird & Ware, Biometrics 1982;38:963) of the change since the first visit: a
fixed slope a group, a random slope a patient, no intercept, since at the first visit nothing has changed.
Fitted by restricted maximum likelihood with statsmodels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import MissingDependency

__all__ = ["Slope", "Trajectories", "trajectories"]

LEAST = 3
"""Patients of a group below which its slope has no number."""

_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Slope:
    """The mean change a year of a group, with its 95 % interval; None with too few patients."""

    group: str
    per_year: float | None
    low: float | None
    high: float | None
    n: int
    n_patients: int

    def at(self, years: float) -> tuple[float, float, float] | None:
        """The change after some years and the ends of its interval."""
        if self.per_year is None or self.low is None or self.high is None:
            return None
        return self.per_year * years, self.low * years, self.high * years


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Slopes of the groups, and how much patients of one group differ in theirs (a standard deviation)."""

    slopes: tuple[Slope, ...]
    between_patients: float | None


def trajectories(
    patient: Sequence[str], years: Sequence[float], change: Sequence[float], group: Sequence[str]
) -> Trajectories:
    """The slopes of groups from changes (N,) since each patient's first visit, some `years` (N,) later.

    Rows at year 0 say nothing and are left out. Raises MissingDependency without statsmodels.

    >>> rng = np.random.default_rng(0)
    >>> who = np.repeat(np.arange(30), 3)
    >>> years = np.tile([1.0, 2.0, 3.0], 30)
    >>> slope = np.repeat(rng.normal(-1.0, 0.3, 30), 3)
    >>> change = slope * years + rng.normal(0, 0.1, 90)
    >>> made = trajectories([str(w) for w in who], years, change, ["all"] * 90)
    >>> bool(made.slopes[0].low < -1.0 < made.slopes[0].high), made.slopes[0].n_patients
    (True, 30)
    """
    keep = np.asarray(years, np.float64) > 0
    who, when = np.asarray(patient)[keep], np.asarray(years, np.float64)[keep]
    moved, of = np.asarray(change, np.float64)[keep], np.asarray(group)[keep]
    names = sorted(set(of.tolist()))
    sizes = {g: (int((of == g).sum()), len(set(who[of == g].tolist()))) for g in names}
    used = [g for g in names if sizes[g][1] >= LEAST]
    told: dict[str, tuple[float, float]] = {}
    between = None
    if used:
        rows = np.isin(of, used)
        told, between = _fitted(who[rows], when[rows], moved[rows], of[rows], used)
    slopes = []
    for name in names:
        value, error = told.get(name, (None, None))
        low = None if value is None or error is None else value - _Z * error
        high = None if value is None or error is None else value + _Z * error
        slopes.append(Slope(name, value, low, high, *sizes[name]))
    return Trajectories(tuple(slopes), between)


def _fitted(
    who: NDArray[Any],
    years: NDArray[np.float64],
    moved: NDArray[np.float64],
    of: NDArray[Any],
    names: list[str],
) -> tuple[dict[str, tuple[float, float]], float]:
    """Slope and standard error of each group, and the spread of slopes between patients."""
    try:
        from statsmodels.regression.mixed_linear_model import MixedLM  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependency(
            'the trajectories of a cohort need statsmodels; install "hounsfield[atrophy]"'
        ) from error
    fixed = np.stack([years * (of == name) for name in names], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a spread of 0 lies on the border, which is an answer
        made = MixedLM(moved, fixed, groups=who, exog_re=years[:, None]).fit(
            reml=True, method=["lbfgs", "powell"]
        )
    values, errors = np.asarray(made.fe_params), np.asarray(made.bse_fe)
    spread = float(np.sqrt(max(0.0, float(np.asarray(made.cov_re).ravel()[0]))))
    return {n: (float(v), float(e)) for n, v, e in zip(names, values, errors, strict=True)}, spread
