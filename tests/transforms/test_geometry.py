"""Masks, points and boxes stay with the image they belong to, and find their way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Augment
from hounsfield.transforms.draw import Draw, draw
from hounsfield.transforms.geometry import (
    moved_boxes,
    moved_image,
    moved_mask,
    moved_points,
    undo_image,
    undo_mask,
    undo_points,
)

MOVES: dict[str, Any] = {
    "rotation_deg": 25, "tilt_deg": 10, "shift_width": 0.08, "shift_height": 0.08, "shift_slices": 0.05,
    "zoom": 0.15, "shear_deg": 8, "flip_left_right": True, "flip_up_down": True, "flip_slices": True,
}  # fmt: skip
SHAPES = [(60, 72), (28, 36, 40)]


def _drawn(shape: tuple[int, ...], elastic: float, *, n: int = 6, **more: Any) -> Draw:
    return draw(Augment(**MOVES, elastic=elastic, **more), n, shape, 3)


def _dots(shape: tuple[int, ...], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth dot at each point, each in its own channel."""
    grid = np.stack(np.indices(shape), -1)
    return np.stack([np.exp(-((grid - p) ** 2).sum(-1) / 8) for p in points])


def _inner_points(shape: tuple[int, ...], n: int = 5) -> NDArray[np.float64]:
    size = np.asarray(shape)
    return np.random.default_rng(0).uniform(0.35, 0.65, (n, len(shape))) * size


@pytest.mark.parametrize("elastic", [0.0, 0.06])
@pytest.mark.parametrize("shape", SHAPES)
def test_points_go_where_the_image_shows_them(shape: tuple[int, ...], elastic: float) -> None:
    drawn, points = _drawn(shape, elastic), _inner_points(shape)
    dots = _dots(shape, points)
    for row in range(6):
        shown = moved_image(dots, drawn, row)
        wanted = [ndimage.center_of_mass(channel) for channel in shown]
        found = moved_points(points, drawn, row)
        np.testing.assert_allclose(
            found, wanted, atol=0.35 if elastic else 0.05
        )  # a bent dot's centre drifts
        peaks = [
            ndimage.map_coordinates(c, p[:, None], order=1)[0] for c, p in zip(shown, found, strict=True)
        ]
        assert min(peaks) > 0.8  # the dot is interpolated twice


@pytest.mark.parametrize("elastic", [0.0, 0.06])
@pytest.mark.parametrize("shape", SHAPES)
def test_undo_restores_points(shape: tuple[int, ...], elastic: float) -> None:
    drawn = _drawn(shape, elastic)
    points = np.random.default_rng(1).uniform(-0.2, 1.2, (50, len(shape))) * shape
    for row in range(6):
        there = moved_points(points, drawn, row)
        np.testing.assert_allclose(undo_points(there, drawn, row), points, atol=2e-4)


@pytest.mark.parametrize("elastic", [0.0, 0.06])
@pytest.mark.parametrize("shape", SHAPES)
def test_undo_restores_geometry(shape: tuple[int, ...], elastic: float) -> None:
    drawn, middle = _drawn(shape, elastic), tuple(slice(s // 4, -s // 4) for s in shape)
    smooth = ndimage.gaussian_filter(
        np.random.default_rng(2).normal(size=(2, *shape)), (0, *[3] * len(shape))
    )
    smooth /= np.ptp(smooth)
    for row in range(6):
        back = undo_image(moved_image(smooth, drawn, row), drawn, row)
        assert np.abs(back - smooth)[(slice(None), *middle)].max() < 0.05  # what two interpolations blur
        assert np.abs(moved_image(smooth, drawn, row) - smooth)[(slice(None), *middle)].max() > 0.15


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mirrored_image_is_undone_exactly(shape: tuple[int, ...]) -> None:
    drawn = draw(Augment(flip_left_right=True, flip_up_down=True, flip_slices=True), 8, shape, 0)
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    mask = np.random.default_rng(0).integers(0, 9, shape)
    for row in range(8):
        np.testing.assert_array_equal(undo_image(moved_image(image, drawn, row), drawn, row), image)
        np.testing.assert_array_equal(undo_mask(moved_mask(mask, drawn, row), drawn, row), mask)


@pytest.mark.parametrize("fill", ["nearest", "constant", "reflect", "wrap"])
@pytest.mark.parametrize("elastic", [0.0, 0.06])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mask_moves_with_its_image_and_keeps_its_labels(
    shape: tuple[int, ...], elastic: float, fill: Any
) -> None:
    drawn = _drawn(shape, elastic, n=3, fill=fill)
    blocks = np.add.outer(np.arange(shape[-2]) // 12 * 7, np.arange(shape[-1]) // 12 * 3) % 11
    mask = np.broadcast_to(blocks, shape).astype(np.int16)
    one_label = (mask == 7).astype(np.float32)[None]
    for row in range(3):
        moved = moved_mask(mask, drawn, row)
        assert moved.dtype == np.int16 and set(np.unique(moved)) <= set(np.unique(mask))
        shown = moved_image(one_label, drawn, row)[0]
        sure = np.abs(shown - 0.5) > 0.49  # all corners of the cell agree
        assert ((moved == 7) == (shown > 0.5))[sure].all() and sure.mean() > 0.5
        back = undo_mask(moved, drawn, row)
        middle = tuple(slice(s // 4, -s // 4) for s in shape)
        assert (back == mask)[middle].mean() > 0.85 and (back != mask).any()


def test_what_left_the_view_is_said_to_be_outside() -> None:
    drawn = draw(Augment(shift_width=0.5), 20, (8, 10), 0)
    row = int(np.argmax(drawn.shift[:, 1]))
    gone = int(np.floor(drawn.shift[row, 1] * 10))
    assert gone >= 4
    back = undo_image(moved_image(np.ones((1, 8, 10)), drawn, row), drawn, row, outside=-5)
    assert (back[0, :, 10 - gone :] == -5).all() and (back[0, :, : 10 - gone - 1] == 1).all()
    assert (undo_mask(np.ones((8, 10), bool), drawn, row)[:, 10 - gone :] == 0).all()


@pytest.mark.parametrize("elastic", [0.0, 0.06])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_moved_box_holds_what_it_held(shape: tuple[int, ...], elastic: float) -> None:
    drawn = _drawn(shape, elastic)
    low, high = np.array(shape) // 3, np.array(shape) // 2
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
    for row in range(6):
        boxes, lost = moved_boxes(np.array([[low - 0.5, high - 0.5]]), drawn, row)
        held = np.argwhere(moved_mask(mask, drawn, row))
        assert not lost.any()
        assert (held.min(0) >= boxes[0, 0] - 0.51).all() and (held.max(0) <= boxes[0, 1] + 0.51).all()
        if len(shape) == 2:  # and it is tight: a corner of the mask lies within a voxel or two of each side
            assert (np.abs(held.min(0) - 0.5 - boxes[0, 0]) < 2.5).all()


def test_boxes_are_clipped_and_those_that_left_are_lost() -> None:
    drawn = draw(Augment(shift_width=0.5), 20, (8, 10), 0)
    row = int(np.argmax(drawn.shift[:, 1]))
    move = drawn.shift[row, 1] * 10
    boxes = np.array([[[1, 1.0], [3, 2]], [[1, 8.0], [3, 9]], [[1, 3], [3, 9]], [[2.0, 2], [2, 2]]])
    found, lost = moved_boxes(boxes, drawn, row)
    assert lost.tolist() == [False, True, False, False]
    np.testing.assert_allclose(found[0], boxes[0] + [0, move])
    np.testing.assert_allclose(found[2], [[1, 3 + move], [3, 9.5]])
    assert moved_boxes(boxes, drawn, row, least_visible=0.9)[1].tolist() == [False, True, True, False]
    assert moved_boxes(np.zeros((0, 2, 2)), drawn, row)[0].shape == (0, 2, 2)


def test_intensities_do_not_touch_what_is_only_moved() -> None:
    drawn = draw(Augment(noise=1, brightness=1, cutout=0.5, flip_left_right=True), 4, (8, 10), 0)
    image = np.random.default_rng(0).normal(size=(1, 8, 10)).astype(np.float32)
    for row in range(4):
        wanted = image[..., ::-1] if drawn.flipped[row, 1] else image
        np.testing.assert_array_equal(moved_image(image, drawn, row), wanted)


def test_what_does_not_fit_is_refused() -> None:
    drawn = draw(Augment(zoom=0.1), 1, (8, 10), 0)
    for call in (
        lambda: moved_image(np.zeros((1, 8, 9)), drawn, 0),
        lambda: moved_mask(np.zeros((10, 8), int), drawn, 0),
        lambda: moved_points(np.zeros((4, 3)), drawn, 0),
        lambda: undo_points(np.array([[np.nan, 1]]), drawn, 0),
        lambda: moved_boxes(np.zeros((4, 4)), drawn, 0),
    ):
        with pytest.raises(BadInput, match="expected"):
            call()
