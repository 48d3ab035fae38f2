"""What was found and marked in every case, as a table: a row an object, without identity."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from hounsfield.io.files import write_text
from hounsfield.metrics.detection_objects import Spheres
from hounsfield.steps.detection.table import Detected

__all__ = ["write_found"]


def write_found(table: Detected, path: Path) -> None:
    """Candidates and lesions as CSV: class, centre along (k, j, i), diameter, score; of boxes their sizes."""
    boxed = not isinstance(table.candidates, Spheres)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    unit = table.unit
    writer.writerow(
        [
            "case",
            "kind",
            "class",
            *(f"centre_{a}_{unit}" for a in "kji"),
            *(f"size_{a}_{unit}" for a in "kji" if boxed),
            f"diameter_{unit}",
            "score",
            "excluded",
        ]
    )
    for kind, held, label, size in (
        ("candidate", table.candidates, table.candidate_class, table.candidate_mm),
        ("lesion", table.lesions, table.lesion_class, table.lesion_mm),
    ):
        if isinstance(held, Spheres):
            centres, sizes = held.centre_mm, np.zeros((len(held), 0))
        else:
            axes = held.corners.shape[1] // 2
            centres = (held.corners[:, :axes] + held.corners[:, axes:]) / 2
            sizes = held.corners[:, axes:] - held.corners[:, :axes]
        if centres.shape[1] == 2:
            centres = np.hstack([np.zeros((len(centres), 1)), centres])
            sizes = np.hstack([np.ones((len(sizes), 1)), sizes]) if sizes.shape[1] else sizes
        for n in range(len(held)):
            score = f"{held.score[n]:.6g}" if kind == "candidate" else ""
            writer.writerow([
                table.ids[int(held.image[n])], kind, table.classes[int(label[n])],
                *(f"{c:.5g}" for c in (*centres[n], *sizes[n])), f"{size[n]:.5g}", score,
                int(held.excluded[n]),
            ])  # fmt: skip
    write_text(path, stream.getvalue())
