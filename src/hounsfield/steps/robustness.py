"""How the numbers bear worse images: the same test cases made worse on purpose, and scored again.

Six changes, each at rising strength, are made to the decoded image, before anything that the plan does to it,
as a scanner or an export would: noise, blur, contrast, dose, resolution and the receiver's gain. What a model
gives on them is no proof for another hospital; what it loses on them is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.io.pixel_store import PixelStore
from hounsfield.metrics.discrimination import auroc
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.paired import auroc_difference
from hounsfield.steps.compute import available_cores
from hounsfield.steps.one_against_rest import found_names, rows_of
from hounsfield.steps.prepare import Prepared, prepare_one
from hounsfield.transforms.artefacts import coarsened

__all__ = ["CHANGES", "Change", "Robustness", "changed", "robustness"]

Image = NDArray[Any]
MOST = 150
"""So many cases are scored anew, drawn evenly from all; each change costs one prediction a level."""
SAME = 1e-4
"""Scores that move less than this do not move."""
WEAK = 0.05
"""A fall of the AUROC by more than this at the weakest level is a warning."""


@dataclass(frozen=True, slots=True)
class Change:
    """A way in which images get worse: what its levels mean, the unchanged one first, and what is done.

    `make` takes the image (C, K, J, I) as float32, the level and a random generator, and gives it back
    changed, in the same units.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    make: Callable[[NDArray[np.float32], float, np.random.Generator], NDArray[np.float32]]


@dataclass(frozen=True)
class Robustness:
    """Curves for the report by change (of several findings by change and finding), and what they say."""

    curves: dict[str, dict[str, Any]]
    findings: tuple[Finding, ...]


def changed(image: Image, change: Change, level: float, *, seed: int) -> Image:
    """A decoded image (C, K, J, I) with one change at one level, in its own data type and range.

    >>> image = np.full((1, 1, 4, 4), 100, np.uint8)
    >>> changed(image, CHANGES["gain"], 1.5, seed=0)[0, 0, 0, 0]
    np.uint8(150)
    """
    if level == change.levels[0]:
        return image
    made = change.make(image.astype(np.float32), level, np.random.default_rng([seed, 0x0B57]))
    if image.dtype.kind == "f":
        return made.astype(image.dtype)
    limits = np.iinfo(image.dtype)
    low, high = float(limits.min), float(limits.max)
    if image.dtype.itemsize > 1:  # a scanner's own range, not that of the data type
        low, high = min(float(image.min()), 0.0), max(low, min(high, 2.0 * float(image.max())))
    return np.clip(np.rint(made), low, high).astype(image.dtype)


def robustness(
    model: Model,
    cases: Sequence[Case],
    store: PixelStore,
    *,
    seed: int = 0,
    most: int = MOST,
    progress: Callable[[int, int], None] | None = None,
) -> Robustness:
    """Score cases that the model has not learned from under every change; each finding against the rest.

    The AUROC has its interval by patient at every level, and its fall against the unchanged images a paired
    one. Nothing is said of a finding without cases of both kinds.
    """
    cases = _some(cases, most)
    total = 1 + sum(len(c.levels) - 1 for c in CHANGES.values())
    before = _scored(model, cases, store, None, 0.0, seed)
    done = 1
    curves: dict[str, dict[str, Any]] = {}
    found: list[Finding] = []
    for change in CHANGES.values():
        after = {change.levels[0]: before}
        for level in change.levels[1:]:
            after[level] = _scored(model, cases, store, change, level, seed)
            done += 1
            if progress:
                progress(done, total)
        for k, name in enumerate(found_names(model.encoding)):
            curve, findings = _curve(change, after, k, "" if model.encoding.kind == "binary" else name)
            curves |= curve
            found += findings
    return Robustness(curves, tuple(found))


def _some(cases: Sequence[Case], most: int) -> tuple[Case, ...]:
    """At most so many of the cases, evenly along their order within each answer."""
    if len(cases) <= most:
        return tuple(cases)
    answers = [c.answer for c in cases]
    order = sorted(range(len(cases)), key=lambda k: (sorted(a.positive) if (a := answers[k]) else [], k))
    places = np.linspace(0, len(order) - 1, most).round().astype(int)
    return tuple(cases[k] for k in sorted({order[p] for p in places}))


def _scored(
    model: Model, cases: Sequence[Case], store: PixelStore, change: Change | None, level: float, seed: int
) -> Predictions:
    from hounsfield.steps.predict import predict

    def one(number: int) -> tuple[Image, tuple[float, float, float, float]]:
        series = cases[number].images[0]
        image = store.image(series.id)
        if change is not None:
            image = changed(image, change, level, seed=seed + number)
        return prepare_one(image, store.rows[series.id].spacing_mm, model.plan.input, bits=series.bits)

    with ThreadPoolExecutor(available_cores()) as pool:
        made = list(pool.map(one, range(len(cases))))
    images = np.stack([image for image, _ in made])
    levels = np.array([numbers for _, numbers in made], np.float32)
    return predict(model, Prepared(tuple(c.id for c in cases), images, levels), cases)


def _curve(
    change: Change, after: dict[float, Predictions], k: int, label: str
) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    before = after[change.levels[0]]
    scores, answers = rows_of(before)
    truth, patients = answers[:, k], list(before.patients)
    before_patients = len(set(patients))
    if not 0 < truth.sum() < len(truth):
        return {}, []
    levels = sorted(after)
    areas = {level: auroc(rows_of(after[level])[0][:, k], truth, patients=patients) for level in levels}
    if any(area.refused for area in areas.values()):
        return {}, []
    name = change.name if not label else f"{change.name}, {label}"
    curve = {
        "level": levels,
        "value": [areas[level].value for level in levels],
        "low": [areas[level].low for level in levels],
        "high": [areas[level].high for level in levels],
        "metric": "auroc", "unit": change.unit, "n": len(truth), "reference": areas[change.levels[0]].value,
    }  # fmt: skip
    falls = {
        level: Estimate("auroc_difference", 0.0, 0.0, 0.0, len(truth), before_patients, "scores unchanged")
        if np.abs(after[level].scores[:, k] - scores[:, k]).max() < SAME
        else auroc_difference(
            rows_of(after[level])[0][:, k], scores[:, k], truth, patients=patients
        ).difference
        for level in change.levels[1:]
    }
    return {name: curve}, [_finding(change, label, falls)]


def _finding(change: Change, label: str, falls: dict[float, Estimate]) -> Finding:
    """The change of the AUROC at the strongest level; a warning where the weakest does harm already."""
    weakest, strongest = change.levels[1], change.levels[-1]
    fall, first = falls[strongest], falls[weakest]
    bad = first.high is not None and first.value is not None and first.value < -WEAK and first.high < 0
    said = f"change of the AUROC at {strongest:g}: {change.unit}"
    if fall.method == "scores unchanged":
        said += "; no score moves, since the plan's normalisation takes the change away"
    if bad:
        said += f"; already {first.value:+.3f} at {weakest:g}: such images must be kept from the model"
    return Finding(
        "robustness", label=f"{change.name}, {label}" if label else change.name,
        value=fall.value, low=fall.low, high=fall.high, n=fall.n, n_patients=fall.n_patients,
        method="difference to the unchanged images, by patient", level="warning" if bad else "info",
        note=said if fall.value is not None else fall.reason,
    )  # fmt: skip


# The changes


def _noise(image: NDArray[np.float32], level: float, rng: np.random.Generator) -> NDArray[np.float32]:
    return image + rng.standard_normal(image.shape, np.float32) * np.float32(level * image.std())


def _blur(image: NDArray[np.float32], level: float, _rng: np.random.Generator) -> NDArray[np.float32]:
    import cv2

    sigma = level / 100 * min(image.shape[-2:])
    planes = image.reshape(-1, *image.shape[-2:])
    blurred = [cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for plane in planes]
    return np.stack(blurred).reshape(image.shape)


def _contrast(image: NDArray[np.float32], level: float, _rng: np.random.Generator) -> NDArray[np.float32]:
    mean = image.mean()
    return np.asarray(mean + (image - mean) * np.float32(level), np.float32)


def _dose(image: NDArray[np.float32], level: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise so that the image's own grows as quantum noise does at this share of the dose."""
    own = _own_noise(image)
    grown = own * np.sqrt(1 / level - 1)
    return image + rng.standard_normal(image.shape, np.float32) * np.float32(grown)


def _own_noise(image: NDArray[np.float32]) -> float:
    """The noise of an image from its differences of second order, robustly (Immerkaer 1996)."""
    plane = image[:, image.shape[1] // 2]
    if min(plane.shape[-2:]) < 3:
        return float(plane.std())
    step = plane[..., 2:] - 2 * plane[..., 1:-1] + plane[..., :-2]
    step = step[:, 2:] - 2 * step[:, 1:-1] + step[:, :-2]
    moved = np.abs(step[step != 0])
    return float(np.median(moved)) / 0.6745 / 6 if moved.size else 0.0


def _resolution(image: NDArray[np.float32], level: float, _rng: np.random.Generator) -> NDArray[np.float32]:
    planes = image.reshape(-1, 1, *image.shape[-2:])  # slices stay as thick as they are
    return np.asarray(coarsened(planes, level), np.float32).reshape(image.shape)


def _gain(image: NDArray[np.float32], level: float, _rng: np.random.Generator) -> NDArray[np.float32]:
    return image * np.float32(level)


CHANGES = {
    c.name: c
    for c in (
        Change("noise", "noise, share of the image's spread", (0.0, 0.1, 0.2, 0.4), _noise),
        Change("blur", "sigma, % of the shorter side", (0.0, 0.5, 1.0, 2.0, 4.0), _blur),
        Change("contrast", "factor about the mean", (1.0, 0.8, 1.25, 0.5), _contrast),
        Change("dose", "share of the dose", (1.0, 0.5, 0.25, 0.1), _dose),
        Change("resolution", "pixels that become one, along a side", (1.0, 1.5, 2.0, 4.0), _resolution),
        Change("gain", "factor of all values", (1.0, 0.9, 1.1, 0.75, 1.33), _gain),
    )
}
"""By name, each with its unchanged level first, then the weakest, last the strongest."""
