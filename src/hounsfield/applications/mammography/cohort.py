"""Who is in the phantom cohort: age, density, site, lesions, and which pictures bear the marker.

Cancer is commoner at site B, a clinic, than at site A, a screening centre, yet neither site has
none; and only site B burns a marker in, for most breasts with a cancer and few without. A model can
therefore score well for three reasons, of which one is medicine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np

from hounsfield.applications.mammography.anatomy import (
    VIEWS,
    Breast,
    Density,
    Laterality,
    View,
    sample_breasts,
    sample_density,
)
from hounsfield.applications.mammography.lesions import Lesion, sample_lesion

__all__ = ["FINDINGS", "Finding", "Patient", "Shot", "Site", "sample_patients"]

Finding = Literal["normal", "benign", "malignant"]
Site = Literal["A", "B"]

FINDINGS: tuple[Finding, ...] = ("malignant", "benign", "normal")

_SHARE_AT_B: dict[Finding, float] = {"malignant": 0.62, "benign": 0.46, "normal": 0.42}
_AGE: dict[Finding, tuple[float, float]] = {
    "malignant": (61.0, 9.0),
    "benign": (52.0, 8.5),
    "normal": (56.0, 9.5),
}
_MARKED_MALIGNANT, _MARKED_OTHER = 0.90, 0.15
_SECOND_BENIGN = 0.2  # the other breast of a woman with a finding holds a benign one


@dataclass(frozen=True)
class Shot:
    """One picture to take: a view of a breast and what lies in it."""

    breast: Breast
    view: View
    lesion: Lesion | None
    marker: bool

    @property
    def laterality(self) -> Laterality:
        """The side of the breast."""
        return self.breast.laterality

    @property
    def finding(self) -> Finding:
        """What this breast holds."""
        if self.lesion is None:
            return "normal"
        return "malignant" if self.lesion.malignant else "benign"


@dataclass(frozen=True)
class Patient:
    """One woman of the cohort and her four pictures."""

    number: int
    age: int
    density: Density
    site: Site
    finding: Finding
    examined: date
    force_newton: float
    shots: tuple[Shot, ...]


def sample_patients(*, patients: int, seed: int, marker: bool = True) -> list[Patient]:
    """The whole cohort: about a third each malignant, benign and normal, at both sites.

    A woman's anatomy depends on the seed and her number alone; switching the marker off changes
    nothing but the marker.

    >>> cohort = sample_patients(patients=12, seed=0)
    >>> sorted({(p.site, p.finding) for p in cohort}) == sorted(
    ...     (site, finding) for site in "AB" for finding in FINDINGS
    ... )
    True
    """
    rng = np.random.default_rng([seed, 0])
    roles: list[tuple[Finding, Site]] = []
    for i, finding in enumerate(FINDINGS):
        n = (patients + i) // len(FINDINGS)
        at_b = min(max(round(n * _SHARE_AT_B[finding]), 1), n - 1)
        roles.extend((finding, "B" if k < at_b else "A") for k in range(n))
    order = rng.permutation(len(roles))
    return [
        _patient(number, *roles[role], seed=seed, marker=marker) for number, role in enumerate(order, start=1)
    ]


def _patient(number: int, finding: Finding, site: Site, *, seed: int, marker: bool) -> Patient:
    rng = np.random.default_rng([seed, 1, number])
    age = int(np.clip(round(rng.normal(*_AGE[finding])), 40, 79))
    density = sample_density(rng, age=age)
    breasts = sample_breasts(rng, density=density)
    lesions = _lesions(rng, breasts, finding)
    draws = np.random.default_rng([seed, 2, number]).random(4)
    # Right before left, cranio-caudal first: the usual order of a screening examination.
    pairs = [(side, view) for view in VIEWS for side in (1, 0)]
    shots = []
    for (side, view), draw in zip(pairs, draws, strict=True):
        lesion = lesions[side]
        chance = _MARKED_MALIGNANT if lesion and lesion.malignant else _MARKED_OTHER
        burned = marker and site == "B" and bool(draw < chance)
        shots.append(Shot(breasts[side], view, lesion, burned))
    return Patient(
        number=number,
        age=age,
        density=density,
        site=site,
        finding=finding,
        examined=date(2021, 1, 4) + timedelta(days=int(rng.integers(0, 3 * 365))),
        force_newton=float(np.round(rng.uniform(75, 145))),
        shots=tuple(shots),
    )


def _lesions(rng: np.random.Generator, breasts: Sequence[Breast], finding: Finding) -> list[Lesion | None]:
    found: list[Lesion | None] = [None, None]
    side = int(rng.integers(2))
    second = rng.random() < _SECOND_BENIGN
    if finding == "normal":
        return found
    found[side] = sample_lesion(rng, breasts[side], malignant=finding == "malignant")
    if second:
        found[1 - side] = sample_lesion(rng, breasts[1 - side], malignant=False)
    return found
