"""Brain volume change measured on the brain MRI phantom: error of the true change, same-day repeatability,
coverage.

    python benchmarks/atrophy.py --patients 10 --seed 700 [--matrix 192] [--keep results.csv]

Every patient is scanned twice on one day and once more 1 to 2.5 years later, on the scanner's own matrix
unless `--matrix` asks for another. Seeds from 1000 on were looked at while the method was made; use others.
The last table holds the ratio of each error to the deviation stated (`steps/brain/error_bar.py`): its robust
deviation should be 1, else FLOOR and its fellows want another value.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hounsfield.applications.brain_mri.cohort import DIAGNOSES, sample_patient
from hounsfield.applications.brain_mri.scan import percentage_change, take_visits
from hounsfield.core.volume import Volume
from hounsfield.steps.brain.course import measure_patient
from hounsfield.steps.brain.scan import BrainVisit


@dataclass(frozen=True)
class Row:
    """One interval of one patient: what is true, what was measured, its interval and deviation, in per
    cent; the last four are the parts of its error bar (`steps/brain/error_bar.py`).
    """

    patient: int
    site: str
    pair: str
    true: float
    measured: float
    low: float
    high: float
    spread: float
    ventricles_true: float
    ventricles: float
    scale: float
    agreement: float
    brain_ml_true: float
    brain_ml: float
    cpu_s: float
    scale_spread: float
    noise_spread: float
    unrest: float
    residual: float


def rows_of(number: int, *, seed: int, matrix: int | None) -> Iterator[Row]:
    """The three intervals of a patient: same day, and from either scan of that day to the last."""
    site = "ABC"[number % 3]
    patient = sample_patient(
        seed=seed,
        number=number + 1,
        diagnosis=DIAGNOSES[(number // 3) % 3],
        site=site,
        years=(0.0, 0.0, 1.0 + 0.5 * (number % 4)),
    )
    scans = list(take_visits(patient, seed=seed, matrix=matrix))
    visits = [
        BrainVisit(Volume(s.image[None], s.affine, (), True), s.day, s.scanner.serial, rescan=s.rescan)
        for s in scans
    ]
    start = time.process_time()
    course = measure_patient(visits, pictures=False)
    spent = time.process_time() - start
    for change in course.changes:
        one, two = scans[change.first].truth, scans[change.second].truth
        water = change.ventricles
        yield Row(
            patient=number,
            site=site,
            pair=f"{change.first}-{change.second}",
            true=percentage_change(one, two),
            measured=change.brain.percent,
            low=change.brain.low,
            high=change.brain.high,
            spread=100 * change.spread,
            ventricles_true=100 * (two.ventricles_ml / one.ventricles_ml - 1),
            ventricles=water.percent if water else float("nan"),
            scale=change.scale,
            agreement=change.agreement,
            brain_ml_true=one.brain_ml,
            brain_ml=course.visits[change.first].volumes.brain_ml,
            cpu_s=spent,
            scale_spread=change.doubt.scale_spread,
            noise_spread=change.doubt.noise_spread,
            unrest=change.doubt.unrest,
            residual=change.doubt.residual,
        )


def told(rows: list[Row]) -> str:
    """The numbers that the issue asks for, with the counts that they stand on."""
    same = np.array([abs(r.measured) for r in rows if r.true == 0.0])
    apart = [r for r in rows if r.true != 0.0]
    error = np.array([abs(r.measured - r.true) for r in apart])
    held = np.array([r.low <= r.true <= r.high for r in rows])
    ratio = np.array([(r.measured - r.true) / r.spread for r in rows])
    volume = np.array([r.brain_ml / r.brain_ml_true - 1 for r in rows if r.pair == "0-1"])
    lines = [
        f"same-day pairs: n = {same.size}, median {np.median(same):.3f} %, largest {same.max():.3f} %",
        f"true change: n = {error.size}, median absolute error {np.median(error):.3f} %, "
        f"95th percentile {np.percentile(error, 95):.3f} %, "
        f"mean error {np.mean([r.measured - r.true for r in apart]):+.3f} %",
        f"interval covers the truth in {held.sum()} of {held.size} ({100 * held.mean():.0f} %)",
        f"error beside its stated deviation: robust deviation {1.4826 * np.median(np.abs(ratio)):.2f}",
        f"volume of the brain: mean error {100 * volume.mean():+.1f} %, deviation {100 * volume.std():.1f} %",
        f"processor time of three scans and intervals: median {np.median([r.cpu_s for r in rows]):.0f} s",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--patients", type=int, default=10)
    options.add_argument("--seed", type=int, default=700)
    options.add_argument("--matrix", type=int)
    options.add_argument("--keep", type=Path)
    chosen = options.parse_args()
    rows: list[Row] = []
    for number in range(chosen.patients):
        for row in rows_of(number, seed=chosen.seed, matrix=chosen.matrix):
            rows.append(row)
            print(
                f"{row.patient:3d} {row.site} {row.pair}  true {row.true:+.3f}  measured {row.measured:+.3f} "
                f"({row.low:+.3f} to {row.high:+.3f})  "
                f"ventricles {row.ventricles:+.1f} ({row.ventricles_true:+.1f})",
                flush=True,
            )
        if chosen.keep is not None:
            with chosen.keep.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(asdict(rows[0])))
                writer.writeheader()
                writer.writerows(asdict(r) for r in rows)
    print(told(rows))


if __name__ == "__main__":
    main()
