"""A quick, cheap model of the images: ridge regression on their edges and on 16×16 values, cross-validated by
patient.

It is trained in a second and knows nothing of medicine, yet where classes look different it tells them apart
well enough to say which labels it cannot believe. After a first round the cases that it calls the other way
are left out of its training, not of its scoring, so that wrong labels do not teach it (Northcutt, Jiang &
Chuang, J Artif Intell Res 2021;70:1373).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.steps.compute import available_cores

__all__ = ["BY_CHANCE", "Doubts", "crossed_scores", "doubts", "features_of", "more_than", "spots_of"]

FOLDS = 5
ROUNDS = 2
COMPONENTS = 96
LEAST_KEPT = 0.6
SEPARATE = 2.0
"""Robust standard deviations between the classes from which wrong labels can be counted."""
TAIL = 2.0
FAR = 3.5
"""Spreads from the own middle that are far enough where the other class is further still."""
BY_CHANCE = 0.3
"""Doubted cases that are expected beside those of the tail: no class is as even as a Gaussian."""
MOST_LEARNED = 3000
CHUNK = 64
SPOT_SIZES = (1.0, 2.0, 4.0, 8.0)

Features = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Doubts:
    """Cases (N,) of a class that score like the other; how many chance puts there, and how far the classes
    lie apart.

    `margin` (N,) is the score in spreads of the own class on the way to the other's middle, 1 being there.
    """

    suspected: Flags
    margin: NDArray[np.float64]
    expected: float
    separation: float

    @property
    def countable(self) -> bool:
        """True if the classes lie far enough apart for a label to be doubted."""
        return self.separation >= SEPARATE


def features_of(
    edges: NDArray[np.float32], planes: NDArray[np.float32], spots: Features | None = None
) -> Features:
    """Principal components (N, at most 96) of edges (N, E), of planes (N, J, I) at 16×16, and of spots (N,
    S).
    """
    n, side = len(planes), planes.shape[1] // 16
    small = planes.reshape(n, 16, side, 16, side).mean((2, 4)).reshape(n, -1)
    parts = [
        (x - x.mean(0)) / np.float32(max(float(x.std()), 1e-9) * np.sqrt(x.shape[1])) for x in (edges, small)
    ]
    if spots is not None:
        spread = np.maximum(spots.std(0), 1e-9)
        parts.append(((spots - spots.mean(0)) / spread / np.sqrt(spots.shape[1])).astype(np.float32))
    return _components(np.concatenate(parts, 1, dtype=np.float32), min(COMPONENTS, max(1, n - 1)))


def _components(table: NDArray[np.float32], wanted: int) -> Features:
    """Rows (N, F) on their first principal axes, by the smaller of the two Gram matrices."""
    if len(table) <= table.shape[1]:
        values, vectors = np.linalg.eigh((table @ table.T).astype(np.float64))
        return np.asarray(vectors[:, ::-1][:, :wanted] * np.sqrt(np.maximum(values[::-1][:wanted], 0)))
    _, vectors = np.linalg.eigh((table.T @ table).astype(np.float64))
    return np.asarray(table @ vectors[:, ::-1][:, :wanted].astype(np.float32), np.float64)


def spots_of(planes: NDArray[np.float32]) -> Features:
    """Whether there are spots of some size anywhere in planes (N, J, I): quantiles of differences of blurs
    (N, 35).
    """
    found = np.empty((len(planes), 7 * (1 + len(SPOT_SIZES))))
    parts = [slice(start, start + CHUNK) for start in range(0, len(planes), CHUNK)]
    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(lambda part: _look_for_spots(planes[part], found[part]), parts))
    return found


def _look_for_spots(planes: NDArray[np.float32], found: Features) -> None:
    """Fill the rows of `found`."""
    import cv2

    sides = planes.shape[1:]
    values, extremes = (_places(q, sides) for q in ((5, 25, 50, 75, 95), (0.05, 1, 5, 95, 99, 99.95)))
    for row, plane in zip(found, planes, strict=True):
        row[:7] = (*np.sort(plane.reshape(-1))[values], plane.mean(), plane.std())
        for number, size in enumerate(SPOT_SIZES, 1):
            apart = cv2.GaussianBlur(plane, (0, 0), size) - cv2.GaussianBlur(plane, (0, 0), 1.6 * size)
            row[7 * number : 7 * number + 7] = (*np.sort(apart.reshape(-1))[extremes], apart.std())


def _places(percents: Sequence[float], sides: tuple[int, ...]) -> NDArray[np.intp]:
    """Where percentiles stand in the sorted values of an image."""
    return np.round(np.array(percents) / 100 * (np.prod(sides) - 1)).astype(np.intp)


def crossed_scores(
    features: Features, positive: Flags, patients: NDArray[np.intp], *, seed: int = 0
) -> NDArray[np.float64]:
    """Scores (N,) of cases by models that have not seen their patients; higher is more like `positive`
    (N,).
    """
    count = int(patients.max()) + 1
    fold = (np.random.default_rng(seed).permutation(count) % min(FOLDS, count))[patients]
    kept = np.ones(len(positive), np.bool_)
    scores = _scores(features, positive, fold, kept)
    for _ in range(ROUNDS):
        middle = 0.5 * (np.median(scores[positive]) + np.median(scores[~positive]))
        kept = np.where(positive, scores > middle, scores < middle)
        if min(kept[positive].mean(), kept[~positive].mean()) < LEAST_KEPT:
            return _scores(features, positive, fold, np.ones(len(positive), np.bool_))
        scores = _scores(features, positive, fold, kept)
    return scores


def doubts(scores: NDArray[np.float64], positive: Flags) -> Doubts:
    """Which cases lie beyond the middle of the other class, seen from their own, or nearly there if that is
    far.

    What chance puts there is a Gaussian tail, its number doubled, since tails of real classes are heavier,
    with the spread of a class taken one standard error wider than it is measured (1.17 / √n: Rousseeuw &
    Croux, J Am Stat Assoc 1993;88:1273).
    """
    from scipy.stats import norm

    suspected, margin = np.zeros(len(scores), np.bool_), np.zeros(len(scores))
    expected, separation = 0.0, np.inf
    for own, towards in ((positive, -1.0), (~positive, 1.0)):
        middle, other = np.median(scores[own]), np.median(scores[~own])
        spread = 1.4826 * float(np.median(np.abs(scores[own] - middle))) * (1 + 1.17 / np.sqrt(own.sum()))
        distance = towards * float(other - middle) / max(spread, 1e-9)
        margin[own] = (scores[own] - middle) / (other - middle) if other != middle else 0.0
        share = float(np.clip(FAR / max(distance, 1e-9), 0.5, 1.0))
        suspected |= own & (margin >= share)
        expected += TAIL * np.count_nonzero(own) * float(norm.sf(distance * share))
        separation = min(separation, distance)
    return Doubts(suspected, margin, expected, float(separation))


def more_than(count: int, expected: float) -> float:
    """The chance (p) of so many doubted cases and more where so many are expected (Poisson).

    >>> more_than(0, 0.3), round(more_than(3, 0.3), 4)
    (1.0, 0.0036)
    """
    from scipy.stats import poisson

    return float(poisson.sf(count - 1, expected))


def _scores(features: Features, positive: Flags, fold: NDArray[np.intp], kept: Flags) -> NDArray[np.float64]:
    scores = np.zeros(len(positive))
    for number in range(int(fold.max()) + 1):
        learned, seen = (fold != number) & kept, fold == number
        if positive[learned].all() or not positive[learned].any():
            continue
        rows = np.flatnonzero(learned)
        if len(rows) > MOST_LEARNED:
            rows = np.random.default_rng(number).choice(rows, MOST_LEARNED, replace=False)
        weights = _ridge(features[rows], positive[rows])
        scores[seen] = features[seen] @ weights[:-1] + weights[-1]
    return scores


def _ridge(features: Features, positive: Flags) -> NDArray[np.float64]:
    """Weights and intercept; both classes weigh alike, the penalty is the best by leaving one out (Golub
    1979).
    """
    share = positive.mean()
    root = np.sqrt(np.where(positive, 0.5 / share, 0.5 / (1 - share)))
    table = np.concatenate([features, np.ones((len(features), 1))], 1) * root[:, None]
    wanted = root * np.where(positive, 1.0, -1.0)
    values, vectors = np.linalg.eigh(table.T @ table)
    values = np.maximum(values, 0)
    turned, aim = table @ vectors, vectors.T @ (table.T @ wanted)
    best, chosen = np.inf, 1.0
    for penalty in np.logspace(-4, 2, 13) * values.mean():
        shrunk = 1 / (values + penalty)
        rest = wanted - turned @ (aim * shrunk)
        error = float(((rest / np.maximum(1 - (turned**2) @ shrunk, 1e-6)) ** 2).sum())
        if error < best:
            best, chosen = error, float(penalty)
    return np.asarray(vectors @ (aim / (values + chosen)))
