"""The free-response curve: how many lesions are found against how many false positives an image has.

The rules are LUNA16's: the curve runs through one point for each score, sensitivity is read by linear
interpolation at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan, and their mean is the competition
performance metric, CPM (Niemeijer et al., IEEE Trans Med Imaging 2011;30:215; Setio et al., Med Image Anal
2017;42:1). A rate of less than one false positive in all images is refused: what stands there would be an
interpolation from nothing. By patient, a patient is found with the best scored of his lesions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.compiled import compiled
from hounsfield.core.errors import BadInput
from hounsfield.metrics.detection_matching import Marks
from hounsfield.metrics.detection_objects import check_images
from hounsfield.metrics.intervals import MIN_DENOMINATOR, Estimate, shortage
from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray, Patients, Resampling, draw
from hounsfield.metrics.resampled import resampled_share

__all__ = [
    "CPM_RATES",
    "FrocCurve",
    "froc_curve",
    "froc_report",
    "refusal_at",
    "resampled_sensitivities",
]

CPM_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class FrocCurve:
    """Points of a free-response curve from (0, 0) up, and the score at or above which is called, all (K,)."""

    false_positives: FloatArray
    sensitivity: FloatArray
    threshold: FloatArray

    def at(self, rates: npt.ArrayLike) -> FloatArray:
        """The sensitivity at these mean numbers of false positives an image.

        >>> curve = FrocCurve(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.5, 0.7]), np.array([9.0, 0.8, 0.2]))
        >>> curve.at([0.0, 0.5, 8.0]).tolist()
        [0.5, 0.6, 0.7]
        """
        return np.interp(np.asarray(rates, np.float64), self.false_positives, self.sensitivity)


@dataclass(frozen=True, slots=True, eq=False)
class _Events:
    """Hits and false positives from the highest score down; `last` ends a run of equal scores."""

    score: FloatArray
    hit: BoolArray
    block: IntArray
    last: BoolArray


def froc_curve(marks: Marks, *, images: int) -> FrocCurve:
    """The curve of matched candidates. Raises BadInput without a lesion, where nothing can be found.

    >>> from hounsfield.metrics.detection_matching import match_by_centre
    >>> from hounsfield.metrics.detection_objects import Spheres
    >>> lesions = Spheres.of([[0, 0, 0], [50, 0, 0]], 8.0, image=[0, 1])
    >>> candidates = Spheres.of([[1, 0, 0], [9, 9, 9]], 0.0, image=[0, 1], score=[0.7, 0.9])
    >>> curve = froc_curve(match_by_centre(candidates, lesions), images=2)
    >>> curve.false_positives.tolist(), curve.sensitivity.tolist()
    ([0.0, 0.5, 0.5], [0.0, 0.0, 0.5])
    """
    _check(marks, images)
    if not len(marks.lesion_score):
        raise BadInput(
            "there is no lesion that counts; expected at least one. A free-response curve needs lesions."
        )
    everything = np.zeros(images, np.intp)
    events = _events(marks.lesion_score, marks.lesion_image, marks.false_score, marks.false_image, everything)
    found, false = np.cumsum(events.hit)[events.last], np.cumsum(~events.hit)[events.last]
    return FrocCurve(
        np.concatenate([[0.0], false / images]),
        np.concatenate([[0.0], found / len(marks.lesion_score)]),
        np.concatenate([[np.inf], events.score[events.last]]),
    )


def froc_report(
    marks: Marks,
    *,
    images: int,
    patients: npt.ArrayLike | Patients | None = None,
    rates: Sequence[float] = CPM_RATES,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Estimate]:
    """froc_cpm and froc_sensitivity at each rate, by lesion and (…_by_patient) by patient with a lesion.

    `patients` names one for each of the `images`; None makes every image its own patient. Fewer than
    `MIN_DENOMINATOR` lesions, lesions of too few patients, or too few images for a rate refuse a number.

    >>> from hounsfield.metrics.detection_matching import match_by_centre
    >>> from hounsfield.metrics.detection_objects import Spheres
    >>> centres = np.arange(60.0).reshape(20, 3)
    >>> lesions = Spheres.of(centres, 5.0, image=range(20))
    >>> found = Spheres.of(centres[:15], 0.0, image=range(15), score=np.arange(15.0))
    >>> row = froc_report(match_by_centre(found, lesions), images=20)[0]
    >>> row.name, round(row.value, 4), round(row.low, 3), round(row.high, 3), row.n
    ('froc_cpm', 0.75, 0.503, 0.899, 20)
    """
    _check(marks, images)
    points = np.asarray(rates, np.float64)
    if points.ndim != 1 or not len(points) or (points <= 0).any() or (np.diff(points) <= 0).any():
        raise BadInput(
            f"rates are {rates}; expected false positives an image above 0, each above the one before."
        )
    clusters = Patients.of(patients, cases=images)
    draws = draw(clusters, cases=images, resamples=resamples, seed=seed)
    rows: list[Estimate] = []
    for suffix, score, image in (("", marks.lesion_score, marks.lesion_image), _by_patient(marks, clusters)):
        owners = clusters.among(np.bincount(image, minlength=images) > 0)
        values = resampled_sensitivities(
            score, image, marks.false_score, marks.false_image, draws, points
        )  # fmt: skip
        rows += _estimates(suffix, values, rates, n=len(score), owners=owners, images=images)
    return rows


def _estimates(
    suffix: str, values: FloatArray, rates: Sequence[float], *, n: int, owners: int, images: int
) -> list[Estimate]:
    """The mean over rates, then each rate, from values (1 + B, R) of which the first row is observed."""
    what = "patients with a lesion" if suffix else "lesions"
    lacking = shortage(n=n, n_patients=owners, least=MIN_DENOMINATOR, what=what)
    wanted = [("froc_cpm", "", min(rates), values.mean(axis=1))]
    wanted += [
        ("froc_sensitivity", f"{rate:g} FP an image", rate, values[:, k]) for k, rate in enumerate(rates)
    ]
    rows = []
    for name, group, rate, column in wanted:
        if reason := lacking or refusal_at(rate, images):
            rows.append(Estimate.refuse(name + suffix, reason, n=n, n_patients=owners, group=group))
            continue
        value = float(column[0])
        rows.append(resampled_share(name + suffix, value, column[1:], n=n, owners=owners, group=group))
    return rows


def refusal_at(rate: float, images: int) -> str:
    """Why a rate of false positives cannot be read in so many images; "" where it can.

    >>> refusal_at(0.125, 8), refusal_at(0.125, 4)[:29]
    ('', '0.125 false positives an imag')
    """
    if rate * images >= 1:
        return ""
    return f"{rate:g} false positives an image are less than one in n = {images} images: too few images"


def resampled_sensitivities(
    lesion_score: FloatArray,
    lesion_image: IntArray,
    false_score: FloatArray,
    false_image: IntArray,
    draws: Resampling,
    rates: FloatArray,
) -> FloatArray:
    """Sensitivity (1 + B, R) at R rates: as observed, then in each of B resamples of the patients."""
    weights = np.concatenate([np.ones((1, draws.counts.shape[1])), draws.counts])
    scans = np.bincount(draws.block, minlength=weights.shape[1]).astype(np.float64)
    events = _events(lesion_score, lesion_image, false_score, false_image, draws.block)
    lesions = np.bincount(draws.block[lesion_image], minlength=weights.shape[1]).astype(np.float64)
    found: FloatArray = _sensitivities(
        events.hit, events.block, events.last, weights, scans, lesions, rates
    )  # fmt: skip
    return found


def _by_patient(marks: Marks, clusters: Patients) -> tuple[str, FloatArray, IntArray]:
    """Each patient with a lesion: the best score, and one of the patient's images."""
    best = np.full(clusters.count, -np.inf)
    owner = clusters.code[marks.lesion_image]
    np.maximum.at(best, owner, marks.lesion_score)
    image = np.zeros(clusters.count, np.intp)
    image[owner] = marks.lesion_image
    with_lesion = np.unique(owner)
    return "_by_patient", best[with_lesion], image[with_lesion]


def _events(
    lesion_score: FloatArray,
    lesion_image: IntArray,
    false_score: FloatArray,
    false_image: IntArray,
    block: IntArray,
) -> _Events:
    found = lesion_score > -np.inf
    score = np.concatenate([lesion_score[found], false_score])
    hit = np.concatenate([np.ones(np.count_nonzero(found), np.bool_), np.zeros(len(false_score), np.bool_)])
    owner = block[np.concatenate([lesion_image[found], false_image])]
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.ones(len(ordered), np.bool_)
    last[:-1] = ordered[1:] != ordered[:-1]
    return _Events(ordered, hit[order], owner[order], last)


def _check(marks: Marks, images: int) -> None:
    check_images(marks.lesion_image, images=images, what="lesions")
    check_images(marks.false_image, images=images, what="candidates")


@compiled
def _sensitivities(hit, block, last, weights, scans, lesions, rates):  # type: ignore[no-untyped-def]
    """Sensitivity (B, R) at each rate where the blocks of images count `weights` (B, M) times."""
    values = np.full((len(weights), len(rates)), np.nan)
    for b in range(len(weights)):
        weight = weights[b]
        all_scans, all_lesions = 0.0, 0.0
        for m in range(len(weight)):
            all_scans += weight[m] * scans[m]
            all_lesions += weight[m] * lesions[m]
        if all_lesions == 0:
            continue
        found, false, at = 0.0, 0.0, 0
        x, y = 0.0, 0.0
        for n in range(len(hit)):
            if hit[n]:
                found += weight[block[n]]
            else:
                false += weight[block[n]]
            if not last[n]:
                continue
            new_x, new_y = false / all_scans, found / all_lesions
            while at < len(rates) and new_x > rates[at]:
                values[b, at] = y + (rates[at] - x) * (new_y - y) / (new_x - x)
                at += 1
            if at == len(rates):
                break
            x, y = new_x, new_y
        values[b, at:] = y
    return values
