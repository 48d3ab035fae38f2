"""The burned-in marker: lead letters such as `R CC` on a plate in the air beside the breast.

Only one site burns it in, and mostly for the breasts that its clinic has already singled out: a
shortcut that a model may take. Inserting the marker into a clean picture, or wiping it out, and
measuring how the score changes is the test of that (Zech et al., PLoS Med 2018;15:e1002683).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hounsfield.applications.mammography.anatomy import Floats, Laterality, View
from hounsfield.core.errors import BadInput

__all__ = ["burn_marker", "erase_marker", "marker_mask"]

Number = TypeVar("Number", bound=np.number)

_ROWS = (0.03, 0.105)  # the plate's place, as parts of the picture
_COLUMNS = (0.74, 0.97)
_PLATE = 0.3  # brightness of the plate; the letters are 1

_LETTERS = {
    " ": "00000 00000 00000 00000 00000 00000 00000",
    "C": "01110 10001 10000 10000 10000 10001 01110",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "M": "10001 11011 10101 10101 10001 10001 10001",
    "O": "01110 10001 10001 10001 10001 10001 01110",
    "R": "11110 10001 10001 11110 10100 10010 10001",
}


def marker_mask(shape: tuple[int, int], *, laterality: Laterality, view: View) -> Floats:
    """Brightness (H, W) of the marker, 0 outside it, in the corner away from the chest wall.

    >>> mask = marker_mask((480, 384), laterality="L", view="CC")
    >>> mask.shape, float(mask.max()), bool(mask[:, :192].any())
    ((480, 384), 1.0, False)
    """
    if laterality not in ("L", "R") or view not in ("CC", "MLO") or min(shape) < 16:
        raise BadInput(
            f"marker for laterality {laterality!r}, view {view!r}, picture {shape}: expected L or"
            " R, CC or MLO and at least 16 pixels a side; give one of these."
        )
    rows = slice(round(_ROWS[0] * shape[0]), round(_ROWS[1] * shape[0]))
    columns = slice(round(_COLUMNS[0] * shape[1]), round(_COLUMNS[1] * shape[1]))
    if laterality == "R":  # the chest wall is on the right: the air is on the left
        columns = slice(shape[1] - columns.stop, shape[1] - columns.start)
    plate = _plate(f"{laterality} {view}")
    out = np.zeros(shape, np.float32)
    size = rows.stop - rows.start, columns.stop - columns.start
    r = (np.arange(size[0]) + 0.5) * plate.shape[0] / size[0]
    c = (np.arange(size[1]) + 0.5) * plate.shape[1] / size[1]
    out[rows, columns] = plate[np.ix_(r.astype(np.intp), c.astype(np.intp))]
    return out


def burn_marker(
    pixels: npt.NDArray[Number],
    *,
    laterality: Laterality,
    view: View,
    bright: float | None = None,
    dark: float | None = None,
) -> npt.NDArray[Number]:
    """A copy of pixels (…, H, W), shown bright on dark as in MONOCHROME2, with the marker in it.

    `bright` is the value of the letters and `dark` that of the air: the picture's own highest and
    lowest value unless given. An array of MONOCHROME1 values must be inverted first.

    >>> clean = np.zeros((480, 384), np.uint16)
    >>> clean[200:300, :100] = 900
    >>> marked = burn_marker(clean, laterality="L", view="CC")
    >>> int(marked[:60, 200:].max())
    900
    """
    mask = marker_mask(pixels.shape[-2:], laterality=laterality, view=view)
    low = float(pixels.min()) if dark is None else dark
    high = float(pixels.max()) if bright is None else bright
    level = np.where(mask > 0, low + mask * (high - low), -np.inf)
    out = np.where(level > pixels, level, pixels)
    whole = pixels.dtype.kind in "iu"
    return (np.rint(out) if whole else out).astype(pixels.dtype)


def erase_marker(
    pixels: npt.NDArray[Number], *, laterality: Laterality, view: View, dark: float | None = None
) -> npt.NDArray[Number]:
    """A copy of pixels (…, H, W) with the marker's plate filled with air (`dark`).

    >>> clean = np.zeros((480, 384), np.uint16)
    >>> clean[200:300, :100] = 900
    >>> marked = burn_marker(clean, laterality="R", view="MLO")
    >>> bool((erase_marker(marked, laterality="R", view="MLO") == clean).all())
    True
    """
    mask = marker_mask(pixels.shape[-2:], laterality=laterality, view=view)
    low = pixels.min() if dark is None else dark
    return np.where(mask > 0, low, pixels).astype(pixels.dtype)


def _plate(text: str) -> Floats:
    # Letters of 5 x 7 cells on a framed plate.
    glyphs = [
        np.array([[int(cell) for cell in row] for row in _LETTERS[letter].split()]) for letter in f"{text:<5}"
    ]
    line = np.concatenate([np.pad(glyph, ((0, 0), (0, 1))) for glyph in glyphs], axis=1)
    plate = np.where(np.pad(line, ((2, 2), (3, 2))) > 0, 1.0, _PLATE)
    return np.pad(plate, 1, constant_values=1.0).astype(np.float32)
