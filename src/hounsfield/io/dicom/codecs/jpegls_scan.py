"""One scan of JPEG-LS in compiled code (ITU-T T.87 Annex A), lossless or near-lossless.

Components alone or interleaved by line. Every read and write stays within its array whatever the bits say,
so damaged codestreams cannot harm the process, and every line ends.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from hounsfield.core.compiled import compiled

__all__ = ["RUN_LENGTHS", "decode_scan", "gradients", "unstuffed"]

# T.87 table of run lengths: J[RUNindex]
RUN_LENGTHS = np.array(
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    np.int64,
)
_SPARE = 16  # bytes after the bits, for a wide read


@intrinsic
def _word(typing: Any, bits: Any, at: Any) -> Any:  # noqa: ARG001 - numba calls it with types
    """The 64 bits from byte `at` on, the first one highest."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        place = builder.bitcast(builder.gep(data, [values[1]]), ir.IntType(64).as_pointer())
        return builder.bswap(builder.load(place, align=1))

    return types.uint64(bits, types.intp), generate


@intrinsic
def _zeros(typing: Any, word: Any) -> Any:  # noqa: ARG001
    """Leading zeros of 64 bits; 64 for zero."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
        return builder.ctlz(values[0], ir.IntType(1)(0))

    return types.int64(types.uint64), generate


@lru_cache(8)
def gradients(near: int, thresholds: tuple[int, int, int], largest: int) -> NDArray[np.int8]:
    """Region -4 … 4 of every difference (A.3.3); the index is the difference + largest."""
    difference = np.arange(-largest, largest + 1)
    size = np.abs(difference)
    region = (size > near).astype(np.int64)
    for threshold in thresholds:
        region += size >= threshold
    return (np.sign(difference) * region).astype(np.int8)


@compiled
def unstuffed(data: NDArray[Any], start: int, bits: NDArray[Any]) -> tuple[int, int]:
    """Entropy-coded bits without the zero bit after each 0xFF (A.1): how many, and where a marker begins."""
    held, filled, done, before = np.uint64(0), 0, 0, 0
    at = start
    while at < data.size:
        byte = np.uint64(data[at])
        take = 8
        if before == 255:
            if byte > 127:
                at -= 1
                break
            take = 7
        held = (held << np.uint64(take)) | byte
        filled += take
        if filled >= 8:
            filled -= 8
            bits[done] = np.uint8((held >> np.uint64(filled)) & np.uint64(255))
            done += 1
        before = np.int64(byte)
        at += 1
    if filled:
        bits[done] = np.uint8((held << np.uint64(8 - filled)) & np.uint64(255))
    return 8 * done + filled, at


@compiled
def decode_scan(
    bits: NDArray[Any],
    count: int,
    out: NDArray[Any],
    regions: NDArray[Any],
    run_lengths: NDArray[Any],
    largest: int,
    near: int,
    reset: int,
) -> bool:
    """Fill `out` (J, C, I); False where the bits end too early or contradict themselves."""
    rows, components, columns = out.shape
    step = 2 * near + 1
    span = (largest + 2 * near) // step + 1
    span_bits = 64 - _zeros(np.uint64(span - 1))
    depth = max(2, 64 - _zeros(np.uint64(largest)))
    limit = 2 * (depth + max(8, depth))
    longest = limit - span_bits - 1
    last = bits.size - 8
    # contexts: A, B, C, N, k each; 365 and 366 are those of interrupted runs, with Nn in place of B
    contexts = np.zeros((367, 8), np.int32)
    contexts[:, 0] = max(2, (span + 32) // 64)
    contexts[:, 3] = 1
    first = np.int64(contexts[0, 0])
    k = 63 - _zeros(np.uint64(first))
    contexts[:, 4] = k + np.int64((1 << k) < first)
    lines = np.zeros((2, components, columns + 2), np.int32)
    run_index = np.zeros(components, np.int64)
    wrap, pos = span * step, 0
    for j in range(rows):
        for c in range(components):
            above, line = lines[(j + 1) & 1, c], lines[j & 1, c]
            above[columns + 1] = above[columns]
            line[0] = above[1]
            left, corner, top = np.int64(line[0]), np.int64(above[0]), np.int64(above[1])
            x = 1
            while x <= columns:
                right = np.int64(above[np.uint64(x + 1)])
                g1 = np.int64(regions[np.uint64(right - top + largest)])
                g2 = np.int64(regions[np.uint64(top - corner + largest)])
                g3 = np.int64(regions[np.uint64(corner - left + largest)])
                q = 81 * g1 + 9 * g2 + g3
                if q != 0:
                    # comparisons instead of branches, which nothing could predict here
                    flip = q >> 63
                    u = np.uint64((q ^ flip) - flip)
                    a, b, bias = np.int64(contexts[u, 0]), np.int64(contexts[u, 1]), np.int64(contexts[u, 2])
                    n, k = np.int64(contexts[u, 3]), np.int64(contexts[u, 4])
                    low, high = min(left, top), max(left, top)
                    guess = max(low, min(high, left + top - corner)) + ((bias ^ flip) - flip)
                    guess = max(0, min(largest, guess))
                    word = _word(bits, min(pos >> 3, last)) << np.uint64(pos & 7)
                    zeros = _zeros(word)
                    if zeros < longest and zeros + k < 56:
                        pos += zeros + 1 + k
                        # the bit after the zeros is a one: take it with the remainder, then remove it
                        mapped = np.int64(word >> np.uint64(63 - zeros - k)) - (1 << k) + (zeros << k)
                    elif zeros < longest:
                        pos += zeros + 1
                        word = _word(bits, min(pos >> 3, last)) << np.uint64(pos & 7)
                        mapped = (zeros << k) + (np.int64(word >> np.uint64(64 - k)) if k else 0)
                        pos += k
                    else:
                        pos += longest + 1
                        word = _word(bits, min(pos >> 3, last)) << np.uint64(pos & 7)
                        mapped = np.int64(word >> np.uint64(64 - span_bits)) + 1
                        pos += span_bits
                    error = (mapped >> 1) ^ -(mapped & 1)
                    if k == 0 and near == 0 and 2 * b <= -n:
                        error = ~error
                    b += error * step
                    a += abs(error)
                    if n == reset:
                        a, b, n = a >> 1, b >> 1, n >> 1
                    n += 1
                    below, above_zero = np.int64(b <= -n), np.int64(b > 0)
                    moved = b + (n & -below) - (n & -above_zero)
                    b = min(max(moved, 1 - n), 0)
                    bias = min(127, max(-128, bias + above_zero - below))
                    k = max(0, _zeros(np.uint64(n)) - _zeros(np.uint64(a)))
                    k += np.int64((n << k) < a)
                    contexts[u, 0], contexts[u, 1], contexts[u, 2] = np.int32(a), np.int32(b), np.int32(bias)
                    contexts[u, 3], contexts[u, 4] = np.int32(n), np.int32(k)
                    value = guess + ((error ^ flip) - flip) * step
                    if value < -near:
                        value += wrap
                    elif value > largest + near:
                        value -= wrap
                    left = max(0, min(largest, value))
                    line[np.uint64(x)] = np.int32(left)
                    x += 1
                    corner, top = top, right
                    continue
                # a run of values like the one before (A.7)
                index = run_index[c]
                start = x
                ended = False
                while x <= columns:
                    word = _word(bits, min(pos >> 3, last)) << np.uint64(pos & 7)
                    pos += 1
                    if word >> np.uint64(63):
                        length = 1 << run_lengths[index]
                        if x + length - 1 <= columns:
                            index = min(31, index + 1)
                        x = min(columns + 1, x + length)
                    else:
                        more = run_lengths[index]
                        x += np.int64((word << np.uint64(1)) >> np.uint64(64 - more)) if more else 0
                        pos += more
                        ended = True
                        break
                if x > columns + 1 or (ended and x > columns):
                    return False
                for at in range(start, x):
                    line[np.uint64(at)] = np.int32(left)
                if ended:
                    top = np.int64(above[x])
                    alike = 1 if abs(left - top) <= near else 0
                    q = 365 + alike
                    a, n = np.int64(contexts[q, 0]), np.int64(contexts[q, 3])
                    estimate = a + (n >> 1) if alike else a
                    k = max(0, _zeros(np.uint64(n)) - _zeros(np.uint64(estimate)))
                    if (n << k) < estimate:
                        k += 1
                    most = longest - run_lengths[index] - 1
                    word = _word(bits, min(pos >> 3, last)) << np.uint64(pos & 7)
                    zeros = _zeros(word)
                    if zeros < most:
                        pos += zeros + 1
                        word = _word(bits, min(pos >> 3, last)) << np.uint64(pos & 7)
                        mapped = (zeros << k) + (np.int64(word >> np.uint64(64 - k)) if k else 0)
                        pos += k
                    else:
                        pos += most + 1
                        word = _word(bits, min(pos >> 3, last)) << np.uint64(pos & 7)
                        mapped = np.int64(word >> np.uint64(64 - span_bits)) + 1
                        pos += span_bits
                    both = mapped + alike
                    error = (both + 1) >> 1
                    negative = k != 0 or 2 * contexts[q, 1] >= n
                    if negative == ((both & 1) == 1):
                        error = -error
                    if error < 0:
                        contexts[q, 1] += 1
                    a += (mapped + 1 - alike) >> 1
                    if n == reset:
                        a, n = a >> 1, n >> 1
                        contexts[q, 1] >>= 1
                    contexts[q, 0], contexts[q, 3] = a, n + 1
                    value = left + error * step if alike else top + (-error if left > top else error) * step
                    if value < -near:
                        value += wrap
                    elif value > largest + near:
                        value -= wrap
                    left = max(0, min(largest, value))
                    line[x] = left
                    x += 1
                    index = max(0, index - 1)
                run_index[c] = index
                corner, top = np.int64(above[x - 1]), np.int64(above[min(x, columns + 1)])
            out[j, c] = line[1 : columns + 1]
            if pos > count:
                return False
    return True
