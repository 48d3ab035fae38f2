"""Whether the headers of the images name people: which identifying attributes are filled, never with what."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hounsfield.core.evidence import Finding
from hounsfield.core.index import Index, Series
from hounsfield.io.source import Source

__all__ = ["DIRECT", "identity_finding"]

DIRECT = (
    "PatientName", "PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers", "OtherPatientNames",
    "PatientMotherBirthName", "OtherPatientIDs", "AccessionNumber", "ReferringPhysicianName",
    "PerformingPhysicianName", "OperatorsName", "InstitutionAddress",
)  # fmt: skip
"""Attributes that name a person or a visit directly (of those in DICOM PS3.15, table E.1-1)."""
MOST = 200
REPLACED = ("anonym", "removed", "phantom", "deidentified", "de-identified")


def identity_finding(index: Index) -> tuple[Finding, ...]:
    """A finding on the DICOM headers of up to 200 images, evenly chosen; none where no image is DICOM.

    A value that says only that it was replaced, or repeats the patient's opaque key, does not count.
    """
    dicom = [s for s in index.series if s.reader == "dicom"]
    if not dicom:
        return ()
    chosen = [
        dicom[k] for k in np.unique(np.linspace(0, len(dicom) - 1, min(MOST, len(dicom))).round().astype(int))
    ]
    filled: Counter[str] = Counter()
    private, read = 0, 0
    with Source(index.source) as source:
        for series in chosen:
            names, has_private = _filled(source, series)
            filled.update(names)
            private += has_private
            read += 1
    named = ", ".join(f"{name} in {count}" for name, count in filled.most_common(6))
    note = f"of {read} DICOM headers looked at, " + (
        f"identifying attributes are filled: {named}; de-identify the images before they leave the hospital"
        if filled
        else "none fills an attribute that names a person or a visit"
    )
    note += f"; {private} hold private attributes, which may" if private else ""
    return (
        Finding(
            "identity_in_tags", value=float(sum(filled.values())), n=read,
            level="warning" if filled else "info",
            method="attributes of PS3.15 table E.1-1 that name directly; values are not kept", note=note,
        ),
    )  # fmt: skip


def _filled(source: Source, series: Series) -> tuple[list[str], bool]:
    """Which attributes a header fills, and whether it holds private ones."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with source.open(series.files[0]) as stream:
            header = dcmread(stream, stop_before_pixels=True, specific_tags=None)
    except (OSError, InvalidDicomError, ValueError):
        return [], False
    names = [name for name in DIRECT if _tells(str(header.get(name) or ""), series.patient)]
    return names, any(element.tag.is_private for element in header)


def _tells(value: str, patient: str) -> bool:
    text = value.replace("^", " ").strip()
    return bool(text) and text != patient and not any(word in text.casefold() for word in REPLACED)
