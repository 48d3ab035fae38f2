"""Small DICOM objects for the tests of looking: slices, reports, segmentations, a name to hide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

SECRET = "ZZTOPSECRET"
SECRETS = (SECRET, "MRN99881", "19430217", "SAINT ELSEWHERE", "1.2.826.0.1.777.424242")
CT = "1.2.840.10008.5.1.4.1.1.2"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SR = "1.2.840.10008.5.1.4.1.1.88.33"
SC = "1.2.840.10008.5.1.4.1.1.7"


def plain(kind: str = CT, number: int = 1, **elements: Any) -> Dataset:
    """An object without pixels that names a patient in every usual place; `elements` by keyword."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = kind, f"1.2.826.0.1.777.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.826.0.1.777.424242", "1.2.826.0.1.777.424242.1"
    made.PatientName, made.PatientID, made.PatientBirthDate = f"{SECRET}^ANNA", "MRN99881", "19430217"
    made.OtherPatientIDs = "MRN99881"
    made.InstitutionName, made.ReferringPhysicianName = "SAINT ELSEWHERE", f"{SECRET}^DOCTOR"
    made.StudyDate, made.StudyDescription = "19430217", f"scan of {SECRET}"
    made.ImageComments, made.AccessionNumber = f"call {SECRET}", "MRN99881"
    made.PatientSex, made.PatientAge = "F", "061Y"
    made.Modality, made.InstanceNumber = "CT", number
    for keyword, value in elements.items():
        if value is None:
            if keyword in made:
                del made[keyword]
        else:
            setattr(made, keyword, value)
    return made


def image(pixels: NDArray[Any], kind: str = CT, number: int = 1, **elements: Any) -> Dataset:
    """An object of pixels (J, I), (J, I, 3) or (frames, J, I), overridden by `elements`."""
    made = plain(kind, number)
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    rows, columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    made.Rows, made.Columns, made.SamplesPerPixel = rows, columns, 3 if colour else 1
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        made.NumberOfFrames = len(pixels)
    bits = pixels.dtype.itemsize * 8
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    made["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in elements.items():
        if value is None:
            if keyword in made:
                del made[keyword]
        else:
            setattr(made, keyword, value)
    return made


def saved(made: Dataset, path: Path) -> Path:
    """Write an object as a file in explicit little endian."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def item(**elements: Any) -> Dataset:
    """An item of a sequence; a list of items becomes a sequence."""
    made = Dataset()
    for keyword, value in elements.items():
        setattr(
            made,
            keyword,
            Sequence(value) if isinstance(value, list) and value and isinstance(value[0], Dataset) else value,
        )
    return made


def code(meaning: str, value: str = "1") -> list[Dataset]:
    """A coded value as a sequence of one item."""
    return [item(CodeValue=value, CodingSchemeDesignator="99TEST", CodeMeaning=meaning)]


def ct_slice(values: NDArray[Any], z_mm: float, number: int, **elements: Any) -> Dataset:
    """An axial CT slice at a height, stored with an intercept of -1024, pixels of 2 mm by 1 mm."""
    given: dict[str, Any] = {
        "RescaleSlope": 1, "RescaleIntercept": -1024, "PixelSpacing": [2.0, 1.0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, z_mm],
    }  # fmt: skip
    return image((np.asarray(values, np.int64) + 1024).astype(np.uint16), CT, number, **(given | elements))


def ct_stack(folder: Path, heights_mm: list[float], **elements: Any) -> Path:
    """A folder of CT slices of 8×12 pixels, slice n of value 10 n."""
    for n, height in enumerate(heights_mm):
        made = ct_slice(np.full((8, 12), 10 * n), height, n + 1, **elements)
        saved(made, folder / f"slice{n:02}.dcm")
    return folder


def segmentation(masks: NDArray[np.uint8], referenced: list[str], number: int = 90) -> Dataset:
    """A binary segmentation of one segment "Liver": a mask (frames, J, I), a frame a referenced image."""
    made = image(masks, SEG, number, Modality="SEG", SegmentationType="BINARY", WindowCenter=None)
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = 0
    packed = np.packbits(masks.reshape(-1), bitorder="little").tobytes()
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    made["PixelData"].VR = "OB"
    made.SegmentSequence = Sequence(
        [
            item(
                SegmentNumber=1, SegmentLabel="Liver", SegmentAlgorithmType="MANUAL",
                SegmentedPropertyCategoryCodeSequence=code("Organ"),
                SegmentedPropertyTypeCodeSequence=code("Liver"),
            )
        ]
    )  # fmt: skip
    measures = item(PixelSpacing=[2.0, 1.0], SpacingBetweenSlices=5.0, SliceThickness=5.0)
    made.SharedFunctionalGroupsSequence = Sequence([item(PixelMeasuresSequence=[measures])])
    made.PerFrameFunctionalGroupsSequence = Sequence(
        [
            item(
                SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
                PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 5.0 * n])],
                DerivationImageSequence=[
                    item(SourceImageSequence=[item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=uid)])
                ],
            )
            for n, uid in enumerate(referenced)
        ]
    )
    made.ReferencedSeriesSequence = Sequence([item(SeriesInstanceUID="1.2.826.0.1.777.424242.1")])
    made.SeriesInstanceUID = "1.2.826.0.1.777.90"
    return made


def report() -> Dataset:
    """A measurement report: a diameter, a finding, and an item of every kind that names somebody."""
    made = plain(SR, 80, Modality="SR", ValueType="CONTAINER", SeriesInstanceUID="1.2.826.0.1.777.80")
    made.ConceptNameCodeSequence = Sequence(code("Imaging Measurement Report"))
    units = [item(CodeValue="mm", CodingSchemeDesignator="UCUM", CodeMeaning="millimeter")]
    made.ContentSequence = Sequence(
        [
            _content("PNAME", "Observer", PersonName=f"{SECRET}^DOCTOR"),
            _content("TEXT", "Comment", TextValue=f"seen by {SECRET}"),
            _content("DATE", "Study Date", Date="19430217"),
            _content("UIDREF", "Tracking", UID="1.2.826.0.1.777.424242"),
            _content(
                "CONTAINER", "Measurement Group",
                ContentSequence=[
                    _content("CODE", "Finding", ConceptCodeSequence=code("Nodule")),
                    _content(
                        "NUM", "Diameter",
                        MeasuredValueSequence=[item(NumericValue="12.5", MeasurementUnitsCodeSequence=units)],
                    ),
                    _content("NUM", "Volume"),
                    _content("SCOORD", "Region", GraphicType="POLYLINE", GraphicData=[1.0, 2, 3, 4, 5, 6]),
                ],
            ),
        ]
    )  # fmt: skip
    return made


def _content(kind: str, name: str, **elements: Any) -> Dataset:
    return item(ValueType=kind, RelationshipType="CONTAINS", ConceptNameCodeSequence=code(name), **elements)
