"""Slices become volumes in the right order and place, or are refused whole with the fault named."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume
from hounsfield.io.dicom.stack_values import stack_values
from hounsfield.io.reader import READERS

EVEN = [(0.0, 0.0, 5.0 * n) for n in range(5)]


def _only(folder: Path) -> Volume:
    (series,) = index_of(folder).series
    with Source(folder) as source:
        volume = read_volume(source, series)
    assert series.spacing_mm == volume.spacing_mm
    return volume


def test_slices_are_ordered_by_position_not_by_name(tmp_path: Path, write_stack: Any) -> None:
    positions = [(0.0, 0.0, z) for z in (10.0, 0.0, 15.0, 5.0)]
    made = write_stack(tmp_path, positions)
    series = index_of(tmp_path).series[0]
    assert series.files == ("01.dcm", "03.dcm", "00.dcm", "02.dcm") and series.shape == (4, 3, 4)
    volume = _only(tmp_path)
    assert volume.data[0, :, 0, 0].tolist() == [1, 3, 0, 2]
    np.testing.assert_array_equal(volume.affine, np.diag([0.25, 0.5, 5.0, 1.0]))
    assert volume.source == tuple(made[n].SOPInstanceUID for n in (1, 3, 0, 2))


def test_an_oblique_affine_is_the_one_calculated_by_hand(tmp_path: Path, write_stack: Any) -> None:
    c, s = 0.8, 0.6
    row, column = np.array([c, s, 0]), np.array([0, 0, -1.0])  # coronal, turned by 37 degrees
    normal = np.array([-s, c, 0])  # row x column
    start = np.array([-100.0, 50.0, 30.0])
    positions = [tuple((start + n * 3 * normal).tolist()) for n in (2, 0, 1)]
    write_stack(tmp_path, positions, ImageOrientationPatient=[*row, *column])
    expected = np.eye(4)
    expected[:3, 0] = row * 0.25  # along a row the column number grows: the second value of PixelSpacing
    expected[:3, 1] = column * 0.5
    expected[:3, 2] = normal * 3
    expected[:3, 3] = start
    np.testing.assert_allclose(_only(tmp_path).affine, expected, atol=1e-9)


def test_gantry_tilt_is_kept_as_shear(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0.0, 1.5 * n, 5.0 * n) for n in range(4)])
    affine = _only(tmp_path).affine
    assert index_of(tmp_path).series[0].stack == "tilt"
    np.testing.assert_allclose(affine[:3, 2], [0, 1.5, 5.0])
    np.testing.assert_allclose(affine @ [0, 0, 3, 1], [0, 4.5, 15, 1])


def _refused(folder: Path, reason: str, files: int) -> None:
    with pytest.raises(BadInput, match=reason):
        index_of(folder)
    (folder / "flat.pgm").write_bytes(b"P5 1 1 255 \0")
    refused = index_of(folder).refused
    assert len(refused) == files and all(r.reason for r in refused)


def test_a_gap_is_named_and_the_stack_refused(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, z) for z in (0.0, 5.0, 10.0, 20.0, 25.0, 30.0)])
    _refused(tmp_path, r"most often: gap between slices 3 and 4: 10\.0 mm where 5\.0 mm was expected", 6)


def test_too_small_a_distance_is_named(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, z) for z in (0.0, 5.0, 10.0, 14.0, 19.0)])
    _refused(tmp_path, r"irregular: slices 3 and 4 lie 4\.0 mm apart where 5\.0", 5)


def test_rounded_positions_are_no_gap(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, round(n * 3.27 + 0.04 * (n % 2), 2)) for n in range(8)])
    assert _only(tmp_path).data.shape[1] == 8


def test_a_shared_position_is_named(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [*EVEN, EVEN[2]])
    _refused(tmp_path, "duplicate: slices 3 and 4 share one position and nothing tells them apart", 6)


def test_the_copy_of_a_file_is_left_out_and_the_stack_kept(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, EVEN)
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "01.dcm").read_bytes())
    index = index_of(tmp_path)
    assert [s.shape[0] for s in index.series] == [5] and index.series[0].files[1] == "01.dcm"
    assert [(r.file, r.reason) for r in index.refused] == [
        ("copy.dcm", "duplicate: a copy of another file of this series")
    ]


def test_a_changed_copy_of_an_object_is_no_copy(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, EVEN)
    content = bytearray((tmp_path / "01.dcm").read_bytes())
    content[-1] ^= 1
    (tmp_path / "copy.dcm").write_bytes(content)
    _refused(tmp_path, "duplicate: slices 2 and 3 share one position", 6)


def test_a_stray_slice_of_another_orientation_is_an_image_of_its_own(
    tmp_path: Path, write_stack: Any
) -> None:
    write_stack(
        tmp_path,
        [*EVEN, (0.0, 0.0, 0.0)],
        ImageOrientationPatient=lambda n: [1, 0, 0, 0, 0, -1] if n == 5 else [1, 0, 0, 0, 1, 0],
    )
    index = index_of(tmp_path)
    assert [(s.shape[0], s.volume) for s in index.series] == [(5, "orientation 1"), (1, "orientation 2")]


def test_a_slice_of_another_orientation_leaves_a_gap(tmp_path: Path, write_stack: Any) -> None:
    write_stack(
        tmp_path,
        EVEN,
        ImageOrientationPatient=lambda n: [1, 0, 0, 0, 0, -1] if n == 2 else [1, 0, 0, 0, 1, 0],
    )
    index = index_of(tmp_path)
    assert [s.files for s in index.series] == [("02.dcm",)]
    assert {r.reason.split()[0] for r in index.refused} == {"gap"} and len(index.refused) == 4


def test_three_planes_of_a_localizer_are_three_stacks(tmp_path: Path, write_stack: Any) -> None:
    planes = [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]]
    normals = [(0, 0, 1), (0, 1, 0), (-1, 0, 0)]
    positions = [tuple(10.0 * k * x for x in normal) for k in range(3) for normal in normals]
    write_stack(
        tmp_path,
        positions,
        Modality="MR",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=lambda n: planes[n % 3],
    )
    index = index_of(tmp_path)
    assert [(s.shape[0], s.volume) for s in index.series] == [(3, f"orientation {n}") for n in (1, 2, 3)]
    with Source(tmp_path) as source:
        assert [read_volume(source, s).data[0, :, 0, 0].tolist() for s in index.series] == [
            [0, 3, 6],
            [1, 4, 7],
            [2, 5, 8],
        ]


def test_a_sideways_shift_is_refused(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(3.0 if n == 2 else 0.0, 0.0, 5.0 * n) for n in range(5)])
    _refused(tmp_path, r"slices 2 and 3 are shifted sideways by 3\.0 mm", 5)


def test_a_slice_without_position_spoils_the_stack(
    tmp_path: Path, write_stack: Any, write_dicom: Any
) -> None:
    write_stack(tmp_path, EVEN)
    write_dicom(tmp_path / "x.dcm", np.zeros((3, 4), np.int16), PixelSpacing=[0.5, 0.25])
    _refused(tmp_path, "1 of the 6 slices of the series have no usable position", 6)


def test_a_slice_cut_short_spoils_the_stack(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, EVEN)
    last = tmp_path / "04.dcm"  # at the end of the stack no gap would show
    last.write_bytes(last.read_bytes()[:-4])
    _refused(tmp_path, "a stack of 5 slices of which 1 cannot be used: holds 20 bytes", 5)


def test_two_patients_in_one_series_are_refused(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, EVEN, PatientID=lambda n: f"P{n % 2}")
    _refused(tmp_path, "name different patients", 5)


def test_spacing_that_grows_little_by_little_is_irregular(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, n * 2.0 + 0.01 * n * n) for n in range(20)])
    _refused(tmp_path, "irregular: ", 20)


def test_noise_of_rounding_is_no_fault(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, round(n * 1.25, 1)) for n in range(30)])
    (series,) = index_of(tmp_path).series
    assert series.stack == "regular" and abs(series.spacing_mm[0] - 1.25) < 0.01


def test_parallel_slices_far_to_the_side_are_no_stack(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, 0), (90, 0, 5)])
    _refused(tmp_path, "irregular: slices are shifted sideways", 2)


def test_a_lost_slice_of_unknown_size_spoils_its_series(
    tmp_path: Path, write_stack: Any, write_dicom: Any
) -> None:
    write_stack(tmp_path, EVEN)
    write_dicom(tmp_path / "x.dcm", np.zeros((3, 4), np.int16), Rows=None)
    _refused(tmp_path, "a stack of 6 slices of which 1 cannot be used: .*without its number of rows", 6)


def test_localizers_and_projections_stay_single(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path / "ct", EVEN[:3], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_stack(tmp_path / "mg", EVEN[:2], Modality="MG", SeriesInstanceUID="1.9")
    index = index_of(tmp_path)
    assert [s.shape[0] for s in index.series] == [1] * 5
    assert len({s.id for s in index.series}) == 5


def test_a_localizer_in_the_series_does_not_disturb_the_stack(
    tmp_path: Path, write_stack: Any, write_dicom: Any
) -> None:
    write_stack(tmp_path, EVEN)
    write_dicom(
        tmp_path / "scout.dcm",
        np.zeros((3, 4), np.int16),
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
        ImagePositionPatient=[0, 0, 0],
        PixelSpacing=[0.5, 0.25],
    )
    assert sorted(s.shape[0] for s in index_of(tmp_path).series) == [1, 5]


def test_series_with_other_size_or_uid_are_other_volumes(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path / "a", EVEN)
    write_stack(tmp_path / "b", EVEN, SeriesInstanceUID="1.9")
    write_stack(tmp_path / "c", EVEN, PixelSpacing=[1, 1])
    assert [s.shape[0] for s in index_of(tmp_path).series] == [5, 5, 5]


def test_one_slice_has_its_place(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(7.0, 8.0, 9.0)], SliceThickness=4)
    volume = _only(tmp_path)
    expected = np.diag([0.25, 0.5, 4.0, 1.0])
    expected[:3, 3] = (7, 8, 9)
    np.testing.assert_array_equal(volume.affine, expected)


def test_slices_without_any_position_stay_single(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, EVEN[:3], ImageOrientationPatient=None)
    assert [s.shape[0] for s in index_of(tmp_path).series] == [1, 1, 1]


def test_float_values_are_given_where_asked(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, EVEN, RescaleSlope=2, RescaleIntercept=-3)
    (series,) = index_of(tmp_path).series
    with Source(tmp_path) as source:
        volume = READERS["dicom"].read(source, series, dtype=np.float32)
    assert volume.data.dtype == np.float32 and volume.data[0, :, 0, 0].tolist() == [-3, -1, 1, 3, 5]


def test_a_file_that_changes_while_it_is_read_is_bad_input(
    tmp_path: Path, write_stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stack(tmp_path, EVEN)
    (series,) = index_of(tmp_path).series

    def read_and_touch(*given: Any, **options: Any) -> Any:
        values = stack_values(*given, **options)
        os.utime(tmp_path / "02.dcm", (1, 1))
        return values

    monkeypatch.setattr("hounsfield.io.dicom.stack_values.stack_values", read_and_touch)
    with Source(tmp_path) as source, pytest.raises(BadInput, match="changed while it was read"):
        read_volume(source, series)


def test_slices_that_changed_since_the_scan_are_bad_input(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, EVEN)
    (series,) = index_of(tmp_path).series
    write_stack(tmp_path, list(reversed(EVEN)))
    with Source(tmp_path) as source, pytest.raises(BadInput, match=f"image {series.id}: .*scan again"):
        read_volume(source, series)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"PatientID": "P2"}, "patient"),
        ({"PixelSpacing": [0.5, 0.3]}, "spacing"),
        ({"StudyInstanceUID": "1.8"}, "study"),
    ],
)
def test_another_identity_or_spacing_than_in_the_scan_is_bad_input(
    tmp_path: Path, write_stack: Any, changed: dict[str, Any], what: str
) -> None:
    made = write_stack(tmp_path, EVEN)
    (series,) = index_of(tmp_path).series
    for n, one in enumerate(made):
        for keyword, value in changed.items():
            setattr(one, keyword, value)
        one.save_as(tmp_path / f"{n:02}.dcm")
    with Source(tmp_path) as source, pytest.raises(BadInput, match=rf"since the scan \({what}\); scan again"):
        read_volume(source, series)


def test_headers_known_from_the_scan_give_the_same_volume(tmp_path: Path, write_stack: Any) -> None:
    """A stack of many files is not grouped again when its headers are byte for byte those of the scan."""
    write_stack(tmp_path, [(1.0, 2.0, 3.0 * n) for n in range(9)])
    (series,) = index_of(tmp_path).series
    assert len(series.files) == 9 and series.digest
    with Source(tmp_path) as source:
        known = read_volume(source, series)
        checked = read_volume(source, replace(series, digest="", affine=()))
    np.testing.assert_array_equal(known.data, checked.data)
    np.testing.assert_array_equal(known.affine, checked.affine)
    assert (known.source, known.spacing_known) == (checked.source, checked.spacing_known)


def test_a_stack_of_many_slices_that_moved_since_the_scan_is_bad_input(
    tmp_path: Path, write_stack: Any
) -> None:
    write_stack(tmp_path, [(0, 0, 3.0 * n) for n in range(9)])
    (series,) = index_of(tmp_path).series
    write_stack(tmp_path, [(0, 0, 4.0 * n) for n in range(9)])
    with Source(tmp_path) as source, pytest.raises(BadInput, match="changed since the scan"):
        read_volume(source, series)
