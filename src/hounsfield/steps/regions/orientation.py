"""Which way a volume's axes run, and the turn that brings another one's axes to run so.

A network that never saw mirrored anatomy must be shown none. Files differ: NIfTI of one series runs to the
right and forwards where its DICOM runs to the left and backwards, and a sagittal acquisition has its slices
from side to side. Codes name where columns, rows and slices (i, j, k) run to, in DICOM's letters: "LPS" is an
axial DICOM series, "RAS" the usual NIfTI file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["AS_STORED", "Turn", "codes_of", "most_common", "turn_to"]

_ENDS = (("R", "L"), ("A", "P"), ("I", "S"))


@dataclass(frozen=True, slots=True)
class Turn:
    """Axes (k, j, i) in another order, some of them backwards: axis a is the stored axis `order[a]`."""

    order: tuple[int, int, int] = (0, 1, 2)
    backwards: tuple[bool, bool, bool] = (False, False, False)

    def of(self, data: NDArray[Any]) -> NDArray[Any]:
        """An array (…, K, J, I) turned; a view.

        >>> Turn((2, 1, 0), (True, False, False)).of(np.arange(6).reshape(1, 2, 3)).ravel().tolist()
        [2, 5, 1, 4, 0, 3]
        """
        before = data.ndim - 3
        turned: NDArray[Any] = data.transpose(*range(before), *(before + o for o in self.order))
        return np.flip(turned, self._flipped(before))

    def undone(self, data: NDArray[Any]) -> NDArray[Any]:
        """The array (…, K, J, I) as it was before `of`; a view."""
        before = data.ndim - 3
        straight = np.flip(data, self._flipped(before))
        made: NDArray[Any] = straight.transpose(
            *range(before), *(before + int(o) for o in np.argsort(self.order))
        )
        return made

    def _flipped(self, before: int) -> tuple[int, ...]:
        return tuple(before + axis for axis in range(3) if self.backwards[axis])

    def three(self, values: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Three numbers along the stored axes (lengths, spacings) along the turned ones."""
        k, j, i = (values[o] for o in self.order)
        return k, j, i


AS_STORED = Turn()


def codes_of(affine: NDArray[np.float64]) -> str:
    """Where (i, j, k) run to, of an affine to LPS millimetres.

    >>> codes_of(np.eye(4)), codes_of(np.diag([-1.0, -1.0, 2.0, 1.0]))
    ('LPS', 'RAS')
    """
    known = _orientations()
    return "".join(known.ornt2axcodes(known.io_orientation(affine), _ENDS))


def most_common(affines: Iterable[NDArray[np.float64]]) -> str:
    """The codes of most of them; of as many, those that come first in the alphabet."""
    counted = Counter(codes_of(a) for a in affines)
    return min(counted, key=lambda codes: (-counted[codes], codes)) if counted else ""


def turn_to(affine: NDArray[np.float64], codes: str) -> Turn:
    """The turn after which a volume of this affine runs as `codes` say.

    >>> turn_to(np.eye(4), "RAS")
    Turn(order=(0, 1, 2), backwards=(False, True, True))
    """
    known = _orientations()
    have, want = known.io_orientation(affine), known.axcodes2ornt(codes, _ENDS)
    order, backwards = [0, 0, 0], [False, False, False]
    for axis, (world, way) in enumerate(want):
        own = int(np.flatnonzero(have[:, 0] == world)[0])
        order[2 - axis], backwards[2 - axis] = 2 - own, bool(have[own, 1] != way)
    return Turn((order[0], order[1], order[2]), (backwards[0], backwards[1], backwards[2]))


def _orientations() -> Any:
    """nibabel's, which takes its time to load."""
    import nibabel.orientations

    return nibabel.orientations
