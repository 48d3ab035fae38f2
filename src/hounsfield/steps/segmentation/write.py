"""How every case was outlined, as a table: a row a case and structure, without identity."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from hounsfield.io.files import write_text
from hounsfield.steps.segmentation.table import Segmented

__all__ = ["write_compared"]


def write_compared(table: Segmented, path: Path) -> None:
    """Dice, distances and volumes of each case and structure as CSV; empty where they are not defined."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    unit = table.unit
    writer.writerow([
        "case", "structure", "dice", "iou", f"hd95_{unit}", f"assd_{unit}", "nsd",
        "predicted_ml", "reference_ml",
    ])  # fmt: skip
    for n, case in enumerate(table.ids):
        for name in table.structures:
            held = table.cases[name][n]
            if held is None:
                continue
            o, s = held.overlap, held.surface
            values = [
                o.dice,
                o.iou,
                s and s.hd95_mm,
                s and s.assd_mm,
                s and s.nsd,
                o.volume_ml,
                o.reference_ml,
            ]
            writer.writerow([case, name, *("" if v is None else f"{v:.6g}" for v in values)])
    write_text(path, stream.getvalue())
