"""How far a measured change of the brain's volume may stray in this patient, from what repeated scans showed.

The deviation of the logarithm of a volume ratio is the root of the sum of squares of

- FLOOR, what same-day pairs of the brain MRI phantom show when all else is good;
- BY_SCALE times the deviation of the skull's scale, from the skull's own fit, which grows with noise and
blur;
- BY_NOISE times what the images' noise alone does to the sum over the boundary;
- BY_UNREST times the deviation of the smooth field between the visits, of which a part is not found;
- BY_RESIDUAL times the robust difference left between the brains beyond what noise explains, which grows
  where the scanners' contrast or sharpness differ;
- BY_CHANGE times the change itself: SEEN is not the same in every head;
- TWO_SCANNERS where the scanners differ: chosen, not measured.

SEEN is the part of a change that the boundary's shift sees, since boundaries in narrow clefts are not seen
whole: a change is divided by it.

`benchmarks/atrophy.py` measures pairs with known truth again and says how far these constants are off. SEEN
was chosen on ten phantom patients, FLOOR and its fellows on 34 (100 intervals, they hold 98). How much
a real scan sees is not known, and nobody's real scans stand behind any of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["SEEN", "Doubt", "Interval", "interval_of", "spread_of"]

FLOOR = 0.0003
BY_SCALE, BY_NOISE, BY_UNREST, BY_RESIDUAL = 0.5, 2.0, 0.005, 0.01
BY_CHANGE = 0.06
TWO_SCANNERS = 0.006
VENTRICLES_FLOOR = 0.03
SEEN = 0.83
_Z = 1.96


@dataclass(frozen=True)
class Doubt:
    """What a pair of visits says of its own quality; each in parts, none in per cent."""

    scale_spread: float
    noise_spread: float
    unrest: float
    residual: float
    one_scanner: bool = True


@dataclass(frozen=True)
class Interval:
    """A change in per cent with the ends of its 95 % interval."""

    percent: float
    low: float
    high: float


def spread_of(change: float, doubt: Doubt) -> float:
    """The deviation of a change of the logarithm of volume.

    >>> calm = Doubt(0.0, 0.0, 0.0, 0.0)
    >>> spread_of(0.0, calm) == FLOOR, spread_of(0.02, calm) > FLOOR
    (True, True)
    """
    parts = (
        FLOOR,
        BY_SCALE * doubt.scale_spread,
        BY_NOISE * doubt.noise_spread,
        BY_UNREST * doubt.unrest,
        BY_RESIDUAL * doubt.residual,
        BY_CHANGE * change,
        0.0 if doubt.one_scanner else TWO_SCANNERS,
    )
    return float(np.sqrt(sum(p * p for p in parts)))


def interval_of(change: float, spread: float) -> Interval:
    """The change of a volume in per cent from that of its logarithm.

    >>> one = interval_of(0.0, 0.01)
    >>> one.percent, round(one.low, 2), round(one.high, 2)
    (0.0, -1.94, 1.98)
    """
    low, middle, high = (100.0 * float(np.expm1(change + z * spread)) for z in (-_Z, 0.0, _Z))
    return Interval(middle, low, high)
