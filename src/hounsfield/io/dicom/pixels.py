"""From the stored pixels of one DICOM file to the values they mean, axes (C, K, J, I).

Order of work: decode, mask to the stored bits, turn MONOCHROME1 over, modality LUT or rescale of
each frame, colour to RGB. Pixels equal to PixelPaddingValue are left as they are: like every other
pixel they are rescaled, so a plan that must ignore them can. `stack_values` does the same for all files
of a stack, from a header table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.codecs.frames import decoded
from hounsfield.io.dicom.codecs.layout import CodecFault, Layout
from hounsfield.io.dicom.elements import Elements, faults
from hounsfield.io.dicom.stack_values import stack_values
from hounsfield.io.stored_values import require_finite, require_lowest_bits, rescaled, turned_over

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["frames_of", "joined", "pixels_of", "stack_values"]

Pixels = NDArray[Any]
_FLOATING = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}


def pixels_of(
    dataset: FileDataset, *, frames: Sequence[int] = (), raw: memoryview | None = None, threads: int = 0
) -> Pixels:
    """Decode the frames of a file (all, or those numbered from 0) and give their values (C, K, J, I).

    `raw` is the value of the pixel data where the dataset was read without it. Raises BadInput where
    pixels are missing, cut short, damaged or stored in an unknown way.
    """
    found = Elements(dataset)
    try:
        values = frames_of(dataset, frames=frames, raw=raw, threads=threads)
        if found.text("PhotometricInterpretation") == "PALETTE COLOR":
            values = _palette(values, dataset)
        elif values.shape[-1] == 1:
            values = _grey_values(_at_most_single(values), found, frames)
    except faults() as error:
        raise BadInput(_malformed(error)) from error
    values = _at_most_single(values)
    require_finite(values)
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(np.moveaxis(native, -1, 0))


def frames_of(
    dataset: FileDataset, *, frames: Sequence[int] = (), raw: memoryview | None = None, threads: int = 0
) -> Pixels:
    """The stored numbers of a file's frames (K, J, I, C): decoded, colour as RGB, before any rescale.

    Palette indices stay indices. Raises BadInput as `pixels_of` does.
    """
    found = Elements(dataset)
    try:
        keyword = "PixelData" if raw is not None else _keyword(found)
        layout = _layout(found, keyword)
        offsets = _extended_offsets(found)
        content = memoryview(dataset[keyword].value or b"") if raw is None else raw
        return decoded(
            content, layout, which=frames, offsets=offsets, closed=raw is not None, threads=threads
        )
    except CodecFault as error:
        raise BadInput(str(error)) from error
    except faults() as error:
        raise BadInput(_malformed(error)) from error


def joined(slices: list[Pixels]) -> Pixels:
    """Put slices (C, 1, J, I) on each other along K, in a type that holds all of their values."""
    floating = any(s.dtype.kind == "f" for s in slices)
    return np.concatenate(slices, axis=1, dtype=np.float32 if floating else None, casting="unsafe")


def _malformed(error: Exception) -> str:
    return f"its DICOM elements do not follow the standard ({type(error).__name__}); send it again"


def _keyword(found: Elements) -> str:
    for keyword in ("PixelData", *_FLOATING):
        if keyword in found.dataset:
            return keyword
    if "PixelDataProviderURL" in found.dataset:
        raise BadInput("keeps its pixel data on another server (JPIP); fetch the whole object and scan again")
    raise BadInput("holds no pixel data; send it again")


def _layout(found: Elements, keyword: str) -> Layout:
    """What the header says about the frames. Raises BadInput or CodecFault where it contradicts itself."""
    syntax, big_endian = _transfer_syntax(found)
    allocated = found.whole("BitsAllocated", 8)
    stored = found.whole("BitsStored", allocated)
    if keyword not in _FLOATING:
        require_lowest_bits(allocated, stored, found.whole("HighBit", stored - 1))
    element = found.dataset.get_item(keyword)
    return Layout(
        syntax=syntax,
        frames=max(1, found.whole("NumberOfFrames", 1)),
        rows=found.whole("Rows", 0),
        columns=found.whole("Columns", 0),
        samples=found.whole("SamplesPerPixel", 1),
        bits_allocated=allocated,
        bits_stored=stored,
        signed=found.whole("PixelRepresentation", 0) == 1 and allocated > 1,
        photometric=found.text("PhotometricInterpretation"),
        planar=found.whole("PlanarConfiguration", 0) == 1,
        floating=_FLOATING.get(keyword, ""),
        big_endian=big_endian,
        words=big_endian and element is not None and element.VR == "OW",
    )


def _transfer_syntax(found: Elements) -> tuple[str, bool]:
    """The transfer syntax, and True if values are big endian; without file meta, as elements were read."""
    implicit, little = found.dataset.original_encoding
    named = str(found.dataset.file_meta.get("TransferSyntaxUID") or "")
    if named:
        return named, named == "1.2.840.10008.1.2.2"
    if implicit:
        return "1.2.840.10008.1.2", False
    return ("1.2.840.10008.1.2.1", False) if little else ("1.2.840.10008.1.2.2", True)


def _extended_offsets(found: Elements) -> list[int]:
    table = found.dataset.get("ExtendedOffsetTable")
    return [int(v) for v in np.frombuffer(table[: len(table) // 8 * 8], "<u8")] if table else []


def _at_most_single(values: Pixels) -> Pixels:
    """float64 as float32; what does not fit stays and is refused as not finite."""
    if values.dtype.kind != "f" or values.dtype == np.float32:
        return values
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _grey_values(values: Pixels, found: Elements, frames: Sequence[int]) -> Pixels:
    """Turn MONOCHROME1 over and apply the modality LUT or the rescale of each frame (C.11.1)."""
    slopes = _rescales(found, max(1, found.whole("NumberOfFrames", 1)))
    quantitative = found.text("Modality") in ("CT", "PT") and any(s != (1.0, 0.0) for s in slopes)
    # Hounsfield units and activity keep their meaning: there MONOCHROME1 is only a way to show them.
    if found.text("PhotometricInterpretation") == "MONOCHROME1" and not quantitative:
        values = turned_over(values, bits_stored=found.whole("BitsStored", values.dtype.itemsize * 8))
    if found.group("ModalityLUTSequence"):
        return _looked_up(values, found)
    slopes = [slopes[k] for k in frames] if frames else slopes
    if len(set(slopes)) == 1:
        return rescaled(values, *slopes[0])
    one_by_one = [rescaled(f, *s) for f, s in zip(values, slopes, strict=True)]
    kind = np.float32 if any(f.dtype.kind == "f" for f in one_by_one) else np.result_type(*one_by_one)
    return np.stack([f.astype(kind, copy=False) for f in one_by_one])


def _rescales(found: Elements, frames: int) -> list[tuple[float, float]]:
    """Slope and intercept of every frame; (1, 0) where none is given."""
    group = "PixelValueTransformationSequence"
    if shared := found.group("SharedFunctionalGroupsSequence", group):
        return [_rescale(shared)] * frames
    each = [frame.group(group) for frame in found.items("PerFrameFunctionalGroupsSequence")]
    if any(each):
        if len(each) != frames or not all(each):
            raise BadInput("gives a rescale for some frames only; send it again")
        return [_rescale(e) for e in each if e]
    return [_rescale(found)] * frames


def _rescale(found: Elements) -> tuple[float, float]:
    slope = found.numbers("RescaleSlope", 1) or (1.0,)
    intercept = found.numbers("RescaleIntercept", 1) or (0.0,)
    return slope[0], intercept[0]


def _looked_up(values: Pixels, found: Elements) -> Pixels:
    from pydicom.pixels.processing import apply_modality_lut

    try:
        return np.asarray(apply_modality_lut(values, found.dataset))
    except faults() as error:
        raise BadInput("has a modality LUT that cannot be applied; send it again") from error


def _palette(values: Pixels, dataset: FileDataset) -> Pixels:
    from pydicom.pixels.processing import apply_color_lut

    try:
        if not dataset.original_encoding[1]:
            _swap_palette_words(dataset)
        return np.asarray(apply_color_lut(values[..., 0], dataset))[..., :3]
    except faults() as error:
        raise BadInput("has a colour palette that cannot be applied; convert the image to RGB") from error


def _swap_palette_words(dataset: FileDataset) -> None:
    """Palettes are 16-bit words in the file's byte order (PS3.5 A.3), which pydicom leaves as they are."""
    for colour in ("Red", "Green", "Blue"):
        element = dataset.get_item(f"{colour}PaletteColorLookupTableData")
        if element is not None and isinstance(element.value, bytes):
            swapped = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
            dataset.add_new(element.tag, "OW", swapped)
