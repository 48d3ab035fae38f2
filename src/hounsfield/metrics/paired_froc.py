"""Whether one detector finds more than another in the same images, at the same rates of false positives.

Patients are drawn anew, the same ones for both, and the differences of their curves are read (paired
bootstrap): how hard an image is falls out. The interval is Student's t around the difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.detection_matching import Marks
from hounsfield.metrics.froc import CPM_RATES, refusal_at, resampled_sensitivities
from hounsfield.metrics.intervals import MIN_DENOMINATOR, Estimate, critical_value, shortage
from hounsfield.metrics.paired import PairedDifference
from hounsfield.metrics.patients import FloatArray, Patients, draw

__all__ = ["froc_differences"]

Found = tuple[PairedDifference, float, float]


def froc_differences(
    first: Marks,
    second: Marks,
    *,
    images: int,
    patients: npt.ArrayLike | Patients | None = None,
    rates: Sequence[float] = CPM_RATES,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Found]:
    """The CPM and the sensitivity at each rate of `first` less those of `second`, with both numbers.

    Both must be matched to the same lesions, in the same order. Names end in "_difference"; the group says
    the rate. Too few lesions, patients or images refuse the difference. Raises BadInput where the lesions
    differ.

    >>> from hounsfield.metrics.detection_matching import match_by_centre
    >>> from hounsfield.metrics.detection_objects import Spheres
    >>> centres = np.arange(120.0).reshape(40, 3)
    >>> lesions = Spheres.of(centres, 5.0, image=range(40))
    >>> def found(count):
    ...     some = Spheres.of(centres[:count], 0.0, image=range(count), score=np.arange(float(count)))
    ...     return match_by_centre(some, lesions)
    >>> (cpm, after, before), *_ = froc_differences(found(30), found(20), images=40)
    >>> after, before, round(cpm.difference.low, 2), round(cpm.difference.high, 2), cpm.p_value < 0.01
    (0.75, 0.5, 0.11, 0.39, True)
    """
    if not np.array_equal(first.lesion_image, second.lesion_image):
        raise BadInput(
            f"marks of {len(first.lesion_image)} and {len(second.lesion_image)} lesions were given that do "
            "not lie in the same images; expected the same lesions in the same order; match both anew"
        )
    clusters = Patients.of(patients, cases=images)
    draws = draw(clusters, cases=images, resamples=resamples, seed=seed)
    one, other = (
        resampled_sensitivities(
            m.lesion_score, m.lesion_image, m.false_score, m.false_image, draws, np.asarray(rates, float)
        )
        for m in (first, second)
    )
    owners = clusters.among(np.bincount(first.lesion_image, minlength=images) > 0)
    n = len(first.lesion_score)
    lacking = shortage(n=n, n_patients=owners, least=MIN_DENOMINATOR, what="lesions")
    columns = [("froc_cpm", "", min(rates), one.mean(1), other.mean(1))]
    columns += [
        ("froc_sensitivity", f"{rate:g} FP an image", rate, one[:, k], other[:, k])
        for k, rate in enumerate(rates)
    ]
    found: list[Found] = []
    for name, group, rate, after, before in columns:
        reason = lacking or refusal_at(rate, images)
        named = f"{name}_difference"
        if reason:
            refused = Estimate.refuse(named, reason, n=n, n_patients=owners, group=group)
            found.append((PairedDifference(refused, None), float(after[0]), float(before[0])))
            continue
        made = _difference(named, group, after - before, n=n, owners=owners)
        found.append((made, float(after[0]), float(before[0])))
    return found


def _difference(name: str, group: str, gaps: FloatArray, *, n: int, owners: int) -> PairedDifference:
    """The first gap, with a t interval and a two-sided p from the spread of the others."""
    from scipy.special import stdtr

    value, known = float(gaps[0]), gaps[1:][np.isfinite(gaps[1:])]
    error = float(known.std(ddof=1)) * math.sqrt(owners / (owners - 1))
    half = critical_value(dof=owners - 1) * error
    estimate = Estimate(
        name, value, value - half, value + half, n, owners, "paired bootstrap of patients, t", group
    )
    if error == 0:
        return PairedDifference(estimate, 1.0 if value == 0 else None)
    return PairedDifference(estimate, float(2 * stdtr(owners - 1, -abs(value) / error)))
