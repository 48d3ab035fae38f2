"""A Siemens mosaic is taken apart into slices at the place that its private header gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.io import Source, index_of, read_volume
from hounsfield.io.dicom.mosaic import tiles_of
from trap_objects import mosaic


def test_tiles_become_slices_at_their_place(tmp_path: Path) -> None:
    slices = np.arange(5 * 4 * 6, dtype=np.int16).reshape(5, 4, 6)
    made = mosaic(slices, first_mm=(-10.0, 20.0, 30.0), step_mm=3.0)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (series,) = index_of(tmp_path).series
    assert (series.shape, series.spacing_mm, series.stack) == ((5, 4, 6), (3.0, 2.0, 1.5), "regular")
    with Source(tmp_path) as source:
        volume = read_volume(source, series)
    np.testing.assert_array_equal(volume.data[0], slices)
    expected = np.diag([1.5, 2.0, 3.0, 1.0])
    expected[:3, 3] = (-10, 20, 30)
    np.testing.assert_allclose(volume.affine, expected)


def test_tiles_that_run_against_the_normal_are_turned_round(tmp_path: Path) -> None:
    slices = np.arange(5 * 4 * 6, dtype=np.int16).reshape(5, 4, 6)
    made = mosaic(slices, first_mm=(0.0, 0.0, 30.0), step_mm=3.0, downwards=True)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (series,) = index_of(tmp_path).series
    with Source(tmp_path) as source:
        volume = read_volume(source, series)
    np.testing.assert_array_equal(volume.data[0], slices[::-1])
    assert volume.affine[:3, 3].tolist() == [0, 0, 18] and volume.affine[2, 2] == 3


def test_a_time_series_says_which_volume_is_which(tmp_path: Path) -> None:
    for n in range(3):
        made = mosaic(np.full((2, 4, 4), n, np.int16), number=n + 1, AcquisitionNumber=n + 1)
        made.save_as(tmp_path / f"{n}.dcm", enforce_file_format=True)
    assert [s.volume for s in index_of(tmp_path).series] == [f"acquisition {n}" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"private": b""}, "private header is gone.*export it with its private elements"),
        ({"private": b"SV10\4\3\2\1\xff\xff\xff\xff"}, "private header is gone"),
        ({"private": b"SV10\4\3\2\1\2\0\0\0M\0\0\0" + bytes(90)}, "private header is gone"),
        ({"SpacingBetweenSlices": None}, "without position, spacing or distance of slices"),
        ({"ImagePositionPatient": None}, "without position, spacing or distance of slices"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "normal contradicts its orientation"),
    ],
)
def test_a_mosaic_of_unknown_geometry_is_refused(
    tmp_path: Path, elements: dict[str, Any], reason: str
) -> None:
    made = mosaic(np.zeros((4, 4, 4), np.int16), **elements)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(BadInput, match=reason):
        index_of(tmp_path)


def test_tiles_are_cut_row_by_row() -> None:
    picture = np.arange(36).reshape(1, 1, 6, 6)
    assert tiles_of(picture, 7).shape == (1, 7, 2, 2)
    assert tiles_of(picture, 7)[0, :, 0, 0].tolist() == [0, 2, 4, 12, 14, 16, 24]
    assert tiles_of(picture, -7)[0, :, 0, 0].tolist() == [24, 16, 14, 12, 4, 2, 0]
