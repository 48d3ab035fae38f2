"""DICOM segmentations and structure sets as masks: which series each was drawn on, and its segments or
contours as images of zeros and ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.io.catalogue import read_volume
from hounsfield.io.dicom.contour_volume import (
    closed_contours,
    contour_mask,
    series_drawn_on,
    structure_names,
)
from hounsfield.io.dicom.datasets import dataset_of
from hounsfield.io.source import Source

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["CONTOURS", "SEGMENTATION", "drawn_by_series", "mask_volume"]

Mask = tuple[str, Series]

SEGMENTATION = "dicom-segmentation"
CONTOURS = "dicom-contours"
"""The readers of a segment and of a structure's contours, in place of those that read images."""


def drawn_by_series(source: Source) -> dict[str, tuple[tuple[str, Series], ...]]:
    """The segments and contoured structures of a source, by the Series Instance UID that they refer to.

    Each is a pair of its name and an image that `mask_volume` reads. A series that segmentations refer to
    takes these, and no structure sets, which often hold the same again.
    """
    from hounsfield.io.dicom.header_table import header_table
    from hounsfield.io.dicom.reader import DicomReader
    from hounsfield.io.reader import HEAD_BYTES

    reader = DicomReader()
    members = [m for m in source.members if reader.claims(m, source.head(m, HEAD_BYTES))]
    if not members:
        return {}
    table = header_table(source, members)
    kinds = list(zip(table["file"].to_pylist(), table["modality"].to_pylist(), strict=True))
    segments = _by_series(source, [m for m, kind in kinds if kind == "SEG"], _segments)
    contours = _by_series(source, [m for m, kind in kinds if kind == "RTSTRUCT"], _structures)
    return contours | segments


def _by_series(
    source: Source, members: list[str], read: Callable[[str, int, Dataset], tuple[list[str], list[Mask]]]
) -> dict[str, tuple[Mask, ...]]:
    found: dict[str, list[Mask]] = defaultdict(list)
    for number, member in enumerate(members):
        referred, masks = read(member, number, dataset_of(source, member))
        for uid in referred:
            found[uid] += masks
    return {uid: tuple(held) for uid, held in found.items()}


def _segments(member: str, number: int, dataset: Dataset) -> tuple[list[str], list[Mask]]:
    referred = [str(item.SeriesInstanceUID) for item in dataset.get("ReferencedSeriesSequence") or ()]
    shape = (int(dataset.get("NumberOfFrames", 1)), int(dataset.Rows), int(dataset.Columns))
    masks = []
    for item in dataset.get("SegmentSequence") or ():
        segment = int(item.SegmentNumber)
        label = str(item.get("SegmentLabel", "")) or f"segment {segment}"
        key = f"segmentation-{number:05}-{segment}"
        masks.append((label, Series(key, (member,), SEGMENTATION, shape, position=segment)))
    return referred, masks


def _structures(member: str, number: int, dataset: Dataset) -> tuple[list[str], list[Mask]]:
    masks = [
        (name, Series(f"structures-{number:05}-{roi}", (member,), CONTOURS, (1, 1, 1), position=roi))
        for roi, name in structure_names(dataset).items()
    ]
    return series_drawn_on(dataset), masks


@lru_cache(maxsize=4)
def _contours_of(source: Source, member: str) -> dict[int, list[NDArray[np.float64]]]:
    """The contours of every structure of a set: a mask is asked for one structure after the other."""
    dataset = dataset_of(source, member)
    return {number: closed_contours(dataset, number) for number in structure_names(dataset)}


def mask_volume(source: Source, series: Series, image: Volume | None = None) -> Volume:
    """A mask as it lies in its file: an image's own numbers, or zeros and ones of a DICOM segment.

    Contours are drawn on the grid of `image`, on which they were drawn. Raises BadInput where the mask cannot
    be read.
    """
    if series.reader == CONTOURS:
        if image is None:
            raise TypeError("contours need the image that they were drawn on")
        drawn = contour_mask(_contours_of(source, series.files[0])[series.position], image)
        return Volume(drawn[None], image.affine, (), image.spacing_known)
    if series.reader != SEGMENTATION:
        return read_volume(source, series)
    from hounsfield.io.dicom.segment_volume import segmentation_volume

    volume, _ = segmentation_volume(dataset_of(source, series.files[0]))
    inside = (volume.data == series.position).astype(np.uint8)
    return Volume(inside, volume.affine, (), volume.spacing_known)
