"""From the bytes of wanted elements to values: text without padding, whole numbers and doubles.

Compiled, without the GIL, and equal to the last bit to what pydicom gives. A decimal is exact when its
digits make a whole number below 2**53 and its power of ten is within 10**22 (Clinger 1990): then one
correctly rounded operation gives the nearest double. Whatever is not that plain is left as `pending`.
"""

from __future__ import annotations

import numpy as np

from hounsfield.core.compiled import compiled
from hounsfield.io.dicom.columns import COLUMNS
from hounsfield.io.dicom.walk import BIG_ENDIAN, DONE, ODD, VRS

__all__ = ["ABOUT", "DECIMALS", "MOST_NUMBERS", "PENDING", "convert", "gather"]

# The columns of `pending`: the row and column of a cell that the kernel leaves, where its bytes lie,
# the type that is written there (0: none), and 1 if it only needs float() of each decimal.
PENDING = ("row", "column", "at", "length", "vr", "decimals")
DECIMALS = PENDING.index("decimals")
MOST_NUMBERS = 64  # of one cell; more are left to pydicom

_TEXT, _WHOLE, _NUMBER, _NUMBERS = range(4)
_KIND_NAMES = ("text", "whole", "number", "numbers")
ABOUT = np.array(
    [
        (
            _KIND_NAMES.index(c.kind),
            c.count,
            ord(VRS[c.name][0]) << 8 | ord(VRS[c.name][1]),
            sum(o.kind == c.kind for o in COLUMNS[:n]),
        )
        for n, c in enumerate(COLUMNS)
    ],
    np.int64,
)
"""Of every column: what it becomes, how many numbers, its type, and its place among those of its kind."""
_CHARACTER_SET = 1  # its place among the columns; that of the transfer syntax is 0
_UI, _LO, _IS, _US, _FD = (ord(vr[0]) << 8 | ord(vr[1]) for vr in ("UI", "LO", "IS", "US", "FD"))
_SPACE, _BACKSLASH = 32, 92
_EXACT, _INEXACT, _MALFORMED = 0, 1, 2
_POWERS = np.array([float(f"1e{n}") for n in range(23)])


@compiled
def _trimmed(b, p, end):  # type: ignore[no-untyped-def]
    """The end of a value without the spaces and NULs that pad it (PS3.5 6.2)."""
    while end > p and (b[end - 1] == _SPACE or b[end - 1] == 0):
        end -= 1
    return end


@compiled
def _copied(b, p, end, vr, arena, used):  # type: ignore[no-untyped-def]
    """Copy text into the arena as pydicom would strip it; the new end of the arena, -1 if not plain."""
    strips_start = vr in (_UI, _IS)
    strips_end = strips_start or vr == _LO
    value, digits = used, 0
    for k in range(p, end + 1):
        c = b[k] if k < end else _BACKSLASH
        if c == _BACKSLASH:
            if strips_end:
                while used > value and arena[used - 1] == _SPACE:
                    used -= 1
            if vr == _IS and (digits == 0 or used - value - digits > 1):
                return -1
            if k < end:
                arena[used] = c
                used += 1
            value, digits = used, 0
            continue
        if c < _SPACE or c > 126:
            return -1
        if c == _SPACE and strips_start and used == value:
            continue
        if vr == _IS and c != _SPACE:
            is_digit = 48 <= c <= 57
            is_sign = (c == 43 or c == 45) and used == value
            if not (is_digit or is_sign) or (used > value and arena[used - 1] == _SPACE):
                return -1
            digits += is_digit
        arena[used] = c
        used += 1
    return used


@compiled
def _whole(b, p, end, out):  # type: ignore[no-untyped-def]
    """Parse an integer string without its padding into out[0]."""
    while p < end and b[p] == _SPACE:
        p += 1
    negative = p < end and b[p] == 45
    if p < end and (b[p] == 43 or b[p] == 45):
        p += 1
    if p == end or end - p > 18:
        return _MALFORMED
    value = np.int64(0)
    for k in range(p, end):
        if not 48 <= b[k] <= 57:
            return _MALFORMED
        value = value * 10 + np.int64(b[k] - 48)
    out[0] = -value if negative else value
    return _EXACT


@compiled
def _decimal(b, p, end, out, exponent):  # type: ignore[no-untyped-def]
    """Parse a decimal string without its padding into out[0]."""
    while p < end and b[p] == _SPACE:
        p += 1
    while end > p and b[end - 1] == _SPACE:
        end -= 1
    negative = p < end and b[p] == 45
    if p < end and (b[p] == 43 or b[p] == 45):
        p += 1
    mantissa, digits, power, point = np.int64(0), 0, 0, False
    while p < end and (48 <= b[p] <= 57 or (b[p] == 46 and not point)):
        if b[p] == 46:
            point = True
        else:
            if mantissa < 100_000_000_000_000_000:
                mantissa = mantissa * 10 + np.int64(b[p] - 48)
            else:
                mantissa = np.int64(1) << 60  # too long to be exact
            digits += 1
            power -= point
        p += 1
    if digits == 0:
        return _MALFORMED
    if p < end and (b[p] == 69 or b[p] == 101):
        if _whole(b, p + 1, end, exponent) != _EXACT or end - p > 6 or b[p + 1] == _SPACE:
            return _MALFORMED
        power += exponent[0]
        p = end
    if p != end:
        return _MALFORMED
    if mantissa > 9_007_199_254_740_992 or power > 22 or power < -22:
        return _INEXACT
    value = np.float64(mantissa)
    value = value * _POWERS[power] if power >= 0 else value / _POWERS[-power]
    out[0] = -value if negative else value
    return _EXACT


@compiled
def _decimals(b, p, end, numbers, used, out, exponent):  # type: ignore[no-untyped-def]
    """Append decimals parted by backslashes; the new end of `numbers`, or -1 - _INEXACT, -1 - _MALFORMED."""
    worst, first = _EXACT, used
    value = p
    for k in range(p, end + 1):
        if k < end and b[k] != _BACKSLASH:
            continue
        found = _decimal(b, value, k, out, exponent)
        if found == _MALFORMED or used - first == MOST_NUMBERS:
            return -1 - _MALFORMED
        worst = max(worst, found)
        numbers[used] = out[0]
        used += 1
        value = k + 1
    return used if worst == _EXACT else -1 - worst


@compiled
def _double(b, p, big, integer, double):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for k in range(8):
        value = value << 8 | np.int64(b[p + (k if big else 7 - k)])
    integer[0] = value
    return double[0]


@compiled
def _is_known_set(b, p, end):  # type: ignore[no-untyped-def]
    """True if a character set begins as all do in which ASCII stands for itself."""
    if p == end or b[p] == _BACKSLASH:
        return True
    if end - p < 6:
        return False
    return (b[p] == 73 and b[p + 1] == 83 and b[p + 2] == 79 and (b[p + 3] == 95 or b[p + 3] == _SPACE)) or (
        b[p] == 71 and b[p + 1] == 66 and b[p + 2] == 49 and b[p + 3] == 56
    )


@compiled
def convert(  # type: ignore[no-untyped-def]
    b, about, rows, status, coding, places, lengths, vrs, texts, text_at, text_length, wholes, whole_set,
    singles, single_set, numbers, number_at, number_length, used, pending, integer, double,
):  # fmt: skip
    """Turn the values that a walk found into cells; return how many cells are pending.

    `about` is ABOUT. rows[n] is the row of the batch that file n fills, if its status is DONE. Text goes to
    the end of `texts`, several numbers to that of `numbers`, whose ends are `used`; the cells of a kind
    stand in arrays (slot, row). `integer` and `double` are one 64-bit word, seen twice. A file whose
    transfer syntax or character set is not plain, or in whose set ASCII may mean something else, gets the
    status ODD.
    """
    left = 0
    for n in range(len(rows)):
        if status[n] != DONE:
            continue
        row, big = rows[n], coding[n] & BIG_ENDIAN
        for column in range(len(about)):
            length = lengths[n, column]
            if length <= 0:
                continue
            p, done = places[n, column], False
            kind, expected, vr, slot = about[column, 0], about[column, 1], about[column, 2], about[column, 3]
            decimals = 0
            as_expected = vrs[n, column] == 0 or vrs[n, column] == vr
            if not as_expected:
                pass
            elif vr == _US:
                if length == 2:
                    high, low = (b[p], b[p + 1]) if big else (b[p + 1], b[p])
                    wholes[slot, row], whole_set[slot, row] = np.int64(high) << 8 | np.int64(low), True
                    done = True
            elif vr == _FD:
                if length == 8:
                    value = _double(b, p, big, integer, double)
                    if np.isfinite(value):
                        singles[slot, row], single_set[slot, row], done = value, True, True
            else:
                end = _trimmed(b, p, p + length)
                if kind == _TEXT:
                    known = column != _CHARACTER_SET or _is_known_set(b, p, end)
                    after = _copied(b, p, end, vr, texts, used[0]) if known and end > p else -1
                    if after > used[0]:
                        text_at[slot, row], text_length[slot, row] = used[0], after - used[0]
                    if after >= 0 or end == p:
                        used[0], done = max(after, used[0]), True
                elif _blank(b, p, end):
                    done = True
                elif kind == _WHOLE:
                    if _whole(b, p, end, integer) == _EXACT:
                        wholes[slot, row], whole_set[slot, row], done = integer[0], True, True
                else:
                    after = _decimals(b, p, end, numbers, used[1], double, integer)
                    decimals = 1 if after == -1 - _INEXACT else 0
                    count = after - used[1]
                    if kind == _NUMBER and count == 1:
                        singles[slot, row], single_set[slot, row], done = numbers[used[1]], True, True
                    elif kind == _NUMBERS and count > 0 and expected in (0, count):
                        number_at[slot, row], number_length[slot, row] = used[1], count
                        used[1], done = after, True
            if not done and column <= _CHARACTER_SET:
                status[n] = ODD
                break
            if not done:
                pending[left, 0], pending[left, 1], pending[left, 2] = row, column, p
                pending[left, 3], pending[left, 4], pending[left, 5] = length, vrs[n, column], decimals
                left += 1
    return left


@compiled
def _blank(b, p, end):  # type: ignore[no-untyped-def]
    while p < end and b[p] == _SPACE:
        p += 1
    return p == end


@compiled
def gather(values, at, lengths, offsets, out):  # type: ignore[no-untyped-def]
    """Put the values of one column behind each other; offsets[n] is where those of row n begin.

    A length of -1 is a null. `out` is as long as all the lengths together.
    """
    used = 0
    for n in range(len(at)):
        offsets[n] = used
        for k in range(lengths[n]):
            out[used + k] = values[at[n] + k]
        used += max(lengths[n], 0)
    offsets[len(at)] = used
