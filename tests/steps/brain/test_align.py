"""Images are laid over each other from the middle: swapped, the answer is the inverse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from hounsfield.steps.brain.align import Fit, Seen, aligned, halves
from hounsfield.steps.brain.sampling import between, cubic, linear, spline_of


def _blobs() -> np.ndarray:
    rng = np.random.default_rng(3)
    image = ndimage.gaussian_filter(rng.standard_normal((40, 44, 42)), 3.0)
    image /= image.std()
    window = ndimage.gaussian_filter(np.pad(np.ones((24, 28, 26)), 8), 2.0)
    return (2.0 + image * window).astype(np.float32)


def _pair(move: np.ndarray) -> tuple[Seen, Seen]:
    image = _blobs()
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = [-41, -43, -39]
    # The second image shows at T x what the first shows at x.
    moved = cubic(spline_of(image), between(affine, affine, np.linalg.inv(move)), image.shape, beyond=2.0)
    weight = np.ones(image.shape, np.float32)
    return Seen(image, affine, weight), Seen(moved, affine, weight)


def _move(stretch: float = 0.0) -> np.ndarray:
    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", (3, -4, 5), degrees=True).as_matrix() @ np.diag(
        [1 + stretch, 1, 1 - stretch]
    )
    move[:3, 3] = [2.0, -1.5, 1.0]
    return move


def _off_mm(fit: Fit, move: np.ndarray) -> float:
    corners = np.array([[x, y, z, 1.0] for x in (-25, 25) for y in (-25, 25) for z in (-25, 25)])
    return float(np.abs(corners @ (fit.matrix - move).T).max())


def test_a_known_turn_and_shift_is_found_to_a_twentieth_of_a_millimetre() -> None:
    first, second = _pair(_move())
    fit = aligned(first, second, np.eye(4), step_mm=2.0, rounds=30)
    assert _off_mm(fit, _move()) < 0.05
    assert fit.correlation > 0.99


def test_a_known_stretch_is_found_with_twelve_freedoms() -> None:
    first, second = _pair(_move(0.02))
    fit = aligned(first, second, np.eye(4), freedom="affine", step_mm=2.0, rounds=30)
    assert _off_mm(fit, _move(0.02)) < 0.08


@pytest.mark.parametrize("freedom", ["rigid", "affine"])
def test_swapping_the_images_gives_the_inverse(freedom: str) -> None:
    first, second = _pair(_move(0.01))
    there = aligned(first, second, np.eye(4), freedom=freedom, step_mm=3.0)  # type: ignore[arg-type]
    back = aligned(second, first, np.eye(4), freedom=freedom, step_mm=3.0)  # type: ignore[arg-type]
    assert np.allclose(there.matrix @ back.matrix, np.eye(4), atol=1e-6)
    assert there.gain * back.gain == pytest.approx(1.0, abs=1e-6)


def test_a_brighter_second_image_is_told_from_a_moved_one() -> None:
    first, second = _pair(_move())
    bright = second._replace(data=second.data * np.float32(1.3))
    fit = aligned(first, bright, np.eye(4), step_mm=2.0, rounds=30)
    assert fit.gain == pytest.approx(1.3, abs=0.01)
    assert _off_mm(fit, _move()) < 0.05


def test_halves_make_the_whole() -> None:
    move = _move(0.02)
    first, second = halves(move)
    assert np.allclose(second @ np.linalg.inv(first), move, atol=1e-10)


def test_lookups_agree_with_scipy() -> None:
    image = _blobs()
    matrix = np.array([[0.9, 0.1, 0.02, 2.3], [-0.1, 0.95, 0.05, 3.1], [0.03, -0.04, 0.9, 2.2]])
    shape = (30, 31, 32)
    k, j, i = np.indices(shape)
    x, y, z = np.einsum("rc,ckji->rkji", matrix[:, :3], np.stack([i, j, k])) + matrix[:, 3, None, None, None]
    within = (x > 0) & (y > 0) & (z > 0) & (x < 41) & (y < 43) & (z < 39)
    for order, found in ((3, cubic(spline_of(image), matrix, shape)), (1, linear(image, matrix, shape))):
        expected = ndimage.map_coordinates(image, [z, y, x], order=order, mode="mirror")
        assert np.abs(found - expected)[within].max() < 2e-4
