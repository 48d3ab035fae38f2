"""What is given of a patient: a T1-weighted scan of a day, with what its header says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume

__all__ = ["BrainVisit"]


@dataclass(frozen=True)
class BrainVisit:
    """A T1-weighted scan and its day; `flair` is another image of that day, if there is one.

    `scanner` is any name that two visits share only if they were scanned by one machine, `contrast` true if
    the header names a contrast agent, `rescan` true for a second scan of one day. `t1` may be missing where
    only lesions are wanted.
    """

    t1: Volume | None
    day: date | None
    scanner: str = ""
    contrast: bool = False
    flair: Volume | None = None
    rescan: bool = False

    def __post_init__(self) -> None:
        if self.t1 is None and self.flair is None:
            raise BadInput("a visit without an image was given; expected a T1-weighted scan")
        for image in (self.t1, self.flair):
            if image is not None:
                _refuse_unfit(image)


def _refuse_unfit(image: Volume) -> None:
    if image.channels != 1 or min(image.data.shape[1:]) < 8:
        raise BadInput(
            f"an image of shape {image.data.shape} was given as a scan of a brain; expected one channel and "
            "at least 8 voxels along every axis"
        )
    if not image.spacing_known:
        raise BadInput(
            "a scan without known voxel sizes was given; volumes need millimetres; give DICOM or NIfTI "
            "with geometry"
        )
    if image.data.dtype.kind == "f" and not np.isfinite(image.data).all():
        raise BadInput("a scan holds values that are no numbers; expected finite ones; export it again")
    if abs(np.linalg.det(image.affine[:3, :3])) < 1e-6:
        raise BadInput(
            "a scan's axes run alike, so that voxels have no volume; correct the geometry in its header"
        )
