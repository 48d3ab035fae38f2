"""A model whose network is known by heart: it looks for a bright spot, not for specks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.index import Series
from hounsfield.core.model import Model, OperatingPoint
from hounsfield.core.plan import Fit, Input, Network, Plan, Validation
from hounsfield.core.predictions import Predictions
from hounsfield.networks import build
from hounsfield.networks.weights import save_weights
from hounsfield.steps.explain_maps import Maps
from hounsfield.steps.predict import predict
from hounsfield.steps.prepare import Prepared
from hounsfield.tasks.classification import predicted_classes

SIDE, SPOT = 32, 6


@dataclass(frozen=True)
class Spots:
    """Cases half of which bear a spot, two a patient; the first `known` are for training, the others test."""

    model: Model
    prepared: Prepared
    cases: tuple[Case, ...]
    predictions: Predictions
    called: NDArray[np.int64]
    masks: dict[str, NDArray[np.bool_]]
    training: tuple[Case, ...]

    def maps(self) -> Maps:
        return Maps(self.model, self.prepared, self.predictions, self.called, lambda _: 0)

    def truth(self, case: str) -> NDArray[np.bool_] | None:
        return self.masks.get(case)


def spots(folder: Path, *, n: int = 40, known: int = 40, threads: int = 1, slices: int = 1) -> Spots:
    """Write the model into folder/run/model and score `n` cases with it."""
    rng = np.random.default_rng(5)
    total = n + known
    images = rng.integers(0, 60, (total, 1, slices, SIDE, SIDE)).astype(np.uint8)
    masks, cases = {}, []
    for k in range(total):
        name = f"case {k:03d}"
        for j, i in rng.integers(0, SIDE - 2, (20, 2)):  # specks as bright as a spot, which mean nothing
            images[k, :, :, j : j + 2, i : i + 2] = 230
        if k // 2 % 2:
            j, i = rng.integers(2, SIDE - SPOT - 2, 2)
            images[k, :, :, j : j + SPOT, i : i + SPOT] = 230
            mask = np.zeros((SIDE, SIDE), bool)
            mask[j : j + SPOT, i : i + SPOT] = True
            masks[name] = mask if slices == 1 else np.repeat(mask[None], slices, 0)
        series = Series(name, (name,), "raster", (slices, SIDE, SIDE))
        cases.append(Case(name, f"patient {k // 2}", (series,), Label((k // 2 % 2,)), {"site": "A"}))
    levels = np.tile(np.array([1 / 255, 0, -np.inf, np.inf], np.float32), (total, 1))
    prepared = Prepared(tuple(c.id for c in cases), images, levels)
    model = _model(folder / "run", threads, slices)
    asked = tuple(cases[known:])
    predictions = predict(model, prepared, asked)
    called = predicted_classes(predictions.scores, model.encoding, model.operating_point.values)
    return Spots(model, prepared, tuple(cases), predictions, called, masks, tuple(cases[:known]))


def _model(run: Path, threads: int, slices: int) -> Model:
    plan = Plan(
        input=Input(size=(slices, SIDE, SIDE), normalise="unit"),
        network=Network(name="plain", width=4, depth=1, dropout=0.0),
        fit=Fit(loss="binary_cross_entropy"),
        validation=Validation(members=1),
        threads=threads,
        device="cpu",
    )
    network = build(plan.network, channels=1, outputs=1, size=plan.input.size, seed=0).eval()
    kernels = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Conv3d)]
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d)]
    with torch.no_grad():
        for kernel in kernels:
            kernel.weight.zero_()
            kernel.weight[0, 0] = 1 / kernel.weight[0, 0].numel()  # the mean of 3 x 3 (x 3) voxels, twice
        norms[-1].running_mean[0] = 0.6  # type: ignore[index]
        network.classifier.weight.copy_(torch.tensor([[4000.0, 0.0, 0.0, 0.0]]))  # type: ignore[operator, union-attr]
        network.classifier.bias.fill_(-4.0)  # type: ignore[operator, union-attr]
    (run / "model").mkdir(parents=True)
    save_weights(network, run / "model" / "member-0.safetensors")
    encoding = LabelEncoding("binary", ("clear", "spot"), ("finding",))
    point = OperatingPoint((0.5,), "youden", "validation folds")
    return Model(run / "model", plan, encoding, ("member-0.safetensors",), point)
