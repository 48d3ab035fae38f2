"""Slices that share positions become several volumes, or are refused if nothing tells them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hounsfield.core.errors import BadInput
from hounsfield.io import Source, index_of, read_volume

EVEN = [(0.0, 0.0, 5.0 * n) for n in range(5)]


def _refused(folder: Path, reason: str, files: int) -> None:
    with pytest.raises(BadInput, match=reason):
        index_of(folder)
    (folder / "flat.pgm").write_bytes(b"P5 1 1 255 \0")
    refused = index_of(folder).refused
    assert len(refused) == files and all(r.reason for r in refused)


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("EchoNumbers", lambda n: 1 + n % 2, ["echo 1", "echo 2"]),
        ("EchoTime", lambda n: 10.5 + n % 2, ["echo time 10.5 ms", "echo time 11.5 ms"]),
        ("TemporalPositionIdentifier", lambda n: 1 + n % 2, ["temporal position 1", "temporal position 2"]),
        ("DiffusionBValue", lambda n: 500.0 * (n % 2), ["b-value 0", "b-value 500"]),
        ("AcquisitionNumber", lambda n: 1 + n % 2, ["acquisition 1", "acquisition 2"]),
        ("TriggerTime", lambda n: 40.0 * (n % 2), ["trigger time 0 ms", "trigger time 40 ms"]),
        ("TriggerTime", lambda n: n + 0.5, ["trigger time 1 of 2", "trigger time 2 of 2"]),
        ("AcquisitionTime", lambda n: f"1200{n:02}", ["acquisition time 1 of 2", "acquisition time 2 of 2"]),
        ("ImageType", lambda n: ["ORIGINAL", "PRIMARY", "MP"[n % 2]], ["image type M", "image type P"]),
    ],
)
def test_what_differs_tells_volumes_in_one_place_apart(
    tmp_path: Path, write_stack: Any, keyword: str, value: Any, words: list[str]
) -> None:
    write_stack(tmp_path, [EVEN[n // 2] for n in range(10)], **{keyword: value})
    index = index_of(tmp_path)
    assert [s.shape for s in index.series] == [(5, 3, 4)] * 2 and not index.refused
    assert [s.volume for s in index.series] == words
    with Source(tmp_path) as source:
        columns = [read_volume(source, s).data[0, :, 0, 0].tolist() for s in index.series]
    assert columns == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert len({s.id for s in index.series}) == 2


def test_two_elements_together_tell_volumes_apart(tmp_path: Path, write_stack: Any) -> None:
    write_stack(
        tmp_path,
        [EVEN[n // 4] for n in range(20)],
        EchoNumbers=lambda n: 1 + n % 2,
        ImageType=lambda n: ["ORIGINAL", "PRIMARY", "MP"[n % 4 // 2]],
    )
    index = index_of(tmp_path)
    assert sorted(s.volume for s in index.series) == [
        f"echo {e}, image type {t}" for e in (1, 2) for t in "MP"
    ]
    with Source(tmp_path) as source:
        columns = sorted(read_volume(source, s).data[0, :, 0, 0].tolist() for s in index.series)
    assert columns == [list(range(n, 20, 4)) for n in range(4)]


@pytest.mark.parametrize("number", [lambda n: n, lambda n: n % 2 * 5 + n // 2])
def test_instance_numbers_that_run_through_the_copies_part_them(
    tmp_path: Path, write_stack: Any, number: Any
) -> None:
    write_stack(tmp_path, [EVEN[n // 2] for n in range(10)], InstanceNumber=number)
    index = index_of(tmp_path)
    assert [s.volume for s in index.series] == ["instance block 1 of 2", "instance block 2 of 2"]
    assert [len(s.files) for s in index.series] == [5, 5]


@pytest.mark.parametrize(
    "number", [lambda n: n // 2, lambda n: 7, lambda n: [0, 5, 1, 6, 2, 9, 4, 3, 8, 7][n]]
)
def test_instance_numbers_that_tell_nothing_part_nothing(
    tmp_path: Path, write_stack: Any, number: Any
) -> None:
    write_stack(tmp_path, [EVEN[n // 2] for n in range(10)], InstanceNumber=number)
    _refused(tmp_path, "duplicate: slices 1 and 2 share one position", 10)


def test_a_shorter_echo_is_a_volume_of_its_own(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [*EVEN, *EVEN[:3]], EchoNumbers=lambda n: 1 + n // 5)
    assert [(s.shape[0], s.volume) for s in index_of(tmp_path).series] == [(5, "echo 1"), (3, "echo 2")]


@pytest.mark.parametrize(
    ("maker", "tag", "vr", "value"),
    [
        ((0x00190010, "SIEMENS MR HEADER"), 0x0019100C, "IS", lambda b: b),
        ((0x20010010, "Philips Imaging DD 001"), 0x20011003, "FL", float),
        ((0x00430010, "GEMS_PARM_01"), 0x00431039, "IS", lambda b: [1_000_000_000 + b, 8, 0, 0]),
    ],
)
def test_private_b_values_are_read_where_public_elements_do_not_tell(
    tmp_path: Path, write_stack: Any, maker: tuple[int, str], tag: int, vr: str, value: Any
) -> None:
    for n, made in enumerate(write_stack(tmp_path, [EVEN[n // 2] for n in range(10)], InstanceNumber=1)):
        made.add_new(maker[0], "LO", maker[1])
        made.add_new(tag, vr, value(1000 * (n % 2)))
        made.save_as(tmp_path / f"{n:02}.dcm")
    assert [s.volume for s in index_of(tmp_path).series] == ["b-value 0", "b-value 1000"]


def test_two_acquisitions_that_continue_each_other_are_one_volume(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, 5.0 * n) for n in range(8)], AcquisitionNumber=lambda n: 1 + n // 4)
    assert [(s.shape[0], s.volume) for s in index_of(tmp_path).series] == [(8, "")]


def test_two_acquisitions_with_a_gap_between_are_two_volumes(tmp_path: Path, write_stack: Any) -> None:
    positions = [(0, 0, 5.0 * n + 100 * (n // 4)) for n in range(8)]
    write_stack(tmp_path, positions, AcquisitionNumber=lambda n: 1 + n // 4)
    found = index_of(tmp_path).series
    assert [(s.shape[0], s.volume) for s in found] == [(4, "acquisition 1"), (4, "acquisition 2")]


def test_a_slice_missing_between_acquisitions_that_continue_is_a_gap(
    tmp_path: Path, write_stack: Any
) -> None:
    heights = [5.0 * n for n in range(12) if n != 8]  # the first slice of the third of three acquisitions
    write_stack(tmp_path, [(0, 0, z) for z in heights], AcquisitionNumber=lambda n: 1 + min(n // 4, 2))
    _refused(tmp_path, "gap between slices 8 and 9", 11)


def test_a_number_that_differs_in_every_slice_does_not_split_a_stack(
    tmp_path: Path, write_stack: Any
) -> None:
    write_stack(tmp_path, EVEN, AcquisitionNumber=lambda n: n)
    assert [s.shape[0] for s in index_of(tmp_path).series] == [5]


def test_times_that_repeat_at_one_position_tell_nothing(tmp_path: Path, write_stack: Any) -> None:
    write_stack(
        tmp_path,
        [EVEN[n // 2] for n in range(10)],
        TriggerTime=lambda n: 7.5 if n < 2 else n + 0.5,
        InstanceNumber=1,
    )
    _refused(tmp_path, "duplicate: slices 1 and 2 share one position", 10)


def test_parts_of_the_right_size_with_a_position_twice_are_no_volumes(
    tmp_path: Path, write_stack: Any
) -> None:
    numbers = [1, 1, 2, 2, 1, 2, 1, 2, 1, 2]
    write_stack(
        tmp_path,
        [EVEN[n // 2] for n in range(10)],
        AcquisitionNumber=lambda n: numbers[n],
        AcquisitionTime=lambda n: f"12000{n % 2}",
    )
    found = index_of(tmp_path).series
    assert [s.volume for s in found] == ["acquisition time 1 of 2", "acquisition time 2 of 2"]
