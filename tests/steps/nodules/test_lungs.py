"""Both lungs are found in a chest CT, and what is no chest CT is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.steps.nodules.lungs import LEFT, RIGHT, Lungs, find_lungs
from steps.nodules.chest import STEP_MM, Ball, chest

pytestmark = pytest.mark.xdist_group("nodules")
MIDDLE = np.array([7.0, -160.0, -200.0])


def _near(x: float, z: float) -> np.ndarray:  # type: ignore[type-arg]
    return MIDDLE + np.array([x, 0.0, z])


@pytest.fixture(scope="module")
def lungs() -> Lungs:
    # A nodule at the outer wall of the right lung, which only closing brings in.
    return find_lungs(chest([Ball((-108.0, 0.0, 0.0), 14.0)])[0])


def test_each_lung_has_the_volume_of_its_ellipsoid(lungs: Lungs) -> None:
    true = 4 / 3 * np.pi * 50 * 75 * 95 / 1e6
    assert lungs.litres == pytest.approx((true, true), rel=0.06)


def test_the_right_lung_lies_at_smaller_x(lungs: Lungs) -> None:
    x = {side: lungs.points_of(np.argwhere(lungs.labels == side))[:, 0].mean() for side in (RIGHT, LEFT)}
    assert x[RIGHT] < MIDDLE[0] - 40 < MIDDLE[0] + 40 < x[LEFT]
    assert lungs.side_at(_near(-60, 0)) == "right" and lungs.side_at(_near(60, 0)) == "left"
    assert [lungs.third_at(_near(60, z)) for z in (-70, 0, 70)] == ["lower", "middle", "upper"]


def test_a_nodule_at_the_pleura_lies_inside_and_the_windpipe_outside(lungs: Lungs) -> None:
    depth = lungs.depth_at(MIDDLE + np.array([[-108.0, 0, 0], [0, 5, 60], [-65, 0, 0], [0, 0, 0]]))
    assert depth[0] > 2 and depth[1] < 0 and depth[3] < 0
    assert depth[2] == pytest.approx(50, abs=5)


def test_a_scan_stored_from_head_to_feet_gives_the_same_lungs(lungs: Lungs) -> None:
    volume, _ = chest([Ball((-108.0, 0.0, 0.0), 14.0)])
    turned = volume.affine.copy()
    turned[:3, 3] += turned[:3, 2] * (volume.data.shape[1] - 1)
    turned[:3, 2] *= -1
    other = find_lungs(replace(volume, data=volume.data[:, ::-1], affine=turned))
    assert other.litres == pytest.approx(lungs.litres, rel=0.01)
    assert other.depth_at(_near(-65, 0)[None])[0] == pytest.approx(50, abs=5)


def _ankle() -> Volume:
    # Two legs in air, without air inside.
    hu = np.full((60, 64, 96), -1000.0)
    y, x = np.mgrid[:64, :96]
    for middle in (28, 68):
        hu[:, np.hypot(x - middle, y - 32) < 16] = 40
    return Volume(hu.astype(np.int16)[None], np.diag([STEP_MM, STEP_MM, STEP_MM, 1]), (), True)


def _head() -> Volume:
    # A ball with sinuses.
    k, j, i = np.mgrid[:80, :80, :80] - 40
    hu = np.where(np.sqrt(k**2 + j**2 + i**2) < 34, 40, -1000)
    for side in (-8, 8):
        hu[np.sqrt((k + 10) ** 2 + (j + 20) ** 2 + (i - side) ** 2) < 6] = -990
    return Volume(hu.astype(np.int16)[None], np.diag([STEP_MM, STEP_MM, STEP_MM, 1]), (), True)


def _scaled() -> Volume:
    volume, _ = chest()
    return replace(volume, data=((volume.data.astype(int) + 1000) // 8).astype(np.int16))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_ankle, "no two lungs"),
        (_head, "no two lungs"),
        (lambda: chest(lungs=False)[0], "no two lungs"),
        (_scaled, "without air"),
        (lambda: replace(chest()[0], spacing_known=False), "known distance"),
        (lambda: replace(chest()[0], data=chest()[0].data[:, :20]), "litres"),
    ],
)
def test_what_is_no_chest_ct_is_refused_with_what_was_expected(make: Callable[[], Volume], why: str) -> None:
    with pytest.raises(BadInput, match=f"series 7 .*{why}.*expected a CT of the chest"):
        find_lungs(make(), name="series 7")
