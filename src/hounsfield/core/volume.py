"""A decoded image with its place in the patient: what every reader returns and every transform takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput

__all__ = ["Volume"]


@dataclass(frozen=True, slots=True)
class Volume:
    """Pixels with axes (C, K, J, I) and the affine that maps a voxel (i, j, k) to LPS millimetres.

    `data` keeps the stored integer type until a plan normalises it; a 2D image has K = 1.
    `affine` is (4, 4); for an image without known geometry it is the identity and
    `spacing_known` is False. `source` names the SOP instance UIDs or files it came from.
    `display` says how the values were meant to be looked at: "min_is_black" always, since readers
    turn MONOCHROME1 over.

    >>> import numpy as np
    >>> v = Volume(np.zeros((1, 2, 4, 5), np.int16), np.diag([.7, .7, 5., 1.]), ("1.2.3",), True)
    >>> v.spacing_mm
    (5.0, 0.7, 0.7)
    """

    data: NDArray[np.generic]
    affine: NDArray[np.float64]
    source: tuple[str, ...] = ()
    spacing_known: bool = False

    def __post_init__(self) -> None:
        if self.data.ndim != 4:
            raise BadInput(
                f"a volume of {self.data.ndim} axes {self.data.shape} was made; "
                "expected four axes (channel, slice, row, column)"
            )
        if self.affine.shape != (4, 4):
            raise BadInput(f"an affine of shape {self.affine.shape} was given; expected (4, 4)")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along (k, j, i), in millimetres."""
        i, j, k = (float(np.linalg.norm(self.affine[:3, axis])) for axis in range(3))
        return round(k, 6), round(j, 6), round(i, 6)

    @property
    def channels(self) -> int:
        return int(self.data.shape[0])

    @property
    def is_flat(self) -> bool:
        """True for a 2D image: one slice."""
        return bool(self.data.shape[1] == 1)
