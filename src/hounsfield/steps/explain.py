"""Show what the model looked at: maps that passed their tests, similar confirmed cases, synthetic edits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding, Picture
from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.steps.compute import computing
from hounsfield.steps.explain_captions import picture_of, score_in_words, subject_of
from hounsfield.steps.explain_edits import edited_cases
from hounsfield.steps.explain_maps import Asked, Maps, title_of
from hounsfield.steps.explain_panels import grey, overlay
from hounsfield.steps.explain_scores import Scored, Truth, score_methods
from hounsfield.steps.explain_similar import SHOWN, Known, kept_known, known_cases, similar
from hounsfield.steps.prepare import Prepared

__all__ = ["Explained", "choose_cases", "explain"]

BESIDE = 6
"""Of so many shown cases the similar ones and a synthetic edit are shown too."""


@dataclass(frozen=True, eq=False)
class Explained(Sequence[Picture]):
    """The pictures of an explained model, as a sequence of them, and what was measured to allow them.

    `findings` are the scores of every method, shown or not; `notes` say in a sentence each what is withheld
    or was left out, and why; `scored` holds the tests of the maps, `known` the training cases looked through.
    """

    pictures: tuple[Picture, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    scored: Scored = field(default_factory=Scored)
    known: Known | None = field(default=None, repr=False)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Picture, ...]: ...
    def __getitem__(self, index: int | slice) -> Picture | tuple[Picture, ...]:
        return self.pictures[index]

    def __len__(self) -> int:
        return len(self.pictures)


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
    training: Sequence[Case] = (),
    truth: Truth | None = None,
    scored: Scored | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explained:
    """Pictures of chosen cases with the maps of every method that passed its tests, and what was measured.

    `member_of` names the member that explains a row (in cross-validation one that did not learn from it).
    `training` are cases among the prepared ones whose confirmed answers may be shown beside; without any,
    those that the model's run has kept are taken. `truth` gives the mask of a case's finding, for the
    localisation test. `scored` are the tests of an earlier run, taken instead of new ones.
    """
    maps = Maps(model, prepared, predictions, called, member_of)
    rows = choose_cases(predictions, called, most=most)
    step = _Steps(progress)
    with computing(1):  # cases are explained side by side
        scored = scored or _scored(maps, truth, model.plan.seed, step)
        shown = [_mapped(maps, row, scored, step) for row in rows]
        beside = _alternating(rows, BESIDE) if predictions.answers is not None else rows
        near = _neighbours(maps, beside, training, step)
        edits, measured, words = _edits(maps, rows, beside, model.plan.seed, step)
    notes = [f"{title} is withheld: {why}." for title, why in scored.withheld]
    if len(model.members) > 1:
        notes.append(f"A map explains one of the model's {len(model.members)} members, not their mean.")
    findings = (*scored.findings, *near.findings, *measured)
    return Explained(
        (*shown, *near.pictures, *edits), findings, (*notes, *near.notes, *words), scored, near.known
    )


class _Steps:
    """Counts the parts of the work for a progress display."""

    def __init__(self, progress: Callable[[int, int], None] | None) -> None:
        self.progress, self.done, self.total = progress, 0, 0

    def plan(self, count: int) -> None:
        self.total += count

    def one(self, count: int = 1) -> None:
        self.done += count
        if self.progress:
            self.progress(self.done, self.total)


def _scored(maps: Maps, truth: Truth | None, seed: int, step: _Steps) -> Scored:
    from hounsfield.explainers import EXPLAINERS

    attends = callable(getattr(maps.network(0), "shares", None))
    methods = [name for name in EXPLAINERS.names if name != "attention" or attends]
    step.plan(len(methods) + 1)
    found = score_methods(maps, methods, truth=truth, seed=seed, progress=lambda _done, _total: step.one())
    return found


# The maps


def _mapped(maps: Maps, row: int, scored: Scored, step: _Steps) -> Picture:
    """A case with the map of each method that may be shown; of many classes Grad-CAM shows two."""
    image = maps.images([row])[0]
    panels, first = [], None
    for method in scored.shown:
        for asked in _questions(maps, row, method):
            with suppress(BadInput):
                (heat,) = maps.of(method, [asked])
                first = heat if first is None else first
                title = f"{title_of(method)} for {subject_of(maps, asked)}"
                score = score_in_words(scored, method, asked)
                panels.append((f"{title} ({score})", overlay(image, heat)))
    step.plan(1)
    step.one()
    base = ("image", grey(image, first))
    findings = tuple(f for method in scored.shown for f in scored.of(method))
    return picture_of(maps, row, (base, *panels), scores=findings)


def _questions(maps: Maps, row: int, method: str) -> list[Asked]:
    said = maps.said(row)
    if method != "gradcam" or maps.predictions.encoding.kind == "binary":
        return [said]
    likely = np.argsort(-maps.predictions.scores[row], kind="stable").tolist()
    return [said, *(Asked(row, k) for k in likely if k != said.output)][:2]


# What stands beside


@dataclass(frozen=True, eq=False)
class _Near:
    pictures: tuple[Picture, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    known: Known | None = None


def _neighbours(maps: Maps, rows: Sequence[int], training: Sequence[Case], step: _Steps) -> _Near:
    """Pictures of the nearest training cases with their confirmed answers."""
    members = {maps.member_of(row) for row in range(len(maps.predictions))}
    step.plan(1)
    try:
        if training:
            known = {m: known_cases(maps, m, training, maps.prepared) for m in sorted(members)}
        else:
            kept = kept_known(maps.model)
            known = {0: kept} if kept is not None and members == {0} else {}
    except BadInput as error:
        return _Near(notes=(f"Similar cases are not shown: {error}.",))
    if not any(cases.ids for cases in known.values()):
        why = "no training images were given, and the run's private folder keeps none of these weights"
        return _Near(notes=(f"Similar cases are not shown: {why}.",))
    near, finding = similar(maps, known, rows)
    step.one()
    pictures = []
    for row, neighbours in near.items():
        cases = known[maps.member_of(row)]
        panels = [("image", grey(maps.images([row])[0]))]
        for n in neighbours[:SHOWN]:
            answer = cases.answer(n.row, maps.predictions.encoding)
            title = f"training case {cases.ids[n.row]}: {answer} (cosine {n.cosine:.3f})"
            panels.append((title, cases.pictures[n.row]))
        words = f"similar confirmed training cases; their commonest answer is right in {finding.text}"
        pictures.append(picture_of(maps, row, tuple(panels), words, kind="similar", scores=(finding,)))
    return _Near(tuple(pictures), (finding,), (), known.get(0))


def _edits(
    maps: Maps, rows: Sequence[int], beside: Sequence[int], seed: int, step: _Steps
) -> tuple[tuple[Picture, ...], tuple[Finding, ...], tuple[str, ...]]:
    """Pictures of synthetic edits, what was measured of them, and what was left out."""
    if not maps.is_flat:
        return (), (), ("Counterfactual edits are not made of volumes.",)
    step.plan(len(rows))
    found, measured = edited_cases(maps, rows, seed=seed, progress=step.one)
    found = {row: edit for row, edit in found.items() if row in beside}
    pictures = [
        picture_of(maps, row, panels, text, kind="synthetic", scores=measured)
        for row, (text, panels) in found.items()
        if panels
    ]
    notes = [f"{maps.predictions.ids[row]}: {text}." for row, (text, panels) in found.items() if not panels]
    return tuple(pictures), measured, tuple(notes)


def _alternating(rows: Sequence[int], count: int) -> list[int]:
    """Some of the rows from both ends, so that wrong and right cases are among them."""
    ends = [row for pair in zip(rows, reversed(rows), strict=True) for row in pair]
    return list(dict.fromkeys(ends))[:count]
