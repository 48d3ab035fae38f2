"""Two models on the same cases: every difference paired, with its interval, whole and by group.

AUROC by the paired DeLong or Obuchowski test, rates by Tango and McNemar, Brier by the mean difference
between patients; outlines by `compare_outlined`, found objects by `compare_found`. p values are corrected
together by Holm. A difference is the later run less the earlier.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput, GateRefused
from hounsfield.core.predictions import Predictions
from hounsfield.io.files import require_writable_folder, write_text
from hounsfield.metrics.discrimination import area
from hounsfield.metrics.heterogeneity import holm
from hounsfield.metrics.paired import PairedDifference, auroc_difference, loss_difference, rate_difference
from hounsfield.steps.kept_predictions import DECIMALS, Kept, kept_predictions

__all__ = [
    "MOST_VALUES",
    "Comparison",
    "Row",
    "before_and_after",
    "compare",
    "corrected",
    "refuse_worse",
    "require_same_cases",
    "row_of",
    "write_comparison",
]

MOST_VALUES = 12
FILE = "comparison.json"
GATED = ("auroc", "sensitivity", "specificity", "dice", "froc_cpm")
"""What must not get worse behind the gate of `refuse_worse`."""

Row = dict[str, Any]
Scores = NDArray[np.float64]
Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """The rows of a comparison (see `before_and_after`), on how many cases, and what could not be checked."""

    after: str
    before: str
    n: int
    n_patients: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def compare(run: Path, before: Path) -> Comparison:
    """The run set beside an earlier one on the same cases.

    Raises BadInput where either is not a finished run or evaluation, or they differ in their task, their
    classes, their cases, the answers, the images or who is whose patient; the error says by how much.
    """
    task = _shared_task(run, before)
    if task == "segmentation":
        from hounsfield.steps.compare_outlined import compare_outlined

        return compare_outlined(run, before)
    if task == "detection":
        from hounsfield.steps.compare_found import compare_found

        return compare_found(run, before)
    after, earlier = kept_predictions(run), kept_predictions(before)
    order, notes = _matched(after, earlier)
    one, other = after.predictions, earlier.predictions.take(order)
    rows = _rows(one, after.called, other, earlier.called[order])
    facts = {
        "after": {"plan": after.plan_digest, "data": after.data_digest, "scored": one.kind},
        "before": {"plan": earlier.plan_digest, "data": earlier.data_digest, "scored": other.kind},
    }
    patients = len(set(one.patients))
    return Comparison(after.name, earlier.name, len(one), patients, tuple(rows), tuple(notes), facts)


def before_and_after(predictions: Predictions, called: Classes, before: Path) -> list[Row]:
    """Rows of these predictions, with what was called (N,) or (N, C), beside those of an earlier run.

    A row is {"group", "metric", "label", "before", "after", "difference": {"value", "low", "high", "n",
    "n_patients", "note"}, "p", "p_adjusted"}; what cannot be told is None, with the reason in the note.
    `group` is "" or "column=value", `label` a class. Raises BadInput as `compare` does.
    """
    _require_classification(before)
    earlier = kept_predictions(before)
    written = [float(f"{x:.{DECIMALS}f}") for x in predictions.scores.ravel().tolist()]
    rounded = replace(predictions, scores=np.array(written).reshape(predictions.scores.shape))
    order, _ = _matched(Kept("this run", rounded, called, {}), earlier)
    return _rows(rounded, called, earlier.predictions.take(order), earlier.called[order])


def require_same_cases(before: Path, cohort: Cohort) -> None:
    """Raise BadInput where a run cannot be set beside one that is to be trained on this cohort."""
    _require_classification(before)
    earlier = kept_predictions(before)
    _require_same_classes(cohort.encoding, earlier.predictions.encoding)
    now = {c.id for c in (cohort.test or cohort.development)}
    then = set(earlier.predictions.ids)
    if then - now or (cohort.test and now - then):
        raise BadInput(_other_cases(now, then, "this run", earlier.name))


def _shared_task(run: Path, before: Path) -> str:
    one, other = _task_of(run), _task_of(before)
    if one != other:
        raise BadInput(
            f"{run.name} is a run of {one} and {before.name} one of {other}; expected two of the same task; "
            "name another"
        )
    return one


def _require_classification(before: Path) -> None:
    if (task := _task_of(before)) != "classification":
        raise BadInput(
            f"{before.name} is a run of {task}; expected one of classification, as this run is; name another"
        )


def _task_of(run: Path) -> str:
    """What a run answers; that of an older version, or of one that cannot be read, is classification."""
    try:
        context = json.loads((run / "evidence.json").read_text("utf-8"))["context"]
        return str(context.get("task") or "classification")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "classification"


def refuse_worse(found: Comparison, margin: float) -> None:
    """Raise GateRefused unless each main number of everyone is shown to be worse by less than a margin.

    Shown means that the 95 % interval of the paired difference lies above minus the margin: a gate for a
    changed model before it takes the place of another (non-inferiority; Piaggio, JAMA 2012;308:2594).
    """
    for row in found.rows:
        if row["group"] or row["metric"] not in GATED:
            continue
        gap, name = row["difference"], " ".join(filter(None, (row["metric"], row["label"])))
        if gap["value"] is None:
            raise GateRefused(f"{name} cannot be compared ({gap['note']}); the gate needs it: add cases")
        if gap["low"] <= -margin:
            raise GateRefused(
                f"{name} is not shown to be worse by less than {margin:g}: the difference is "
                f"{gap['value']:+.3f} (95 % CI {gap['low']:+.3f} to {gap['high']:+.3f}); keep the earlier "
                "model, or test on more cases"
            )


def write_comparison(found: Comparison, folder: Path) -> Path:
    """Write comparison.json into a folder, whole or not at all; BadInput where there is one already."""
    require_writable_folder(folder)
    path = folder / FILE
    if path.exists():
        raise BadInput(f'"{folder.name}" holds a {FILE} already; choose another --out')
    content = {
        "format": 1, "after": found.after, "before": found.before, "n": found.n,
        "n_patients": found.n_patients, "difference": "after less before", "runs": found.facts,
        "notes": list(found.notes), "rows": list(found.rows),
    }  # fmt: skip
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def _matched(after: Kept, before: Kept) -> tuple[Classes, list[str]]:
    """Where each case of `after` stands in `before`, and what could not be checked of their sameness."""
    one, other = after.predictions, before.predictions
    _require_same_classes(one.encoding, other.encoding)
    if set(one.ids) != set(other.ids):
        raise BadInput(_other_cases(set(one.ids), set(other.ids), after.name, before.name))
    place = {case_id: row for row, case_id in enumerate(other.ids)}
    order = np.array([place[i] for i in one.ids], np.int64)
    if one.answers is None or other.answers is None:
        raise BadInput("the cases have no known answers; compare runs that were evaluated")
    changed = (one.answers != other.answers[order]).reshape(len(one), -1).any(1)
    if changed.any():
        raise BadInput(
            f"{int(changed.sum())} of {len(one)} cases have another answer in {before.name}; expected the "
            "same labels in both runs; evaluate both again on one label table"
        )
    checked = require_same_pixels(after.pixels, before.pixels, one.ids, before.name)
    require_same_patients(one.patients, [other.patients[k] for k in order.tolist()], before.name)
    return order, notes_of_sameness(
        checked,
        len(one) if after.pixels else 0,
        (one.kind, other.kind),
        (after.data_digest, before.data_digest),
    )


def require_same_pixels(
    after: Mapping[str, str], before: Mapping[str, str], ids: Iterable[str], name: str
) -> int:
    """How many images both runs know by their pixels; BadInput where any differ from those of run `name`."""
    both = after.keys() & before.keys() & set(ids)
    if other := sum(after[i] != before[i] for i in both):
        raise BadInput(
            f"{other} of {len(both)} images are not the same in {name}, although they lie at "
            "the same places; evaluate both runs again on one set of images"
        )
    return len(both)


def require_same_patients(after: Sequence[str], before: Sequence[str], name: str) -> None:
    """BadInput where cases that share a patient in one run do not in run `name`; a row is a case."""
    now, then, pairs = set(after), set(before), set(zip(after, before, strict=True))
    if not len(pairs) == len(now) == len(then):
        raise BadInput(
            f"the cases belong to other patients in {name} ({len(then)}, not {len(now)}); name the "
            "same --patient column in both runs"
        )


def notes_of_sameness(checked: int, n: int, scored: tuple[str, str], data: tuple[str, str]) -> list[str]:
    """What could not be checked: pixels of `checked` of n images (0: no fingerprints), and what differs.

    `scored` says how the cases of either run were scored, `data` are digests of what they learned from.
    """
    notes = []
    if checked < n:
        notes.append(
            f"that the images are the same was checked for {checked} of {n}: a private folder is missing"
        )
    if scored[0] != scored[1]:
        notes.append(f"the cases were scored in different ways: {scored[0]} after, {scored[1]} before")
    if data[0] and data[0] != data[1]:
        notes.append(
            "the runs did not learn from the same parts: their splits or further cases differ (data digests "
            f"{data[0]} and {data[1]})"
        )
    return notes


def _require_same_classes(one: LabelEncoding, other: LabelEncoding) -> None:
    if (one.kind, one.classes) == (other.kind, other.classes):
        return
    raise BadInput(
        f"the runs answer different questions: {one.kind} of {len(one.classes)} classes, and {other.kind} of "
        f"{len(other.classes)}, of which {len(set(one.classes) & set(other.classes))} bear the same name; "
        "expected the same classes in the same order"
    )


def _other_cases(one: set[str], other: set[str], name: str, before: str) -> str:
    return (
        f"the runs were not measured on the same cases: {len(one & other)} are in both, {len(one - other)} "
        f"only in {name}, {len(other - one)} only in {before}; use the same source, seed and split"
    )


def _rows(after: Predictions, called: Classes, before: Predictions, called_before: Classes) -> list[Row]:
    rows: list[Row] = []
    for group, member in _groups(after):
        part = np.flatnonzero(member)
        one, other = after.take(part), before.take(part)
        rows += _measured(group, one, called[part], other, called_before[part])
    return corrected(rows)


def corrected(rows: list[Row]) -> list[Row]:
    """The same rows with p values corrected together (Holm), each with its own "p_adjusted"."""
    told = [k for k, row in enumerate(rows) if row["p"] is not None]
    for k, p in zip(told, holm([rows[k]["p"] for k in told]), strict=True):
        rows[k]["p_adjusted"] = float(p)
    return rows


def _groups(predictions: Predictions) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Everyone, and every value of every group column that has a few."""
    yield "", np.ones(len(predictions), np.bool_)
    for column, values in predictions.groups.items():
        held = np.array(values)
        known = sorted({v for v in values if v})
        if 2 <= len(known) <= MOST_VALUES:
            for value in known:
                yield f"{column}={value}", held == value


def _measured(
    group: str, after: Predictions, called: Classes, before: Predictions, called_before: Classes
) -> Iterator[Row]:
    """Every metric of one group; of several classes the share of right calls, and each against the rest."""
    encoding, answers = after.encoding, after.answers
    if answers is None:
        return
    patients = list(after.patients)
    if encoding.kind == "multiclass":
        everyone = np.ones(len(answers), np.int64)
        right, then = ((c == answers).astype(np.int64) for c in (called, called_before))
        found = rate_difference(right, then, everyone, rate="sensitivity", patients=patients)
        yield row_of(group, "accuracy", "", found, float(right.mean()), float(then.mean()))
    for c in range(encoding.outputs):
        label = "" if encoding.kind == "binary" else encoding.classes[c]
        truth = _of_class(answers, c, encoding)
        scores = after.scores[:, c], before.scores[:, c]
        yield from _by_scores(group, label, scores, truth, patients)
        if encoding.kind != "multiclass":
            calls = _of_class(called, c, encoding), _of_class(called_before, c, encoding)
            yield from _by_calls(group, label, calls, truth, patients)


def _of_class(table: Classes, c: int, encoding: LabelEncoding) -> Classes:
    if encoding.kind == "multiclass":
        return np.asarray(table == c, np.int64)
    return np.asarray(table.reshape(len(table), -1)[:, c], np.int64)


def _by_scores(
    group: str, label: str, scores: tuple[Scores, Scores], truth: Classes, patients: Sequence[str]
) -> Iterator[Row]:
    found = auroc_difference(*scores, truth, patients=patients)
    areas = [area(s, truth == 1) for s in scores]
    yield row_of(group, "auroc", label, found, areas[0], areas[1])
    found = loss_difference(*scores, truth, loss="brier", patients=patients)
    losses = [float(((s - truth) ** 2).mean()) for s in scores]
    yield row_of(group, "brier", label, found, losses[0], losses[1])


def _by_calls(
    group: str, label: str, calls: tuple[Classes, Classes], truth: Classes, patients: Sequence[str]
) -> Iterator[Row]:
    members: dict[str, Callable[[], NDArray[np.bool_]]] = {
        "sensitivity": lambda: truth == 1,
        "specificity": lambda: truth == 0,
        "accuracy": lambda: np.ones(len(truth), np.bool_),
    }
    for rate, member in members.items():
        found = rate_difference(*calls, truth, rate=rate, patients=patients)  # type: ignore[arg-type]
        rows = member()
        shares = [float((c == truth)[rows].mean()) if rows.any() else None for c in calls]
        yield row_of(group, rate, label, found, shares[0], shares[1])


def row_of(
    group: str, metric: str, label: str, found: PairedDifference, after: float | None, before: float | None
) -> Row:
    """One row; where the difference is refused, so are the two numbers."""
    gap = found.difference
    told = gap.value is not None
    return {
        "group": group,
        "metric": metric,
        "label": label,
        "before": before if told else None,
        "after": after if told else None,
        "difference": {
            "value": gap.value, "low": gap.low, "high": gap.high, "n": gap.n, "n_patients": gap.n_patients,
            "note": gap.reason,
        },
        "method": gap.method,
        "p": found.p_value,
        "p_adjusted": None,
    }  # fmt: skip
