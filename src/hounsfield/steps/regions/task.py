"""What a task of places tells the making of patches: where to look, and what it wants of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from hounsfield.steps.regions.grid_store import GridStore

__all__ = ["RegionTask"]


class RegionTask(Protocol):
    """Segmentation or detection, as `steps.regions.batches` sees it."""

    needs_labels: bool

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
