"""Learning curves: how the loss and the validation score went from epoch to epoch, a line a member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hounsfield.steps.figures.frame import Frame, ticks

__all__ = ["learning"]

Member = Mapping[str, Any]
SCORES = (("val_auroc", "AUROC", 0.5), ("val_dice", "Dice", 0.0), ("val_sensitivity", "sensitivity", 0.0))
"""What is validated by: its key in a member's history, its name, and where its axis begins at the latest."""


def learning(history: Sequence[Member]) -> list[tuple[str, Markup]]:
    """(caption, drawing) of the loss and of the validation score; a quantity nobody recorded has none.

    Training is dashed, validation solid; a ring marks the best validation score of each member.
    """
    drawings = []
    losses = _numbers(history, "train_loss") + _numbers(history, "val_loss")
    if losses:
        drawings.append(("Loss: training dashed, validation solid.", _loss(history, losses)))
    for key, name, least in SCORES:
        values = _numbers(history, key)
        if values:
            caption = f"Validation {name}; a ring marks the best epoch of each member."
            drawings.append((caption, _score(history, key, name, (min(least, *values), 1.0))))
    return drawings


def _loss(history: Sequence[Member], losses: list[float]) -> Markup:
    frame = Frame(x=_epochs(history), y=(0, max(losses)), height=280)
    parts = [frame.axes("epoch", "loss", x_ticks=_whole(frame.x))]
    for k, member in enumerate(history):
        parts.append(frame.line(member["epoch"], member.get("train_loss") or [], f"line dashed c{k % 8}"))
        parts.append(frame.line(member["epoch"], member.get("val_loss") or [], f"line c{k % 8}"))
    return frame.svg(parts, f"Loss of {len(history)} members by epoch.")


def _score(history: Sequence[Member], key: str, name: str, ends: tuple[float, float]) -> Markup:
    frame = Frame(x=_epochs(history), y=ends, height=280)
    parts = [frame.axes("epoch", f"validation {name}", x_ticks=_whole(frame.x))]
    for k, member in enumerate(history):
        values = member.get(key) or []
        parts.append(frame.line(member["epoch"], values, f"line c{k % 8}"))
        known = [(v, e) for e, v in zip(member["epoch"], values, strict=False) if v is not None]
        if known:
            best, epoch = max(known, key=lambda pair: pair[0])
            parts.append(frame.dot(epoch, best, f"ring c{k % 8}", 5))
    return frame.svg(parts, f"Validation {name} of {len(history)} members by epoch.")


def _epochs(history: Sequence[Member]) -> tuple[float, float]:
    epochs = [e for member in history for e in member["epoch"]]
    return (min(epochs), max(epochs)) if epochs else (0, 1)


def _whole(ends: tuple[float, float]) -> list[float]:
    return [t for t in ticks(*ends) if t == int(t)] or [ends[0]]


def _numbers(history: Sequence[Member], key: str) -> list[float]:
    return [v for member in history for v in (member.get(key) or []) if v is not None]
