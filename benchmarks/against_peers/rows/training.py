"""A training step of the article's three networks: ours beside Keras on TensorFlow, float32 on both sides."""

from __future__ import annotations

import tempfile
from typing import Any

from article import CHECKED_STEPS, SETTINGS
from measured import compared, median_seconds, prose, rate, table, times
from turns import Entry, Turns, alternate

TITLE = "Training step of the article's networks"
GOALS = {"a": (1.3, 2), "b": (1.05, 2), "c": (1.4, 2)}
WORDS = {"a": "a, 224×224×1, batch 8", "b": "b, 150×150×3, batch 8", "c": "c, VGG16, last 4 layers, batch 2"}
OURS, HALF = "ours, float32", "ours, bfloat16"
KERAS = {False: "Keras on TensorFlow", True: "Keras on TensorFlow, XLA"}


def measure(how: Turns) -> dict[str, Any]:
    """Network by network, every contender in turn; an item is a step."""
    return {net: _measured(net, how) for net in SETTINGS}


def _measured(net: str, how: Turns) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as exchange:
        given = {"net": net, "exchange": exchange}
        entries = [Entry(OURS, "ours_training", "ours", given)]  # first: it writes the weights
        entries += [
            Entry(name, "keras_training", "peers", {**given, "jit": jit}) for jit, name in KERAS.items()
        ]
        if _computes_bfloat16():
            entries.append(Entry(HALF, "ours_training", "ours", {**given, "precision": "bfloat16"}))
        measured = alternate(entries, how)
    losses = [measured[name]["facts"].pop("losses") for name in (OURS, KERAS[False])]
    return {**measured, "apart": max(abs(a - b) / abs(b) for a, b in zip(*losses, strict=True))}


def _computes_bfloat16() -> bool:
    from hounsfield.steps.compute import fast_bfloat16, pick_device

    return fast_bfloat16(pick_device("cpu"))


def page(found: dict[str, Any]) -> list[str]:
    """Images a second of each, and ours over the faster of Keras's two."""
    lines, checks = [], []
    for net, measured in found.items():
        batch = SETTINGS[net].batch
        ratio, spread = compared(measured[OURS], measured[_faster(measured)])
        cells = [rate(measured[name], per_item=batch) for name in (OURS, *KERAS.values())]
        half = measured.get(HALF)
        cells.append(rate(half, per_item=batch) if half else "not on this chip")
        lines.append([WORDS[net], *cells, times(ratio), spread])
        checks.append(_check(net, measured))
    head = ["images a second", OURS, *KERAS.values(), HALF, "ours over the faster, float32", "of one turn"]
    return [
        *prose(
            "Ours is `Learner.step` and `Guard` of a real training (channels last, fused optimiser); Keras "
            "is `train_on_batch` without metrics, which was faster than `fit`. Adam, RMSprop and SGD as in "
            "the article; both sides get the same batches in memory."
        ),
        "",
        *table(head, lines),
        "",
        *prose("Checks. " + " ".join(checks)),
    ]


def _faster(measured: dict[str, Any]) -> str:
    return min(KERAS.values(), key=lambda name: median_seconds(measured[name]))


def _check(net: str, measured: dict[str, Any]) -> str:
    ours, keras = measured[OURS]["facts"], measured[KERAS[False]]["facts"]
    counts = [(f["parameters"], f["learning"]) for f in (ours, keras)]
    same = "the same" if counts[0] == counts[1] else f"OTHER than Keras's {counts[1][0]:,}:"
    return (
        f"{net}: {same} {counts[0][0]:,} parameters, of which {counts[0][1]:,} learn; from the same "
        f"weights and without dropout the losses of the first {CHECKED_STEPS} steps differ "
        f"by at most {measured['apart']:.0e} of their value."
    )


def summary(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Each network over the faster Keras."""
    lines = []
    for net, measured in found.items():
        faster = _faster(measured)
        ratio, spread = compared(measured[OURS], measured[faster])
        least, goal = GOALS[net]
        lines.append((f"Training step, {WORDS[net]}", faster, f"{least}×", f"{goal}×", times(ratio), spread))
    return lines
