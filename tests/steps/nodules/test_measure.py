"""Nodules of known size and density measure what they are."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.steps.nodules.lungs import Lungs, find_lungs
from hounsfield.steps.nodules.measure import NoduleMeasures, measure_nodules
from hounsfield.steps.nodules.sharpness import USUAL_BLUR_PX, blur_px
from steps.nodules.chest import Ball, chest

pytestmark = pytest.mark.xdist_group("nodules")
BALLS = (
    Ball((-65.0, 10.0, 20.0), 7.5),
    Ball((-50.0, -30.0, -30.0), 12.0),
    Ball((60.0, 20.0, 40.0), 13.0, hu=-590.0),
    Ball((70.0, -25.0, -30.0), 18.0, hu=-590.0, core_mm=8.0),
    Ball((-108.0, 0.0, -10.0), 14.0),
)


@pytest.fixture(scope="module")
def measures() -> list[NoduleMeasures]:
    volume, centres = chest(BALLS)
    lungs = find_lungs(volume)
    off = np.random.default_rng(0).normal(size=centres.shape)
    off *= 1.5 / np.linalg.norm(off, axis=1, keepdims=True)
    found = measure_nodules(volume, np.vstack([centres + off, [[77.0, -160, -200]]]), lungs)
    assert all(m is not None for m in found[:5])
    return [m for m in found if m is not None]


def test_diameters_volumes_and_axes_are_those_of_the_balls(measures: list[NoduleMeasures]) -> None:
    for ball, found in zip(BALLS[:4], measures, strict=False):
        assert found.diameter_mm == pytest.approx(ball.diameter_mm, abs=0.8)
        assert found.volume_mm3 == pytest.approx(np.pi / 6 * found.diameter_mm**3)
        assert found.short_axis_mm <= found.long_axis_mm
        assert found.long_axis_mm == pytest.approx(ball.diameter_mm, abs=2.8)


def test_density_kind_and_mass_follow_what_the_ball_is_made_of(measures: list[NoduleMeasures]) -> None:
    assert [m.density for m in measures[:4]] == ["solid", "solid", "ground-glass", "part-solid"]
    assert measures[0].mean_hu == pytest.approx(35, abs=90)  # as solid as it is, however small
    assert measures[2].mean_hu == pytest.approx(-590, abs=40) and measures[2].solid_mm == 0
    assert measures[3].solid_mm == pytest.approx(8.0, abs=1.5)
    for found in measures:
        assert found.mass_mg == pytest.approx(found.volume_mm3 * (found.mean_hu + 1000) / 1000)


def test_a_nodule_at_the_pleura_is_cut_at_the_wall(measures: list[NoduleMeasures]) -> None:
    # The lung ends 115 mm from the middle, where the ball does: curvature alone cuts some of it off.
    found = measures[4]
    assert found.touches_wall and not measures[0].touches_wall
    assert found.diameter_mm == pytest.approx(13.9, abs=1.6)


def test_a_place_outside_the_image_is_refused() -> None:
    volume, _ = chest()
    nowhere = Lungs(np.zeros((2, 2, 2), np.uint8), np.eye(4), np.zeros((2, 2, 2), np.float32))
    with pytest.raises(BadInput, match=r"nodule 1 lies at voxel .* expected a place inside"):
        measure_nodules(volume, np.array([[900.0, 0, 0]]), nowhere)


def test_blur_is_the_usual_one_where_no_skin_is_seen() -> None:
    volume, _ = chest()
    inner = volume.data[:, :, 32:64, 36:92]
    assert blur_px(type(volume)(inner, volume.affine, (), True)) == USUAL_BLUR_PX
    assert 0.4 < blur_px(volume) < 0.75
