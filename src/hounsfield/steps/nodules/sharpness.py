"""How much a CT is blurred within its slices, told by the patient's own skin.

From air to skin the values rise by a thousand HU within a fraction of a millimetre; how many pixels they take
to rise is the scanner's and the kernel's doing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hounsfield.core.volume import Volume

__all__ = ["USUAL_BLUR_PX", "blur_px"]

Doubles = NDArray[np.float64]
USUAL_BLUR_PX = 0.55
_LEAST_PX, _MOST_PX, _FEWEST_EDGES = 0.3, 2.0, 60


def blur_px(volume: Volume) -> float:
    """The standard deviation of the blur in pixels of a slice, the pixel's own width included.

    It is found where rows of pixels meet the sides of the body squarely; with too few such places (a field
    of view within the body) `USUAL_BLUR_PX` is given.

    >>> from scipy.ndimage import gaussian_filter
    >>> body = np.full((8, 64, 80), -1000.0)
    >>> body[:, 5:60, 20:60] = 30
    >>> body[:, ::2, 20:59] = 30
    >>> image = gaussian_filter(body, (0, 0.9, 0.9))
    >>> bool(0.7 < blur_px(Volume(image[None], np.eye(4), (), True)) < 1.05)
    True
    """
    hu = volume.data[0]
    rows = slice(int(0.3 * hu.shape[1]), int(0.7 * hu.shape[1]))
    step = max(hu.shape[0] // 20, 1)
    lines = hu[::step, rows][:, ::3].reshape(-1, hu.shape[2]).astype(np.float64)
    steep = np.concatenate([_steepness(lines), _steepness(lines[:, ::-1])])
    if len(steep) < _FEWEST_EDGES:
        return USUAL_BLUR_PX
    # Slanted edges and clothes only make it less steep.
    share = float(np.percentile(steep, 70))
    tried = np.linspace(_LEAST_PX, _MOST_PX, 171)
    return float(tried[int(np.abs(_expected(tried) - share).argmin())])


def _steepness(lines: Doubles) -> Doubles:
    """Of each line that meets a body from outside: its largest rise between neighbours, in parts of all."""
    found: list[float] = []
    solid = lines > -400
    count: NDArray[np.int64] = np.cumsum(np.pad(solid, ((0, 0), (1, 0))), axis=1)
    runs: NDArray[np.bool_] = count[:, 6:] - count[:, :-6] == 6
    for line, begins, first in zip(
        lines, runs.max(axis=1).tolist(), runs.argmax(axis=1).tolist(), strict=True
    ):
        if not begins or not 7 <= first < len(line) // 2:
            continue
        at = int(first)
        outside = line[at - 7 : at - 3]
        if outside.max() > -850:
            continue
        inner = float(np.median(line[at + 1 : at + 5]))
        rise = inner - float(np.median(outside))
        if rise > 700:
            found.append(float(np.diff(line[at - 4 : at + 3]).max()) / rise)
    return np.array(found)


def _expected(blur: Doubles) -> Doubles:
    # The largest rise between two neighbours, over all places of the edge between them.
    place = np.linspace(-0.5, 0.5, 21)[:, None]
    half = (
        special.erf((0.5 - place) / blur / np.sqrt(2)) - special.erf((-0.5 - place) / blur / np.sqrt(2))
    ) / 2
    mean: Doubles = half.mean(0)
    return mean
