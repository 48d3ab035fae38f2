"""Limits for monitoring: between which the mean of a number would lie in the next cases, if alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hounsfield.metrics.intervals import critical_value

__all__ = ["limits_of"]

BATCHES = (10, 50, 100)
LEAST = 20
"""Patients of whom limits can be told."""


def limits_of(name: str, values: Sequence[float], patients: Sequence[str]) -> dict[str, Any] | None:
    """A row with 95 % prediction limits by Student's t of the patients' means of what the model said.

    They need no reader, so that they can be watched in use. None for fewer than `LEAST` patients.

    >>> row = limits_of("marks an image", [1.0, 2.0] * 20, [str(k) for k in range(40)])
    >>> row["here"], row["of the next 50"]
    (1.5, '1.283 to 1.717')
    """
    held: dict[str, list[float]] = {}
    for value, patient in zip(values, patients, strict=True):
        held.setdefault(patient, []).append(value)
    means = np.array([np.mean(v) for v in held.values()])
    n = len(means)
    if n < LEAST:
        return None
    mean, spread, critical = float(means.mean()), float(means.std(ddof=1)), critical_value(dof=n - 1)
    row: dict[str, Any] = {"mean of what the model says": name, "here": mean}
    for m in BATCHES:
        reach = critical * spread * math.sqrt(1 / m + 1 / n)
        row[f"of the next {m}"] = f"{max(mean - reach, 0.0):.4g} to {mean + reach:.4g}"
    return row
