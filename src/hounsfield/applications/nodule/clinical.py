"""What a reader of chest CT reads in an evaluation: how well found nodules are measured, and the list of each
scan with those of most concern first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.applications.nodule.measured import Scan, measured_scan
from hounsfield.core.case import Case
from hounsfield.core.clinical import Clinical, Plot, PlotSeries
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.metrics.detection_objects import Spheres
from hounsfield.metrics.intervals import MIN_CASES
from hounsfield.steps.clinical import Asked
from hounsfield.steps.detection.matched import matched
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.nodules.reader_list import listed_rows, reader_list

__all__ = ["reading"]

_RESAMPLES = 2000
_SHOWN = 6
"""Scans whose lists are printed; all of them are counted."""

_COLUMNS = (
    "number", "concern", "side", "third", "density", "diameter_mm", "solid_mm", "volume_mm3", "malignancy",
)  # fmt: skip


def reading(asked: Asked) -> Clinical:
    """The chapter of lung nodules: called candidates measured, listed, and compared with the marks."""
    table, read = asked.table, asked.read
    assert isinstance(table, Detected) and read is not None
    if not isinstance(table.candidates, Spheres) or table.unit != "mm":
        return Clinical("Lung nodules", untested=("Sizes of nodules: they need spheres in millimetres.",))
    called = np.flatnonzero(table.candidates.score >= asked.model.operating_point.values[0])
    of_lesion = _found_by(table)
    rows: list[tuple[str, float, float]] = []
    lists: dict[str, Sequence[Mapping[str, Any]]] = {}
    refused: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for number, case in enumerate(asked.cases):
        mine = called[table.candidates.image[called] == number]
        try:
            scan = _scan(case, read, table, mine)
        except BadInput as error:
            refused[str(error).split(":", 1)[-1].strip()] += 1
            continue
        kinds.update(n.density for n in scan.nodules)
        rows += _compared(scan, mine, of_lesion, table, case.patient)
        if len(lists) < _SHOWN and scan.nodules:
            listed = listed_rows(reader_list(scan.nodules, scan.lungs, malignancy=scan.malignancy))
            shown = [{k: row[k] for k in _COLUMNS} for row in listed]
            lists[f"Nodules of {case.id}, those of most concern first"] = shown
    return Clinical(
        "Lung nodules",
        "Candidates at the model's score were measured in the scan itself. Their order is the step of "
        "Lung-RADS v2022 that size and kind alone give; malignancy is the Brock model's probability with "
        "family history, emphysema and spiculation taken as absent.",
        findings=(*_errors(rows, asked.seed), *_counts(kinds, refused, len(asked.cases))),
        tables=lists,
        plots=(_plot(rows),) if rows else (),
        untested=("Malignancy of single nodules: no histology was compared.",),
    )


def _scan(case: Case, read: Any, table: Detected, mine: NDArray[np.int64]) -> Scan:
    series = case.images[0]
    spacing = np.array(series.spacing_mm, np.float64)
    voxels = table.candidates.centre_mm[mine] / spacing  # type: ignore[union-attr]
    return measured_scan(read(series), series, voxels)


def _found_by(table: Detected) -> dict[int, int]:
    """The lesion that each candidate hit first, by rows."""
    found = matched(table)
    return {int(p): int(row) for row, p in zip(found.lesions, found.partner, strict=True) if p >= 0}


def _compared(
    scan: Scan, mine: NDArray[np.int64], of_lesion: Mapping[int, int], table: Detected, patient: str
) -> list[tuple[str, float, float]]:
    """Patient, marked and measured diameter of each called candidate that hit a lesion."""
    rows = []
    for nodule, place in zip(scan.nodules, scan.asked, strict=True):
        lesion = of_lesion.get(int(mine[place]))
        if lesion is not None and np.isfinite(table.lesion_mm[lesion]):
            rows.append((patient, float(table.lesion_mm[lesion]), nodule.diameter_mm))
    return rows


def _errors(rows: Sequence[tuple[str, float, float]], seed: int) -> list[Finding]:
    """The median absolute error of the diameter in mm; the interval resamples patients."""
    if len(rows) < MIN_CASES:
        note = f"{len(rows)} found nodules could be measured: too few for a number"
        return [Finding("diameter_error_mm", n=len(rows), note=note)]
    owner = np.unique([p for p, _, _ in rows], return_inverse=True)[1]
    error = np.abs([measured - marked for _, marked, measured in rows])
    groups = [np.flatnonzero(owner == k) for k in range(owner.max() + 1)]
    rng = np.random.default_rng(seed)
    medians = []
    for _ in range(_RESAMPLES):
        drawn = [groups[k] for k in rng.integers(len(groups), size=len(groups))]
        medians.append(float(np.median(error[np.concatenate(drawn)])))
    low, high = np.percentile(medians, [2.5, 97.5])
    return [
        Finding(
            "diameter_error_mm", label="median", value=float(np.median(error)), low=float(low),
            high=float(high), n=len(rows), n_patients=len(groups),
            method="percentiles of a bootstrap over patients",
            note="measured diameter of found nodules beside the marked one",
        )
    ]  # fmt: skip


def _counts(kinds: Mapping[str, int], refused: Mapping[str, int], scans: int) -> list[Finding]:
    found = [
        Finding("nodules_measured", label=kind, value=float(n), n=scans) for kind, n in sorted(kinds.items())
    ]
    for why, n in refused.items():
        note = f"{n} of {scans} scans: {why}"
        found.append(Finding("scans_not_measured", value=float(n), n=scans, level="warning", note=note))
    return found


def _plot(rows: Sequence[tuple[str, float, float]]) -> Plot:
    series = PlotSeries(
        "nodules", [marked for _, marked, _ in rows], [measured for _, _, measured in rows], kind="points"
    )
    return Plot("Diameters", "marked, mm", "measured, mm", (series,), diagonal=True)
