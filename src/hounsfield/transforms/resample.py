"""Images resampled once along any matrix and displacement: compiled, linear, at a few cycles a tap.

A row of the result is made in loops that become vectors or nearly so: where its voxels lie in the image,
what that means beyond the edge, which cell and which share of it, and the sum of the cell's corners. A slice
is copied first into real numbers with a margin of one voxel that holds what `fill` says, so that no corner
needs a question. Nothing is checked in here: matrices and displacements must be finite.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from hounsfield.core.compiled import arithmetic

__all__ = ["FILLS", "KINDS", "Resampling", "copied", "resampled"]

FILLS = {"nearest": 0, "constant": 1, "reflect": 2, "wrap": 3}
KINDS = {"uint8": 0, "int16": 1, "uint16": 2, "float32": 3}
_CONSTANT, _REFLECT, _WRAP = 1, 2, 3
_UINT8, _INT16, _UINT16 = 0, 1, 2
_OUTSIDE = -1
_AT_ONCE = 512  # voxels from whose cells values are made in one loop: more would leave the first cache
_BLOCK = 256  # voxels of a row placed from one double, so that single precision suffices in between
_FAR = 1e6  # voxels: further beyond the edge all is alike
_F = np.float32
_I = np.int32


class Resampling(NamedTuple):
    """What the compiled loops read and write.

    `stored` (n, bytes) holds the images' numbers of a kind of KINDS, `out` (n, C, K, J, I) receives them.
    `matrices` (n, 3, 4) go from voxels (k, j, i) of `out` to those of the image. `points` (n, d, q, p, p)
    displace, none if n is 0: for slices along 2 axes with q = 1, for volumes along 3 with q = p; `across`
    (K, q) and `along` (J, p) are their splines. `outside` (n,) is the stored number beyond the edge for
    "constant", `fill` one of FILLS. `levels` (n, 4) come at the end.
    """

    stored: NDArray[np.uint8]
    kind: int
    out: NDArray[np.float32]
    matrices: NDArray[np.float64]
    points: NDArray[np.float32]
    across: NDArray[np.float32]
    along: NDArray[np.float32]
    outside: NDArray[np.float64]
    fill: int
    levels: NDArray[np.float64]


@arithmetic
def resampled(work: Resampling, by_slices: bool, first: int, last: int) -> None:
    """Images [first, last): eight corners, or four in each slice if k of the matrices depends on k alone."""
    channels, depth, height, width = work.out.shape[1:]
    axes, at_once = 2 if by_slices else 3, max(1, _AT_ONCE // width)
    rows, cells = np.empty((axes, at_once * width), np.float32), np.empty(at_once * width, np.int32)
    pad = np.empty((channels, 1 if by_slices else depth + 2, height + 2, width + 2), np.float32)
    spare = np.empty((height + 2, width + 2), np.float32)
    slice_size = spare.size
    control = np.empty((axes, work.along.shape[1], work.along.shape[1]), np.float32)
    for n in range(first, last):
        m = work.matrices[n]
        for plane in range(0 if by_slices else depth + 2):
            for c in range(channels):
                _load(work, n, c, plane - 1.0, pad[c, plane], spare)
        for k in range(depth):
            for c in range(channels if by_slices else 0):
                _load(work, n, c, m[0, 0] * k + m[0, 3], pad[c, 0], spare)
            if len(work.points) > 0:
                _control_of_slice(work.points[n], work.across[k], control)
            for start in range(0, height, at_once):
                stop = min(start + at_once, height)
                for j in range(start, stop):
                    _place_row(work, m, k, j, control, rows, cells, (j - start) * width)
                for c in range(channels):
                    line = work.out[n, c, k].reshape(height * width)[start * width : stop * width]
                    flat = pad[c].reshape(pad.shape[1] * slice_size)
                    if by_slices:
                        _four_corners(flat, width + 2, cells, rows, line)
                    else:
                        _eight_corners(flat, width + 2, slice_size, cells, rows, line)
                    _level(line, work.levels[n])


@arithmetic
def copied(work: Resampling, mirrored: Any, first: int, last: int) -> None:
    """Images [first, last) turned round along k, j, i as `mirrored` (n, 3) says, nothing interpolated."""
    channels, depth, height, width = work.out.shape[1:]
    held = np.empty((height, width), np.float32)
    for n in range(first, last):
        for c in range(channels):
            for k in range(depth):
                from_k = depth - 1 - k if mirrored[n, 0] else k
                plane = work.out[n, c, k]
                _numbers(work.stored[n], work.kind, (c * depth + from_k) * height * width, held, 0)
                for j in range(height):
                    line, source = plane[j], held[height - 1 - j if mirrored[n, 1] else j]
                    if mirrored[n, 2]:
                        for i in range(width):
                            line[i] = source[width - 1 - i]
                    else:
                        for i in range(width):
                            line[i] = source[i]
                _level(plane.reshape(height * width), work.levels[n])


@arithmetic
def _numbers(stored: Any, kind: int, at: int, plane: Any, margin: int) -> None:
    """A slice from the number at `at`, as real numbers, in the middle of a plane with a margin."""
    size = (plane.shape[0] - 2 * margin) * (plane.shape[1] - 2 * margin)
    if kind == _UINT8:
        _convert(stored[at : at + size], plane, margin)
    elif kind == _INT16:
        _convert(stored[2 * at : 2 * (at + size)].view(np.int16), plane, margin)
    elif kind == _UINT16:
        _convert(stored[2 * at : 2 * (at + size)].view(np.uint16), plane, margin)
    else:
        _convert(stored[4 * at : 4 * (at + size)].view(np.float32), plane, margin)


@arithmetic
def _convert(numbers: Any, plane: Any, margin: int) -> None:
    width = plane.shape[1] - 2 * margin
    for j in range(plane.shape[0] - 2 * margin):
        line, source = plane[j + margin, margin : margin + width], numbers[j * width : (j + 1) * width]
        for i in range(width):
            line[i] = _F(source[i])


@arithmetic
def _neighbour(index: int, size: int, fill: int) -> int:
    """The voxel that stands at an index beyond the edge."""
    if 0 <= index < size:
        return index
    if fill == _CONSTANT:
        return _OUTSIDE
    if fill == _WRAP:
        return index % size
    if fill == _REFLECT:
        index = index % (2 * size)
        return index if index < size else 2 * size - 1 - index
    return 0 if index < 0 else size - 1


@arithmetic
def _load(work: Resampling, n: int, channel: int, z: float, pad: Any, spare: Any) -> None:
    """The slice at height z of an image, as real numbers, with its margin, in `pad` (J + 2, I + 2)."""
    height, width = pad.shape[0] - 2, pad.shape[1] - 2
    size, depth, fill = height * width, work.out.shape[2], work.fill
    below = int(np.floor(z))
    share, background = _F(z - below), _F(work.outside[n])
    lower = _neighbour(below, depth, fill)
    upper = _neighbour(below + 1, depth, fill) if share > 0 else lower
    if lower == _OUTSIDE:
        _same(pad.reshape((height + 2) * (width + 2)), background)
    else:
        _numbers(work.stored[n], work.kind, (channel * depth + lower) * size, pad, 1)
    if upper != lower:
        if upper == _OUTSIDE:
            _same(spare.reshape((height + 2) * (width + 2)), background)
        else:
            _numbers(work.stored[n], work.kind, (channel * depth + upper) * size, spare, 1)
        for j in range(1, height + 1):
            line, above = pad[j], spare[j]
            for i in range(1, width + 1):
                line[i] += share * (above[i] - line[i])
    _surround(pad, fill, background)


@arithmetic
def _surround(pad: Any, fill: int, background: float) -> None:
    """Fill the margin of a plane."""
    height, width = pad.shape[0] - 2, pad.shape[1] - 2
    for j in range(1, height + 1):
        before, after = pad[j, 1], pad[j, width]
        if fill == _CONSTANT:
            before = after = background
        elif fill == _WRAP:
            before, after = after, before
        pad[j, 0], pad[j, width + 1] = before, after
    first, last = (height, 1) if fill == _WRAP else (1, height)
    for i in range(width + 2):
        pad[0, i] = background if fill == _CONSTANT else pad[first, i]
        pad[height + 1, i] = background if fill == _CONSTANT else pad[last, i]


@arithmetic
def _same(line: Any, number: float) -> None:
    for i in range(len(line)):
        line[i] = number


@arithmetic
def _place_row(work: Any, m: Any, k: int, j: int, control: Any, rows: Any, cells: Any, at: int) -> None:
    """Cells and shares of a row of the result, from number `at` of `cells` and `rows` (2 or 3, …) on."""
    width, fill, axes = work.out.shape[4], work.fill, len(rows)
    part = cells[at : at + width]
    straight = len(work.points) == 0 and fill <= _CONSTANT
    for axis in range(axes):
        of = 3 - axes + axis
        row, size, step = rows[axis, at : at + width], work.out.shape[2 + of], m[of, 2]
        start, stride = m[of, 0] * k + m[of, 1] * j + m[of, 3], size + 2 if axis > 0 else 0
        for low in range(0, width, _BLOCK):
            high = min(low + _BLOCK, width)
            if straight:
                _split_line(start + step * low, step, row[low:high], size, fill, part[low:high], stride)
            else:
                _line(start + step * low, step, row[low:high])
        if not straight:
            if len(work.points) > 0:
                _displace(control[axis], work.along[j], row)
            _fold(row, size, fill)
            _split(row, size, fill, part, stride)


@arithmetic
def _line(start: float, step: float, row: Any) -> None:
    """Places start + i * step."""
    begin, single = _F(start), _F(step)
    for i in range(len(row)):
        row[i] = begin + _F(_I(i)) * single


@arithmetic
def _fold(row: Any, size: int, fill: int) -> None:
    """Bring places beyond the edge back into the image where it is reflected or goes round."""
    if fill == _REFLECT:
        period, inverse, half = _F(2 * size), _F(1 / (2 * size)), _F(size - 0.5)
        for i in range(len(row)):
            x = row[i]
            x -= np.floor((x + _F(0.5)) * inverse) * period
            row[i] = period - _F(1) - x if x > half else x
    elif fill == _WRAP:
        period, inverse = _F(size), _F(1 / size)
        for i in range(len(row)):
            row[i] -= np.floor(row[i] * inverse) * period


@arithmetic
def _split(row: Any, size: int, fill: int, cells: Any, stride: int) -> None:
    """The cell of each place; the row keeps the share of it passed.

    Cells are numbered in the image with its margin: those of the axes before times `stride`, plus this axis'.
    """
    low, high = _F(0 if fill == _CONSTANT else 1), _F(size + 1 if fill in (_CONSTANT, _WRAP) else size)
    most, step = _I(size), _I(stride)
    for i in range(len(row)):
        cell, row[i] = _cell(row[i] + _F(1), low, high, most)
        cells[i] = cell if step == 0 else _I(_I(cells[i] * step) + cell)


@arithmetic
def _split_line(start: float, step: float, row: Any, size: int, fill: int, cells: Any, stride: int) -> None:
    """`_line` and `_split` in one, where nothing is folded or displaced, counted from a whole number."""
    start = min(max(start, -_FAR), _FAR)
    origin = np.floor(start)
    begin, single, whole, times = _F(start - origin), _F(step), _I(origin + 1), _I(stride)
    low, high, most = _F(-fill - origin), _F(size + fill - 1 - origin), _I(size - whole)
    for i in range(len(row)):
        cell, row[i] = _cell(begin + _F(_I(i)) * single, low, high, most)
        cells[i] = _I(cell + whole) if times == 0 else _I(_I(cells[i] * times) + _I(cell + whole))


@arithmetic
def _cell(place: float, low: float, high: float, most: int) -> tuple[int, float]:
    """The cell of a place, counted in the image with its margin, and the share of it passed."""
    place = low if place < low else place
    place = high if place > high else place
    cell = _I(np.floor(place))
    cell = most if cell > most else cell
    return cell, place - _F(cell)


@arithmetic
def _control_of_slice(points: Any, weights: Any, made: Any) -> None:
    """Control points (d, p, p) of one slice from those of the volume."""
    for axis in range(len(made)):
        for b in range(made.shape[1]):
            for c in range(made.shape[2]):
                found = _F(0)
                for a in range(len(weights)):
                    found += weights[a] * points[axis, a, b, c]
                made[axis, b, c] = found


@arithmetic
def _displace(points: Any, weights: Any, row: Any) -> None:
    """Add to a row the spline of control points (p, p) at weights (p,), each piece as a polynomial."""
    pieces, size = points.shape[1] - 3, len(row)
    scale = pieces / (size - 1 if size > 1 else 1)
    for piece in range(pieces):
        a = b = c = d = _F(0)
        for n in range(len(weights)):
            a, b = a + weights[n] * points[n, piece], b + weights[n] * points[n, piece + 1]
            c, d = c + weights[n] * points[n, piece + 2], d + weights[n] * points[n, piece + 3]
        zero, one = (a + _F(4) * b + c) / _F(6), (c - a) / _F(2)
        two, three = (a - _F(2) * b + c) / _F(2), (d - a + _F(3) * (b - c)) / _F(6)
        begin, end = int(np.ceil(piece / scale)), int(np.ceil((piece + 1) / scale))
        if piece == pieces - 1 or end > size:
            end = size
        offset, step = _F(begin * scale - piece), _F(scale)
        part = row[begin:end]
        for i in range(len(part)):
            t = offset + _F(_I(i)) * step
            part[i] += zero + t * (one + t * (two + t * three))


@arithmetic
def _level(line: Any, levels: Any) -> None:
    scale, offset, least, greatest = _F(levels[0]), _F(levels[1]), _F(levels[2]), _F(levels[3])
    for i in range(len(line)):
        x = line[i] * scale + offset
        x = least if x < least else x
        line[i] = greatest if x > greatest else x


def _vectors(builder: Any, data: Any) -> tuple[Any, Any, Any]:
    """Two neighbours by one load; a mixture of two vectors; a number in every place of a vector."""
    single = ir.FloatType()

    def pair(at: Any) -> Any:
        place = builder.gep(data, [at])
        return builder.load(builder.bitcast(place, ir.VectorType(single, 2).as_pointer()), align=4)

    def mixed(a: Any, b: Any, share: Any) -> Any:
        how = ("contract", "nsz")
        return builder.fadd(a, builder.fmul(share, builder.fsub(b, a, flags=how), flags=how), flags=how)

    def everywhere(number: Any, count: int) -> Any:
        empty = ir.Constant(ir.VectorType(single, count), ir.Undefined)
        vector = builder.insert_element(empty, number, ir.IntType(32)(0))
        return builder.shuffle_vector(vector, vector, _places([0] * count))

    return pair, mixed, everywhere


def _places(of: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(of)), of)


def _ends(builder: Any, pair: Any) -> tuple[Any, Any]:
    return builder.extract_element(pair, ir.IntType(32)(0)), builder.extract_element(pair, ir.IntType(32)(1))


@intrinsic
def _bilinear(typing: Any, flat: Any, at: Any, row: Any, x: Any, y: Any) -> Any:  # noqa: ARG001
    """The value in the cell whose first corner is flat[at], `row` numbers before the next row's corner."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, row, x, y = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        pair, mixed, everywhere = _vectors(builder, data)
        both = mixed(pair(at), pair(builder.add(at, row)), everywhere(y, 2))
        return mixed(*_ends(builder, both), x)

    whole, real = types.int64, types.float32
    return real(flat, whole, whole, real, real), made


@intrinsic
def _trilinear(
    typing: Any, flat: Any, at: Any, row: Any, plane: Any, x: Any, y: Any, z: Any  # noqa: ARG001
) -> Any:  # fmt: skip
    """The same between eight corners: a slice's four in one vector, so that one step mixes two slices."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, row, plane, x, y, z = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        pair, mixed, everywhere = _vectors(builder, data)

        def four(at: Any) -> Any:
            return builder.shuffle_vector(pair(at), pair(builder.add(at, row)), _places([0, 1, 2, 3]))

        square = mixed(four(at), four(builder.add(at, plane)), everywhere(z, 4))
        upper = builder.shuffle_vector(square, square, _places([0, 1]))
        lower = builder.shuffle_vector(square, square, _places([2, 3]))
        return mixed(*_ends(builder, mixed(upper, lower, everywhere(y, 2))), x)

    whole, real = types.int64, types.float32
    return real(flat, whole, whole, whole, real, real, real), made


@arithmetic
def _four_corners(flat: Any, row: int, cells: Any, shares: Any, line: Any) -> None:
    ys, xs = shares[0], shares[1]
    for i in range(len(line)):
        line[i] = _bilinear(flat, np.int64(np.uint32(cells[i])), row, xs[i], ys[i])


@arithmetic
def _eight_corners(flat: Any, row: int, plane: int, cells: Any, shares: Any, line: Any) -> None:
    zs, ys, xs = shares[0], shares[1], shares[2]
    for i in range(len(line)):
        line[i] = _trilinear(flat, np.int64(np.uint32(cells[i])), row, plane, xs[i], ys[i], zs[i])
