"""Tissues and surfaces against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hounsfield.steps.brain.surface import filled, grown, sphere
from hounsfield.steps.brain.tissue import levels_of, parts_of
from hounsfield.steps.brain.trajectory import line_through, places_of


def _ball(radius: float, shape: tuple[int, int, int] = (48, 48, 48)) -> np.ndarray:
    middle = (np.array(shape) - 1) / 2
    far = np.sqrt(((np.indices(shape) - middle[:, None, None, None]) ** 2).sum(0))
    return np.clip(radius - far + 0.5, 0, 1)


def test_parts_of_nested_balls_have_their_volumes_and_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    outer, middle, inner = (_ball(r) for r in (22.0, 18.0, 13.0))
    image = 0.22 * outer + 0.38 * middle + 0.40 * inner + 0.03 * rng.standard_normal(outer.shape)
    inside = outer > 0.999
    levels = levels_of(image[inside])
    parts = parts_of(image.astype(np.float32), inside, levels)
    assert np.allclose(parts.sum(0)[inside], 1.0, atol=1e-4)
    assert not parts[:, ~inside].any()
    truth = [inside.sum() - middle.sum(), (middle - inner).sum(), inner.sum()]
    assert parts.sum((1, 2, 3)) == pytest.approx(truth, rel=0.03)


def test_a_neighbourhood_settles_what_noise_leaves_open() -> None:
    rng = np.random.default_rng(1)
    inner = _ball(13.0)
    inside = _ball(22.0) > 0.999
    image = (0.6 + 0.4 * inner + 0.09 * rng.standard_normal(inner.shape)).astype(np.float32)
    image[:, :8] = 0.2
    levels = levels_of(image[inside])
    white = parts_of(image, inside, levels)[2]
    alone = np.clip((image - 0.6) / 0.4, 0, 1)
    assert np.abs(white - inner)[inside].mean() < 0.6 * np.abs(alone - inner)[inside].mean()


def test_a_filled_sphere_has_the_volume_of_its_triangles() -> None:
    ball = sphere(3)
    points = 20.3 * ball[0] + 30.0
    a, b, c = (points[ball[1][:, n]] - 30.0 for n in range(3))
    exact = np.einsum("nc,nc->n", a, np.cross(b, c)).sum() / 6
    assert filled(points, (60, 60, 60), ball).sum() == pytest.approx(exact, rel=0.01)


def test_the_surface_grows_to_the_edge_of_a_bright_ball() -> None:
    ball = sphere(3)
    image = ndimage.gaussian_filter(_ball(20.0, (64, 64, 64)), 0.7).astype(np.float32)
    points = grown(image, 31.5 + 8.0 * ball[0], np.array([0.0, 0.1, 1.0, 1.0]), rounds=400, ball=ball)
    radius = np.linalg.norm(points - 31.5, axis=1)
    assert abs(radius.mean() - 20.0) < 1.5
    assert radius.std() < 1.0


def test_every_pair_of_visits_has_its_say() -> None:
    places, covariance = places_of(3, [(0, 1), (1, 2), (0, 2)], [-0.010, -0.010, -0.026], [0.001] * 3)
    # By symmetry the 0.006 that do not fit are shared in three.
    assert places == pytest.approx([0.0, -0.012, -0.024])
    assert covariance.shape == (2, 2)


def test_no_slope_stands_on_one_day() -> None:
    assert line_through((0.0, 0.0), np.array([0.0, 0.001]), 0.001) is None
