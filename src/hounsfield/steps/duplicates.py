"""Find images that are the same picture: exactly, or but for recompression, rescaling and brightness.

A pair is near-duplicate when the 16×16 reductions correlate above .985 and the fine structure of the
64×64 reductions, the coarse shape taken out, correlates above .9. The first alone would call two
chests or two breasts alike because of their outline. `benchmarks/duplicates.py` measures how far true
copies (recompressed, rescaled, brightened, noisy) and other patients' images lie from these limits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.files import whole_file
from hounsfield.io.pixel_store import PixelStore

__all__ = ["COARSE_LIMIT", "FINE_LIMIT", "Fingerprints", "Pair", "duplicate_pairs", "fingerprints"]

COARSE_LIMIT = 0.985
FINE_LIMIT = 0.9
SMALL = 64
BLOCK = 2048


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Per image a digest of its pixels, and unit vectors of its coarse (N, 256) and fine (N, 4096) look."""

    ids: tuple[str, ...]
    digests: tuple[str, ...]
    coarse: NDArray[np.float32]
    fine: NDArray[np.float16]

    def digest(self) -> str:
        """A hash of every pixel of every image."""
        return hashlib.sha256("".join(self.digests).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write as .npz without pickling."""
        with whole_file(path) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                ids=np.array(self.ids, str),
                digests=np.array(self.digests, str),
                coarse=self.coarse,
                fine=self.fine,
            )

    @classmethod
    def load(cls, path: Path) -> Fingerprints:
        with np.load(path, allow_pickle=False) as z:
            return cls(tuple(z["ids"].tolist()), tuple(z["digests"].tolist()), z["coarse"], z["fine"])


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images (by id) that are the same picture; `exact` if every pixel is equal."""

    first: str
    second: str
    exact: bool


def fingerprints(store: PixelStore, ids: Sequence[str]) -> Fingerprints:
    """Fingerprints of images in the store; a volume is seen through its mean along k."""
    coarse = np.empty((len(ids), 256), np.float32)
    fine = np.empty((len(ids), 4096), np.float16)
    for row, key in enumerate(ids):
        coarse[row], fine[row] = _looks(store.image(key))
    return Fingerprints(tuple(ids), tuple(store.rows[k].digest for k in ids), coarse, fine)


def duplicate_pairs(a: Fingerprints, b: Fingerprints | None = None) -> tuple[Pair, ...]:
    """Pairs within `a`, or between `a` and `b`."""
    other = a if b is None else b
    pairs: list[Pair] = []
    for start in range(0, len(a.ids), BLOCK):
        block = a.coarse[start : start + BLOCK]
        rows, columns = np.nonzero(block @ other.coarse.T > COARSE_LIMIT)
        rows = rows + start
        keep = columns > rows if b is None else np.ones(len(rows), bool)
        for i, j in zip(rows[keep].tolist(), columns[keep].tolist(), strict=True):
            exact = a.digests[i] == other.digests[j]
            if exact or _agree(a.fine[i], other.fine[j]) > FINE_LIMIT:
                pairs.append(Pair(a.ids[i], other.ids[j], exact))
    return tuple(pairs)


def _agree(a: NDArray[np.float16], b: NDArray[np.float16]) -> float:
    return float(a.astype(np.float32) @ b.astype(np.float32))


def _looks(data: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    import cv2

    plane = np.ascontiguousarray(data.astype(np.float32).mean((0, 1)))
    low, high = np.percentile(plane[:: max(1, plane.shape[0] // 256)], (0.5, 99.5))
    plane = np.clip(plane, low, high) if high > low else plane
    coarse = cv2.resize(plane, (16, 16), interpolation=cv2.INTER_AREA)
    middle = cv2.resize(plane, (64, 64), interpolation=cv2.INTER_AREA)
    if min(plane.shape) < SMALL:
        fine = cv2.GaussianBlur(middle, (0, 0), 1.2) - cv2.GaussianBlur(middle, (0, 0), 4.0)
    else:
        # A body's outline is the strongest edge and says little of whose it is: even out the energy.
        fine = cv2.GaussianBlur(middle, (0, 0), 0.8) - cv2.GaussianBlur(middle, (0, 0), 2.0)
        energy = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 4.0))
        fine = fine / (energy + 0.05 * energy.max() + 1e-6)
    return _unit(coarse), _unit(fine)


def _unit(plane: NDArray[Any]) -> NDArray[np.float32]:
    vector = plane.reshape(-1).astype(np.float32)
    vector = vector - vector.mean()
    unit: NDArray[np.float32] = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return unit
