"""How right a model is on the cases it is surest of, and where it must refer a case to a reader.

The accuracy-coverage curve ranks cases by confidence and asks, for each share that the model keeps, how
often it is right there (El-Yaniv & Wiener, JMLR 2010;11:1605). `choose_abstention` finds the least
confidence at which the error among kept cases is below a stated limit with a stated certainty. From each of
five shares, set beforehand, it keeps more and more cases until the limit can no longer be shown; each
search has a fifth of the doubt, so that the certainty holds for the one chosen (fixed-sequence testing with
several starts: Angelopoulos, Learn then Test, Ann Appl Stat 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.inputs import check_binary_answers, check_same_length, check_scores
from hounsfield.metrics.intervals import MIN_CASES, Estimate, shortage
from hounsfield.metrics.measured import design_effect, proportion
from hounsfield.metrics.patients import BoolArray, FloatArray, Patients

__all__ = ["Abstention", "KeptCurve", "accuracy_coverage_curve", "choose_abstention"]

_STEPS = 20
_STARTS = (10, 30, 50, 70, 90)


@dataclass(frozen=True, slots=True, eq=False)
class KeptCurve:
    """Accuracy among the kept cases, and the `confidence` (K,) that they have, for rising `coverage` (K,)."""

    coverage: FloatArray
    confidence: FloatArray
    accuracy: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class Abstention:
    """The least confidence to answer at; below it a case goes to a reader.

    `error` is that of the kept cases, with its 95 % interval, `kept` their share. Without a number the
    limit cannot be shown on these cases, and `reason` says why: then every case goes to a reader.
    """

    confidence: float | None
    limit: float
    certainty: float
    error: Estimate | None
    kept: Estimate | None
    reason: str = ""


def accuracy_coverage_curve(
    confidence: npt.ArrayLike,
    right: npt.ArrayLike,
    *,
    shares: npt.ArrayLike | None = None,
    patients: npt.ArrayLike | Patients | None = None,
) -> KeptCurve:
    """The accuracy of the surest 5, 10, … 100 % of cases, by confidence (N,) and who was right (N,).

    Cases of one confidence are kept together. Each accuracy has Wilson's interval, clustered by patient.

    >>> confidence = np.linspace(0.5, 1, 200)
    >>> curve = accuracy_coverage_curve(confidence, np.arange(200) >= 40, shares=[0.5, 1.0])
    >>> [row.value for row in curve.accuracy]
    [1.0, 0.8]
    """
    values, hits, owners = _checked(confidence, right, patients)
    wanted = np.arange(1, _STEPS + 1) / _STEPS if shares is None else np.asarray(shares, np.float64)
    if wanted.ndim != 1 or not ((wanted > 0) & (wanted <= 1)).all():
        raise BadInput("a share of kept cases is not above 0 and at most 1; expected a list of such.")
    ordered = np.sort(values)[::-1]
    places = np.maximum(np.ceil(wanted * len(values) - 1e-9).astype(np.intp), 1) - 1
    cuts = ordered[places]
    rows = tuple(
        proportion(hits, values >= cut, owners).estimate("accuracy", group=f"surest {share:.0%}")
        for cut, share in zip(cuts, wanted, strict=True)
    )
    kept = np.array([float((values >= cut).mean()) for cut in cuts])
    return KeptCurve(kept, np.asarray(cuts), rows)


def choose_abstention(
    confidence: npt.ArrayLike,
    right: npt.ArrayLike,
    *,
    limit: float,
    certainty: float = 0.95,
    patients: npt.ArrayLike | Patients | None = None,
) -> Abstention:
    """The least confidence above which at most `limit` of the calls are wrong, shown with `certainty`.

    Choose on validation cases, and measure on others. The bound is Clopper-Pearson's, on the effective
    number of cases where patients have several.

    >>> confidence = np.linspace(0.5, 1, 400)
    >>> chosen = choose_abstention(confidence, np.arange(400) >= 40, limit=0.05)
    >>> round(chosen.confidence, 2), chosen.error.value < 0.05
    (0.54, True)
    """
    if not 0 < limit < 1 or not 0.5 <= certainty < 1:
        raise BadInput(
            f"the limit is {limit:g} with a certainty of {certainty:g}; expected an error above 0 "
            "and below 1, and a certainty of 0.5 or more, below 1."
        )
    values, hits, owners = _checked(confidence, right, patients)
    reason = shortage(n=len(values), n_patients=owners.count, least=MIN_CASES)
    if reason:
        return Abstention(None, limit, certainty, None, None, reason)
    chosen = _least_shown(values, ~hits, owners, limit, certainty)
    if chosen is None:
        reason = (
            f"n = {len(values)}: an error below {limit:g} cannot be shown with a certainty of {certainty:g}"
        )
        return Abstention(None, limit, certainty, None, None, reason)
    kept = values >= chosen
    everyone = np.ones(len(values), np.bool_)
    error = proportion(~hits, kept, owners).estimate("error")
    return Abstention(chosen, limit, certainty, error, proportion(kept, everyone, owners).estimate("kept"))


def _least_shown(
    values: FloatArray, wrong: BoolArray, owners: Patients, limit: float, certainty: float
) -> float | None:
    ordered = np.sort(values)[::-1]
    places = np.ceil(np.arange(1, 101) / 100 * len(values) - 1e-9).astype(np.intp)
    doubt = (1 - certainty) / len(_STARTS)
    best = None
    for start in _STARTS:
        for share in range(start, 101):
            cut = float(ordered[max(places[share - 1], 1) - 1])
            if _upper_bound(wrong, values >= cut, owners, doubt) > limit:
                break
            best = cut if best is None else min(best, cut)
    return best


def _upper_bound(wrong: BoolArray, kept: BoolArray, owners: Patients, doubt: float) -> float:
    """Clopper-Pearson's one-sided upper bound of the error among kept cases."""
    from scipy.special import betaincinv

    effect = design_effect(wrong, kept, owners)
    n, errors = np.count_nonzero(kept) / effect, np.count_nonzero(wrong & kept) / effect
    return float(betaincinv(errors + 1, n - errors, 1 - doubt)) if errors < n else 1.0


def _checked(
    confidence: npt.ArrayLike, right: npt.ArrayLike, patients: npt.ArrayLike | Patients | None
) -> tuple[FloatArray, BoolArray, Patients]:
    values, hits = check_scores(confidence), check_binary_answers(right)
    check_same_length(values, hits)
    return values, hits, Patients.of(patients, cases=len(values))
