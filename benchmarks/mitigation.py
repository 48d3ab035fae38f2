"""How much less a network leans on a planted shortcut with each mitigation.

    nice python benchmarks/mitigation.py [--seeds 5] [--epochs 12]

The phantom is that of the tests (`tests/steps/shortcut.py`): in site A a mark in the corner goes with 95 % of
the diseased and 5 % of the healthy, in site B nobody bears one; 400 cases to learn from, 400 tested in which
the mark says nothing. The groups are site and mark. The table gives the mean and the range over seeds, in
each of which cases, weights and order are drawn anew, and in how many seeds a method beat "none".
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "steps"))

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("none", {}),
    "reweighting": ("reweighting", {}),
    "matched_resampling": ("matched_resampling", {}),
    "group_dro, step 0.01": ("group_dro", {}),
    "group_dro, step 0.1": ("group_dro", {"mitigation.step_size": 0.1}),
}
MEASURES = {"worst": "accuracy, worst cell", "accuracy": "accuracy", "auroc_a": "AUROC in site A"}


def _measured(method: str, seed: int, epochs: int) -> dict[str, float]:
    from shortcut import judged, plan, shortcut_job

    name, more = METHODS[method]
    with tempfile.TemporaryDirectory() as folder:
        job, cases = shortcut_job(Path(folder), plan(name, epochs=epochs, seed=seed, **more), seed=seed)
        return judged(job, cases)


def main() -> None:
    """Measure and print the table, and one JSON object."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--epochs", type=int, default=12)
    given = asked.parse_args()
    began = time.perf_counter()
    found = {m: [_measured(m, seed, given.epochs) for seed in range(given.seeds)] for m in METHODS}
    print(f"| mitigation | {' | '.join(MEASURES.values())} | AUROC better than none |")
    print("|---|" + "---|" * (len(MEASURES) + 1))
    for method, runs in found.items():
        cells = []
        for key in MEASURES:
            values = np.array([run[key] for run in runs])
            cells.append(f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})")
        better = sum(
            run["auroc_a"] > plain["auroc_a"] for run, plain in zip(runs, found["none"], strict=True)
        )
        cells.append("" if method == "none" else f"{better} of {given.seeds} seeds")
        print(f"| {method} | {' | '.join(cells)} |")
    print(
        json.dumps({"seconds": round(time.perf_counter() - began, 1), "epochs": given.epochs, "runs": found})
    )


if __name__ == "__main__":
    main()
