"""Nested cross-validation by patient: a part of the patients is scored by a model that saw nothing of them.

Of each outer part neither a weight, nor the choice of an epoch, a calibration, a threshold or a referral
knows anything: all of it is learned and chosen on inner folds of the other patients (Varma & Simon 2006).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.cohort import DEVELOPMENT, Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model
from hounsfield.core.plan import Plan
from hounsfield.core.predictions import Predictions, Referrals
from hounsfield.steps.calibrate import calibrated, cross_fitted, operating_point
from hounsfield.steps.fit import Fitted, Progress, fit, job_of
from hounsfield.steps.group import ALONE, Group
from hounsfield.steps.group_thresholds import called_at, group_of_cases, with_group_points
from hounsfield.steps.job import Job
from hounsfield.steps.mitigation import training_groups
from hounsfield.steps.prepare import Prepared
from hounsfield.steps.split import assign_folds

__all__ = ["Outer", "nested", "nested_finding", "outer_parts"]

Links = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Outer:
    """One outer part: the other patients with their inner folds, and the cases that are scored."""

    inner: Cohort
    left_out: tuple[Case, ...]


def outer_parts(cohort: Cohort, plan: Plan, *, links: Links = ()) -> tuple[Outer, ...]:
    """The development cases dealt into `validation.outer_folds` parts, each class in each, by patient.

    Cases linked as duplicates (pairs of ids) stay together, in the outer parts and in the inner folds.
    Raises BadInput where a class has too few patients for all parts and folds, or where a part leaves too few
    groups to be balanced.
    """
    rule, cases = plan.validation, cohort.development
    try:
        place = assign_folds(cases, cohort.encoding, folds=rule.outer_folds, seed=plan.seed + 1, links=links)
        parts = tuple(_outer(cohort, plan, place, k, links) for k in range(rule.outer_folds))
        if plan.mitigation.method != "none":
            for outer in parts:
                training_groups(outer.inner.development, cohort.encoding, plan.mitigation)
    except BadInput as error:
        raise BadInput(
            f"nested cross-validation in {rule.outer_folds} parts with {rule.folds} inner folds: {error}"
        ) from error
    return parts


def _outer(cohort: Cohort, plan: Plan, place: dict[str, int], k: int, links: Links) -> Outer:
    inside = tuple(c for c in cohort.development if place[c.id] != k)
    fold = assign_folds(inside, cohort.encoding, folds=plan.validation.folds, seed=plan.seed, links=links)
    inner = Cohort(inside, cohort.encoding, {c.id: DEVELOPMENT for c in inside}, fold)
    return Outer(inner, tuple(c for c in cohort.development if place[c.id] == k))


def nested(
    cohort: Cohort,
    parts: Sequence[Outer],
    plan: Plan,
    prepared: Prepared,
    folder: Path,
    *,
    start: Path | None = None,
    progress: Callable[[int], Progress] | None = None,
    group: Group = ALONE,
) -> tuple[Predictions, NDArray[np.int64]]:
    """Scores and calls of the development cases, in their order, each by the models of the other patients.

    Every outer part trains `validation.members` members in `folder`/outer-K; a finished member is not
    trained again. `progress` makes for each part what hears of its epochs. Raises as `fit` does.
    """
    scored = [
        _scored(outer, plan, prepared, folder / f"outer-{k}", start, progress(k) if progress else None, group)
        for k, outer in enumerate(parts)
    ]
    return _joined(cohort, [p for p, _ in scored], [called for _, called in scored])


def _scored(
    outer: Outer,
    plan: Plan,
    prepared: Prepared,
    folder: Path,
    start: Path | None,
    progress: Progress | None,
    group: Group,
) -> tuple[Predictions, NDArray[np.int64]]:
    from hounsfield.steps.predict import predict

    job = job_of(outer.inner, plan, prepared, folder, start=_beside(start, folder))
    fitted = fit(job, progress=progress, group=group)
    model = _decided(outer.inner, job, fitted)
    predictions = predict(model, prepared, outer.left_out, kind="cross-validation")
    return predictions, called_at(predictions, model.operating_point)


def _beside(start: Path | None, folder: Path) -> Path | None:
    """Weights to start from, copied into a job's own folder, where its processes look for them."""
    if start is None:
        return None
    import shutil

    from hounsfield.io.files import whole_file

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / start.name).is_file():
        with whole_file(folder / start.name) as unfinished:
            shutil.copyfile(start, unfinished)
    return folder / start.name


def _decided(inner: Cohort, job: Job, fitted: Fitted) -> Model:
    """The members with a calibration, thresholds and a referral, all chosen on the inner folds."""
    from hounsfield.steps.refer import referral_rule
    from hounsfield.steps.typical import with_typicality
    from hounsfield.tasks.classification import probabilities

    encoding, plan = inner.encoding, job.plan
    rule = plan.validation
    cases = [c for c, seen in zip(inner.development, fitted.seen, strict=True) if seen]
    logits, answers = fitted.logits[fitted.seen], fitted.answers[fitted.seen]
    rows = (np.cumsum(fitted.seen) - 1)[fitted.stressed_rows]
    patients = [c.patient for c in cases]
    who = [patients[row] for row in rows.tolist()]
    calibration = calibrated(fitted.stressed, answers[rows], encoding, rule, patients=who)
    scores = probabilities(logits, encoding, calibration)
    where = "inner folds"
    point = operating_point(scores, answers, patients, encoding, rule, seed=plan.seed, chosen_on=where)
    named = group_of_cases(cases, plan)
    if named is not None:
        point = with_group_points(point, scores, answers, patients, named, encoding, plan, seed=plan.seed)
    fold = np.array([inner.fold[c.id] for c in cases])
    by_group = None if named is None else (named, plan)
    scores, called = cross_fitted(
        logits, answers, patients, fold, encoding, rule, seen=(fitted.stressed, rows), by_group=by_group
    )
    referral = referral_rule(scores, called, answers, patients, encoding, rule, thresholds=point.values)
    members = tuple(str(w.relative_to(job.folder)) for w in fitted.weights)
    model = Model(job.folder, plan, encoding, members, point, calibration, referral=referral)
    return with_typicality(model, job.prepared, inner.development)[0]


def _joined(
    cohort: Cohort, tables: Sequence[Predictions], called: Sequence[NDArray[np.int64]]
) -> tuple[Predictions, NDArray[np.int64]]:
    """The outer parts as one table in the order of the development cases."""
    ids = [i for table in tables for i in table.ids]
    place = {case_id: row for row, case_id in enumerate(ids)}
    order = np.array([place[c.id] for c in cohort.development], np.int64)
    whole = Predictions(
        encoding=cohort.encoding,
        ids=tuple(ids),
        patients=tuple(p for table in tables for p in table.patients),
        scores=np.concatenate([t.scores for t in tables]),
        answers=_answers(tables),
        groups={g: _column(tables, g) for g in sorted({g for table in tables for g in table.groups})},
        kind="cross-validation",
        patients_known=all(t.patients_known for t in tables),
        referrals=_referrals(tables),
    )
    return whole.take(order), np.concatenate(called)[order]


def _column(tables: Sequence[Predictions], group: str) -> tuple[str, ...]:
    return tuple(v for table in tables for v in table.groups.get(group, ("",) * len(table)))


def _answers(tables: Sequence[Predictions]) -> NDArray[np.int64] | None:
    found = [t.answers for t in tables if t.answers is not None]
    return np.concatenate(found) if len(found) == len(tables) else None


def _referrals(tables: Sequence[Predictions]) -> Referrals | None:
    told = [t.referrals for t in tables if t.referrals is not None]
    if len(told) < len(tables):
        return None
    return Referrals(
        tuple(r for t in told for r in t.reasons),
        np.concatenate([t.sets for t in told]),
        np.concatenate([t.typicality for t in told]),
        tuple(u for t in told for u in t.unlike),
        np.concatenate([t.confidence for t in told]),
        tuple(dict.fromkeys(n for t in told for n in t.notes)),
    )


def nested_finding(parts: Sequence[Outer], plan: Plan, *, searched: bool, pretrained: bool) -> Finding:
    """What was nested, in words, and what was not: a search and pretraining judge on development cases.

    >>> from hounsfield.core.case import LabelEncoding
    >>> parts = (Outer(Cohort((), LabelEncoding("binary", ("0", "1")), {}, {}), ()),) * 2
    >>> nested_finding(parts, Plan(), searched=True, pretrained=False).level
    'warning'
    """
    cases = [c for outer in parts for c in outer.left_out]
    said = (
        f"nested cross-validation: each of {len(parts)} parts of the patients was scored by "
        f"{plan.validation.members} member(s), a calibration and a threshold of which none has seen it; the "
        "design of the plan saw all development cases"
    )
    outside = [
        what
        for what, did in (
            ("the search for the plan", searched),
            ("the choice of the pretrained weights", pretrained),
        )
        if did
    ]  # fmt: skip
    if outside:
        said += f"; {' and '.join(outside)} saw fold 0 of them, which flatters these numbers"
    patients = len({c.patient for c in cases})
    level = "warning" if outside else "info"
    return Finding("nested_cross_validation", n=len(cases), n_patients=patients, level=level, note=said)
