"""A decoded volume is kept, found again, and never mistaken for another."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io import Source
from hounsfield.io.volume_cache import VolumeCache


def _volume(value: int = 7, size: int = 64) -> Volume:
    data = np.full((1, 2, size, size), value, np.int16)
    data[0, 1, 3, 4] = -5
    return Volume(data, np.diag([0.5, 0.5, 2.0, 1.0]), ("1.2.3",), True)


def _entry(cache: VolumeCache) -> Path:
    (path,) = cache.folder.glob("*.volume")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Source:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("MEIER^ANNA.dcm", "b.dcm"):
        (folder / name).write_bytes(b"image " + name.encode())
    return Source(folder)


@pytest.fixture
def cache(tmp_path: Path) -> VolumeCache:
    return VolumeCache(tmp_path / "cache", most_bytes=1 << 20)


def test_a_volume_comes_back_as_it_was(cache: VolumeCache, source: Source) -> None:
    key = cache.key(source, source.members)
    assert cache.get(key) is None
    cache.put(key, _volume())
    found = cache.get(key)
    assert found is not None
    np.testing.assert_array_equal(found.data, _volume().data)
    np.testing.assert_array_equal(found.affine, _volume().affine)
    assert (found.data.dtype, found.source, found.spacing_known) == (np.int16, ("1.2.3",), True)


def test_another_process_finds_it_under_the_same_key(cache: VolumeCache, source: Source) -> None:
    cache.put(cache.key(source, source.members), _volume())
    again = VolumeCache(cache.folder.parent, most_bytes=1 << 20)
    assert again.get(again.key(source, source.members)) is not None


def test_what_a_caller_writes_into_the_voxels_stays_with_the_caller(
    cache: VolumeCache, source: Source
) -> None:
    key = cache.key(source, source.members)
    cache.put(key, _volume())
    first = cache.get(key)
    assert first is not None
    first.data[...] = 0  # type: ignore[index]
    second = cache.get(key)
    assert second is not None and second.data[0, 0, 0, 0] == 7


def test_a_changed_file_order_or_choice_gives_another_key(cache: VolumeCache, source: Source) -> None:
    members = source.members
    keys = {
        cache.key(source, members),
        cache.key(source, members[::-1]),
        cache.key(source, members, "float32"),
    }
    path = source.local_path(members[0])
    assert path is not None
    os.utime(path, ns=(1, 1))
    keys.add(cache.key(source, members))
    path.write_bytes(b"longer than before")
    os.utime(path, ns=(1, 1))
    keys.add(cache.key(source, members))
    assert len(keys) == 5


def test_a_file_that_is_gone_is_bad_input(cache: VolumeCache, source: Source) -> None:
    with pytest.raises(BadInput, match="no longer there"):
        cache.key(source, ["lost.dcm"])


def test_names_do_not_tell_whose_image_it_is(cache: VolumeCache, source: Source, tmp_path: Path) -> None:
    cache.put(cache.key(source, source.members), _volume())
    assert not any("MEIER" in str(p) for p in cache.folder.rglob("*"))
    other = VolumeCache(tmp_path / "other", most_bytes=1 << 20)
    assert other.key(source, source.members) != cache.key(source, source.members)


def test_only_the_owner_may_open_the_folder(cache: VolumeCache) -> None:
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["cut", "longer", "voxel", "header", "empty", "magic"])
def test_a_damaged_entry_counts_as_absent(cache: VolumeCache, source: Source, damage: str) -> None:
    key = cache.key(source, source.members)
    cache.put(key, _volume())
    path = _entry(cache)
    content = bytearray(path.read_bytes())
    changed = {
        "cut": content[:-2],
        "longer": content + b"\0\0",
        "voxel": content[:-1] + bytes([content[-1] ^ 1]),
        "header": content.replace(b"shape", b"shabe"),
        "empty": b"",
        "magic": b"X" + content[1:],
    }
    path.write_bytes(changed[damage])
    assert cache.get(key) is None


def test_the_least_recently_used_entry_leaves_first(tmp_path: Path, source: Source) -> None:
    cache = VolumeCache(tmp_path / "cache", most_bytes=50_000)  # two entries of 20 KB
    keys = [cache.key(source, source.members, n) for n in range(3)]
    for n, key in enumerate(keys[:2]):
        cache.put(key, _volume(n))
        os.utime(cache.folder / f"{key}.volume", ns=(n + 1, n + 1))
    assert cache.get(keys[0]) is not None  # now the second one is the oldest
    cache.put(keys[2], _volume(2))
    assert [cache.get(k) is not None for k in keys] == [True, False, True]


def test_a_volume_larger_than_the_cache_is_not_kept(tmp_path: Path, source: Source) -> None:
    cache = VolumeCache(tmp_path / "cache", most_bytes=1000)
    cache.put(cache.key(source, source.members), _volume())
    assert not list(cache.folder.glob("*.volume"))


def test_a_folder_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be used"):
        VolumeCache(tmp_path / "file", most_bytes=1000)


def test_a_member_of_a_zip_changes_its_key_with_the_zip(cache: VolumeCache, tmp_path: Path) -> None:
    import zipfile

    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("a.dcm", b"x")
    with Source(archive) as source:
        before = cache.key(source, source.members)
        os.utime(archive, ns=(1, 1))
        assert cache.key(source, source.members) != before
