"""What sites gain by learning together: alone, federated and pooled, on a phantom of four hospitals, or on a
MedMNIST file dealt to four sites of unequal sizes and shares (a simulation, not four hospitals).

    python benchmarks/federation_simulation.py --rounds 15
    python benchmarks/federation_simulation.py --medmnist pneumoniamnist_train_val.npz --images 2000
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hounsfield.applications.mammography.hospitals import write_hospitals
from hounsfield.cli.federate import as_object
from hounsfield.cli.options import changes_of
from hounsfield.cli.progress import progress_for
from hounsfield.federation.simulate import Asked, Simulated, simulate
from hounsfield.io.files import write_text
from hounsfield.steps.gather import Question

SHARES, PREVALENCE = (0.4, 0.3, 0.2, 0.1), (0.85, 0.7, 0.5, 0.75)
"""Of all images the share of each site, and among them the share of the positive class."""


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--medmnist", default="", help="a .npz in MedMNIST's layout; else the phantom")
    given.add_argument("--images", type=int, default=2000, help="at most so many of the .npz")
    given.add_argument("--rounds", type=int, default=15)
    given.add_argument("--strategy", default="fedavg")
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--test-fraction", type=float, default=0.5)
    given.add_argument("--without-budget", action="store_true", help="once more without federation.epsilon")
    given.add_argument("changes", nargs="*", help="KEY=VALUE of the plan")
    asked = given.parse_args()
    with tempfile.TemporaryDirectory() as place:
        study = Path(place) / "study"
        table, target = _study(asked, study)
        question = Question(
            labels=str(table), target=(target,), test_fraction=asked.test_fraction, seed=asked.seed
        )
        changes = {
            "network.width": 8, "threads": 1, "device": "cpu", "seed": asked.seed,
            "federation.rounds": asked.rounds, "federation.strategy": asked.strategy,
            "federation.local_epochs": 2, **changes_of(tuple(asked.changes)),
        }  # fmt: skip
        found = simulate(
            Asked(
                {"study": str(study)}, Path(place) / "run", by="site", question=question, changes=changes,
                without_budget=asked.without_budget,
            ),
            progress=progress_for(),
        )  # fmt: skip
    print(json.dumps(_measured(found), indent=1))


def _study(asked: argparse.Namespace, study: Path) -> tuple[Path, str]:
    """The images and their table, and the label's column."""
    if not asked.medmnist:
        return write_hospitals(study, seed=asked.seed), "malignant"
    study.mkdir(parents=True)
    with np.load(asked.medmnist) as z:
        parts = [p for p in ("train", "val", "test") if f"{p}_images" in z]
        images = np.concatenate([z[f"{p}_images"] for p in parts])
        labels = np.concatenate([z[f"{p}_labels"].reshape(-1) for p in parts])
    rng = np.random.default_rng(asked.seed)
    free = [list(rng.permutation(np.flatnonzero(labels == k))) for k in (0, 1)]
    lines = ["file,site,finding"]
    for site, (share, prevalence) in enumerate(zip(SHARES, PREVALENCE, strict=True)):
        positive = round(share * asked.images * prevalence)
        for label, count in ((1, positive), (0, round(share * asked.images) - positive)):
            for row in [free[label].pop() for _ in range(min(count, len(free[label])))]:
                Image.fromarray(images[row]).save(study / f"{row:05d}.png")
                lines.append(f"{row:05d}.png,site {site + 1},{label}")
    write_text(study / "labels.csv", "\n".join(lines) + "\n")
    return study / "labels.csv", "finding"


def _measured(found: Simulated) -> dict[str, Any]:
    """The numbers that are asked of a federation, each beside its limit."""
    told = as_object(found)
    clinical = found.run.evidence.clinical
    whole = {f.label: f for f in clinical if f.group == "all sites" and f.name == "auroc"}
    budget = {f.group: [f.value, f.low, f.high, f.n] for f in clinical if f.name == "auroc_change_by_budget"}
    federated, pooled = (whole[arm].value or float("nan") for arm in ("federated", "pooled"))
    known = [r for r in found.sites if r.arms["alone"].value is not None]
    as_good = [r.name for r in known if (r.arms["federated"].value or 0) >= (r.arms["alone"].value or 1)]
    best = []
    for r in known:
        others = [e.value for e in (*r.foreign.values(), r.arms["alone"]) if e.value is not None]
        if (r.arms["federated"].value or 0) >= max(others):
            best.append(r.name)
    last = found.rounds.history[-1]
    most = max(*last["bytes_to_sites"].values(), *last["bytes_from_sites"].values())
    return {
        "all sites": {arm: [f.value, f.low, f.high, f.n] for arm, f in whole.items()},
        "federated above chance, as a share of pooled (at least .95)": (federated - 0.5) / (pooled - 0.5),
        "federated less pooled (PneumoniaMNIST: at least -.01)": federated - pooled,
        "federated less the same without its budget": budget,
        "sites where federated is at least the own model (at least 3 of 4)": as_good,
        "sites where federated is at least the best of all local models": best,
        "seconds a round beside the sites' work (at most .5)": told["overhead_seconds_per_round"],
        "bytes over weights (at most 1.1)": most / told["weights_bytes"],
        "sites": told["sites"],
    }


if __name__ == "__main__":
    main()
