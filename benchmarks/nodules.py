"""Nodules measured on the chest CT phantom: errors of diameter, repeatability on one day, doubling times.

    python benchmarks/nodules.py --patients 60 --seed 303 [--same-day]

Every nodule is measured from its true centre moved by 1.5 mm, in lungs that were found. With `--same-day` the
second scan is made minutes after the first: its differences are what `steps/nodules/repeatability.py` holds.
Without, it is months later, and the interval of the doubling time must cover the truth in 90 to 98 % of them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from hounsfield.applications.chest_ct.cohort import sample_anatomy, sample_roles
from hounsfield.applications.chest_ct.scan import take_scan
from hounsfield.applications.chest_ct.scanners import SCANNERS
from hounsfield.applications.chest_ct.visits import Visit, visits_of
from hounsfield.core.volume import Volume
from hounsfield.steps.nodules.growth import growth_between
from hounsfield.steps.nodules.lungs import find_lungs
from hounsfield.steps.nodules.measure import NoduleMeasures, measure_nodules
from hounsfield.steps.nodules.repeatability import change_spread


@dataclass(frozen=True)
class Truth:
    """A nodule at one visit: its site, number in the patient, and what is true of it."""

    site: str
    number: int
    diameter_mm: float
    density: str
    contact: str


def measured(visit: Visit, seed: int) -> dict[int, tuple[Truth, NoduleMeasures | None]]:
    """Every nodule of a visit by its number: what is true and what is measured."""
    role = visit.patient.role
    scan = take_scan(visit.patient, SCANNERS[role.site], seed=seed, visit=visit.number)
    volume = Volume(scan.hu[None], scan.affine, (), True)
    jitter = np.random.default_rng([seed, role.number, visit.number]).normal(size=scan.centres_mm.shape)
    jitter *= 1.5 / np.linalg.norm(jitter, axis=1, keepdims=True)
    found = measure_nodules(volume, scan.centres_mm + jitter, find_lungs(volume))
    return {
        course.number: (Truth(role.site, course.number, n.diameter_mm, n.density, n.contact), one)
        for course, n, one in zip(visit.followed, scan.nodules, found, strict=True)
    }


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--patients", type=int, default=60)
    options.add_argument("--seed", type=int, default=303)
    options.add_argument("--same-day", action="store_true")
    chosen = options.parse_args()
    errors: list[tuple[Truth, float]] = []
    spreads, covered = [], []
    missed = 0
    for role in sample_roles(patients=chosen.patients, seed=chosen.seed):
        patient = sample_anatomy(role, seed=chosen.seed)
        visits = visits_of(patient, seed=chosen.seed, same_day=chosen.same_day)
        first, second = (measured(visit, chosen.seed) for visit in visits)
        for truth, one in first.values():
            missed += one is None
            if one is not None:
                errors.append((truth, one.diameter_mm - truth.diameter_mm))
        for number in first.keys() & second.keys():
            (before, a), (after, b) = first[number], second[number]
            if a is None or b is None:
                continue
            true = 3 * np.log(after.diameter_mm / before.diameter_mm)
            change = np.log(b.volume_mm3 / a.volume_mm3) - true
            spreads.append(change / change_spread(a, b))
            grown = growth_between(a, b, days=max(visits[1].days, 1))
            rate = true / np.log(2) * 365.25 / max(visits[1].days, 1)
            covered.append(grown.low <= rate <= grown.high)
    _print(errors, missed)
    z = np.abs(np.array(spreads))
    print(f"{len(z)} changes in spreads: median {np.median(z):.2f}, 95 % {np.quantile(z, 0.95):.2f}")
    print(f"interval covers the truth: {100 * np.mean(covered):.1f} % of {len(covered)}")


def _print(errors: list[tuple[Truth, float]], missed: int) -> None:
    print(f"{len(errors)} measured, {missed} not")
    for name in ("site", "density", "contact"):
        for value in sorted({getattr(t, name) for t, _ in errors}):
            own = np.array([e for t, e in errors if getattr(t, name) == value])
            middle, bias = np.median(np.abs(own)), np.median(own)
            print(f"{value:14s} {len(own):4d}  median |error| {middle:.2f} mm, bias {bias:+.2f}")
    print(f"all: median |error of diameter| {np.median(np.abs([e for _, e in errors])):.2f} mm")


if __name__ == "__main__":
    main()
