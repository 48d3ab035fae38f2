"""A file is written whole or not at all, and a fault is one sentence."""

from __future__ import annotations

import errno
import json
import os
import resource
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.io.files import require_writable_folder, whole_file, write_bytes, write_json, write_text


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def test_content_appears_under_the_final_name_and_nothing_else_stays(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "grün")
    assert (tmp_path / "new" / "a.txt").read_text("utf-8") == "grün"
    assert _names(tmp_path / "new") == ["a.txt"]


def test_an_error_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


def test_the_temporary_name_keeps_the_suffix_and_the_folder(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.npz") as unfinished:
        assert unfinished.suffix == ".npz" and unfinished.parent == tmp_path
        np.savez(unfinished, x=1)
    assert int(np.load(tmp_path / "a.npz")["x"]) == 1


def test_a_file_gets_the_mode_that_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(
            BadInput, match=r"the disk that holds .* is full; free space or choose another --out"
        ):
            write_bytes(tmp_path / "big", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _names(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "is full"), (errno.EROFS, "read-only"), (errno.EACCES, "read-only")]
)
def test_a_fault_at_the_last_moment_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, words: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(BadInput, match=words):
        write_text(tmp_path / "a", "x")
    monkeypatch.undo()
    assert _names(tmp_path) == []


def test_a_full_disk_reported_in_words_by_a_writer_is_understood(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is full"), whole_file(tmp_path / "a"):
        raise RuntimeError(f"serialisation: {os.strerror(errno.ENOSPC)} (os error 28)")


def test_an_error_about_another_file_is_not_blamed_on_this_one(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), whole_file(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/input.dcm")


def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    for attempt in (
        lambda: write_text(tmp_path / "run" / "a", ""),
        lambda: require_writable_folder(tmp_path / "run"),
    ):
        with pytest.raises(BadInput, match="needs a folder where a file"):
            attempt()
    with pytest.raises(BadInput, match="is a folder where a file"):
        write_text(tmp_path, "")


def test_a_writable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    assert require_writable_folder(tmp_path / "x" / "y") == tmp_path / "x" / "y"
    assert _names(tmp_path / "x" / "y") == []


def test_a_full_disk_is_seen_before_work_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BadInput, match="is full"):
        require_writable_folder(tmp_path)
    assert _names(tmp_path) == []


def test_json_is_plain_and_valid(tmp_path: Path) -> None:
    @dataclass
    class Point:
        x: float

    content = {"n": np.int64(3), "a": np.array([1.5, np.nan]), "p": Path("q"), "d": Point(float("inf"))}
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "n": 3,
        "a": [1.5, None],
        "p": "q",
        "d": {"x": None},
    }
