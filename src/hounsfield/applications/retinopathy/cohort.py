"""Who is in the retinopathy cohort: age, sex, site, years of diabetes, each eye's grade, spoiled pictures.

Site A is a screening programme, site B an eye clinic whose patients are sicker, site C a mobile clinic with a
hand-held camera, where more photographs fail. Both eyes of a person share most of their disease.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
from scipy.special import ndtri

from hounsfield.applications.retinopathy.cameras import Site
from hounsfield.applications.retinopathy.eye import Anatomy, sample_anatomies
from hounsfield.applications.retinopathy.field import Eye
from hounsfield.applications.retinopathy.photograph import FAULTS, Fault

__all__ = ["GRADES", "Patient", "Shot", "sample_patients"]

Sex = Literal["F", "M"]

GRADES = ("none", "mild", "moderate", "severe", "proliferative")
"""The International Clinical Diabetic Retinopathy scale, 0 to 4."""

_SITES: dict[Site, float] = {"A": 0.44, "B": 0.34, "C": 0.22}
_SICKER: dict[Site, float] = {"A": -0.20, "B": 0.40, "C": -0.05}
_SPOILED: dict[Site, float] = {"A": 0.04, "B": 0.045, "C": 0.12}
_CUTS = (-0.25, 0.20, 0.85, 1.30)
"""Of a normal severity: about 40, 18, 22, 10 and 10 per cent of the eyes are of grade 0 to 4."""
_SHARED = 0.90
"""The correlation of the two eyes' severities."""


@dataclass(frozen=True)
class Shot:
    """One photograph to take: the eye, the grade it has, and what spoils it ("" for nothing)."""

    anatomy: Anatomy
    grade: int
    fault: Fault

    @property
    def eye(self) -> Eye:
        """Right or left."""
        return self.anatomy.eye


@dataclass(frozen=True)
class Patient:
    """One person, the right eye's photograph before the left's."""

    number: int
    age: int
    sex: Sex
    site: Site
    diabetes_years: int
    examined: date
    shots: tuple[Shot, Shot]


def sample_patients(*, patients: int, seed: int) -> list[Patient]:
    """The whole cohort: sites and severities in fixed shares, dealt out by the seed.

    >>> cohort = sample_patients(patients=30, seed=0)
    >>> len(cohort), sorted({p.site for p in cohort}), [s.eye for s in cohort[0].shots]
    (30, ['A', 'B', 'C'], ['R', 'L'])
    """
    rng = np.random.default_rng([seed, 20])
    bounds = np.cumsum(list(_SITES.values()))[:-1]
    names = list(_SITES)
    sites = [names[int(np.searchsorted(bounds, (n + 0.5) / patients))] for n in range(patients)]
    order = rng.permutation(patients).tolist()
    # Severities lie evenly along their distribution: a small cohort has all grades too.
    ranks = (rng.permutation(patients) + rng.random(patients)) / patients
    severities = ndtri(ranks).tolist()
    return [
        _patient(number, sites[place], severity, seed)
        for number, (place, severity) in enumerate(zip(order, severities, strict=True), start=1)
    ]


def _patient(number: int, site: Site, severity: float, seed: int) -> Patient:
    rng = np.random.default_rng([seed, 21, number])
    age = int(np.clip(round(rng.normal(59, 12)), 22, 88))
    years = int(np.clip(round(11 * np.exp(0.35 * severity + 0.55 * rng.normal())), 0, age - 12))
    common = severity + _SICKER[site]
    anatomies = sample_anatomies(rng, age=age, seed=(seed, 22, number))
    shots = []
    for eye in ("R", "L"):
        own = np.sqrt(_SHARED) * common + np.sqrt(1 - _SHARED) * rng.normal()
        spoiled = rng.random() < _SPOILED[site]
        fault: Fault = FAULTS[int(rng.choice(len(FAULTS), p=(0.35, 0.2, 0.1, 0.2, 0.15)))] if spoiled else ""
        shots.append(Shot(anatomies[eye], int(np.searchsorted(_CUTS, own)), fault))
    return Patient(
        number=number,
        age=age,
        sex="F" if rng.random() < 0.48 else "M",
        site=site,
        diabetes_years=years,
        examined=date(2023, 1, 9) + timedelta(days=int(rng.integers(0, 2 * 365))),
        shots=(shots[0], shots[1]),
    )
