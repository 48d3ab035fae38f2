"""Builders of CT and MR series as DICOM files: planes, orders, tilt, echoes, times, multi-frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

__all__ = [
    "AXIAL",
    "CORONAL",
    "SAGITTAL",
    "enhanced",
    "oblique",
    "pattern",
    "positions_of",
    "slice_of",
    "write_enhanced",
    "write_series",
]

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
ENHANCED = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
NAME, NUMBER = "ZZTOPSECRET^NAME", "MRN99881"

Orientation = Sequence[float]
Elements = dict[str, Any]


def oblique(about_x_deg: float, about_z_deg: float, base: Orientation = AXIAL) -> tuple[float, ...]:
    """The orientation of a plane turned about two axes of the patient."""
    x, z = np.radians([about_x_deg, about_z_deg])
    turn_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    turn_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    turned = np.reshape(base, (2, 3)) @ (turn_z @ turn_x).T
    return tuple(np.round(turned.ravel(), 10).tolist())


def pattern(
    shape: tuple[int, ...], dtype: type[np.generic] = np.int16, *, salt: int = 0
) -> NDArray[np.generic]:
    """Values that differ from voxel to voxel, so that any flip or swap of axes shows."""
    count = int(np.prod(shape))
    values = (np.arange(count) * 7 + 13 * salt) % min(
        count * 8, 30011 if np.dtype(dtype).itemsize > 1 else 251
    )
    return (values.reshape(shape) - (200 if np.dtype(dtype).kind == "i" else 0)).astype(dtype)


def positions_of(
    slices: int,
    orientation: Orientation,
    *,
    step_mm: float,
    origin_mm: Sequence[float],
    tilt_deg: float = 0.0,
) -> NDArray[np.float64]:
    """(K, 3) LPS mm: slices stepped along their normal, and along their columns where a gantry was tilted."""
    i, j = np.reshape(orientation, (2, 3))
    step = step_mm * (np.cross(i, j) + np.tan(np.radians(tilt_deg)) * j)
    return np.asarray(origin_mm, np.float64) + np.arange(slices)[:, None] * step


def slice_of(
    pixels: NDArray[Any], number: int, *, modality: str = "CT", series: int = 1, **more: Any
) -> Dataset:
    """One valid object of a slice (J, I) or (J, I, 3), with an identity that must show up nowhere."""
    made = Dataset()
    made.SOPClassUID = CT if modality == "CT" else MR
    made.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{series}.{number + 1}"
    made.StudyInstanceUID, made.FrameOfReferenceUID = (
        "1.2.826.0.1.3680043.8.498.9",
        "1.2.826.0.1.3680043.8.498.8",
    )
    made.SeriesInstanceUID, made.SeriesNumber = f"1.2.826.0.1.3680043.8.498.7.{series}", series
    made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = NAME, NUMBER, "19500101", "O"
    made.StudyDate, made.StudyTime, made.StudyID, made.AccessionNumber = "20200102", "101112", "1", NUMBER
    made.SeriesDescription, made.ProtocolName, made.InstitutionName = NAME, "protocol", "Clinic"
    made.Modality, made.Manufacturer, made.ManufacturerModelName = modality, "SIEMENS", "Maker"
    made.ImageType, made.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "HFS"
    made.InstanceNumber, made.AcquisitionNumber, made.SliceThickness = number + 1, 1, 2.0
    _add_pixels(made, pixels)
    if modality == "CT":
        made.KVP, made.RescaleSlope, made.RescaleIntercept = "120", "1", "-1024"
    else:
        made.ScanningSequence, made.SequenceVariant, made.ScanOptions = "SE", "NONE", ""
        made.MRAcquisitionType, made.RepetitionTime, made.EchoTime = "2D", "500", "10"
        made.MagneticFieldStrength, made.EchoNumbers, made.FlipAngle = "3", 1, "90"
    for keyword, value in more.items():
        if value is not None:
            setattr(made, keyword, value)
        elif keyword in made:
            del made[keyword]
    return made


def write_series(
    folder: Path,
    values: NDArray[Any],
    *,
    orientation: Orientation = AXIAL,
    origin_mm: Sequence[float] = (-30.0, -40.0, 55.0),
    spacing_mm: Sequence[float] = (2.0, 0.75, 0.75),
    tilt_deg: float = 0.0,
    descending: bool = False,
    each: Callable[[int], Elements] | None = None,
    start: int = 0,
    **more: Any,
) -> NDArray[np.float64]:
    """Write `values` (K, J, I[, 3]), a file a slice, slice 0 at the origin; their positions are given back.

    `descending` numbers the files from the last slice to the first. `each` adds elements to slice n.
    `start` is the number of the first file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    positions = positions_of(
        len(values), orientation, step_mm=spacing_mm[0], origin_mm=origin_mm, tilt_deg=tilt_deg
    )
    for n, (pixels, position) in enumerate(zip(values, positions, strict=True)):
        number = start + (len(values) - 1 - n if descending else n)
        given = {
            "ImagePositionPatient": [round(float(p), 8) for p in position],
            "ImageOrientationPatient": list(orientation),
            "PixelSpacing": list(spacing_mm[1:]),
            "SliceThickness": spacing_mm[0],
            **more,
            **(each(n) if each else {}),
        }
        if tilt_deg:
            given["GantryDetectorTilt"] = tilt_deg
        save(folder / f"{number:04}.dcm", slice_of(pixels, number, **given))
    return positions


def write_patients(
    folder: Path, count: int, values: NDArray[Any], orientation: Callable[[int], Orientation]
) -> None:
    """A series of the same values for each of `count` patients P0, P1, …, turned as `orientation` says."""
    for n in range(count):
        uid = f"1.2.826.0.1.3680043.9999.{n + 1}"
        write_series(
            folder / f"series_{n}",
            values,
            orientation=orientation(n),
            PatientID=f"P{n}",
            SeriesInstanceUID=uid,
            StudyInstanceUID=f"{uid}.1",
            each=lambda k, uid=uid: {"SOPInstanceUID": f"{uid}.2.{k}"},  # type: ignore[misc]
        )


def enhanced(
    values: NDArray[Any],
    positions_mm: NDArray[np.float64],
    *,
    modality: str = "MR",
    orientation: Orientation = AXIAL,
    spacing_mm: Sequence[float] = (2.0, 0.75, 0.75),
    rescale: Callable[[int], tuple[float, float]] | None = None,
    stack: Callable[[int], int] = lambda n: 1,
    temporal: Callable[[int], int] | None = None,
) -> Dataset:
    """An enhanced multi-frame object (PS3.3 A.36, A.38): frame n of `values` lies at row n of positions."""
    made = slice_of(values[0], 0, modality=modality, series=5)
    made.SOPClassUID = ENHANCED[modality]
    for keyword in ("RescaleSlope", "RescaleIntercept", "SliceThickness"):
        if keyword in made:
            del made[keyword]
    made.NumberOfFrames, made.ContentDate, made.ContentTime = len(values), "20200102", "101113"
    made.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    _add_pixels(made, values)
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(
        PixelSpacing=list(spacing_mm[1:]), SliceThickness=spacing_mm[0], SpacingBetweenSlices=spacing_mm[0]
    )
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=list(orientation))
    made.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for n, position in enumerate(positions_mm):
        frame, time = Dataset(), temporal(n) if temporal else 1
        index = [stack(n), time, n + 1] if temporal else [stack(n), n + 1]
        content: Elements = {
            "FrameAcquisitionNumber": 1,
            "StackID": str(stack(n)),
            "InStackPositionNumber": n + 1,
        }
        if temporal:
            content["TemporalPositionIndex"] = time
        frame.FrameContentSequence = _item(**content, DimensionIndexValues=index)
        frame.PlanePositionSequence = _item(ImagePositionPatient=[round(float(p), 8) for p in position])
        slope, intercept = rescale(n) if rescale else (1, -1024 if modality == "CT" else 0)
        frame.PixelValueTransformationSequence = _item(
            RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU" if modality == "CT" else "US"
        )
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = Items(frames)
    organisation = "1.2.826.0.1.3680043.8.498.6"
    made.DimensionOrganizationSequence = _item(DimensionOrganizationUID=organisation)
    pointers = [0x00209056, 0x00209128, 0x00209057] if temporal else [0x00209056, 0x00209057]
    made.DimensionIndexSequence = Items(
        [
            _item(
                DimensionOrganizationUID=organisation,
                DimensionIndexPointer=pointer,
                FunctionalGroupPointer=0x00209111,
            )[0]
            for pointer in pointers
        ]
    )
    return made


def write_enhanced(path: Path, values: NDArray[Any], positions_mm: NDArray[np.float64], **more: Any) -> None:
    """Write what `enhanced` makes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, enhanced(values, positions_mm, **more))


def save(path: Path, made: Dataset, *, syntax: str = ExplicitVRLittleEndian) -> None:
    """Write an object with preamble and file meta information."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.save_as(path, enforce_file_format=True)


def _add_pixels(made: Dataset, pixels: NDArray[Any]) -> None:
    """Pixels (J, I), (K, J, I) or with three colours last, and the elements that describe them."""
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    bits = pixels.dtype.itemsize * 8
    made.Rows, made.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    made["PixelData"].VR = "OB" if bits == 8 else "OW"


def _item(**elements: Any) -> Items:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return Items([made])
