"""Inference on a processor in float32: our ONNX engine beside torch eager, with the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from measured import compared, prose, rate, table, times
from turns import Entry, Turns, alternate

TITLE = "Inference in float32, 224×224"
NETWORKS = {"ResNet-18": "timm:resnet18", "ResNet-50": "timm:resnet50", "DenseNet-121": "timm:densenet121"}
BATCHES = (1, 8)
OURS, EAGER = "ours, ONNX Runtime", "torch eager"


def measure(how: Turns) -> dict[str, Any]:
    """Network by network and batch by batch; an item is a call."""
    found = {}
    for word, name in NETWORKS.items():
        for batch in BATCHES:
            given = {"network": name, "batch": batch, "side": 224}
            entries = [Entry(OURS, "engine", "ours", given), Entry(EAGER, "eager", "ours", given)]
            measured = alternate(entries, how)
            found[f"{word}, batch {batch}"] = {**measured, "apart": _apart(measured)}
    return found


def page(found: dict[str, Any]) -> list[str]:
    """Images a second and the largest difference of a logit."""
    lines, apart = [], 0.0
    for name, measured in found.items():
        batch = int(name.rpartition(" ")[2])
        ratio, spread = compared(measured[OURS], measured[EAGER])
        cells = [rate(measured[who], per_item=batch) for who in (OURS, EAGER)]
        lines.append([name, *cells, times(ratio), spread])
        apart = max(apart, measured["apart"])
    return [
        *prose(
            "The same random weights and statistics on both sides, images of mean 0 and spread 1 in "
            "memory, one thread. torch runs from `.venv`, as the peers' environment has no timm; "
            "its version is the same."
        ),
        "",
        *table(["images a second", OURS, EAGER, "ratio", "of one turn"], lines),
        "",
        f"Check. No logit differs by more than {apart:.1e} of the largest (limit 1e-4).",
    ]


def _apart(measured: dict[str, Any]) -> float:
    """The largest difference of a logit, as a share of the largest; the logits are not kept."""
    ours, eager = (np.array(measured[who].pop("digest")["logits"]) for who in (OURS, EAGER))
    return float(np.abs(ours - eager).max() / np.abs(eager).max())


def summary(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every network and batch."""
    lines = []
    for name, measured in found.items():
        ratio, spread = compared(measured[OURS], measured[EAGER])
        lines.append((f"Inference, {name}", EAGER, "1.5×", "2×", times(ratio), spread))
    return lines
