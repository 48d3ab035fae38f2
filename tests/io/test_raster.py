"""Pictures keep their pixels, bits and upright position."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io import Source, index_of, read_volume

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


def _only(folder: Path) -> tuple[Series, NDArray[Any]]:
    index = index_of(folder)
    (series,) = index.series
    with Source(folder) as source:
        return series, read_volume(source, series).data


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "pgm"])
def test_grey_pixels_are_exact(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(GREY).save(tmp_path / f"a.{suffix}")
    series, data = _only(tmp_path)
    assert (series.shape, series.channels, series.bits, series.reader) == ((1, 3, 4), 1, 8, "raster")
    np.testing.assert_array_equal(data, GREY[None, None])


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "ppm"])
def test_colour_pixels_are_exact_and_rgb(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(COLOUR).save(tmp_path / f"a.{suffix}")
    series, data = _only(tmp_path)
    assert series.channels == 3 and series.bits == 8
    np.testing.assert_array_equal(data, np.moveaxis(COLOUR, -1, 0)[:, None])


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_is_kept(tmp_path: Path, suffix: str) -> None:
    deep = GREY.astype(np.uint16) * 257 + 3
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), deep)
    series, data = _only(tmp_path)
    assert series.bits == 16 and data.dtype == np.uint16
    np.testing.assert_array_equal(data[0, 0], deep)


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
@pytest.mark.parametrize("alpha", [False, True])
def test_sixteen_bit_colour_is_kept(tmp_path: Path, suffix: str, alpha: bool) -> None:
    if alpha and suffix == "ppm":
        pytest.skip("PPM has no transparency")
    deep = COLOUR.astype(np.uint16) * 257 + 3
    written = np.dstack([deep[..., ::-1], np.full((3, 4), 9, np.uint16)]) if alpha else deep[..., ::-1]
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), np.ascontiguousarray(written))
    series, data = _only(tmp_path)
    assert (series.bits, series.channels, data.dtype) == (16, 3, np.dtype(np.uint16))
    np.testing.assert_array_equal(data[:, 0], np.moveaxis(deep, -1, 0))


@pytest.mark.parametrize(
    ("mark", "white"),
    [(b"P5", 100), (b"P5", 255), (b"P5", 4095), (b"P5", 65535), (b"P2", 255), (b"P2", 4095), (b"P2", 65535)],
)
def test_pgm_values_are_not_stretched(tmp_path: Path, white: int, mark: bytes) -> None:
    stored = np.array([[0, 3, 50], [white // 2, white - 1, white]], ">u2" if white > 255 else "u1")
    body = " ".join(map(str, stored.ravel())).encode() if mark == b"P2" else stored.tobytes()
    (tmp_path / "a.pgm").write_bytes(mark + b"\n3 2\n%d\n" % white + body)
    series, data = _only(tmp_path)
    assert series.bits == (16 if white > 255 else 8)
    np.testing.assert_array_equal(data[0, 0], stored)


def test_a_pgm_in_digits_that_would_be_stretched_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_text("P2 2 1 100 0 100")
    with pytest.raises(BadInput, match="in which white is 100"):
        index_of(tmp_path)


def test_transparency_is_dropped_and_grey_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([GREY, np.full_like(GREY, 7)]), "LA").save(tmp_path / "a.png")
    series, data = _only(tmp_path)
    assert series.channels == 1
    np.testing.assert_array_equal(data[0, 0], GREY)


def test_a_palette_becomes_rgb(tmp_path: Path) -> None:
    picture = Image.fromarray(COLOUR).quantize(12)
    picture.save(tmp_path / "a.png")
    series, data = _only(tmp_path)
    assert series.channels == 3
    np.testing.assert_array_equal(np.moveaxis(data[:, 0], 0, -1), np.asarray(picture.convert("RGB")))


def test_black_and_white_is_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(GREY > 100).save(tmp_path / "a.png")
    _, data = _only(tmp_path)
    np.testing.assert_array_equal(data[0, 0], (GREY > 100) * 255)


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """EXIF 2.32: where row 0 and column 0 of the stored picture belong."""
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1),
        7: np.rot90(pixels, -1)[:, ::-1][::-1, ::-1],
        8: np.rot90(pixels),
    }
    return turned[orientation]


def _tiff(pixels: NDArray[Any], orientation: int) -> bytes:
    """A colour TIFF of one strip, 8 or 16 bits."""
    rows, columns, bits = *pixels.shape[:2], pixels.dtype.itemsize * 8
    start = 8 + 2 + 12 * 10 + 4
    tags = [
        (256, 4, 1, columns), (257, 4, 1, rows), (258, 3, 3, start), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, start + 6), (274, 3, 1, orientation), (277, 3, 1, 3), (278, 4, 1, rows),
        (279, 4, 1, pixels.nbytes),
    ]  # fmt: skip
    packed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + packed + bytes(4)
    return head + struct.pack("<3H", bits, bits, bits) + pixels.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_sets_a_picture_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(GREY).save(tmp_path / "a.png", exif=exif)
    series, data = _only(tmp_path)
    assert series.shape == data.shape[1:]
    np.testing.assert_array_equal(data[0, 0], _upright(GREY, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_is_turned_upright_once(tmp_path: Path, orientation: int, kind: type) -> None:
    pixels = COLOUR.astype(kind) * (1 if kind is np.uint8 else 257)
    (tmp_path / "a.tif").write_bytes(_tiff(pixels, orientation))
    series, data = _only(tmp_path)
    assert series.shape == data.shape[1:]
    np.testing.assert_array_equal(np.moveaxis(data[:, 0], 0, -1), _upright(pixels, orientation))


def test_a_jpeg_without_suffix_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "picture", "JPEG", quality=95)
    series, data = _only(tmp_path)
    assert series.channels == 3
    assert abs(data[:, 0].astype(int) - np.moveaxis(COLOUR, -1, 0)).max() < 90


def test_a_gif_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    _, data = _only(tmp_path)
    np.testing.assert_array_equal(data[0, 0], GREY)


@pytest.mark.parametrize(
    ("mode", "suffix", "reason"), [("CMYK", "jpg", "colour model CMYK"), ("LAB", "tif", "colour model LAB")]
)
def test_other_colour_models_are_refused(tmp_path: Path, mode: str, suffix: str, reason: str) -> None:
    Image.new(mode, (4, 3)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(BadInput, match=reason):
        index_of(tmp_path)


def test_a_tiff_of_several_pages_is_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY), Image.fromarray(GREY)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(BadInput, match="several pages"):
        index_of(tmp_path)


def test_white_is_zero_is_never_left_turned_over(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.tif", tiffinfo={262: 0})
    _, data = _only(tmp_path)
    np.testing.assert_array_equal(data[0, 0], GREY)
    content = io.BytesIO()
    Image.fromarray(GREY.astype(np.uint16)).save(content, "TIFF")
    black_is_zero = bytes([6, 1, 3, 0, 1, 0, 0, 0, 1])
    assert black_is_zero in content.getvalue()
    white_is_zero = content.getvalue().replace(black_is_zero, black_is_zero[:-1] + b"\0")
    (tmp_path / "a.tif").write_bytes(white_is_zero)
    with pytest.raises(BadInput, match="white is zero"):
        index_of(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_picture_cut_short_is_bad_input_not_half_a_picture(tmp_path: Path, suffix: str, deep: bool) -> None:
    if deep and suffix == "jpg":
        pytest.skip("JPEG has 8 bits")
    noise = np.random.default_rng(0).integers(0, 60_000 if deep else 255, (64, 64, 3))
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), noise.astype(np.uint16 if deep else np.uint8))
    content = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(BadInput, match="damaged"):
        _only(tmp_path)


def test_text_named_as_a_picture_is_refused_at_the_scan(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_text("not a picture")
    Image.fromarray(GREY).save(tmp_path / "a.png")
    index = index_of(tmp_path)
    assert [r.reason for r in index.refused] == ["a damaged picture; send it again"]


def test_class_folders_give_label_and_part(tmp_path: Path) -> None:
    for place in ("train/benign", "train/malignant", "test/benign"):
        (tmp_path / place).mkdir(parents=True)
        Image.fromarray(GREY).save(tmp_path / place / "x.png")
    found = {(s.label, s.part) for s in index_of(tmp_path).series}
    assert found == {("benign", "train"), ("malignant", "train"), ("benign", "test")}


def test_values_that_are_not_numbers_are_bad_input(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), np.array([[1.0, np.nan]], np.float32))
    with pytest.raises(BadInput, match="1 of 2 values that are not numbers"):
        _only(tmp_path)
