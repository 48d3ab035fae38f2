"""How much the share of right calls differs between two readers of the same cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.paired import rate_difference
from hounsfield.metrics.patients import BoolArray, Patients

__all__ = ["accuracy_difference"]


def accuracy_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, *, patients: npt.ArrayLike | Patients | None = None
) -> Estimate:
    """The accuracy of the first less that of the second, from who was right (N,) in the same cases.

    The interval is Tango's for paired proportions (`intervals.tango`), clustered by patient. Raises BadInput
    for calls that do not belong together.

    >>> found = accuracy_difference([1] * 36 + [1] * 12 + [0] * 2, [1] * 36 + [0] * 12 + [1] * 2)
    >>> round(found.value, 2), round(found.low, 3), round(found.high, 3)
    (0.2, 0.061, 0.345)
    """
    one, two = _right(first), _right(second)
    if one.shape != two.shape:
        raise BadInput(
            f"{len(one)} and {len(two)} calls were given; expected those of the same cases, in one order."
        )
    # Who was right is a call on cases that all have the finding: its sensitivity is the accuracy.
    everyone = np.ones(len(one), np.bool_)
    gap = rate_difference(one, two, everyone, rate="sensitivity", patients=patients).difference
    return replace(gap, name="accuracy_difference")


def _right(given: npt.ArrayLike) -> BoolArray:
    table = np.asarray(given)
    if table.ndim != 1 or not table.size or not np.isin(table, (0, 1)).all():
        raise BadInput(
            f"calls of shape {table.shape} were given; expected (N,), true where a call was right."
        )
    return table.astype(np.bool_)
