"""The box is that of the body: in 2D and 3D, where air is not zero, beside markers, without a background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hounsfield.transforms.foreground import crop_foreground, foreground_threshold


def _scan(seed: int = 0) -> NDArray[np.int16]:
    """A CT of a body with lungs in noisy air: (1, 60, 120, 120), the body at 10:50, 30:100, 20:90."""
    volume = np.random.default_rng(seed).normal(0, 40, (1, 60, 120, 120))
    volume -= 1000
    volume[:, 10:50, 30:100, 20:90] += 1040
    volume[:, 20:40, 45:85, 30:50] -= 850
    return np.clip(volume, -1024, 3071).astype(np.int16)


def _holds(cut: NDArray[np.int16], *, slack: int) -> bool:
    return all(n <= have <= n + slack for n, have in zip((40, 70, 70), cut.shape[1:], strict=True))


def test_a_volume_is_cut_along_every_axis() -> None:
    cut = crop_foreground(_scan(), margin=0)
    assert _holds(cut, slack=6)
    assert (cut > -500).sum() >= (_scan() > -500).sum() * 0.999


def test_padding_around_the_scan_is_no_darker_air() -> None:
    volume = _scan()
    j, i = np.indices((120, 120)) - 60
    volume[:, :, np.hypot(j, i) > 59] = -2000
    assert _holds(crop_foreground(volume, margin=0), slack=6)


def test_a_lead_marker_in_a_volume_does_not_widen_the_box() -> None:
    volume = _scan()
    volume[:, 2:5, 4:10, 110:116] = 3000
    assert _holds(crop_foreground(volume, margin=0), slack=6)


def test_an_mr_volume_in_noise_is_cut_too() -> None:
    rng = np.random.default_rng(0)
    volume = np.abs(rng.normal(0, 15, (1, 40, 90, 90)))
    volume[:, 8:32, 20:70, 30:80] += rng.normal(500, 80, (24, 50, 50))
    cut = crop_foreground(volume.clip(0).astype(np.uint16), margin=0)
    assert all(n <= have <= n + 8 for n, have in zip((24, 50, 50), cut.shape[1:], strict=True))


def test_both_legs_are_kept() -> None:
    data = np.zeros((1, 1, 100, 100), np.uint16)
    data[..., 10:90, 10:40] = data[..., 10:90, 60:95] = 500
    assert crop_foreground(data, margin=0).shape == (1, 1, 80, 85)


def test_the_box_is_that_of_the_body_and_not_of_a_marker_beside_it() -> None:
    data = np.full((1, 1, 100, 100), 5, np.uint16)
    data[..., 20:80, 0:40] = 800
    data[..., 5:12, 85:95] = 4000  # a lead letter is brighter than the body
    assert crop_foreground(data, margin=0).shape == (1, 1, 60, 40)


def test_the_box_holds_faint_tissue_at_the_edge_of_the_body() -> None:
    data = np.zeros((1, 1, 60, 60), np.uint16)
    data[..., 10:50, 10:50] = 60
    data[..., 20:40, 20:40] = 3000
    assert crop_foreground(data, margin=0).shape == (1, 1, 40, 40)


def test_the_margin_is_a_share_of_the_box_within_the_image() -> None:
    data = np.zeros((1, 1, 100, 100), np.uint8)
    data[..., 20:70, 0:50] = 200
    assert crop_foreground(data, margin=0.1).shape == (1, 1, 60, 55)


@pytest.mark.parametrize("side", [40, 900])
def test_an_image_full_of_body_is_left_as_it_is(side: int) -> None:
    data = np.random.default_rng(0).integers(300, 4000, (1, 1, side, side)).astype(np.uint16)
    cut = crop_foreground(data)
    assert min(cut.shape[2:]) >= 0.97 * side


def test_a_bright_background_is_not_cut_into() -> None:
    data = np.full((1, 1, 200, 200), 4000, np.uint16)  # an inverted film: the body is dark
    data[..., 40:160, 50:150] = 700
    assert crop_foreground(data).shape == data.shape


def test_an_empty_film_is_not_cut_to_its_marker() -> None:
    data = np.zeros((1, 1, 300, 300), np.uint16)
    data[..., 5:15, 5:20] = 4000
    assert crop_foreground(data).shape == data.shape


def test_a_constant_image_is_not_cropped() -> None:
    data = np.full((1, 1, 8, 9), 3, np.uint8)
    assert crop_foreground(data) is data


def test_numbers_below_any_hounsfield_unit_are_not_taken_for_them() -> None:
    phase = np.linspace(-16384, 16383, 64 * 64).reshape(1, 1, 64, 64).astype(np.int16)
    assert foreground_threshold(phase) != -500


@pytest.mark.realdata
def test_no_chest_radiograph_loses_its_chest(real_data: Path) -> None:
    files = sorted((real_data / "cxr_covid").rglob("*.png"))[::6]
    if not files:
        pytest.skip("the chest radiographs are not here")
    for file in files:
        with Image.open(file) as picture:
            data = np.asarray(picture.convert("L"))[None, None]
        cut = crop_foreground(data)
        assert min(c / w for c, w in zip(cut.shape[2:], data.shape[2:], strict=True)) > 0.6, file.name
        assert cut.astype(int).sum() > 0.97 * data.astype(int).sum(), file.name
