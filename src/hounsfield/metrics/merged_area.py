"""The area under the ROC curve and DeLong's variance from two sorted classes, merged once: compiled.

An argsort of all scores, which every case's own placement needs, costs several sorts. The area and its
variance need only the placements' sums: each class is sorted by itself (together less than one sort of
all) and one merge reads the placements off, ties counted half.
"""

from __future__ import annotations

import numpy as np

from hounsfield.core.compiled import compiled
from hounsfield.metrics.patients import BoolArray, FloatArray

__all__ = ["merged_area"]


def merged_area(scores: FloatArray, positive: BoolArray) -> tuple[float, float]:
    """The area of finite scores (N,) and its variance by DeLong (Biometrics 1988;44:837).

    Both classes must have two cases or more.

    >>> scores = np.array([0.1, 0.4, 0.35, 0.8])
    >>> area, variance = merged_area(scores, np.array([False, False, True, True]))
    >>> area, variance
    (0.75, 0.125)
    """
    found, clear = _parted(scores, positive)
    found.sort()
    clear.sort()
    doubled, of_found, of_clear = _merge(found, clear)
    n_found, n_clear = len(found), len(clear)
    area = doubled / (2 * n_found * n_clear)
    variance = 0.0
    for n, squares in ((n_found, of_found), (n_clear, of_clear)):
        # The squares are of 1 - placement, so that a nearly perfect area loses no digits.
        variance += max(0.0, squares / n - (1 - area) ** 2) / (n - 1)
    return area, variance


@compiled
def _parted(scores, positive):  # type: ignore[no-untyped-def]
    """The scores of each class, in their own arrays: no branch, since answers are not predictable."""
    count = 0
    for i in range(len(positive)):
        count += positive[i]
    both = (np.empty(count + 1), np.empty(len(scores) - count + 1))
    found, clear = both
    at = 0
    for i in range(len(scores)):
        found[at] = scores[i]
        clear[i - at] = scores[i]
        at += positive[i]
    return found[:count], clear[: len(scores) - count]


@compiled
def _merge(found, clear):  # type: ignore[no-untyped-def]
    """Twice the sum of all pairs' order, and each class's sum of squares of 1 - placement."""
    n_found, n_clear = len(found), len(clear)
    doubled = 0
    of_found = of_clear = 0.0
    i = j = 0
    while i < n_found or j < n_clear:
        if j == n_clear or (i < n_found and found[i] < clear[j]):
            lack = 2 * (n_clear - j)
            doubled += 2 * j
            of_found += np.float64(lack) * lack
            i += 1
            continue
        if i == n_found or clear[j] < found[i]:
            lack = 2 * i
            of_clear += np.float64(lack) * lack
            j += 1
            continue
        first_i, first_j, tie = i, j, found[i]
        while i < n_found and found[i] == tie:
            i += 1
        while j < n_clear and clear[j] == tie:
            j += 1
        alike, other = i - first_i, j - first_j
        lack = 2 * (n_clear - first_j) - other
        doubled += alike * (2 * first_j + other)
        of_found += np.float64(lack) * lack * alike
        lack = 2 * first_i + alike
        of_clear += np.float64(lack) * lack * other
    return doubled, of_found / (4.0 * n_clear * n_clear), of_clear / (4.0 * n_found * n_found)
