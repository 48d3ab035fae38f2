"""What was predicted for a case, on its image's own grid, and what was written of all cases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.io.dicom.sr_document import highdicom
from hounsfield.io.nifti_write import has_place
from hounsfield.tasks.detection import Candidates

__all__ = ["WRITES", "Ledger", "Located", "Outlined", "Written", "require_known"]

WRITES = ("nifti", "seg", "labelmap", "sr", "csv")
"""What can be written: masks as NIfTI, DICOM segmentations in two forms, DICOM reports, tables."""

_MOST_NOTES = 5


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A case by its opaque id, the series it was asked about, and that series' affine to LPS mm."""

    id: str
    series: Series
    affine: NDArray[np.float64]
    spacing_known: bool

    @property
    def file_stem(self) -> str:
        """The id as a name of a file."""
        return re.sub(r"[^\w.-]+", "-", self.id).strip(".") or "case"

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Along (k, j, i); ones where it is unknown."""
        return self.as_volume(np.zeros((1, 1, 1), np.uint8)).spacing_mm if self.spacing_known else (1.0,) * 3

    @property
    def has_place(self) -> bool:
        """True where the affine says where in the patient the image lies."""
        return has_place(self.as_volume(np.zeros((min(2, self.series.shape[0]), 1, 1), np.uint8)))

    def as_volume(self, labels: NDArray[Any]) -> Volume:
        """Labels (K, J, I) with the image's geometry."""
        return Volume(labels[None], self.affine, (), self.spacing_known)


@dataclass(frozen=True, slots=True, eq=False)
class Outlined(_Placed):
    """A case and its predicted labels (K, J, I), 0 for nothing, on the grid of its `series`."""

    labels: NDArray[Any]

    def __post_init__(self) -> None:
        if self.labels.shape != self.series.shape:
            raise BadInput(
                f"case {self.id}: a mask of {self.labels.shape} was predicted for an image of "
                f"{self.series.shape} voxels; expected the image's own grid"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Located(_Placed):
    """A case and the objects found in it, in voxels of its `series`."""

    found: Candidates


@dataclass(frozen=True, slots=True)
class Written:
    """How many files were written by kind (of WRITES), and in words what could not be written and why."""

    files: Mapping[str, int]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Ledger:
    """Counts while cases are written one by one; the only noun here that changes."""

    files: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def missed(self, case: _Placed, error: BadInput) -> None:
        """Count why a case's object was not written; cases that differ in their id alone are one reason."""
        text = str(error)
        for name in (case.id, case.series.id):
            text = text.replace(f"image {name}: ", "").replace(f"image {name}", "the image")
        self.reasons[text] += 1

    def told(self) -> Written:
        """The counts, and the most frequent reasons."""
        notes = [
            f"{n} case{'s' * (n != 1)} without a DICOM result: {reason}"
            for reason, n in self.reasons.most_common(_MOST_NOTES)
        ]
        return Written(dict(self.files), tuple(notes))


def require_known(write: Collection[str]) -> None:
    """Raise BadInput for a kind that cannot be written, and MissingDependency where "sr" lacks its package.

    >>> require_known(["nifti", "pdf"])
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: "pdf" was to be written; choose among nifti, seg, labelmap, sr, csv
    """
    unknown = [w for w in write if w not in WRITES]
    if unknown:
        raise BadInput(f'"{unknown[0]}" was to be written; choose among {", ".join(WRITES)}')
    if "sr" in write:
        highdicom()
