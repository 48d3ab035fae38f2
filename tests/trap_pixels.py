"""Traps of values: pitfalls 10 to 17. Frames are compressed by another library than reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
from numpy.typing import NDArray

from trap_objects import (
    SPACING,
    Image,
    Trap,
    Truth,
    affine,
    encapsulated,
    enhanced,
    image,
    item,
    ramp,
    save,
    stack,
)

__all__ = ["TRAPS"]

EVEN = [(0.0, 0.0, 5.0 * n) for n in range(4)]
REGULAR = affine((0, 0, 0), (0, 0, 5))
FLAT = {"Modality": "DX", "SeriesInstanceUID": None}
JPEG, JPEG_LOSSLESS, JPEG_LS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80"
JPEG_2000, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"


def _flat(values: NDArray[Any], **more: Any) -> Truth:
    """One picture without a place: (J, I) or (J, I, 3) values."""
    axes = np.moveaxis(values, -1, 0)[:, None] if values.ndim == 3 else values[None, None]
    return Truth([Image(axes, **more)])


def _slope_of_each_slice(folder: Path) -> Truth:
    slopes = [1.0, 2.5, 0.125, 4.0]
    stored = stack(folder, EVEN, Modality="PT", RescaleSlope=lambda n: slopes[n], RescaleIntercept=0)
    values = stored * np.array(slopes)[:, None, None]
    return Truth([Image(values[None], REGULAR, values_off_by=1e-4)])


def _slope_of_each_frame(folder: Path) -> Truth:
    stored = ramp((4, 3, 4))
    groups = {"RescaleType": "US"}
    made = enhanced(
        stored,
        [(0, 0, z) for z in (15, 0, 10, 5)],
        each=lambda n: {
            "PixelValueTransformationSequence": item(RescaleSlope=n + 0.5, RescaleIntercept=-n, **groups)
        },
    )
    save(made, folder / "a.dcm")
    order = [1, 3, 2, 0]
    values = np.stack([stored[n] * (n + 0.5) - n for n in order])
    return Truth([Image(values[None], REGULAR, values_off_by=1e-4)])


def _philips_scale_slope(folder: Path) -> Truth:
    """Philips writes two slopes; the public one gives the values that the standard means (C.11.1.1.2)."""
    stored = ramp((3, 4), np.uint16)
    made = image(stored, Modality="MR", RescaleSlope=2.5, RescaleIntercept=0, PixelSpacing=list(SPACING))
    made.add_new(0x20050010, "LO", "Philips MR Imaging DD 001")
    made.add_new(0x2005100D, "FL", 0.0)
    made.add_new(0x2005100E, "FL", 0.0125)
    save(made, folder / "a.dcm")
    where = np.diag([0.25, 0.5, 1.0, 1.0])
    return Truth([Image((stored * 2.5)[None, None], where, values_off_by=1e-4)])


def _white_is_zero(folder: Path) -> Truth:
    stored = ramp((3, 4), np.uint16)
    twelve = {"BitsStored": 12, "HighBit": 11}
    save(image(stored, PhotometricInterpretation="MONOCHROME1", **twelve, **FLAT), folder / "a.dcm")
    return _flat(4095 - stored)


def _white_is_zero_in_a_ct(folder: Path) -> Truth:
    """MONOCHROME1 only says how to show it: Hounsfield units stay what they are."""
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -1024, "PhotometricInterpretation": "MONOCHROME1"}
    stored = stack(folder, EVEN, **rescale)
    return Truth([Image(stored[None] - 1024, REGULAR)])


def _colours() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (4, 6, 3)).astype(np.uint8)


def _to_ybr(rgb: NDArray[Any]) -> NDArray[np.uint8]:
    """PS3.3 C.7.6.3.1.2, full range."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return np.clip(np.rint(rgb @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)


def _full_ybr(folder: Path) -> Truth:
    rgb = _colours()
    save(image(_to_ybr(rgb), PhotometricInterpretation="YBR_FULL", **FLAT), folder / "a.dcm")
    return _flat(rgb, values_off_by=3)


def _half_ybr(folder: Path) -> Truth:
    rgb = _colours()
    rgb[:, 1::2] = rgb[:, ::2]  # two pixels share their chroma
    ybr = _to_ybr(rgb)
    packed = np.stack([ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]], axis=-1)
    made = image(ybr, PhotometricInterpretation="YBR_FULL_422", **FLAT)
    made.PixelData = packed.tobytes()
    save(made, folder / "a.dcm")
    return _flat(rgb, values_off_by=3)


def _colour_by_plane(folder: Path) -> Truth:
    rgb = _colours()
    made = image(rgb, PlanarConfiguration=1, **FLAT)
    made.PixelData = np.moveaxis(rgb, -1, 0).tobytes()
    save(made, folder / "a.dcm")
    return _flat(rgb)


def _smooth() -> NDArray[np.uint8]:
    j, i = np.mgrid[:16, :24]
    return np.stack([60 + 4 * j, 40 + 5 * i, 200 - 3 * j - 2 * i], axis=-1).astype(np.uint8)


def _jpeg_in_ybr(folder: Path) -> Truth:
    rgb = _smooth()
    code = imagecodecs.jpeg8_encode(
        rgb, level=100, colorspace="rgb", outcolorspace="ycbcr", subsampling="422"
    )
    made = image(rgb, PhotometricInterpretation="YBR_FULL_422", **FLAT)
    save(encapsulated(made, JPEG, [code]), folder / "a.dcm")
    return _flat(rgb, values_off_by=6)


def _jpeg_in_rgb(folder: Path) -> Truth:
    """The frame itself, not only the header, says that no chroma was made (Adobe marker, transform 0)."""
    rgb = _smooth()
    code = imagecodecs.jpeg8_encode(rgb, level=100, colorspace="rgb", outcolorspace="rgb", subsampling="444")
    save(encapsulated(image(rgb, **FLAT), JPEG, [code]), folder / "a.dcm")
    return _flat(rgb, values_off_by=4)


def _rle_colours(folder: Path) -> Truth:
    rgb = _colours()
    made = image(rgb, **FLAT)
    made.compress(RLE)
    save(made, folder / "a.dcm")
    return _flat(rgb)


def _signed_jpeg_2000(folder: Path) -> Truth:
    values = ramp((16, 16), start=-300)
    code = imagecodecs.jpeg2k_encode(values, level=0, codecformat="j2k", reversible=True)
    save(encapsulated(image(values, **FLAT), JPEG_2000, [code]), folder / "a.dcm")
    return _flat(values)


def _signed_in_the_header_only(folder: Path) -> Truth:
    """The codestream holds the bits as if they had no sign, as some writers leave them."""
    values = ramp((16, 16), start=-300)
    code = imagecodecs.jpeg2k_encode(values.view(np.uint16), level=0, codecformat="j2k", reversible=True)
    save(encapsulated(image(values, **FLAT), JPEG_2000, [code]), folder / "a.dcm")
    return _flat(values)


def _twelve_bits_of_jpeg_2000(folder: Path) -> Truth:
    values = ramp((16, 16), np.uint16)
    code = imagecodecs.jpeg2k_encode(values, level=0, codecformat="j2k", reversible=True, bitspersample=12)
    made = image(values, BitsStored=12, HighBit=11, **FLAT)
    save(encapsulated(made, JPEG_2000, [code]), folder / "a.dcm")
    return _flat(values)


def _signed_jpeg_ls(folder: Path) -> Truth:
    values = ramp((16, 16), start=-300)
    code = jpeg_ls.encode_array(values.view(np.uint16))
    save(encapsulated(image(values, **FLAT), JPEG_LS, [bytes(code)]), folder / "a.dcm")
    return _flat(values)


def _twelve_signed_bits_of_jpeg_ls(folder: Path) -> Truth:
    values = ramp((16, 16), start=-300)
    code = jpeg_ls.encode_array((values & 0xFFF).astype(np.uint16))
    made = image(values, BitsStored=12, HighBit=11, **FLAT)
    save(encapsulated(made, JPEG_LS, [bytes(code)]), folder / "a.dcm")
    return _flat(values)


def _lossless_jpeg(folder: Path) -> Truth:
    values = ramp((16, 16), start=-300)
    code = imagecodecs.ljpeg_encode(values.view(np.uint16), bitspersample=16)
    save(encapsulated(image(values, **FLAT), JPEG_LOSSLESS, [code]), folder / "a.dcm")
    return _flat(values)


def _slice_cut_short(folder: Path) -> Truth:
    stack(folder, EVEN)
    last = folder / "003.dcm"  # at the end of the stack no gap would show
    last.write_bytes(last.read_bytes()[:-4])
    refused = {"holds 20 bytes of pixel data where 24 were expected": 1, "a stack of 4 slices of which 1": 3}
    return Truth([], refused)


def _more_frames_promised(folder: Path) -> Truth:
    save(image(ramp((3, 3, 4)), NumberOfFrames=4, **FLAT), folder / "a.dcm")
    return Truth([], {"holds 72 bytes of pixel data where 96 were expected": 1})


def _fewer_frames_promised(folder: Path) -> Truth:
    save(image(ramp((3, 3, 4)), NumberOfFrames=1, **FLAT), folder / "a.dcm")
    return Truth([], {"holds 72 bytes of pixel data where 24 were expected, a frame more": 1})


def _slice_cut_short_and_sent_again(folder: Path) -> Truth:
    slices = stack(folder, EVEN)
    whole = (folder / "003.dcm").read_bytes()
    (folder / "003 again.dcm").write_bytes(whole)
    (folder / "003.dcm").write_bytes(whole[:-4])
    refused = {"holds 20 bytes of pixel data where 24 were expected": 1}
    return Truth([Image(slices[None], REGULAR)], refused)


def _fewer_fragments_than_frames(folder: Path) -> Truth:
    values = ramp((3, 16, 16), np.uint16)
    code = bytes(jpeg_ls.encode_array(values[0]))
    save(encapsulated(image(values, **FLAT), JPEG_LS, [code, code]), folder / "a.dcm")
    return Truth([], unreadable="frame")


def _odd_length(folder: Path) -> Truth:
    values = ramp((3, 3), np.uint8)
    save(image(values, **FLAT), folder / "a.dcm")
    return _flat(values)


def _bits_across_frames(folder: Path) -> Truth:
    """45 bits without a gap between the frames, the lowest bit of a byte first (PS3.5 8.1.1)."""
    values = np.random.default_rng(5).integers(0, 2, (3, 3, 5)).astype(np.uint8)
    made = image(values, BitsAllocated=1, BitsStored=1, HighBit=0, **FLAT)
    made.PixelData = np.packbits(values.ravel(), bitorder="little").tobytes()
    save(made, folder / "a.dcm")
    return Truth([Image(values[None])])


TRAPS = (
    Trap(10, "a rescale of its own in every slice", _slope_of_each_slice),
    Trap(10, "a rescale of its own in every frame", _slope_of_each_frame),
    Trap(11, "Philips's two slopes", _philips_scale_slope),
    Trap(12, "a radiograph whose white is zero", _white_is_zero),
    Trap(12, "a CT whose white is zero", _white_is_zero_in_a_ct),
    Trap(13, "YBR_FULL", _full_ybr),
    Trap(13, "YBR_FULL_422", _half_ybr),
    Trap(13, "colour by plane", _colour_by_plane),
    Trap(13, "JPEG in YBR", _jpeg_in_ybr),
    Trap(13, "JPEG in RGB", _jpeg_in_rgb),
    Trap(13, "RLE in colour", _rle_colours),
    Trap(14, "signed JPEG 2000", _signed_jpeg_2000),
    Trap(14, "JPEG 2000 signed in the header only", _signed_in_the_header_only),
    Trap(14, "JPEG 2000 of 12 bits", _twelve_bits_of_jpeg_2000),
    Trap(15, "signed JPEG-LS", _signed_jpeg_ls),
    Trap(15, "JPEG-LS of 12 signed bits", _twelve_signed_bits_of_jpeg_ls),
    Trap(15, "signed lossless JPEG", _lossless_jpeg),
    Trap(16, "the last slice cut short", _slice_cut_short),
    Trap(16, "a slice cut short and sent again", _slice_cut_short_and_sent_again),
    Trap(16, "fewer frames than promised", _more_frames_promised),
    Trap(16, "more frames than promised", _fewer_frames_promised),
    Trap(16, "fewer fragments than frames", _fewer_fragments_than_frames),
    Trap(16, "an odd number of bytes", _odd_length),
    Trap(17, "one bit a pixel across frames", _bits_across_frames),
)
