"""A case as a Picture: what was called, what is true, and a method's own score in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding, Picture
from hounsfield.steps.explain_maps import Asked, Maps
from hounsfield.steps.explain_scores import Scored

__all__ = ["picture_of", "score_in_words", "subject_of"]


def subject_of(maps: Maps, asked: Asked) -> str:
    """What a map speaks of: a class, the positive finding, or its absence."""
    encoding = maps.predictions.encoding
    if encoding.kind != "binary":
        return encoding.classes[asked.output]
    return encoding.positive_name if asked.towards == "positive" else f"not {encoding.positive_name}"


def score_in_words(scored: Scored, method: str, asked: Asked) -> str:
    """A method's own score in a few words; how often it hits is known of what speaks for a finding only."""
    found = {f.name: f for f in scored.of(method) if f.value is not None}
    hit = found.get("explanation_localisation")
    if hit and asked.towards == "positive":
        return f"hits {hit.value:.2f} of findings, n = {hit.n}"
    kept = found.get("explanation_faithfulness")
    return f"faithfulness {kept.value:+.2f}, n = {kept.n}" if kept else "scored in an earlier run"


def picture_of(
    maps: Maps,
    row: int,
    panels: tuple[tuple[str, NDArray[np.uint8]], ...],
    words: str = "",
    *,
    kind: str = "maps",
    scores: tuple[Finding, ...] = (),
) -> Picture:
    """A case with its panels, whether it was called right, and in words what was called and what is true."""
    predictions, called = maps.predictions, maps.called
    encoding, numbers = predictions.encoding, predictions.scores[row]
    if encoding.kind == "binary":
        score = f"score for {encoding.positive_name} {numbers[0]:.2f}"
    else:
        top = np.argsort(-numbers)[:3]
        score = ", ".join(f"{encoding.classes[int(c)]} {numbers[c]:.2f}" for c in top)
    caption = f"called {_names(called[row], encoding.classes)}; {score}"
    outcome = "right" if predictions.answers is not None else ""
    if predictions.answers is not None:
        answer = predictions.answers[row]
        outcome = "right" if np.array_equal(answer, called[row]) else "wrong"
        caption += f"; answer {_names(answer, encoding.classes)}"
    seen = [f"{g} {v[row]}" for g, v in predictions.groups.items() if v[row] and g in ("view", "site")]
    told = "; ".join([*([words] if words else []), caption, *seen])
    return Picture(predictions.ids[row], outcome, told, panels, kind, scores)


def _names(value: Any, classes: Sequence[str]) -> str:
    if np.ndim(value) == 0:
        return classes[int(value)]
    return ", ".join(c for c, on in zip(classes, value, strict=True) if on) or "none"
