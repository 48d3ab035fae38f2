"""An image is moved as scipy moves it, whatever lies beyond its edge and however its numbers are stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Augment
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.draw import Draw, draw
from hounsfield.transforms.spline import spline_weights

FILLS = {"nearest": "nearest", "constant": "grid-constant", "reflect": "reflect", "wrap": "grid-wrap"}
DTYPES = ["uint8", "int16", "uint16", "float32"]
MOVES: dict[str, Any] = {
    "rotation_deg": 40, "shift_width": 0.3, "shift_height": 0.3, "shift_slices": 0.3, "zoom": 0.4,
    "shear_deg": 20, "flip_left_right": True, "flip_up_down": True, "flip_slices": True, "fill_value": -0.7,
}  # fmt: skip
FLAT, DEEP, UPRIGHT = ((37, 52), 0.0), ((9, 20, 31), 15.0), ((9, 20, 31), 0.0)
LEVELS = np.array([[1 / 50, -1, -np.inf, np.inf], [1 / 80, 0.3, -np.inf, np.inf], [1 / 50, -1, -2, 0.9]])


def _stored(dtype: str, shape: tuple[int, ...], *, n: int = 3, seed: int = 0) -> NDArray[Any]:
    """Images (n, 2, K, J, I) that use the range of their numbers."""
    low, high = (-300, 300) if dtype in ("int16", "float32") else (0, 255 if dtype == "uint8" else 60000)
    whole = (1, *shape) if len(shape) == 2 else shape
    return np.random.default_rng(seed).integers(low, high, (n, 2, *whole)).astype(dtype)


def _levels(dtype: str) -> NDArray[np.float64]:
    return LEVELS * [1 / 200, 1, 1, 1] if dtype == "uint16" else LEVELS


def _places(drawn: Draw, row: int) -> NDArray[np.float64]:
    """The places (d, *shape) that the changed image shows, by plain numpy."""
    grid = np.indices(drawn.shape).astype(float)
    matrix = drawn.matrix[row]
    found = np.tensordot(matrix[:, :-1], grid, 1) + matrix[:, -1].reshape(-1, *[1] * len(drawn.shape))
    if drawn.displacement is not None:
        field = drawn.displacement[row].astype(float)
        for axis, size in enumerate(drawn.shape, start=1):
            along = spline_weights(size, drawn.elastic_points)
            field = np.moveaxis(np.tensordot(field, along, ([axis], [1])), -1, axis)
        found = found + field
    return found


def _error(stored: NDArray[Any], levels: NDArray[np.float64], drawn: Draw, out: NDArray[Any]) -> float:
    """The largest difference from scipy, as a share of an image's range."""
    worst = 0.0
    for n, (scale, offset, least, greatest) in enumerate(levels):
        places = _places(drawn, n)
        for channel, made in zip(stored[n], out[n], strict=True):
            image = channel.reshape(drawn.shape).astype(float)
            wanted = ndimage.map_coordinates(
                image, places, order=1, mode=FILLS[drawn.fill], cval=(drawn.fill_value - offset) / scale
            )
            wanted = np.clip(wanted * scale + offset, least, greatest)
            worst = max(worst, float(np.abs(made - wanted).max() / (max(np.ptp(image), 1.0) * scale)))
    return worst


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("shape, tilt", [FLAT, DEEP, UPRIGHT])
@pytest.mark.parametrize("dtype", DTYPES)
def test_images_are_moved_as_scipy_moves_them(dtype: str, shape: Any, tilt: float, fill: Any) -> None:
    drawn = draw(Augment(**MOVES, tilt_deg=tilt, fill=fill), 3, shape, 1)
    stored, levels = _stored(dtype, shape), _levels(dtype)
    out = augmented(stored, levels, drawn)
    assert out.shape == (3, 2, *shape) and out.dtype == np.float32 and out.flags.c_contiguous
    assert _error(stored, levels, drawn, out) < 3e-5


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("shape, tilt", [FLAT, DEEP, UPRIGHT])
def test_displacements_compose_into_the_same_resampling(shape: Any, tilt: float, fill: Any) -> None:
    drawn = draw(Augment(**MOVES, tilt_deg=tilt, elastic=0.1, elastic_points=6, fill=fill), 3, shape, 2)
    stored = _stored("uint8", shape)
    assert _error(stored, LEVELS, drawn, augmented(stored, LEVELS, drawn)) < 5e-5


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1), (2, 3), (3, 1, 5), (1, 4, 4), (5, 1, 1)])
@pytest.mark.parametrize("fill", FILLS)
def test_the_smallest_images_are_moved_as_well(shape: tuple[int, ...], fill: Any) -> None:
    plan = Augment(**MOVES, tilt_deg=30, elastic=0.2, elastic_points=4, fill=fill)
    drawn = draw(plan, 3, shape, 0)
    stored = _stored("float32", shape)
    assert _error(stored, LEVELS, drawn, augmented(stored, LEVELS, drawn)) < 1e-4


@pytest.mark.parametrize("shape", [(24, 2900), (2900, 24)])
def test_places_stay_exact_in_long_rows(shape: tuple[int, int]) -> None:
    drawn = draw(Augment(rotation_deg=3, zoom=0.1, shift_width=0.1, shift_height=0.1), 3, shape, 0)
    stored = _stored("uint8", shape)
    assert _error(stored, LEVELS, drawn, augmented(stored, LEVELS, drawn)) < 2e-4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 11), (4, 6, 11)])
def test_mirroring_alone_is_exact(dtype: str, shape: tuple[int, ...]) -> None:
    drawn = draw(Augment(flip_left_right=True, flip_up_down=True, flip_slices=True), 16, shape, 0)
    stored = _stored(dtype, shape, n=16)
    levels = np.tile(_levels(dtype)[:1], (16, 1))
    out = augmented(stored, levels, drawn)
    for n in range(16):
        image = stored[n].reshape(2, *shape).astype(np.float32)
        image = np.flip(image, [1 + axis for axis in range(len(shape)) if drawn.flipped[n, axis]])
        np.testing.assert_allclose(out[n], image * levels[n, 0] + levels[n, 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("shape", [(8, 10), (5, 8, 10)])
def test_a_shift_by_whole_voxels_is_exact(shape: tuple[int, ...], fill: Any) -> None:
    drawn = draw(Augment(zoom=0.1, fill=fill, fill_value=-3), 1, shape, 0)
    matrix = np.eye(len(shape), len(shape) + 1)[None]
    matrix[0, -2:, -1] = 2, 3  # read two rows down, three columns right
    stored = _stored("int16", shape, n=1)
    out = augmented(stored, np.array([[1.0, 0, -np.inf, np.inf]]), replace(drawn, matrix=matrix))
    how = {"wrap": "wrap", "nearest": "edge", "constant": "constant", "reflect": "symmetric"}[fill]
    more = {"constant_values": -3} if fill == "constant" else {}
    padded = np.pad(stored[0].reshape(2, *shape), [(0, 0)] * (len(shape) - 1) + [(0, 2), (0, 3)], how, **more)
    np.testing.assert_array_equal(out[0], padded[..., 2:, 3:])


@pytest.mark.parametrize("shape", [(48, 96), (96, 48), (6, 48, 96)])
def test_a_turned_disc_stays_a_disc(shape: tuple[int, ...]) -> None:
    j, i = np.indices(shape[-2:])
    disc = np.hypot(j - shape[-2] / 2 + 0.5, i - shape[-1] / 2 + 0.5) < 16
    stored = np.broadcast_to(disc, (8, 1, *((1,) if len(shape) == 2 else ()), *shape)).astype(np.uint8)
    levels = np.array([[1.0, 0, 0, 1]] * 8)
    out = augmented(stored, levels, draw(Augment(rotation_deg=60, fill="constant"), 8, shape, 0))
    assert float(np.abs(out - stored.reshape(out.shape)).mean()) < 0.01


def test_nothing_asked_changes_nothing_and_bounds_hold() -> None:
    stored = _stored("uint16", (9, 12))
    levels = np.array([[1 / 100, 0, 0, 1]] * 3)
    out = augmented(stored, levels, draw(Augment(), 3, (9, 12), 0))
    np.testing.assert_allclose(out, np.clip(stored[:, :, 0] / 100, 0, 1), rtol=1e-6)


def test_what_is_not_stored_as_such_is_read_by_its_values() -> None:
    stored = _stored("uint8", (9, 12))
    drawn = draw(Augment(**MOVES), 3, (9, 12), 0)
    wanted = augmented(stored, LEVELS, drawn)
    for other in (
        stored.astype(np.int64),
        stored.astype(">i2"),
        stored.astype(float),
        stored[..., ::-1, ::-1],
    ):
        given = other[..., ::-1, ::-1] if other.strides[-1] < 0 else other
        np.testing.assert_array_equal(augmented(given, LEVELS, drawn), wanted)


def test_a_file_in_memory_is_read_without_being_written(tmp_path: Path) -> None:
    stored = _stored("uint16", (9, 12), n=4)
    stored.tofile(tmp_path / "pixels")
    mapped = np.memmap(tmp_path / "pixels", np.uint16, "r", shape=stored.shape)
    drawn = draw(Augment(**MOVES), 2, (9, 12), 0)
    np.testing.assert_array_equal(
        augmented(mapped[1:3], LEVELS[:2], drawn), augmented(stored[1:3], LEVELS[:2], drawn)
    )


@pytest.mark.parametrize("shape", [(19, 22), (4, 19, 22)])
def test_threads_and_parts_make_the_same_images(shape: tuple[int, ...]) -> None:
    plan = Augment(**MOVES, tilt_deg=9, elastic=0.05, noise=0.3, blur=1, motion=0.1, cutout=0.4, gamma=0.4)
    drawn = draw(plan, 21, shape, 5)
    stored, levels = _stored("int16", shape, n=21), np.tile(LEVELS, (7, 1))
    wanted = augmented(stored, levels, drawn, standardise=True)
    shared = augmented(stored, levels, drawn, standardise=True, threads=3)
    np.testing.assert_array_equal(shared, wanted)
    rows = np.array([20, 3, 3, 11])
    part = augmented(stored[rows], levels[rows], drawn.of(rows), standardise=True)
    np.testing.assert_array_equal(part, wanted[rows])


def test_the_result_goes_where_it_is_wanted() -> None:
    stored, drawn = _stored("uint8", (9, 12)), draw(Augment(**MOVES), 3, (9, 12), 0)
    held = np.empty((3, 2, 9, 12), np.float32)
    assert augmented(stored, LEVELS, drawn, out=held) is held
    np.testing.assert_array_equal(held, augmented(stored, LEVELS, drawn))
    for other in (held[:2], held.astype(np.float64), np.empty((3, 2, 9, 24), np.float32)[..., ::2]):
        with pytest.raises(BadInput, match="was given for the result"):
            augmented(stored, LEVELS, drawn, out=other)


def test_no_images_give_none() -> None:
    none = augmented(
        np.zeros((0, 1, 1, 4, 4), np.uint8), np.zeros((0, 4)), draw(Augment(zoom=0.1), 0, (4, 4), 0)
    )
    assert none.shape == (0, 1, 4, 4)


@pytest.mark.parametrize("where", [(0, 0), (1, 2)])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300])
def test_a_matrix_that_leads_nowhere_is_refused(where: tuple[int, int], number: float) -> None:
    drawn = draw(Augment(rotation_deg=5), 1, (8, 8), 0)
    drawn.matrix[0][where] = number
    with pytest.raises(BadInput, match="out of all bounds"):
        augmented(np.zeros((1, 1, 1, 8, 8), np.uint8), LEVELS[:1], drawn)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("shape", [(8, 9), (5, 8, 9)])
def test_far_away_is_beyond_the_edge_and_nowhere_else(shape: tuple[int, ...], fill: Any) -> None:
    drawn = draw(Augment(rotation_deg=5, tilt_deg=5, fill=fill, fill_value=7), 3, shape, 0)
    for far in (1e5, -1e5, 1e7, -1e7):
        matrix = drawn.matrix.copy()
        matrix[:, :, -1] += far
        stored = _stored("float32", shape)
        out = augmented(stored, LEVELS[[0, 0, 0]] * [50, 0, 1, 1], replace(drawn, matrix=matrix))
        if fill == "constant":
            assert (np.abs(out - 7) < 1e-3).all()
        assert out.min() >= min(stored.min(), 7) - 1 and out.max() <= stored.max() + 1


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("shape, tilt", [FLAT, DEEP, UPRIGHT])
def test_no_matrix_reads_what_is_no_voxel(shape: tuple[int, ...], tilt: float, fill: Any) -> None:
    n, d, rng = 60, len(shape), np.random.default_rng(0)
    drawn = draw(Augment(rotation_deg=5, tilt_deg=tilt, fill=fill, fill_value=3), n, shape, 0)
    wild = rng.normal(size=(n, d, d + 1)) * 10 ** rng.uniform(-4, 6, (n, d, d + 1))
    if d == 3 and not tilt:
        wild[:, 0, 1:3] = 0
    whole = (1, *shape) if d == 2 else shape
    stored = np.random.default_rng(1).integers(2, 5, (n, 1, *whole)).astype(np.uint16)
    for elastic in (0.0, 0.4):
        moved = replace(drawn, matrix=wild, elastic=np.full(n, elastic))
        out = augmented(stored, np.array([[1.0, 0, -np.inf, np.inf]] * n), moved)
        assert out.min() >= 2 - 1e-5 and out.max() <= 4 + 1e-5


@pytest.mark.parametrize(
    "images, levels",
    [((2, 1, 1, 8, 8), (2, 4)), ((3, 1, 1, 8, 9), (3, 4)), ((3, 1, 2, 8, 8), (3, 4)), ((3, 1, 8, 8), (3, 4)),
     ((3, 1, 1, 8, 8), (2, 4)), ((3, 0, 1, 8, 8), (3, 4))],
)  # fmt: skip
def test_what_does_not_fit_is_refused(images: tuple[int, ...], levels: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match="expected images"):
        augmented(np.zeros(images, np.uint8), np.ones(levels), draw(Augment(), 3, (8, 8), 0))
