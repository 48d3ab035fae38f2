"""Patches are cut where the moved image shows them: the same numbers, the same labels, and nothing beyond."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.core.plan import Augment
from hounsfield.steps.regions.batches import _field
from hounsfield.transforms.affine import place
from hounsfield.transforms.draw import Draw, draw
from hounsfield.transforms.geometry import moved_image, moved_mask
from hounsfield.transforms.patches import cut_patch

AS_STORED = np.array([[1, 0, -np.inf, np.inf]], np.float32)
STRONG = Augment(rotation_deg=30, tilt_deg=15, zoom=0.25, flip_left_right=True, shift_width=0.1)
BENT = Augment(rotation_deg=20, zoom=0.2, elastic=0.05, elastic_points=6)


def _image(shape: tuple[int, ...], channels: int = 2) -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(-100, 900, (channels, *shape)).astype(np.int16)


def _levels(channels: int = 2) -> NDArray[np.float32]:
    return np.repeat(AS_STORED, channels, 0)


def _cut(
    image: NDArray[np.int16], labels: NDArray[np.uint8] | None, drawn: Draw, row: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The whole image as one patch, moved as a row of the draw says."""
    shape = image.shape[1:]
    flat = len(drawn.shape) == 2
    matrix = np.hstack([np.eye(3), np.zeros((3, 1))])
    if flat:
        matrix[1:, 1:3], matrix[1:, 3] = drawn.matrix[row][:, :2], drawn.matrix[row][:, 2]
    else:
        matrix = drawn.matrix[row]
    points = drawn.displacement
    out, own = np.empty(image.shape, np.float32), np.zeros(shape, np.uint8)
    cut_patch(
        image, _levels(len(image)), labels, matrix, out, own,
        displacement=None if points is None else _field(points[row], shape),
    )  # fmt: skip
    return out, own


def _inside(drawn: Draw, row: int) -> NDArray[np.bool_]:
    """Voxels whose place in the image is well within it, before any displacement."""
    shape = np.array(drawn.shape)
    grid = np.stack(np.indices(drawn.shape), -1).reshape(-1, len(shape)).astype(float)
    places = place(drawn.matrix[row], grid)
    reach = 0.0 if drawn.displacement is None else 0.05 * shape.max() + 1
    return ((places >= reach + 0.5) & (places <= shape - 1.5 - reach)).all(1).reshape(drawn.shape)


@pytest.mark.parametrize("plan", [STRONG, BENT])
@pytest.mark.parametrize("shape", [(1, 40, 36), (20, 26, 24)])
def test_patches_show_what_the_moved_image_and_mask_show(plan: Augment, shape: tuple[int, int, int]) -> None:
    image = _image(shape)
    labels = np.random.default_rng(1).integers(0, 5, shape).astype(np.uint8)
    flat = shape[0] == 1
    drawn = draw(plan, 4, shape[1:] if flat else shape, 7)
    for row in range(4):
        out, own = _cut(image, labels, drawn, row)
        expected = moved_image(image[:, 0] if flat else image, drawn, row)
        mask = moved_mask(labels[0] if flat else labels, drawn, row)
        inside = _inside(drawn, row)
        assert inside.mean() > 0.1
        found = out[:, 0] if flat else out
        assert np.abs(found - expected)[:, inside].max() < 0.5  # of a thousand: rounding of places
        same = ((own[0] if flat else own) == mask)[inside]
        assert same.mean() > 0.999  # a place between two voxels may be rounded either way


def test_beyond_the_image_labels_are_unknown_and_numbers_go_on() -> None:
    image, labels = _image((1, 6, 6)), np.full((1, 6, 6), 3, np.uint8)
    out, own = np.empty((2, 1, 10, 10), np.float32), np.empty((1, 10, 10), np.uint8)
    for matrix in (np.eye(3), np.eye(3) * (1, 1.0001, 1)):  # the fast way, and the other
        moved = np.hstack([matrix, [[0], [-2], [-2]]])
        cut_patch(image, _levels(), labels, moved, out, own)
        expected = np.full((10, 10), 255)
        expected[2:8, 2:8] = 3
        assert (own[0] == expected).all()
        assert np.allclose(out, np.pad(image, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge"), atol=0.5)
    cut_patch(image, _levels(), labels, moved, out, own, outside=0)
    assert own[0, 0, 0] == 0


def test_a_patch_wholly_beyond_the_image_shows_its_edge() -> None:
    image, labels = _image((4, 6, 6)), np.full((4, 6, 6), 3, np.uint8)
    out, own = np.empty((2, 2, 2, 2), np.float32), np.empty((2, 2, 2), np.uint8)
    cut_patch(image, _levels(), labels, np.hstack([np.eye(3), [[20], [0], [-30]]]), out, own)
    assert (own == 255).all()
    assert np.array_equal(out[:, 0, :, 0], image[:, 3, :2, 0]) and np.array_equal(
        out[:, 1, :, 1], out[:, 0, :, 0]
    )


def test_a_shift_is_a_slice() -> None:
    image, labels = _image((8, 12, 10)), np.random.default_rng(2).integers(0, 9, (8, 12, 10)).astype(np.uint8)
    out, own = np.empty((2, 3, 5, 4), np.float32), np.empty((3, 5, 4), np.uint8)
    cut_patch(image, _levels(), labels, np.hstack([np.eye(3), [[2], [6], [1]]]), out, own)
    assert np.array_equal(out, image[:, 2:5, 6:11, 1:5]) and np.array_equal(own, labels[2:5, 6:11, 1:5])


def test_half_a_voxel_is_the_mean_of_two() -> None:
    image = _image((1, 1, 8), 1)
    out = np.empty((1, 1, 1, 7), np.float32)
    cut_patch(image, AS_STORED, None, np.hstack([np.eye(3), [[0], [0], [0.5]]]), out)
    assert np.allclose(out[0, 0, 0], (image[0, 0, 0, :-1] + image[0, 0, 0, 1:].astype(float)) / 2)


@pytest.mark.parametrize("turned", [False, True])
def test_levels_are_applied_channel_by_channel_and_clipped(turned: bool) -> None:
    image = _image((1, 8, 8))
    levels = np.array([[0.01, -1, -1.5, 3], [0.5, 10, 0, 100]], np.float32)
    out = np.empty((2, 1, 8, 8), np.float32)
    matrix = np.hstack([np.eye(3), np.zeros((3, 1))])
    if turned:
        matrix[1:, 1:3], matrix[1:, 3] = [[0, 1], [-1, 0]], (0, 7)
    cut_patch(image, levels, None, matrix, out)
    expected = np.stack([np.clip(image[0] * 0.01 - 1, -1.5, 3), np.clip(image[1] * 0.5 + 10, 0, 100)])
    assert np.allclose(out, np.rot90(expected, axes=(2, 3)) if turned else expected, atol=1e-4)


def test_an_image_of_one_number_stays_so() -> None:
    image = np.full((1, 3, 6, 6), 7, np.uint8)
    out = np.empty((1, 4, 9, 9), np.float32)
    drawn = draw(BENT, 1, (4, 9, 9), 0)
    points = drawn.displacement
    assert points is not None
    cut_patch(image, AS_STORED, None, drawn.matrix[0], out, displacement=_field(points[0], (4, 9, 9)))
    assert np.allclose(out, 7)


def test_only_the_box_that_is_needed_is_read() -> None:
    """A mapped file of a large image is not read whole for a patch."""

    class Watched(np.ndarray):  # type: ignore[type-arg]
        most = 0

        def __getitem__(self, key: object) -> object:
            found = super().__getitem__(key)  # type: ignore[index]
            Watched.most = max(Watched.most, getattr(found, "size", 0))
            return np.asarray(found)

    image = np.zeros((1, 64, 64, 64), np.int16).view(Watched)
    out = np.empty((1, 8, 8, 8), np.float32)
    cut_patch(image, AS_STORED, None, np.hstack([np.eye(3), [[30.3], [0], [55]]]), out)
    assert 8**3 <= Watched.most <= 12**3
