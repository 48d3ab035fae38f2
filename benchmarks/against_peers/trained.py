"""A ResNet-18 really trained on PneumoniaMNIST, and what its 8-bit form costs on held-back images."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from turns import CHECKOUT

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, Cohort
from hounsfield.core.index import Series
from hounsfield.core.model import Model, OperatingPoint
from hounsfield.core.plan import Fit, Input, Network, Plan, Validation
from hounsfield.io.model_store import form_content
from hounsfield.metrics.intervals import wilson
from hounsfield.steps.engine import OnnxEngine, logits_of
from hounsfield.steps.export import export
from hounsfield.steps.fit import fit, job_of
from hounsfield.steps.int8 import Development
from hounsfield.steps.prepare import Prepared
from hounsfield.transforms.normalise import levels_of
from hounsfield.transforms.resize import resize

__all__ = ["SIDE", "accuracy_of_int8", "data"]

SIDE = 64
LEARNED, HELD_BACK = 1500, 2000
PLAN = Plan(
    device="cpu",
    input=Input(size=(1, SIDE, SIDE), interpolation="linear"),
    network=Network(name="timm:resnet18"),
    fit=Fit(epochs=4, batch_size=32, precision="float32"),
    validation=Validation(folds=2, members=1),
    threads=1,
)


def data() -> Path | None:
    """PneumoniaMNIST's train and validation parts, where they are."""
    home = Path(os.environ.get("HU_DATA", CHECKOUT.parent / "shared/data"))
    found = home / "medmnist/pneumoniamnist_train_val.npz"
    return found if found.is_file() else None


def accuracy_of_int8(path: Path) -> dict[str, Any]:
    """Train on some of the images; accuracies (value, low, high, n) of both forms on others."""
    images, answers = _without_copies(path)
    prepared, cohort = _prepared(images), _cohort(answers)
    with tempfile.TemporaryDirectory() as folder:
        job = job_of(cohort, PLAN, prepared, Path(folder))
        fitted = fit(job)
        model = Model(
            directory=fitted.weights[0].parent,
            plan=PLAN,
            encoding=cohort.encoding,
            members=(fitted.weights[0].name,),
            operating_point=OperatingPoint((0.5,), "half", "nothing"),
        )
        patients = tuple(c.patient for c in cohort.cases)
        development = Development(prepared, job.rows, job.answers, job.fold, patients)
        exported, findings = export(model, development, int8=True)
        _, places = job.parts(0)
        found: dict[str, Any] = {
            name: _accuracy(exported, prepared, job.rows[places], job.answers[places], int8=int8)
            for name, int8 in (("float32", False), ("int8", True))
        }
    change = next(f for f in findings if f.name == "int8_accuracy_difference")
    kept = exported.form(exported.members[0], "int8") is not None
    found["change"] = {"value": change.value, "low": change.low, "high": change.high, "n": change.n}
    return {**found, "kept": kept, "learned_from": len(answers) - len(places), "note": change.note}


def _without_copies(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 28, 28) and answers (n,), drawn of all, each once: validation repeats some."""
    with np.load(path, allow_pickle=False) as z:
        images = np.concatenate([z["train_images"], z["val_images"]])
        answers = np.concatenate([z["train_labels"], z["val_labels"]]).ravel().astype(np.int64)
    first = {hashlib.sha256(image.tobytes()).digest(): k for k, image in reversed(list(enumerate(images)))}
    once = np.random.default_rng(0).permutation(sorted(first.values()))[: LEARNED + HELD_BACK]
    return images[once], answers[once]


def _prepared(images: NDArray[np.uint8]) -> Prepared:
    larger = np.stack([resize(i[None, None], PLAN.input.size, interpolation="linear") for i in images])
    levels = np.array([levels_of(i, PLAN.input, bits=8) for i in larger], np.float32)
    return Prepared(tuple(f"c{k}" for k in range(len(images))), larger, levels)


def _cohort(answers: NDArray[np.int64]) -> Cohort:
    def case(k: int) -> Case:
        series = Series(f"c{k}", (f"c{k}",), "arrays", (1, SIDE, SIDE))
        return Case(f"c{k}", f"p{k}", (series,), Label((int(answers[k]),)))

    cases = tuple(case(k) for k in range(len(answers)))
    folds = {f"c{k}": int(k < LEARNED) for k in range(len(answers))}  # fold 0 is held back
    encoding = LabelEncoding("binary", ("normal", "pneumonia"))
    return Cohort(cases, encoding, {c.id: DEVELOPMENT for c in cases}, folds)


def _accuracy(
    model: Model, prepared: Prepared, rows: NDArray[np.int64], answers: NDArray[np.int64], *, int8: bool
) -> dict[str, float]:
    content = form_content(model, model.members[0], int8=int8)
    assert content is not None
    logits = logits_of(OnnxEngine(content, threads=1), prepared, rows, model.plan)
    right = int(((logits[:, 0] > 0) == (answers == 1)).sum())
    low, high = wilson(right, len(rows))
    return {"value": right / len(rows), "low": low, "high": high, "n": len(rows)}
