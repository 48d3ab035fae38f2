"""What is drawn stays within the plan, follows its seed alone, and says what it is."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import BSpline

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Augment
from hounsfield.transforms.affine import inverse_affine, place
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.counted import NOISE, counted_uniform, keys_of
from hounsfield.transforms.draw import Draw, draw
from hounsfield.transforms.spline import spline_field, spline_weights

EVERYTHING: dict[str, Any] = {
    "rotation_deg": 20, "tilt_deg": 10, "shift_width": 0.2, "shift_height": 0.1, "shift_slices": 0.15,
    "shear_deg": 12, "zoom": 0.3, "flip_left_right": True, "flip_up_down": True, "flip_slices": True,
    "elastic": 0.1, "brightness": 0.3, "contrast": 0.4, "gamma": 0.5, "noise": 0.2, "blur": 1.5,
    "sharpness": 0.8, "bias_field": 0.6, "low_resolution": 3.0, "motion": 0.1, "ghosting": 0.25,
    "cutout": 0.4, "intensity_chance": 0.7,
}  # fmt: skip
SHAPES = [(24, 40), (8, 24, 40)]


def _same(one: Draw, other: Draw) -> bool:
    names = [name for name, value in vars(one).items() if isinstance(value, np.ndarray)]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_seed_decides(shape: tuple[int, ...]) -> None:
    plan = Augment(**EVERYTHING)
    assert _same(draw(plan, 9, shape, 4), draw(plan, 9, shape, np.random.default_rng(4)))
    assert not _same(draw(plan, 9, shape, 4), draw(plan, 9, shape, 5))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_subset_is_that_of_the_whole(shape: tuple[int, ...]) -> None:
    whole = draw(Augment(**EVERYTHING), 12, shape, 0)
    rows = np.array([3, 11, 3])
    some = whole.of(rows)
    assert len(some) == 3 and some.shape == shape
    assert whole.displacement is not None and some.displacement is not None
    np.testing.assert_array_equal(some.displacement, whole.displacement[rows])
    np.testing.assert_array_equal(some.bias_points, whole.bias_points[rows])
    assert _same(some, draw(Augment(**EVERYTHING), 12, shape, 0).of([3, 11, 3]))
    assert len(whole.of(slice(2, 7))) == 5 and len(whole.of(whole.zoom > 1)) == (whole.zoom > 1).sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_record_is_json_within_the_amounts_of_the_plan(shape: tuple[int, ...]) -> None:
    plan = Augment(**EVERYTHING)
    drawn = draw(plan, 60, shape, 1)
    seen = set()
    for row in range(60):
        said = json.loads(json.dumps(drawn.record(row)))
        for name, value in said.items():
            seen.add(name)
            if name.startswith("flipped"):
                assert value is True
            elif name != "cutout":
                assert np.abs(value).max() <= EVERYTHING[name] + 1e-9, name
    wanted = {"flipped_left_right", "flipped_up_down", *EVERYTHING} - {
        "flip_left_right", "flip_up_down", "flip_slices", "intensity_chance"
    }  # fmt: skip
    only_volumes = {"tilt_deg", "shift_slices"}
    assert seen == (wanted | {"flipped_slices"} if len(shape) == 3 else wanted - only_volumes)


def test_nothing_asked_records_nothing() -> None:
    drawn = draw(Augment(), 3, (8, 8), 0)
    assert [drawn.record(row) for row in range(3)] == [{}, {}, {}]
    assert drawn.mirrored is not None and not drawn.mirrored.any() and not drawn.changes_values


def test_each_range_is_drawn_evenly_to_both_ends() -> None:
    drawn = draw(Augment(**{**EVERYTHING, "intensity_chance": 1.0}), 4000, (8, 24, 40), 2)
    for values, low, high in [
        (drawn.rotation_deg, -20, 20), (drawn.tilt_deg, -10, 10), (drawn.shear_deg, -12, 12),
        (drawn.zoom, 0.7, 1.3), (drawn.shift[:, 2], -0.2, 0.2), (drawn.shift[:, 1], -0.1, 0.1),
        (drawn.shift[:, 0], -0.15, 0.15), (drawn.brightness, -0.3, 0.3), (drawn.contrast, 0.6, 1.4),
        (np.log(drawn.gamma), -0.5, 0.5), (drawn.noise, 0, 0.2), (drawn.blur, 0, 1.5),
        (drawn.sharpness, -0.8, 0.8),
    ]:  # fmt: skip
        width = high - low
        assert low <= values.min() < low + 0.01 * width and high - 0.01 * width < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * width)
        assert values.std() == pytest.approx(width / np.sqrt(12), rel=0.05)
    assert np.abs(drawn.flipped.mean(0) - 0.5).max() < 0.05


def test_chances_are_kept_one_by_one() -> None:
    drawn = draw(Augment(**{**EVERYTHING, "cutout_chance": 0.3}), 4000, (8, 24, 40), 3)
    for values in (drawn.brightness, drawn.noise, drawn.blur, drawn.sharpness, drawn.bias_field):
        assert (values != 0).mean() == pytest.approx(0.7, abs=0.03)
    assert (drawn.gamma != 1).mean() == pytest.approx(0.7, abs=0.03)
    for values in (drawn.low_resolution - 1, drawn.motion[:, 0], drawn.ghosting):
        assert (values != 0).mean() == pytest.approx(0.25, abs=0.03)
    assert drawn.cutout.any((1, 2)).mean() == pytest.approx(0.3, abs=0.03)
    both = (drawn.brightness != 0) & (drawn.noise != 0)
    assert both.mean() == pytest.approx(0.49, abs=0.03)  # one does not decide the other


def test_boxes_are_no_larger_than_told_and_lie_in_the_image() -> None:
    drawn = draw(Augment(cutout=0.5, cutout_chance=1.0), 500, (20, 30), 0)
    sides = drawn.cutout[:, 1] - drawn.cutout[:, 0]
    assert (sides >= 0).all() and (sides <= [11, 16]).all() and (sides.max(0) >= [10, 15]).all()
    assert (drawn.cutout >= 0).all() and (drawn.cutout[:, 1] <= [20, 30]).all()


@pytest.mark.parametrize(
    "plan, shown_by, place_of_it",
    [
        (Augment(shift_width=0.5), [0, 0], lambda d: [0, d.shift[0, 1] * 21]),
        (Augment(shift_height=0.5), [0, 0], lambda d: [d.shift[0, 0] * 11, 0]),
        (Augment(zoom=0.5), [2, 3], lambda d: d.zoom[0] * np.array([2, 3])),
        (
            Augment(rotation_deg=90),
            [0, 4],  # on the right: turned counter-clockwise it goes up
            lambda d: 4 * np.array([-np.sin(a := np.radians(d.rotation_deg[0])), np.cos(a)]),
        ),
        (Augment(shear_deg=40), [2, 0], lambda d: [2, -2 * np.tan(np.radians(d.shear_deg[0]))]),
    ],
)
def test_signs_are_those_of_the_docstring(plan: Augment, shown_by: list[float], place_of_it: Any) -> None:
    drawn = draw(plan, 1, (11, 21), 6)
    middle = np.array([5, 10])
    moved = place(inverse_affine(drawn.matrix[0]), (middle + np.array(shown_by))[None].astype(float))[0]
    np.testing.assert_allclose(moved - middle, place_of_it(drawn), atol=1e-9)


def test_turns_are_rigid_in_millimetres() -> None:
    spacing = np.array([5.0, 0.7, 1.1])
    drawn = draw(Augment(rotation_deg=40, tilt_deg=30), 50, (9, 20, 30), 0, spacing_mm=spacing)
    for matrix in drawn.matrix:
        turn = np.diag(spacing) @ matrix[:, :3] @ np.diag(1 / spacing)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
    flat = draw(Augment(rotation_deg=40), 1, (20, 30), 0, spacing_mm=(5.0, 0.7, 1.1)).matrix[0]
    turn = np.diag(spacing[1:]) @ flat[:, :2] @ np.diag(1 / spacing[1:])
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-12)


def test_without_a_tilt_a_volume_keeps_its_slices() -> None:
    drawn = draw(Augment(rotation_deg=30, shear_deg=10, zoom=0.2), 20, (8, 24, 40), 0)
    assert not drawn.matrix[:, 0, 1:3].any() and not drawn.matrix[:, 1:, 0].any()


def test_a_shape_of_other_axes_is_refused() -> None:
    with pytest.raises(BadInput, match="4 axes"):
        draw(Augment(), 1, (1, 2, 3, 4), 0)


@pytest.mark.parametrize("size, points", [(1, 4), (2, 4), (17, 4), (40, 7), (9, 12)])
def test_spline_weights_are_those_of_scipy(size: int, points: int) -> None:
    at = np.linspace(0, points - 3, size) if size > 1 else np.zeros(1)
    knots = np.arange(-3, points + 1, dtype=float)
    wanted = BSpline(knots, np.eye(points), 3)(np.minimum(at, points - 3 - 1e-12))
    np.testing.assert_allclose(spline_weights(size, points), wanted, atol=1e-9)


def test_the_field_between_voxels_is_that_at_the_voxels() -> None:
    points = np.random.default_rng(0).normal(size=(2, 6, 6))
    shape = (13, 9)
    field = np.einsum("nab,ja,ib->nji", points, spline_weights(13, 6), spline_weights(9, 6))
    places = np.stack(np.indices(shape), -1).reshape(-1, 2).astype(float)
    np.testing.assert_allclose(spline_field(points, places, shape), field.reshape(2, -1), atol=1e-12)


def test_no_displacement_is_larger_than_told() -> None:
    drawn = draw(Augment(elastic=0.1), 300, (20, 50), 0)
    assert drawn.displacement is not None
    reach = np.abs(drawn.displacement).max((0, 2, 3))
    assert (reach <= [2, 5]).all() and (reach > [1.99, 4.97]).all()


def test_the_hash_is_that_of_whole_numbers() -> None:
    def mixed(x: int) -> int:
        x = (x ^ (x >> 16)) * 0x7FEB352D % 2**32
        x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
        return x ^ (x >> 16)

    seed = 0x1234_5678_9ABC_DEF0
    key = mixed((mixed(seed % 2**32) + (seed >> 32) + 0x9E3779B9) % 2**32)
    found = keys_of(np.array([seed]), NOISE)
    assert found.tolist() == [key]
    wanted = [(mixed((mixed(i) + key) % 2**32) >> 8) / 2**24 for i in range(50)]
    assert counted_uniform(found, 50)[0].tolist() == wanted


def test_numbers_by_counting_are_even_and_unrelated() -> None:
    numbers = counted_uniform(keys_of(np.arange(200), NOISE), 500)
    counts = np.histogram(numbers, 100, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 150  # chi-squared with 99 degrees: 134 is one in a hundred
    related = np.corrcoef(numbers)
    assert np.abs(related - np.eye(200)).max() < 0.25  # 20,000 pairs at a spread of 0.045
    assert abs(np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]) < 0.015


def test_flips_and_exchanged_axes_turn_a_cube_in_all_its_ways_and_change_no_value() -> None:
    plan = Augment(flip_left_right=True, flip_up_down=True, flip_slices=True, transpose=True)
    drawn = draw(plan, 2000, (5, 5, 5), 0)
    ways = {tuple(np.rint(m[:, :3]).astype(int).ravel()) for m in drawn.matrix}
    assert len(ways) == 48
    image = np.random.default_rng(0).integers(0, 9999, (1, 1, 5, 5, 5)).astype(np.uint16)
    some = drawn.of(slice(0, 60))
    seen = augmented(np.repeat(image, 60, 0), np.tile([1, 0, -np.inf, np.inf], (60, 1)), some)[:, 0]
    for row in range(60):
        turned = image[0, 0]
        for axis in np.flatnonzero(some.flipped[row]):
            turned = np.flip(turned, axis)
        assert np.array_equal(seen[row], turned.transpose(some.order[row])), row
        said = some.record(row)
        assert said.get("transposed", [0, 1, 2]) == some.order[row].tolist()


def test_only_axes_of_one_length_are_exchanged() -> None:
    plan = Augment(transpose=True)
    orders = {tuple(o) for o in draw(plan, 50, (4, 6, 6), 0).order}
    assert orders == {(0, 1, 2), (0, 2, 1)}
    assert {tuple(o) for o in draw(plan, 50, (4, 6), 0).order} == {(0, 1)}
    assert {tuple(o) for o in draw(plan, 50, (6, 6), 0).order} == {(0, 1), (1, 0)}
