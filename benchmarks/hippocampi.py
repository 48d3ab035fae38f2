"""Hippocampal volume by the shipped network: simulated heads never drawn from, and real crops held back.

    python benchmarks/hippocampi.py [--heads 6] [--crops msd_hippocampus] [--seed 9100]

Heads are scanned as the brain phantom scans them and measured as `hu follow` does. CROPS is task 4 of the
Medical Segmentation Decathlon, of which the last 80 cases were never drawn from (`recipes/hippocampi.py`); a
crop does not say which side it is, so that both are tried and the one with the larger answer is taken. Dice
and the volume's error in per cent, with 95 % intervals over cases.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from hounsfield.applications.brain_mri.cohort import DIAGNOSES, sample_patient
from hounsfield.applications.brain_mri.drawn_crops import HELD_BACK, read_crops
from hounsfield.applications.brain_mri.scan import take_visits
from hounsfield.core.volume import Volume
from hounsfield.steps.brain.hippocampi import outlined_box
from hounsfield.steps.brain.scan import BrainVisit
from hounsfield.steps.brain.visit import measure_visit


def spread(name: str, values: list[float]) -> str:
    """Median with a bootstrapped interval."""
    held = np.array(values)
    found = bootstrap((held,), np.median, n_resamples=2000, random_state=0).confidence_interval
    return f"{name}: median {np.median(held):.3f} ({found.low:.3f} to {found.high:.3f}), n = {held.size}"


def heads(count: int, seed: int) -> None:
    """Volume errors of both sides of simulated heads."""
    errors, doubts = [], 0
    for number in range(count):
        patient = sample_patient(
            seed=seed,
            number=number + 1,
            diagnosis=DIAGNOSES[number % 3],
            site="ABC"[number % 3],
            years=(0.0,),
        )
        (scan,) = take_visits(patient, seed=seed)
        image = Volume(scan.image[None], scan.affine, (), True)
        found = measure_visit(BrainVisit(image, scan.day, scan.scanner.serial)).hippocampi
        for side in ("left", "right"):
            one, true = getattr(found, side), getattr(scan.truth, f"hippocampus_{side}_ml")
            doubts += bool(one.doubt)
            if not one.doubt:
                errors.append(100 * abs(one.volume_ml / true - 1))
            print(f"head {number} {side}: {one.volume_ml:.2f} ml, true {true:.2f} {one.doubt}", flush=True)
    print(spread("simulated heads, error of volume, %", errors), f"; {doubts} not believed")


def crops(folder: Path) -> None:
    """Dice and volume errors of held-back crops."""
    dice, measured, true = [], [], []
    for values, mask in read_crops(folder)[-HELD_BACK:]:
        answers = (outlined_box(values, 1.0, mirrored=m) for m in (False, True))
        best = max(answers, key=lambda a: float(a.sum()))
        found = best > 0.5
        dice.append(2 * float((found & mask).sum()) / float(found.sum() + mask.sum()))
        measured.append(float(best.sum()) / 1000)
        true.append(float(mask.sum()) / 1000)
    ratio = np.array(measured) / np.array(true)
    print(spread("real crops, Dice", dice), f"; mean {np.mean(dice):.3f}, least {min(dice):.3f}")
    print(spread("real crops, error of volume, %", list(100 * np.abs(ratio - 1))))
    print(
        f"volume read over true: {np.median(ratio):.3f}; correlation {np.corrcoef(measured, true)[0, 1]:.3f}"
    )


def main() -> None:
    """Both, or what was asked for."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--heads", type=int, default=6)
    options.add_argument("--crops", type=Path)
    options.add_argument("--seed", type=int, default=9100)
    chosen = options.parse_args()
    if chosen.crops:
        crops(chosen.crops)
    if chosen.heads:
        heads(chosen.heads, chosen.seed)


if __name__ == "__main__":
    main()
