"""Show what the model looked at: Grad-CAM and occlusion over right and wrong cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Picture
from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.steps.prepare import Prepared

__all__ = ["choose_cases", "explain"]

SIDE = 224


def choose_cases(predictions: Predictions, called: NDArray[np.int64], *, most: int = 12) -> list[int]:
    """Rows to show: the most confidently wrong first, then right ones, spread over the answers."""
    if predictions.answers is None:
        return list(range(min(most, len(predictions))))
    answers, scores = predictions.answers, predictions.scores
    right = called == answers if answers.ndim == 1 else (called == answers).all(1)
    sure = np.abs(scores[:, 0] - 0.5) if predictions.encoding.kind == "binary" else scores.max(1)
    order = np.argsort(-sure, kind="stable")
    wrong = [int(r) for r in order if not right[r]][: most // 2]
    good: list[int] = []
    strata = [predictions.ids] if answers.ndim == 2 else []
    classes: Sequence[Any] = [None] if strata else np.unique(answers).tolist()
    for k in classes:
        rows = [int(r) for r in order if right[r] and (k is None or answers[r] == k)]
        good += rows[: max(1, (most - len(wrong)) // len(classes))]
    return wrong + good


def explain(
    model: Model,
    prepared: Prepared,
    predictions: Predictions,
    called: NDArray[np.int64],
    *,
    most: int = 12,
    member_of: Callable[[int], int] = lambda _: 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Picture, ...]:
    """Pictures of chosen cases: the image as the network sees it, Grad-CAM, and occlusion.

    `member_of` names the member that explains a row (in cross-validation one that did not learn
    from it). Grad-CAM shows evidence for the class that was called.
    """
    import torch

    from hounsfield.explainers import EXPLAINERS
    from hounsfield.steps.predict import load_members

    rows = choose_cases(predictions, called, most=most)
    networks = load_members(model)
    pictures = []
    for done, row in enumerate(rows, 1):
        network = networks[member_of(row)].eval()
        image = prepared.batch(prepared.rows([predictions.ids[row]]))
        output, towards = _said(predictions, called, row)
        heats: dict[str, NDArray[np.float32]] = {}
        for name in ("gradcam", "occlusion") if image.ndim == 4 else ("gradcam",):
            # A plain transformer has no feature map, and says so; occlusion is dear on volumes.
            with suppress(BadInput):
                found = EXPLAINERS[name](network, torch.from_numpy(image), output=output, towards=towards)
                heats[name] = found[0]
        first = next(iter(heats.values()), None)
        panels = [("image", _grey(image[0], first))]
        panels += [(TITLES[name], _overlay(image[0], heat)) for name, heat in heats.items()]
        pictures.append(_picture(predictions, called, row, tuple(panels)))
        if progress:
            progress(done, len(rows))
    return tuple(pictures)


TITLES = {"gradcam": "Grad-CAM", "occlusion": "Occlusion"}


def _said(
    predictions: Predictions, called: NDArray[np.int64], row: int
) -> tuple[int, Literal["positive", "negative"]]:
    kind = predictions.encoding.kind
    if kind == "binary":
        return 0, "positive" if called[row] == 1 else "negative"
    if kind == "multiclass":
        return int(called[row]), "positive"
    return int(predictions.scores[row].argmax()), "positive"


def _picture(
    predictions: Predictions,
    called: NDArray[np.int64],
    row: int,
    panels: tuple[tuple[str, NDArray[np.uint8]], ...],
) -> Picture:
    encoding = predictions.encoding
    scores = predictions.scores[row]
    if encoding.kind == "binary":
        score = f"score for {encoding.positive_name} {scores[0]:.2f}"
    else:
        top = np.argsort(-scores)[:3]
        score = ", ".join(f"{encoding.classes[int(c)]} {scores[c]:.2f}" for c in top)
    caption = f"called {_names(called[row], encoding.classes)}; {score}"
    outcome = "right"
    if predictions.answers is not None:
        answer = predictions.answers[row]
        outcome = "right" if np.array_equal(answer, called[row]) else "wrong"
        caption += f"; answer {_names(answer, encoding.classes)}"
    seen = [f"{g} {v[row]}" for g, v in predictions.groups.items() if v[row] and g in ("view", "site")]
    return Picture(predictions.ids[row], outcome, "; ".join([caption, *seen]), panels)


def _names(value: Any, classes: Sequence[str]) -> str:
    if np.ndim(value) == 0:
        return classes[int(value)]
    return ", ".join(c for c, on in zip(classes, value, strict=True) if on) or "none"


def _plane(image: NDArray[np.float32], heat: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """(C, J, I) of an image or of the slice of a volume where the map is strongest."""
    if image.ndim == 3:
        return image
    k = image.shape[1] // 2 if heat is None else int(heat.reshape(heat.shape[0], -1).sum(1).argmax())
    return image[:, k]


def _grey(image: NDArray[np.float32], heat: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
    import cv2

    plane = _plane(image, heat)
    low, high = np.percentile(plane, (0.5, 99.5))
    shown = np.clip((plane - low) / max(float(high - low), 1e-6), 0, 1)
    shown = np.repeat(shown, 3, 0) if len(shown) == 1 else shown[:3]
    rgb = np.ascontiguousarray((shown * 255).astype(np.uint8).transpose(1, 2, 0))
    scale = SIDE / max(rgb.shape[:2])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)


def _overlay(image: NDArray[np.float32], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The map in a colour scale that stays readable to the colour-blind, laid over the image."""
    import cv2

    base = _grey(image, heat)
    plane = heat if heat.ndim == 2 else heat[int(heat.reshape(heat.shape[0], -1).sum(1).argmax())]
    sized = cv2.resize(plane, (base.shape[1], base.shape[0]), interpolation=cv2.INTER_LINEAR)
    level = (np.clip(sized, 0, 1) * 255).astype(np.uint8)
    colour = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    share = np.clip(sized, 0, 1)[..., None] * 0.65
    return np.asarray(base * (1 - share) + colour * share, np.uint8)
