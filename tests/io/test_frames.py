"""Frames of one file are placed by what the header says of each, never by their order in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume
from hounsfield.io.dicom.frames import read_frames


def _only(folder: Path) -> Volume:
    (series,) = index_of(folder).series
    with Source(folder) as source:
        volume = read_volume(source, series)
    assert series.spacing_mm == volume.spacing_mm
    return volume


def _item(**content: Any) -> Items:
    made = Dataset()
    for keyword, value in content.items():
        setattr(made, keyword, value)
    return Items([made])


def _enhanced(
    positions: list[float], *, each: Callable[[int], dict[str, Items]] = lambda n: {}, **shared: Items | None
) -> dict[str, Any]:
    """Functional groups of an enhanced CT whose frames lie at the given heights; `each` adds to a frame."""
    common = Dataset()
    groups: dict[str, Items | None] = {
        "PixelMeasuresSequence": _item(PixelSpacing=[0.5, 0.25], SliceThickness=9),
        "PlaneOrientationSequence": _item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        **shared,
    }
    for keyword, group in groups.items():
        if group is not None:
            setattr(common, keyword, group)
    frames = []
    for n, z in enumerate(positions):
        frame = Dataset()
        own = {
            "PlanePositionSequence": _item(ImagePositionPatient=[1, 2, z]),
            "PixelValueTransformationSequence": _item(RescaleSlope=n + 1, RescaleIntercept=-10),
            **each(n),
        }
        for keyword, group in own.items():
            setattr(frame, keyword, group)
        frames.append(frame)
    return {
        "SharedFunctionalGroupsSequence": Items([common]),
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
        ([0.0, 5.0, 15.0], "gap between frames 2 and 3"),
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


def test_a_group_that_frames_share_places_no_frame(tmp_path: Path, write_dicom: Any) -> None:
    shared = {"PlanePositionSequence": _item(ImagePositionPatient=[1, 2, 3])}
    given = _enhanced([0.0, 5.0, 10.0], **shared)
    del given["PerFrameFunctionalGroupsSequence"]
    write_dicom(tmp_path / "a.dcm", _frames(3), **given)
    (series,) = index_of(tmp_path).series
    assert (series.shape, series.spacing_mm, series.stack) == ((3, 3, 4), (), "")


TELLING = {
    "echo time": lambda v: {"MREchoSequence": _item(EffectiveEchoTime=5.0 * v)},
    "b-value": lambda v: {"MRDiffusionSequence": _item(DiffusionBValue=5.0 * v)},
    "temporal position": lambda v: {"FrameContentSequence": _item(TemporalPositionIndex=5 * v)},
    "stack": lambda v: {"FrameContentSequence": _item(StackID=str(5 * v))},
    "trigger time": lambda v: {
        "CardiacSynchronizationSequence": _item(NominalCardiacTriggerDelayTime=5.0 * v)
    },
}


@pytest.mark.parametrize("name", TELLING)
def test_a_file_may_hold_several_volumes(tmp_path: Path, write_dicom: Any, name: str) -> None:
    """Frames run through the volumes first, and from the head down."""
    heights = [10.0, 10.0, 5.0, 5.0, 0.0, 0.0]
    write_dicom(tmp_path / "a.dcm", _frames(6), **_enhanced(heights, each=lambda n: TELLING[name](1 + n % 2)))
    found = index_of(tmp_path).series
    unit = " ms" if "time" in name else ""
    assert [(s.frames, s.volume) for s in found] == [
        ((4, 2, 0), f"{name} 5{unit}"),
        ((5, 3, 1), f"{name} 10{unit}"),
    ]
    with Source(tmp_path) as source:
        volumes = [read_volume(source, s) for s in found]
    assert [v.data[0, :, 0, 0].tolist() for v in volumes] == [[15, -1, -9], [26, 6, -6]]
    for volume in volumes:
        assert volume.affine[:3, 3].tolist() == [1, 2, 0] and volume.spacing_mm == (5.0, 0.5, 0.25)


def test_dimension_indices_tell_volumes_apart(tmp_path: Path, write_dicom: Any) -> None:
    index = [_item(DimensionIndexPointer=0x00209057)[0], _item(DimensionIndexPointer=0x00181314)[0]]
    given = _enhanced(
        [0.0, 5.0, 0.0, 5.0],
        each=lambda n: {"FrameContentSequence": _item(DimensionIndexValues=[1 + n % 2, 1 + n // 2])},
    )
    write_dicom(tmp_path / "a.dcm", _frames(4), DimensionIndexSequence=Items(index), **given)
    assert [(s.frames, s.volume) for s in index_of(tmp_path).series] == [
        ((0, 1), "dimension 2 value 1"),
        ((2, 3), "dimension 2 value 2"),
    ]


def test_frames_of_two_orientations_are_two_volumes(tmp_path: Path, write_dicom: Any) -> None:
    turns = [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]]
    given = _enhanced(
        [0.0, 0.0, 5.0, 5.0],
        each=lambda n: {
            "PlaneOrientationSequence": _item(ImageOrientationPatient=turns[n % 2]),
            "PlanePositionSequence": _item(ImagePositionPatient=[0, 5 * (n // 2), 5 * (n // 2)]),
        },
        PlaneOrientationSequence=None,
    )
    given["PerFrameFunctionalGroupsSequence"][2].PlanePositionSequence[0].ImagePositionPatient = [0, 0, 5]
    given["PerFrameFunctionalGroupsSequence"][3].PlanePositionSequence[0].ImagePositionPatient = [0, 5, 0]
    write_dicom(tmp_path / "a.dcm", _frames(4), **given)
    found = index_of(tmp_path).series
    assert [(s.frames, s.volume) for s in found] == [((0, 2), "orientation 1"), ((1, 3), "orientation 2")]


def test_a_position_for_some_frames_only_is_refused(tmp_path: Path, write_dicom: Any) -> None:
    given = _enhanced([0.0, 5.0, 10.0])
    del given["PerFrameFunctionalGroupsSequence"][1].PlanePositionSequence
    write_dicom(tmp_path / "a.dcm", _frames(3), **given)
    with pytest.raises(BadInput, match="only 2 of 3 frames have a PlanePositionSequence"):
        index_of(tmp_path)


def test_fewer_descriptions_than_frames_are_refused(tmp_path: Path, write_dicom: Any) -> None:
    given = _enhanced([0.0, 5.0, 10.0])
    given["PerFrameFunctionalGroupsSequence"] = given["PerFrameFunctionalGroupsSequence"][:2]
    write_dicom(tmp_path / "a.dcm", _frames(3), **given)
    with pytest.raises(BadInput, match="describes 2 frames where 3 were expected"):
        index_of(tmp_path)


def test_files_of_one_frame_each_stack_up(tmp_path: Path, write_dicom: Any) -> None:
    for n, z in enumerate([10.0, 0.0, 5.0]):
        write_dicom(tmp_path / f"{n}.dcm", _frames(1) + n, **_enhanced([z]))
    volume = _only(tmp_path)
    assert volume.data[0, :, 0, 0].tolist() == [2 - 10, 3 - 10, 1 - 10]
    assert volume.spacing_mm == (5.0, 0.5, 0.25)


def test_every_file_of_a_time_series_is_a_volume_that_says_which(tmp_path: Path, write_dicom: Any) -> None:
    for n in range(2):
        write_dicom(tmp_path / f"{n}.dcm", _frames(2), AcquisitionNumber=n + 4, **_enhanced([0.0, 5.0]))
    assert [(s.volume, s.frames) for s in index_of(tmp_path).series] == [
        ("acquisition 4", ()),
        ("acquisition 5", ()),
    ]


def _nuclear(step: float, **elements: Any) -> dict[str, Any]:
    return {
        "Modality": "NM",
        "NumberOfFrames": 3,
        "Rows": 3,
        "Columns": 4,
        "PixelSpacing": [0.5, 0.25],
        "ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        "SpacingBetweenSlices": step,
        "SliceVector": [1, 2, 3],
        "DetectorInformationSequence": _item(
            ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0]
        ),
        **elements,
    }


@pytest.mark.parametrize(("step", "values", "lowest"), [(4.0, [1, 2, 3], 3), (-4.0, [3, 2, 1], -5)])
def test_reconstructed_nuclear_medicine_has_depth(
    tmp_path: Path, write_dicom: Any, step: float, values: list[int], lowest: float
) -> None:
    write_dicom(tmp_path / "a.dcm", _frames(3), **_nuclear(step))
    volume = _only(tmp_path)
    assert volume.data[0, :, 0, 0].tolist() == values
    assert volume.spacing_mm == (4.0, 0.5, 0.25) and volume.affine[:3, 3].tolist() == [1, 2, lowest]


def test_projections_of_nuclear_medicine_have_none(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", _frames(3), **_nuclear(4.0, ImageType=["ORIGINAL", "PRIMARY", "TOMO"]))
    (series,) = index_of(tmp_path).series
    assert (series.shape, series.spacing_mm) == ((3, 3, 4), ())


def test_a_number_of_frames_that_nothing_backs_makes_no_table(tmp_path: Path, write_dicom: Any) -> None:
    """Two thousand million frames in a kilobyte: a table of their places would be a hundred megabytes."""
    import tracemalloc

    write_dicom(tmp_path / "a.dcm", np.zeros((8, 8), np.uint8), Modality="NM", NumberOfFrames=2**31 - 1)
    with Source(tmp_path) as source:
        tracemalloc.start()
        table = read_frames(source, "a.dcm", enhanced=False)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(table.positions_mm) == 1 and not table.placed
    assert peak < 1 << 22
