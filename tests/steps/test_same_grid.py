"""A mask that lies elsewhere than its image is told how far; a mask holds whole labels that have a name."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.steps.regions.same_grid import (
    grid_difference,
    in_order_of,
    labels_of_mask,
    require_same_grid_as,
    voxels_coincide,
)

PLACED = np.array([[0.7, 0, 0, -90], [0, 0.7, 0, 20], [0, 0, 2.5, 300], [0, 0, 0, 1]])


def _volume(affine: np.ndarray = PLACED, shape: tuple[int, ...] = (4, 6, 8), known: bool = True) -> Volume:
    return Volume(np.zeros((1, *shape), np.uint8), affine, (), known)


def test_what_differs_is_named_with_its_measure() -> None:
    turned = PLACED.copy()
    angle = np.radians(3)
    turned[:2, :2] = 0.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    coarse = PLACED.copy()
    coarse[2, 2] = 5
    coarse[0, 3] -= 12
    assert grid_difference(_volume(), _volume(turned)) == "an axis points 3.0 degrees elsewhere"
    assert grid_difference(_volume(), _volume(coarse, (2, 6, 8))) == (
        "it has 2×6×8 voxels (k×j×i) and not 4×6×8, its spacing is 5×0.7×0.7 mm (k×j×i) and not "
        "2.5×0.7×0.7 mm, its first voxel lies 12.00 mm away"
    )
    mirrored = PLACED @ np.array([[-1, 0, 0, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert "180.0 degrees" in grid_difference(_volume(), _volume(mirrored))


@pytest.mark.parametrize("shift, same", [(0.009, True), (0.02, True), (0.03, False)])
def test_a_hundredth_of_a_voxel_or_of_a_millimetre_is_the_same_place(shift: float, same: bool) -> None:
    moved = PLACED.copy()
    moved[2, 3] += shift  # voxels are 2.5 mm there
    assert (grid_difference(_volume(), _volume(moved)) == "") is same


def test_a_spacing_that_grows_off_towards_the_far_corner_is_seen() -> None:
    stretched = PLACED.copy()
    stretched[0, 0] *= 1.0005
    assert grid_difference(_volume(), _volume(stretched)) == ""
    wide = [_volume(a, (4, 6, 512)) for a in (PLACED, stretched)]
    assert grid_difference(*wide) == "its farthest corner lies 0.179 mm away"


def test_pictures_are_compared_by_their_shape() -> None:
    plain = _volume(np.eye(4), (1, 6, 8), known=False)
    assert grid_difference(_volume(PLACED, (1, 6, 8)), plain) == ""
    with pytest.raises(BadInput, match=r"^case 3: .* 1×6×9 .* not 1×6×8; give the mask that was drawn"):
        require_same_grid_as(plain, _volume(np.eye(4), (1, 6, 9), known=False), what="case 3")


def test_the_refusal_offers_to_resample() -> None:
    moved = PLACED.copy()
    moved[1, 3] += 4
    with pytest.raises(BadInput, match=r"4\.00 mm away; .* --resample-masks"):
        require_same_grid_as(_volume(), _volume(moved), what="case 3")
    require_same_grid_as(_volume(), _volume(PLACED + 1e-6), what="case 3")


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("backwards", [(), (1,), (0, 2), (0, 1, 2)])
def test_the_same_voxels_in_another_order_are_put_in_the_images(
    axes: tuple[int, ...], backwards: tuple[int, ...]
) -> None:
    data = np.arange(4 * 6 * 8).reshape(4, 6, 8)
    image = Volume(data[None], PLACED, (), True)
    affine = PLACED[:, [2 - axes[2], 2 - axes[1], 2 - axes[0], 3]].copy()  # columns are i, j, k
    turned = data.transpose(axes)
    for axis in backwards:
        turned = np.flip(turned, axis)
        column = 2 - axis
        affine[:, 3] += affine[:, column] * (turned.shape[axis] - 1)
        affine[:, column] *= -1
    mask = Volume(turned[None], affine, (), True)
    assert voxels_coincide(image, mask)
    found = in_order_of(image, mask)
    assert np.array_equal(found.data[0], data) and grid_difference(image, found) == ""


def test_other_voxels_stay_as_they_are() -> None:
    moved = PLACED.copy()
    moved[0, 3] += 0.2
    for affine, shape in ((moved, (4, 6, 8)), (PLACED, (3, 6, 8))):
        mask = _volume(affine, shape)
        assert in_order_of(_volume(), mask) is mask
    assert voxels_coincide(_volume(), _volume(PLACED, (3, 6, 8)))
    assert not voxels_coincide(_volume(), _volume(moved))


def _mask(values: object, dtype: object = np.float32, known: bool = True) -> Volume:
    return Volume(np.array(values, dtype).reshape(1, 1, 1, -1), np.eye(4), (), known)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_labels(dtype: type) -> None:
    found = labels_of_mask(_mask([0, 1, 1, 0], dtype), names=("liver", "tumour"))
    assert found.dtype == np.uint8 and found.tolist() == [[[0, 1, 1, 0]]]


def test_labels_beyond_255_take_sixteen_bits() -> None:
    found = labels_of_mask(_mask([0, 300, 2], np.int32))
    assert found.dtype == np.uint16 and found.tolist() == [[[0, 300, 2]]]


def test_a_picture_says_here_by_any_one_value() -> None:
    assert labels_of_mask(_mask([0, 200], np.uint8, known=False), names=("vessel",)).tolist() == [[[0, 1]]]
    assert labels_of_mask(_mask([0, 65535], np.uint16)).tolist() == [[[0, 1]]]
    assert labels_of_mask(_mask([0, 2], np.uint8)).tolist() == [[[0, 2]]]  # a case without structure 1
    both = labels_of_mask(_mask([0, 255, 9], np.uint8), names=("vessel",), ignore=9)
    assert both.tolist() == [[[0, 1, 9]]]
    with pytest.raises(BadInput, match=r"not in the list \(255\); the list has 1 to 2 \(liver, tumour\)"):
        labels_of_mask(_mask([0, 255], np.uint8), names=("liver", "tumour"))


def test_a_label_to_ignore_needs_no_name() -> None:
    found = labels_of_mask(_mask([0, 1, 255]), names=("a", "b"), ignore=255)
    assert found.tolist() == [[[0, 1, 255]]]
    with pytest.raises(BadInput, match=r"not in the list \(3, 4, 5, 6, 7, 8, 9, 10 …\)"):
        labels_of_mask(_mask(range(20)), names=("a", "b"))


@pytest.mark.parametrize(
    "values, reason",
    [
        ([0, 0.25, 1], "holds 0.25; expected whole labels"),
        ([0, np.nan], "holds nan; expected whole labels"),
        ([0, np.inf], "holds inf; expected whole labels"),
        ([-1, 1], "holds labels from -1 to 1"),
        ([0, 70000], "from 0 to 70000"),
        (range(400), "400 different values"),
    ],
)
def test_what_is_no_label_is_refused_with_an_example(values: object, reason: str) -> None:
    with pytest.raises(BadInput, match=rf"^case 7 {reason}|^case 7 .*{reason}"):
        labels_of_mask(_mask(values), what="case 7")


def test_colours_are_taken_where_they_are_grey() -> None:
    grey = Volume(np.tile(np.array([[[0, 255]]], np.uint8), (3, 1, 1, 1)), np.eye(4))
    assert labels_of_mask(grey, names=("vessel",)).tolist() == [[[0, 1]]]
    coloured = grey.data.copy()
    coloured[1] = 0
    with pytest.raises(BadInput, match="3 channels that differ"):
        labels_of_mask(Volume(coloured, np.eye(4)), names=("vessel",))


def test_nothing_is_a_mask_and_a_spacing_of_nothing_is_not() -> None:
    assert not labels_of_mask(_mask([0, 0]), names=("vessel",)).any()
    for broken in (0.0, np.nan):
        with pytest.raises(BadInput, match="spacing"):
            labels_of_mask(Volume(np.zeros((1, 1, 1, 2)), np.diag([1.0, broken, 1, 1])), names=("vessel",))
