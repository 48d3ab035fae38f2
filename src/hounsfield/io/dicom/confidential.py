"""Which elements may be shown to anybody: what the Basic Application Confidentiality Profile would leave.

PS3.15 Table E.1-1 lists what identifies; new text elements are added to it every year. So the rule here is
turned round where it can be: numbers and codes are shown unless the table names them; names, dates, free
text and addresses are hidden unless they are known to be technical. Sex and age alone are kept of the
patient, as the profile's option "Retain Patient Characteristics" does. UIDs are shortened.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement

__all__ = ["hides", "hides_sequence", "legible", "short_uid", "uid_name", "value_of"]

Value = str | float | int | tuple[str | float | int, ...]
MOST_VALUES = 12

_NUMBERS = {"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"}
_BYTES = {"OB", "OW", "OF", "OD", "OL", "OV", "UN"}
_CODES = {"CS", "AS", "UI", "AT", "SQ"}
_PATIENT = {"PatientSex", "PatientAge", "PatientIdentityRemoved"}
# whole groups about the patient, the visit, the request and the people who made it
_PRIVATE_GROUPS = {0x0010, 0x0012, 0x0032, 0x0038, 0x4000, 0x4008, 0x4010, 0xFFFA}

# Text (SH, LO, ST, LT, UC, UT) that the equipment writes and that says nothing of a person.
_TECHNICAL = {
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel", "SequenceName",
    "FilterType", "ReceiveCoilName", "TransmitCoilName", "RescaleType", "WindowCenterWidthExplanation",
    "LUTExplanation", "ModalityLUTType", "ImagedNucleus", "CodeValue", "LongCodeValue",
    "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning", "SegmentLabel", "SegmentAlgorithmName",
    "LUTLabel", "AnodeTargetMaterial", "FilterMaterial", "GridAbsorbingMaterial", "CollimatorGridName",
    "ViewName", "PulseSequenceName", "MRAcquisitionFrequencyEncodingSteps", "ChannelLabel", "TransducerType",
    "ProcessingFunction", "ImplementationVersionName", "OpticalPathIdentifier", "DigitizerDeviceType",
    "DetectorType", "ReconstructionMethod", "ScatterCorrectionMethod", "AttenuationCorrectionMethod",
    "RandomsCorrectionMethod",
}  # fmt: skip
# Numbers and codes that the table names, and sequences whose items are about people or places.
_NAMED = {
    "ResponsiblePersonRole", "BarcodeValue", "TimezoneOffsetFromUTC",
    "CountryOfResidence", "PersonIdentificationCodeSequence",
    "PhysiciansOfRecordIdentificationSequence", "PerformingPhysicianIdentificationSequence",
    "PhysiciansReadingStudyIdentificationSequence", "OperatorIdentificationSequence",
    "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianIdentificationSequence",
    "InstitutionCodeSequence", "InstitutionalDepartmentTypeCodeSequence", "RequestAttributesSequence",
    "OriginalAttributesSequence", "ModifiedAttributesSequence", "ReferencedPatientSequence",
    "OtherPatientIDsSequence", "IssuerOfPatientIDQualifiersSequence", "IssuerOfAccessionNumberSequence",
    "VerifyingObserverSequence", "AuthorObserverSequence", "ParticipantSequence",
    "ContentCreatorIdentificationCodeSequence", "CustodialOrganizationSequence",
    "EncryptedAttributesSequence", "DigitalSignaturesSequence", "MACParametersSequence", "IconImageSequence",
    "PerformedProcedureCodeSequence", "ReferencedRequestSequence", "AcquisitionContextSequence",
    "AdmittingDiagnosesCodeSequence", "ReasonForStudy", "RequestedProcedureCodeSequence",
    "ScheduledProtocolCodeSequence", "ReasonForPerformedProcedureCodeSequence",
    "InterpretationDiagnosisCodeSequence",
}  # fmt: skip
_UID_OF_STANDARD = "1.2.840.10008."
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{0,16}")
_AGE = re.compile(r"\d{3}[DWMY]")


def hides(element: DataElement) -> bool:
    """True for an element whose value may tell who the patient, the staff or the site is.

    >>> from pydicom.dataset import Dataset
    >>> d = Dataset(); d.PatientName, d.PatientSex, d.KVP, d.StudyDate = "A^B", "F", 120, "20200101"
    >>> [e.keyword for e in d if hides(e)]
    ['StudyDate', 'PatientName']
    """
    if element.keyword in _PATIENT or (element.tag.group == 0x0002 and element.VR == "UI"):
        return False
    if element.tag.group in _PRIVATE_GROUPS or not element.keyword or element.keyword in _NAMED:
        return True
    if element.keyword in _TECHNICAL:
        return False
    return str(element.VR) not in _NUMBERS | _BYTES | _CODES


def hides_sequence(element: DataElement) -> bool:
    """True for a sequence that must not even be opened."""
    return element.VR == "SQ" and hides(element)


def value_of(element: DataElement, *, identity: bool = False) -> Value:
    """An element's value as plain text or numbers, safe to print; UIDs shortened unless `identity`.

    Long lists are cut; bytes and sequences say how long they are. A code or a number that is none is not
    repeated, because it may be a name in the wrong place.
    """
    kind, value = str(element.VR), element.value
    if kind == "SQ":
        items = len(value or ())
        return f"{items} item{'s' * (items != 1)}"
    if kind in _BYTES and isinstance(value, bytes):
        return f"{len(value):,} bytes".replace(",", " ")
    several = not isinstance(value, str | bytes) and hasattr(value, "__len__") and kind != "PN"
    values = [_one(kind, v, identity=identity) for v in (value if several else (value,))]
    if not several or len(values) == 1:
        return values[0] if values else ""
    cut = tuple(values[:MOST_VALUES])
    return cut if len(cut) == len(values) else (*cut, f"… {len(values)} values")


def _one(kind: str, value: Any, *, identity: bool) -> str | float | int:
    if value is None or value == "":
        return ""
    if kind in _NUMBERS:
        return _number(value)
    text = legible(str(value))
    if kind == "UI":
        return uid_name(text) or (text if identity else short_uid(text))
    if identity or kind not in ("CS", "AS"):
        return text
    fits = _AGE.fullmatch(text) if kind == "AS" else _CODE_STRING.fullmatch(text)
    return text if fits else f"(not a code: {len(text)} characters)"


def _number(value: Any) -> str | float | int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "(not a number)"
    if not math.isfinite(number):
        return "(not a finite number)"
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def uid_name(uid: str) -> str:
    """The standard's own name of a UID, "" where it is somebody's object."""
    from pydicom.uid import UID

    if not uid.startswith(_UID_OF_STANDARD):
        return ""
    name = UID(uid).name
    return uid if name == uid else name


def short_uid(uid: str) -> str:
    """The last four figures of a UID: enough to tell objects of one study apart, too few to find them.

    >>> short_uid("1.2.276.0.7230010.3.1.4.8323329.5576")
    '…5576'
    """
    return f"…{uid[-4:]}" if len(uid) > 4 else uid


def legible(text: str) -> str:
    """Text on one line, without the control characters by which a file could steer a terminal.

    >>> legible("a\\x1b[31m b\\r\\nc")
    'a[31m b c'
    """
    return " ".join("".join(c if c.isprintable() or c.isspace() else "" for c in text).split())
