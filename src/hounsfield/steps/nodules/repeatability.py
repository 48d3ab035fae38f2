"""How far a nodule's measured volume strays when nothing has changed, by size, scan, kind and place.

The numbers come from nodules of the chest CT phantom: 25 same-day pairs (`benchmarks/nodules.py --same-day`:
the patient got up and was scanned again with another breath), and 33 pairs that were months apart. The
logarithm of a volume strays by a part that all nodules have and one that grows as a voxel beside the
diameter; faint edges, the pleura and vessels, where the shape itself is in doubt, add their own, and so does
a nodule whose two measurements are of different kinds.
"""

from __future__ import annotations

import numpy as np

from hounsfield.steps.nodules.measure import NoduleMeasures

__all__ = ["TAIL", "change_spread", "volume_spread"]

_FLOOR, _PER_VOXEL = 0.03, 0.25
_FAINT, _AT_WALL = 0.15, 0.55
_AT_VESSEL, _ATTACHED = 0.22, 0.002  # where so much of the surroundings is dense
_OTHER_KIND = 0.7
TAIL = 2.2
"""So many standard deviations of a difference are taken as its 95 %: its tails are heavy."""


def volume_spread(measures: NoduleMeasures) -> float:
    """The standard deviation of the natural logarithm of one measured volume.

    >>> def of(density, wall):
    ...     return NoduleMeasures((0, 0, 0), 524.0, 10, 10, 10, 0.0, 1.0, density, 10, wall, 1.0)
    >>> kinds = ("solid", False), ("ground-glass", False), ("solid", True)
    >>> [round(volume_spread(of(*kind)), 3) for kind in kinds]
    [0.039, 0.155, 0.551]
    """
    parts = [_FLOOR, _PER_VOXEL * measures.voxel_mm / max(measures.diameter_mm, 1e-9)]
    parts.append(_FAINT if measures.density != "solid" else 0.0)
    parts.append(_AT_WALL if measures.touches_wall else 0.0)
    parts.append(_AT_VESSEL if measures.attached > _ATTACHED else 0.0)
    return float(np.linalg.norm(parts))


def change_spread(first: NoduleMeasures, second: NoduleMeasures) -> float:
    """The standard deviation of the natural logarithm of the ratio of two measured volumes."""
    kinds = _OTHER_KIND if first.density != second.density else 0.0
    return float(np.linalg.norm([volume_spread(first), volume_spread(second), kinds]))
