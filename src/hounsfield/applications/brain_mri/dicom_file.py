"""A visit of the phantom as a DICOM series: MR Image Storage, a file a slice (PS3.3 A.4, C.8.3.1).

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

from hounsfield.applications.brain_mri.cohort import Role
from hounsfield.applications.brain_mri.scan import Visit
from hounsfield.applications.phantom_files import NOTICE, describe_person, file_meta, stable_uid

__all__ = ["SOP_CLASS", "SeriesIdentity", "series_files"]

SOP_CLASS = UID("1.2.840.10008.5.1.4.1.1.4")


@dataclass(frozen=True)
class SeriesIdentity:
    """The identifiers of one visit's series; those of its images follow from `root` and their numbers."""

    root: str
    visit: int
    study_uid: UID
    series_uid: UID
    frame_uid: UID


def series_files(visit: Visit, *, role: Role, identity: SeriesIdentity) -> Iterator[bytes]:
    """Each slice's whole file, in the order of the slices."""
    dataset = Dataset()
    dataset.file_meta = file_meta(SOP_CLASS)
    _identify(dataset, visit, role, identity)
    _describe_scan(dataset, visit)
    _describe_pixels(dataset, visit)
    step = visit.affine[:3, 2]
    normal = step / np.linalg.norm(step)
    for k, values in enumerate(visit.image):
        uid = stable_uid(identity.root, role.number, identity.visit, k + 1)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
        dataset.InstanceNumber = k + 1
        place = visit.affine[:3, 3] + k * step
        dataset.ImagePositionPatient = [round(float(v), 4) for v in place]
        dataset.SliceLocation = round(float(place @ normal), 4)
        dataset.PixelData = values.astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        yield buffer.getvalue()


def _identify(dataset: Dataset, visit: Visit, role: Role, identity: SeriesIdentity) -> None:
    day = visit.day.strftime("%Y%m%d")
    minute = role.number * 7 % 60
    clock = f"{8 + role.number % 9:02d}{minute:02d}{30 if visit.rescan else 0:02d}"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = SOP_CLASS
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = day
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = clock
    dataset.AccessionNumber = f"PB{role.number:05d}{identity.visit:02d}"
    dataset.Modality = "MR"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "PHANTOM BRAIN MRI"
    dataset.SeriesDescription = visit.scanner.protocol
    describe_person(dataset, number=role.number, sex=role.sex, age=int(visit.age))
    dataset.StudyInstanceUID = identity.study_uid
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.FrameOfReferenceUID = identity.frame_uid
    dataset.PositionReferenceIndicator = ""
    dataset.StudyID = f"{role.number}-{identity.visit}"
    dataset.SeriesNumber = dataset.AcquisitionNumber = 1
    dataset.InstitutionName = visit.scanner.institution
    dataset.Manufacturer = visit.scanner.manufacturer
    dataset.ManufacturerModelName = visit.scanner.model
    dataset.StationName = visit.scanner.station
    dataset.DeviceSerialNumber = visit.scanner.serial
    dataset.SoftwareVersions = visit.scanner.software
    dataset.ImageComments = NOTICE


def _describe_scan(dataset: Dataset, visit: Visit) -> None:
    scanner = visit.scanner
    directions = visit.affine[:3, :3] / np.linalg.norm(visit.affine[:3, :3], axis=0)
    spacing = [round(float(v), 6) for v in np.linalg.norm(visit.affine[:3, :3], axis=0)]
    dataset.BodyPartExamined = "BRAIN"
    dataset.PatientPosition = "HFS"
    dataset.ProtocolName = scanner.protocol
    dataset.ScanningSequence = ["GR", "IR"]
    dataset.SequenceVariant = ["SP", "MP"]
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "3D"
    dataset.MagneticFieldStrength = scanner.field_tesla
    dataset.RepetitionTime = scanner.repetition_ms
    dataset.EchoTime = scanner.echo_ms
    dataset.InversionTime = scanner.inversion_ms
    dataset.FlipAngle = scanner.flip
    dataset.EchoTrainLength = 1
    dataset.NumberOfAverages = 1
    dataset.ImagedNucleus = "1H"
    dataset.SliceThickness = dataset.SpacingBetweenSlices = spacing[2]
    dataset.PixelSpacing = [spacing[1], spacing[0]]
    dataset.ImageOrientationPatient = [round(float(v), 6) + 0.0 for v in directions[:, :2].T.ravel()]


def _describe_pixels(dataset: Dataset, visit: Visit) -> None:
    dataset.ImageType = ["DERIVED", "PRIMARY", "M", "NORM"]
    dataset.DerivationDescription = "Simulated from a geometric model"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = visit.image.shape[1:]
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter = round(0.6 * visit.scanner.gain)
    dataset.WindowWidth = round(1.2 * visit.scanner.gain)
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
