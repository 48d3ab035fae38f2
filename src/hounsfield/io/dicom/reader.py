"""The DICOM reader: files, multi-frame objects and stacks of slices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.io.dicom.mosaic import tiles_of
from hounsfield.io.dicom.placed import Placed, digest_of, series_of
from hounsfield.io.dicom.stacks import images_of, placed_images
from hounsfield.io.reader import READERS, Found, Progress
from hounsfield.io.source import Source

__all__ = ["DicomReader"]

# A dataset without preamble: group 0002 or 0008, a low element, then a type or a short length.
_BARE_EXPLICIT = re.compile(rb"[\x02\x08]\x00.\x00(UL|UI|CS|DA|TM|DT|LO|SH|ST|PN|SQ|OB|UN|US)", re.DOTALL)
_BARE_IMPLICIT = re.compile(rb"[\x02\x08]\x00[\x00-\x90]\x00[\x00-\xff]\x00\x00\x00", re.DOTALL)
_BARE_BIG_ENDIAN = re.compile(rb"\x00[\x02\x08]\x00.(UL|UI|CS|DA|TM|DT|LO|SH|ST|PN|SQ|OB|UN|US)", re.DOTALL)


class DicomReader:
    """Reads DICOM files (PS3.10), also without preamble, and makes volumes of series of slices."""

    by_folder = False

    def claims(self, name: str, head: bytes) -> bool:
        """True for the mark "DICM" at byte 128, a name that ends in .dcm, or a bare dataset.

        >>> DicomReader().claims("IM1", bytes(128) + b"DICM")
        True
        """
        if head[128:132] == b"DICM" or name.casefold().endswith((".dcm", ".dicom")):
            return True
        return any(p.match(head) for p in (_BARE_EXPLICIT, _BARE_IMPLICIT, _BARE_BIG_ENDIAN))

    def headers(self, source: Source, members: Sequence[str], progress: Progress) -> Iterator[pa.RecordBatch]:
        """The headers of the members, a row a file in their order; a row says why a file cannot be used."""
        from hounsfield.io.dicom.header_table import header_batches  # compiles: imported when used

        return header_batches(source, members, progress=progress)

    def images(self, source: Source, table: pa.Table) -> Found:
        """Slices of one series put on each other; every other file is an image of its own."""
        return images_of(source, table)

    def read(self, source: Source, series: Series, *, dtype: type[np.float32] | None = None) -> Volume:
        """Decode a series: values as `stack_values` gives them, and the affine to LPS millimetres.

        The headers are read again and must make the same image. Raises BadInput where they do not, or
        where a file cannot be decoded.
        """
        from hounsfield.io.dicom.header_table import header_table  # compiles, as the next does
        from hounsfield.io.dicom.stack_values import stack_values

        table = header_table(source, series.files)
        objects = tuple(uid or "" for uid in table["sop_instance_uid"].to_pylist())
        if series.digest and digest_of(table) == series.digest:  # the same headers make the same image
            values = stack_values(source, table, dtype=dtype)
            return Volume(values, np.reshape(series.affine, (4, 4)), objects, spacing_known=True)
        placed = _checked(source, table, series)
        values = stack_values(source, table, frames=placed.frames, dtype=dtype)
        data = tiles_of(values, placed.tiles) if placed.tiles else values
        affine = np.eye(4) if placed.affine is None else placed.affine
        # the in-plane spacing of a cine is in the affine, but the step from frame to frame is not a length
        return Volume(data, affine, objects, spacing_known=bool(placed.spacing_mm))


def _checked(source: Source, table: pa.Table, series: Series) -> Placed:
    """Where the image lies, if its headers still make the same image as in the scan; else BadInput."""
    headers, found, refused = placed_images(source, table)
    if refused:
        raise BadInput(next(iter(refused.values())))
    everything = tuple(range(len(series.files)))
    same = [p for p in found if p.rows == everything and p.frames == series.frames]
    if len(same) != 1:
        raise BadInput("its slices have changed since the scan (place or order); scan again")
    _require_unchanged(series_of(source, headers, same)[0], series)
    return same[0]


def _require_unchanged(found: Series, expected: Series) -> None:
    """Raise BadInput unless the image is of the same object, size and spacing as in the scan."""
    for name in ("patient", "study", "series", "sop", "shape", "channels", "spacing_mm"):
        if getattr(found, name) != getattr(expected, name):
            raise BadInput(f"its slices have changed since the scan ({name.replace('_mm', '')}); scan again")


READERS.add("dicom", DicomReader())
