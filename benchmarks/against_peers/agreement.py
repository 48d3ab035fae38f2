"""Whether two sides did the same work: what their outputs have in common, in words for the page."""

from __future__ import annotations

from typing import Any

from measured import prose

__all__ = ["LIMIT", "augmentation_checks"]

LIMIT = 2e-4
"""Largest difference from scipy under one fixed matrix, as a fraction of the image's range."""


def augmentation_checks(found: dict[str, dict[str, Any]]) -> list[str]:
    """Lines that say whether types, shapes, ranges and one fixed matrix agree."""
    outputs = {f"{'×'.join(map(str, f['digest']['shape']))} {f['digest']['dtype']}" for f in found.values()}
    moves = sorted((sum(f["facts"]["moves"]) / len(f["facts"]["moves"]), name) for name, f in found.items())
    errors = {name: f["facts"]["error"] for name, f in found.items()}
    worst = max(e for name, e in errors.items() if name.startswith("ours"))
    peers = ", ".join(f"{name} {e:.1e}" for name, e in errors.items() if not name.startswith("ours"))
    limit = f"{'within' if worst <= LIMIT else 'BEYOND'} the limit of {LIMIT:.0e}"
    return prose(
        f"Checks. Outputs: {', '.join(sorted(outputs))}. In the mean a voxel moves along an axis by "
        f"{100 * moves[0][0]:.1f} % of it ({moves[0][1]}) to {100 * moves[-1][0]:.1f} % ({moves[-1][1]}). "
        "Under one fixed matrix the largest difference from `scipy.ndimage.affine_transform`, as a share "
        f"of the range: ours {worst:.1e} ({limit}); {peers}."
    )
