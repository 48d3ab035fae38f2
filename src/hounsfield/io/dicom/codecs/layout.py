"""How the pixels of one file are laid out: what the header says about every frame (PS3.3 C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CodecFault", "Layout"]

_MOST_ALLOCATED = 64


class CodecFault(ValueError):
    """Why pixels cannot be decoded; the end of a sentence that is safe to show."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Size, type and colour model of the frames of a file.

    `floating` is "" for integers, "f4" or "f8" for (Double) Float Pixel Data. `words` is True where
    8-bit values lie in 16-bit words of a big-endian dataset (OW), and so come pairwise swapped.
    """

    syntax: str
    frames: int
    rows: int
    columns: int
    samples: int = 1
    bits_allocated: int = 16
    bits_stored: int = 16
    signed: bool = False
    photometric: str = "MONOCHROME2"
    planar: bool = False
    floating: str = ""
    big_endian: bool = False
    words: bool = False

    def __post_init__(self) -> None:
        if min(self.rows, self.columns, self.samples) < 1:
            raise CodecFault("is an image without its number of rows and columns; send it again")
        if self.samples not in (1, 3, 4):
            raise CodecFault(
                f"has {self.samples} samples per pixel, where 1 (grey) or 3 (colour) were expected"
            )
        allocated = self.bits_allocated
        if allocated != 1 and (
            allocated % 8 or not 0 < allocated <= _MOST_ALLOCATED or allocated in (24, 40, 48, 56)
        ):
            raise CodecFault(f"allocates {allocated} bits a value, where 1, 8, 16, 32 or 64 were expected")

    @property
    def values(self) -> int:
        """Values in one frame."""
        return self.rows * self.columns * self.samples

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the decoded values, in the byte order of this machine; one-bit values become uint8."""
        if self.floating:
            return np.dtype(self.floating)
        return np.dtype(f"{'i' if self.signed else 'u'}{(self.bits_allocated + 7) // 8}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one decoded frame."""
        return self.values * self.dtype.itemsize

    @property
    def native_bytes(self) -> int:
        """Bytes that all frames take uncompressed in the file, without padding.

        >>> Layout("", frames=3, rows=3, columns=3, bits_allocated=1).native_bytes
        4
        """
        if self.bits_allocated == 1:
            return (self.frames * self.values + 7) // 8
        bytes_ = self.frames * self.values * self.dtype.itemsize
        return bytes_ * 2 // 3 if self.subsampled else bytes_

    @property
    def subsampled(self) -> bool:
        """True for uncompressed colour that stores one pair of chroma values for two pixels."""
        return self.photometric == "YBR_FULL_422" and self.samples == 3
