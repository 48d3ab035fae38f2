"""A scan of the phantom as a DICOM series: CT Image Storage, a file a slice (PS3.3 A.3, C.8.2.1).

Identifiers come from the seed (PS3.5 B.2, root 2.25), so that the same seed writes the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID

from hounsfield.applications.chest_ct.cohort import Role
from hounsfield.applications.chest_ct.scan import Scan
from hounsfield.applications.chest_ct.scanners import Scanner
from hounsfield.applications.phantom_files import NOTICE, describe_person, file_meta, stable_uid

__all__ = ["SOP_CLASS", "SeriesIdentity", "series_files"]

SOP_CLASS = UID("1.2.840.10008.5.1.4.1.1.2")
_OFFSET = 1024  # of HU stored as unsigned numbers


@dataclass(frozen=True)
class SeriesIdentity:
    """The identifiers of one series; those of its images follow from `root`, its visit and their number."""

    root: str
    study_uid: UID
    series_uid: UID
    frame_uid: UID
    visit: int = 1


def series_files(scan: Scan, *, role: Role, scanner: Scanner, identity: SeriesIdentity) -> Iterator[bytes]:
    """Each slice's whole file, from the head to the feet, as a scanner numbers them."""
    dataset = _common(scan, role, scanner, identity)
    values = scan.hu + np.int16(_OFFSET) if scanner.stored == "unsigned" else scan.hu
    slices = len(values)
    for number in range(1, slices + 1):
        k = slices - number
        uid = stable_uid(identity.root, role.number, identity.visit, number)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
        dataset.InstanceNumber = number
        place = scan.affine[:3, 3] + [0.0, 0.0, k * scan.affine[2, 2]]
        dataset.ImagePositionPatient = [round(float(v), 4) for v in place]
        dataset.SliceLocation = round(float(place[2]), 4)
        dataset.PixelData = values[k].astype("<u2" if scanner.stored == "unsigned" else "<i2").tobytes()
        dataset["PixelData"].VR = "OW"
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        yield buffer.getvalue()


def _common(scan: Scan, role: Role, scanner: Scanner, identity: SeriesIdentity) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = file_meta(SOP_CLASS)
    _identify(dataset, role, scanner, identity)
    _describe_scan(dataset, scan, scanner)
    _describe_pixels(dataset, scan, scanner)
    return dataset


def _identify(dataset: Dataset, role: Role, scanner: Scanner, identity: SeriesIdentity) -> None:
    day = role.examined.strftime("%Y%m%d")
    clock = f"{8 + role.number % 9:02d}{role.number * 7 % 60:02d}00"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = SOP_CLASS
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = day
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = clock
    again = "" if identity.visit == 1 else f"-{identity.visit}"
    dataset.AccessionNumber = f"PH{role.number:06d}{again}"
    dataset.Modality = "CT"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "PHANTOM CHEST CT"
    dataset.SeriesDescription = f"CHEST {scanner.slice_mm:.1f} {scanner.kernel.name}"
    describe_person(dataset, number=role.number, sex=role.sex, age=role.age)
    dataset.StudyInstanceUID = identity.study_uid
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.FrameOfReferenceUID = identity.frame_uid
    dataset.PositionReferenceIndicator = ""
    dataset.StudyID = f"{role.number}{again}"
    dataset.SeriesNumber = dataset.AcquisitionNumber = 1
    dataset.InstitutionName = scanner.institution
    dataset.Manufacturer = scanner.manufacturer
    dataset.ManufacturerModelName = scanner.model
    dataset.StationName = scanner.station
    dataset.DeviceSerialNumber = scanner.serial
    dataset.SoftwareVersions = scanner.software
    dataset.ImageComments = NOTICE


def _describe_scan(dataset: Dataset, scan: Scan, scanner: Scanner) -> None:
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.ScanOptions = "HELICAL MODE"
    dataset.KVP = scanner.kvp
    dataset.Exposure = scanner.mas
    dataset.ExposureTime = 500
    dataset.XRayTubeCurrent = scanner.mas * 2
    dataset.ConvolutionKernel = scanner.kernel.name
    dataset.SliceThickness = scanner.slice_mm
    dataset.SpacingBetweenSlices = scanner.slice_mm
    dataset.GantryDetectorTilt = 0.0
    dataset.ReconstructionDiameter = round(float(scan.affine[0, 0]) * scanner.matrix, 3)
    dataset.PixelSpacing = [float(scan.affine[1, 1]), float(scan.affine[0, 0])]
    dataset.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def _describe_pixels(dataset: Dataset, scan: Scan, scanner: Scanner) -> None:
    unsigned = scanner.stored == "unsigned"
    dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    dataset.DerivationDescription = "Simulated from a geometric model"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = scan.hu.shape[1:]
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12 if unsigned else 16
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0 if unsigned else 1
    dataset.RescaleIntercept = -_OFFSET if unsigned else 0
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    dataset.WindowCenter = [-600, 40]
    dataset.WindowWidth = [1500, 400]
    dataset.WindowCenterWidthExplanation = ["LUNG", "MEDIASTINUM"]
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
