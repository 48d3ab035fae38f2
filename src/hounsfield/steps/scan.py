"""Find every image under a source, and keep the reason for every file that was refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hounsfield.core.index import Index

__all__ = ["scan"]


def scan(
    source: Path | str,
    *,
    out: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Index:
    """Index a folder, zip or file of DICOM, NIfTI, PNG/JPEG/TIFF or .npz.

    With `out` a row for every object is written there as Parquet, and a later scan to the same place reads
    only what has changed. Raises BadInput where there is nothing that can be read, saying what was found.

    >>> scan("no-such-folder")
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: ...no-such-folder...
    """
    from hounsfield.io.catalogue import index_of

    return index_of(source, out=out, progress=progress)
