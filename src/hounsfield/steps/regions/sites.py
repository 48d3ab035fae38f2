"""Measures of cases site by site: the forest, its random-effects mean, and where a new site would lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.pooling import pooled
from hounsfield.steps.evaluate_sites import COLUMNS, MOST_SITES
from hounsfield.steps.regions.by_group import Measure

__all__ = ["sites_measured"]

Row = dict[str, Any]


def sites_measured(
    groups: Mapping[str, Sequence[str]], patients: Sequence[str], measures: Sequence[Measure]
) -> list[Row]:
    """Rows of a forest: each measure in every site (or scanner), then its mean where no patient has two.

    Only measures in [0, 1] have a mean. Empty where there are no two sites.
    """
    column = next((c for c in COLUMNS if 2 <= len(set(groups.get(c, ())) - {""}) <= MOST_SITES), "")
    if not column:
        return []
    sites = np.array(groups[column])
    names = sorted(set(sites.tolist()) - {""})
    owner: dict[str, str] = {}
    known = [(p, s) for p, s in zip(patients, sites.tolist(), strict=True) if s]
    apart = all(owner.setdefault(p, s) == s for p, s in known)
    rows: list[Row] = []
    for measure in measures:
        title = f"{measure.name}, {measure.label}" if measure.label else measure.name
        found = [measure.of(np.flatnonzero(sites == name).astype(np.int64)) for name in names]
        rows += [_row(title, site, e) for site, e in zip(names, found, strict=True)]
        shares = all(e.low is None or e.high is None or (e.low >= 0 and e.high <= 1) for e in found)
        if apart and shares:
            mean = pooled(found)
            more = {"prediction_low": mean.prediction_low, "prediction_high": mean.prediction_high}
            rows.append({**_row(title, "pooled", mean.estimate), **more})
    return rows


def _row(metric: str, site: str, e: Estimate) -> Row:
    told = {"site": site, "metric": metric, "value": e.value, "low": e.low, "high": e.high}
    return {**told, "n": e.n, "n_patients": e.n_patients, "method": e.method, "note": e.reason}
