"""Learn the hippocampus from drawn images; put the network where `hu follow` finds it.

    python recipes/hippocampi.py --crops msd_hippocampus --minutes 45 --keep BUILD

Draws images of any contrast from the label maps of simulated heads (`applications/brain_mri/drawn.py`) and
from the outlined crops of task 4 of the Medical Segmentation Decathlon (`drawn_crops.py`; Antonelli, Nat
Commun 2022;13:4128, CC BY-SA 4.0), of which the last 80 in the order of their names are never drawn from:
`benchmarks/hippocampi.py` measures on those. Trains one small U-Net with `hounsfield.train`
and writes its plan, its weights in half precision and its card to
src/hounsfield/steps/brain/hippocampi_network/. BUILD keeps the images and the run with its report, whose test
images are other draws of the same heads: only the benchmark's numbers count. The seed decides what is drawn;
the weights depend on the time that the machine was given.
"""

from __future__ import annotations

import argparse
import json
import shutil
from itertools import chain
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import hounsfield as hu
from hounsfield.applications.brain_mri.drawn import SIZE, drawn_heads, write_drawn
from hounsfield.applications.brain_mri.drawn_crops import HELD_BACK, drawn_crops, read_crops

HOME = Path(__file__).parent.parent / "src" / "hounsfield" / "steps" / "brain" / "hippocampi_network"
MADE = """
## How it was made

By `recipes/hippocampi.py`: {heads} images drawn from the label maps of {patients} simulated heads, and
{crops} drawn from {known} outlined crops of task 4 of the Medical Segmentation Decathlon (Antonelli, Nat
Commun 2022;13:4128; images and outlines under CC BY-SA 4.0), of which no image is part of this package.
Measured on the 80 other cases of that set and on other simulated heads by `benchmarks/hippocampi.py`; the
numbers stand in docs/benchmarks.md. Not measured: whole heads of patients, children, lesions of the temporal
lobe.
"""


def main() -> None:
    """Draw, train, and keep."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--crops", type=Path, required=True)
    options.add_argument("--patients", type=int, default=60)
    options.add_argument("--each", type=int, default=4)
    options.add_argument("--minutes", type=float, default=45.0)
    options.add_argument("--seed", type=int, default=5000)
    options.add_argument("--keep", type=Path, required=True)
    chosen = options.parse_args()
    data, out = chosen.keep / "drawn", chosen.keep / "run"
    known, fewer = read_crops(chosen.crops)[:-HELD_BACK], max(1, chosen.each - 1)
    if not data.exists():
        heads = drawn_heads(chosen.patients, chosen.each, chosen.seed)
        write_drawn(data, chain(heads, drawn_crops(known, fewer, chosen.seed)))
    run = hu.train(
        data,
        task="segmentation",
        out=out,
        budget_minutes=chosen.minutes,
        resume=out.exists(),
        changes={
            "grid.spacing_mm": [1.0, 1.0, 1.0],
            "grid.patch": [48, 64, 40],
            "grid.window": list(SIZE),
            "network.width": 10,
            "validation.members": 1,
            "segmentation.clean": False,
        },
    )
    made = MADE.format(
        heads=2 * chosen.patients * chosen.each,
        patients=chosen.patients,
        crops=fewer * len(known),
        known=len(known),
    )
    keep(run.model.directory, HOME, made)
    print(run.metric("dice"))


def keep(made: Path, home: Path, how: str) -> None:
    """The model of one member without what a report needs, its weights in half precision, and `how`."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made / "plan.json", home / "plan.json")
    (home / "card.md").write_text((made / "card.md").read_text() + how)
    facts = json.loads((made / "model.json").read_text())
    (member,) = facts["members"]
    weights = {k: v.to(torch.float16).contiguous() for k, v in load_file(made / member).items()}
    save_file(weights, home / member)
    (home / "model.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
