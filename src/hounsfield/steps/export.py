"""Write each member as ONNX, checked to give torch's logits, and in 8-bit integers where they suffice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput, HounsfieldError, MissingDependency
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Form, Model
from hounsfield.io.files import write_bytes
from hounsfield.io.model_store import digest_of, write_model
from hounsfield.steps.compute import available_cores, computing
from hounsfield.steps.engine import OnnxEngine, TorchEngine
from hounsfield.steps.int8 import Development, gated, in_int8, unproved
from hounsfield.steps.predict import load_member
from hounsfield.steps.recipe import recipe_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["PARITY_LIMIT", "Development", "export"]

PARITY_LIMIT = 1e-4
"""The largest difference between logits of ONNX Runtime and of torch, as a share of their spread."""

_UNSEEN = 1e-6
"""A difference of this many logits, after the temperature, changes no probability that anyone prints."""

_CHECKED = 16


def export(
    model: Model,
    development: Development | None = None,
    *,
    int8: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Model, tuple[Finding, ...]]:
    """Write member-N.onnx beside each member's weights, with `int8` member-N.int8.onnx too; model.json anew.

    Logits are compared on images that the member did not learn from, or on drawn ones where `development` is
    None. A file that fails its test is not kept, torch goes on scoring that member, and a finding says so.
    Returns the model that knows of its forms. Raises BadInput where `int8` is asked for without
    `development`, MissingDependency without onnx or onnxruntime.
    """
    if int8 and development is None:
        raise BadInput(
            "8-bit integers need images to be calibrated and tested on; expected development cases"
        )
    forms: list[Form] = []
    findings: list[Finding] = []
    threads = model.plan.threads or available_cores()
    with computing(threads):
        for number, member in enumerate(model.members):
            plain, content = _written(model, member, number, development, threads)
            forms.append(plain)
            old = model.form(member, "int8")
            if int8 and development is not None and content:
                small, found = _small(model, member, number, development, content, threads)
                forms.append(small)
                findings += found
            elif old and old.weights == plain.weights:
                forms.append(old)
            if progress:
                progress(number + 1, len(model.members))
    exported = replace(model, forms=tuple(forms))
    for stale in {f.file for f in model.forms} - {f.file for f in forms} - {""}:
        (model.directory / stale).unlink(missing_ok=True)
    write_model(exported)
    return exported, (_parity(exported), *findings)


def _written(
    model: Model, member: str, number: int, development: Development | None, threads: int
) -> tuple[Form, bytes]:
    """One member as ONNX on the disk, where it gives torch's logits; the file's content, empty where it
    does not.
    """
    from hounsfield.networks.onnx_form import to_onnx

    network = load_member(model, member)
    weights = digest_of(model.directory / member)
    plan = model.plan
    shape = (plan.input.channels, *(plan.input.size[1:] if plan.input.size[0] == 1 else plan.input.size))
    images = _images(model, number, development, shape)
    lost, n, content = None, 0, b""
    try:
        content = to_onnx(network, shape, facts=_facts(model, weights, "32-bit floating point"))
        lost, note, passed = _compared(network, content, images, model, threads)
        n = len(images)
    except MissingDependency:
        raise
    except HounsfieldError as error:
        note, passed = str(error), False
    except Exception as error:  # noqa: BLE001 - the runtime fails in its own ways, and torch still predicts
        note, passed = f"ONNX Runtime cannot compute it ({_first(error)}); it stays with torch", False
    form = _kept(model, member, "onnx", content if passed else b"", weights)
    return replace(form, lost=lost, limit=PARITY_LIMIT, n=n, note=note), content if passed else b""


def _small(
    model: Model, member: str, number: int, development: Development, content: bytes, threads: int
) -> tuple[Form, tuple[Finding, ...]]:
    """One member in 8-bit integers on the disk, where the gate lets it pass."""
    weights, made = digest_of(model.directory / member), b""
    facts = _facts(model, weights, "8-bit integers")
    try:
        made = in_int8(content, model, development, number, threads=threads, facts=facts)
        full, small = (OnnxEngine(c, threads=threads) for c in (content, made))
        found = gated(model, development, number, full=full, small=small)
    except MissingDependency:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        found = unproved(f"member {number}", f"it cannot be quantised ({_first(error)})", 0)
    form = _kept(model, member, "int8", made if found.kept else b"", weights)
    limit = model.plan.export.int8_loss
    return replace(form, lost=found.lost, limit=limit, n=found.n, note=found.note), found.findings


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _kept(model: Model, member: str, kind: Literal["onnx", "int8"], content: bytes, weights: str) -> Form:
    """The file of a form on the disk; with no content, none is left there."""
    stem = member.removesuffix(".safetensors")
    file = f"{stem}.onnx" if kind == "onnx" else f"{stem}.int8.onnx"
    if not content:
        with suppress(FileNotFoundError):
            (model.directory / file).unlink()
        return Form(member, kind, "", weights, "", None, 0.0, 0)
    write_bytes(model.directory / file, content)
    return Form(member, kind, file, weights, hashlib.sha256(content).hexdigest(), None, 0.0, 0)


def _images(
    model: Model, number: int, development: Development | None, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Images on which the two engines are compared: those of the fold that the member did not learn from."""
    if development is not None:
        _, places = development.parts(number, model.plan.validation.folds)
        if len(places):
            return development.prepared.batch(development.rows[places[:_CHECKED]])
    rng = np.random.default_rng([model.plan.seed, number, 0x0E])
    made = rng.standard_normal((_CHECKED, *shape), np.float32)
    return made if model.plan.input.normalise == "zscore" else np.clip(0.5 + made / 4, 0, 1)


def _compared(
    network: nn.Module, content: bytes, images: NDArray[np.float32], model: Model, threads: int
) -> tuple[float, str, bool]:
    """The largest difference as a share of the spread of the logits, in words, and whether it is small
    enough.

    The spread counts for at least a hundredth of the largest logit: rounding grows with the numbers
    themselves.
    """
    engine, torch_engine = OnnxEngine(content, threads=threads), TorchEngine(network)
    wanted = np.concatenate([torch_engine.logits(images[k : k + 4]) for k in range(0, len(images), 4)])
    found = np.concatenate([engine.logits(images[k : k + 4]) for k in range(0, len(images), 4)])
    apart = float(np.abs(found - wanted).max()) if np.isfinite(found).all() else np.inf
    spread = max(float(wanted.std(0).max()), float(np.abs(wanted).max()) / 100)
    lost = apart / spread if spread else apart
    passed = lost <= PARITY_LIMIT or apart <= _UNSEEN * model.calibration.temperature
    note = f"logits differ from torch's by at most {apart:.1g}, {lost:.1g} of their spread"
    if not passed:
        note += f"; at most {PARITY_LIMIT:g} was allowed: not kept, torch scores this member"
    return lost, note, passed


def _parity(model: Model) -> Finding:
    """How near the ONNX files come to torch, in one line for all members."""
    plain = [f for f in model.forms if f.kind == "onnx"]
    kept = [f for f in plain if f.file]
    worst = max((f.lost for f in plain if f.lost is not None), default=None)
    failed = [f for f in plain if not f.file]
    said = f"{len(kept)} of {len(plain)} member(s) written as ONNX"
    note = "; ".join([said, *(f"{f.member}: {f.note}" for f in failed)])
    if not failed:
        note = f"{said}; the worst: {max(plain, key=lambda f: f.lost or 0.0).note}"
    return Finding(
        "onnx_parity",
        value=worst,
        n=sum(f.n for f in plain),
        method="largest difference of logits as a share of their spread",
        level="warning" if failed else "info",
        note=note,
    )


def _facts(model: Model, weights: str, precision: str) -> dict[str, str]:
    """What an ONNX file says of itself."""
    recipe = recipe_of(model)
    return {
        "made_by": "hounsfield",
        "not_a_medical_device": recipe["not_a_medical_device"],
        "classes": json.dumps(list(model.encoding.classes)),
        "target": json.dumps(list(model.encoding.target)),
        "input": json.dumps(recipe["input"]),
        "preprocessing": json.dumps(recipe["preprocessing"]),
        "output": json.dumps(recipe["output"]),
        "precision": precision,
        "plan_digest": model.plan.digest(),
        "data_digest": model.data_digest,
        "weights_sha256": weights,
    }
