"""What a DICOM header says of display: windows, lookup tables, inversion, padding, overlays, pixel shape.

Values to be displayed are those after the modality LUT and before any inversion: a window of a MONOCHROME1
image belongs to the values as they are stored, and only what is shown is turned over (PS3.3 C.11.2, C.11.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.confidential import legible
from hounsfield.io.dicom.elements import Elements, faults
from hounsfield.io.dicom.pixels import pixels_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

__all__ = [
    "Display",
    "HeaderWindow",
    "LookupTable",
    "display_of",
    "displayed_values",
    "overlay_of",
    "own_copy",
    "with_frames",
]


@dataclass(frozen=True, slots=True)
class HeaderWindow:
    """A window that the header gives: centre, width, function, and what it is good for in words."""

    centre: float
    width: float
    function: str
    explanation: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """A VOI lookup table: its entries, the value that the first belongs to, its depth in bits."""

    table: NDArray[np.uint16]
    first: int
    bits: int
    explanation: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Display:
    """How a frame wants to be shown. `padding` is the range of values that are no image, None if none.

    `stored_range` is what the stored bits can hold if they are 8 or fewer and not rescaled, else None.
    `overlays` counts graphic planes; `are_hu` is True where the values are Hounsfield units.
    `pixel_mm` is (between rows, between columns), () if unknown; `aspect` is height over width of a pixel.
    """

    windows: tuple[HeaderWindow, ...] = ()
    tables: tuple[LookupTable, ...] = ()
    inverted: bool = False
    padding: tuple[float, float] | None = None
    stored_range: tuple[float, float] | None = None
    overlays: int = 0
    are_hu: bool = False
    unit: str = ""
    pixel_mm: tuple[float, ...] = ()
    aspect: float = 1.0
    body_part: str = ""
    letters: tuple[str, str] = ("", "")


def display_of(dataset: Dataset, *, frame: int = 0) -> Display:
    """Read what the header says of showing a frame (from 0); a malformed part counts as absent."""
    found = Elements(dataset)
    shape, colours = _text(found, "PresentationLUTShape"), _text(found, "PhotometricInterpretation")
    slope, intercept, unit = _rescale(found, frame)
    voi = _group(found, "FrameVOILUTSequence", frame) or found
    spacing = _spacing(found, frame)
    return Display(
        windows=_windows(voi),
        tables=_tables(found),
        # in an image INVERSE goes with MONOCHROME1 and says the same, not the opposite (C.8.11.3.1.2)
        inverted=shape == "INVERSE" or colours == "MONOCHROME1",
        padding=_padding(found, slope, intercept),
        stored_range=_stored_range(found, slope, intercept),
        overlays=len(_overlay_groups(dataset)),
        are_hu=_are_hu(found, unit, frame),
        unit=unit,
        pixel_mm=spacing,
        aspect=_aspect(found, spacing),
        body_part=_text(found, "BodyPartExamined"),
        letters=_letters(found),
    )


def displayed_values(dataset: FileDataset, *, frames: tuple[int, ...] = ()) -> NDArray[Any]:
    """Values (C, K, J, I) after the modality LUT, MONOCHROME1 not turned over; `frames` () for all.

    A dose grid is scaled to Gy. Raises BadInput where the pixels cannot be decoded.
    """
    plain = with_frames(dataset, frames) if frames else own_copy(dataset)
    if _text(Elements(plain), "PhotometricInterpretation") == "MONOCHROME1":
        plain.add_new("PhotometricInterpretation", "CS", "MONOCHROME2")
    values = pixels_of(plain)
    if frames and values.shape[1] != len(frames):
        values = values[:, list(frames)]
    scaling = _numbers(Elements(dataset), "DoseGridScaling", 1)
    return values * np.float32(scaling[0]) if scaling else values


def own_copy(dataset: FileDataset) -> FileDataset:
    """A copy whose elements can be replaced by `add_new`; pydicom's own copy shares its dictionary.

    Not by assignment: that would change the element, which both still share.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset

    made = FileDataset("", {tag: dataset.get_item(tag) for tag in dataset.keys()})  # noqa: SIM118
    implicit, little = dataset.original_encoding
    made.set_original_encoding(implicit, little, dataset.original_character_set)
    made.file_meta = FileMetaDataset()
    made.file_meta.update(getattr(dataset, "file_meta", FileMetaDataset()))
    return made


def with_frames(dataset: FileDataset, frames: tuple[int, ...]) -> FileDataset:
    """A copy that holds only these frames where they can be cut out unread, else one that holds all.

    So sixteen tiles of a whole slide are decoded and not ten thousand.
    """
    from pydicom.encaps import encapsulate, get_frame

    plain = own_copy(dataset)
    found = Elements(dataset)
    count = max(1, found.whole("NumberOfFrames", 1))
    if count == 1 or "PixelData" not in dataset or max(frames) >= count or min(frames) < 0:
        return plain
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    data = dataset.PixelData
    try:
        if syntax is not None and syntax.is_encapsulated:
            parts = [get_frame(data, n, number_of_frames=count) for n in frames]
            plain.add_new("PixelData", "OB", encapsulate(parts))
            plain["PixelData"].is_undefined_length = True
        else:
            size = found.whole("Rows", 0) * found.whole("Columns", 0) * found.whole("SamplesPerPixel", 1)
            bits = size * found.whole("BitsAllocated", 8)
            subsampled = _text(found, "PhotometricInterpretation") == "YBR_FULL_422"
            length = bits // 8 * 2 // 3 if subsampled else bits // 8
            if bits % 8 or len(data) < length * count:
                return plain
            cut = b"".join(data[n * length : (n + 1) * length] for n in frames)
            plain.add_new("PixelData", dataset["PixelData"].VR, cut + b"\0" * (len(cut) % 2))
    except faults():
        return own_copy(dataset)
    plain.add_new("NumberOfFrames", "IS", len(frames))
    if "ExtendedOffsetTable" in plain:
        del plain.ExtendedOffsetTable
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if len(groups) == count:
        plain.add_new("PerFrameFunctionalGroupsSequence", "SQ", [groups[n] for n in frames])
    return plain


def overlay_of(dataset: Dataset, *, frame: int = 0) -> NDArray[np.bool_] | None:
    """The graphic overlays of a frame joined (J, I), None where there is none that can be read (C.9.2)."""
    shape = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    joined = np.zeros(shape, bool)
    for group in _overlay_groups(dataset):
        try:
            rows, columns = int(dataset[group, 0x10].value), int(dataset[group, 0x11].value)
            planes = int(dataset[group, 0x15].value) if (group, 0x15) in dataset else 1
            start = int(dataset[group, 0x51].value) if (group, 0x51) in dataset else 1
            top, left = (int(v) - 1 for v in dataset[group, 0x50].value)
            plane = frame - (start - 1) if planes > 1 else 0
            bits = np.unpackbits(np.frombuffer(dataset[group, 0x3000].value, np.uint8), bitorder="little")
            if not 0 <= plane < planes or rows < 1 or columns < 1:
                continue
            size = rows * columns
            mask = bits[plane * size : (plane + 1) * size].reshape(rows, columns).astype(bool)
        except faults():
            continue
        up, over = max(0, -top), max(0, -left)
        mask = mask[up:, over:][: max(0, shape[0] - max(0, top)), : max(0, shape[1] - max(0, left))]
        joined[max(0, top) : max(0, top) + mask.shape[0], max(0, left) : max(0, left) + mask.shape[1]] |= mask
    return joined if joined.any() else None


def _overlay_groups(dataset: Dataset) -> list[int]:
    return [g for g in range(0x6000, 0x6020, 2) if (g, 0x3000) in dataset and (g, 0x10) in dataset]


def _group(found: Elements, keyword: str, frame: int) -> Elements | None:
    """A functional group of a frame: shared, or its own (C.7.6.16)."""
    try:
        if shared := found.group("SharedFunctionalGroupsSequence", keyword):
            return shared
        frames = found.dataset.get("PerFrameFunctionalGroupsSequence") or ()
        return Elements(frames[frame]).group(keyword) if frame < len(frames) else None
    except faults():
        return None


def _windows(found: Elements) -> tuple[HeaderWindow, ...]:
    centres, widths = _all_numbers(found, "WindowCenter"), _all_numbers(found, "WindowWidth")
    function = _text(found, "VOILUTFunction") or "LINEAR"
    try:
        said = [legible(t) for t in found.texts("WindowCenterWidthExplanation")]
    except faults():
        said = []
    said += [""] * (len(centres) - len(said))
    return tuple(
        HeaderWindow(c, w, function, e) for c, w, e in zip(centres, widths, said, strict=False)
    )  # fmt: skip


def _tables(found: Elements) -> tuple[LookupTable, ...]:
    tables: list[LookupTable] = []
    signed = _whole(found, "PixelRepresentation", 0) == 1
    little = (
        not hasattr(found.dataset, "original_encoding") or found.dataset.original_encoding[1] is not False
    )
    for item in _items(found, "VOILUTSequence"):
        try:
            count, first, bits = (int(v) for v in item.dataset.LUTDescriptor)
            data = item.dataset.LUTData
            count, bits = count or 65536, bits if 1 <= bits <= 16 else 16
            if isinstance(data, bytes):
                wide = len(data) >= 2 * count
                data = np.frombuffer(data, ("<u2" if little else ">u2") if wide else np.uint8)
            table = np.asarray(data, np.int64)[:count].astype(np.uint16)
            if signed and first > 32767:  # written as US where the pixels are signed
                first -= 65536
            tables.append(LookupTable(table, first, bits, legible(item.text("LUTExplanation"))))
        except faults():
            continue
    return tuple(t for t in tables if t.table.size)


def _rescale(found: Elements, frame: int) -> tuple[float, float, str]:
    where = _group(found, "PixelValueTransformationSequence", frame) or found
    slope = _numbers(where, "RescaleSlope", 1) or (1.0,)
    intercept = _numbers(where, "RescaleIntercept", 1) or (0.0,)
    unit = _text(where, "RescaleType") or _text(found, "Units")
    if _text(found, "Modality") == "RTDOSE":
        unit = {"GY": "Gy"}.get(_text(found, "DoseUnits").upper(), "relative dose")
    return slope[0], intercept[0], unit


def _are_hu(found: Elements, unit: str, frame: int) -> bool:
    """CT values after a rescale whose type is HU or unsaid; a localizer's are not (C.8.2.1.1.2)."""
    if _text(found, "Modality") != "CT" or unit.upper() not in ("HU", ""):
        return False
    if unit.upper() != "HU" and "LOCALIZER" in found.texts("ImageType"):
        return False
    where = _group(found, "PixelValueTransformationSequence", frame) or found
    return bool(_numbers(where, "RescaleIntercept", 1)) and bool(_numbers(where, "RescaleSlope", 1))


def _padding(found: Elements, slope: float, intercept: float) -> tuple[float, float] | None:
    """PixelPaddingValue and its limit as values after the rescale (C.7.5.1.1.2), None if not usable."""
    first = _numbers(found, "PixelPaddingValue", 1)
    if not first or _items(found, "ModalityLUTSequence"):
        return None
    last = _numbers(found, "PixelPaddingRangeLimit", 1) or first
    bits, signed = _whole(found, "BitsStored", 16), _whole(found, "PixelRepresentation", 0) == 1
    least, largest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    low, high = min(first + last), max(first + last)
    if low < least or high > largest:
        return None
    ends = sorted((slope * low + intercept, slope * high + intercept))
    return ends[0], ends[1]


def _stored_range(found: Elements, slope: float, intercept: float) -> tuple[float, float] | None:
    bits = _whole(found, "BitsStored", 16)
    if bits > 8 or bits < 2 or (slope, intercept) != (1.0, 0.0) or _items(found, "ModalityLUTSequence"):
        return None
    signed = _whole(found, "PixelRepresentation", 0) == 1
    return (-float(1 << bits - 1), float((1 << bits - 1) - 1)) if signed else (0.0, float((1 << bits) - 1))


def _spacing(found: Elements, frame: int) -> tuple[float, ...]:
    measures = _group(found, "PixelMeasuresSequence", frame)
    for where, keyword in (
        (measures, "PixelSpacing"), (found, "PixelSpacing"), (found, "ImagerPixelSpacing"),
        (found, "NominalScannedPixelSpacing"),
    ):  # fmt: skip
        spacing = _numbers(where, keyword, 2) if where else ()
        if spacing and min(spacing) > 0:
            return spacing
    return ()


def _aspect(found: Elements, spacing: tuple[float, ...]) -> float:
    ratio = spacing or _numbers(found, "PixelAspectRatio", 2)
    aspect = ratio[0] / ratio[1] if ratio and min(ratio) > 0 else 1.0
    return aspect if 0.05 <= aspect <= 20 else 1.0


def _letters(found: Elements) -> tuple[str, str]:
    """PatientOrientation: towards what the rows and the columns of a projection run (C.7.6.1.1.1)."""
    try:
        said = [t for t in found.texts("PatientOrientation") if set(t) <= set("LRAPHF")]
    except faults():
        return "", ""
    return (said[0], said[1]) if len(said) == 2 else ("", "")


def _text(found: Elements, keyword: str) -> str:
    try:
        return legible(found.text(keyword))
    except faults():
        return ""


def _whole(found: Elements, keyword: str, default: int) -> int:
    try:
        return found.whole(keyword, default)
    except faults():
        return default


def _numbers(found: Elements, keyword: str, count: int) -> tuple[float, ...]:
    try:
        return found.numbers(keyword, count)
    except faults():
        return ()


def _all_numbers(found: Elements, keyword: str) -> list[float]:
    try:
        value = found.dataset.get(keyword)
        several = hasattr(value, "__len__") and not isinstance(value, str)
        return [float(v) for v in (value if several else (value,)) if v not in (None, "")]
    except faults():
        return []


def _items(found: Elements, keyword: str) -> list[Elements]:
    try:
        return found.items(keyword)
    except faults():
        return []
