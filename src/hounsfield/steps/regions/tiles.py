"""How windows cover an axis: as few as will do, no longer than they must be, sharing what they must share."""

from __future__ import annotations

import math

__all__ = ["tiles_along"]


def tiles_along(
    length: int, most: int, *, overlap: float, divisor: int = 1, least: int = 1, cell: int = 1
) -> list[tuple[int, int]]:
    """Where windows begin along an axis and how long each is, so that neighbours share `overlap` of `most`.

    A window is at most `most` long and a multiple of `divisor`; where several are needed none is shorter than
    `least`, and each begins on a multiple of `cell`, of which `length` is then one. A window longer than the
    axis says that the image is to be padded.

    >>> tiles_along(256, 128, overlap=0.0625, divisor=16)
    [(0, 96), (88, 96), (176, 80)]
    >>> tiles_along(100, 128, overlap=0.5, divisor=16)
    [(0, 112)]
    """
    most = max(1, most // divisor) * divisor
    if length <= most:
        return [(0, math.ceil(length / divisor) * divisor)]
    shared = min(most - 1, math.ceil(most * overlap))
    count = math.ceil((length - shared) / (most - shared))
    units = math.ceil((length + (count - 1) * shared) / divisor)
    least = min(most, math.ceil(least / divisor) * divisor)
    sizes = [max(least, (units // count + (n < units % count)) * divisor) for n in range(count)]
    over = (sum(sizes) - length) / (count - 1)
    starts = [math.ceil(sum(sizes[:n]) - n * over - 1e-9) // cell * cell for n in range(count)]
    return list(zip(starts, sizes, strict=True))
