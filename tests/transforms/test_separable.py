"""Linear and cubic resampling agree with Pillow's and torch's anti-aliased ones, along slices too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from hounsfield.transforms.resize import resize
from hounsfield.transforms.separable import resampled

PILLOW = {"linear": Image.Resampling.BILINEAR, "cubic": Image.Resampling.BICUBIC}
SIZES = [(97, 61, 20, 13), (64, 64, 8, 8), (20, 33, 47, 80), (50, 12, 9, 40), (31, 31, 30, 32), (5, 1, 2, 1)]


def _plane(rows: int, columns: int) -> NDArray[np.float32]:
    return np.random.default_rng(rows).normal(100, 30, (rows, columns)).astype(np.float32)


@pytest.mark.parametrize("how", ["linear", "cubic"])
@pytest.mark.parametrize("rows, columns, to_rows, to_columns", SIZES)
def test_a_plane_is_resampled_as_pillow_does(
    how: str, rows: int, columns: int, to_rows: int, to_columns: int
) -> None:
    plane = _plane(rows, columns)
    wanted = np.asarray(Image.fromarray(plane).resize((to_columns, to_rows), PILLOW[how]))
    got = resampled(plane[None, None], (1, to_rows, to_columns), interpolation=how)
    np.testing.assert_allclose(got[0, 0], wanted, atol=2e-3)


def test_a_plane_is_resampled_as_torch_does() -> None:
    plane = _plane(90, 70)
    given = torch.from_numpy(plane)[None, None]
    wanted = functional.interpolate(
        given, (31, 22), mode="bilinear", antialias=True, align_corners=False
    ).numpy()
    got = resampled(plane[None, None], (1, 31, 22), interpolation="linear")
    np.testing.assert_allclose(got, wanted, atol=2e-3)


@pytest.mark.parametrize("how", ["linear", "cubic"])
@pytest.mark.parametrize("slices", [9, 50])
def test_slices_are_resampled_like_rows(how: str, slices: int) -> None:
    volume = np.random.default_rng(3).normal(0, 1, (2, 24, 17, 19)).astype(np.float32)
    got = resampled(volume, (slices, 17, 19), interpolation=how)
    for c in range(2):
        flat = volume[c].reshape(24, -1)
        wanted = np.asarray(Image.fromarray(flat).resize((17 * 19, slices), PILLOW[how]))
        np.testing.assert_allclose(got[c].reshape(slices, -1), wanted, atol=1e-4)


@pytest.mark.parametrize("how", ["linear", "cubic"])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_pattern_too_fine_for_the_new_grid_becomes_its_mean(how: str, axis: int) -> None:
    data = np.indices((1, 60, 60, 60))[axis] % 2 * np.float32(100)
    size = [60, 60, 60]
    size[axis - 1] = 20  # sampling every third voxel would show stripes of full contrast
    out = resize(data.astype(np.float32), (size[0], size[1], size[2]), interpolation=how)
    inner = np.moveaxis(out, axis, 0)[2:-2]
    assert np.abs(inner - 50).max() < 6


@pytest.mark.parametrize("how", ["linear", "cubic"])
def test_no_value_moves_sideways(how: str) -> None:
    ramp = np.broadcast_to(np.arange(120, dtype=np.float32), (1, 1, 40, 120)).copy()
    out = resampled(ramp, (1, 20, 40), interpolation=how)
    centres = (np.arange(40) + 0.5) * 3 - 0.5
    np.testing.assert_allclose(out[0, 0, :, 3:-3], np.broadcast_to(centres[3:-3], (20, 34)), atol=1e-3)
