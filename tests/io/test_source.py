"""A folder, a file and a zip are the same to a reader."""

from __future__ import annotations

import copy
import multiprocessing
import os
import zipfile
from pathlib import Path

import pytest

from hounsfield.core.errors import BadInput
from hounsfield.io.source import Source


def _fill(folder: Path) -> None:
    for name in ("b10.txt", "b9.txt", "sub/c.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 50)


def _zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())


def test_a_zip_reads_as_the_folder_it_was_made_of(tmp_path: Path) -> None:
    _fill(tmp_path / "d")
    _zip(tmp_path / "d.zip", tmp_path / "d")
    with Source(tmp_path / "d") as folder, Source(tmp_path / "d.zip") as archive:
        assert folder.members == archive.members == ("b9.txt", "b10.txt", "sub/c.txt")
        for member in folder.members:
            assert folder.read_bytes(member) == archive.read_bytes(member)
            assert folder.head(member, 7) == archive.head(member, 7) == folder.read_bytes(member)[:7]
            assert folder.size(member) == archive.size(member) == len(folder.read_bytes(member))
        assert folder.local_path("b9.txt") == tmp_path / "d" / "b9.txt"
        assert archive.local_path("b9.txt") is None


def test_members_of_a_zip_in_a_folder_bear_its_name(tmp_path: Path) -> None:
    _fill(tmp_path / "d")
    _zip(tmp_path / "x.zip", tmp_path / "d")
    _zip(tmp_path / "outer.ZIP", tmp_path / "d")
    source = Source(tmp_path)
    assert "x.zip::sub/c.txt" in source.members and "outer.ZIP::b9.txt" in source.members
    assert source.read_bytes("x.zip::sub/c.txt") == source.read_bytes("d/sub/c.txt")
    assert source.local_path("x.zip::sub/c.txt") is None


def test_a_single_file_is_a_source_of_one(tmp_path: Path) -> None:
    _fill(tmp_path)
    source = Source(tmp_path / "b9.txt")
    assert source.members == ("b9.txt",)
    assert source.local_path("b9.txt") == tmp_path / "b9.txt"


def test_hidden_and_system_files_are_left_out(tmp_path: Path) -> None:
    for name in (".hidden", "Thumbs.db", ".git/config", "__MACOSX/a.dcm", "a.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    _zip(tmp_path / "z.zip", tmp_path)
    assert Source(tmp_path).members == ("a.dcm", "z.zip::a.dcm")


def test_links_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    _fill(tmp_path / "d")
    (tmp_path / "d" / "again").symlink_to(tmp_path / "d")
    (tmp_path / "a_link").symlink_to(tmp_path / "d")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert Source(tmp_path).members == ("d/b9.txt", "d/b10.txt", "d/sub/c.txt")


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    _fill(tmp_path / "elsewhere")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "data").symlink_to(tmp_path / "elsewhere")
    assert "data/sub/c.txt" in Source(tmp_path / "study").members


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").write_bytes(b"x")
    assert Source(tmp_path).members == ("a",)


def test_a_missing_source_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "mammograms").mkdir()
    with pytest.raises(BadInput, match=r'mamograms does not exist.*did you mean "mammograms"\?'):
        Source(tmp_path / "mamograms")
    with pytest.raises(BadInput, match="does not exist"):
        Source(tmp_path / "no" / "such" / "place")


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").write_bytes(b"x")
    with pytest.raises(BadInput, match="holds no file"):
        _ = Source(tmp_path).members


def test_damaged_locked_and_nested_zips_are_faults_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK not a zip")
    with zipfile.ZipFile(tmp_path / "nest.zip", "w") as archive:
        archive.writestr("inner.zip", b"x")
    faults = Source(tmp_path).faults
    assert "damaged" in faults["bad.zip"] and "inside a zip" in faults["nest.zip::inner.zip"]


def test_a_member_damaged_within_a_zip_is_bad_input(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", b"content of the member")
    content = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(content.replace(b"content", b"CONTENT", 1))
    with Source(tmp_path / "x.zip") as source, pytest.raises(BadInput, match="damaged"):
        source.read_bytes("a")


def test_a_file_that_vanished_is_bad_input(tmp_path: Path) -> None:
    _fill(tmp_path)
    source = Source(tmp_path)
    assert source.members
    (tmp_path / "b9.txt").unlink()
    for attempt in (source.read_bytes, source.size):
        with pytest.raises(BadInput, match="no longer there"):
            attempt("b9.txt")


def _read_all(source: Source) -> list[bytes]:
    return [source.read_bytes(member) for member in source.members]


def test_a_forked_child_and_a_copy_read_the_same(tmp_path: Path) -> None:
    _fill(tmp_path / "d")
    _zip(tmp_path / "x.zip", tmp_path / "d")
    with Source(tmp_path / "x.zip") as source:
        expected = _read_all(source)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(_read_all, [source] * 4) == [expected] * 4
        assert _read_all(copy.copy(source)) == expected
    assert _read_all(source) == expected
    source.close()


def test_a_name_that_no_table_can_hold_is_a_fault(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"a\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert list(Source(tmp_path).faults.values()) == ["a file name that is not valid UTF-8; rename it"]
