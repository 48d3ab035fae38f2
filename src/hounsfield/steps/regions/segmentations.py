"""DICOM segmentations as masks: which series each was drawn on, its segments as images of zeros and ones."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.io.catalogue import read_volume
from hounsfield.io.dicom.datasets import dataset_of
from hounsfield.io.source import Source

__all__ = ["SEGMENTATION", "mask_volume", "segmentations_by_series"]

SEGMENTATION = "dicom-segmentation"
"""The reader of a segment, in place of those that read images."""


def segmentations_by_series(source: Source) -> dict[str, tuple[tuple[str, Series], ...]]:
    """The segments of every segmentation of a source, by the Series Instance UID that it refers to.

    A segment is a pair of its label and an image that `mask_volume` reads. What cannot be read is left out.
    """
    from hounsfield.io.dicom.header_table import header_table
    from hounsfield.io.dicom.reader import DicomReader
    from hounsfield.io.reader import HEAD_BYTES

    reader = DicomReader()
    members = [m for m in source.members if reader.claims(m, source.head(m, HEAD_BYTES))]
    if not members:
        return {}
    table = header_table(source, members)
    kinds = zip(table["file"].to_pylist(), table["modality"].to_pylist(), strict=True)
    found: dict[str, list[tuple[str, Series]]] = defaultdict(list)
    for number, member in enumerate(m for m, kind in kinds if kind == "SEG"):
        dataset = dataset_of(source, member)
        referred = [str(item.SeriesInstanceUID) for item in dataset.get("ReferencedSeriesSequence") or ()]
        shape = (int(dataset.get("NumberOfFrames", 1)), int(dataset.Rows), int(dataset.Columns))
        for item in dataset.get("SegmentSequence") or ():
            segment = int(item.SegmentNumber)
            label = str(item.get("SegmentLabel", "")) or f"segment {segment}"
            image = Series(
                f"segmentation-{number:05}-{segment}", (member,), SEGMENTATION, shape, position=segment
            )
            for uid in referred:
                found[uid].append((label, image))
    return {uid: tuple(held) for uid, held in found.items()}


def mask_volume(source: Source, series: Series) -> Volume:
    """A mask as it lies in its file: an image's own numbers, or zeros and ones of a DICOM segment.

    Raises BadInput where it cannot be read.
    """
    if series.reader != SEGMENTATION:
        return read_volume(source, series)
    from hounsfield.io.dicom.segment_volume import segmentation_volume

    volume, _ = segmentation_volume(dataset_of(source, series.files[0]))
    inside = (volume.data == series.position).astype(np.uint8)
    return Volume(inside, volume.affine, (), volume.spacing_known)
