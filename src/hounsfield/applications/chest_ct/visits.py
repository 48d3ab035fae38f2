"""A second visit months later: another breath, another place on the table, and nodules that went their way.

The lungs are filled a little more or less: the diaphragm moves by some millimetres, what lies in the lungs
moves with it (most at the base, not at all above the carina), and the lung's density changes as its volume
does. Bones, heart and skin stay. Nodules keep their shape and change in volume by a known doubling time:
solid cancers double in 30 to 400 days, subsolid ones more slowly (Henschke et al., Radiology 2012;263:578;
Revel et al., AJR 2006;187:135), most others stay as they are, a few shrink, vanish or appear.

What it cannot show: a patient who lies turned, arms elsewhere, lungs deformed beyond their breath,
vessels that change, and nodules that change in shape or density.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from hounsfield.applications.chest_ct.body import Body
from hounsfield.applications.chest_ct.cohort import Patient
from hounsfield.applications.chest_ct.nodules import Nodule, regrown, sample_nodules
from hounsfield.applications.chest_ct.vessels import Vessels

__all__ = ["FATES", "Fate", "FollowedNodule", "Visit", "breathed", "carried", "visits_of"]

Doubles = npt.NDArray[np.float64]
Fate = Literal["stable", "grown", "shrunk", "gone", "new"]
FATES: tuple[Fate, ...] = ("stable", "grown", "shrunk", "gone", "new")
_BREATH_MM, _MOST_BREATH_MM = 6.0, 12.0
_MALIGNANT, _BENIGN = (0.15, 0.85, 0.0, 0.0), (0.62, 0.16, 0.12, 0.10)  # of the first four fates


@dataclass(frozen=True)
class FollowedNodule:
    """Which nodule of the patient it is (from 1), what becomes of it between the visits, and how fast.

    `doubling_days` is that of its volume, negative where it shrinks, None where it does neither.
    """

    number: int
    fate: Fate
    doubling_days: float | None


@dataclass(frozen=True)
class Visit:
    """The patient as of one visit; `followed` is in the order of the patient's nodules."""

    number: int
    days: int
    patient: Patient
    followed: tuple[FollowedNodule, ...]


def breathed(body: Body, down_mm: float) -> Body:
    """The body with its diaphragm that much lower; the mass of the lungs stays.

    >>> from hounsfield.applications.chest_ct.body import sample_body
    >>> body = sample_body(np.random.default_rng(0), sex="M", age=60)
    >>> breathed(body, 8.0).lung_hu < body.lung_hu < breathed(body, -8.0).lung_hu
    True
    """
    height = body.apex - 0.5 * (body.dome_right + body.dome_left)
    air = (body.lung_hu + 1000.0) * height / (height + down_mm) - 1000.0
    return body._replace(
        dome_right=body.dome_right - down_mm, dome_left=body.dome_left - down_mm, lung_hu=air
    )


def carried(points_mm: Doubles, body: Body, down_mm: float) -> Doubles:
    """Where points (n, 3) of the lungs go when the diaphragm moves down: the lower, the further.

    >>> from hounsfield.applications.chest_ct.body import sample_body
    >>> body = sample_body(np.random.default_rng(0), sex="M", age=60)
    >>> carried(np.array([[70.0, 0, 60], [70, 0, body.dome_right]]), body, 5.0)[:, 2] - [60, body.dome_right]
    array([ 0., -5.])
    """
    top = 20.0 * body.scale
    share = np.clip((top - points_mm[:, 2]) / (top - body.dome_right), 0.0, 1.0)
    out = np.array(points_mm, np.float64)
    out[:, 2] -= down_mm * share
    return out


def visits_of(patient: Patient, *, seed: int, same_day: bool = False) -> tuple[Visit, Visit]:
    """A patient's two visits; the first is the patient as given.

    `same_day` gives a second scan minutes later instead, in which no nodule has changed: what a measure finds
    different between the two is its own error.

    >>> from hounsfield.applications.chest_ct.cohort import sample_anatomy, sample_roles
    >>> patient = sample_anatomy(sample_roles(patients=2, seed=0)[0], seed=0)
    >>> first, second = visits_of(patient, seed=0)
    >>> first.patient is patient, 90 <= second.days <= 270
    (True, True)
    """
    rng = np.random.default_rng([seed, 14, patient.role.number])
    days = int(rng.integers(90, 271)) * (not same_day)
    down = float(np.clip(rng.normal(0.0, _BREATH_MM), -_MOST_BREATH_MM, _MOST_BREATH_MM))
    body = breathed(patient.body, down)
    vessels = _carried_vessels(patient.vessels, patient.body, down)
    followed, later, kept = [], [], []
    for number, nodule in enumerate(patient.nodules, start=1):
        course = FollowedNodule(number, "stable", None) if same_day else _course(rng, nodule, number, days)
        followed.append(course)
        if course.fate == "gone":
            continue
        origin = carried(nodule.origin_mm[None], patient.body, down)[0]
        ratio = 2.0 ** (days / course.doubling_days) if course.doubling_days else 1.0
        later.append(regrown(nodule, body, origin_mm=origin, ratio=ratio))
        kept.append(course)
    if not same_day and rng.random() < 0.25:
        for nodule in sample_nodules(rng, body, vessels, count=1, others=later):
            kept.append(FollowedNodule(len(patient.nodules) + 1, "new", None))
            later.append(nodule)
    role = replace(
        patient.role,
        examined=patient.role.examined + timedelta(days=days),
        age=patient.role.age + int(rng.random() < days / 365.25),
        nodules=len(later),
    )
    second = Patient(role, body, vessels, tuple(later))
    return Visit(1, 0, patient, tuple(followed)), Visit(2, days, second, tuple(kept))


def _course(rng: np.random.Generator, nodule: Nodule, number: int, days: int) -> FollowedNodule:
    fate = FATES[rng.choice(4, p=_MALIGNANT if nodule.malignant else _BENIGN)]
    slow = 1.0 if nodule.density == "solid" else 2.2
    doubling: float | None = None
    if fate == "grown":
        drawn = float(np.exp(rng.normal(np.log(170.0), 0.6))) * slow
        doubling = max(min(drawn, 400.0 * slow), 30.0, days / 2.0)  # at most four times the volume
    elif fate == "shrunk":
        doubling = -float(rng.uniform(0.7, 2.0)) * days
    return FollowedNodule(number, fate, doubling)


def _carried_vessels(vessels: Vessels, body: Body, down_mm: float) -> Vessels:
    def moved(tubes: Doubles) -> Doubles:
        ends = (carried(tubes[:, 3 * n : 3 * n + 3], body, down_mm) for n in (0, 1))
        return np.column_stack([*ends, tubes[:, 6:]])

    return replace(
        vessels, lungs=moved(vessels.lungs), walls=moved(vessels.walls), airways=moved(vessels.airways)
    )
