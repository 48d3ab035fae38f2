"""Two choices of `fit`, alternating in one run: processes against threads, bfloat16 against float32.

    python benchmarks/training.py [--rounds 3]

Seconds to train two members for two epochs on 500 random 28×28 images, by the epochs' own clock, so that the
start of the processes is left out. Ratios of medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, Cohort
from hounsfield.core.index import Series
from hounsfield.core.plan import Augment, Fit, Input, Network, Plan, Validation
from hounsfield.steps.fit import fit, job_of
from hounsfield.steps.prepare import Prepared

N = 500


def _cohort() -> Cohort:
    cases = tuple(
        Case(f"c{k}", f"p{k}", (Series(f"c{k}", (f"c{k}",), "raster", (1, 28, 28)),), Label((k % 2,)))
        for k in range(N)
    )
    encoding = LabelEncoding("binary", ("0", "1"))
    return Cohort(
        cases, encoding, {c.id: DEVELOPMENT for c in cases}, {c.id: k % 5 for k, c in enumerate(cases)}
    )


def _seconds(folder: Path, *, threads: int, members: int, precision: str) -> float:
    plan = Plan(
        input=Input(size=(1, 28, 28)),
        augment=Augment(
            rotation_deg=10, shift_width=0.08, shift_height=0.08, zoom=0.15, gamma=0.5, sharpness=1, noise=0.1
        ),
        network=Network(name="plain"),
        fit=Fit(epochs=2, batch_size=64, precision=precision),
        validation=Validation(members=members),
        threads=threads,
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (N, 1, 1, 28, 28)).astype(np.uint8)
    levels = np.tile(np.array([0.02, -2.5, -np.inf, np.inf], np.float32), (N, 1))
    (folder / "cache").mkdir(parents=True)
    np.save(folder / "cache" / "prepared.npy", images)
    np.save(folder / "cache" / "levels.npy", levels)
    cohort = _cohort()
    ids = [c.id for c in cohort.cases]
    (folder / "cache" / "prepared.json").write_text('{"state": "", "ids": ["' + '", "'.join(ids) + '"]}')
    prepared = Prepared.open(folder / "cache")
    assert prepared is not None
    fitted = fit(job_of(cohort, plan, prepared, folder / "work"))
    spent = [sum(h["seconds"] for h in history) for history in fitted.histories]
    return max(spent) if threads == 2 and members == 2 and len(spent) == 2 else sum(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    modes = {
        "two members side by side, bfloat16": {"threads": 2, "members": 2, "precision": "bfloat16"},
        "two members side by side, float32": {"threads": 2, "members": 2, "precision": "float32"},
        "one member with two threads, twice, bfloat16": {"threads": 2, "members": 1, "precision": "bfloat16"},
    }
    spent: dict[str, list[float]] = {name: [] for name in modes}
    for _ in range(rounds):
        for name, mode in modes.items():
            with tempfile.TemporaryDirectory() as scratch:
                seconds = _seconds(Path(scratch), **mode)  # type: ignore[arg-type]
                spent[name].append(seconds * (2 if mode["members"] == 1 else 1))
    medians = {name: statistics.median(times) for name, times in spent.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name:<46} {median:6.2f} s   {median / first:.2f}×")


if __name__ == "__main__":
    main()
