"""A member in 8-bit integers: calibrated on images it learned from, kept only where its accuracy holds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import HounsfieldError
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model
from hounsfield.metrics.discrimination import area
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.paired import auroc_difference
from hounsfield.metrics.paired_accuracy import accuracy_difference
from hounsfield.steps.engine import Engine, OnnxEngine, logits_of, onnx_session
from hounsfield.steps.prepare import Prepared
from hounsfield.tasks.classification import predicted_classes, probabilities, targets_of

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Development", "Gated", "gated", "in_int8", "unproved"]

_MEASURED, _COMPARED = 64, 32
"""Training images on which ranges are measured, and others on which the two kinds of range are compared."""

_TAIL = 1e-4
"""Share of the values of a tensor that the narrower ranges cut off at each end."""


@dataclass(frozen=True)
class Development:
    """The development cases of a model: `rows` (N,) of `prepared`, and answer, fold and patient of each."""

    prepared: Prepared
    rows: NDArray[np.int64]
    answers: NDArray[np.int64]
    fold: NDArray[np.int64]
    patients: tuple[str, ...]

    def parts(self, member: int, folds: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places (in `rows`) that a member learned from, and those of the fold that it did not learn from."""
        held_out = self.fold == member % folds
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)


@dataclass(frozen=True)
class Gated:
    """What the gate found: whether the 8-bit form is kept, the accuracy it loses, on how many cases."""

    kept: bool
    lost: float | None
    n: int
    note: str
    findings: tuple[Finding, ...]


def in_int8(
    content: bytes,
    model: Model,
    development: Development,
    member: int,
    *,
    threads: int,
    facts: Mapping[str, str],
) -> bytes:
    """The 8-bit form of a member's ONNX file, with ranges measured on images that the member learned from.

    Ranges are taken whole, and without the outermost values; those are kept whose logits come nearer to the
    32-bit form's on other training images. Raises HounsfieldError where there are no training images.
    """
    from hounsfield.networks.onnx_int8 import quantised, quantised_tensors, simplified

    plan = model.plan
    learned, _ = development.parts(member, plan.validation.folds)
    drawn = np.random.default_rng([plan.seed, member, 0x18]).permutation(learned)
    measured = development.rows[drawn[:_MEASURED]]
    compared = development.rows[drawn[_MEASURED : _MEASURED + _COMPARED]]
    if not len(measured):
        raise HounsfieldError("there are no training images to calibrate 8-bit integers on")
    graph = simplified(_optimised(content, threads))
    ranges = _ranges(graph, quantised_tensors(graph), development.prepared, measured, threads)
    forms = [quantised(graph, some, facts=facts) for some in ranges]
    if not len(compared):
        return forms[0]
    plain = plan.changed({"validation.test_time": "none"})
    wanted = logits_of(OnnxEngine(content, threads=threads), development.prepared, compared, plain)
    found = [logits_of(OnnxEngine(f, threads=threads), development.prepared, compared, plain) for f in forms]
    return forms[int(np.argmin([float(((f - wanted) ** 2).mean()) for f in found]))]


def gated(model: Model, development: Development, member: int, *, full: Engine, small: Engine) -> Gated:
    """Compare the calls of the 8-bit form with the 32-bit form's on cases that the member did not learn from.

    It is kept where its accuracy at the model's operating point is lower by at most `export.int8_loss`, on
    enough cases to say so.
    """
    plan, encoding, name = model.plan, model.encoding, f"member {member}"
    _, places = development.parts(member, plan.validation.folds)
    answers, rows = development.answers[places], development.rows[places]
    patients = [development.patients[p] for p in places]
    if not len(places):
        return unproved(name, "no validation cases: nothing shows what 8 bits cost", 0)
    logits = [logits_of(e, development.prepared, rows, plan).astype(np.float64) for e in (small, full)]
    scores = [probabilities(x, encoding, model.calibration) for x in logits]
    called = [predicted_classes(s, encoding, model.operating_point.values) for s in scores]
    right = [(c == answers).reshape(len(places), -1) for c in called]
    labels = right[0].shape[1]
    change = accuracy_difference(right[0].ravel(), right[1].ravel(), patients=np.repeat(patients, labels))
    if change.value is None:
        return unproved(name, change.reason, len(places))
    kept = -change.value <= plan.export.int8_loss + 1e-12
    after, before = (
        f"accuracy {r.mean():.3f} (AUROC {_area(s, answers, model)})"
        for r, s in zip(right, scores, strict=True)
    )
    note = (
        f"{'kept' if kept else 'not kept'}: {after} in 8-bit integers, {before} in 32 bits, on cases that "
        f"the member did not learn from; it may lose {plan.export.int8_loss:g}"
    )
    findings = [_finding(change, name, len(places), "info" if kept else "warning", note)]
    if encoding.kind == "binary":
        ranked = auroc_difference(scores[0][:, 0], scores[1][:, 0], answers, patients=patients).difference
        note_of_rank = ranked.reason or "in 8-bit integers less in 32 bits"
        findings.append(_finding(ranked, name, len(places), "info", note_of_rank))
    return Gated(kept, -change.value, len(places), note, tuple(findings))


def unproved(name: str, why: str, n: int) -> Gated:
    """The gate shut, and why."""
    note = f"not kept: {why}"
    finding = Finding("int8_accuracy_difference", label=name, n=n, level="warning", note=note)
    return Gated(False, None, n, note, (finding,))


def _finding(e: Estimate, member: str, n: int, level: str, note: str) -> Finding:
    return Finding(
        f"int8_{e.name}", label=member, value=e.value, low=e.low, high=e.high, n=n, n_patients=e.n_patients,
        method=e.method, level=level, note=note,
    )  # fmt: skip


def _area(scores: NDArray[np.float64], answers: NDArray[np.int64], model: Model) -> str:
    """The mean area under the ROC curve of each output against the rest, in words."""
    truth = targets_of(answers, model.encoding) > 0.5
    areas = [area(scores[:, c], truth[:, c]) for c in range(truth.shape[1])]
    known = [a for a in areas if a is not None]
    return f"{np.mean(known):.3f}" if known else "not measurable"


def _optimised(content: bytes, threads: int) -> ModelProto:
    """The network as the runtime simplifies it for any processor: constants and normalisations folded."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="hounsfield-") as scratch:
        path = Path(scratch) / "optimised.onnx"
        onnx_session(content, threads=threads, optimised=path)
        return onnx.load(path)


def _ranges(
    graph: ModelProto, names: tuple[str, ...], prepared: Prepared, rows: NDArray[np.int64], threads: int
) -> tuple[dict[str, tuple[float, float]], dict[str, tuple[float, float]]]:
    """The range of each tensor over the images, whole, and without the outermost values of each image."""
    from hounsfield.networks.onnx_int8 import with_outputs

    engine = OnnxEngine(with_outputs(graph, names), threads=threads)
    whole = dict.fromkeys(names, (np.inf, -np.inf))
    inner = dict.fromkeys(names, (np.inf, -np.inf))
    for row in rows:
        found = engine.tensors(prepared.batch([int(row)]), names)
        for name, tensor in zip(names, found, strict=True):
            least, low, high, greatest = _ends(tensor.ravel())
            whole[name] = (min(whole[name][0], least), max(whole[name][1], greatest))
            inner[name] = (min(inner[name][0], low), max(inner[name][1], high))
    return whole, inner


def _ends(values: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """The least value, the ends without the outermost, and the greatest."""
    cut = int(len(values) * _TAIL)
    if not cut:
        least, greatest = float(values.min()), float(values.max())
        return least, least, greatest, greatest
    placed = np.partition(values, (cut, len(values) - 1 - cut))
    low, high = float(placed[cut]), float(placed[len(values) - 1 - cut])
    return float(placed[: cut + 1].min()), low, high, float(placed[len(values) - 1 - cut :].max())
