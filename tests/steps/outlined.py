"""Synthetic tables of outlined cases, for tests of their evidence and report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hounsfield.metrics.overlap import Overlap
from hounsfield.metrics.segmentation import SegmentedCase
from hounsfield.metrics.surface import SurfaceAgreement
from hounsfield.steps.evaluate import Setting
from hounsfield.steps.segmentation.table import Segmented

STRUCTURES = ("anterior", "posterior")


def outlined(
    patients: int = 60,
    *,
    structures: tuple[str, ...] = STRUCTURES,
    images: int = 1,
    drop: float = 0.0,
    absent: float = 0.0,
    seed: int = 0,
    **more: Any,
) -> Segmented:
    """Cases whose Dice scatters about .88 by patient; at site B it is lower by `drop`.

    A share `absent` of the cases lacks the last structure, and in half of these the model marks some of it.
    """
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), images)
    n = len(owner)
    site = rng.choice(["A", "B", "C"], patients)[owner]
    sex = rng.choice(["F", "M"], patients)[owner]
    base = 0.88 + rng.normal(0, 0.03, patients)[owner] - drop * (site == "B")
    cases: dict[str, tuple[SegmentedCase | None, ...]] = {}
    for k, structure in enumerate(structures):
        dice = np.clip(base - 0.03 * k + rng.normal(0, 0.02, n), 0, 1)
        volume = rng.lognormal(0.6, 0.3, n)
        gone = (rng.random(n) < absent) & (k == len(structures) - 1)
        marked = rng.random(n) < 0.5
        cases[structure] = tuple(
            lacking(m) if g else compared(d, v, e)
            for d, v, e, g, m in zip(dice, volume, rng.normal(0, 0.05, n), gone, marked, strict=True)
        )
    groups = {"sex": tuple(sex.tolist()), "site": tuple(site.tolist())}
    ids, who = tuple(f"case-{k:03d}" for k in range(n)), tuple(f"p{k}" for k in owner)
    return replace(Segmented(structures, ids, who, cases, 1.0, groups=groups), **more)


def compared(dice: float, volume: float, error: float) -> SegmentedCase:
    """A structure that reader and model both mark."""
    overlap = Overlap(dice, dice / (2 - dice), volume * (1 + error), volume, error)
    far = 12 * (1 - dice)
    return SegmentedCase(overlap, SurfaceAgreement(2 * far, far, far / 3, 1 - (1 - dice) / 2, 1.0, "voxels"))


def lacking(marked: bool) -> SegmentedCase:
    """A structure that is not there; the model marks some of it or none."""
    dice, volume, why = (0.0, 0.2, "empty") if marked else (None, 0.0, "both masks are empty")
    surface = SurfaceAgreement(None, None, None, dice, 1.0, "voxels", why)
    return SegmentedCase(Overlap(dice, dice, volume, 0.0, None, why), surface)


def setting(**more: Any) -> Setting:
    """What a run says beside the numbers, with histories of five members."""
    rng = np.random.default_rng(1)
    history = tuple(
        [
            {
                "epoch": e, "train_loss": 1.2 * np.exp(-e / 8) + 0.1, "learning_rate": 1e-3, "seconds": 3.0,
                "val_loss": 1.1 * np.exp(-e / 8) + 0.25 + rng.normal(0, 0.01),
                "val_dice": 0.9 - 0.7 * np.exp(-e / 6) + rng.normal(0, 0.01),
            }
            for e in range(1, 31)
        ]
        for _ in range(3)
    )  # fmt: skip
    context = {"hounsfield": "0.1.0", "seed": 0, "plan_digest": "9f2c1d77aa01be44", "python": "3.11.9"}
    tables = {"plan": [["grid.spacing_mm", [1, 1, 1], "median of the images"]]}
    return Setting(
        "Outlines of the hippocampus", **{"history": history, "context": context, "tables": tables} | more
    )
