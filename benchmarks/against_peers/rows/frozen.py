"""Epochs after the first of a VGG16 with a frozen part: features cached, beside computing them each time."""

from __future__ import annotations

import statistics
from typing import Any

from measured import compared, prose, table, times
from turns import Entry, Turns, alternate

TITLE = "Frozen VGG16, epochs after the first"
IMAGES = 40
WORDS = {4: "all but the last four layers frozen", 0: "only the head learns"}
CACHED, NAIVE = "cached", "naive loop"


def measure(how: Turns) -> dict[str, Any]:
    """An item is an epoch of a running `fit`."""
    found = {}
    for trainable in WORDS:
        given = {"images": IMAGES, "epochs": how.turns + 1, "trainable": trainable}
        entries = [
            Entry(CACHED, "ours_frozen", "ours", {**given, "cache": True}, items=1),
            Entry(NAIVE, "ours_frozen", "ours", {**given, "cache": False}, items=1),
        ]
        measured = alternate(entries, how)
        losses = [measured[name]["digest"]["loss"] for name in (CACHED, NAIVE)]
        found[str(trainable)] = {**measured, "apart": abs(losses[0] - losses[1])}
    return found


def page(found: dict[str, Any]) -> list[str]:
    """Seconds of an epoch, and what ten epochs cost together."""
    lines, apart = [], 0.0
    for trainable, measured in found.items():
        cached, naive = measured[CACHED], measured[NAIVE]
        ratio, spread = compared(cached, naive)
        first = cached["facts"]["first_epoch"]
        ten = [10 * statistics.median(naive["cpu"]), first + 9 * statistics.median(cached["cpu"])]
        cells = [f"{statistics.median(m['cpu']):.2f}" for m in (naive, cached)]
        lines.append(
            [WORDS[int(trainable)], *cells, times(ratio), spread, f"{first:.1f}", times(ten[0] / ten[1])]
        )
        apart = max(apart, measured["apart"])
    head = [
        "seconds an epoch",
        NAIVE,
        CACHED,
        "ratio",
        "of one turn",
        "first epoch, cached",
        "ten epochs together",
    ]
    return [
        *prose(
            f"`fit` of the article's network c on {IMAGES} images of 150×150×3 ({IMAGES * 4 // 5} are "
            "learned from, the others validated on, in every epoch), float32, with `fit.cache_frozen` true "
            "and false; seconds of history.json, so without checkpoints. There is no augmentation: with "
            "one the frozen part sees another image each time, and nothing is cached."
        ),
        "",
        *table(head, lines),
        "",
        f"Check. After the last epoch the training losses of the two differ by at most {apart:.0e}.",
    ]


def summary(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Both numbers of layers."""
    lines = []
    for trainable, measured in found.items():
        ratio, spread = compared(measured[CACHED], measured[NAIVE])
        work = f"{TITLE}, {WORDS[int(trainable)]}"
        lines.append((work, NAIVE, "4×", "number of epochs", times(ratio), spread))
    return lines
