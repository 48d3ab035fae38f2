"""What the figures of outlined cases are drawn from: Dice of each case, volumes against volumes, learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hounsfield.steps.segmentation.table import Segmented

__all__ = ["curves_of", "history_of"]

Curve = dict[str, Any]
MOST_POINTS = 400
LIMITS = 1.96
COLUMNS = ("epoch", "train_loss", "val_loss", "val_dice", "learning_rate", "seconds")


def curves_of(table: Segmented) -> dict[str, Any]:
    """Three curves a structure; the keys and lists are those that `steps.chapters` names.

    Of more than `MOST_POINTS` cases an even share, ordered by Dice, is kept, the worst one always; limits of
    agreement are those of all cases.
    """
    curves: dict[str, Curve] = {"dice_by_structure": {}, "volume_agreement": {}, "dice_by_volume": {}}
    scale = 1.0 if table.unit == "mm" else 1000.0
    unit = "ml" if table.unit == "mm" else "pixels"
    for s in table.structures:
        known = [c.overlap for c in table.cases[s] if c is not None and c.overlap.dice is not None]
        if not known:
            continue
        known.sort(key=lambda one: one.dice or 0.0)
        kept = [known[k] for k in _evenly(len(known))]
        dice = [round(float(one.dice or 0.0), 5) for one in kept]
        values = np.array([one.dice for one in known], np.float64)
        curves["dice_by_structure"][s] = {
            "dice": dice, "quartiles": np.percentile(values, (25, 50, 75)).round(5).tolist(), "n": len(known),
        }  # fmt: skip
        curves["dice_by_volume"][s] = {
            "reference": [round(scale * one.reference_ml, 6) for one in kept], "dice": dice, "unit": unit,
        }  # fmt: skip
        said, truth = (
            np.array([getattr(one, side) for one in known]) * scale for side in ("volume_ml", "reference_ml")
        )
        gap = said - truth
        spread = float(gap.std(ddof=1)) if len(gap) > 1 else 0.0
        places = _evenly(len(known))
        curves["volume_agreement"][s] = {
            "mean": ((said + truth) / 2)[places].round(6).tolist(),
            "difference": gap[places].round(6).tolist(),
            "bias": float(gap.mean()), "low": float(gap.mean()) - LIMITS * spread,
            "high": float(gap.mean()) + LIMITS * spread, "unit": unit, "n": len(known),
        }  # fmt: skip
    return {name: drawn for name, drawn in curves.items() if drawn}


def history_of(history: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """A member's epochs as columns."""
    return {key: [epoch.get(key) for epoch in history] for key in COLUMNS}


def _evenly(count: int) -> list[int]:
    picked = np.unique(np.linspace(0, count - 1, min(MOST_POINTS, count)).round().astype(int))
    return [int(k) for k in picked]
