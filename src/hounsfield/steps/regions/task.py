"""What a task of places tells the making of patches: where to look, and what it wants of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from hounsfield.steps.regions.grid_store import GridStore

__all__ = ["HardPlaces", "RegionTask"]


@dataclass(frozen=True, slots=True, eq=False)
class HardPlaces:
    """N places: `row` (N,) numbers of cases, `centre` (N, 3) voxels (k, j, i) of their grids, `score`."""

    row: NDArray[np.int64]
    centre: NDArray[np.float64]
    score: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)

    def drawn(self, rng: np.random.Generator) -> tuple[int, NDArray[np.float64]]:
        """A case and a place in it, the likelier the more the network was mistaken."""
        n = int(np.searchsorted(np.cumsum(self.score), rng.random() * self.score.sum()))
        n = min(n, len(self) - 1)
        return int(self.row[n]), self.centre[n]


class RegionTask(Protocol):
    """Segmentation or detection, as `steps.regions.batches` sees it."""

    needs_labels: bool

    def hard(self, epoch: int) -> HardPlaces | None:
        """Places that patches of an epoch should show more often, None where there are none."""
        ...

    def centre(self, store: GridStore, case: str, rng: np.random.Generator) -> NDArray[np.float64] | None:
        """A voxel (3,) of something marked in the case, None where there is nothing."""
        ...

    def wanted(
        self,
        store: GridStore,
        cases: Sequence[str],
        labels: NDArray[np.uint8] | None,
        matrices: NDArray[np.float64],
    ) -> tuple[Tensor, ...]:
        """What the loss is given of patches: their labels (n, …), or marks of the case under `matrices`."""
        ...
