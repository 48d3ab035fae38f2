"""Grey matter, white matter and CSF in a brain, with the parts of each in voxels that hold two of them.

The histogram is explained by three tissues and by mixtures of neighbours in brightness at every share, all
fitted at once by expectation-maximisation; where a voxel lies among its neighbours then decides what its
value leaves open (a Markov random field in mean-field form, as in Zhang, Brady & Smith, IEEE TMI 2001;20:45,
with partial volumes as classes of their own).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import arithmetic

__all__ = ["Levels", "levels_of", "parts_of"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
_SHARES = np.linspace(0.1, 0.9, 9)
_BINS = 400
_STIFF = 0.25  # how much a neighbour says
_SWEEPS = 4
_WIDEST = 1.5  # of a tissue, beside white matter


@dataclass(frozen=True)
class Levels:
    """The values of CSF, grey and white matter in one image, and their spread; `amounts` of the five classes.

    The classes are CSF, grey, white, CSF with grey, grey with white.
    """

    csf: float
    grey: float
    white: float
    spread: tuple[float, float, float]
    amounts: tuple[float, float, float, float, float]

    @property
    def contrast_to_noise(self) -> float:
        """Between grey and white matter, in standard deviations of white matter."""
        return (self.white - self.grey) / max(self.spread[2], 1e-9)


def _mixtures() -> tuple[Doubles, NDArray[np.int64]]:
    # The parts (m, 3) of CSF, grey and white in each component, and the class of each.
    pure = np.eye(3)
    low = np.stack([1 - _SHARES, _SHARES, 0 * _SHARES], 1)
    high = np.stack([0 * _SHARES, 1 - _SHARES, _SHARES], 1)
    kinds = np.array([0, 1, 2] + [3] * len(_SHARES) + [4] * len(_SHARES))
    return np.concatenate([pure, low, high]), kinds


def levels_of(values: NDArray[np.floating], *, start: tuple[float, float, float] | None = None) -> Levels:
    """Fit the three tissues to the values of a brain with its CSF.

    >>> rng = np.random.default_rng(0)
    >>> n = np.repeat([0.25, 0.6, 1.0], (3000, 9000, 8000))
    >>> found = levels_of(n + rng.normal(0, 0.04, n.size))
    >>> bool(abs(found.grey - 0.6) < 0.02 and abs(found.white - 1.0) < 0.02)
    True
    """
    low, high = np.percentile(values, (0.2, 99.8))
    counts, edges = np.histogram(values, _BINS, (low, high))
    at = 0.5 * (edges[1:] + edges[:-1])
    parts, kinds = _mixtures()
    means = np.array(start) if start is not None else _first_guess(values)
    spread = np.full(3, 0.10 * (means[2] - means[0]))
    amounts = np.full(5, 0.2)
    for _ in range(150):
        held = _responsibility(at, parts, kinds, means, spread, amounts) * counts[:, None]
        each = held.sum(0)
        amounts = np.bincount(kinds, each, 5) / each.sum()
        variance = parts @ spread**2
        weight = each / variance
        left = (parts * weight[:, None]).T @ parts + 1e-6 * np.eye(3)
        right = parts.T @ ((held.T @ at) / variance)
        moved = np.linalg.solve(left, right)
        off = at[:, None] - (parts @ moved)[None]
        for c in range(3):
            near = held[:, c] @ off[:, c] ** 2 / max(each[c], 1e-9)
            spread[c] = np.clip(np.sqrt(near), 0.01 * (means[2] - means[0]), 0.16 * (means[2] - means[0]))
        # Else CSF and grey matter take the mixtures at their flanks for their own.
        spread[0] = min(spread[0], _WIDEST * spread[2])
        spread[1] = min(spread[1], _WIDEST * spread[2])
        done = np.abs(moved - means).max() < 1e-4 * (means[2] - means[0])
        means = np.maximum.accumulate(moved)
        if done:
            break
    csf, grey, white = (float(m) for m in means)
    at_csf, at_grey, at_white = (float(s) for s in spread)
    shares = [float(n) for n in amounts]
    return Levels(
        csf, grey, white, (at_csf, at_grey, at_white), (shares[0], shares[1], shares[2], shares[3], shares[4])
    )


def _first_guess(values: NDArray[np.floating]) -> Doubles:
    # Three groups of values, each nearest to its own mean (Lloyd), from the quantiles on.
    few = np.sort(values[:: max(1, values.size // 50_000)])
    means = np.quantile(few, (0.05, 0.45, 0.85))
    for _ in range(60):
        cuts = np.searchsorted(few, 0.5 * (means[1:] + means[:-1]))
        groups = np.split(few, cuts)
        means = np.array([g.mean() if len(g) else m for g, m in zip(groups, means, strict=True)])
    return means


def _shares(
    parts: Doubles, kinds: NDArray[np.int64], spread: Doubles, amounts: Doubles
) -> tuple[Doubles, Doubles]:
    """Of each mixture how common it is, and by how much its values spread."""
    return amounts[kinds] / np.bincount(kinds)[kinds], np.sqrt(parts @ spread**2)


def _responsibility(
    at: Doubles, parts: Doubles, kinds: NDArray[np.int64], means: Doubles, spread: Doubles, amounts: Doubles
) -> Doubles:
    share, deviation = _shares(parts, kinds, spread, amounts)
    away = (at[:, None] - (parts @ means)[None]) / deviation
    found = share / deviation * np.exp(-0.5 * np.minimum(away**2, 600.0))
    total: Doubles = found / np.maximum(found.sum(1, keepdims=True), 1e-290)
    return total


def parts_of(data: Floats, inside: NDArray[np.bool_], levels: Levels) -> Floats:
    """The parts (3, K, J, I) of CSF, grey and white in every voxel; zero where `inside` is false."""
    parts, kinds = _mixtures()
    means = np.array([levels.csf, levels.grey, levels.white])
    spread, amounts = np.array(levels.spread), np.maximum(np.array(levels.amounts), 0.01)
    room = 3 * spread.max()
    at = np.linspace(means[0] - room, means[2] + room, _BINS)
    held = _likelihood(at, parts, kinds, means, spread, amounts)
    total = np.stack([held[:, kinds == c].sum(1) for c in range(5)], 1)
    mean = np.stack([held[:, kinds == c] @ parts[kinds == c] for c in range(5)], 1)
    mean /= np.maximum(total[..., None], 1e-290)
    likely = np.log(np.maximum(total, 1e-30)).astype(np.float32)
    index = np.clip(np.rint((data - at[0]) / (at[1] - at[0])), 0, _BINS - 1).astype(np.int16)
    chance = np.zeros((*data.shape, 5), np.float32)
    beside = _STIFF * np.array(
        [[1, 0, -1, 0.5, -0.5], [0, 1, 0, 0.5, 0.5], [-1, 0, 1, -0.5, 0.5], [0.5, 0.5, -0.5, 0.6, 0.2],
         [-0.5, 0.5, 0.5, 0.2, 0.6]], np.float32)  # fmt: skip
    inside = np.ascontiguousarray(inside)
    for sweep in range(_SWEEPS):
        _sweep(index, inside, likely, beside if sweep else 0 * beside, chance)
    out = np.zeros((3, *data.shape), np.float32)
    _shared(index, inside, chance, mean.astype(np.float32), out)
    return out


def _likelihood(
    at: Doubles, parts: Doubles, kinds: NDArray[np.int64], means: Doubles, spread: Doubles, amounts: Doubles
) -> Doubles:
    share, deviation = _shares(parts, kinds, spread, amounts)
    # Brighter than white matter is white, darker than CSF is CSF.
    value = np.clip(at, means[0], means[2])
    found: Doubles = (
        share / deviation * np.exp(-0.5 * ((value[:, None] - (parts @ means)[None]) / deviation) ** 2)
    )
    return found


@arithmetic
def _sweep(index, inside, likely, beside, chance):  # type: ignore[no-untyped-def]
    depth, height, width = index.shape
    belief = np.empty(5, np.float32)
    for k in range(1, depth - 1):
        for j in range(1, height - 1):
            for i in range(1, width - 1):
                if not inside[k, j, i]:
                    continue
                most = np.float32(-1e30)
                for c in range(5):
                    said = np.float32(0.0)
                    for d in range(5):
                        near = (
                            chance[k - 1, j, i, d] + chance[k + 1, j, i, d] + chance[k, j - 1, i, d]
                            + chance[k, j + 1, i, d] + chance[k, j, i - 1, d] + chance[k, j, i + 1, d]
                        )  # fmt: skip
                        said += beside[c, d] * near
                    belief[c] = likely[index[k, j, i], c] + said
                    most = max(most, belief[c])
                total = np.float32(0.0)
                for c in range(5):
                    belief[c] = np.exp(belief[c] - most)
                    total += belief[c]
                for c in range(5):
                    chance[k, j, i, c] = belief[c] / total


@arithmetic
def _shared(index, inside, chance, mean, out):  # type: ignore[no-untyped-def]
    for k in range(index.shape[0]):
        for j in range(index.shape[1]):
            for i in range(index.shape[2]):
                if inside[k, j, i]:
                    for t in range(3):
                        total = np.float32(0.0)
                        for c in range(5):
                            total += chance[k, j, i, c] * mean[index[k, j, i], c, t]
                        out[t, k, j, i] = total
