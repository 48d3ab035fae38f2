"""Who is in the cohort of brain MRI: diagnosis, age, sex, site, visits, anatomy, and what is lost a year.

Whole-brain loss follows what is reported of ageing and of Alzheimer's disease: about 0.3 to 0.6 % a year in
the healthy elderly, 1.5 to 2.5 % in dementia (Fox & Schott, Lancet 2004;363:392), the hippocampi faster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

import numpy as np

from hounsfield.applications.brain_mri.atrophy import Course
from hounsfield.applications.brain_mri.brain import Brain, sample_brain
from hounsfield.applications.brain_mri.head import Head, sample_head
from hounsfield.applications.brain_mri.lesions import Lesion, sample_lesions
from hounsfield.applications.brain_mri.scanners import SCANNERS, Scanner

__all__ = [
    "DIAGNOSES",
    "Appointment",
    "Diagnosis",
    "Patient",
    "Role",
    "sample_anatomy",
    "sample_patient",
    "sample_roles",
]

Diagnosis = Literal["normal", "impaired", "dementia"]
Sex = Literal["F", "M"]
DIAGNOSES: tuple[Diagnosis, ...] = ("normal", "impaired", "dementia")
_AGE = {"normal": 68.0, "impaired": 72.0, "dementia": 74.0}
_LOSS = {
    "normal": (0.0040, 0.0020),
    "impaired": (0.0090, 0.0030),
    "dementia": (0.0160, 0.0040),
}  # mean, spread
_HIPPOCAMPUS = {"normal": (0.010, 0.004), "impaired": (0.026, 0.007), "dementia": (0.045, 0.010)}
_BEFORE = {"normal": (0.03, 0.05), "impaired": (0.32, 0.12), "dementia": (0.70, 0.17)}
_MOST = 0.025


@dataclass(frozen=True)
class Appointment:
    """A visit: years after the first, and the scanner; a rescan is on the day of the one before it."""

    years: float
    scanner: Scanner
    rescan: bool = False


@dataclass(frozen=True)
class Role:
    """What is drawn of a patient before the anatomy; age in years at the first visit."""

    number: int
    site: str
    sex: Sex
    age: float
    diagnosis: Diagnosis
    first: date
    appointments: tuple[Appointment, ...]
    course: Course
    before: float
    lesions: int


@dataclass(frozen=True)
class Patient:
    """One person: the role, the anatomy at the first visit, the head's size beside the atlas (x, y, z)."""

    role: Role
    head: Head
    brain: Brain
    lesions: tuple[Lesion, ...]
    scale: tuple[float, float, float]


def sample_roles(*, patients: int, seed: int) -> list[Role]:
    """The cohort in its order; each third of it has one diagnosis.

    >>> roles = sample_roles(patients=6, seed=0)
    >>> sorted(role.diagnosis for role in roles)
    ['dementia', 'dementia', 'impaired', 'impaired', 'normal', 'normal']
    """
    rng = np.random.default_rng([seed, 20])
    order = rng.permutation([n % 3 for n in range(patients)])
    sites = rng.permutation([list(SCANNERS)[n % 3] for n in range(patients)])
    return [
        _role(np.random.default_rng([seed, 21, n]), n, DIAGNOSES[which], str(site))
        for n, (which, site) in enumerate(zip(order, sites, strict=True), start=1)
    ]


def sample_anatomy(role: Role, *, seed: int) -> Patient:
    """Head, brain and lesions of a role; the same whoever else is in the cohort."""
    rng = np.random.default_rng([seed, 22, role.number])
    female = role.sex == "F"
    size = 0.925 if female else 0.965
    x, y, z = (float(np.clip(size * rng.normal(1.0, 0.022), 0.86, 1.02)) for _ in range(3))
    head = sample_head(rng, female=female)
    brain = sample_brain(rng, age=role.age, loss=role.before)
    years = max(a.years for a in role.appointments)
    lesions = sample_lesions(rng, brain, count=role.lesions, years=years) if role.lesions else ()
    return Patient(role, head, brain, lesions, (x, y, z))


def sample_patient(
    *,
    seed: int,
    number: int = 1,
    diagnosis: Diagnosis = "normal",
    site: str = "A",
    annual_loss: float | None = None,
    years: tuple[float, ...] | None = None,
) -> Patient:
    """A patient outside any cohort, with a loss of brain a year (a fraction) and visits (years) of choice.

    Two equal years in a row are a scan and a rescan. What was lost in truth stands with each visit.

    >>> patient = sample_patient(seed=0, annual_loss=0.01, years=(0.0, 0.0, 1.0))
    >>> [a.rescan for a in patient.role.appointments]
    [False, True, False]
    """
    role = _role(np.random.default_rng([seed, 21, number]), number, diagnosis, site)
    if annual_loss is not None:
        role = replace(role, course=replace(role.course, brain=annual_loss))
    if years is not None:
        pairs = zip((None, *years[:-1]), years, strict=True)
        role = replace(
            role, appointments=tuple(Appointment(now, SCANNERS[site], now == last) for last, now in pairs)
        )
    return sample_anatomy(role, seed=seed)


def _role(rng: np.random.Generator, number: int, diagnosis: Diagnosis, site: str) -> Role:
    age = float(np.clip(rng.normal(_AGE[diagnosis], 7.0), 52, 89))
    mean, spread = _LOSS[diagnosis]
    brain = float(np.clip(rng.normal(mean + 0.00012 * (age - 70), spread), 0.0, _MOST))
    mean, spread = _HIPPOCAMPUS[diagnosis]
    both = float(np.clip(rng.normal(mean, spread), 0.0, 0.08))
    lean = float(np.clip(rng.normal(0, 0.12), -0.3, 0.3))
    mean, spread = _BEFORE[diagnosis]
    return Role(
        number=number,
        site=site,
        sex="F" if rng.random() < 0.53 else "M",
        age=round(age, 2),
        diagnosis=diagnosis,
        first=date(2017, 1, 9) + timedelta(days=int(rng.integers(0, 3 * 365))),
        appointments=_appointments(rng, site),
        course=Course(brain, (both * (1 + lean), both * (1 - lean)), float(rng.uniform(0.22, 0.40))),
        before=float(np.clip(rng.normal(mean, spread), 0.0, 1.0)),
        lesions=int(rng.integers(3, 16)) if rng.random() < 0.45 else 0,
    )


def _appointments(rng: np.random.Generator, site: str) -> tuple[Appointment, ...]:
    # Two to four visits within half a year to four years; one in four patients is scanned twice on a day, one
    # in ten comes to another scanner at the end.
    count = int(rng.choice([2, 3, 4], p=[0.45, 0.35, 0.20]))
    rescan = rng.random() < 0.25
    days = 1 if rescan and count == 2 else count - int(rescan)
    span = float(rng.uniform(0.5, 4.0))
    inner = np.sort(rng.uniform(0.25, 0.8, max(days - 2, 0)))
    years = [0.0, *(span * inner), span][:days]
    again = int(rng.integers(days)) if rescan else -1
    other = [name for name in SCANNERS if name != site][int(rng.integers(2))]
    changes = rng.random() < 0.10 and days > 1
    out = []
    for n, at in enumerate(years):
        scanner = SCANNERS[other if changes and n == days - 1 else site]
        when = round(float(at) * 365.25) / 365.25
        out.append(Appointment(when, scanner))
        if n == again:
            out.append(Appointment(when, scanner, rescan=True))
    return tuple(out)
