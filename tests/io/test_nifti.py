"""NIfTI volumes arrive in LPS millimetres with the values that they mean."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume

BLOCK = np.arange(24, dtype=np.int16).reshape(4, 3, 2)  # (I, J, K)


def _save(path: Path, data: Any, affine: Any = None, **header: Any) -> None:
    image = nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine)
    if "units" in header:
        image.header.set_xyzt_units(header["units"])
    if "slope" in header:
        image.header.set_slope_inter(header["slope"], header["inter"])
    nibabel.save(image, path)


def _only(folder: Path) -> Volume:
    (series,) = index_of(folder).series
    with Source(folder) as source:
        volume = read_volume(source, series)
    assert not series.spacing_mm or series.spacing_mm == volume.spacing_mm
    return volume


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_keep_their_place_in_the_patient(tmp_path: Path, name: str) -> None:
    turn, s = np.radians(30), np.sin
    ras = np.array(
        [
            [0.7, 0, 0, -10],
            [0, 0.8 * np.cos(turn), -2 * s(turn), 20],
            [0, 0.8 * s(turn), 2 * np.cos(turn), 5],
            [0, 0, 0, 1],
        ]
    )
    _save(tmp_path / name, BLOCK, ras)
    volume = _only(tmp_path)
    assert volume.data.shape == (1, 2, 3, 4) and volume.data.dtype == np.int16
    i, j, k = 3, 1, 1
    assert volume.data[0, k, j, i] == BLOCK[i, j, k]
    x, y, z, _ = ras @ [i, j, k, 1]
    np.testing.assert_allclose(volume.affine @ [i, j, k, 1], [-x, -y, z, 1], atol=1e-5)
    np.testing.assert_allclose(volume.spacing_mm, (2, 0.8, 0.7), atol=1e-5)
    assert volume.spacing_known


@pytest.mark.parametrize(("units", "factor"), [("mm", 1), ("meter", 1000), ("micron", 0.001), (0, 1)])
def test_lengths_are_millimetres_whatever_the_unit(tmp_path: Path, units: Any, factor: float) -> None:
    _save(tmp_path / "a.nii", BLOCK, np.diag([2, 2, 2, 1.0]), units=units)
    assert _only(tmp_path).spacing_mm == (2 * factor,) * 3


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    _save(tmp_path / "a.nii", BLOCK, slope=2.0, inter=-1000.0)
    volume = _only(tmp_path)
    assert volume.data.dtype == np.int16
    np.testing.assert_array_equal(volume.data[0].T, BLOCK * 2 - 1000)
    _save(tmp_path / "a.nii", BLOCK, slope=0.5, inter=0.25)
    volume = _only(tmp_path)
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data[0].T, BLOCK * 0.5 + 0.25)


def test_a_fourth_axis_becomes_channels_and_axes_of_one_vanish(tmp_path: Path) -> None:
    _save(tmp_path / "a.nii", np.stack([BLOCK, BLOCK + 100], axis=-1)[..., None])
    volume = _only(tmp_path)
    assert volume.data.shape == (2, 2, 3, 4) and volume.data[1, 1, 2, 3] == BLOCK[3, 2, 1] + 100


def test_a_flat_image_has_one_slice(tmp_path: Path) -> None:
    _save(tmp_path / "a.nii", BLOCK[..., 0])
    assert _only(tmp_path).data.shape == (1, 1, 3, 4)


def test_big_endian_and_double_arrive_in_native_types(tmp_path: Path) -> None:
    _save(tmp_path / "a.nii", BLOCK.astype(">i2"))
    data = _only(tmp_path).data
    assert data.dtype.isnative and data.dtype == np.int16 and data[0, 1, 2, 3] == BLOCK[3, 2, 1]
    _save(tmp_path / "a.nii", BLOCK.astype(np.float64))
    assert _only(tmp_path).data.dtype == np.float32


def test_colour_voxels_become_three_channels(tmp_path: Path) -> None:
    colours = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = BLOCK
    _save(tmp_path / "a.nii", colours)
    data = _only(tmp_path).data
    assert data.shape == (3, 2, 3, 4) and data[1, 1, 2, 3] == 23 and data[0].max() == 0


def test_an_unknown_grid_has_no_spacing(tmp_path: Path) -> None:
    _save(tmp_path / "a.nii", BLOCK)
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[80:92] = bytes(12)  # pixdim[1..3] = 0
    content[252:256] = bytes(4)  # qform_code, sform_code = 0
    (tmp_path / "a.nii").write_bytes(content)
    assert not _only(tmp_path).spacing_known
    assert index_of(tmp_path).series[0].spacing_mm == ()


def test_an_affine_that_flattens_is_refused(tmp_path: Path) -> None:
    _save(tmp_path / "a.nii", BLOCK, np.diag([1, 1, 1, 1.0]))
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[280:296] = bytes(16)  # srow_x
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(BadInput, match="flattens the volume"):
        index_of(tmp_path)


def test_complex_values_are_refused(tmp_path: Path) -> None:
    _save(tmp_path / "a.nii", BLOCK.astype(np.complex64))
    with pytest.raises(BadInput, match="not read; save it as numbers"):
        index_of(tmp_path)


def test_a_file_cut_short_is_refused_or_bad_input(tmp_path: Path) -> None:
    _save(tmp_path / "a.nii", np.random.default_rng(0).random((20, 20, 20)))
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(content[:-100])
    with pytest.raises(
        BadInput, match=f"holds {len(content) - 100} bytes where {len(content)} were expected"
    ):
        index_of(tmp_path)
    (tmp_path / "a.nii").unlink()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content)[:-5000])
    with pytest.raises(BadInput, match="cut-short"):
        _only(tmp_path)


def test_text_named_as_nifti_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_text("text")
    with pytest.raises(BadInput, match="named as NIfTI, but it is not"):
        index_of(tmp_path)


def test_values_that_are_not_numbers_are_bad_input(tmp_path: Path) -> None:
    _save(tmp_path / "a.nii", np.full((2, 2, 2), np.nan, np.float32))
    with pytest.raises(BadInput, match="8 of 8 values that are not numbers"):
        _only(tmp_path)
