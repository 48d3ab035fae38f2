"""One DICOM header: what a scan must know of a file, and why it cannot be used if it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io.dicom.elements import (
    Elements,
    HeaderFault,
    PixelStart,
    age_in_years,
    faults,
    read_until_pixels,
)
from hounsfield.io.dicom.geometry import Plane, plane_of
from hounsfield.io.dicom.objects import FLAT_MODALITIES, fault_of_kind
from hounsfield.io.source import Source

__all__ = ["Header", "header_of", "read_header", "truncated"]

_PHOTOMETRICS = {
    "MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """The image as a Series of its own, its planes (one a frame, or none), and what separates it.

    `fault` says why the file cannot be used; `spoils` is True if a stack would miss it. `may_stack`
    is True for a slice of a series. `separators` tell apart slices that share a position.
    """

    image: Series
    planes: tuple[Plane, ...] = ()
    pixel_spacing_mm: tuple[float, ...] = ()
    fault: str = ""
    spoils: bool = False
    may_stack: bool = False
    separators: tuple[str, ...] = ()
    instance: int = 0


def read_header(source: Source, member: str) -> Header:
    """Read one header without its pixels; a file that cannot be used has a `fault`, nothing raises."""
    nothing = Series(member, (member,), "dicom", (0, 0, 0))
    try:
        size = source.size(member)
        with source.open(member) as file:
            dataset, pixels = read_until_pixels(file, size=size)
        if not len(dataset):
            return Header(nothing, fault="named as DICOM, but it is not; check the file")
        return header_of(Elements(dataset), member=member, pixels=pixels)
    except BadInput as error:
        return Header(nothing, fault=str(error))
    except HeaderFault as error:
        return Header(nothing, fault=f"a DICOM header that contradicts the standard: {error}")
    except faults() as error:
        kind = type(error).__name__
        return Header(nothing, fault=f"a DICOM header that does not follow the standard ({kind})")


def header_of(found: Elements, *, member: str, pixels: PixelStart | None) -> Header:
    """Build the header; `pixels` is None where there are none. Raises one of `faults()` if malformed."""
    image = _image(found, member)
    sop_class = found.text("SOPClassUID")
    fault = fault_of_kind(found, has_pixels=pixels is not None, sop_class=sop_class)
    spoils = "cut short" in fault
    if not fault and pixels:
        fault = _fault_of_pixels(found, image, pixels)
        spoils = bool(fault)
    planes = _planes(found, image.shape[0])
    spacing = _pixel_spacing(found)
    localizer = "LOCALIZER" in found.texts("ImageType")
    return Header(
        image=image,
        planes=planes,
        pixel_spacing_mm=spacing,
        fault=fault,
        spoils=spoils,
        may_stack=image.shape[0] == 1 and image.modality not in FLAT_MODALITIES and not localizer,
        separators=_separators(found),
        instance=found.whole("InstanceNumber", 0),
    )


def truncated(held: int, expected: int) -> str:
    """The sentence about a file that was cut short."""
    return f"holds {held} bytes of pixel data where {expected} were expected; send it again"


def _image(found: Elements, member: str) -> Series:
    frames = max(1, found.whole("NumberOfFrames", 1))
    palette = found.text("PhotometricInterpretation") == "PALETTE COLOR"
    spacing = _pixel_spacing(found)
    thickness = found.numbers("SliceThickness", 1)
    depth = thickness[0] if thickness and thickness[0] > 0 else 1.0
    manufacturer, model = found.text("Manufacturer"), found.text("ManufacturerModelName")
    patient, issuer = found.text("PatientID"), found.text("IssuerOfPatientID")
    return Series(
        id=member,
        files=(member,),
        reader="dicom",
        shape=(frames, found.whole("Rows", 0), found.whole("Columns", 0)),
        channels=3 if palette else found.whole("SamplesPerPixel", 1),
        bits=_bits(found),
        spacing_mm=(depth, *(round(s, 6) for s in spacing)) if spacing and frames == 1 else (),
        patient=f"{patient}^^^{issuer}" if patient and issuer else patient,
        study=found.text("StudyInstanceUID"),
        series=found.text("SeriesInstanceUID"),
        sop=found.text("SOPInstanceUID"),
        modality=found.text("Modality"),
        body_part=found.text("BodyPartExamined").upper(),
        laterality=_laterality(found),
        view=found.text("ViewPosition").upper(),
        sex=s if (s := found.text("PatientSex").upper()) in ("F", "M", "O") else "",
        age_years=age_in_years(*map(found.text, ("PatientAge", "PatientBirthDate", "StudyDate"))),
        site=found.text("InstitutionName"),
        scanner=model if model.casefold().startswith(manufacturer.casefold()) else f"{manufacturer} {model}",
        study_date=found.text("StudyDate"),
        photometric=found.text("PhotometricInterpretation"),
    )


def _bits_allocated(found: Elements) -> int:
    return found.whole("BitsAllocated", 8)


def _bits(found: Elements) -> int:
    """Bits of the values that `read` gives before any rescale: of the palette or the modality LUT if any."""
    descriptor: tuple[float, ...] = ()
    if found.text("PhotometricInterpretation") == "PALETTE COLOR":
        descriptor = found.numbers("RedPaletteColorLookupTableDescriptor", 3)
    elif lookup := found.group("ModalityLUTSequence"):
        descriptor = lookup.numbers("LUTDescriptor", 3)
    return int(descriptor[2]) if descriptor else found.whole("BitsStored", _bits_allocated(found))


def _laterality(found: Elements) -> str:
    side = found.text("ImageLaterality") or found.text("Laterality")
    if not side and (group := found.group("SharedFunctionalGroupsSequence", "FrameAnatomySequence")):
        side = group.text("FrameLaterality")
    return side.upper() if side.upper() in ("L", "R", "B", "U") else ""


def _pixel_spacing(found: Elements) -> tuple[float, ...]:
    """(between rows, between columns) in mm, () if unknown; at the detector where only that is known."""
    measures = [g.numbers("PixelSpacing", 2) for g in _frame_groups(found, "PixelMeasuresSequence")]
    if measures:
        if len(set(measures)) > 1:
            raise HeaderFault("its frames have different pixel spacings")
        return _positive(measures[0])
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if spacing := _positive(found.numbers(keyword, 2)):
            return spacing
    return ()


def _positive(spacing: tuple[float, ...]) -> tuple[float, ...]:
    return spacing if spacing and min(spacing) > 0 else ()


def _frame_groups(found: Elements, keyword: str) -> list[Elements]:
    """A functional group of every frame, or once if all frames share it; [] if absent (C.7.6.16)."""
    if shared := found.group("SharedFunctionalGroupsSequence", keyword):
        return [shared]
    frames = found.items("PerFrameFunctionalGroupsSequence")
    groups = [group for frame in frames if (group := frame.group(keyword))]
    if groups and len(groups) != len(frames):
        raise HeaderFault(f"only {len(groups)} of {len(frames)} frames have a {keyword}")
    return groups


def _planes(found: Elements, frames: int) -> tuple[Plane, ...]:
    """One plane a frame, or () where the place is unknown or not one of the patient."""
    positions = [g.numbers("ImagePositionPatient", 3) for g in _frame_groups(found, "PlanePositionSequence")]
    turns = [
        g.numbers("ImageOrientationPatient", 6) for g in _frame_groups(found, "PlaneOrientationSequence")
    ]
    if not positions and frames == 1:
        positions = [found.numbers("ImagePositionPatient", 3)]
        turns = turns or [found.numbers("ImageOrientationPatient", 6)]
    turns = turns * frames if len(turns) == 1 else turns
    if len(positions) != frames or len(turns) != frames:
        return ()
    planes = [plane_of(p, t) for p, t in zip(positions, turns, strict=True)]
    return tuple(p for p in planes if p) if all(planes) else ()


def _separators(found: Elements) -> tuple[str, ...]:
    names = (
        "EchoNumbers EchoTime TemporalPositionIdentifier DiffusionBValue TriggerTime AcquisitionNumber "
        "AcquisitionTime ImageType"
    )
    return tuple(found.text(name) for name in names.split())


def _fault_of_pixels(found: Elements, image: Series, pixels: PixelStart) -> str:
    frames, rows, columns = image.shape
    samples, bits = found.whole("SamplesPerPixel", 1), _bits_allocated(found)
    if not (rows and columns):
        return "a DICOM image without its number of rows and columns; send it again"
    if samples not in (1, 3):
        return f"{samples} samples per pixel, where 1 (grey) or 3 (colour) were expected"
    if image.photometric not in _PHOTOMETRICS:
        return f'the colour model "{image.photometric[:20]}" is not read; convert the image to RGB or grey'
    syntax = str(found.dataset.file_meta.get("TransferSyntaxUID", ""))
    open_ended = pixels.declared < 0  # as compressed pixel data are (PS3.5 A.4)
    fault = fault_of_syntax(syntax) if syntax or open_ended else ""
    if not fault and not pixels.closed:
        fault = "compressed pixel data that break off; the file was cut short, send it again"
    if fault or open_ended:
        return fault
    expected = (frames * rows * columns * samples * bits + 7) // 8
    if image.photometric == "YBR_FULL_422":
        expected = expected * 2 // 3
    held = min(pixels.declared, pixels.available)
    return truncated(held, expected) if held < expected else ""


@cache
def fault_of_syntax(syntax: str) -> str:
    """Why pixels stored in this transfer syntax cannot be decoded here; "" if they can."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    if not syntax:
        return "compressed pixel data without a transfer syntax that says how; send it again"
    name = UID(syntax).name
    try:
        decoder = get_decoder(UID(syntax))
    except NotImplementedError:
        return f'pixel data stored as "{name}", which is not read; export it uncompressed'
    if not decoder.is_available:
        return f'pixel data stored as "{name}", for which no decoder is installed; export it uncompressed'
    return ""
