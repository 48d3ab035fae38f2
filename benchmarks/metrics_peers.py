"""What a peer answers, in an interpreter of its own: one JSON task a line in, one JSON answer a line out.

`metrics_speed.py` starts it, so that ours and a peer take turns; a peer's time is measured here, without the
reading of files and the start of its interpreter.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np


def monai(task: dict[str, Any]) -> list[float]:
    """HD95, surface Dice and the processor and wall time of both."""
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    torch.set_num_threads(2)
    masks = np.load(task["masks"])
    one, two = (torch.from_numpy(masks[key])[None, None] for key in ("said", "truth"))
    began = time.process_time(), time.perf_counter()
    hd95 = compute_hausdorff_distance(
        one, two, include_background=True, percentile=95, spacing=task["spacing"]
    )
    nsd = compute_surface_dice(
        one, two, [task["tolerance"]], include_background=True, spacing=task["spacing"],
        use_subvoxels=task["facets"],
    )  # fmt: skip
    return [float(hd95), float(nsd), *_since(began)]


def deepmind(task: dict[str, Any]) -> list[float]:
    """The same by DeepMind's surface-distance."""
    import surface_distance as sd

    masks = np.load(task["masks"])
    began = time.process_time(), time.perf_counter()
    distances = sd.compute_surface_distances(masks["truth"], masks["said"], task["spacing"])
    hd95 = sd.compute_robust_hausdorff(distances, 95)
    nsd = sd.compute_surface_dice_at_tolerance(distances, task["tolerance"])
    return [float(hd95), float(nsd), *_since(began)]


def fairlearn(task: dict[str, Any]) -> list[float]:
    """Group 0's sensitivity with its bounds from a few resamples of a MetricFrame, and the time of all."""
    import pandas as pd
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_negative_rate
    from sklearn import metrics as sk

    table = np.load(task["table"])
    frame_of = {
        "accuracy": sk.accuracy_score, "balanced_accuracy": sk.balanced_accuracy_score,
        "sensitivity": sk.recall_score, "specificity": true_negative_rate,
        "precision": sk.precision_score, "f1": sk.f1_score, "selection_rate": selection_rate,
        "false_positive_rate": false_positive_rate,
    }  # fmt: skip
    began = time.process_time(), time.perf_counter()
    frame = MetricFrame(
        metrics=frame_of, y_true=table["y"], y_pred=table["called"],
        sensitive_features=pd.Series(table["group"]), n_boot=task["resamples"], ci_quantiles=[0.025, 0.975],
        random_state=0,
    )  # fmt: skip
    low, high = frame.by_group_ci
    bounds = [float(part["sensitivity"].iloc[0]) for part in (frame.by_group, low, high)]
    return [*bounds, *_since(began)]


def _since(began: tuple[float, float]) -> list[float]:
    return [time.process_time() - began[0], time.perf_counter() - began[1]]


def main() -> None:
    warnings.filterwarnings("ignore")
    peers = {"monai": monai, "deepmind": deepmind, "fairlearn": fairlearn}
    for line in sys.stdin:
        task = json.loads(line)
        print("answer", json.dumps(peers[task["peer"]](task)), flush=True)


if __name__ == "__main__":
    main()
