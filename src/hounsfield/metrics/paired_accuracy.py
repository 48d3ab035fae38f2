"""How much the share of right calls differs between two readers of the same cases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.intervals import Estimate, perfect_bound
from hounsfield.metrics.measured import average, proportion
from hounsfield.metrics.patients import BoolArray, Patients

__all__ = ["accuracy_difference"]


def accuracy_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, *, patients: npt.ArrayLike | Patients | None = None
) -> Estimate:
    """The accuracy of the first less that of the second, from who was right (N,) in the same cases.

    The interval is Newcombe's for paired proportions (Stat Med 1998;17:2635: Wilson's bounds, squared and
    added with the correlation of the pairs), clustered by patient. Where both were right in the same cases
    it is at least as wide as what no difference in any patient leaves open (`intervals.perfect_bound`).
    Raises BadInput for calls that do not belong together.

    >>> found = accuracy_difference([1] * 36 + [1] * 12 + [0] * 2, [1] * 36 + [0] * 12 + [1] * 2)
    >>> round(found.value, 2), round(found.low, 3), round(found.high, 3)
    (0.2, 0.057, 0.34)
    """
    one, two = _right(first), _right(second)
    if one.shape != two.shape:
        raise BadInput(
            f"{len(one)} and {len(two)} calls were given; expected those of the same cases, in one order."
        )
    n, owners = len(one), Patients.of(patients, cases=len(one))
    everyone = np.ones(n, np.bool_)
    right, wrong = proportion(one, everyone, owners), proportion(~two, everyone, owners)
    if right.reason:
        return Estimate.refuse("accuracy_difference", right.reason, n=n, n_patients=owners.count)
    mean = average([right, wrong], n=n, n_patients=owners.count)
    value, low, high = (2 * x - 1 for x in (mean.value, mean.low, mean.high))
    if (one == two).all():
        value, far = 0.0, 1 - perfect_bound(owners.count)
        low, high = min(low, -far), max(high, far)
    method = "Newcombe, paired" + ("" if owners.distinct else ", clustered by patient")
    return Estimate("accuracy_difference", value, low, high, n, owners.count, method)


def _right(given: npt.ArrayLike) -> BoolArray:
    table = np.asarray(given)
    if table.ndim != 1 or not table.size or not np.isin(table, (0, 1)).all():
        raise BadInput(
            f"calls of shape {table.shape} were given; expected (N,), true where a call was right."
        )
    return table.astype(np.bool_)
