"""How long areas, subgroups and surfaces take, beside the tools that people use for them.

    python benchmarks/metrics_speed.py [--monai PYTHON] [--others PYTHON] [--only auroc|subgroups|surface]

PYTHON is an interpreter that has MONAI and torch (--monai), or Fairlearn and DeepMind's surface-distance
(--others); without one, its comparison is left out. Ours and a peer take turns; a time is the least of
several turns, since the machine may be shared. A peer that would take hours is timed on a part and scaled,
and the table says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from hounsfield.metrics.discrimination import auroc
from hounsfield.metrics.merged_area import merged_area
from hounsfield.metrics.subgroups import subgroup_metrics
from hounsfield.metrics.surface import surface_agreement

TWELVE = (
    "auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "npv", "f1",
    "brier", "calibration_slope", "calibration_intercept",
)  # fmt: skip
EIGHT = (
    "accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1", "selection_rate",
    "false_positive_rate",
)  # fmt: skip


class _Peer:
    """An interpreter that has a peer, and answers one task after the other."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).with_name("metrics_peers.py")
        self._process = subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **task: Any) -> list[float]:
        """The peer's answer."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps(task), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("answer "):
                return list(json.loads(line.removeprefix("answer ")))
        raise SystemExit(f"the peer ended without an answer to {task}")


def _spent(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """What comes back, and the processor and wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = function()
    return found, time.process_time() - cpu, time.perf_counter() - wall


def _three_sorts(scores: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    one, two = scores[found], scores[~found]
    m, n = len(one), len(two)
    all_ranks = rankdata(np.concatenate([one, two]))
    of_one, of_two = (all_ranks[:m] - rankdata(one)) / n, 1 - (all_ranks[m:] - rankdata(two)) / m
    return float(of_one.mean()), float(of_one.var(ddof=1) / m + of_two.var(ddof=1) / n)


def _naive_resample(scores: np.ndarray, answers: np.ndarray, rng: np.random.Generator) -> float:
    """One resample of the bootstrap that people write with scikit-learn."""
    again = rng.integers(0, len(scores), len(scores))
    return float(roc_auc_score(answers[again], scores[again]))


def _areas() -> None:
    print("AUROC with its interval; processor milliseconds, sort, ours and scikit-learn in turns\n")
    print(
        "| n | scores | `np.sort` | ours | ours / sort | scikit-learn, 2,000 resamples (of) | ratio ",
        end="",
    )
    print("| off in area, variance |\n|---|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for n, turns, few in ((1_000, 20, 5), (100_000, 7, 2), (1_000_000, 5, 1)):
        for kind in ("float64", "float32", "ties"):
            answers = (rng.random(n) < 0.3).astype(np.int64)
            scores = rng.normal(size=n) + answers
            scores = np.round(scores, 2) if kind == "ties" else scores.astype(kind)
            auroc(scores, answers)
            sort, ours, naive = [], [], []
            for turn in range(turns):
                sort.append(_spent(lambda s=scores: np.sort(s))[1])
                found, spent, _ = _spent(lambda s=scores, a=answers: auroc(s, a))
                ours.append(spent)
                if turn < few or n < 10_000:
                    naive.append(_spent(lambda s=scores, a=answers: _naive_resample(s, a, rng))[1])
            times = [1000 * min(part) for part in (sort, ours, naive)]
            double = scores.astype(np.float64)
            area, variance = merged_area(double, answers == 1)
            expected = _three_sorts(double, answers == 1)
            off = max(abs(found.value - roc_auc_score(answers, scores)), abs(area - expected[0]))
            print(
                f"| {n:,} | {kind} | {times[0]:.3f} | {times[1]:.3f} | {times[1] / times[0]:.1f} "
                f"| {2000 * times[2]:,.0f} (best of {len(naive)}) | {2000 * times[2] / times[1]:,.0f} "
                f"| {off:.0e}, {abs(variance - expected[1]):.0e} |",
                flush=True,
            )


def _cohort(
    n: int, findings: int, columns: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    rng = np.random.default_rng(0)
    who = rng.integers(0, n * 2 // 5, n)
    answers = rng.random((n, findings)) < np.linspace(0.02, 0.3, findings)
    scores = expit(1.2 * rng.normal(size=(n, findings)) + 1.5 * answers - 2.3).astype(np.float32)
    groups = {name: rng.integers(0, count, n).astype(str) for name, count in columns.items()}
    return scores.astype(np.float64), answers, who, groups


def _subgroups(peer: _Peer | None) -> None:
    columns = {"sex": 2, "age": 5, "site": 6, "scanner": 7}
    scores, answers, who, groups = _cohort(100_000, 14, columns)
    names = [f"finding {k}" for k in range(14)]
    options: dict[str, Any] = {"patients": who, "findings": names, "thresholds": 0.15, "metrics": TWELVE}
    tried = [_spent(lambda: subgroup_metrics(scores, answers, groups, **options)) for _ in range(3)]
    cpu, wall = (min(one[k] for one in tried[1:]) for k in (1, 2))
    print(
        "\n14 findings, 20 subgroups and everyone, 12 metrics, 5 of them compared, 2,000 resamples of 40,000"
    )
    print(f"patients with 100,000 images: {cpu:.1f} s of processor, {wall:.1f} s of wall", flush=True)
    if not peer:
        return
    resamples, turns = 20, 2
    scores, answers, who, groups = _cohort(20_000, 1, {"group": 8})
    options = {"patients": None, "findings": ["f"], "thresholds": 0.15, "metrics": EIGHT, "compared": ()}
    subgroup_metrics(scores, answers, groups, **options)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npz"
        np.savez(path, y=answers[:, 0], called=scores[:, 0] >= 0.15, group=groups["group"])
        for _ in range(turns):
            ours += [_spent(lambda: subgroup_metrics(scores, answers, groups, **options)) for _ in range(5)]
            theirs.append(peer.ask(peer="fairlearn", table=str(path), resamples=resamples))
    cpu, wall = (min(one[k] for one in ours) for k in (1, 2))
    scale = 2000 / resamples
    far_cpu, far_wall = (scale * min(one[k] for one in theirs) for k in (3, 4))
    value, low, high = theirs[0][:3]
    told = ours[0][0].row("f", "sensitivity", column="group", group="0").estimate
    print("\n| 1 finding, 8 groups, 8 metrics, 20,000 cases, 2,000 resamples | processor s | wall s ", end="")
    print("| sensitivity of group 0 |\n|---|---|---|---|")
    print(
        f"| Fairlearn's MetricFrame (best of {turns} x {resamples} resamples, scaled) | {far_cpu:.0f} ",
        end="",
    )
    print(f"| {far_wall:.0f} | {value:.4f} ({low:.4f} to {high:.4f}) |")
    print(f"| ours | {cpu:.3f} | {wall:.3f} | {told.value:.4f} ({told.low:.4f} to {told.high:.4f}) |")
    print(f"| ratio | {far_cpu / cpu:,.0f} | {far_wall / wall:,.0f} | |", flush=True)


def _organ(gap: float, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """A lumpy ellipsoid of 110 x 90 x 130 voxels, and a prediction about `gap` voxels off."""
    rng = np.random.default_rng(0)
    axis = np.arange(size) - size / 2
    k, j, i = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    shell = np.sqrt((k / 45) ** 2 + (j / 55) ** 2 + (i / 65) ** 2)

    def rough(spread: float) -> np.ndarray:
        return ndimage.zoom(rng.normal(size=(16, 16, 16)), size / 16, order=3) * spread

    shell = shell + rough(0.12)
    return shell + rough(gap / 55) < 1, shell < 1


def _surfaces(monai: _Peer | None, others: _Peer | None) -> None:
    print("\nHD95 and surface Dice at 2 mm of 256³ organ masks; processor milliseconds / wall milliseconds\n")
    print("| masks apart by | voxel, mm | peer | HD95, NSD | ours | peer | ratio | off in HD95, NSD |")
    print("|---|---|---|---|---|---|---|---|")
    kinds = [("monai", "voxels"), ("monai", "facets"), ("deepmind", "facets")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "masks.npz"
        for gap, spacing in ((1, (1.0, 1.0, 1.0)), (2, (2.5, 0.8, 0.8)), (6, (1.0, 1.0, 1.0))):
            said, truth = _organ(gap)
            np.savez(path, said=said, truth=truth)
            for who, elements in kinds:
                peer = monai if who == "monai" else others
                task = {"masks": str(path), "spacing": spacing, "tolerance": 2.0}
                task |= {"peer": who, "facets": elements == "facets"}
                _beside(f"about {gap} voxels", said, truth, elements, task, peer)


def _beside(
    masks: str, said: np.ndarray, truth: np.ndarray, elements: Any, task: dict[str, Any], peer: _Peer | None
) -> None:
    """One row: MONAI's HD95 is of voxels in either case, DeepMind's of facets."""
    options: dict[str, Any] = {"spacing_mm": task["spacing"], "tolerance_mm": task["tolerance"]}

    def ours() -> tuple[float, float]:
        found = surface_agreement(said, truth, elements=elements, **options)
        return found.hd95_mm or 0.0, found.nsd or 0.0

    ours()
    mine, theirs = [], []
    for _ in range(2):
        mine += [_spent(ours) for _ in range(3)]
        if peer:
            theirs.append(peer.ask(**task))
    hd95, nsd = mine[0][0]
    if task["peer"] == "monai" and elements == "facets":
        hd95 = surface_agreement(said, truth, **options).hd95_mm or 0.0
    cpu, wall = (1000 * min(one[k] for one in mine) for k in (1, 2))
    line = f"| {masks} | {task['spacing']} | {task['peer']}, {elements} | {hd95:.3f}, {nsd:.4f} "
    line += f"| {cpu:.0f} / {wall:.0f} |"
    if theirs:
        far, wide = (1000 * min(one[k] for one in theirs) for k in (2, 3))
        off = abs(hd95 - theirs[0][0]), abs(nsd - theirs[0][1])
        line += (
            f" {far:.0f} / {wide:.0f} | {far / cpu:.0f} / {wide / wall:.0f} | {off[0]:.0e}, {off[1]:.0e} |"
        )
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--monai", default="", help="an interpreter that has MONAI")
    parser.add_argument("--others", default="", help="an interpreter that has Fairlearn and surface-distance")
    parser.add_argument("--only", default="", choices=["", "auroc", "subgroups", "surface"])
    given = parser.parse_args()
    monai, others = (_Peer(python) if python else None for python in (given.monai, given.others))
    if given.only in ("", "auroc"):
        _areas()
    if given.only in ("", "subgroups"):
        _subgroups(others)
    if given.only in ("", "surface"):
        _surfaces(monai, others)


if __name__ == "__main__":
    main()
