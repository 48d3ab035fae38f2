"""How fast a trained U-Net outlines a volume of 256×256×128, by our windows and by MONAI's, at equal Dice.

    python benchmarks/sliding_window.py [--monai FOLDER] [--minutes 3] [--volumes 2] [--turns 2]

A network is trained here by `hu train --task segmentation` on phantom volumes of that size (bright blobs in
textured noise: nothing of a patient), which also chooses our window and overlap on validation cases. FOLDER
holds MONAI where it is not installed. MONAI's `sliding_window_inference` is called as its tutorials do:
windows of 96³, overlap .25, one at a time, Gaussian weights, the same network. The two take turns; the ratio
of the least times is given, with the mean Dice of both and the largest memory of each, measured in a process
of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

LARGE = (128, 256, 256)


def phantom(
    shape: tuple[int, int, int], blobs: int, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Blobs of 8 to 24 voxels, bent by a smooth field, in textured noise; numbers and their labels."""
    field = gaussian_filter(rng.normal(size=shape), 6)
    field /= field.std()
    marked = np.zeros(shape, bool)
    for _ in range(blobs):
        centre, radius = rng.uniform(0, shape), rng.uniform(4, 12)
        low = [max(0, int(c - 2 * radius)) for c in centre]
        cut = tuple(slice(a, int(c + 2 * radius) + 1) for a, c in zip(low, centre, strict=True))
        at = np.meshgrid(
            *[np.arange(s.start, min(s.stop, n)) for s, n in zip(cut, shape, strict=True)], indexing="ij"
        )
        far = np.sqrt(sum((a - c) ** 2 for a, c in zip(at, centre, strict=True)))
        marked[cut] |= far < radius * (1 + 0.15 * field[cut])
    image = 100 + 40 * marked + 18 * gaussian_filter(rng.normal(size=shape), 1.5) / 0.15 * 0.5
    return np.clip(image + rng.normal(0, 8, shape), -1000, 1000).astype(np.int16), marked.astype(np.uint8)


def save(
    folder: Path, number: int, shape: tuple[int, int, int], blobs: int, rng: np.random.Generator
) -> None:
    """One case of a data set in Decathlon's layout."""
    image, labels = phantom(shape, blobs, rng)
    for name, data in (("images", image), ("labels", labels)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        path = folder / name / f"blob_{number:03}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(data.transpose(2, 1, 0), np.eye(4)), path)


def measured(run: Path, case: Path, who: str, monai: str, threads: int) -> dict[str, Any]:
    """Seconds, largest memory in MB and the labels' Dice of one prediction, in this process."""
    import torch

    from hounsfield.core.plan import Grid
    from hounsfield.io.model_store import read_model
    from hounsfield.steps.regions.grid_store import Placed
    from hounsfield.steps.regions.members import networks_of
    from hounsfield.steps.regions.to_grid import Gridded, Native, gridded
    from hounsfield.steps.regions.windows import tensor_of
    from hounsfield.steps.segmentation.outline import outlined_grid

    torch.set_num_threads(threads)
    model = read_model(run)
    network = networks_of(model)[0]
    data = np.asarray(nibabel.load(case).dataobj).transpose(2, 1, 0)
    wanted = np.asarray(nibabel.load(str(case).replace("images", "labels")).dataobj).transpose(2, 1, 0)
    native = Native(data[None], np.diag([-1.0, -1.0, 1.0, 1.0]), (1.0, 1.0, 1.0), None, None)
    grid: Grid = model.plan.grid
    made: Gridded = gridded(native, grid)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    if who == "ours":
        labels = outlined_grid([network], made, model.plan, torch.device("cpu"))
    else:
        sys.path.insert(0, monai)
        from monai.inferers import sliding_window_inference

        began = time.perf_counter()
        image = tensor_of(made.data, made.levels, torch.device("cpu"))[None]
        with torch.inference_mode():
            answer = sliding_window_inference(
                image,
                roi_size=(96, 96, 96),
                sw_batch_size=1,
                predictor=network,
                overlap=0.25,
                mode="gaussian",
            )
        labels = answer.argmax(1)[0].numpy().astype(np.uint8)
    seconds = time.perf_counter() - began
    assert isinstance(made.place, Placed)
    shared = 2 * float(((labels > 0) & (wanted > 0)).sum()) / float((labels > 0).sum() + (wanted > 0).sum())
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "dice": shared, "memory_mb": largest - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--monai", default="", help="a folder that holds MONAI")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--volumes", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        run, case, who = given.one
        print(json.dumps(measured(Path(run), Path(case), who, given.monai, given.threads)))
        return
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        data, large, run = Path(scratch) / "small", Path(scratch) / "large", Path(scratch) / "run"
        for number in range(6):
            save(data, number, LARGE, 100, rng)
        for number in range(given.volumes):
            save(large, number, LARGE, 100, rng)
        hu = [
            sys.executable,
            "-m",
            "hounsfield",
            "train",
            str(data),
            "--task",
            "segmentation",
            "--out",
            str(run),
        ]
        subprocess.run([*hu, "--budget", str(given.minutes), "validation.members=1"], check=True)
        grid = json.loads((run / "model/plan.json").read_text())["grid"]
        rows: dict[str, list[dict[str, Any]]] = {"ours": [], "monai": []}
        for case in sorted((large / "images").iterdir()):
            for turn in range(given.turns):
                for who in (("ours", "monai"), ("monai", "ours"))[turn % 2]:
                    asked = [
                        sys.executable,
                        __file__,
                        "--one",
                        str(run),
                        str(case),
                        who,
                        "--monai",
                        given.monai,
                    ]
                    found = subprocess.run(
                        [*asked, "--threads", str(given.threads)], check=True, capture_output=True, text=True
                    )
                    rows[who].append(json.loads(found.stdout.splitlines()[-1]))
    shown = f"{'×'.join(map(str, grid['window']))} sharing {grid['overlap']:.0%}"
    print(f"our window: at most {shown} (chosen on validation cases)\n")
    print("| | seconds (least) | Dice (mean) | memory on top (largest) |\n| --- | --- | --- | --- |")
    for who, name in (("ours", "hounsfield"), ("monai", "MONAI, 96³, overlap .25")):
        held = rows[who]
        least, dice = min(r["seconds"] for r in held), np.mean([r["dice"] for r in held])
        print(f"| {name} | {least:.1f} | {dice:.4f} | {max(r['memory_mb'] for r in held):,.0f} MB |")
    ratio = min(r["seconds"] for r in rows["monai"]) / min(r["seconds"] for r in rows["ours"])
    print(f"\n{ratio:.2f}× as fast")


if __name__ == "__main__":
    main()
