"""Nodules followed from scan to scan: marked or found places measured in both, matched, and their growth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hounsfield.applications.nodule.measured import Scan, measured_scan
from hounsfield.core.clinical import Clinical, Plot, PlotSeries
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.steps.following import Followed, Places, each_followed
from hounsfield.steps.nodules.follow_up import Examined, FollowUp, follow_up
from hounsfield.steps.nodules.reader_list import listed_rows, reader_list
from hounsfield.steps.visits import Patient, Visit

__all__ = ["follow_nodules"]

_SHOWN = 12
_COLUMNS = ("number", "concern", "side", "third", "density", "diameter_mm", "change", "volume_ratio",
            "doubling_days", "doubling_low_days", "doubling_high_days", "malignancy")  # fmt: skip


def follow_nodules(
    patients: Sequence[Patient],
    read: Callable[[Series], Volume],
    *,
    places: Places | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Followed:
    """The nodules of every patient's visits, each visit with the one before it.

    `places` says where nodules lie in a scan. Raises BadInput without it.
    """
    if places is None:
        raise BadInput(
            "nodules are followed from where they lie in each scan, and nothing says where; give marks with "
            "--marks, or a model that finds them with --model"
        )
    lists, refused = each_followed(patients, lambda p: _patient(p, read, places), progress=progress)
    rows: list[Mapping[str, Any]] = [row for made in lists for row in made]
    shown = [made for made in lists if made][:_SHOWN]
    tables = {f"Nodules of {m[0]['patient']}": [{k: r[k] for k in _COLUMNS} for r in m] for m in shown}
    growth = [(r["days"], r["volume_ratio"]) for r in rows if r["volume_ratio"] != ""]
    changes = Counter(str(r["change"]) for r in rows)
    told = Clinical(
        "Lung nodules over visits",
        "Each scan was registered with the one before it; a doubling time is given only where the change is "
        "beyond what measuring alone may do.",
        findings=tuple(
            Finding("nodules", label=name, value=float(n), n=len(rows)) for name, n in sorted(changes.items())
        ),
        tables=tables,
        plots=(_plot(growth),) if growth else (),
        untested=("Nodules that neither the marks nor the model know of: they are not looked for.",),
    )
    return Followed(told, tuple(rows), refused=refused)


def _patient(patient: Patient, read: Callable[[Series], Volume], places: Places) -> list[dict[str, Any]]:
    if len(patient.visits) < 2:
        raise BadInput("one visit, expected two or more")
    if not patient.dated:
        raise BadInput("a visit without a date, expected one for each")
    scans = [_scan(v, read, places) for v in patient.visits]
    rows: list[dict[str, Any]] = []
    for number in range(1, len(scans)):
        first, second = patient.visits[number - 1], patient.visits[number]
        told = follow_up(_examined(scans[number - 1], first), _examined(scans[number], second))
        rows += [
            {"patient": patient.key, "visit": number + 1, "days": told.days, **row}
            for row in _listed(scans[number], scans[number - 1], told)
        ]
    return rows


def _scan(visit: Visit, read: Callable[[Series], Volume], places: Places) -> Scan:
    series = visit.images[0]
    volume = read(series)
    return measured_scan(volume, series, np.asarray(places(series, volume), np.float64).reshape(-1, 3))


def _examined(scan: Scan, visit: Visit) -> Examined:
    assert visit.day is not None
    return Examined(scan.volume, scan.lungs, scan.nodules, visit.day, visit.images[0].patient)


def _listed(scan: Scan, earlier: Scan, told: FollowUp) -> list[dict[str, Any]]:
    listed = reader_list(
        scan.nodules, scan.lungs, followed=told, earlier=earlier.nodules, malignancy=scan.malignancy
    )
    return [dict(row) for row in listed_rows(listed)]


def _plot(growth: Sequence[tuple[float, float]]) -> Plot:
    series = PlotSeries("nodules", [d for d, _ in growth], [r for _, r in growth], kind="points")
    return Plot("Growth", "days between scans", "volume after, of before", (series,))
