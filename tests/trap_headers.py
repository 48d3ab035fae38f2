"""Traps of headers: pitfalls 18 to 21."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.sequence import Sequence as Items
from pydicom.uid import ImplicitVRLittleEndian

from trap_objects import SPACING, Image, Trap, Truth, affine, image, ramp, save, stack

__all__ = ["TRAPS"]

EVEN = [(0.0, 0.0, 5.0 * n) for n in range(4)]
REGULAR = affine((0, 0, 0), (0, 0, 5))
PLACE = {
    "PixelSpacing": list(SPACING),
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "ImagePositionPatient": [1, 2, 3],
    "SliceThickness": 4,
}
ONE = affine((1, 2, 3), (0, 0, 4))


def _truth(pixels: np.ndarray, **more: Any) -> Truth:
    return Truth([Image(pixels[None, None], ONE, **more)])


def _bare(implicit: bool) -> Any:
    def build(folder: Path) -> Truth:
        pixels = ramp((3, 4))
        made = image(pixels, **PLACE)
        del made.file_meta
        made.save_as(folder / "IM000001", implicit_vr=implicit, little_endian=True)
        return _truth(pixels)

    return build


def _no_meta(folder: Path) -> Truth:
    pixels = ramp((3, 4))
    made = image(pixels, **PLACE)
    del made.file_meta
    made.save_as(folder / "rest", implicit_vr=False, little_endian=True)
    (folder / "a.dcm").write_bytes(bytes(128) + b"DICM" + (folder / "rest").read_bytes())
    (folder / "rest").unlink()
    return _truth(pixels)


def _meta_that_lies(folder: Path) -> Truth:
    """The file meta information says explicit, but the dataset is implicit."""
    pixels = ramp((3, 4))
    made = image(pixels, **PLACE)
    save(made, folder / "a.dcm")
    meta = (folder / "a.dcm").read_bytes()
    end = 144 + int.from_bytes(meta[140:144], "little")
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    save(made, folder / "a.dcm")
    other = (folder / "a.dcm").read_bytes()
    begin = 144 + int.from_bytes(other[140:144], "little")
    (folder / "a.dcm").write_bytes(meta[:end] + other[begin:])
    return _truth(pixels)


def _patched(**elements: Any) -> Any:
    """An image in which the bytes of one value are replaced by others of the same length."""
    old, new, reason = elements.pop("old"), elements.pop("new"), elements.pop("reason", "")

    def build(folder: Path) -> Truth:
        pixels = ramp((3, 4))
        path = save(image(pixels, **{**PLACE, **elements}), folder / "a.dcm")
        content = path.read_bytes()
        assert content.count(old) == 1 and len(old) == len(new)
        path.write_bytes(content.replace(old, new))
        return Truth([], {reason: 1}) if reason else _truth(pixels)

    return build


def _position_that_is_no_number(folder: Path) -> Truth:
    stack(folder, EVEN, ImagePositionPatient=lambda n: [0, 0, 5 * n + 0.125])
    path = folder / "003.dcm"
    content = path.read_bytes()
    assert content.count(b"15.125") == 1
    path.write_bytes(content.replace(b"15.125", b"15.1x5"))
    refused = {"its ImagePositionPatient cannot be read": 1, "a stack of 4 slices of which 1": 3}
    return Truth([], refused)


def _unknown_type(folder: Path) -> Truth:
    pixels = ramp((3, 4))
    made = image(pixels, **PLACE)
    made.add_new(0x00200032, "UN", b"1\\2\\3 ")
    save(made, folder / "a.dcm")
    return _truth(pixels)


def _character_set(written: str | None, value: Any, said: str) -> Any:
    """The institution's name in a character set; `said` is what the Series must say."""

    def build(folder: Path) -> Truth:
        pixels = ramp((3, 4))
        made = image(pixels, **PLACE)
        if written:
            made.SpecificCharacterSet = written
        made.add_new(0x00080080, "LO", value)
        save(made, folder / "a.dcm")
        return _truth(pixels, site=said)

    return build


def _unknown_character_set(folder: Path) -> Truth:
    pixels = ramp((3, 4))
    path = save(image(pixels, SpecificCharacterSet="ISO_IR 100", **PLACE), folder / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    return _truth(pixels)


def _delimiter_in_a_value(folder: Path) -> Truth:
    pixels = ramp((3, 4))
    made = image(pixels, **PLACE)
    made.add_new(0x00090010, "LO", "MAKER")
    inner = image(None)
    inner.add_new(0x00090010, "LO", "MAKER")
    inner.add_new(0x00091001, "OB", b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0")
    inner.is_undefined_length_sequence_item = True
    sequence = Items([inner])
    sequence.is_undefined_length = True
    made.add_new(0x00091002, "SQ", sequence)
    made.add_new(0x00091003, "OB", b"\xe0\x7f\x10\0OW\0\0\x18\0\0\0")
    save(made, folder / "a.dcm")
    return _truth(pixels)


def _icon(folder: Path) -> Truth:
    pixels = ramp((3, 4))
    icon = image(ramp((8, 8), np.uint8), PixelSpacing=[9, 9], ImagePositionPatient=[9, 9, 9])
    save(image(pixels, IconImageSequence=Items([icon]), **PLACE), folder / "a.dcm")
    return _truth(pixels)


TRAPS = (
    Trap(18, "no preamble, explicit", _bare(implicit=False)),
    Trap(18, "no preamble, implicit", _bare(implicit=True)),
    Trap(18, "a preamble but no meta information", _no_meta),
    Trap(18, "meta information that lies", _meta_that_lies),
    Trap(
        19,
        "a decimal comma",
        _patched(
            PixelSpacing=[0.53, 0.27],
            old=b"0.53\\0.27",
            new=b"0,53\\0,27",
            reason="its PixelSpacing cannot be read",
        ),
    ),
    Trap(19, "a position that is no number", _position_that_is_no_number),
    Trap(19, "an instance number with a fraction", _patched(InstanceNumber=1234, old=b"1234", new=b"12.0")),
    Trap(19, "an age that is none", _patched(PatientAge="045Y", old=b"045Y", new=b"45 y")),
    Trap(
        19,
        "a number of frames that is none",
        _patched(NumberOfFrames=1234, old=b"1234", new=b"one ", reason="its NumberOfFrames cannot be read"),
    ),
    Trap(
        19,
        "a wrong type of the thickness",
        _patched(old=b"\x18\0\x50\0DS", new=b"\x18\0\x50\0LO", reason="its SliceThickness cannot be read"),
    ),
    Trap(19, "a position of unknown type", _unknown_type),
    Trap(20, "Latin 1", _character_set("ISO_IR 100", "Köln".encode("latin-1"), "Köln")),
    Trap(20, "UTF-8", _character_set("ISO_IR 192", "大阪".encode(), "大阪")),
    Trap(
        20, "a Japanese escape", _character_set("\\ISO 2022 IR 87", b"\x1b$B\x42\x67\x3a\x65\x1b(B", "大阪")
    ),
    Trap(20, "no character set but an accent", _character_set(None, "Köln".encode("latin-1"), "")),
    Trap(20, "an unknown character set", _unknown_character_set),
    Trap(21, "delimiters and pixel data in a value", _delimiter_in_a_value),
    Trap(21, "an icon before the image", _icon),
)
