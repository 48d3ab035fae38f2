"""Siemens mosaic: all slices of a volume as tiles of one picture, their number and direction private.

The number of tiles and the normal come from the CSA header, read by nibabel. The position that the
header gives is that of the whole mosaic's corner, as if it were one large slice, and is moved to the
corner of a tile (nibabel, "Siemens mosaic format"; dcm2niix does the same).
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.datasets import read_header
from hounsfield.io.dicom.elements import HeaderFault, faults
from hounsfield.io.dicom.geometry import affine_of, normal_of, usable
from hounsfield.io.dicom.headers import Headers
from hounsfield.io.dicom.placed import Placed
from hounsfield.io.source import Source

__all__ = ["faults_of_grids", "is_mosaic", "mosaic_of", "tiles_of"]

_TAGS = (0x00290010, 0x00290011, 0x00291010, 0x00291110, 0x00190010, 0x0019100A)
_MOST_TILES = 10_000
_GRID_SLICES = 0x00651050
_GRID = "a grid of slices in United Imaging's private way, which is not read; export single slices"
_GONE = (
    "a Siemens mosaic whose private header is gone, so the number and direction of its slices are unknown; "
    "export it with its private elements, or as single slices"
)


def is_mosaic(headers: Headers) -> NDArray[np.bool_]:
    """Rows whose ImageType says that the picture is a mosaic of slices."""
    codes, types = headers.codes("image_type")
    return np.isin(codes, [n for n, kind in enumerate(types) if "MOSAIC" in kind.upper().split("\\")])


def faults_of_grids(source: Source, headers: Headers) -> dict[int, str]:
    """Rows of United Imaging's grids: mosaics that only a private count tells from a slice (0065,1050).

    One file a series is asked, and only of that maker.
    """
    maker, makers = headers.codes("manufacturer")
    modality, modalities = headers.codes("modality")
    theirs = np.isin(maker, [n for n, m in enumerate(makers) if _is_united_imaging(m)])
    theirs &= np.isin(modality, [n for n, m in enumerate(modalities) if m.strip() == "MR"])
    theirs &= headers.whole("number_of_frames", 1) <= 1
    series, _ = headers.codes("series_instance_uid")
    found: dict[int, str] = {}
    for number in np.unique(series[theirs]):
        rows = np.flatnonzero(theirs & (series == number)).tolist()
        if _slices_of_grid(source, headers.members(rows[:1])[0]) > 1:
            found.update(dict.fromkeys(rows, _GRID))
    return found


def _is_united_imaging(maker: str) -> bool:
    return maker.strip().upper().startswith(("UIH", "UNITED IMAGING"))


def _slices_of_grid(source: Source, member: str) -> float:
    try:
        element = read_header(source, member, keywords=(_GRID_SLICES,)).dataset.get(_GRID_SLICES)
        written = b"" if element is None else element.value
        text = written.decode("ascii") if isinstance(written, bytes) else str(written)
        return float(text.strip("\0 ") or 1)
    except BadInput:
        return 1
    except faults():
        return 1


def mosaic_of(source: Source, headers: Headers, row: int) -> Placed:
    """The volume in one mosaic. Raises HeaderFault where its geometry is unknown or contradicts itself."""
    member = headers.members([row])[0]
    count, normal, b_value = _private(source, member)
    side = math.ceil(math.sqrt(count))
    rows, columns = (int(headers.whole(name, 0)[row]) for name in ("rows", "columns"))
    if rows % side or columns % side:
        raise HeaderFault(f"a mosaic of {side} x {side} tiles in {rows} x {columns} pixels; send it again")
    position = headers.vectors("image_position_patient")[row]
    orientation = headers.vectors("image_orientation_patient")[row]
    spacing, step = headers.spacing()[row], float(headers.numbers("spacing_between_slices")[row])
    known = np.isfinite([*position, *spacing, step]).all() and usable(orientation[None])[0] and step > 0
    if not known:
        raise HeaderFault(
            "a Siemens mosaic without position, spacing or distance of slices; export single slices"
        )
    shape = (count, rows // side, columns // side)
    shift = np.array([columns - shape[2], rows - shape[1]]) / 2 * spacing[::-1]
    corner = position + orientation[:3] * shift[0] + orientation[3:] * shift[1]
    upwards = normal_of(orientation)
    towards = float(upwards @ normal)
    if abs(abs(towards) - 1) > 0.01:
        raise HeaderFault(
            "a Siemens mosaic whose slice normal contradicts its orientation; export single slices"
        )
    if towards < 0:  # the last tile is the lowest
        corner = corner - upwards * step * (count - 1)
    return Placed(
        rows=(row,),
        shape=shape,
        spacing_mm=(step, *spacing.tolist()),
        affine=affine_of(corner, orientation, spacing, upwards * step),
        volume=b_value,
        stack="regular",
        tiles=-count if towards < 0 else count,
    )


def tiles_of(pixels: NDArray[Any], tiles: int) -> NDArray[Any]:
    """The slices (C, n, j, i) of mosaics (C, 1, J, I), from the last tile on if `tiles` is negative.

    >>> tiles_of(np.arange(16).reshape(1, 1, 4, 4), 3)[0, 1]
    array([[2, 3],
           [6, 7]])
    """
    count = abs(tiles)
    side = math.ceil(math.sqrt(count))
    channels, _, rows, columns = pixels.shape
    cut = pixels.reshape(channels, side, rows // side, side, columns // side).swapaxes(2, 3)
    slices = cut.reshape(channels, side * side, rows // side, columns // side)[:, :count]
    return np.ascontiguousarray(slices[:, ::-1] if tiles < 0 else slices)


def _private(source: Source, member: str) -> tuple[int, NDArray[np.float64], str]:
    """How many slices the mosaic holds, their normal, and the b-value in words ("" if it has none)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "highly experimental" is said of its image readers
        from nibabel.nicom import csareader

    try:
        found = read_header(source, member, keywords=_TAGS)
        csa = csareader.get_csa_header(found.dataset)  # type: ignore[no-untyped-call]
        count = csareader.get_n_mosaic(csa) if csa else 0  # type: ignore[no-untyped-call]
        normal = csareader.get_slice_normal(csa) if csa else None  # type: ignore[no-untyped-call]
        b_value = csareader.get_scalar(csa, "B_value") if csa else None  # type: ignore[no-untyped-call]
    except (BadInput, AssertionError, csareader.CSAError) as error:
        raise HeaderFault(_GONE) from error
    except faults() as error:
        raise HeaderFault(_GONE) from error
    if not count or normal is None or not 0 < count <= _MOST_TILES:
        raise HeaderFault(_GONE)
    words = "" if b_value is None else f"b-value {float(b_value):g}"
    return int(count), np.asarray(normal, np.float64), words
