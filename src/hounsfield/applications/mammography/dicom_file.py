"""A picture of the phantom as a DICOM file: Digital Mammography X-Ray Image, For Presentation.

The modules are those of PS3.3 A.27 (Digital Mammography X-Ray Image IOD), the mammography
attributes those of C.8.11.7. Identifiers are UUID-derived (PS3.5 B.2, root 2.25) from the seed, so
that the same seed writes the same bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, RLELossless

from hounsfield.applications.mammography.acquisition import Scanner
from hounsfield.applications.mammography.cohort import Patient, Shot
from hounsfield.applications.phantom_files import NOTICE, describe_person, file_meta

__all__ = ["SOP_CLASS", "Identity", "dicom_bytes"]

SOP_CLASS = UID("1.2.840.10008.5.1.4.1.1.1.2")

_VIEW_CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}
# PS3.3 C.7.6.1.1.1: the directions of the rows and of the columns.
_ORIENTATIONS = {
    ("L", "CC"): ["A", "R"],
    ("R", "CC"): ["P", "L"],
    ("L", "MLO"): ["A", "FR"],
    ("R", "MLO"): ["P", "FL"],
}


@dataclass(frozen=True)
class Identity:
    """The identifiers of one image: its study, its series, itself, and its number (from 1)."""

    study_uid: UID
    series_uid: UID
    instance_uid: UID
    number: int


def dicom_bytes(
    pixels: npt.NDArray[np.uint16],
    *,
    patient: Patient,
    shot: Shot,
    scanner: Scanner,
    identity: Identity,
    inverted: bool = False,
    compressed: bool = False,
) -> bytes:
    """The whole file. `pixels` (H, W) are bright for dense tissue, whatever the file will store.

    `inverted` stores them as MONOCHROME1 (bright is low), `compressed` in RLE Lossless.

    >>> from hounsfield.applications.mammography.acquisition import SCANNERS
    >>> from hounsfield.applications.mammography.cohort import sample_patients
    >>> from hounsfield.applications.phantom_files import stable_uid
    >>> patient = sample_patients(patients=12, seed=0)[0]
    >>> identity = Identity(stable_uid("study"), stable_uid("series"), stable_uid("image"), 1)
    >>> data = dicom_bytes(np.zeros((4, 4), np.uint16), patient=patient, shot=patient.shots[0],
    ...     scanner=SCANNERS[patient.site], identity=identity)
    >>> data[128:132]
    b'DICM'
    """
    dataset = Dataset()
    dataset.file_meta = _file_meta(identity)
    _identify(dataset, patient, shot, scanner, identity)
    _describe_equipment(dataset, scanner)
    _describe_exposure(dataset, patient, shot, scanner)
    _describe_view(dataset, shot)
    _store_pixels(dataset, pixels, scanner, inverted=inverted)
    dataset.BurnedInAnnotation = "YES" if shot.marker else "NO"
    if compressed:
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _file_meta(identity: Identity) -> FileMetaDataset:
    meta = file_meta(SOP_CLASS)
    meta.MediaStorageSOPInstanceUID = identity.instance_uid
    return meta


def _identify(dataset: Dataset, patient: Patient, shot: Shot, scanner: Scanner, identity: Identity) -> None:
    day = patient.examined.strftime("%Y%m%d")
    clock = f"{8 + patient.number % 9:02d}{patient.number * 7 % 60:02d}{identity.number * 11:02d}"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = SOP_CLASS
    dataset.SOPInstanceUID = identity.instance_uid
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = day
    dataset.StudyTime = clock[:4] + "00"
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = clock
    dataset.AccessionNumber = f"PH{patient.number:06d}"
    dataset.Modality = "MG"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "PHANTOM MAMMOGRAPHY, FOUR VIEWS"
    dataset.SeriesDescription = f"{shot.laterality} {shot.view}"
    describe_person(dataset, number=patient.number, sex="F", age=patient.age)
    dataset.StudyInstanceUID = identity.study_uid
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.StudyID = f"{patient.number}"
    dataset.SeriesNumber = dataset.AcquisitionNumber = identity.number
    dataset.InstanceNumber = 1
    dataset.InstitutionName = scanner.institution
    dataset.ImageComments = NOTICE


def _describe_equipment(dataset: Dataset, scanner: Scanner) -> None:
    dataset.Manufacturer = scanner.manufacturer
    dataset.ManufacturerModelName = scanner.model
    dataset.StationName = scanner.station
    dataset.DeviceSerialNumber = scanner.serial
    dataset.SoftwareVersions = scanner.software
    dataset.DetectorType = scanner.detector
    dataset.DetectorConfiguration = "AREA"
    dataset.DetectorID = f"{scanner.serial}-D"
    dataset.ImagerPixelSpacing = [scanner.grid.spacing_mm, scanner.grid.spacing_mm]
    dataset.AnodeTargetMaterial = scanner.anode
    dataset.FilterMaterial = scanner.filter
    dataset.FilterType = "FLAT"
    dataset.FocalSpots = 0.3
    dataset.Grid = "RECIPROCATING"
    dataset.DistanceSourceToDetector = 660.0
    dataset.DistanceSourceToPatient = 640.0
    dataset.EstimatedRadiographicMagnificationFactor = 1.03


def _describe_exposure(dataset: Dataset, patient: Patient, shot: Shot, scanner: Scanner) -> None:
    thickness = shot.breast.thickness_mm
    charge_mas = round(35 + 1.6 * thickness)
    dataset.KVP = 26 + round((thickness - 32) / 7)
    dataset.ExposureTime = charge_mas * 10
    dataset.XRayTubeCurrent = 100
    dataset.Exposure = charge_mas
    dataset.ExposureControlMode = "AUTOMATIC"
    dataset.BodyPartThickness = round(thickness, 1)
    dataset.CompressionForce = patient.force_newton
    dataset.HalfValueLayer = 0.52 if scanner.anode == "TUNGSTEN" else 0.36
    dataset.OrganDose = round(0.00025 * thickness, 5)  # in dGy, PS3.3 C.4.16
    dataset.EntranceDoseInmGy = round(0.08 * thickness, 2)
    dataset.OrganExposed = "BREAST"


def _describe_view(dataset: Dataset, shot: Shot) -> None:
    value, meaning = _VIEW_CODES[shot.view]
    view = _code(value, meaning)
    view.ViewModifierCodeSequence = []
    oblique = 45.0 if shot.laterality == "R" else -45.0
    dataset.BodyPartExamined = "BREAST"
    dataset.ImageLaterality = shot.laterality
    dataset.ViewPosition = shot.view
    dataset.ViewCodeSequence = [view]
    dataset.AnatomicRegionSequence = [_code("76752008", "Breast")]
    dataset.PatientOrientation = _ORIENTATIONS[shot.laterality, shot.view]
    dataset.PositionerType = "MAMMOGRAPHIC"
    dataset.PositionerPrimaryAngle = 0.0 if shot.view == "CC" else oblique
    dataset.BreastImplantPresent = "NO"
    dataset.PartialView = "NO"
    dataset.AcquisitionContextSequence = []


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "SCT"
    item.CodeMeaning = meaning
    return item


def _store_pixels(
    dataset: Dataset, pixels: npt.NDArray[np.uint16], scanner: Scanner, *, inverted: bool
) -> None:
    stored = scanner.highest - pixels if inverted else pixels
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.DerivationDescription = "Simulated, logarithm, peripheral equalisation, tone curve"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = scanner.bits
    dataset.HighBit = scanner.bits - 1
    dataset.PixelRepresentation = 0
    # PS3.3 C.8.11.3.1.2: the sign is 1 where low values mean a weak beam, else -1.
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if inverted else -1
    dataset.RescaleIntercept = 0
    dataset.RescaleSlope = 1
    dataset.RescaleType = "US"
    dataset.WindowCenter = (scanner.highest + 1) // 2
    dataset.WindowWidth = scanner.highest + 1
    dataset.WindowCenterWidthExplanation = "FULL RANGE"
    dataset.VOILUTFunction = "LINEAR"
    dataset.LossyImageCompression = "00"
    dataset.QualityControlImage = "NO"
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
