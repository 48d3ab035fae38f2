"""Folders name classes and parts only where they do so consistently."""

from __future__ import annotations

import pytest

from hounsfield.io.folders import places


def _of(*members: str) -> list[tuple[str, str]]:
    return list(places(members).values())


def test_class_folders_are_labels() -> None:
    assert _of("cat/1.png", "dog/2.png") == [("cat", ""), ("dog", "")]


@pytest.mark.parametrize("train", ["train", "Training", "TRAIN"])
@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_parts_are_recognised_above_the_classes(train: str, val: str) -> None:
    members = (
        f"data/{train}/cat/1.png",
        f"data/{train}/dog/2.png",
        f"data/{val}/cat/3.png",
        "data/test/dog/4.png",
    )
    assert _of(*members) == [("cat", "train"), ("dog", "train"), ("cat", "val"), ("dog", "test")]


def test_parts_are_recognised_below_the_classes() -> None:
    assert _of("cat/train/1.png", "dog/test/2.png") == [("cat", "train"), ("dog", "test")]


def test_one_part_alone_is_still_a_part() -> None:
    assert _of("train/cat/1.png", "train/dog/2.png") == [("cat", "train"), ("dog", "train")]


def test_a_folder_that_all_images_share_is_no_class() -> None:
    assert _of("study/1.png", "study/2.png") == [("", ""), ("", "")]


def test_images_beside_class_folders_make_the_folders_unclear() -> None:
    assert _of("cat/1.png", "dog/2.png", "3.png") == [("", "")] * 3


@pytest.mark.parametrize("folders", [("images", "labels"), ("1st_manual", "images"), ("CT", "masks")])
def test_kinds_of_file_are_no_classes(folders: tuple[str, str]) -> None:
    assert _of(*(f"{f}/1.png" for f in folders)) == [("", "")] * 2


@pytest.mark.parametrize(
    "folders", [("patient1", "patient2"), ("STS_003", "STS_012"), ("sub-1", "sub-2"), ("001", "002")]
)
def test_numbered_people_are_no_classes(folders: tuple[str, str]) -> None:
    assert _of(*(f"{f}/1.nii" for f in folders)) == [("", "")] * 2


@pytest.mark.parametrize(
    "folders", [("0", "1"), ("grade1", "grade2"), ("class01", "class02"), ("covid19", "normal")]
)
def test_numbered_classes_are_classes(folders: tuple[str, str]) -> None:
    assert _of(*(f"{f}/1.png" for f in folders)) == [(f, "") for f in folders]


def test_a_folder_for_every_image_is_no_class() -> None:
    names = [f"{chr(97 + n)}x/1.png" for n in range(25)]
    assert set(_of(*names)) == {("", "")}


def test_two_levels_that_differ_are_no_classes_but_keep_the_part() -> None:
    members = ("train/cat/a/1.png", "train/dog/b/2.png", "test/cat/a/3.png")
    assert _of(*members) == [("", "train"), ("", "train"), ("", "test")]


def test_zips_count_as_folders() -> None:
    assert _of("cat.zip::1.png", "dog.zip::2.png") == [("cat", ""), ("dog", "")]


def test_no_members_have_no_places() -> None:
    assert places([]) == {}
