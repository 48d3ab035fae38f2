"""Slices become volumes in the right order and place, or are refused whole with the fault named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume

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
    _refused(tmp_path, r"a gap between slices 3 and 4: 10\.0 mm where 5\.0 mm was expected", 6)


def test_too_small_a_distance_is_named(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, z) for z in (0.0, 5.0, 10.0, 14.0, 19.0)])
    _refused(tmp_path, r"too small a distance between slices 3 and 4: 4\.0 mm where 5\.0", 5)


def test_rounded_positions_are_no_gap(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, round(n * 3.27 + 0.04 * (n % 2), 2)) for n in range(8)])
    assert _only(tmp_path).data.shape[1] == 8


def test_a_shared_position_is_named(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [*EVEN, EVEN[2]])
    _refused(tmp_path, "slices 3 and 4 share one position; expected distinct positions", 6)


def test_a_copied_file_is_named_as_a_copy(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, EVEN)
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "01.dcm").read_bytes())
    _refused(tmp_path, "slices 2 and 3 share one position: they are copies of one object; remove one", 6)


def test_mixed_orientation_is_refused(tmp_path: Path, write_stack: Any) -> None:
    write_stack(
        tmp_path,
        EVEN,
        ImageOrientationPatient=lambda n: [1, 0, 0, 0, 0, -1] if n == 2 else [1, 0, 0, 0, 1, 0],
    )
    _refused(tmp_path, "slices of mixed orientation", 5)


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


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("EchoTime", lambda n: 10.0 + n % 2),
        ("TemporalPositionIdentifier", lambda n: 1 + n % 2),
        ("DiffusionBValue", lambda n: 500.0 * (n % 2)),
        ("AcquisitionNumber", lambda n: 1 + n % 2),
    ],
)
def test_echo_time_and_b_value_tell_duplicates_apart(
    tmp_path: Path, write_stack: Any, keyword: str, value: Any
) -> None:
    write_stack(tmp_path, [EVEN[n // 2] for n in range(10)], **{keyword: value})
    index = index_of(tmp_path)
    assert [s.shape for s in index.series] == [(5, 3, 4)] * 2 and not index.refused
    with Source(tmp_path) as source:
        columns = [read_volume(source, s).data[0, :, 0, 0].tolist() for s in index.series]
    assert columns == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert len({s.id for s in index.series}) == 2


def test_a_number_that_differs_in_every_slice_does_not_split_a_stack(
    tmp_path: Path, write_stack: Any
) -> None:
    write_stack(tmp_path, EVEN, AcquisitionNumber=lambda n: n)
    assert _only(tmp_path).data.shape[1] == 5


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


def _enhanced(positions: list[float], *, position_in: str = "each") -> dict[str, Any]:
    """Functional groups of an enhanced CT whose frames lie at the given heights."""

    def item(**content: Any) -> Items:
        made = Dataset()
        for keyword, value in content.items():
            setattr(made, keyword, value)
        return Items([made])

    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.5, 0.25], SliceThickness=9)
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    for n, z in enumerate(positions):
        frame = Dataset()
        if position_in == "each":
            frame.PlanePositionSequence = item(ImagePositionPatient=[1, 2, z])
        frame.PixelValueTransformationSequence = item(RescaleSlope=n + 1, RescaleIntercept=-10)
        frames.append(frame)
    return {
        "SharedFunctionalGroupsSequence": Items([shared]),
        "PerFrameFunctionalGroupsSequence": Items(frames),
        "NumberOfFrames": len(positions),
        "Rows": 3,
        "Columns": 4,
    }


def _frames(n: int) -> Any:
    return np.repeat(np.arange(1, n + 1, dtype=np.uint16), 12).reshape(n * 3, 4)


def test_frames_of_an_enhanced_object_are_ordered_and_rescaled_one_by_one(
    tmp_path: Path, write_dicom: Any
) -> None:
    write_dicom(tmp_path / "a.dcm", _frames(3), **_enhanced([10.0, 0.0, 5.0]))
    volume = _only(tmp_path)
    assert volume.data[0, :, 0, 0].tolist() == [2 * 2 - 10, 3 * 3 - 10, 1 - 10]
    expected = np.diag([0.25, 0.5, 5.0, 1.0])
    expected[:3, 3] = (1, 2, 0)
    np.testing.assert_array_equal(volume.affine, expected)


@pytest.mark.parametrize(
    ("heights", "reason"),
    [
        ([0.0, 5.0, 15.0], "a gap between frames 2 and 3"),
        ([0.0, 5.0, 5.0], "frames 2 and 3 share one position"),
    ],
)
def test_faults_between_frames_are_named(tmp_path: Path, write_dicom: Any, heights: Any, reason: str) -> None:
    write_dicom(tmp_path / "a.dcm", _frames(3), **_enhanced(heights))
    with pytest.raises(BadInput, match=reason):
        index_of(tmp_path)


def test_a_cine_has_frames_but_no_length_between_them(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(
        tmp_path / "a.dcm",
        _frames(3),
        Modality="US",
        NumberOfFrames=3,
        Rows=3,
        Columns=4,
        PixelSpacing=[0.5, 0.25],
    )
    (series,) = index_of(tmp_path).series
    assert series.shape == (3, 3, 4) and series.spacing_mm == ()
    with Source(tmp_path) as source:
        volume = read_volume(source, series)
    assert volume.data[0, :, 0, 0].tolist() == [1, 2, 3] and not volume.spacing_known


def test_slices_that_changed_since_the_scan_are_bad_input(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, EVEN)
    (series,) = index_of(tmp_path).series
    write_stack(tmp_path, list(reversed(EVEN)))
    with Source(tmp_path) as source, pytest.raises(BadInput, match=f"image {series.id}: .*scan again"):
        read_volume(source, series)
