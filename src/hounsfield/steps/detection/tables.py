"""Tables and curves of found objects: what each score gives, what was missed, what was wrongly marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.metrics.froc import CPM_RATES, froc_curve, froc_report
from hounsfield.metrics.measured import proportion
from hounsfield.metrics.patients import Patients
from hounsfield.steps.detection.matched import Matched, centres_of, marks_of_class, score_for
from hounsfield.steps.detection.measures import LIMITS, diameter_errors
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.regions.limits import limits_of

__all__ = [
    "by_class",
    "detection_curves",
    "false_positives",
    "mark_limits",
    "measuring_rules",
    "missed_lesions",
    "thresholds",
]

Row = dict[str, Any]
SHOWN = 20
FINE = tuple(float(rate) for rate in 2.0 ** np.arange(-3, 3.01, 0.25))
"""Rates of the curve, among them the seven of the CPM."""
BAND_RESAMPLES = 600
MOST_POINTS = 400
HITS = {
    "centre": "a mark hits a lesion where its centre lies nearer to the lesion's than its radius; of several "
    "the best scored counts and the others are forgotten (LUNA16); a lesion of unknown size is 10 wide",
    "overlap": "a mark hits a lesion where they overlap by an intersection over union of at least {iou:g}, "
    "one to one, from the highest score down (COCO)",
}


def measuring_rules(table: Detected, score: float) -> list[dict[str, str]]:
    """A row a rule: what it is about, and how it was decided here."""
    images = len(set(table.ids)) - len(np.unique(table.lesions.image))
    rules = [
        ("hit", HITS[table.match].format(iou=table.match_iou)),
        ("false positive", "a mark that hits no lesion of its class; images without a lesion count too"),
        ("images without a lesion", f"{images} of {len(table)}"),
        ("CPM", "the mean of the lesions found at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives an image"),
        ("one threshold", f"the score that gives one false positive an image over everyone: {_score(score)}"),
        ("intervals", "95 %, by patient: lesions and images of one patient are not independent"),
    ]
    left_out = int(table.lesions.excluded.sum())
    if left_out:
        told = f"{left_out} marked as irrelevant: neither to be found nor counted against the model"
        rules.insert(2, ("left out", told))
    return [{"rule": a, "here": b} for a, b in rules]


def _score(score: float) -> str:
    return "none gives so few" if np.isinf(score) else f"{score:.3g}"


def thresholds(table: Detected, found: Matched) -> list[Row]:
    """What each rate of false positives asks of the score, and gives."""
    marks, rows = found.marks, []
    owners = Patients.of([table.patients[k] for k in marks.lesion_image], cases=len(marks.lesion_image))
    for rate in CPM_RATES:
        score = score_for(marks, images=len(table), rate=rate)
        hits = marks.lesion_score >= score
        lesions = proportion(hits, np.ones(len(hits), np.bool_), owners).estimate("lesions found")
        false = float((marks.false_score >= score).sum()) / len(table)
        cell = {**lesions.cell, "note": lesions.reason}
        told: Row = {"score at or above": None if np.isinf(score) else score, "lesions found": cell}
        rows.append({"false positives an image, at most": rate, **told, "false positives an image": false})
    return rows


def by_class(metrics: Sequence[Finding], classes: Sequence[str]) -> list[Row]:
    """A row a class with its main numbers, where there are several."""
    wanted = {"froc_cpm": "CPM", "ap10": "average precision at IoU .1", "ap50": "at IoU .5"}
    found = {(f.name, f.label): f for f in metrics}
    rows = []
    for name in classes if len(classes) > 1 else ():
        row: Row = {"class": name}
        for metric, head in wanted.items():
            f = found.get((metric, name))
            if f is not None:
                note = "" if f.value is not None else f.note
                row[head] = {"value": f.value, "low": f.low, "high": f.high, "note": note}
        rows.append({**row, "lesions": found["froc_cpm", name].n if ("froc_cpm", name) in found else 0})
    return rows


def missed_lesions(table: Detected, found: Matched, score: float) -> list[Row]:
    """Lesions that are not found at this score, the largest first; where they lie, without identity."""
    missed = np.flatnonzero(found.marks.lesion_score < score)
    size, centre = table.lesion_mm[found.lesions], centres_of(table.lesions)
    rows = []
    for k in sorted(missed.tolist(), key=lambda k: -size[k])[:SHOWN]:
        lesion, best = int(found.lesions[k]), float(found.marks.lesion_score[k])
        row = _object(table, int(table.lesions.image[lesion]), int(table.lesion_class[lesion]))
        row |= _place(table, float(size[k]), centre[lesion])
        rows.append({**row, "best score on it": best if np.isfinite(best) else "no mark"})
    return rows


def false_positives(table: Detected, found: Matched) -> list[Row]:
    """The false positives of the highest scores, with the way to the nearest lesion of the image."""
    order = found.false[np.argsort(-table.candidates.score[found.false], kind="stable")]
    centre, real = centres_of(table.candidates), centres_of(table.lesions)
    rows = []
    for k in order[:SHOWN].tolist():
        image = int(table.candidates.image[k])
        row = _object(table, image, int(table.candidate_class[k]))
        row |= {"score": float(table.candidates.score[k])}
        row |= _place(table, float(table.candidate_mm[k]), centre[k])
        beside = real[table.lesions.image == image]
        far = float(np.sqrt(((beside - centre[k]) ** 2).sum(axis=1)).min()) if len(beside) else None
        near = "no lesion in it" if far is None else far
        rows.append({**row, f"to the nearest lesion ({table.unit})": near})
    return rows


def _object(table: Detected, image: int, label: int) -> Row:
    return {"case": table.ids[image], **({"class": table.classes[label]} if len(table.classes) > 1 else {})}


def _place(table: Detected, size: float, centre: NDArray[np.float64]) -> Row:
    place = ", ".join(f"{x:.0f}" for x in centre)
    axes = "k, j, i" if len(centre) == 3 else "j, i"
    known: Any = size if size > 0 else "unknown"
    return {f"diameter ({table.unit})": known, f"place ({axes}; {table.unit})": place}


def mark_limits(table: Detected, score: float) -> list[Row]:
    """Between which the marks an image of the next cases would lie, at one threshold."""
    if np.isinf(score):
        return []
    called = table.candidates.image[table.candidates.score >= score]
    counts = np.bincount(called, minlength=len(table)).astype(np.float64)
    row = limits_of(f"marks an image at a score of {_score(score)}", counts.tolist(), table.patients)
    return [row] if row else []


def detection_curves(table: Detected, found: Matched, score: float, *, seed: int) -> dict[str, Any]:
    """The FROC of all with its band, of each class without, and the diameters of found lesions.

    The keys and lists are those that `steps.chapters` names.
    """
    curves: dict[str, Any] = {}
    if len(found.marks.lesion_score):
        rates = [rate for rate in FINE if rate * len(table) >= 1]
        told = froc_report(
            found.marks, images=len(table), patients=list(table.patients), rates=rates or FINE,
            resamples=BAND_RESAMPLES, seed=seed,
        )  # fmt: skip
        known = {e.group: e for e in told if e.name == "froc_sensitivity"}
        at = froc_curve(found.marks, images=len(table)).at(FINE)
        curve: dict[str, list[float | None]] = {"fps": list(FINE), "sensitivity": at.round(5).tolist()}
        for side in ("low", "high"):
            bounds = [getattr(known.get(f"{rate:g} FP an image"), side, None) for rate in FINE]
            curve[side] = [None if b is None else round(float(b), 5) for b in bounds]
        curves["froc"] = {"all" if len(table.classes) > 1 else table.classes[0]: curve}
        curves["froc"] |= _of_classes(table, found)
    hit, said, truth = diameter_errors(table, found, score)
    if len(hit) > 1:
        gap = said - truth
        kept = np.unique(np.linspace(0, len(gap) - 1, min(MOST_POINTS, len(gap))).round().astype(int))
        bias, spread = float(gap.mean()), float(gap.std(ddof=1))
        drawn = {
            "mean": ((said + truth) / 2)[kept].round(4).tolist(),
            "difference": gap[kept].round(4).tolist(),
        }
        limits = {"bias": bias, "low": bias - LIMITS * spread, "high": bias + LIMITS * spread}
        name = "all classes" if len(table.classes) > 1 else table.classes[0]
        curves["diameter_agreement"] = {name: {**drawn, **limits, "unit": table.unit, "n": len(gap)}}
    return curves


def _of_classes(table: Detected, found: Matched) -> dict[str, Any]:
    """The curve of each of several classes that has a lesion."""
    curves = {}
    for k, name in enumerate(table.classes if len(table.classes) > 1 else ()):
        marks = marks_of_class(table, found, k)
        if len(marks.lesion_score):
            at = froc_curve(marks, images=len(table)).at(FINE)
            curves[name] = {"fps": list(FINE), "sensitivity": at.round(5).tolist()}
    return curves
