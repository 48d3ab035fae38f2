"""`hu train` with no option but its data, on MedMNIST's train and validation parts, by cross-validation.

    python benchmarks/medmnist.py FILE.npz [FILE.npz ...] [--seeds 0 1 2] [--keep FOLDER]

Prints AUROC and accuracy with intervals and the seconds of the whole command, a row a seed, and their means.
The official test part is not touched.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def _train(source: Path, seed: int, out: Path) -> tuple[dict[str, dict[str, float]], float]:
    began = time.perf_counter()
    command = [sys.executable, "-m", "hounsfield.cli.main", "train", str(source), "--out", str(out)]
    done = subprocess.run(
        [*command, "--seed", str(seed), "--json"], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)["metrics"], time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for source in given.files:
            rows = []
            for seed in given.seeds:
                out = (given.keep or Path(scratch)) / f"{source.stem}-{seed}"
                metrics, seconds = _train(source, seed, out)
                rows.append([metrics["auroc"]["value"], metrics["accuracy"]["value"], seconds])
                cells = "  ".join(
                    f"{k} {metrics[k]['value']:.4f} ({metrics[k]['low']:.3f} to {metrics[k]['high']:.3f})"
                    for k in ("auroc", "accuracy", "sensitivity", "specificity")
                )
                print(f"{source.stem} seed {seed}: {cells}  {seconds:.0f} s", flush=True)
            mean = np.mean(rows, 0)
            print(
                f"{source.stem} mean: auroc {mean[0]:.4f}  accuracy {mean[1]:.4f}  {mean[2]:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
