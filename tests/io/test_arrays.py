"""Archives in MedMNIST's layout give a Series a row, and nothing in them is ever unpickled."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.io import Source, index_of, read_volume

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (5, 8, 9), np.uint8)


def _save(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_every_row_is_a_series_with_part_label_and_position(tmp_path: Path) -> None:
    path = _save(
        tmp_path / "a.npz",
        train_images=GREY,
        train_labels=np.array([[0], [1], [1], [0], [2]]),
        val_images=GREY[:2],
        val_labels=np.array([1, 0]),
    )
    index = index_of(path)
    assert [s.id for s in index.series] == [*(f"train_{n}" for n in range(5)), "val_0", "val_1"]
    assert [s.label for s in index.series] == ["0", "1", "1", "0", "2", "1", "0"]
    assert {(s.part, s.position) for s in index.series} >= {("train", 4), ("val", 1)}
    with Source(path) as source:
        for series in index.series:
            volume = read_volume(source, series)
            np.testing.assert_array_equal(volume.data, GREY[series.position][None, None])
            assert not volume.spacing_known


def test_a_last_axis_of_three_is_colour_and_others_are_volumes(tmp_path: Path) -> None:
    colour, block = RNG.random((2, 8, 9, 3)).astype(np.float32), RNG.integers(0, 9, (2, 5, 8, 9))
    path = _save(tmp_path / "a.npz", train_images=colour, test_images=block)
    by_part = {s.part: s for s in index_of(path).series if s.position == 1}
    assert (by_part["train"].shape, by_part["train"].channels) == ((1, 8, 9), 3)
    assert (by_part["test"].shape, by_part["test"].channels) == ((5, 8, 9), 1)
    with Source(path) as source:
        np.testing.assert_array_equal(
            read_volume(source, by_part["train"]).data[:, 0], np.moveaxis(colour[1], -1, 0)
        )
        np.testing.assert_array_equal(read_volume(source, by_part["test"]).data[0], block[1])


def test_channels_first_is_refused_since_it_looks_like_three_slices(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"shape \(2, 3, 8, 9\); expected"):
        index_of(_save(tmp_path / "a.npz", train_images=np.zeros((2, 3, 8, 9))))


def test_several_columns_of_labels_are_joined(tmp_path: Path) -> None:
    labels = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 1, 1]])
    index = index_of(_save(tmp_path / "a.npz", train_images=GREY, train_labels=labels))
    assert [s.label for s in index.series] == ["0|2", "1", "|", "2", "0|1|2"]


def test_plain_images_with_and_without_labels(tmp_path: Path) -> None:
    index = index_of(_save(tmp_path / "a.npz", images=GREY, labels=np.array(list("abcab"))))
    assert [(s.id, s.part, s.label) for s in index.series][:2] == [("row_0", "", "a"), ("row_1", "", "b")]
    index = index_of(_save(tmp_path / "a.npz", images=GREY > 100))
    assert {s.label for s in index.series} == {""}
    with Source(tmp_path / "a.npz") as source:
        assert read_volume(source, index.series[0]).data.dtype == np.uint8


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.parametrize("key", ["train_images", "train_labels"])
def test_pickled_objects_are_refused_and_never_run(tmp_path: Path, key: str) -> None:
    arrays: dict[str, Any] = {"train_images": GREY, "train_labels": np.zeros(5, int)}
    arrays[key] = np.array([_Bomb()] * 5, object)
    np.savez(tmp_path / "a.npz", allow_pickle=True, **arrays)
    with pytest.raises(BadInput, match=f'the array "{key}" holds pickled Python objects'):
        index_of(tmp_path)


def test_a_pickle_in_place_of_an_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("train_images.npy", pickle.dumps([1, 2]))
    with pytest.raises(BadInput, match=r"damaged \.npz"):
        index_of(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"train_image": GREY}, 'did you mean "train_images"'),
        ({"train_images": GREY, "train_labels": np.zeros(4, int)}, "for 5 images; expected a row each"),
        ({"train_images": GREY, "train_labels": np.full(5, 0.5)}, "not whole numbers"),
        ({"train_images": GREY, "train_labels": np.full(5, np.nan)}, "not whole numbers"),
        ({"train_images": GREY, "train_labels": np.full((5, 2), 3)}, "other than 0 and 1"),
        ({"train_images": np.zeros((2, 3))}, r"shape \(2, 3\); expected"),
        ({"train_images": np.zeros((2, 8, 8, 8, 8))}, "expected"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_reason(tmp_path: Path, arrays: Any, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        index_of(_save(tmp_path / "a.npz", **arrays))


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    _save(tmp_path / "a.npz", train_images=GREY)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:-30])
    with pytest.raises(BadInput, match=r"damaged \.npz"):
        index_of(tmp_path)


def test_values_that_are_not_numbers_are_bad_input(tmp_path: Path) -> None:
    images = np.zeros((2, 4, 4), np.float32)
    images[1, 0, 0] = np.inf
    path = _save(tmp_path / "a.npz", train_images=images)
    first, second = index_of(path).series
    with Source(path) as source:
        read_volume(source, first)
        with pytest.raises(BadInput, match="image train_1: holds 1 of 16 values"):
            read_volume(source, second)


def test_a_changed_archive_is_read_anew(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.npz", train_images=GREY)
    series = index_of(path).series[0]
    with Source(path) as source:
        before = read_volume(source, series).data.copy()
        _save(path, train_images=RNG.integers(0, 255, (5, 8, 9), np.uint8))
        assert (read_volume(source, series).data != before).any()


def test_a_changed_copy_does_not_change_the_archive(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.npz", train_images=GREY)
    series = index_of(path).series[0]
    with Source(path) as source:
        read_volume(source, series).data[:] = 0
        np.testing.assert_array_equal(read_volume(source, series).data[0, 0], GREY[0])


def test_two_archives_have_distinct_ids_and_a_zip_may_hold_them(tmp_path: Path) -> None:
    _save(tmp_path / "a.npz", train_images=GREY)
    _save(tmp_path / "b.npz", train_images=255 - GREY)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "a.npz", "a.npz")
        archive.write(tmp_path / "b.npz", "b.npz")
    index = index_of(tmp_path / "z.zip")
    assert len({s.id for s in index.series}) == 10
    assert {s.id.split("_")[0] for s in index.series} == {"archive-1", "archive-2"}
    with Source(tmp_path / "z.zip") as source:
        last = index.series[-1]
        np.testing.assert_array_equal(read_volume(source, last).data[0, 0], 255 - GREY[4])
