"""Lesions that changed between two visits, beside the marks of readers: real FLAIR images of two patients.

    python benchmarks/lesions.py --data open_ms_longitudinal

A patient's folder holds study1_FLAIR, study2_FLAIR and gt (NIfTI), and study2_FLAIR_to_common_space.txt, the
affine from the marks' space to the second image's (Lesjak et al., Neuroinformatics 2016;14:403). Prints the
Dice of the changed voxels and how many marked lesions are touched.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume
from hounsfield.steps.brain.lesions_change import LesionsChange, lesions_change


def volume_of(path: Path) -> Volume:
    """The one image of a file."""
    with Source(str(path)) as source:
        return read_volume(source, index_of(str(path)).series[0])


def transform_of(path: Path) -> np.ndarray:
    """The 4 × 4 matrix of an affine in ITK's text form."""
    held = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    numbers = np.array(held["Parameters"].split(), float)
    centre = np.array(held["FixedParameters"].split(), float)
    made = np.eye(4)
    made[:3, :3] = numbers[:9].reshape(3, 3)
    made[:3, 3] = numbers[9:] + centre - made[:3, :3] @ centre
    return made


def on_marks(found: LesionsChange, marks: Volume, to_second: np.ndarray) -> np.ndarray:
    """The changed voxels on the grid of the readers' marks (K, J, I)."""
    shape = marks.data.shape[1:]
    k, j, i = np.indices(shape).reshape(3, -1).astype(float)
    places = marks.affine @ np.stack([i, j, k, np.ones_like(i)])
    own = np.linalg.inv(found.affine) @ np.linalg.inv(found.to_second) @ to_second @ places
    there = ndimage.map_coordinates((found.labels > 0).astype(np.float32), own[2::-1], order=1)
    return there.reshape(shape) > 0.5


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    for folder in sorted(p for p in options.parse_args().data.iterdir() if (p / "gt.nii.gz").is_file()):
        began = time.perf_counter()
        first, second = (volume_of(folder / f"study{n}_FLAIR.nii.gz") for n in (1, 2))
        found = lesions_change(first, second, contrast="flair")
        spent = time.perf_counter() - began
        marks = volume_of(folder / "gt.nii.gz")
        truth = marks.data[0] > 0
        made = on_marks(found, marks, transform_of(folder / "study2_FLAIR_to_common_space.txt"))
        dice = 2 * (made & truth).sum() / max(1, made.sum() + truth.sum())
        groups, count = ndimage.label(truth, np.ones((3, 3, 3)))
        touched = len(np.unique(groups[made & truth]))
        ml = float(np.prod(marks.spacing_mm)) / 1000
        print(
            f"{folder.name}: Dice {dice:.3f}; marked {count} lesions, {truth.sum() * ml:.2f} ml, of which "
            f"{touched} are touched; found {len(found.lesions)} clusters, {made.sum() * ml:.2f} ml, "
            f"{(made & ~truth).sum() * ml:.2f} ml of it unmarked; {spent:.0f} s"
        )


if __name__ == "__main__":
    main()
