"""Which DICOM objects are images, and in plain words why the others are not."""

from __future__ import annotations

__all__ = ["FLAT_MODALITIES", "fault_of_kind"]

# Projections, photographs and cine: a file is an image of its own even if others share its series.
FLAT_MODALITIES = {
    "MG", "DX", "CR", "RG", "RF", "XA", "US", "IVUS", "OP", "SC", "IO", "PX", "ES", "XC", "GM", "SM",
}  # fmt: skip

_NOT_IMAGES = {
    "SR": "Structured Report",
    "KO": "Key Object Selection",
    "PR": "Presentation State",
    "REG": "Registration",
    "RTPLAN": "Radiotherapy Plan",
    "RTSTRUCT": "Radiotherapy Structure Set",
    "RTRECORD": "Radiotherapy Treatment Record",
    "RTDOSE": "Radiotherapy Dose",
    "RWV": "Real World Value Mapping",
    "ECG": "Electrocardiogram",
    "ANN": "Annotations",
    "PLAN": "Plan",
    "DOC": "Encapsulated Document",
    "M3D": "Model for 3D printing",
    "FID": "Fiducials",
}
_DICOMDIR = "1.2.840.10008.1.3.10"
_SEGMENTATIONS = "1.2.840.10008.5.1.4.1.1.66."


def fault_of_kind(*, modality: str, sop_class: str, has_pixels: bool, has_rows: bool, frames: int) -> str:
    """Why the object is not an image that a network may see; "" if it is one.

    A segmentation holds pixels, but they are an answer and not an image (PS3.3 A.51); a dose grid
    and the tiles of a whole slide are no pictures of a patient either.

    >>> fault_of_kind(modality="SR", sop_class="", has_pixels=False, has_rows=False, frames=1)
    'no pixel data (Structured Report)'
    """
    name = _name(sop_class)
    if sop_class == _DICOMDIR:
        return "no pixel data (DICOMDIR, the table of contents of a disk)"
    if modality == "SEG" or (sop_class.startswith(_SEGMENTATIONS) and "Segment" in name):
        return "a segmentation (mask), not an image"
    if modality == "RTDOSE":
        return "a Radiotherapy Dose, not an image"
    if not has_pixels:
        kind = _NOT_IMAGES.get(modality) or name.removesuffix(" Storage")
        hint = "" if modality in _NOT_IMAGES or not has_rows else "; the file may be cut short"
        return f"no pixel data ({kind or 'unknown object'}){hint}"
    if modality == "SM" and frames > 1:
        return "a whole slide stored in tiles, which is not read; export a region as one image"
    return ""


def _name(uid: str) -> str:
    """The standard's name of a UID, "" if it has none."""
    from pydicom.uid import UID

    name = UID(uid).name if uid else ""
    return "" if name == uid else name
