"""From the stored pixels of one DICOM file to the values they mean, axes (C, K, J, I).

Order of work: decode, mask to the stored bits, turn MONOCHROME1 over, modality LUT or rescale of
each frame, colour to RGB. Pixels equal to PixelPaddingValue are left as they are: like every other
pixel they are rescaled, so a plan that must ignore them can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.elements import Elements, faults
from hounsfield.io.dicom.headers import fault_of_syntax, truncated
from hounsfield.io.stored_values import require_finite, rescaled

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["joined", "pixels_of"]

Pixels = NDArray[Any]
_FLOATING = ("FloatPixelData", "DoubleFloatPixelData")


def pixels_of(dataset: FileDataset) -> Pixels:
    """Decode all frames of a file and give their values (C, K, J, I).

    Raises BadInput where pixels are missing, cut short, damaged or stored in an unknown way.
    """
    found = Elements(dataset)
    frames = _decoded(found)
    if frames.dtype.kind == "f":
        frames = frames.astype(np.float32, copy=False)
    else:
        frames = _stored_bits(frames, found)
    if found.text("PhotometricInterpretation") == "PALETTE COLOR":
        frames = _palette(frames, dataset)
    elif frames.shape[-1] == 1:
        frames = _grey_values(frames, found)
    require_finite(frames)
    native = frames.astype(frames.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(np.moveaxis(native, -1, 0))


def joined(slices: list[Pixels]) -> Pixels:
    """Put slices (C, 1, J, I) on each other along K, in a type that holds all of their values."""
    floating = any(s.dtype.kind == "f" for s in slices)
    return np.concatenate(slices, axis=1, dtype=np.float32 if floating else None, casting="unsafe")


def _decoded(found: Elements) -> Pixels:
    """All frames as (K, J, I, C), colours as RGB."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    dataset = found.dataset
    if not any(k in dataset for k in ("PixelData", *_FLOATING)):
        raise BadInput("holds no pixel data; send it again")
    syntax = _transfer_syntax(found)
    if fault := fault_of_syntax(syntax):
        raise BadInput(fault)
    decoder = get_decoder(UID(syntax))
    if decoder.is_native:
        _require_whole(found)
    try:
        pixels, about = decoder.as_array(dataset, raw=False)
    except faults() as error:
        raise BadInput(
            f'has pixel data that cannot be decoded from "{UID(syntax).name}" '
            f"({type(error).__name__}); send it again or export it uncompressed"
        ) from error
    frames = max(1, found.whole("NumberOfFrames", 1))
    shape = (frames, found.whole("Rows", 0), found.whole("Columns", 0), int(about["samples_per_pixel"]))
    if pixels.size != np.prod(shape):
        raise BadInput(f"decodes to {pixels.shape} values where {shape} were expected; send it again")
    return pixels.reshape(shape)


def _transfer_syntax(found: Elements) -> str:
    """The transfer syntax; without file meta information, the one the elements were written in."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = found.dataset.file_meta
    if "TransferSyntaxUID" not in meta:
        implicit, little = found.dataset.original_encoding
        if implicit:
            meta.TransferSyntaxUID = ImplicitVRLittleEndian
        else:
            meta.TransferSyntaxUID = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    return str(meta.TransferSyntaxUID)


def _require_whole(found: Elements) -> None:
    from pydicom.pixels.utils import get_expected_length

    keyword = next(k for k in ("PixelData", *_FLOATING) if k in found.dataset)
    held = len(found.dataset[keyword].value or b"")
    expected = get_expected_length(found.dataset)
    if held < expected:
        raise BadInput(truncated(held, expected))


def _stored_bits(frames: Pixels, found: Elements) -> Pixels:
    """Keep only the stored bits: older files hide overlays in the others (PS3.5 8.1.1)."""
    stored = found.whole("BitsStored", found.whole("BitsAllocated", 8))
    high = found.whole("HighBit", stored - 1)
    size = frames.dtype.itemsize * 8
    if stored >= size or stored < 1:
        return frames
    if high != stored - 1:
        raise BadInput(
            f"stores {stored} bits below bit {high} where bit {stored - 1} was expected; send it again"
        )
    if frames.dtype.kind == "u":
        return np.asarray(frames & frames.dtype.type((1 << stored) - 1))
    spare = size - stored  # shifting up and down again extends the sign
    return (frames << spare) >> spare


def _grey_values(frames: Pixels, found: Elements) -> Pixels:
    """Turn MONOCHROME1 over and apply the modality LUT or the rescale of each frame (C.11.1)."""
    slopes = _rescales(found, len(frames))
    quantitative = found.text("Modality") in ("CT", "PT") and any(s != (1.0, 0.0) for s in slopes)
    # Hounsfield units and activity keep their meaning: there MONOCHROME1 is only a way to show them.
    if found.text("PhotometricInterpretation") == "MONOCHROME1" and not quantitative:
        frames = _turned_over(frames, found)
    if found.group("ModalityLUTSequence"):
        return _looked_up(frames, found)
    if len(set(slopes)) == 1:
        return rescaled(frames, *slopes[0])
    one_by_one = [rescaled(f, *s) for f, s in zip(frames, slopes, strict=True)]
    return np.stack([f.astype(np.result_type(*one_by_one), copy=False) for f in one_by_one])


def _turned_over(frames: Pixels, found: Elements) -> Pixels:
    if frames.dtype.kind == "f":
        return -frames
    if frames.dtype.kind == "i":
        return ~frames
    stored = found.whole("BitsStored", frames.dtype.itemsize * 8)
    return np.asarray(frames.dtype.type((1 << stored) - 1) - frames)


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


def _looked_up(frames: Pixels, found: Elements) -> Pixels:
    from pydicom.pixels.processing import apply_modality_lut

    try:
        return np.asarray(apply_modality_lut(frames, found.dataset))
    except faults() as error:
        raise BadInput("has a modality LUT that cannot be applied; send it again") from error


def _palette(frames: Pixels, dataset: FileDataset) -> Pixels:
    from pydicom.pixels.processing import apply_color_lut

    try:
        if not dataset.original_encoding[1]:
            _swap_palette_words(dataset)
        return np.asarray(apply_color_lut(frames[..., 0], dataset))[..., :3]
    except faults() as error:
        raise BadInput("has a colour palette that cannot be applied; convert the image to RGB") from error


def _swap_palette_words(dataset: FileDataset) -> None:
    """Palettes are 16-bit words in the file's byte order (PS3.5 A.3), which pydicom leaves as they are."""
    for colour in ("Red", "Green", "Blue"):
        element = dataset.get_item(f"{colour}PaletteColorLookupTableData")
        if element is not None and isinstance(element.value, bytes):
            swapped = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
            dataset.add_new(element.tag, "OW", swapped)
