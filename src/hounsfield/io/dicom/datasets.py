"""A DICOM file as pydicom reads it, however damaged: bounded by the file's length, and silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from hounsfield.io.dicom.elements import Elements, silence_pydicom
from hounsfield.io.source import Source

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["Bounded", "dataset_of", "read_header"]


class Bounded:
    """A file of known size: no read asks for more than is left, whatever length an element claims.

    >>> import io
    >>> Bounded(io.BytesIO(b"abc"), 3).read(1 << 32)
    b'abc'
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size
        self.tell, self.seek = file.tell, file.seek

    def read(self, n: int = -1) -> bytes:
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if n < 0 else min(n, left))


def dataset_of(
    source: Source,
    member: str,
    *,
    before_pixels: bool = False,
    keywords: Sequence[str] | Sequence[int] = (),
) -> FileDataset:
    """All elements of a file, or those before the pixels, or those named by keyword or tag.

    Raises BadInput where the file cannot be opened, one of `elements.faults()` where it is malformed.
    """
    from pydicom import dcmread
    from pydicom.tag import Tag

    silence_pydicom()
    size = source.size(member)
    with source.open(member) as file:
        return dcmread(
            cast(BinaryIO, Bounded(file, size)),
            force=True,
            stop_before_pixels=before_pixels,
            specific_tags=[Tag(keyword) for keyword in keywords] or None,
        )


def read_header(source: Source, member: str, *, keywords: Sequence[str] | Sequence[int] = ()) -> Elements:
    """The elements before the pixels, to be asked by keyword; raises as `dataset_of` does."""
    return Elements(dataset_of(source, member, before_pixels=True, keywords=keywords))
