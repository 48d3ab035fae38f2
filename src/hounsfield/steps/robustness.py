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
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model
from hounsfield.io.pixel_store import PixelStore
from hounsfield.metrics.discrimination import auroc
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.paired import auroc_difference
from hounsfield.metrics.patients import Patients
from hounsfield.steps.compute import available_cores
from hounsfield.steps.one_against_rest import found_names, one_hot
from hounsfield.steps.prepare import Prepared, prepare_one
from hounsfield.tasks.classification import answers_of
from hounsfield.transforms.artefacts import coarsened

__all__ = ["CHANGES", "Change", "Robustness", "changed", "robustness"]

Image = NDArray[Any]
Scores = NDArray[np.float64]
MOST = 100
"""So many cases are scored anew, drawn evenly from all; each change costs one prediction a level."""
SAME, UNMOVED = 1e-4, "scores unchanged"
"""Scores that move less than this do not move."""
_MOST_BYTES = 512e6
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
    one. Nothing is said of a finding without cases of both kinds. Raises BadInput for a model that does not
    classify.
    """
    if model.plan.task != "classification":
        raise BadInput(
            f"the model is one of {model.plan.task}; how scores bear worse images is measured of models that "
            "classify only; name another run"
        )
    cases = _some(cases, most)
    answers = one_hot(answers_of(cases, model.encoding), model.encoding)
    patients = Patients.of([c.patient for c in cases], cases=len(cases))
    names = found_names(model.encoding)
    asked = [k for k in range(len(names)) if _measurable(answers[:, k], patients)]
    if not asked:
        return Robustness({}, ())
    scores = _scored(model, cases, store, seed, progress)
    curves: dict[str, dict[str, Any]] = {}
    found: list[Finding] = []
    for change in CHANGES.values():
        for k in asked:
            after = {level: scores[change.name, level][:, k] for level in change.levels}
            label = "" if model.encoding.kind == "binary" else names[k]
            curve, finding = _curve(change, after, answers[:, k], patients, label)
            curves |= curve
            found.append(finding)
    return Robustness(curves, tuple(found))


def _measurable(truth: NDArray[np.int64], patients: Patients) -> bool:
    """Whether there are enough cases of both kinds for an AUROC."""
    if not 0 < truth.sum() < len(truth):
        return False
    return not auroc(np.linspace(0, 1, len(truth)), truth, patients=patients).refused


def _some(cases: Sequence[Case], most: int) -> tuple[Case, ...]:
    """At most so many of the cases, evenly along their order within each answer."""
    if len(cases) <= most:
        return tuple(cases)
    answers = [c.answer for c in cases]
    order = sorted(range(len(cases)), key=lambda k: (sorted(a.positive) if (a := answers[k]) else [], k))
    places = np.linspace(0, len(order) - 1, most).round().astype(int)
    return tuple(cases[k] for k in sorted({order[p] for p in places}))


def _scored(
    model: Model,
    cases: Sequence[Case],
    store: PixelStore,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> dict[tuple[str, float], Scores]:
    """The scores (N, outputs) of every change at every level, unchanged images once.

    As many levels as fit into a part of the memory are scored together, since loading a member is dear.
    """
    wanted: list[tuple[Change, float]] = [(next(iter(CHANGES.values())), 0.0)]
    wanted += [(change, level) for change in CHANGES.values() for level in change.levels[1:]]
    plan = model.plan.input
    at_once = max(1, int(_MOST_BYTES / (4 * len(cases) * plan.channels * np.prod(plan.size))))
    found: list[Scores] = []
    for start in range(0, len(wanted), at_once):
        some = wanted[start : start + at_once]
        found += _scored_together(model, cases, store, some, seed, first=start == 0)
        if progress:
            progress(min(start + at_once, len(wanted)), len(wanted))
    scores = {(change.name, level): s for (change, level), s in zip(wanted[1:], found[1:], strict=True)}
    return scores | {(change.name, change.levels[0]): found[0] for change in CHANGES.values()}


def _scored_together(
    model: Model,
    cases: Sequence[Case],
    store: PixelStore,
    wanted: Sequence[tuple[Change, float]],
    seed: int,
    *,
    first: bool,
) -> list[Scores]:
    from hounsfield.steps.predict import scores_of

    def one(place: tuple[int, int]) -> tuple[Image, tuple[float, float, float, float]]:
        (change, level), number = wanted[place[0]], place[1]
        series = cases[number].images[0]
        image = store.image(series.id)
        if not (first and place[0] == 0):
            image = changed(image, change, level, seed=seed + number)
        return prepare_one(image, store.rows[series.id].spacing_mm, model.plan.input, bits=series.bits)

    places = [(change, number) for change in range(len(wanted)) for number in range(len(cases))]
    with ThreadPoolExecutor(available_cores()) as pool:
        made = list(pool.map(one, places))
    ids = tuple(f"{cases[number].id} {change}" for change, number in places)
    images = np.stack([image for image, _ in made])
    levels = np.array([numbers for _, numbers in made], np.float32)
    scores = scores_of(model, Prepared(ids, images, levels), ids)
    return list(scores.reshape(len(wanted), len(cases), -1))


def _curve(
    change: Change, after: dict[float, Scores], truth: NDArray[np.int64], patients: Patients, label: str
) -> tuple[dict[str, dict[str, Any]], Finding]:
    """One change of one finding: scores (N,) by level become a curve and what it says."""
    levels, before = sorted(after), after[change.levels[0]]
    areas = {level: auroc(after[level], truth, patients=patients) for level in levels}
    curve = {
        "level": levels,
        "value": [areas[level].value for level in levels],
        "low": [areas[level].low for level in levels],
        "high": [areas[level].high for level in levels],
        "metric": "auroc", "unit": change.unit, "n": len(truth), "reference": areas[change.levels[0]].value,
    }  # fmt: skip
    unmoved = Estimate("auroc_difference", 0.0, 0.0, 0.0, len(truth), patients.count, UNMOVED)
    falls = {
        level: unmoved
        if np.abs(after[level] - before).max() < SAME
        else auroc_difference(after[level], before, truth, patients=patients).difference
        for level in change.levels[1:]
    }
    name = f"{change.name}, {label}" if label else change.name
    return {name: curve}, _finding(change, label, falls)


def _finding(change: Change, label: str, falls: dict[float, Estimate]) -> Finding:
    """The change of the AUROC at the strongest level; a warning where the weakest does harm already."""
    weakest, strongest = change.levels[1], change.levels[-1]
    fall, first = falls[strongest], falls[weakest]
    bad = first.high is not None and first.value is not None and first.value < -WEAK and first.high < 0
    said = f"change of the AUROC at {strongest:g}: {change.unit}"
    if fall.method == UNMOVED:
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
