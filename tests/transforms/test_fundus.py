"""The circle of a fundus photograph is found whatever is cut, dark or in its way; its light is evened out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hounsfield.transforms.field_of_view import FieldOfView, crop_to_field, disc_of, field_of_view
from hounsfield.transforms.fundus_light import even_light

Image = NDArray[np.uint8]


def photograph(
    shape: tuple[int, int], row: float, column: float, radius: float, *, light: float = 0.7, seed: int = 0
) -> Image:
    """A textured disc of light (3, 1, J, I) on a dark noisy ground."""
    rng = np.random.default_rng(seed)
    j, i = np.mgrid[: shape[0], : shape[1]]
    inside = np.clip(radius + 0.5 - np.hypot(j - row, i - column), 0, 1)
    texture = 1 - 0.3 * np.sin(j / 9.0) * np.cos(i / 13.0)
    colours = np.array([1.0, 0.55, 0.3])[:, None, None] * inside * texture * light * 255
    return np.clip(colours + rng.normal(3, 1.2, (3, *shape)), 0, 255).astype(np.uint8)[:, None]


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-0.1, 0.1),
    st.floats(-0.15, 0.15),
    st.floats(0.33, 0.6),
    st.floats(0.08, 1.0),
    st.sampled_from([(300, 300), (240, 360), (512, 480)]),
)
def test_the_circle_is_found_even_if_dark_or_cut_off(
    up: float, right: float, size: float, light: float, shape: tuple[int, int]
) -> None:
    height, width = shape
    radius = size * min(height, width) * 1.05
    row, column = (0.5 + up) * height, (0.5 + right) * width
    found = field_of_view(photograph(shape, row, column, radius, light=light))
    assert found is not None
    assert (found.row, found.column) == pytest.approx((row, column), abs=0.02 * radius + 1)
    assert found.radius == pytest.approx(radius, rel=0.02, abs=1.5)


def test_a_tab_a_label_and_a_shadow_do_not_move_the_circle() -> None:
    image = photograph((300, 300), 150, 150, 140)
    plain = field_of_view(image)
    image[:, :, 30:50, 246:266] = 180  # the camera's tab
    image[:, :, 286:296, 4:60] = 200  # a burned-in label
    image[:, :, 120:190, 12:110] = 4  # a shadow that reaches the rim
    marked = field_of_view(image)
    assert plain is not None and marked is not None
    assert (marked.row, marked.column, marked.radius) == pytest.approx(
        (plain.row, plain.column, plain.radius), abs=1.5
    )


def test_the_shown_share_of_a_cut_circle_is_that_of_geometry() -> None:
    found = field_of_view(photograph((200, 400), 99.5, 199.5, 125))
    assert found is not None
    h = 100 / 125
    share = 2 * (np.arcsin(h) + h * np.sqrt(1 - h**2)) / np.pi
    assert found.shown == pytest.approx(share, abs=0.02)
    whole = field_of_view(photograph((300, 300), 149.5, 149.5, 120))
    assert whole is not None and whole.shown == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", ["black", "full", "noise", "stripe"])
def test_what_shows_no_circle_gives_none_and_is_left_whole(kind: str) -> None:
    rng = np.random.default_rng(0)
    image = {
        "black": np.zeros((3, 1, 90, 120), np.uint8),
        "full": np.full((3, 1, 90, 120), 140, np.uint8),
        "noise": rng.integers(0, 255, (3, 1, 90, 120), np.uint8),
        "stripe": np.zeros((3, 1, 90, 120), np.uint8),
    }[kind]
    if kind == "stripe":
        image[..., 40:60] = 200
    assert field_of_view(image) is None
    assert crop_to_field(image, None) is image


def test_cropping_centres_the_circle_and_blackens_the_rest() -> None:
    image = photograph((200, 300), 90, 170, 80)
    image[:, :, 30:40, 240:250] = 255  # outside the circle
    cut = crop_to_field(image, FieldOfView(90, 170, 80, 1.0, 1.0))
    assert cut.shape == (3, 1, 160, 160) and cut.dtype == np.uint8
    assert not cut[:, 0][:, ~disc_of(160)].any()
    j, i = np.nonzero(cut[0, 0] > 60)
    assert (j.mean(), i.mean()) == pytest.approx((79.5, 79.5), abs=1.0)
    assert (cut[:, :, 60:100, 60:100] == image[:, :, 70:110, 150:190]).all()


def test_deeper_images_are_cropped_alike() -> None:
    image = photograph((200, 240), 100, 120, 90)
    deep = image.astype(np.uint16) * 16
    found, again = field_of_view(image), field_of_view(deep)
    assert found is not None and again is not None and again.radius == pytest.approx(found.radius, abs=0.5)
    assert crop_to_field(deep, found).dtype == np.uint16


def evened(colours: NDArray[np.float64]) -> NDArray[np.int64]:
    stored = np.rint(np.clip(colours, 0, 1) * 65535).astype(np.uint16)[:, None]
    return even_light(stored)[:, 0].astype(np.int64) // 256


def test_even_light_takes_out_casts_and_fall_off_and_keeps_what_is_small() -> None:
    side = 160
    j, i = np.mgrid[:side, :side] / side - 0.5
    rng = np.random.default_rng(1)
    retina = np.stack([np.full((side, side), level) for level in (0.6, 0.35, 0.2)])
    for row, column in rng.integers(40, 120, (12, 2)):
        retina[:, row - 1 : row + 2, column - 1 : column + 2] *= 0.5
    retina *= disc_of(side)
    cast = np.array([0.9, 1.15, 1.3])[:, None, None] * (1 - 0.8 * (j**2 + 1.2 * i**2))
    plain, changed = evened(retina), evened(retina * cast)
    inner = disc_of(side) & (np.hypot(j, i) < 0.42)
    assert np.abs(plain - changed)[:, inner].max() <= 6
    dots = (retina[1] < 0.2) & (retina[1] > 0)
    assert plain[1][dots].mean() == pytest.approx(64, abs=12)  # half the light: half of the middle
    assert np.median(plain[:, inner]) == pytest.approx(128, abs=3)
    assert (plain[:, ~disc_of(side)] == 128).all()


def test_even_light_does_not_see_the_rows_that_a_sensor_cut_off() -> None:
    square = (disc_of(120) * np.uint8(100)).astype(np.uint8)
    square[:15], square[-15:] = 0, 0
    even = even_light(np.repeat(square[None, None], 3, 0))
    assert np.abs(even.astype(int) - 128).max() <= 1


@pytest.mark.realdata
def test_the_circle_of_real_photographs_is_that_of_their_mask(real_data: Path) -> None:
    from PIL import Image as Pictures

    for path in sorted((real_data / "drive" / "training" / "images").glob("*.tif"))[::5]:
        mask = np.asarray(Pictures.open(path.parents[1] / "mask" / f"{path.stem}_mask.gif")) > 0
        pixels = np.asarray(Pictures.open(path))
        found = field_of_view(np.ascontiguousarray(np.moveaxis(pixels, 2, 0))[:, None])
        j, i = np.nonzero(mask)
        assert found is not None
        assert (found.row, found.column) == pytest.approx((j.mean(), i.mean()), abs=1.5)
        assert found.radius == pytest.approx(np.sqrt(mask.sum() / np.pi), abs=2.5)
