"""Labels that the images contradict, the least credible first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.metrics.discrimination import area
from hounsfield.steps.audits.contract import CHECKS, Claim, Material
from hounsfield.steps.audits.quick_model import BY_CHANCE, Doubts, crossed_scores, doubts, more_than

__all__ = ["Suspect", "label_errors", "suspected_labels"]

LEAST, LEAST_OF_CLASS = 40, 12
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Suspect:
    """A case whose label the quick model does not believe: what it bears, what it looks like, and how sure
    (from 1).
    """

    case: str
    question: str
    given: str
    looks_like: str
    margin: float


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Of the chosen cases (N,): what each bears and looks like, how far it is on the way, whether that is
    suspicious.

    `counted` are the suspected cases of classes that lie far enough apart.
    """

    rows: NDArray[np.intp]
    given: NDArray[np.intp]
    like: NDArray[np.intp]
    margin: NDArray[np.float64]
    suspected: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    expected: float
    countable: bool
    auroc: float


def suspected_labels(material: Material) -> list[Suspect]:
    """The cases that look like another class than theirs, the least credible first."""
    found = []
    for question, classes in material.questions:
        judged = _judged(material, classes)
        if judged is None:
            continue
        for k in np.flatnonzero(judged.suspected).tolist():
            given, like = (material.class_name(question, int(x[k])) for x in (judged.given, judged.like))
            found.append(
                Suspect(material.cases[judged.rows[k]].id, question, given, like, float(judged.margin[k]))
            )
    return sorted(found, key=lambda s: -s.margin)


@CHECKS.register("label errors")
def label_errors(material: Material) -> list[Claim]:
    """Whether more labels are contradicted by the images than chance and overlap of the classes explain."""
    return [
        claim
        for question, classes in material.questions
        if (judged := _judged(material, classes)) is not None
        for claim in _of_labels(material, question, judged)
    ]


def _of_labels(material: Material, question: str, judged: _Judged) -> list[Claim]:
    order = np.argsort(-judged.margin, kind="stable")
    listed = ", ".join(material.cases[judged.rows[k]].id for k in order[:SHOWN] if judged.suspected[k])
    told = (
        f"a quick model that has not seen the patient tells the classes with an AUROC of {judged.auroc:.2f}"
    )
    first = "the least credible first" if judged.countable else "if labels are read again, begin with"
    review = f"{first}: {listed}" if listed else "it contradicts no label"
    near = "" if judged.countable else "; the classes look too alike for it to count wrong labels"
    n, n_patients = len(judged.rows), len(set(material.patients[judged.rows].tolist()))
    fact = Finding(
        "label_review",
        label=question,
        value=judged.auroc,
        n=n,
        n_patients=n_patients,
        note=f"{told}{near}; {review}",
    )
    if not judged.countable:
        return [Claim(fact)]
    count = int(judged.counted.sum())
    note = (
        f"{count} of {n} labels are contradicted by the image, where chance makes {judged.expected:.1f}; "
        f"{told}; {review}; have these read again before training, and correct or remove what is wrong "
        "(hu audit --out DIR lists them all)"
    )
    finding = replace(
        fact,
        name="label_errors",
        value=float(count),
        level="warning",
        method="cross-validated by patient, beyond the other class's middle; Poisson",
        note=note,
    )
    return [Claim(fact), Claim(finding, more_than(count, judged.expected), "suspects")]


def _judged(material: Material, classes: NDArray[np.intp]) -> _Judged | None:
    """The classes (N,) of all cases, held against a model of the images; None where there are too few."""
    if material.features is None:
        return None
    kinds = [
        k
        for k in np.unique(classes[classes >= 0]).tolist()
        if np.count_nonzero(classes == k) >= LEAST_OF_CLASS
    ]
    rows = np.flatnonzero(np.isin(classes, kinds))
    patients = np.unique(material.patients[rows], return_inverse=True)[1].astype(np.intp)
    if len(kinds) < 2 or len(rows) < LEAST or patients.max() + 1 < LEAST_OF_CLASS:
        return None
    features, labels = material.features[rows], classes[rows]
    against = {}
    areas = []
    for kind in kinds[-1:] if len(kinds) == 2 else kinds:
        scores = crossed_scores(features, labels == kind, patients)
        against[kind] = doubts(scores, labels == kind)
        areas.append(area(scores, labels == kind) or 0.5)
    if len(kinds) == 2:
        only = against[kinds[1]]
        like = np.where(labels == kinds[1], kinds[0], kinds[1]).astype(np.intp)
        expected = only.expected + BY_CHANCE
        counted = only.suspected & only.countable
        return _Judged(
            rows, labels, like, only.margin, only.suspected, counted, expected, only.countable, areas[0]
        )
    return _of_many(rows, labels, kinds, against, float(np.mean(areas)))


def _of_many(
    rows: NDArray[np.intp],
    labels: NDArray[np.intp],
    kinds: Sequence[int],
    against: dict[int, Doubts],
    auroc: float,
) -> _Judged:
    """A label is doubted where the image is unlike its class and like another one."""
    margins = np.stack([against[k].margin for k in kinds], 1)
    own = np.searchsorted(kinds, labels)
    place = np.arange(len(labels))
    others = margins.copy()
    others[place, own] = -np.inf
    best = others.argmax(1)
    margin = np.minimum(margins[place, own], others[place, best])
    doubted = np.stack([against[k].suspected for k in kinds], 1)
    suspected = doubted[place, own] & doubted[place, best]
    countable = np.array([against[k].countable for k in kinds])
    counted = suspected & countable[own] & countable[best]
    expected = sum(against[k].expected for k in kinds if against[k].countable) + BY_CHANCE
    like = np.array(kinds, np.intp)[best]
    both = bool(countable.sum() > 1)
    return _Judged(rows, labels, like, margin, suspected, counted, float(expected), both, auroc)
