"""Every image is decoded once, kept as it was stored, and decoded again only if its file changed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.steps import decode as module
from hounsfield.steps.decode import decode
from hounsfield.steps.scan import scan
from phantoms import pictures, write_class_folders, write_dicom, write_png


def _count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    real = module.read_volume

    def counted(source: object, series: object) -> object:
        read.append(series.id)  # type: ignore[attr-defined]
        return real(source, series)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "read_volume", counted)
    return read


def test_what_is_decoded_is_what_was_stored(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
    colour = np.random.default_rng(1).integers(0, 256, (10, 12, 3)).astype(np.uint8)
    write_png(tmp_path / "s" / "deep.png", deep)
    write_png(tmp_path / "s" / "colour.png", colour)
    index = scan(tmp_path / "s")
    store = decode(index, index.series, tmp_path / "c")
    found = {s.files[0]: store.image(s.id) for s in index.series}
    assert found["deep.png"].dtype == np.uint16 and (found["deep.png"][0, 0] == deep).all()
    assert (found["colour.png"][:, 0] == np.moveaxis(colour, -1, 0)).all()
    row = store.rows[next(s.id for s in index.series if s.files[0] == "deep.png")]
    assert (row.low, row.high, row.shape) == (deep.min(), deep.max(), (1, 1, 20, 30))


def test_unchanged_files_are_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_class_folders(tmp_path / "s", each=4)
    read = _count_reads(monkeypatch)
    first = decode(scan(source), scan(source).series, tmp_path / "c")
    assert len(read) == 8
    again = decode(scan(source), scan(source).series, tmp_path / "c")
    assert len(read) == 8 and again.rows == first.rows
    changed = source / "benign" / "002.png"
    write_png(changed, pictures([0], seed=77)[0])
    os.utime(changed, ns=(1, 1))  # a clock may be too coarse to tell the two writings apart
    third = decode(scan(source), scan(source).series, tmp_path / "c")
    assert len(read) == 16
    assert sum(third.rows[k].digest != first.rows[k].digest for k in first.rows) == 1


def test_half_a_store_is_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_class_folders(tmp_path / "s", each=4)
    index = scan(source)
    decode(index, index.series, tmp_path / "c")
    read = _count_reads(monkeypatch)
    (tmp_path / "c" / "pixels.json").unlink()
    decode(index, index.series, tmp_path / "c")
    assert len(read) == 8


def test_large_images_are_kept_reduced_with_their_spacing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (400, 200)).astype(np.uint16)
    write_dicom(tmp_path / "s" / "a.dcm", pixels, number=1, PixelSpacing=[0.5, 0.25])
    index = scan(tmp_path / "s")
    store = decode(index, index.series, tmp_path / "c", largest_side=100)
    (row,) = store.rows.values()
    assert row.shape == (1, 1, 100, 50) and row.dtype == "<u2"
    assert row.spacing_mm[1:] == pytest.approx((2.0, 1.0))
    means = pixels.reshape(100, 4, 50, 4).mean((1, 3))
    np.testing.assert_allclose(store.image(index.series[0].id)[0, 0], means, atol=0.51)


def test_all_unusable_images_are_counted_and_nothing_is_left(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "s", each=4)
    for name in ("001.png", "002.png"):
        write_png(source / "benign" / name, np.full((16, 16), 9, np.uint8))
    index = scan(source)
    with pytest.raises(BadInput, match=r"^2 of 8 images cannot be used; the first: image [\w-]+ is constant"):
        decode(index, index.series, tmp_path / "c")
    assert not list((tmp_path / "c").iterdir())
