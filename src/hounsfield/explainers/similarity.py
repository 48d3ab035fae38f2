"""How alike two maps of one image are: by the ranks of their values, and by structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["rank_correlation", "structural_similarity"]

_MOST_COMPARED = 1 << 16


def rank_correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Spearman's rank correlation of two maps of one shape, -1 to 1; ties share their mean rank.

    Of a map of more than 65,536 values every second, third … is taken along each axis. Where one of the maps
    is even it is 0: it says nothing of the other.

    >>> one = np.array([[0.0, 0.1], [0.5, 1.0]], np.float32)
    >>> round(rank_correlation(one, one**2), 6), round(rank_correlation(one, 1 - one), 6)
    (1.0, -1.0)
    """
    from scipy.stats import rankdata

    step = 1
    while one[(slice(None, None, step),) * one.ndim].size > _MOST_COMPARED:
        step += 1
    every = (slice(None, None, step),) * one.ndim
    a, b = (rankdata(m[every]).ravel() - 0.5 * (m[every].size + 1) for m in (one, other))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def structural_similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The mean structural similarity of two maps in [0, 1] (Wang et al. 2004): windows of sigma 1.5.

    Where both maps are 0 they are alike, so that it is high for maps of little extent whatever they show.

    >>> one = np.zeros((16, 16), np.float32); one[4:8] = 1
    >>> structural_similarity(one, one)
    1.0
    """
    from scipy.ndimage import gaussian_filter

    x, y = one.astype(np.float64), other.astype(np.float64)

    def blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(values, 1.5, truncate=3.5, mode="reflect"), np.float64)

    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    both = blurred(x * y) - mean_x * mean_y
    light, contrast = 0.01**2, 0.03**2
    above = (2 * mean_x * mean_y + light) * (2 * both + contrast)
    below = (mean_x**2 + mean_y**2 + light) * (var_x + var_y + contrast)
    return float((above / below).mean())
