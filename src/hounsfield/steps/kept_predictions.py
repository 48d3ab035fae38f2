"""What a finished run or evaluation left of its predictions, read back: scores, calls, answers, groups."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.predictions import Predictions

__all__ = ["DECIMALS", "Kept", "kept_pixels", "kept_predictions"]

DECIMALS = 6
"""Of the scores in predictions.csv; a comparison rounds others alike, lest ties favour one side."""

_REFERRAL = ("refer", "reasons", "possible classes", "typicality")


@dataclass(frozen=True)
class Kept:
    """The predictions of a run and what was called, with the hash of each image where it is still known."""

    name: str
    predictions: Predictions
    called: NDArray[np.int64]
    pixels: Mapping[str, str]
    data_digest: str = ""
    plan_digest: str = ""


def kept_predictions(run: Path) -> Kept:
    """The predictions of the run or evaluation in a folder, as predictions.csv and evidence.json hold them.

    Raises BadInput where they are not there, not what hounsfield wrote, or without known answers.
    """
    table, evidence = run / "predictions.csv", run / "evidence.json"
    if not table.is_file() or not evidence.is_file():
        raise BadInput(
            f'"{run.name}" holds no predictions.csv with an evidence.json; expected the folder of a finished '
            "hu train or hu evaluate"
        )
    try:
        context = json.loads(evidence.read_text("utf-8"))["context"]
        encoding = LabelEncoding(context["kind"], tuple(context["classes"]), tuple(context["target"]))
        with table.open(newline="") as stream:
            head, *rows = list(csv.reader(stream))
        answers, called = (_classes(rows, head.index(name), encoding, name) for name in ("answer", "called"))
        predictions = _predictions(head, rows, encoding, answers, str(context["evaluated_on"]))
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise BadInput(
            f"the predictions of {run.name} are not what hounsfield wrote; copy the run's folder again"
        ) from error
    if len(set(predictions.ids)) < len(predictions):
        raise BadInput(f"predictions.csv of {run.name} holds a case twice; copy the run's folder again")
    return Kept(
        run.name, predictions, called, kept_pixels(run), str(context.get("evaluated_digest", "")),
        str(context.get("plan_digest", "")),
    )  # fmt: skip


def _predictions(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    encoding: LabelEncoding,
    answers: NDArray[np.int64],
    kind: str,
) -> Predictions:
    scored = [k for k, name in enumerate(head) if name.startswith("score ")][: encoding.outputs]
    first = head.index("answer") + 1
    if tuple(head[first : first + len(_REFERRAL)]) == _REFERRAL:
        first += len(_REFERRAL)
    return Predictions(
        encoding=encoding,
        ids=tuple(row[0] for row in rows),
        patients=tuple(row[1] for row in rows),
        scores=np.array([[float(row[k]) for k in scored] for row in rows]).reshape(len(rows), len(scored)),
        answers=answers,
        groups={head[k]: tuple(row[k] for row in rows) for k in range(first, len(head))},
        kind=kind,
    )


def _classes(
    rows: Sequence[Sequence[str]], column: int, encoding: LabelEncoding, what: str
) -> NDArray[np.int64]:
    """Class numbers (N,), or zeros and ones (N, C), of the names in a column."""
    place = {name: k for k, name in enumerate(encoding.classes)}
    if encoding.kind != "multilabel":
        if what == "answer" and any(not row[column] for row in rows):
            raise BadInput(
                "the cases of predictions.csv have no known answers; compare runs that were evaluated"
            )
        return np.array([place[row[column]] for row in rows], np.int64)
    table = np.zeros((len(rows), len(place)), np.int64)
    for k, row in enumerate(rows):
        table[k, [place[name] for name in row[column].split("|") if name]] = 1
    return table


def kept_pixels(run: Path) -> dict[str, str]:
    """The hash of each image by its case, from the private folder; nothing where that is not there."""
    path = run / "private" / "fingerprints.npz"
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as z:
            found: dict[str, Any] = dict(zip(z["ids"].tolist(), z["digests"].tolist(), strict=True))
    except (ValueError, KeyError, OSError):
        return {}
    return {str(k): str(v) for k, v in found.items()}
