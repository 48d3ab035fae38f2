"""A volume brought to another grid of voxels, in the same place of the patient.

A voxel reaches half its width to each side: beyond its centre the outermost one goes on as it is, and beyond
its border there is nothing (ITK's rule). Grids whose axes run alike are resampled along one axis after
another by small tables of weights, others voxel by voxel; either way slice by slice, so that no more than
the result and one slice is held. Nothing is averaged where voxels become larger.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume

__all__ = ["Order", "corner_shift_mm", "onto_grid", "same_place"]

Order = Literal["linear", "nearest", "cubic"]
Real = NDArray[np.float64]
Shape = tuple[int, int, int]

_SAME_VOXELS = 0.01
_SAME_MM = 0.01
_SNAP = 6  # decimals of a voxel: two affines multiplied leave noise behind the twelfth, headers at the sixth


def onto_grid(
    volume: Volume, shape: Shape, affine: Real, *, order: Order, outside: float | None = None
) -> NDArray[Any]:
    """The volume (C, K, J, I) on a grid of `shape` (K, J, I), whose `affine` maps (i, j, k) to LPS mm.

    "nearest" keeps the type and the values, "linear" and "cubic" (B-splines; Unser 1999) give float32.
    Outside the volume stands `outside`, by default its least value. The same grid (`same_place`) gives the
    same values and interpolates nothing. Raises BadInput for an affine that cannot be inverted.

    >>> image = Volume(np.array([[[[0, 10, 20]]]], np.uint8), np.eye(4))
    >>> finer = np.diag([0.5, 1.0, 1.0, 1.0])
    >>> onto_grid(image, (1, 1, 6), finer, order="linear", outside=-1).tolist()
    [[[[0.0, 5.0, 10.0, 15.0, 20.0, -1.0]]]]
    >>> onto_grid(image, (1, 1, 3), finer, order="nearest").tolist()
    [[[[0, 10, 10]]]]
    """
    if order not in get_args(Order):
        raise BadInput(f'the order "{order}" was asked for; choose "linear", "nearest" or "cubic"')
    data = _plain(volume.data)
    kind = data.dtype if order == "nearest" else np.dtype(np.float32)
    if data.shape[1:] == tuple(shape) and same_place(tuple(shape), volume.affine, affine):
        return data.astype(kind, copy=True)
    matrix = _to_source(volume.affine, affine)
    beyond = _beyond(data, kind, outside)
    out = np.empty((len(data), *shape), kind)
    along = _axes(matrix, tuple(shape))
    for channel, made in zip(data, out, strict=True):
        if along is not None:
            _by_axes(channel, matrix, along, order, beyond, made)
        else:
            _by_voxels(channel, matrix, order, beyond, made)
    return out


def same_place(shape: Shape, first: Real, second: Real) -> bool:
    """True where no corner voxel of a grid (K, J, I) moves by over 0.01 mm and a hundredth of a voxel.

    >>> nearly = np.eye(4)
    >>> nearly[0, 3] = 0.009
    >>> same_place((4, 4, 4), np.eye(4), nearly), same_place((4, 4, 4), np.eye(4), 2 * nearly)
    (True, False)
    """
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return False
    if corner_shift_mm(shape, first, second) <= _SAME_MM:
        return True
    try:
        back = np.linalg.inv(first)
    except np.linalg.LinAlgError:
        return False
    moved = (_corners(shape) @ (back @ (second - first)).T)[:, :3]
    return bool(np.abs(moved).max() <= _SAME_VOXELS)


def corner_shift_mm(shape: Shape, first: Real, second: Real) -> float:
    """How far the corner voxel of a grid (K, J, I) that moves most lies from its place, in mm.

    >>> corner_shift_mm((1, 1, 11), np.eye(4), np.diag([1.5, 1, 1, 1]))
    5.0
    """
    return float(np.linalg.norm((_corners(shape) @ (second - first).T)[:, :3], axis=1).max())


def _corners(shape: Shape) -> Real:
    """Corner voxels (8, 4) as (i, j, k, 1)."""
    ends = [n - 1 for n in shape[::-1]]
    return np.array(
        [[i * ends[0], j * ends[1], k * ends[2], 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)],
        np.float64,
    )


def _plain(data: NDArray[Any]) -> NDArray[Any]:
    """Numbers in the machine's own order of bytes and of a size that compiled loops know."""
    if data.dtype.kind == "b":
        return data.view(np.uint8)
    if data.dtype.kind == "f" and data.dtype.itemsize not in (4, 8):
        return data.astype(np.float32)
    if data.dtype.kind not in "iuf":
        raise BadInput(f"a volume of {data.dtype} cannot be resampled; give integers or real numbers")
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def _to_source(source: Real, target: Real) -> Real:
    """The matrix (3, 4) from a voxel (k, j, i) of the target to that of the source, free of noise."""
    try:
        matrix = np.linalg.inv(source) @ target
    except np.linalg.LinAlgError:
        matrix = np.full((4, 4), np.nan)
    if not np.isfinite(matrix).all():
        raise BadInput(
            "a volume's affine has no way back from millimetres to voxels (a spacing of 0, or two axes that "
            "run alike); correct the geometry in the file's header"
        )
    turned = np.empty((3, 4))
    turned[:, :3], turned[:, 3] = matrix[2::-1, 2::-1], matrix[2::-1, 3]
    return np.round(turned, 12) + 0.0


def _beyond(data: NDArray[Any], kind: np.dtype[Any], outside: float | None) -> float:
    if outside is None:
        least = float(np.nanmin(data)) if data.size and not np.isnan(data).all() else 0.0
        return least
    if kind.kind in "iu":
        ends = np.iinfo(kind)
        if not (float(outside).is_integer() and ends.min <= outside <= ends.max):
            raise BadInput(f"outside={outside:g} is no number of {kind}; give a whole one within its range")
    return float(outside)


def _axes(matrix: Real, shape: Shape) -> tuple[int, int, int] | None:
    """Which target axis each source axis follows, None where one follows several (by over 1e-4 voxels)."""
    reach = np.abs(matrix[:, :3]) * np.maximum(np.array(shape) - 1, 1)
    strongest = np.abs(matrix[:, :3]).argmax(1)
    rest = reach.copy()
    rest[np.arange(3), strongest] = 0
    if rest.sum(1).max() > 1e-4 or len(set(strongest.tolist())) < 3:
        return None
    return cast(tuple[int, int, int], tuple(strongest.tolist()))


def _by_axes(
    data: NDArray[Any], matrix: Real, along: Shape, order: Order, beyond: float, out: NDArray[Any]
) -> None:
    """Slice by slice of the target; `along` says which of its axes each axis of the source follows."""
    source = data.transpose(np.argsort(along))  # its axes now run as the target's
    rows = np.argsort(along)
    places = [
        matrix[row, axis] * np.arange(out.shape[axis]) + matrix[row, 3] for axis, row in enumerate(rows)
    ]
    places = [np.round(p, _SNAP) for p in places]
    inside = [(p >= -0.5) & (p < n - 0.5) for p, n in zip(places, source.shape, strict=True)]
    if order == "nearest":
        near = [_nearest(p, n) for p, n in zip(places, source.shape, strict=True)]
        for k, plane in enumerate(out):
            plane[...] = source[near[0][k]][near[1][:, None], near[2]] if inside[0][k] else beyond
            _put_outside(plane, inside[1], inside[2], beyond)
        return
    held = _splines(source) if order == "cubic" else source
    tables = [_weights(p, n, order) for p, n in zip(places, source.shape, strict=True)]
    down, across = (_sparse(*t, n) for t, n in zip(tables[1:], source.shape[1:], strict=True))
    for k, plane in enumerate(out):
        if not inside[0][k]:
            plane[...] = beyond
            continue
        mixed = _mixed(held, *(t[k] for t in tables[0]))
        plane[...] = across.dot(down.dot(mixed).T).T
        _put_outside(plane, inside[1], inside[2], beyond)


def _nearest(place: Real, size: int) -> NDArray[np.int64]:
    """A place in the middle of two voxels belongs to the second, as in ITK."""
    return np.clip(np.floor(place + 0.5), 0, size - 1).astype(np.int64)


def _put_outside(
    plane: NDArray[Any], rows: NDArray[np.bool_], columns: NDArray[np.bool_], beyond: float
) -> None:
    plane[~rows] = beyond
    plane[:, ~columns] = beyond


def _mixed(held: NDArray[Any], slices: NDArray[np.int64], shares: Real) -> NDArray[np.float32]:
    """A slice between slices, as real numbers."""
    made: NDArray[np.float32] | None = None
    for k, share in zip(slices.tolist(), shares.tolist(), strict=True):
        if share == 1.0:
            return np.ascontiguousarray(held[k], np.float32)
        if share:
            part = held[k].astype(np.float32) * np.float32(share)
            made = part if made is None else made + part
    assert made is not None
    return np.ascontiguousarray(made)


def _weights(place: Real, size: int, order: Order) -> tuple[NDArray[np.int64], Real]:
    """Voxels (n, taps) of an axis and their shares at each place; beyond the outermost centre as there."""
    place = np.clip(place, 0, size - 1)
    if size == 1:
        return np.zeros((len(place), 1), np.int64), np.ones((len(place), 1))
    first = np.minimum(np.floor(place).astype(np.int64), size - 2)
    t = place - first
    if order == "linear":
        return np.stack((first, first + 1), 1), np.stack((1 - t, t), 1)
    taps = first[:, None] + np.arange(-1, 3)
    period = 2 * (size - 1)
    taps = np.abs(taps) % period
    taps = np.where(taps > size - 1, period - taps, taps)  # mirrored about the outermost voxel
    s = 1 - t
    shares = np.stack((s**3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (3 * s**3 - 6 * s**2 + 4) / 6, t**3 / 6), 1)
    return taps, shares


def _sparse(taps: NDArray[np.int64], shares: Real, size: int) -> Any:
    from scipy.sparse import csr_array

    rows = np.repeat(np.arange(len(taps)), taps.shape[1])
    return csr_array((shares.ravel().astype(np.float32), (rows, taps.ravel())), shape=(len(taps), size))


def _splines(data: NDArray[Any]) -> NDArray[np.float32]:
    """The coefficients of cubic B-splines that pass through the voxels."""
    from scipy.ndimage import spline_filter1d

    made: NDArray[np.float32] = data.astype(np.float32)
    for axis in range(3):
        if made.shape[axis] > 1:
            made = spline_filter1d(made, 3, axis=axis, output=np.float32, mode="mirror")
    return made


def _by_voxels(data: NDArray[Any], matrix: Real, order: Order, beyond: float, out: NDArray[Any]) -> None:
    """Slice by slice where the axes of the two grids do not run alike."""
    from hounsfield.transforms.oblique import linear_plane, nearest_plane

    if order == "cubic":
        held = _splines(data)
        for plane, places in zip(out, _places(matrix, out.shape), strict=True):
            _cubic_plane(held, places, beyond, plane)
        return
    source = np.ascontiguousarray(data)
    for k, plane in enumerate(out):
        start = matrix[:, 0] * k + matrix[:, 3]
        if order == "nearest":
            nearest_plane(source, start, matrix[:, 1:3], plane.dtype.type(beyond), plane)
        else:
            linear_plane(source, start, matrix[:, 1:3], np.float32(beyond), plane)


def _places(matrix: Real, shape: tuple[int, ...]) -> Iterator[Real]:
    """The source's places (3, J, I) of each slice of the target."""
    j, i = np.arange(shape[1])[:, None], np.arange(shape[2])
    for k in range(shape[0]):
        yield np.stack([m[0] * k + m[1] * j + m[2] * i + m[3] for m in matrix])


def _cubic_plane(held: NDArray[Any], places: Real, beyond: float, out: NDArray[Any]) -> None:
    from scipy.ndimage import map_coordinates

    ends = np.array(held.shape)[:, None, None]
    inside = ((places >= -0.5) & (places < ends - 0.5)).all(0)
    at = np.clip(places, 0, ends - 1)
    map_coordinates(held, at, output=out, order=3, mode="mirror", prefilter=False)
    out[~inside] = beyond
