"""How odd a row of measures is beside rows that are known, as the share of known patients who are odder.

Two tests: the distance of all measures together, and the largest distance within one family of them, which
is keener where only a few change. A distance is Mahalanobis's with the covariance shrunken as Ledoit & Wolf
(J Multivar Anal 2004;88:365) reckon best. What is known is measured by distances from the others (five
folds by patient), so that the share is that of patients to come; the smaller share of the two tests is
itself placed among the known (a permutation argument: Westfall & Young, Resampling-based multiple testing,
1993).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Distance", "Oddness", "learn_oddness"]

Array = NDArray[np.float64]
Rows = Mapping[str, Array]

_FOLDS = 5
_FINEST = 0.02
"""A spread below it counts as this much: measures are logarithms or in units of an image's spread."""


@dataclass(frozen=True, slots=True, eq=False)
class Distance:
    """The Mahalanobis distance from the `centre` (D,) of known rows; each measure by its `spread`."""

    centre: Array
    spread: Array
    inverse: Array

    @classmethod
    def of(cls, rows: Array, weight: Array) -> Distance:
        """The distance from these rows (N, D), that weigh so much (N,); at least two of them.

        >>> rows = np.random.default_rng(0).normal(size=(4000, 3)) * [1, 2, 3]
        >>> bool(abs(Distance.of(rows, np.ones(4000)).of_rows(np.array([[0, 0, 6.0]]))[0] - 2) < 0.1)
        True
        """
        share = weight / weight.sum()
        centre = share @ rows
        spread = np.maximum(np.sqrt(share @ (rows - centre) ** 2), _FINEST)
        inverse = np.linalg.inv(shrunken((rows - centre) / spread, weight))
        return cls(centre, spread, np.asarray(inverse, np.float64))

    def of_rows(self, rows: Array) -> Array:
        """The distance (N,) of each row (N, D)."""
        apart = (rows - self.centre) / self.spread
        return np.asarray(np.sqrt(np.maximum(np.einsum("nd,de,ne->n", apart, self.inverse, apart), 0)))


def shrunken(rows: Array, weight: Array) -> Array:
    """The covariance (D, D) of centred rows (N, D), drawn to a multiple of the identity (Ledoit & Wolf).

    Rows count as many as they weigh together: several of a patient are no more than one.
    """
    n, d = float(weight.sum()), rows.shape[1]
    covariance = (rows * (weight / n)[:, None]).T @ rows
    level = max(float(np.trace(covariance)) / d, 1e-6)
    identity = level * np.eye(d)
    apart = float(((covariance - identity) ** 2).sum())
    noise = float((weight @ (rows**2).sum(1) ** 2 / n - (covariance**2).sum()) / n)
    share = min(1.0, max(noise, 0.0) / apart) if apart > 0 else 1.0
    return np.asarray((1 - share) * covariance + (share + 1e-6) * identity)


@dataclass(frozen=True, slots=True, eq=False)
class _Distances:
    """The two tests: everything together, and each family on a scale of its own (`middle`, `width`)."""

    together: Distance
    families: Mapping[str, Distance]
    scale: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, rows: Rows, weight: Array) -> _Distances:
        families = {name: Distance.of(table, weight) for name, table in rows.items()}
        scale = {}
        for name, table in rows.items():
            middle, high = np.quantile(families[name].of_rows(table), (0.5, 0.95))
            scale[name] = float(middle), max(float(high - middle), 1e-6)
        return cls(Distance.of(_joined(rows), weight), families, scale)

    def of_rows(self, rows: Rows) -> tuple[Array, list[str]]:
        """Both distances (2, N), and the family that each row is oddest in."""
        names = list(self.families)
        apart = np.stack(
            [(self.families[f].of_rows(rows[f]) - self.scale[f][0]) / self.scale[f][1] for f in names]
        )
        return np.stack([self.together.of_rows(_joined(rows)), apart.max(0)]), [
            names[k] for k in apart.argmax(0)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Oddness:
    """What is known of P patients: their distances (2, N) from the others, and what each row weighs (N,).

    `odd` (N,) is how odd each known row is by the better of the two tests.
    """

    distances: _Distances
    known: Array
    odd: Array
    weight: Array

    @property
    def n_patients(self) -> int:
        """How many patients are known; each weighs one."""
        return round(float(self.weight.sum()))

    def p(self, rows: Rows) -> tuple[Array, list[str]]:
        """The share (N,) of known patients, and this one, who are at least as odd; and the oddest family."""
        found, families = self.distances.of_rows(rows)
        odd = np.max([_log_share(f, k, self.weight) for f, k in zip(found, self.known, strict=True)], axis=0)
        return _share(odd, self.odd, self.weight), families

    def arrays(self) -> dict[str, Array]:
        """All of it as named arrays, for a file."""
        d = self.distances
        found = {"known": self.known, "odd": self.odd, "weight": self.weight}
        for name, own in {"together": d.together, **d.families}.items():
            parts = {"centre": own.centre, "spread": own.spread, "inverse": own.inverse}
            found |= {f"{name}.{part}": values for part, values in parts.items()}
        return found | {f"{name}.scale": np.array(scale) for name, scale in d.scale.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Oddness:
        """What `arrays` gave; KeyError where one is missing."""
        named = [key.removesuffix(".scale") for key in arrays if key.endswith(".scale")]

        def own(name: str) -> Distance:
            return Distance(*(arrays[f"{name}.{part}"] for part in ("centre", "spread", "inverse")))

        scale = {n: (float(arrays[f"{n}.scale"][0]), float(arrays[f"{n}.scale"][1])) for n in named}
        distances = _Distances(own("together"), {n: own(n) for n in named}, scale)
        return cls(distances, arrays["known"], arrays["odd"], arrays["weight"])


def learn_oddness(rows: Rows, patients: Sequence[str]) -> tuple[Oddness, Array, list[str]]:
    """What is known after these rows, a table (N, D) a family; the p (N,) of each beside the others, and the
    family that it is oddest in.

    At least ten patients; each of them weighs one, however many rows it has.

    >>> rng = np.random.default_rng(0)
    >>> odd, own, _ = learn_oddness({"a": rng.normal(size=(200, 3))}, [str(k) for k in range(200)])
    >>> odd.p({"a": np.array([[9.0, 0, 0], [0, 0, 0]])})[0].round(3).tolist()
    [0.005, 1.0]
    """
    _, code, count = np.unique(np.array(patients), return_inverse=True, return_counts=True)
    weight = (1 / count)[code]
    fold = (np.random.default_rng(0).permutation(len(count)) % _FOLDS)[code]
    known = np.zeros((2, len(code)))
    oddest = np.zeros(len(code), object)
    for k in range(_FOLDS):
        inside = fold == k
        apart = _Distances.of({name: table[~inside] for name, table in rows.items()}, weight[~inside])
        known[:, inside], oddest[inside] = apart.of_rows({n: table[inside] for n, table in rows.items()})
    odd = np.max([_log_share(own, own, weight, code) for own in known], axis=0)
    learned = Oddness(_Distances.of(rows, weight), known, odd, weight)
    return learned, _share(odd, odd, weight, code), [str(name) for name in oddest]


def _log_share(values: Array, known: Array, weight: Array, code: NDArray[np.intp] | None = None) -> Array:
    """Minus the logarithm of the share; of what lies beyond all that is known the further is the odder."""
    beyond = np.maximum(values / max(float(known.max()), 1e-9) - 1, 0)
    return -np.log(_share(values, known, weight, code)) + np.minimum(beyond, 1e6)


def _share(values: Array, known: Array, weight: Array, code: NDArray[np.intp] | None = None) -> Array:
    """The weight of the known that reach each value, and one patient more, of all; with `code` the values
    are the known ones themselves, and the rows of the same patient do not count.
    """
    order = np.argsort(known, kind="stable")
    above = np.append(np.cumsum(weight[order][::-1])[::-1], 0.0)
    reached = above[np.searchsorted(known[order], values, side="left")]
    if code is not None:
        for own in _rows_of(code):
            reached[own] -= (known[own][None] >= values[own][:, None]) @ weight[own]
    total = math.fsum(weight)
    return np.clip((1 + reached) / (1 + total), 0, 1)


def _rows_of(code: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    order = np.argsort(code, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(code[order])) + 1)


def _joined(rows: Rows) -> Array:
    return np.concatenate([rows[name] for name in sorted(rows)], axis=1)  # a file keeps no order
