"""The DICOM reader: files, multi-frame objects and stacks of slices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Refused, Series
from hounsfield.core.volume import Volume
from hounsfield.io.dicom.elements import Elements, faults, silence_pydicom
from hounsfield.io.dicom.geometry import affine_of, flat_affine, stacked
from hounsfield.io.dicom.headers import Header, header_of, read_header
from hounsfield.io.dicom.pixels import joined, pixels_of
from hounsfield.io.dicom.stacks import images_of, multi_frame_order
from hounsfield.io.reader import READERS, Progress
from hounsfield.io.source import Source

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["DicomReader"]

# A dataset without preamble: group 0002 or 0008, a low element, then a type or a short length.
_BARE_EXPLICIT = re.compile(rb"[\x02\x08]\x00.\x00(UL|UI|CS|DA|TM|DT|LO|SH|ST|PN|SQ|OB|UN|US)", re.DOTALL)
_BARE_IMPLICIT = re.compile(rb"[\x02\x08]\x00[\x00-\x90]\x00[\x00-\xff]\x00\x00\x00", re.DOTALL)
_BARE_BIG_ENDIAN = re.compile(rb"\x00[\x02\x08]\x00.(UL|UI|CS|DA|TM|DT|LO|SH|ST|PN|SQ|OB|UN|US)", re.DOTALL)


class DicomReader:
    """Reads DICOM files (PS3.10), also without preamble, and makes volumes of series of slices."""

    def claims(self, name: str, head: bytes) -> bool:
        """True for the mark "DICM" at byte 128, a name that ends in .dcm, or a bare dataset.

        >>> DicomReader().claims("IM1", bytes(128) + b"DICM")
        True
        """
        if head[128:132] == b"DICM" or name.casefold().endswith((".dcm", ".dicom")):
            return True
        return any(p.match(head) for p in (_BARE_EXPLICIT, _BARE_IMPLICIT, _BARE_BIG_ENDIAN))

    def scan(
        self, source: Source, members: Sequence[str], progress: Progress
    ) -> tuple[list[Series], list[Refused]]:
        """Read all headers, then put slices of one series on each other."""
        headers: list[Header] = []
        for n, member in enumerate(members, start=1):
            headers.append(read_header(source, member))
            progress(n, len(members))
        return images_of(headers)

    def read(self, source: Source, series: Series) -> Volume:
        """Decode a series: values as `pixels_of` gives them, and the affine to LPS millimetres.

        Raises BadInput where a file cannot be decoded or no longer fits the scan.
        """
        try:
            if len(series.files) == 1:
                return _one_file(source, series.files[0])
            return _stack(source, series)
        except faults() as error:
            raise BadInput(
                f"its DICOM elements do not follow the standard ({type(error).__name__}); send it again"
            ) from error


def _one_file(source: Source, member: str) -> Volume:
    dataset, header = _loaded(source, member)
    data = pixels_of(dataset)
    order = multi_frame_order(header)
    spacing = header.pixel_spacing_mm
    if order:
        if order.fault:
            raise BadInput(order.fault)
        affine = affine_of(header.planes[order.order[0]], spacing, order.step_mm)
        return Volume(np.ascontiguousarray(data[:, order.order]), affine, (header.image.sop,), True)
    frames = data.shape[1]
    if not spacing:
        return Volume(data, np.eye(4), (header.image.sop,), False)
    depth = header.image.spacing_mm[0] if frames == 1 else 1.0
    affine = flat_affine((depth, *spacing))
    if header.planes and frames == 1:
        affine = affine_of(header.planes[0], spacing, (header.planes[0].normal * depth).tolist())
    # the in-plane spacing of a cine is in the affine, but the step from frame to frame is not a length
    return Volume(data, affine, (header.image.sop,), spacing_known=frames == 1)


def _stack(source: Source, series: Series) -> Volume:
    headers: list[Header] = []
    slices = []
    for member in series.files:
        dataset, header = _loaded(source, member)
        if not header.planes or not header.pixel_spacing_mm:
            raise BadInput("a slice has lost its position since the scan; scan again")
        headers.append(header)
        slices.append(pixels_of(dataset))
    order = stacked([h.planes[0] for h in headers])
    if order.fault or order.order != tuple(range(len(headers))):
        raise BadInput(f"its slices have changed since the scan ({order.fault or 'order'}); scan again")
    if len({s.shape for s in slices}) > 1 or len({h.pixel_spacing_mm for h in headers}) > 1:
        raise BadInput("its slices differ in size or spacing; scan again")
    affine = affine_of(headers[0].planes[0], headers[0].pixel_spacing_mm, order.step_mm)
    return Volume(joined(slices), affine, tuple(h.image.sop for h in headers), True)


def _loaded(source: Source, member: str) -> tuple[FileDataset, Header]:
    from pydicom import dcmread

    silence_pydicom()
    with source.open(member) as file:
        dataset = dcmread(file, force=True)
    found = Elements(dataset)
    return dataset, header_of(found, member=member, pixels=None)


READERS.add("dicom", DicomReader())
