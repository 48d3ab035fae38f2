"""A DICOM header for people: its elements by standard name, in groups, identity hidden unless asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hounsfield.io.dicom.confidential import Value, hides, uid_name, value_of
from hounsfield.io.dicom.elements import faults, silence_pydicom

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

__all__ = ["GROUPS", "Description", "Line", "describe", "kind_of"]

GROUPS = ("Patient", "Study", "Series", "Image", "Acquisition", "Geometry", "Pixels", "Display", "Other")


@dataclass(frozen=True, slots=True)
class Line:
    """One element: its standard name, its keyword, and its value; `where` is "frame 1" or ""."""

    name: str
    keyword: str
    value: Value
    where: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """What a header says, by group; the names of what was hidden; how many private elements there are."""

    kind: str
    groups: dict[str, tuple[Line, ...]]
    hidden: tuple[str, ...] = ()
    private: int = 0


def describe(dataset: Dataset, *, identity: bool = False) -> Description:
    """Describe a header; of an enhanced object also what all frames share, and the first frame's own.

    >>> from pydicom.dataset import Dataset
    >>> d = Dataset(); d.Modality, d.PatientName, d.PatientSex = "MR", "A^B", "F"
    >>> found = describe(d)
    >>> [line.value for line in found.groups["Patient"]], found.hidden
    (['F'], ("Patient's Name",))
    """
    silence_pydicom()
    groups: dict[str, list[Line]] = {name: [] for name in GROUPS}
    hidden: list[str] = []
    private = 0
    for element, where in _elements(dataset):
        if element is None or element.tag.is_private:
            private += 1
        elif hides(element) and not identity:
            if not where and element.value not in (None, ""):
                hidden.append(element.name)
        elif line := _line(element, where, identity=identity):
            groups[_group(element)].append(line)
    shown = {name: tuple(dict.fromkeys(lines)) for name, lines in groups.items() if lines}
    return Description(kind_of(dataset), shown, tuple(dict.fromkeys(hidden)), private)


def kind_of(dataset: Dataset) -> str:
    """What the object is, in the standard's words: "CT Image", "Segmentation", or "DICOM object"."""
    try:
        uid = str(dataset.get("SOPClassUID") or "")
    except faults():
        uid = ""
    name = uid_name(uid)
    # newer than pydicom's dictionary (PS3.6 Table A-1, Supplement 243)
    newer = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation"}
    name = newer.get(uid, "" if name == uid else name)
    return name.replace(" Storage", "") or "DICOM object"


def _elements(dataset: Dataset) -> Iterator[tuple[DataElement | None, str]]:
    """All elements of the header: its own, its files', those shared by the frames, those of frame 1."""
    yield from ((e, "") for e in _readable(getattr(dataset, "file_meta", None)) if e and _is_syntax(e))
    yield from ((e, "") for e in _readable(dataset))
    for keyword, where in (
        ("SharedFunctionalGroupsSequence", "all frames"),
        ("PerFrameFunctionalGroupsSequence", "frame 1"),
    ):
        try:
            first = (dataset.get(keyword) or [None])[0]
        except faults():
            continue
        for macro in _readable(first):
            if macro is None or macro.VR != "SQ" or macro.tag.is_private:
                continue
            for item in list(macro.value or ())[:1]:
                yield from ((e, where) for e in _readable(item) if e is not None)


def _is_syntax(element: DataElement) -> bool:
    return element.keyword == "TransferSyntaxUID"


def _readable(dataset: Any) -> Iterator[DataElement | None]:
    """The elements in order; None for one whose value cannot be read at all."""
    for tag in sorted(dataset.keys()) if dataset is not None else ():
        try:
            yield dataset[tag]
        except faults():
            yield None


def _line(element: DataElement, where: str, *, identity: bool) -> Line | None:
    try:
        value = value_of(element, identity=identity)
    except faults():
        value = "(cannot be read)"
    if value in ("", ()):
        return None
    return Line(element.name, element.keyword or str(element.tag), value, where)


_STUDY = {
    "StudyDate", "StudyTime", "StudyInstanceUID", "StudyID", "AccessionNumber", "ReferringPhysicianName",
    "StudyDescription",
}  # fmt: skip
_SERIES = {
    "Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDate", "SeriesTime", "SeriesDescription",
    "Manufacturer", "ManufacturerModelName", "InstitutionName", "InstitutionAddress", "StationName",
    "ProtocolName", "BodyPartExamined", "PatientPosition", "Laterality", "SoftwareVersions",
    "DeviceSerialNumber", "ConversionType", "PresentationIntentType", "OperatorsName",
    "PerformingPhysicianName", "InstitutionalDepartmentName",
}  # fmt: skip
_GEOMETRY = {
    "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "PositionReferenceIndicator",
    "SliceLocation", "SliceThickness", "SpacingBetweenSlices", "PixelSpacing", "ImagerPixelSpacing",
    "NominalScannedPixelSpacing", "PixelAspectRatio", "PatientOrientation", "GantryDetectorTilt",
    "TableHeight", "ReconstructionDiameter", "GridFrameOffsetVector", "TotalPixelMatrixColumns",
    "TotalPixelMatrixRows", "ImageOrientationSlide", "ImagedVolumeWidth", "ImagedVolumeHeight",
    "ImagedVolumeDepth", "PixelSpacingCalibrationType", "EstimatedRadiographicMagnificationFactor",
    "ImageLaterality", "ViewPosition", "FrameLaterality", "DimensionOrganizationType",
}  # fmt: skip
_DISPLAY = {
    "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction", "VOILUTSequence",
    "PresentationLUTShape", "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData", "RecommendedDisplayFrameRate",
    "CineRate", "PreferredPlaybackSequencing", "RecommendedViewingMode", "ICCProfile", "BurnedInAnnotation",
    "RecognizableVisualFeatures",
}  # fmt: skip


def _group(element: DataElement) -> str:
    keyword, group = element.keyword, element.tag.group
    for name, keywords in (
        ("Study", _STUDY), ("Series", _SERIES), ("Geometry", _GEOMETRY), ("Display", _DISPLAY),
    ):  # fmt: skip
        if keyword in keywords:
            return name
    if group in (0x0010, 0x0012):
        return "Patient"
    if group in (0x0032, 0x0038):
        return "Study"
    if 0x6000 <= group <= 0x60FF:
        return "Display"
    if group in (0x0028, 0x7FE0, 0x0002) or keyword == "RescaleType":
        return "Pixels"
    if group in (0x0018, 0x0054, 0x0014) or keyword.startswith("Acquisition"):
        return "Acquisition"
    return "Image" if group in (0x0008, 0x0020) else "Other"
