"""Found objects written: every candidate in a table, those that are called as a DICOM report a case."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.core.marked import Marked
from hounsfield.io.dicom.seg_write import Algorithm
from hounsfield.io.dicom.sr_findings import Found, write_findings
from hounsfield.io.dicom.structures import structure_of
from hounsfield.io.files import write_text
from hounsfield.io.source import Source
from hounsfield.steps.detection.candidates import candidate_objects
from hounsfield.steps.results.cases import Ledger, Located, Written, require_known

__all__ = ["COLUMNS", "TABLE", "write_located"]

TABLE = "detections.csv"
COLUMNS = (
    "case", "class", "score", "called", "x_mm", "y_mm", "z_mm", "k", "j", "i", "size_k", "size_j", "size_i",
    "diameter_mm", "shape",
)  # fmt: skip


def write_located(
    cases: Iterable[Located],
    source: Source,
    *,
    out: Path,
    classes: Sequence[str],
    shape: Literal["sphere", "box"],
    threshold: float,
    write: Collection[str] = ("csv",),
    site: str = "",
    algorithm: Algorithm | None = None,
) -> Written:
    """Write what `write` (of "csv", "sr") asks for; a score of at least `threshold` calls a candidate.

    OUT/detections.csv holds all candidates, best first in each case: the centre in LPS mm (empty where the
    image has no known place) and in voxels (k, j, i), the size in voxels and the diameter in mm (empty
    where no spacing is known). OUT/reports holds a report for each DICOM image in which something was called.
    """
    require_known(write)
    by, ledger = algorithm or Algorithm(), Ledger()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for case in cases:
        found = _found(case, classes, shape, site)
        for one in found:
            table.writerow(_row(case, one, classes, called=one.score >= threshold))
        called = [one for one in found if one.score >= threshold]
        if "sr" not in write:
            continue
        try:
            path = out / "reports" / f"{case.file_stem}.dcm"
            write_findings(called, source, case.series, out=path, algorithm=by)
            ledger.files["sr"] += 1
        except BadInput as error:
            ledger.missed(case, error)
    if "csv" in write:
        write_text(out / TABLE, text.getvalue())
        ledger.files["csv"] += 1
    return ledger.told()


def _found(case: Located, classes: Sequence[str], shape: Literal["sphere", "box"], site: str) -> list[Found]:
    """The candidates of a case, best first."""
    order = np.argsort(-case.found.score, kind="stable")
    held = case.found.take(order)
    flat = case.series.is_flat
    sized = candidate_objects([held], spacing_mm=[case.spacing_mm], shape=shape, flat=flat)
    made = []
    for n in range(len(held)):
        k, j, i = held.centre[n].tolist()
        deep, high, wide = held.size[n].tolist()
        label = int(held.label[n])
        diameter = float(sized.diameter_mm[n]) if case.spacing_known else None
        where = Marked(label, (k, j, i), (deep, high, wide), shape, diameter)
        what = structure_of(classes[label], site=site)
        made.append(Found(where, what, float(np.clip(held.score[n], 0, 1)), diameter))
    return made


def _row(case: Located, one: Found, classes: Sequence[str], *, called: bool) -> list[str]:
    k, j, i = one.where.centre
    place = (case.affine @ np.array([i, j, k, 1.0]))[:3] if case.has_place else ()
    mm = [f"{v:.3f}" for v in place] or [""] * 3
    voxels = [f"{v:.3f}" for v in (*one.where.centre, *one.where.size)]
    diameter = "" if one.diameter_mm is None else f"{one.diameter_mm:.3f}"
    name = classes[one.where.label]
    return [
        case.id, name, f"{one.score:.6f}", str(int(called)), *mm, *voxels, diameter, one.where.shape
    ]  # fmt: skip
