"""Image, mask, points and boxes moved together as one row of a draw says, and brought back.

Places are voxels in the order of the array's axes, (j, i) or (k, j, i); whole numbers are the middles of
voxels, so an image of n voxels spans -0.5 to n - 0.5. A draw takes a place of the changed image to the place
it shows: points go the other way, which a displacement allows only step by step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.errors import BadInput
from hounsfield.transforms.affine import inverse_affine, place
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.draw import Draw
from hounsfield.transforms.spline import spline_field, spline_weights

__all__ = [
    "moved_boxes", "moved_image", "moved_mask", "moved_points", "undo_image", "undo_mask", "undo_points",
]  # fmt: skip

Real = NDArray[np.float64]

_MODES = {"nearest": "nearest", "constant": "grid-constant", "reflect": "reflect", "wrap": "grid-wrap"}
_STEPS = 200  # of the way back through a displacement, at most
_NEAR = 1e-4  # voxels: near enough
_SAMPLES = 9  # places along each side of a box that a displacement bends


def moved_image(image: NDArray[Any], draw: Draw, row: int) -> NDArray[np.float32]:
    """An image (C, [K,] J, I) moved like the row's, values as they are; `fill_value` is one of them.

    >>> from hounsfield.core.plan import Augment
    >>> from hounsfield.transforms.draw import draw
    >>> mirrored = draw(Augment(flip_left_right=True), 1, (1, 3), 3)
    >>> moved_image(np.array([[[1, 2, 3]]], np.uint8), mirrored, 0).tolist()
    [[[3.0, 2.0, 1.0]]]
    """
    _refuse_other_shape(image.shape[1:], draw)
    stored = image[None, :, None] if image.ndim == 3 else image[None]
    as_they_are = np.array([[1.0, 0.0, -np.inf, np.inf]])
    return augmented(stored, as_they_are, draw.of([row]).moves_only())[0]


def moved_mask(mask: NDArray[Any], draw: Draw, row: int, *, outside: int = 0) -> NDArray[Any]:
    """A mask ([K,] J, I) of whole numbers moved like the row's image, each voxel by its nearest one.

    Beyond the edge it is filled as the image is, `outside` standing for its constant.

    >>> from hounsfield.core.plan import Augment
    >>> from hounsfield.transforms.draw import draw
    >>> moved_mask(np.array([[0, 7, 7]]), draw(Augment(flip_left_right=True), 1, (1, 3), 3), 0).tolist()
    [[7, 7, 0]]
    """
    _refuse_other_shape(mask.shape, draw)
    found = _shown(draw.of([row]), _grid(draw.shape), dense=True)
    return _nearest(mask, found, mode=_MODES[draw.fill], outside=outside)


def moved_points(points: NDArray[Any], draw: Draw, row: int) -> Real:
    """Where points (n, d) of the image lie in the changed one; beyond its edge they are kept.

    Where a displacement folds the image over itself, the nearest place that was reached.

    >>> from hounsfield.core.plan import Augment
    >>> from hounsfield.transforms.draw import draw
    >>> moved_points([[0, 0.5]], draw(Augment(flip_left_right=True), 1, (1, 3), 3), 0).tolist()
    [[0.0, 1.5]]
    """
    return _showing(draw.of([row]), _places(points, draw))


def moved_boxes(
    boxes: NDArray[Any], draw: Draw, row: int, *, least_visible: float = 0.0
) -> tuple[Real, NDArray[np.bool_]]:
    """Boxes (n, 2, d), lowest and highest place, around what they held; and which (n,) are lost.

    A box becomes the one around its moved corners, or around places all over it where a displacement bends
    it, and is clipped to the image. It is lost if nothing of it is left, or less than `least_visible` of its
    volume.

    >>> from hounsfield.core.plan import Augment
    >>> from hounsfield.transforms.draw import draw
    >>> mirrored = draw(Augment(flip_left_right=True), 1, (4, 8), 3)
    >>> boxes, lost = moved_boxes([[[0.5, 0.5], [2.5, 3.5]]], mirrored, 0)
    >>> boxes.tolist(), lost.tolist()
    ([[[0.5, 3.5], [2.5, 6.5]]], [False])
    """
    held = np.asarray(boxes, np.float64)
    d = len(draw.shape)
    if held.ndim != 3 or held.shape[1:] != (2, d) or not np.isfinite(held).all():
        raise BadInput(
            f"boxes {held.shape} were given; expected finite places (n, 2, {d}), lowest and highest"
        )
    one = draw.of([row])
    count = 2 if one.displacement is None else _SAMPLES
    shares = np.stack(np.meshgrid(*[np.linspace(0, 1, count)] * d, indexing="ij"), -1).reshape(-1, d)
    places = held[:, None, 0] + shares * (held[:, None, 1] - held[:, None, 0])
    moved = _showing(one, places.reshape(-1, d)).reshape(len(held), len(shares), d)
    low, high = moved.min(1), moved.max(1)
    shown_low = np.clip(low, -0.5, np.asarray(draw.shape) - 0.5)
    shown_high = np.clip(high, -0.5, np.asarray(draw.shape) - 0.5)
    apart = ((high < -0.5) | (low > np.asarray(draw.shape) - 0.5)).any(1)
    visible = np.prod(shown_high - shown_low, 1)
    touching = (visible == 0) & (np.prod(high - low, 1) > 0)
    lost = apart | touching | (visible < least_visible * np.prod(high - low, 1))
    return np.stack((shown_low, shown_high), 1), lost


def undo_image(image: NDArray[Any], draw: Draw, row: int, *, outside: float = 0.0) -> NDArray[np.float32]:
    """A changed image (C, [K,] J, I) brought back to the grid before; what had left the view is `outside`.

    >>> from hounsfield.core.plan import Augment
    >>> from hounsfield.transforms.draw import draw
    >>> undo_image(np.array([[[3, 2, 1]]]), draw(Augment(flip_left_right=True), 1, (1, 3), 3), 0).tolist()
    [[[1.0, 2.0, 3.0]]]
    """
    _refuse_other_shape(image.shape[1:], draw)
    places = _showing(draw.of([row]), _grid(draw.shape), dense=True)
    gone = _beyond(places, draw.shape)
    found = [
        ndimage.map_coordinates(np.asarray(channel, np.float32), places.T, order=1, mode="nearest")
        for channel in image
    ]
    made = np.where(gone, np.float32(outside), np.stack(found)).astype(np.float32)
    return made.reshape(image.shape)


def undo_mask(mask: NDArray[Any], draw: Draw, row: int, *, outside: int = 0) -> NDArray[Any]:
    """The same for a mask ([K,] J, I) of whole numbers, each voxel by its nearest.

    >>> from hounsfield.core.plan import Augment
    >>> from hounsfield.transforms.draw import draw
    >>> undo_mask(np.array([[7, 7, 0]]), draw(Augment(flip_left_right=True), 1, (1, 3), 3), 0).tolist()
    [[0, 7, 7]]
    """
    _refuse_other_shape(mask.shape, draw)
    places = _showing(draw.of([row]), _grid(draw.shape), dense=True)
    made = _nearest(mask, places, mode="nearest", outside=outside)
    made[_beyond(places, draw.shape).reshape(mask.shape)] = outside
    return made


def undo_points(points: NDArray[Any], draw: Draw, row: int) -> Real:
    """Where points (n, d) of the changed image lie in the image before.

    >>> from hounsfield.core.plan import Augment
    >>> from hounsfield.transforms.draw import draw
    >>> undo_points([[0, 1.5]], draw(Augment(flip_left_right=True), 1, (1, 3), 3), 0).tolist()
    [[0.0, 0.5]]
    """
    return _shown(draw.of([row]), _places(points, draw))


def _places(points: NDArray[Any], draw: Draw) -> Real:
    found = np.asarray(points, np.float64)
    if found.ndim != 2 or found.shape[1] != len(draw.shape) or not np.isfinite(found).all():
        raise BadInput(f"points {found.shape} were given; expected finite places (n, {len(draw.shape)})")
    return found


def _refuse_other_shape(shape: tuple[int, ...], draw: Draw) -> None:
    if shape != draw.shape:
        raise BadInput(f"an array of {shape} voxels was given; expected the {draw.shape} that were drawn for")


def _grid(shape: tuple[int, ...]) -> Real:
    return np.stack(np.indices(shape), -1).reshape(-1, len(shape)).astype(np.float64)


def _beyond(places: Real, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = ((places < -0.5) | (places > np.asarray(shape) - 0.5)).any(1)
    return found


def _nearest(mask: NDArray[Any], places: Real, *, mode: str, outside: int) -> NDArray[Any]:
    whole = mask.view(np.uint8) if mask.dtype == bool else mask
    made = ndimage.map_coordinates(whole, places.T, order=0, mode=mode, cval=outside, prefilter=False)
    return made.reshape(mask.shape).astype(mask.dtype)


def _shown(one: Draw, places: Real, *, dense: bool = False) -> Real:
    """The places of the image that the changed one (a draw of one row) shows at these places.

    `dense` reads the displacement between voxels, not as the spline: for a whole image it is much faster.
    """
    found = place(one.matrix[0], places)
    if one.displacement is None:
        return found
    points = one.displacement[0]
    if not dense:
        return found + spline_field(points, places, one.shape).T
    field = points.astype(np.float64)
    for axis, size in enumerate(one.shape, start=1):
        along = np.tensordot(field, spline_weights(size, points.shape[-1]), ([axis], [1]))
        field = np.moveaxis(along, -1, axis)
    moves = [ndimage.map_coordinates(part, places.T, order=1, mode="nearest") for part in field]
    return found + np.stack(moves, 1)


def _showing(one: Draw, places: Real, *, dense: bool = False) -> Real:
    """The places of the changed image that show these of the image; a step that went too far is halved."""
    back = inverse_affine(one.matrix[0])
    found = place(back, places)
    if one.displacement is None:
        return found
    stride = np.ones(len(places))
    off = _shown(one, found, dense=dense) - places
    for _ in range(_STEPS):
        distance = np.linalg.norm(off, axis=1)
        if (distance < _NEAR).all():
            break
        tried = found - stride[:, None] * (off @ back[:, :-1].T)
        off_there = _shown(one, tried, dense=dense) - places
        nearer = np.linalg.norm(off_there, axis=1) < distance
        found[nearer], off[nearer] = tried[nearer], off_there[nearer]
        stride = np.where(nearer, np.minimum(1.0, 2 * stride), stride / 2)
    return found
