"""What of an image is to be seen, and the error where the image does not have it."""

from __future__ import annotations

from dataclasses import dataclass

from hounsfield.core.errors import BadInput

__all__ = ["View", "WrongView"]


class WrongView(BadInput):
    """The image can be shown, but not as it was asked for: another window, plane, frame or voxel is needed.

    >>> WrongView("frame 9 was asked for; the image holds 3, counted from 1").exit_code
    3
    """


@dataclass(frozen=True, slots=True)
class View:
    """Window, plane, one frame (from 1; 0 for a choice of them), and the voxel (i, j, k) planes run through.

    `window` is as in `steps.shade`; `plane` is axial, coronal, sagittal or all; `at` None is the middle.

    >>> View(window="lung").plane
    'all'
    """

    window: str = ""
    plane: str = "all"
    frame: int = 0
    at: tuple[int, int, int] | None = None
