"""A photograph of the phantom as a DICOM file: Ophthalmic Photography 8 Bit Image (PS3.3 A.41, C.8.17).

Identifiers come from the seed (PS3.5 B.2, root 2.25), so that the same seed writes the same bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from hounsfield.applications.phantom_files import NOTICE, describe_person, file_meta
from hounsfield.applications.retinopathy.cameras import CAMERAS, Camera
from hounsfield.applications.retinopathy.cohort import Patient, Shot
from hounsfield.applications.retinopathy.photograph import Photograph

__all__ = ["SOP_CLASS", "Identity", "dicom_bytes"]

SOP_CLASS = UID("1.2.840.10008.5.1.4.1.1.77.1.5.1")


@dataclass(frozen=True)
class Identity:
    """The identifiers of one photograph: study, series, itself, clock, and its number (from 1)."""

    study_uid: UID
    series_uid: UID
    instance_uid: UID
    frame_uid: UID
    number: int


def dicom_bytes(photograph: Photograph, *, patient: Patient, shot: Shot, identity: Identity) -> bytes:
    """The whole file, uncompressed RGB."""
    camera = CAMERAS[patient.site]
    dataset = Dataset()
    dataset.file_meta = file_meta(SOP_CLASS)
    dataset.file_meta.MediaStorageSOPInstanceUID = identity.instance_uid
    _identify(dataset, patient, shot, camera, identity)
    _describe_eye(dataset, patient, shot, camera)
    _store_pixels(dataset, photograph.pixels, photograph.field.mm_a_pixel)
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _identify(dataset: Dataset, patient: Patient, shot: Shot, camera: Camera, identity: Identity) -> None:
    day = patient.examined.strftime("%Y%m%d")
    clock = f"{8 + patient.number % 9:02d}{patient.number * 7 % 60:02d}{identity.number * 17:02d}"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = SOP_CLASS
    dataset.SOPInstanceUID = identity.instance_uid
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = day
    dataset.StudyTime = clock[:4] + "00"
    dataset.SeriesTime = dataset.ContentTime = clock
    dataset.AcquisitionDateTime = day + clock
    dataset.AccessionNumber = f"PH{patient.number:06d}"
    dataset.Modality = "OP"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "PHANTOM FUNDUS PHOTOGRAPHY"
    dataset.SeriesDescription = f"{'OD' if shot.eye == 'R' else 'OS'} COLOUR"
    describe_person(dataset, number=patient.number, sex=patient.sex, age=patient.age)
    dataset.StudyInstanceUID = identity.study_uid
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.SynchronizationFrameOfReferenceUID = identity.frame_uid
    dataset.SynchronizationTrigger = "NO TRIGGER"
    dataset.AcquisitionTimeSynchronized = "N"
    dataset.StudyID = f"{patient.number}"
    dataset.SeriesNumber = identity.number
    dataset.InstanceNumber = 1
    dataset.InstitutionName = camera.institution
    dataset.Manufacturer = camera.manufacturer
    dataset.ManufacturerModelName = camera.model
    dataset.StationName = camera.station
    dataset.DeviceSerialNumber = camera.serial
    dataset.SoftwareVersions = camera.software
    dataset.ImageComments = NOTICE


def _describe_eye(dataset: Dataset, patient: Patient, shot: Shot, camera: Camera) -> None:
    dataset.BodyPartExamined = "EYE"
    dataset.ImageLaterality = shot.eye
    dataset.PatientOrientation = ["L", "F"]
    dataset.AnatomicRegionSequence = [_code("5665001", "Retina")]
    dataset.AcquisitionContextSequence = []
    dataset.PatientEyeMovementCommanded = "NO"
    dataset.HorizontalFieldOfView = camera.field_degrees
    dataset.RefractiveStateSequence = []
    dataset.EmmetropicMagnification = None
    dataset.IntraOcularPressure = None
    dataset.PupilDilated = "YES" if patient.site == "B" else "NO"
    dataset.MydriaticAgentSequence = [_mydriatic()] if patient.site == "B" else []
    dataset.DegreeOfDilation = None
    dataset.AcquisitionDeviceTypeCodeSequence = [_code("409898007", "Fundus Camera")]
    dataset.IlluminationTypeCodeSequence = []
    dataset.LightPathFilterTypeStackCodeSequence = []
    dataset.ImagePathFilterTypeStackCodeSequence = []
    dataset.LensesCodeSequence = []
    dataset.DetectorType = "CMOS"


def _mydriatic() -> Dataset:
    item = Dataset()
    item.MydriaticAgentCodeSequence = [_code("387526001", "Tropicamide")]
    item.MydriaticAgentConcentration = None
    item.MydriaticAgentConcentrationUnitsSequence = []
    return item


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "SCT"
    item.CodeMeaning = meaning
    return item


def _store_pixels(dataset: Dataset, pixels: npt.NDArray[np.uint8], mm_a_pixel: float) -> None:
    dataset.ImageType = ["DERIVED", "PRIMARY", "", "COLOR"]
    dataset.DerivationDescription = "Simulated from a geometric model"
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.PixelSpacing = [round(mm_a_pixel, 5), round(mm_a_pixel, 5)]  # nominal, on the retina
    dataset.NumberOfFrames = 1
    dataset.FrameIncrementPointer = Tag(0x0018, 0x1063)
    dataset.FrameTime = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    dataset["PixelData"].VR = "OB"
