"""Panels and planes: the right way round, at one scale, within bounds."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.steps.montage import Panel, Wording, composed
from hounsfield.steps.planes import cut, edge_letters, upright


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)])
def test_a_volume_is_set_upright_from_any_orientation(axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    patient = np.random.default_rng(2).random((5, 6, 7))  # (head, back, left)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel_axis, patient_axis in enumerate(axes):  # i, j, k run along x, y, z of the patient
        affine[patient_axis, voxel_axis] = signs[voxel_axis] * (patient_axis + 1)
    stored = patient.transpose([2 - axes[2 - n] for n in range(3)])
    flips = tuple(slice(None, None, signs[2 - n]) for n in range(3))
    seen = upright(stored[flips][None], affine)
    assert np.array_equal(seen.values[0], patient) and seen.spacing_mm == (3, 2, 1)
    assert cut(seen, "axial").letters == ("R", "L", "A", "P") and seen.oblique_deg < 1e-6


def test_an_oblique_volume_is_named_by_the_nearest_axes() -> None:
    turn = np.radians(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    seen = upright(np.zeros((1, 3, 4, 5)), affine)
    assert seen.oblique_deg == pytest.approx(20) and not seen.sheared
    assert edge_letters(affine) == ("R", "L", "A", "P")


def test_a_tilted_gantry_is_said() -> None:
    affine = np.eye(4)
    affine[1, 2] = 0.3
    assert upright(np.zeros((1, 3, 4, 5)), affine).sheared


def test_the_montage_keeps_within_its_bounds() -> None:
    panels = [Panel(np.zeros((300, 20, 3), np.uint8), (1.0, 1.0), title=f"t{n}") for n in range(16)]
    assert max(composed(panels, widest=400, tallest=300).shape[:2]) <= 400
    assert composed(panels, widest=400, tallest=300).shape[0] <= 300
    wide = composed([Panel(np.zeros((4, 4000, 3), np.uint8))], Wording(("caption " * 40,)), widest=800)
    assert wide.shape[1] <= 800 + 40 and wide.shape[0] < 400


def test_the_flat_planes_of_a_thin_volume_stand_above_each_other() -> None:
    axial = Panel(np.full((40, 40, 3), 10, np.uint8))
    flat = [Panel(np.full((8, 40, 3), grey, np.uint8)) for grey in (20, 30)]
    picture = composed([axial, *flat], widest=400, tallest=400)
    assert picture[:, -1, 0].tolist().count(20) == picture[:, -1, 0].tolist().count(30) > 30
    assert set(composed([axial, axial, axial], widest=400, tallest=400)[0, :, 0].tolist()) == {10, 17}


def test_letters_and_scale_bar_are_drawn() -> None:
    black = np.zeros((50, 50, 3), np.uint8)
    plainly = composed([Panel(black, (1.0, 1.0))], Wording(("x",)))
    lettered = composed([Panel(black, (1.0, 1.0), True, ("R", "L", "A", "P"))], Wording(("x",)))
    changed = np.argwhere((plainly != lettered).any(axis=-1))
    size = lettered.shape[1]
    assert changed[:, 1].min() < 40 and changed[:, 1].max() > size - 40 and changed[:, 0].min() < 40


def test_a_long_title_takes_as_many_lines_as_it_needs() -> None:
    black = np.zeros((100, 100, 3), np.uint8)
    heights = []
    for title in ("short", "word " * 40, "word " * 90):
        picture = composed([Panel(black, title=title)] * 4, Wording(("x",)), widest=800, tallest=4000)
        heights.append(picture.shape[0])
        assert picture.shape[1] <= 832
    assert heights[0] < heights[1] <= heights[2] < heights[0] + 4 * 18 * 4
