"""What the counts of all sites say of a model together, by label and group, with intervals.

Within a cell the patients of a site are spread as a normal distribution of its logits would spread them. How
far the area could lie from that is told: the worst that the cells allow, in the finding's note.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.federation.privacy.shared_counts import EDGES
from hounsfield.metrics.intervals import critical_value, logit_interval, perfect_bound, wilson

__all__ = ["pooled"]

Floats = NDArray[np.float64]
_STEPS = len(EDGES) - 1
_BINS = 15
_MIDDLE = 1 / (1 + np.exp(-(EDGES[:-1] + EDGES[1:]) / 2))


@dataclass(frozen=True)
class _Told:
    """One label and group of one site."""

    cells: NDArray[np.int64]
    sums: Floats
    cut: Floats


def pooled(sites: Sequence[Mapping[str, NDArray[Any]]]) -> tuple[Finding, ...]:
    """Findings from the counts of sites (`shared_counts.counted`): auroc, brier, ece, observed_to_expected,
    sensitivity and specificity, of every label and of every group that a site told of.

    A site that told nothing of a label is not in its numbers; `n` says who is. `n` counts patients by answer.

    >>> from hounsfield.federation.privacy.shared_counts import counted
    >>> p = np.linspace(0.02, 0.98, 50)[:, None]
    >>> told = counted(p, (p > 0.4).astype(int), patients=[str(n) for n in range(50)], labels=["x"])
    >>> [(f.name, round(f.value, 2), f.n) for f in pooled([told, told])][:2]
    [('auroc', 0.98, 100), ('brier', 0.09, 100)]
    """
    found: dict[tuple[str, str], list[_Told]] = {}
    for counts in sites:
        for key, cells in counts.items():
            kind, label, group = json.loads(key)
            if kind == "cells":
                sums, cut = (np.asarray(counts[json.dumps([k, label, group])]) for k in ("sums", "cut"))
                found.setdefault((group, label), []).append(_Told(np.asarray(cells), sums, cut))
    return tuple(
        finding for (group, label), told in sorted(found.items()) for finding in _findings(told, label, group)
    )


def _findings(told: Sequence[_Told], label: str, group: str) -> list[Finding]:
    clear, hits = (np.sum([_spread(t, answer) for t in told], axis=0) for answer in (0, 1))
    sums = np.sum([t.sums for t in told], axis=0)
    n, positive = int(sums[0]), int(sums[1])
    area, worst, best = _areas(told)
    low, high = logit_interval(area, _error(clear, hits), critical=critical_value())
    if area in (0.0, 1.0):
        bound = perfect_bound(min(positive, n - positive))
        low, high = (bound, 1.0) if area else (0.0, 1 - bound)
    note = f"from counts of {len(told)} sites; the cells allow {worst:.3f} to {best:.3f}"

    def finding(
        name: str, value: float, low: float | None, high: float | None, how: str, note: str = ""
    ) -> Finding:
        return Finding(name, group, label, float(value), low, high, n, n, how, note=note)

    brier, spread = sums[3] / n, math.sqrt(max(sums[4] / n - (sums[3] / n) ** 2, 0.0) / n)
    z = critical_value()
    ratio = positive / max(sums[2], 1e-12)
    about = z * math.sqrt((1 - positive / n) / positive)
    return [
        finding("auroc", area, low, high, "DeLong, logit, from cells", note),
        finding("brier", brier, max(brier - z * spread, 0.0), min(brier + z * spread, 1.0), "normal"),
        finding("ece", _ece(clear, hits), None, None, "15 bins of equal width, from cells"),
        finding("observed_to_expected", ratio, ratio / math.exp(about), ratio * math.exp(about), "log"),
        _rate("sensitivity", told, (1, 2), positive, label, group),
        _rate("specificity", told, (3, 4), n - positive, label, group),
    ]


def _rate(
    name: str, told: Sequence[_Told], places: tuple[int, int], n: int, label: str, group: str
) -> Finding:
    """A proportion whose count is known between two bounds; the interval covers both."""
    least, most = (float(sum(t.cut[p] for t in told)) for p in places)
    note = "" if least == most else f"few patients are not counted exactly: {least:.0f} to {most:.0f} of {n}"
    return Finding(
        name, group, label, (least + most) / (2 * n), wilson(least, n)[0], wilson(most, n)[1], n, n,
        f"Wilson, at {told[0].cut[0]:.4g}", note=note,
    )  # fmt: skip


def _spread(told: _Told, answer: int) -> Floats:
    """The patients of one answer on the steps of the grid."""
    n = told.sums[1] if answer else told.sums[0] - told.sums[1]
    total, squares = told.sums[5 + 2 * answer], told.sums[6 + 2 * answer]
    mean = total / n
    spread = max(math.sqrt(max(squares / n - mean**2, 0.0)), 0.05)
    density = np.exp(-0.5 * (((EDGES[:-1] + EDGES[1:]) / 2 - mean) / spread) ** 2) + 1e-9
    found = np.zeros(_STEPS)
    for own, start, stop, count in told.cells:
        if own == answer:
            found[start:stop] += count * density[start:stop] / density[start:stop].sum()
    return found


def _error(clear: Floats, hits: Floats) -> float:
    """DeLong's standard error of the area under the ROC curve of two histograms."""
    n_clear, n_hits = clear.sum(), hits.sum()
    as_hit = (np.cumsum(clear) - clear / 2) / n_clear
    as_clear = 1 - (np.cumsum(hits) - hits / 2) / n_hits
    value = float(hits @ as_hit / n_hits)
    variance = 0.0
    for weights, placed, n in ((hits, as_hit, n_hits), (clear, as_clear, n_clear)):
        variance += float(weights @ (placed - value) ** 2) / ((n - 1) * n)
    return math.sqrt(variance)


def _areas(told: Sequence[_Told]) -> tuple[float, float, float]:
    """The area, and the least and the greatest that the cells allow.

    Pairs of patients of one site are ordered as it says, those of two sites by their cells.
    """
    placed = [[_spread(t, answer) for t in told] for answer in (0, 1)]
    value = _across(placed[0], placed[1], told, ties=0.5)
    low, high = ([[_edge(t, answer, last=last) for t in told] for answer in (0, 1)] for last in (False, True))
    return value, _across(high[0], low[1], told, ties=0.0), _across(low[0], high[1], told, ties=1.0)


def _across(clear: Sequence[Floats], hits: Sequence[Floats], told: Sequence[_Told], *, ties: float) -> float:
    """The share of pairs that are ordered rightly; `ties` of those on one step are."""
    n_hits, n_clear = sum(h.sum() for h in hits), sum(c.sum() for c in clear)
    everyone = np.sum(clear, axis=0)
    right = 0.0
    for own_clear, own_hits, site in zip(clear, hits, told, strict=True):
        others = everyone - own_clear
        right += float(own_hits @ (np.cumsum(others) - (1 - ties) * others))
        right += float(site.sums[9] * own_hits.sum() * own_clear.sum())
    return right / float(n_hits * n_clear)


def _edge(told: _Told, answer: int, *, last: bool) -> Floats:
    """The patients of one answer, all at the first or the last step of their cells."""
    found = np.zeros(_STEPS)
    for own, start, stop, count in told.cells:
        if own == answer:
            found[stop - 1 if last else start] += count
    return found


def _ece(clear: Floats, hits: Floats) -> float:
    """The expected calibration error in bins of equal width of the probability."""
    place = np.minimum((_MIDDLE * _BINS).astype(int), _BINS - 1)
    both = clear + hits
    n, expected, seen = (np.bincount(place, w, _BINS) for w in (both, both * _MIDDLE, hits))
    return float(np.abs(seen - expected).sum() / n.sum())
