"""Volume and longest diameter against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.metrics.finding_size import finding_size

TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5)])
def test_a_ball_measures_its_diameter_and_volume(turned: bool, spacing: tuple[float, ...]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (TURN if turned else np.eye(3)) @ np.diag(spacing)
    sides = [int(2 * 13 / s) + 4 for s in spacing][::-1]
    k, j, i = np.ogrid[tuple(map(slice, sides))]
    away = [(axis - (n - 1) / 2) * s for axis, n, s in zip((k, j, i), sides, spacing[::-1], strict=True)]
    size = finding_size(sum(a**2 for a in away) < 12.0**2, affine)
    assert size.longest_diameter_mm == pytest.approx(24, abs=max(spacing))
    assert size.volume_mm3 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)


def test_two_parts_far_away_measure_from_end_to_end() -> None:
    inside = np.zeros((3, 4, 40), bool)
    inside[1, 1, [2, 35]] = True
    size = finding_size(inside, np.diag([0.5, 9.0, 2.0, 1.0]))
    ends = (33 + 1) * 0.5  # along i, from outer face to outer face
    across = np.hypot(33 * 0.5, 9.0)  # from the upper face of one to the lower face of the other, along j
    assert size.longest_diameter_mm == pytest.approx(max(ends, across))
    assert size.volume_mm3 == pytest.approx(18.0)


def test_a_finding_at_the_border_is_not_cut() -> None:
    assert finding_size(np.ones((2, 1, 1), bool), np.eye(4)).longest_diameter_mm == 2.0


def test_nothing_has_no_size() -> None:
    with pytest.raises(BadInput, match="without a voxel"):
        finding_size(np.zeros((2, 2, 2), bool), np.eye(4))
