"""Score prepared images with every member of a model and average their calibrated probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.steps.prepare import Prepared
from hounsfield.tasks.classification import answers_of, probabilities

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_members", "predict", "table_of", "write_predictions"]


def predict(
    model: Model,
    prepared: Prepared,
    cases: Sequence[Case],
    *,
    kind: str = "test",
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Probabilities of each case: the mean over members of the calibrated probability."""
    from hounsfield.steps.member import network_logits, pick_device

    device = pick_device(model.plan.device)
    rows = prepared.rows([c.id for c in cases])
    total = np.zeros((len(cases), model.encoding.outputs))
    for number, network in enumerate(load_members(model), 1):
        logits = network_logits(
            network.to(device), prepared, rows, device=device, test_time=model.plan.validation.test_time
        )
        total += probabilities(logits.astype(np.float64), model.encoding, model.calibration)
        if progress:
            progress(number, len(model.members))
    return table_of(model, cases, total / len(model.members), kind=kind)


def load_members(model: Model) -> list[nn.Module]:
    """The networks of a model with their weights, ready to score."""
    from hounsfield.networks import build
    from hounsfield.networks.weights import load_weights

    plan = model.plan
    networks: list[nn.Module] = []
    start = plan.network.model_copy(update={"weights": ""})  # the member's own weights follow
    for name in model.members:
        network = build(
            start, channels=plan.input.channels, outputs=model.encoding.outputs, size=plan.input.size
        )
        load_weights(network, model.directory / name)
        networks.append(network.eval())
    return networks


def table_of(model: Model, cases: Sequence[Case], scores: NDArray[np.float64], *, kind: str) -> Predictions:
    """Scores with the patients, groups and answers of their cases."""
    groups = sorted({g for c in cases for g in c.groups})
    known = all(c.answer is not None for c in cases)
    return Predictions(
        encoding=model.encoding,
        ids=tuple(c.id for c in cases),
        patients=tuple(c.patient for c in cases),
        scores=scores,
        answers=answers_of(cases, model.encoding) if known else None,
        groups={g: tuple(c.groups.get(g, "") for c in cases) for g in groups},
        kind=kind,
        patients_known=all(c.patient_known for c in cases),
    )


def write_predictions(
    predictions: Predictions,
    path: Path,
    *,
    thresholds: Sequence[float],
    called: NDArray[np.int64] | None = None,
) -> None:
    """A CSV, a row a case: id, patient number (no identity), scores, called class, answer, groups.

    `called` replaces what the thresholds call: in cross-validation each fold has a threshold of its own.
    """
    import csv
    import io

    from hounsfield.io.files import write_text
    from hounsfield.tasks.classification import predicted_classes

    encoding = predictions.encoding
    number = {p: f"patient {k:04d}" for k, p in enumerate(dict.fromkeys(predictions.patients), 1)}
    names = [encoding.positive_name] if encoding.kind == "binary" else list(encoding.classes)
    if called is None:
        called = predicted_classes(predictions.scores, encoding, thresholds)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["case", "patient", *(f"score {n}" for n in names), "called", "answer", *predictions.groups]
    )
    for row, case_id in enumerate(predictions.ids):
        answer = "" if predictions.answers is None else _named(predictions.answers[row], encoding.classes)
        writer.writerow(
            [
                case_id,
                number[predictions.patients[row]],
                *(f"{s:.6f}" for s in predictions.scores[row]),
                _named(called[row], encoding.classes),
                answer,
                *(values[row] for values in predictions.groups.values()),
            ]
        )
    write_text(path, stream.getvalue())


def _named(value: NDArray[np.int64] | np.int64, classes: Sequence[str]) -> str:
    if np.ndim(value) == 0:
        return classes[int(value)]
    return "|".join(c for c, on in zip(classes, np.asarray(value), strict=True) if on)
