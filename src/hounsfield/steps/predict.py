"""Score prepared images with every member of a model and average their calibrated probabilities."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.io.model_store import form_content
from hounsfield.steps.compute import available_cores, computing, pick_device
from hounsfield.steps.engine import Engine, OnnxEngine, TorchEngine, logits_of
from hounsfield.steps.group_thresholds import called_at
from hounsfield.steps.prepare import Prepared
from hounsfield.steps.refer import UNLIKE, referrals_of, set_in_words
from hounsfield.steps.typical import how_typical
from hounsfield.tasks.classification import answers_of, predicted_classes, probabilities

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "engines_of",
    "load_member",
    "load_members",
    "predict",
    "scores_of",
    "table_of",
    "write_predictions",
]

_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def predict(
    model: Model,
    prepared: Prepared,
    cases: Sequence[Case],
    *,
    kind: str = "test",
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Probabilities of each case, the mean over members of the calibrated probability, and its referral.

    On a CPU each member is scored by ONNX Runtime, where its ONNX file is there and of these weights, and
    torch is then not imported.
    """
    scores = scores_of(model, prepared, [c.id for c in cases], progress=progress)
    found = table_of(model, cases, scores, kind=kind)
    called = called_at(found, model.operating_point)
    if model.referral is None:
        return found
    typicality, unlike = how_typical(model, prepared, cases)
    told = referrals_of(model, scores, called, typicality=typicality, unlike=unlike)
    return replace(found, referrals=told)


def scores_of(
    model: Model,
    prepared: Prepared,
    ids: Sequence[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Probabilities (N, outputs) of prepared images: the mean over members of the calibrated probability."""
    rows = prepared.rows(ids)
    total = np.zeros((len(ids), model.encoding.outputs))
    for number, engine in enumerate(engines_of(model), 1):
        logits = logits_of(engine, prepared, rows, model.plan).reshape(len(ids), -1)
        total += probabilities(logits.astype(np.float64), model.encoding, model.calibration)
        if progress:
            progress(number, len(model.members))
    return total / len(model.members)


def engines_of(model: Model) -> Iterator[Engine]:
    """What scores each member, one after another: ONNX Runtime on a CPU where it can, else torch.

    The 8-bit form is taken where the plan asks for it and it was kept. Raises BadInput for a device that is
    not here.
    """
    threads = model.plan.threads or available_cores()
    on_cpu = _surely_cpu(model.plan.device) and find_spec("onnxruntime") is not None
    for member in model.members:
        content = form_content(model, member, int8=model.plan.export.int8) if on_cpu else None
        if content is not None:
            yield OnnxEngine(content, threads=threads)
            continue
        network = load_member(model, member).to(pick_device(model.plan.device))
        with computing(threads):
            yield TorchEngine(network)


def _surely_cpu(device: str) -> bool:
    """Whether this device is the CPU, as far as can be told without importing torch."""
    if device != "auto":
        return device.split(":")[0] == "cpu"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
    return hidden or not any(Path(driver).exists() for driver in _GPU_DRIVERS)


def load_members(model: Model) -> list[nn.Module]:
    """The networks of a model with their weights, ready to score."""
    return [load_member(model, member) for member in model.members]


def load_member(model: Model, member: str) -> nn.Module:
    """One network of a model with its weights, ready to score."""
    from hounsfield.networks import build
    from hounsfield.networks.weights import load_weights

    plan = model.plan
    start = plan.network.model_copy(update={"weights": ""})  # the member's own weights follow
    network = build(start, channels=plan.input.channels, outputs=model.encoding.outputs, size=plan.input.size)
    load_weights(network, model.directory / member)
    return network.eval()


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
    """A CSV, a row a case: id, patient number (no identity), scores, called class, answer, referral, groups.

    Columns of the referral are there where the model could tell: "refer" (yes or no), "reasons", "possible
    classes" (the conformal set) and "typicality" (the share of development patients whose images are at least
    as odd). `called` replaces what the thresholds call: in cross-validation each fold has its own.
    """
    import csv
    import io

    from hounsfield.io.files import write_text

    encoding = predictions.encoding
    number = {p: f"patient {k:04d}" for k, p in enumerate(dict.fromkeys(predictions.patients), 1)}
    names = [encoding.positive_name] if encoding.kind == "binary" else list(encoding.classes)
    if called is None:
        called = predicted_classes(predictions.scores, encoding, thresholds)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    heads = _REFERRAL if predictions.referrals else ()
    writer.writerow(
        ["case", "patient", *(f"score {n}" for n in names), "called", "answer", *heads, *predictions.groups]
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
                *_referral_cells(predictions, row),
                *(values[row] for values in predictions.groups.values()),
            ]
        )
    write_text(path, stream.getvalue())


_REFERRAL = ("refer", "reasons", "possible classes", "typicality")


def _referral_cells(predictions: Predictions, row: int) -> list[str]:
    told = predictions.referrals
    if told is None:
        return []
    unlike = told.unlike[row]
    why = [f"{r} ({unlike})" if r == UNLIKE and unlike else r for r in told.reasons[row]]
    p = told.typicality[row]
    return [
        "yes" if why else "no",
        "; ".join(why),
        set_in_words(told.sets[row], predictions.encoding),
        f"{p:.4f}" if np.isfinite(p) else "",
    ]


def _named(value: NDArray[np.int64] | np.int64, classes: Sequence[str]) -> str:
    if np.ndim(value) == 0:
        return classes[int(value)]
    return "|".join(c for c, on in zip(classes, np.asarray(value), strict=True) if on)
