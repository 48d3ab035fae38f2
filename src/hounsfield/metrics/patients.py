"""Cases of one patient are not independent: patients as clusters, and how they are resampled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput

__all__ = ["MAX_BLOCKS", "BoolArray", "FloatArray", "IntArray", "Patients", "Resampling", "draw"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

MAX_BLOCKS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Patients:
    """Which patient each case belongs to, as whole numbers in the order of the sorted names.

    `code` has shape (N,), with values in [0, count).
    """

    code: IntArray
    count: int

    @classmethod
    def of(cls, patients: npt.ArrayLike | Patients | None, *, cases: int) -> Patients:
        """Encode one patient per case; None makes every case its own patient.

        Raises BadInput for a wrong length or a missing patient.

        >>> Patients.of(["b", "a", "b"], cases=3).code.tolist()
        [1, 0, 1]
        """
        if patients is None:
            return cls(np.arange(cases, dtype=np.intp), cases)
        if isinstance(patients, Patients):
            code, count = patients.code, patients.count
        else:
            code, count = _encode(np.asarray(patients))
        if len(code) != cases:
            raise BadInput(f"{len(code)} patients were given for {cases} cases; expected one per case.")
        return cls(code, count)

    @property
    def distinct(self) -> bool:
        """Whether every case has a patient of its own."""
        return self.count == len(self.code)

    def sums(self, values: npt.ArrayLike) -> FloatArray:
        """Sums over each patient's cases: (N,) gives (count,), (N, K) gives (count, K).

        >>> Patients.of([7, 7, 9], cases=3).sums([1.0, 2.0, 5.0]).tolist()
        [3.0, 5.0]
        """
        columns = np.asarray(values, dtype=np.float64)
        if self.distinct:
            placed = np.empty_like(columns)
            placed[self.code] = columns
            return placed
        return _sums(self.code, columns, self.count)

    def among(self, member: npt.ArrayLike) -> int:
        """How many patients have at least one of the cases marked in the (N,) mask.

        >>> Patients.of([7, 7, 9], cases=3).among([True, True, False])
        1
        """
        mask = np.asarray(member, dtype=np.bool_)
        if self.distinct:
            return int(np.count_nonzero(mask))
        return int(np.count_nonzero(np.bincount(self.code[mask], minlength=self.count)))


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """How often each block of patients was drawn in each of B bootstrap resamples.

    `block` (N,) names each case's block and `counts` (B, M) how often it was drawn.
    """

    patients: Patients
    block: IntArray
    counts: FloatArray

    def totals(self, columns: FloatArray) -> FloatArray:
        """Sums of case-wise columns (N, K) in every resample: (B, K), one matrix product.

        >>> draws = draw(None, cases=40, resamples=3)
        >>> draws.totals(np.ones((40, 1))).ravel().tolist()
        [40.0, 40.0, 40.0]
        """
        return np.asarray(self.counts @ _sums(self.block, columns, self.counts.shape[1]))


def draw(
    patients: npt.ArrayLike | Patients | None,
    *,
    cases: int,
    resamples: int = 2000,
    seed: int | np.random.Generator = 0,
) -> Resampling:
    """Resample patients with replacement (the cluster bootstrap), all of a patient's cases at once.

    More than 4,096 patients are first dealt at random into 4,096 blocks of equal number, and the
    blocks are resampled (random groups: Wolter, Introduction to Variance Estimation, 2007, ch. 2).
    The variance keeps its expectation; its own relative error is 1.1 %, less than the 1.6 % that
    2,000 resamples leave. The cost then no longer grows with the number of patients.

    >>> draw(["a", "a", "b"], cases=3, resamples=5).counts.sum(axis=1).tolist()
    [2.0, 2.0, 2.0, 2.0, 2.0]
    """
    clusters = Patients.of(patients, cases=cases)
    if resamples < 2:
        raise BadInput(f"{resamples} resamples were asked for; expected at least 2.")
    rng = np.random.default_rng(seed)
    blocks = min(clusters.count, MAX_BLOCKS)
    block = clusters.code
    if clusters.count > MAX_BLOCKS:
        block = (rng.permutation(clusters.count) % MAX_BLOCKS)[clusters.code]
    counts = np.empty((resamples, blocks))
    step = max(1, 1_000_000 // blocks)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        drawn = rng.integers(0, blocks, size=(rows, blocks), dtype=np.uint16).astype(np.intp)
        drawn += np.arange(rows)[:, None] * blocks
        tally = np.bincount(drawn.ravel(), minlength=rows * blocks)
        counts[first : first + rows] = tally.reshape(rows, blocks)
    return Resampling(clusters, block, counts)


def _sums(code: IntArray, values: FloatArray, count: int) -> FloatArray:
    if values.ndim == 1:
        return np.asarray(np.bincount(code, weights=values, minlength=count), dtype=np.float64)
    columns = [np.bincount(code, weights=column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1)


def _encode(names: npt.NDArray[np.generic]) -> tuple[IntArray, int]:
    if names.ndim != 1:
        raise BadInput(f"patients have the shape {names.shape}; expected one patient per case.")
    if names.dtype.kind in "iub":
        distinct, code = np.unique(names, return_inverse=True)
        return code.astype(np.intp, copy=False), len(distinct)
    listed = names.tolist()
    if any(_missing(name) for name in listed):
        raise BadInput("at least one case has no patient; give every case a patient identifier.")
    texts = [str(name) for name in listed]
    place = {name: i for i, name in enumerate(_in_order(texts))}
    return np.array([place[name] for name in texts], dtype=np.intp), len(place)


def _in_order(texts: Iterable[str]) -> list[str]:
    return sorted(set(texts))


def _missing(name: object) -> bool:
    return name is None or name == "" or name != name
