"""Mutations of DICOM files: edits that are blind, know elements, or know compressed pixels."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from fuzz_seeds import Seed

__all__ = ["MUTATORS", "Field", "fields_of", "mutated"]

_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
_UNDEFINED = 0xFFFFFFFF
_NUMBERS = (0, 1, 2, 3, 7, 8, 16, 255, 256, 32767, 65534, 65535)
_LENGTHS = (
    0,
    1,
    2,
    3,
    7,
    0x7F,
    0xFF,
    0xFFFE,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    _UNDEFINED,
)
_TEXTS = (
    b"", b" ", b"0", b"-1", b"1", b"2147483648", b"99999999999999999999", b"1e400", b"nan", b"-inf",
    b"1e-320", b"abc", b"\\", b"\\\\\\\\", b"1\\2", b"0\\0\\0", b"1\\0\\0\\0\\1\\0", b"\xff\xfe", b"\x00" * 6,
    b"1" * 300, b"0x10", b"1_0", b" 12 ", b"1\\" * 400, b"RGB", b"YBR_FULL_422", b"PALETTE COLOR",
    b"MONOCHROME1",
)  # fmt: skip
_SYNTAXES = (
    b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99",
    b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.51", b"1.2.840.10008.1.2.4.57",
    b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.81",
    b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.91", b"1.2.840.10008.1.2.4.201",
    b"1.2.840.10008.1.2.4.203", b"1.2.3",
)  # fmt: skip
_SIZES = {
    0x00280002, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102,
    0x00280103, 0x00281101, 0x00283002,
}  # fmt: skip
_PIXELS = 0x7FE00010
_ITEM = 0xFFFEE000


@dataclass(frozen=True)
class Field:
    """Where an element stands: its tag, the places of its header, of its length field and of its value."""

    tag: int
    start: int
    length_at: int
    length_size: int
    value_at: int
    length: int
    order: str


Edit = Callable[[bytearray, list[Field], random.Random], str]


def mutated(found: list[Seed], seed: int, number: int) -> tuple[Seed, str]:
    """Mutation `number` of a run: the file, and in words what was done. Half start from a made file."""
    chance = random.Random(f"{seed}-{number}")
    made = [s for s in found if s.name.startswith("made")]
    start = chance.choice(made if chance.random() < 0.5 else found)
    content = bytearray(start.content)
    told: list[str] = []
    wanted = chance.choice((1, 1, 1, 2, 2, 3, 6))
    for _ in range(20):
        edit = chance.choice(MUTATORS)
        with suppress(ValueError, IndexError, struct.error):  # an edit that needs what the file has not
            told.append(f"{edit.__name__} {edit(content, list(fields_of(bytes(content))), chance)}")
        if len(told) == wanted:
            break
    return Seed(start.name, bytes(content), start.beside), f"{start.name}: {'; '.join(told)}"


def fields_of(content: bytes) -> Iterator[Field]:
    """The elements that a simple walk finds, those in sequences and items included."""
    at = 132 if content[128:132] == b"DICM" else 0
    syntax = content[: at + 400]
    big = b"1.2.840.10008.1.2.2" in syntax
    while at + 8 <= len(content):
        order = ">" if big and content[at : at + 2] != b"\x02\x00" else "<"
        group, number = struct.unpack_from(f"{order}HH", content, at)
        tag, vr = group << 16 | number, content[at + 4 : at + 6]
        explicit = vr.isalpha() and vr.isupper() and group != 0xFFFE
        if explicit and vr in _LONG:
            field = Field(tag, at, at + 8, 4, at + 12, 0, order)
        elif explicit:
            field = Field(tag, at, at + 6, 2, at + 8, 0, order)
        else:
            field = Field(tag, at, at + 4, 4, at + 8, 0, order)
        if field.value_at > len(content):
            return
        (length,) = struct.unpack_from(
            order + ("I" if field.length_size == 4 else "H"), content, field.length_at
        )
        yield Field(
            *[getattr(field, k) for k in ("tag", "start", "length_at", "length_size", "value_at")],
            length,
            order,
        )
        nested = (
            length == _UNDEFINED
            or vr == b"SQ"
            or (tag == _ITEM and content[field.value_at + 4 : field.value_at + 6].isupper())
        )
        at = field.value_at + (0 if nested else length)


# edits that know nothing


def _place(content: bytearray, chance: random.Random) -> int:
    """Any place, the header's more often than the pixels'."""
    limit = len(content) if chance.random() < 0.5 else min(len(content), 3000)
    return chance.randrange(max(1, limit))


def flip_bits(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    places = [_place(content, chance) for _ in range(chance.choice((1, 1, 2, 8)))]
    for at in places:
        content[at] ^= 1 << chance.randrange(8)
    return f"at {places}"


def overwrite_run(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    at, count = _place(content, chance), chance.choice((1, 2, 4, 16, 200))
    content[at : at + count] = chance.choice((b"\0" * count, b"\xff" * count, chance.randbytes(count)))
    return f"{count} bytes at {at}"


def truncate(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    at = _place(content, chance)
    del content[at:]
    return f"at {at}"


def insert(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    at, count = _place(content, chance), chance.choice((1, 2, 8, 100))
    content[at:at] = chance.randbytes(count)
    return f"{count} bytes at {at}"


def remove(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    at, count = _place(content, chance), chance.choice((1, 2, 8, 100))
    del content[at : at + count]
    return f"{count} bytes at {at}"


def repeat(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    at, count, times = _place(content, chance), chance.choice((4, 20, 100)), chance.choice((1, 3, 50))
    content[at:at] = content[at : at + count] * times
    return f"{count} bytes at {at} {times} times"


# edits that know elements


def edit_length(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    f = chance.choice(fields)
    new = chance.choice(
        (*_LENGTHS, f.length + 1, f.length - 1, f.length * 2, len(content), len(content) - f.value_at)
    )
    size = "I" if f.length_size == 4 else "H"
    struct.pack_into(f.order + size, content, f.length_at, new & (0xFFFFFFFF if size == "I" else 0xFFFF))
    return f"of {f.tag:08x} to {new}"


def edit_tag(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    f, other = (
        chance.choice(fields),
        chance.choice((*[g.tag for g in fields], _PIXELS, _ITEM, 0xFFFEE00D, 0xFFFEE0DD)),
    )
    struct.pack_into(f"{f.order}HH", content, f.start, other >> 16, other & 0xFFFF)
    return f"{f.tag:08x} to {other:08x}"


def edit_type(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    f = chance.choice(fields)
    new = chance.choice(
        (*sorted(_LONG), b"IS", b"DS", b"US", b"SS", b"CS", b"PN", b"FD", b"AT", b"\0\0", b"??")
    )
    content[f.start + 4 : f.start + 6] = new
    return f"of {f.tag:08x} to {new!r}"


def edit_size(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    f = chance.choice([g for g in fields if g.tag in _SIZES])
    if f.tag == 0x00280008:
        return edit_text(content, [f], chance)
    new = chance.choice(_NUMBERS)
    struct.pack_into(f"{f.order}H", content, f.value_at, new)
    return f"{f.tag:08x} to {new}"


def edit_text(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    f = chance.choice([g for g in fields if g.length < 200])
    new = chance.choice(_TEXTS)
    _replace(content, f, new)
    return f"of {f.tag:08x} to {new[:20]!r}"


def edit_syntax(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    f = (
        next(g for g in fields if g.tag == 0x00020010)
        if any(g.tag == 0x00020010 for g in fields)
        else fields[0]
    )
    new = chance.choice(_SYNTAXES)
    _replace(content, f, new + b"\0" * (len(new) % 2))
    return f"to {new.decode()}"


def drop_element(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    f = chance.choice([g for g in fields if g.length < 100_000])
    del content[f.start : f.value_at + f.length]
    return f"{f.tag:08x}"


def double_element(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    f, after = chance.choice([g for g in fields if g.length < 100_000]), chance.choice(fields)
    content[after.start : after.start] = content[f.start : f.value_at + f.length]
    return f"{f.tag:08x} before {after.tag:08x}"


def nest_deeply(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    f, depth = chance.choice(fields), chance.choice((10, 300, 3000))
    level = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    content[f.start : f.start] = level * depth
    return f"{depth} sequences before {f.tag:08x}"


def edit_private(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    """Bytes or a 32-bit number within a maker's own block, as Siemens' CSA headers are."""
    f = chance.choice([g for g in fields if g.tag >> 16 & 1 and 200 < g.length < 500_000])
    at = f.value_at + chance.randrange(f.length - 4) // 4 * 4
    if chance.random() < 0.5:
        at = f.value_at + chance.randrange(100) // 4 * 4
    struct.pack_into("<I", content, at, chance.choice((*_LENGTHS, chance.getrandbits(32))))
    return f"{f.tag:08x} at {at}"


def _replace(content: bytearray, f: Field, new: bytes) -> None:
    new += b" " * (len(new) % 2)
    content[f.value_at : f.value_at + f.length] = new
    struct.pack_into(f.order + ("I" if f.length_size == 4 else "H"), content, f.length_at, len(new))


# edits that know compressed pixels


def _fragments(fields: list[Field]) -> list[Field]:
    pixels = next((n for n, g in enumerate(fields) if g.tag == _PIXELS and g.length == _UNDEFINED), None)
    return [] if pixels is None else [g for g in fields[pixels + 1 :] if g.tag == _ITEM]


def edit_offsets(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    table = _fragments(fields)[0]
    if not table.length or chance.random() < 0.3:
        entries = [chance.choice(_LENGTHS) for _ in range(chance.choice((1, 2, 1000)))]
        _replace(content, table, struct.pack(f"<{len(entries)}I", *entries))
        return f"to {len(entries)} entries"
    at = table.value_at + 4 * chance.randrange(max(1, table.length // 4))
    new = chance.choice((*_LENGTHS, chance.randrange(len(content))))
    struct.pack_into("<I", content, at, new)
    return f"at {at} to {new}"


def edit_fragment(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    f = chance.choice(_fragments(fields))
    return edit_length(content, [f], chance) if chance.random() < 0.5 else drop_element(content, [f], chance)


def edit_marker(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    """A marker of JPEG, JPEG-LS or JPEG 2000, its segment's length, or a byte of the segment."""
    f = chance.choice([g for g in _fragments(fields)[1:] if g.length > 8])
    code = content[f.value_at : f.value_at + f.length]
    markers = [n for n in range(min(len(code) - 4, 2000)) if code[n] == 0xFF and code[n + 1] >= 0x4F]
    at = f.value_at + chance.choice(markers or [0])
    kind = chance.choice(("marker", "length", "body", "body"))
    if kind == "marker":
        content[at + 1] = chance.choice(
            (0xC0, 0xC3, 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0x4F, 0x51, 0x52, 0x90, 0x93, 0xF7)
        )
    elif kind == "length":
        struct.pack_into(">H", content, at + 2, chance.choice(_NUMBERS))
    else:
        content[at + chance.randrange(4, 44)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return f"{kind} at {at}"


def edit_runs(content: bytearray, fields: list[Field], chance: random.Random) -> str:
    """The header of an RLE fragment: how many segments, and where each begins (PS3.5 G.5)."""
    f = chance.choice(_fragments(fields)[1:])
    at = f.value_at + 4 * chance.randrange(16)
    struct.pack_into("<I", content, at, chance.choice((*_LENGTHS, 64, 65, f.length, f.length - 1)))
    return f"header at {at}"


MUTATORS: tuple[Edit, ...] = (
    flip_bits, overwrite_run, truncate, insert, remove, repeat, edit_length, edit_length, edit_tag, edit_type,
    edit_size, edit_size, edit_text, edit_text, edit_private, edit_syntax, drop_element, double_element,
    nest_deeply, edit_offsets, edit_fragment, edit_marker, edit_marker, edit_runs,
)  # fmt: skip
