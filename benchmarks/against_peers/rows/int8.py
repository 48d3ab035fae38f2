"""Inference in 8-bit integers: its speed beside torch eager, and what it costs a trained network."""

from __future__ import annotations

import sys
from typing import Any

from measured import compared, prose, rate, table, times
from turns import Entry, Turns, alternate

from rows.inference import EAGER, NETWORKS

TITLE = "Inference in 8-bit integers"
OURS = "ours, int8"


def measure(how: Turns) -> dict[str, Any]:
    """Accuracy first, then network by network at 224 x 224; an item is a call on one image."""
    speed = {}
    for word, name in NETWORKS.items():
        given = {"network": name, "batch": 1, "side": 224}
        entries = [Entry(OURS, "engine_int8", "ours", given), Entry(EAGER, "eager", "ours", given)]
        speed[word] = alternate(entries, how)
    return {"accuracy": _accuracy(), "speed": speed}


def _accuracy() -> dict[str, Any] | None:
    from trained import accuracy_of_int8, data

    path = data()
    if path is None:
        print("  accuracy skipped: data not here", file=sys.stderr)
        return None
    print("  training", file=sys.stderr, flush=True)
    return accuracy_of_int8(path)


def page(found: dict[str, Any]) -> list[str]:
    """Images a second, and the accuracies with their intervals."""
    lines = []
    for word, measured in found["speed"].items():
        ratio, spread = compared(measured[OURS], measured[EAGER])
        lines.append([word, *(rate(measured[who]) for who in (OURS, EAGER)), times(ratio), spread])
    return [
        *table(["images a second, 224×224, batch 1", OURS, EAGER, "ratio", "of one turn"], lines),
        "",
        *prose("Accuracy. " + _words(found["accuracy"])),
    ]


def _words(found: dict[str, Any] | None) -> str:
    if found is None:
        return "Skipped: data not here (PneumoniaMNIST below `HU_DATA`)."

    def points(e: dict[str, float], *, sign: str = "") -> str:
        return f"{100 * e['value']:{sign}.2f} % ({100 * e['low']:{sign}.2f} to {100 * e['high']:{sign}.2f})"

    kept = "kept it" if found["kept"] else "did NOT keep it"
    return (
        f"A ResNet-18 trained here on {found['learned_from']:,} images of PneumoniaMNIST (28×28 enlarged "
        f"to 64×64), on {found['change']['n']:,} others: {points(found['float32'])} in float32, "
        f"{points(found['int8'])} in 8-bit integers; difference {points(found['change'], sign='+')}, "
        f"paired. The gate of `export.int8` {kept}. The data names no patients, so that a child may be on "
        "both sides: that flatters both accuracies alike."
    )


def summary(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every network; the accuracy that goes with it stands below."""
    lines = []
    for word, measured in found["speed"].items():
        ratio, spread = compared(measured[OURS], measured[EAGER])
        lines.append((f"int8, {word}, batch 1", EAGER, "2.5×", "4×", times(ratio), spread))
    return lines
