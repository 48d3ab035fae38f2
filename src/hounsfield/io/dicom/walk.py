"""Where the wanted elements lie in the bytes of a DICOM header, found by compiled code without the GIL.

The walk knows the encodings of PS3.5 and takes nothing on trust: a header that departs from them in
any way is left to pydicom, which has seen more of them. Only elements of the dataset itself are taken,
never those of an item, so the pixels of an icon are not those of the image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import compiled
from hounsfield.io.dicom.columns import COLUMNS, FLAGS

__all__ = [
    "BIG_ENDIAN",
    "DEEPEST",
    "DEFLATED",
    "DONE",
    "IMPLICIT",
    "MARKS",
    "MORE",
    "ODD",
    "STATE",
    "TAGS",
    "VRS",
    "walk_files",
]

# What a walk ends with: everything found; a header for pydicom; more bytes needed; a deflated dataset.
DONE, ODD, MORE, DEFLATED = 0, 1, 2, 3

# The columns of `state`, a row a file. `at` is where an unfinished element begins in its bytes, and
# `next` where the one after it begins if its value can be passed over (0: it must be walked).
STATE = ("status", "at", "next", "pixel_tag", "pixel_offset", "pixel_length", "flags", "encoding", "found")
_STATUS, _AT, _NEXT, _PIXEL_TAG, _PIXEL_OFFSET, _PIXEL_LENGTH, _FLAGS, _ENCODING, _FOUND = range(len(STATE))
IMPLICIT, BIG_ENDIAN = 1, 2  # bits of `encoding`

_BY_VR = {
    "UI": """transfer_syntax_uid sop_class_uid sop_instance_uid study_instance_uid series_instance_uid
        frame_of_reference_uid""",
    "CS": """specific_character_set image_type modality patient_sex body_part_examined view_position
        laterality image_laterality photometric_interpretation voi_lut_function""",
    "DA": "study_date acquisition_date patient_birth_date",
    "TM": "acquisition_time",
    "AS": "patient_age",
    "LO": """manufacturer institution_name series_description manufacturer_model_name patient_id
        issuer_of_patient_id rescale_type contrast_bolus_agent""",
    "DS": """slice_thickness repetition_time echo_time inversion_time spacing_between_slices trigger_time
        gantry_detector_tilt
        imager_pixel_spacing nominal_scanned_pixel_spacing image_position_patient image_orientation_patient
        pixel_spacing window_center window_width rescale_intercept rescale_slope""",
    "IS": """echo_numbers series_number acquisition_number instance_number temporal_position_identifier
        number_of_frames""",
    "FD": "diffusion_b_value",
    "US": """samples_per_pixel planar_configuration rows columns bits_allocated bits_stored high_bit
        pixel_representation""",
}
VRS: dict[str, str] = {name: vr for vr, names in _BY_VR.items() for name in names.split()}
"""The type of every column's element by the data dictionary (PS3.6)."""

TAGS = np.array([c.tag for c in COLUMNS], np.int64)
MARKS = np.array(
    [
        (0x00281101, FLAGS["palette"]),
        (0x00283000, FLAGS["modality_lut"]),
        (0x00283010, FLAGS["voi_lut"]),
        (0x00291010, FLAGS["csa_header"]),
        (0x00291020, FLAGS["csa_header"]),
        (0x52009229, FLAGS["functional_groups"]),
        (0x52009230, FLAGS["functional_groups"]),
    ],
    np.int64,
)
"""Elements of which only the presence is kept, and the bit of `flags` that keeps it."""
_SYNTAX_TAG = 0x00020010
_LONGEST = 10_240  # bytes of a wanted value; a longer one is no name, number or UID
_SYNTAX = 0  # the place of the transfer syntax among the columns
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_FIRST_PIXELS, _SECOND_PIXELS, _PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
_ROOT = np.frombuffer(b"1.2.840.10008.1.2", np.uint8)  # implicit little endian; the others go on from it
_DEFLATED_TAIL = np.frombuffer(b".1.99", np.uint8)
_BIG_TAIL = np.frombuffer(b".2", np.uint8)
DEEPEST = 30  # sequences and items within each other
_IN_SEQUENCE, _IN_ITEM, _IN_FRAGMENTS = 0, 1, 2


def _vr_table() -> NDArray[np.uint8]:
    """1 for the types whose length has 16 bits, 2 for 32 bits, 0 for what is no type (PS3.5 7.1.2)."""
    table = np.zeros(65536, np.uint8)
    for n, names in (
        (1, "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"),
        (2, "OB OD OF OL OV OW SQ SV UC UN UR UT UV"),
    ):
        for name in names.split():
            table[_vr_code(name)] = n
    return table


def _vr_code(name: str) -> int:
    return ord(name[0]) << 8 | ord(name[1])


_VR = _vr_table()
_SQ, _UN = _vr_code("SQ"), _vr_code("UN")
_OB, _OW = _vr_code("OB"), _vr_code("OW")


@compiled
def _u16(b, p, big):  # type: ignore[no-untyped-def]
    if big:
        return np.int64(b[p]) << 8 | np.int64(b[p + 1])
    return np.int64(b[p + 1]) << 8 | np.int64(b[p])


@compiled
def _u32(b, p, big):  # type: ignore[no-untyped-def]
    if big:
        return _u16(b, p, big) << 16 | _u16(b, p + 2, big)
    return _u16(b, p + 2, big) << 16 | _u16(b, p, big)


@compiled
def _capitals(b, p):  # type: ignore[no-untyped-def]
    """True if two capital letters stand at `p`, as a type does and a length hardly ever."""
    return 0x40 < b[p] < 0x5B and 0x40 < b[p + 1] < 0x5B


@compiled
def _element(b, p, end, implicit, big, out):  # type: ignore[no-untyped-def]
    """Read an element's tag, type, length and the place of its value into `out`; DONE, ODD or MORE."""
    if p + 8 > end:
        return MORE
    out[0] = _u16(b, p, big) << 16 | _u16(b, p + 2, big)
    if implicit:
        out[1], out[2], out[3] = 0, _u32(b, p + 4, big), p + 8
        return DONE
    vr = np.int64(b[p + 4]) << 8 | np.int64(b[p + 5])
    out[1] = vr
    if _VR[vr] == 1:
        out[2], out[3] = _u16(b, p + 6, big), p + 8
        return DONE
    if _VR[vr] == 0:
        return ODD
    if p + 12 > end:
        return MORE
    out[2], out[3] = _u32(b, p + 8, big), p + 12
    return DONE


@compiled
def _after_sequence(b, p, end, last, opened, implicit, big, levels, out):  # type: ignore[no-untyped-def]
    """The place after a value of undefined length that begins at `p`; -ODD or -MORE where there is none.

    `levels` says of every open sequence, item or run of fragments what it is and if it has no types;
    `last` is where the file ends, `end` where the bytes at hand do.
    """
    depth = 0
    levels[0, 0], levels[0, 1] = opened, implicit
    while True:
        if p > last:
            return -ODD
        if p + 8 > end:
            return -MORE
        tag, length = _u16(b, p, big) << 16 | _u16(b, p + 2, big), _u32(b, p + 4, big)
        if levels[depth, 0] != _IN_ITEM:
            if tag == _SEQUENCE_END:
                p += 8
                depth -= 1
                if depth < 0:
                    return p
            elif tag != _ITEM:
                return -ODD
            elif length != _UNDEFINED:
                p += 8 + length
            elif levels[depth, 0] == _IN_FRAGMENTS or depth + 1 == DEEPEST:
                return -ODD
            else:
                if p + 14 > end:
                    return -MORE
                # an item may leave out the types though the dataset has them (PS3.5 6.2.2)
                bare = levels[depth, 1] != 0 or not _capitals(b, p + 12)
                depth += 1
                levels[depth, 0], levels[depth, 1] = _IN_ITEM, bare
                p += 8
        elif tag == _ITEM_END:
            p += 8
            depth -= 1
        elif tag >> 16 == 0xFFFE:
            return -ODD
        else:
            found = _element(b, p, end, levels[depth, 1], big, out)
            if found != DONE:
                return -found
            p = out[3]
            if out[2] != _UNDEFINED:
                p += out[2]
            else:
                kind = _opened(out[0], out[1], big)
                if kind < 0 or depth + 1 == DEEPEST:
                    return -ODD
                depth += 1
                levels[depth, 0], levels[depth, 1] = kind, levels[depth - 1, 1]


@compiled
def _opened(tag, vr, big):  # type: ignore[no-untyped-def]
    """What a value of undefined length is: a sequence, fragments, or -1 if it may not be one."""
    if vr == _SQ or (vr == _UN and not big):
        return _IN_SEQUENCE
    if vr == _OB or vr == _OW:  # noqa: SIM109 - compiled
        return _IN_FRAGMENTS
    if vr == 0 and tag != _PIXELS:
        return _IN_SEQUENCE
    return -1


@compiled
def _flag_of(tag, marks):  # type: ignore[no-untyped-def]
    if tag >= marks[0, 0]:
        for k in range(len(marks)):
            if tag == marks[k, 0]:
                return marks[k, 1]
    return 0


@compiled
def _syntax_is(b, p, n, tail):  # type: ignore[no-untyped-def]
    """True if the UID of n bytes at `p` is the DICOM root's 1.2.840.10008.1.2 followed by `tail`."""
    while n > 0 and (b[p + n - 1] == 0 or b[p + n - 1] == 32):
        n -= 1
    if n != len(_ROOT) + len(tail):
        return False
    for k in range(len(_ROOT)):
        if b[p + k] != _ROOT[k]:
            return False
    for k in range(len(tail)):  # noqa: SIM110 - compiled
        if b[p + len(_ROOT) + k] != tail[k]:
            return False
    return True


@compiled
def _meta(b, p, end, places, lengths, vrs, out):  # type: ignore[no-untyped-def]
    """The place after the file meta information, always explicit little endian; -ODD or -MORE."""
    previous, no = np.int64(-1), np.int64(0)
    while True:
        if p + 8 > end:
            return -MORE
        if _u16(b, p, no) != 2:
            return p
        found = _element(b, p, end, no, no, out)
        if found != DONE:
            return -found
        tag, length = out[0], out[2]
        if tag <= previous or length == _UNDEFINED or (tag == 0x00020000 and length != 4):
            return -ODD
        if tag == _SYNTAX_TAG:
            if length == 0 or length > 64:
                return -ODD
            if out[3] + length > end:
                return -MORE
            places[_SYNTAX], lengths[_SYNTAX], vrs[_SYNTAX] = out[3], length, out[1]
        previous, p = tag, out[3] + length


@compiled
def _encoding(b, p, places, lengths):  # type: ignore[no-untyped-def]
    """How the dataset at `p` is written (bits IMPLICIT, BIG_ENDIAN), -ODD, or -DEFLATED.

    Without a transfer syntax, the first element tells (as pydicom guesses); with one, whether types
    are written is still read from the first element.
    """
    at, n = places[_SYNTAX], lengths[_SYNTAX]
    implicit = not _capitals(b, p + 4)
    if n < 0:
        if not implicit and _VR[np.int64(b[p + 4]) << 8 | np.int64(b[p + 5])] == 0:
            return -ODD
        return IMPLICIT if implicit else (BIG_ENDIAN if b[p + 1] >= 4 else 0)
    for k in range(at, at + n):
        if b[k] == 92 or b[at] == 32 or (b[k] < 32 and k + 1 < at + n):  # several, or padded elsewhere
            return -ODD
    if _syntax_is(b, at, n, _DEFLATED_TAIL):
        return -DEFLATED
    if _syntax_is(b, at, n, _BIG_TAIL):
        return -ODD if implicit else BIG_ENDIAN
    return IMPLICIT if implicit else 0


@compiled
def _walk(b, start, end, last, inflated, shift, tags, marks, state, places, lengths, vrs, levels, out):  # type: ignore[no-untyped-def]
    """Walk one header in b[start:end]; the file ends at `last`. Fill its rows of places and state."""
    lengths[:] = -1
    state[_AT] = state[_NEXT] = 0
    p, marked = start, end - start >= 132
    if marked and b[start + 128] == 68 and b[start + 129] == 73 and b[start + 130] == 67:
        p = start + 132 if b[start + 131] == 77 else start
    p = _meta(b, p, end, places, lengths, vrs, out)
    if p < 0:
        state[_AT] = start
        return -p
    encoding = _encoding(b, p, places, lengths)
    if encoding == -DEFLATED:
        if inflated == 0:
            state[_AT] = p
            return DEFLATED
        encoding, shift = 0, start - p
    if encoding < 0:
        return ODD
    implicit, big = encoding & IMPLICIT, encoding & BIG_ENDIAN  # zero or not
    state[_ENCODING] = encoding
    previous, wanted = np.int64(0x0002FFFF), 1
    while True:
        state[_AT] = p
        if p == last:
            return DONE
        found = _element(b, p, end, implicit, big, out)
        if found != DONE:
            return found
        tag, vr, length, value = out[0], out[1], out[2], out[3]
        if tag <= previous or tag >> 16 == 0xFFFE:
            return ODD
        previous = tag
        if _FIRST_PIXELS <= tag <= _SECOND_PIXELS or tag == _PIXELS:
            if value > last:
                return ODD
            state[_PIXEL_TAG], state[_PIXEL_OFFSET] = tag, value - start + shift
            state[_PIXEL_LENGTH] = length
            if length == _UNDEFINED:
                state[_PIXEL_LENGTH] = -1
            return DONE
        if length != 0:
            state[_FLAGS] |= _flag_of(tag, marks)
        while wanted < len(tags) and tags[wanted] < tag:
            wanted += 1
        is_wanted = wanted < len(tags) and tags[wanted] == tag
        if length == _UNDEFINED:
            kind = _opened(tag, vr, big)
            if is_wanted or kind != _IN_SEQUENCE:
                return ODD
            p = _after_sequence(b, value, end, last, kind, implicit, big, levels, out)
            if p < 0:
                return -p
            continue
        p = value + length
        if p > last or (is_wanted and length > _LONGEST):
            return ODD
        if is_wanted:
            if p > end:
                return MORE
            places[wanted], lengths[wanted], vrs[wanted] = value, length, vr
            state[_FOUND] += length > 0
        elif p > end:
            state[_NEXT] = p - start
            return MORE


@compiled
def walk_files(
    block, starts, ends, lasts, shifts, inflated, tags, marks, state, places, lengths, vrs, levels, out
):  # type: ignore[no-untyped-def]
    """Walk the headers block[starts[n]:ends[n]] of files that end at lasts[n] in the same count.

    `state` (files, len(STATE)) is filled, as are `places`, `lengths` (-1: absent) and `vrs`, all
    (files, tags): where in the block each wanted value lies. `shifts` is added to what is said
    of the pixels' place, counted from a file's start. `inflated` is 1 if a deflated dataset has been
    inflated, `tags` are TAGS and `marks` MARKS. `levels` (DEEPEST, 2) and `out` (4,) are memory to work in.
    """
    for n in range(len(starts)):
        state[n, _FOUND] = 0
        status = _walk(
            block, starts[n], ends[n], lasts[n], inflated, shifts[n], tags, marks, state[n], places[n],
            lengths[n], vrs[n], levels, out,
        )  # fmt: skip
        if status == MORE and ends[n] >= lasts[n]:
            status = ODD  # the file ends within an element
        state[n, _STATUS] = status
        state[n, _AT] -= starts[n]
