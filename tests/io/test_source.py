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


def test_a_missing_source_does_not_list_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "DOE^JANE").mkdir()
    with pytest.raises(BadInput, match="check its spelling") as caught:
        Source(tmp_path / "study")
    assert "DOE" not in str(caught.value)


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


def test_files_come_in_natural_order_with_a_folder_together(tmp_path: Path) -> None:
    names = ("a-1/x", "a/10", "a/9", "a/b/1", "b", "B2")
    for name in names:
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(b"x")
    _zip(tmp_path / "d.zip", tmp_path / "d")
    expected = ("a/9", "a/10", "a/b/1", "a-1/x", "b", "B2")
    assert Source(tmp_path / "d").members == Source(tmp_path / "d.zip").members == expected


def test_a_link_to_the_folder_above_the_source_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "private").write_bytes(b"x")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "a").write_bytes(b"x")
    (tmp_path / "study" / "up").symlink_to(tmp_path)
    source = Source(tmp_path / "study")
    assert source.members == ("a",)
    assert source.faults == {"up": "a link to a folder that holds this source; it is not followed"}


def test_a_zip_bomb_is_a_fault_and_its_neighbours_are_read(tmp_path: Path) -> None:
    """Two gigabytes of zeros, packed a thousand times; the central directory tells, nothing is unpacked."""
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("zeros.dcm", "w", force_zip64=True) as member:
            chunk = bytes(1 << 24)
            for _ in range(65):
                member.write(chunk)
        archive.writestr("good", b"x")
    source = Source(tmp_path / "bomb.zip")
    assert source.members == ("good",)
    assert "as a zip bomb does" in source.faults["zeros.dcm"]


def test_a_member_that_climbs_out_of_its_zip_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with zipfile.ZipFile(tmp_path / "d" / "slip.zip", "w") as archive:
        archive.writestr("../../evil", b"content")
        archive.writestr("/abs", b"other")
    before = sorted(tmp_path.rglob("*"))
    source = Source(tmp_path / "d")
    assert source.members == ("slip.zip::/abs",)
    assert source.faults == {"slip.zip::../../evil": "a name that climbs out of its zip; it is not read"}
    assert source.read_bytes("slip.zip::/abs") == b"other"
    assert sorted(tmp_path.rglob("*")) == before


def test_long_and_foreign_names_are_read(tmp_path: Path) -> None:
    deep = tmp_path
    for part in ("检查" * 20, "données-über-Ελλάδα" * 4, "x" * 200, "😀"):
        deep = deep / part
    deep.mkdir(parents=True)
    (deep / "снимок 1").write_bytes(b"content")
    (member,) = Source(tmp_path).members
    assert member.endswith("😀/снимок 1") and Source(tmp_path).read_bytes(member) == b"content"


def test_a_path_beyond_the_systems_limit_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(22):  # made step by step, since no whole path of this length can be named
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    source = Source(tmp_path)
    assert source.members == ("a",)
    assert "a path too long for this system" in next(iter(source.faults.values()))


def test_the_state_of_a_member_tells_a_change(tmp_path: Path) -> None:
    _fill(tmp_path)
    source = Source(tmp_path)
    before = source.state("b9.txt")
    assert before[0] == 300
    os.utime(tmp_path / "b9.txt", ns=(0, 5))
    assert source.state("b9.txt") == (300, 5)
