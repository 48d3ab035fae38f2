"""Builders of small files for the tests of the readers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
WriteDicom = Callable[..., Dataset]


def dicom_of(pixels: NDArray[Any] | None, number: int, **elements: Any) -> Dataset:
    """A small valid object: (J, I) or (J, I, 3) pixels, explicit little endian, overridden by `elements`."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, f"1.2.3.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    made.PatientID, made.PatientName, made.Modality = "P1", "SECRET^NAME", "CT"
    made.InstanceNumber = number
    if pixels is not None:
        signed = pixels.dtype.kind == "i"
        bits = pixels.dtype.itemsize * 8
        made.Rows, made.Columns = pixels.shape[:2]
        made.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
        made.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
        if pixels.ndim == 3:
            made.PlanarConfiguration = 0
        made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
        made.PixelRepresentation = int(signed)
        made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
        made["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in elements.items():
        if value is None:
            if keyword in made:
                del made[keyword]
        else:
            setattr(made, keyword, value)
    return made


@pytest.fixture
def write_dicom() -> WriteDicom:
    """Write an object to a path and give it back; elements by keyword, None leaves one out."""
    numbers = itertools.count(1)

    def write(
        path: Path,
        pixels: NDArray[Any] | None,
        *,
        syntax: str = ExplicitVRLittleEndian,
        preamble: bool = True,
        **elements: Any,
    ) -> Dataset:
        made = dicom_of(pixels, next(numbers), **elements)
        path.parent.mkdir(parents=True, exist_ok=True)
        if preamble:
            made.file_meta = FileMetaDataset()
            made.file_meta.TransferSyntaxUID = syntax
            made.save_as(path, enforce_file_format=True)
        else:
            implicit = syntax == "1.2.840.10008.1.2"
            made.save_as(path, implicit_vr=implicit, little_endian=True)
        return made

    return write


@pytest.fixture
def write_stack(write_dicom: WriteDicom) -> Callable[..., list[Dataset]]:
    """Write one axial slice a position; slice n holds the value n everywhere."""

    def write(folder: Path, positions_mm: list[tuple[float, float, float]], **elements: Any) -> list[Dataset]:
        made = []
        for n, position in enumerate(positions_mm):
            given = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.5, 0.25], **elements}
            chosen = {k: v(n) if callable(v) else v for k, v in given.items()}
            pixels = np.full((3, 4), n, np.int16)
            made.append(
                write_dicom(folder / f"{n:02}.dcm", pixels, ImagePositionPatient=list(position), **chosen)
            )
        return made

    return write
