"""Test a suspected shortcut by intervention: change the image, measure how the score moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model
from hounsfield.io.pixel_store import PixelStore
from hounsfield.metrics.measured import proportion
from hounsfield.metrics.patients import Patients
from hounsfield.steps.prepare import Prepared, prepare_one

__all__ = ["Intervention", "intervene"]

RESAMPLES = 2000


@dataclass(frozen=True)
class Intervention:
    """A change to an image that must not change the answer.

    `change` takes the decoded image (C, K, J, I), min is black, and its case, and returns the changed
    image or None where it does not apply. `sentence` says in words what is done.
    """

    name: str
    sentence: str
    change: Callable[[NDArray[Any], Case], NDArray[Any] | None]


def intervene(
    model: Model,
    cases: Sequence[Case],
    store: PixelStore,
    interventions: Sequence[Intervention],
    *,
    seed: int = 0,
) -> tuple[Finding, ...]:
    """For each intervention: mean change of the score and share of calls that flip, with intervals.

    Scores are of the positive class (binary) or of the class called first. Intervals are by bootstrap
    over patients.
    """
    from hounsfield.steps.predict import predict

    found: list[Finding] = []
    for item in interventions:
        changed = [(c, item.change(store.image(c.images[0].id), c)) for c in cases]
        applied = [(c, x) for c, x in changed if x is not None]
        if not applied:
            continue
        kept = [c for c, _ in applied]
        before = _prepared([(c, store.image(c.images[0].id)) for c in kept], model, store)
        after = _prepared(applied, model, store)
        old, new = predict(model, before, kept), predict(model, after, kept)
        found += _findings(item, old.scores, new.scores, kept, model, seed)
    return tuple(found)


def _prepared(items: Sequence[tuple[Case, NDArray[Any]]], model: Model, store: PixelStore) -> Prepared:
    made = [
        prepare_one(x, store.rows[c.images[0].id].spacing_mm, model.plan.input, bits=c.images[0].bits)
        for c, x in items
    ]
    images = np.stack([m[0] for m in made])
    return Prepared(tuple(c.id for c, _ in items), images, np.array([m[1] for m in made], np.float32))


def _findings(
    item: Intervention,
    old: NDArray[np.float64],
    new: NDArray[np.float64],
    cases: Sequence[Case],
    model: Model,
    seed: int,
) -> list[Finding]:
    binary = model.encoding.kind == "binary"
    column = np.zeros(len(old), int) if binary else old.argmax(1)
    rows = np.arange(len(old))
    change = new[rows, column] - old[rows, column]
    if binary:
        cut = model.operating_point.values[0]
        flips = (old[:, 0] >= cut) != (new[:, 0] >= cut)
        turned_up = (old[:, 0] < cut) & (new[:, 0] >= cut)
        direction = f"; {int(turned_up.sum())} of the {int(flips.sum())} become positive"
    else:
        flips, direction = old.argmax(1) != new.argmax(1), ""
    patients = [c.patient for c in cases]
    what = f"score for {model.encoding.positive_name}" if binary else "score of the class called"
    mean = _bootstrap(change, patients, seed)
    n, m = len(cases), len(set(patients))
    share = proportion(flips, np.ones(n, bool), Patients.of(patients, cases=n)).estimate("share_flipped")
    bad = float(flips.mean()) > 0.05 or abs(mean[0]) > 0.05
    level = "warning" if bad else "info"
    return [
        Finding(
            item.name, label="mean_score_change", value=mean[0], low=mean[1], high=mean[2], n=n, n_patients=m,
            method="bootstrap over patients", level=level, note=f"{item.sentence}: mean change of the {what}",
        ),
        Finding(
            item.name, label="share_flipped", value=share.value, low=share.low, high=share.high, n=n,
            n_patients=m, method=share.method, level=level,
            note=f"{item.sentence}: share of images that are called otherwise{direction}"
            + (f" ({share.reason})" if share.reason else ""),
        ),
    ]  # fmt: skip


def _bootstrap(values: NDArray[np.float64], patients: Sequence[str], seed: int) -> tuple[float, float, float]:
    _, owner = np.unique(np.array(patients), return_inverse=True)
    count = int(owner.max()) + 1
    sums, sizes = np.bincount(owner, values, count), np.bincount(owner, minlength=count)
    weights = np.random.default_rng([seed, 0x1B]).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    means = (weights @ sums) / np.maximum(weights @ sizes, 1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(values.mean()), float(low), float(high)
