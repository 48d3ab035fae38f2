"""Compressed frames: found, decoded with the right colour, sign and bits, or refused before any harm."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import pack_bits

from hounsfield.io.dicom.codecs import isolated
from hounsfield.io.dicom.codecs.colour import to_rgb
from hounsfield.io.dicom.codecs.fragments import compressed_frames
from hounsfield.io.dicom.codecs.frames import decoded
from hounsfield.io.dicom.codecs.layout import CodecFault, Layout
from hounsfield.io.dicom.codecs.syntaxes import CODECS, fault_of_syntax, largest

BASELINE, EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
LOSSLESS, LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
J2K, HTJ2K, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.5"
DEFLATED_FRAMES, NATIVE = "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.1"
ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0" + bytes(4)

Y, X = np.mgrid[:37, :53]
GREY16 = (1000 + 400 * np.sin(X / 5) * np.cos(Y / 7)).astype(np.uint16) + (X * Y % 7).astype(np.uint16)
GREY8 = (GREY16 >> 4).astype(np.uint8)
COLOUR = np.stack([GREY8, 255 - GREY8, GREY8 // 2], -1)


def _layout(syntax: str, pixels: NDArray[Any], **changes: Any) -> Layout:
    bits = pixels.dtype.itemsize * 8
    base = Layout(
        syntax, 1, *pixels.shape[:2], pixels.shape[2] if pixels.ndim == 3 else 1, bits, bits,
        photometric="RGB" if pixels.ndim == 3 else "MONOCHROME2", signed=pixels.dtype.kind == "i",
    )  # fmt: skip
    return replace(base, **changes)


def _raw(*frames: bytes) -> memoryview:
    return memoryview(encapsulate(list(frames)))


def _decode(stream: bytes, layout: Layout) -> NDArray[Any]:
    return decoded(_raw(stream), layout)[0]


def _packed(plane: bytes) -> bytes:
    """PackBits: runs of three or more, literals between (PS3.5 G.3.1)."""
    out, literal = bytearray(), bytearray()

    def flush() -> None:
        for start in range(0, len(literal), 128):
            part = literal[start : start + 128]
            out.extend([len(part) - 1, *part])
        literal.clear()

    for value, run in itertools.groupby(plane):
        length = len(list(run))
        while length >= 3:
            flush()
            out.extend([257 - min(length, 128), value])
            length -= min(length, 128)
        literal.extend([value] * length)
    flush()
    return bytes(out) + bytes(len(out) % 2)


def _rle(pixels: NDArray[Any]) -> bytes:
    samples = np.atleast_3d(pixels)
    width = pixels.dtype.itemsize
    planes = (
        samples.astype(samples.dtype.newbyteorder(">")).view(np.uint8).reshape(*pixels.shape[:2], -1, width)
    )
    parts = [_packed(planes[:, :, c, n].tobytes()) for c in range(samples.shape[2]) for n in range(width)]
    starts = [64 + sum(map(len, parts[:n])) for n in range(len(parts))]
    header = np.zeros(16, "<u4")
    header[0], header[1 : 1 + len(parts)] = len(parts), starts
    return header.tobytes() + b"".join(parts)


def _jpeg_2000(pixels: NDArray[Any], kind: str = "j2k") -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat=kind))


def _encoded() -> dict[str, tuple[str, NDArray[Any], bytes]]:
    lossless = {"lossless": True}
    return {
        **{
            f"lossless {p}": (
                LOSSLESS,
                GREY16,
                imagecodecs.jpeg8_encode(GREY16, predictor=p, bitspersample=16, **lossless),
            )
            for p in range(1, 8)
        },
        "lossless 8": (LOSSLESS_SV1, GREY8, imagecodecs.jpeg8_encode(GREY8, bitspersample=8, **lossless)),
        "lossless 12": (LOSSLESS_SV1, GREY16, imagecodecs.jpeg8_encode(GREY16, bitspersample=12, **lossless)),
        "jpeg-ls 16": (JPEG_LS, GREY16, imagecodecs.jpegls_encode(GREY16)),
        "jpeg-ls 8": (JPEG_LS, GREY8, imagecodecs.jpegls_encode(GREY8)),
        "jpeg-ls by sample": (JPEG_LS, COLOUR, imagecodecs.jpegls_encode(COLOUR)),
        "jpeg 2000": (J2K, GREY16, _jpeg_2000(GREY16)),
        "jpeg 2000 file": (J2K, GREY16, _jpeg_2000(GREY16, "jp2")),
        "htj2k": (HTJ2K, GREY16, imagecodecs.htj2k_encode(GREY16)),
        "htj2k colour": (HTJ2K, COLOUR, imagecodecs.htj2k_encode(COLOUR)),
        "rle 16": (RLE, GREY16, _rle(GREY16)),
        "rle colour": (RLE, COLOUR, _rle(COLOUR)),
        "rle 32": (RLE, GREY16.astype(np.uint32) * 70_001, _rle(GREY16.astype(np.uint32) * 70_001)),
    }  # fmt: skip


ENCODED = _encoded()


@pytest.mark.parametrize("name", ENCODED)
def test_lossless_frames_come_back_as_they_were(name: str) -> None:
    syntax, pixels, stream = ENCODED[name]
    values = _decode(stream, _layout(syntax, pixels))
    np.testing.assert_array_equal(values, pixels.reshape(values.shape))
    assert values.dtype == pixels.dtype


@pytest.mark.parametrize("near", [0, 1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("content", ["noise", "zero", "steps", "sparse", "row", "column", "one"])
def test_jpeg_ls_agrees_with_charls(content: str, kind: type, near: int) -> None:
    top, rng = np.iinfo(kind).max, np.random.default_rng(3)
    made = {
        "noise": rng.integers(0, top, Y.shape),
        "zero": np.zeros(Y.shape),
        "steps": X // 11 % 3 * (top // 4),
        "sparse": (rng.random(Y.shape) < 0.03) * top,
        "row": rng.integers(0, 9, (1, 50)),
        "column": rng.integers(0, 9, (50, 1)),
        "one": np.ones((1, 1)),
    }
    pixels = made[content].astype(kind)
    stream = imagecodecs.jpegls_encode(pixels, level=near)
    values = _decode(stream, _layout(NEAR, pixels))
    np.testing.assert_array_equal(values[..., 0], imagecodecs.jpegls_decode(stream))


@pytest.mark.parametrize("interleaved", [1, 2])
def test_jpeg_ls_colour_by_line_and_by_sample(interleaved: int) -> None:
    jpeg_ls = pytest.importorskip("jpeg_ls")
    stream = bytes(jpeg_ls.encode_array(COLOUR, interleave_mode=interleaved))
    np.testing.assert_array_equal(_decode(stream, _layout(JPEG_LS, COLOUR)), COLOUR)


@pytest.mark.parametrize("bits", [12, 16])
def test_signed_jpeg_ls_gets_its_sign_back(bits: int) -> None:
    signed = (GREY16.astype(np.int16) - 1100).astype(np.int16)
    stored = signed.view(np.uint16) & np.uint16((1 << bits) - 1)
    stream = bytearray(imagecodecs.jpegls_encode(stored))
    if bits == 12:
        jpeg_ls = pytest.importorskip("jpeg_ls")
        stream = bytearray(jpeg_ls.encode_pixel_data(
            stored.tobytes(), rows=37, columns=53, samples_per_pixel=1, bits_stored=12, bits_allocated=16,
            photometric_interpretation="MONOCHROME2", pixel_representation=0, number_of_frames=1,
        ))  # fmt: skip
    values = _decode(bytes(stream), _layout(JPEG_LS, signed, bits_stored=bits))
    np.testing.assert_array_equal(values[..., 0], signed)


def test_jpeg_2000_that_forgot_the_sign_gets_it_back() -> None:
    signed = GREY16.astype(np.int16) - 1100
    stream = imagecodecs.jpeg2k_encode(signed.view(np.uint16), level=0, reversible=True, codecformat="j2k")
    np.testing.assert_array_equal(_decode(stream, _layout(J2K, signed))[..., 0], signed)


def test_jpeg_2000_that_has_a_sign_too_much_loses_it() -> None:
    stream = imagecodecs.jpeg2k_encode(GREY16.view(np.int16), level=0, reversible=True, codecformat="j2k")
    np.testing.assert_array_equal(_decode(stream, _layout(J2K, GREY16))[..., 0], GREY16)


def test_twelve_bit_jpeg_is_decoded() -> None:
    stream = imagecodecs.jpeg8_encode(GREY16, level=98, bitspersample=12)
    values = _decode(stream, _layout(EXTENDED, GREY16, bits_stored=12))
    assert np.abs(values[..., 0].astype(int) - GREY16).max() < 40


def _near(values: NDArray[Any], rgb: NDArray[Any]) -> bool:
    return float(np.abs(values.astype(int) - rgb).mean()) < 4


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
def test_jfif_means_luminance_whatever_the_header_says(photometric: str) -> None:
    stream = imagecodecs.jpeg8_encode(COLOUR, level=97, subsampling="444")
    assert b"JFIF" in stream
    assert _near(_decode(stream, _layout(BASELINE, COLOUR, photometric=photometric)), COLOUR)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
def test_adobe_says_whether_components_are_red_green_blue(photometric: str) -> None:
    stream = imagecodecs.jpeg8_encode(COLOUR, level=97, outcolorspace="RGB")
    assert b"Adobe" in stream
    assert _near(_decode(stream, _layout(BASELINE, COLOUR, photometric=photometric)), COLOUR)


def test_without_marks_the_header_is_believed() -> None:
    stream = imagecodecs.jpeg8_encode(COLOUR, level=97, subsampling="444")
    start = stream.index(b"\xff\xe0")
    bare = stream[:start] + stream[start + 2 + int.from_bytes(stream[start + 2 : start + 4]) :]
    luminance = _decode(bare, _layout(BASELINE, COLOUR, photometric="YBR_FULL"))
    assert _near(luminance, COLOUR)
    kept = _decode(bare, _layout(BASELINE, COLOUR, photometric="RGB"))
    assert _near(to_rgb(kept), COLOUR) and not _near(kept, COLOUR)


def test_colour_conversion_equals_the_standard_for_every_chroma() -> None:
    blue, red = np.meshgrid(np.arange(256), np.arange(256))
    for y in (0, 16, 100, 255):
        ybr = np.stack([np.full_like(blue, y), blue, red], -1).astype(np.uint8)
        np.testing.assert_array_equal(to_rgb(ybr), convert_color_space(ybr, "YBR_FULL", "RGB"))


def test_deflated_frames_of_packed_bits() -> None:
    import zlib

    mask = (GREY8 > 60).astype(np.uint8)
    packer = zlib.compressobj(wbits=-15)
    stream = packer.compress(pack_bits(mask.reshape(-1))) + packer.flush()
    layout = _layout(DEFLATED_FRAMES, mask, bits_allocated=1, bits_stored=1)
    np.testing.assert_array_equal(_decode(stream, layout)[..., 0], mask)


def test_one_bit_frames_that_do_not_end_with_a_byte() -> None:
    masks = (np.random.default_rng(1).random((3, 3, 3)) < 0.5).astype(np.uint8)
    layout = Layout(NATIVE, 3, 3, 3, bits_allocated=1, bits_stored=1)
    values = decoded(memoryview(pack_bits(masks.reshape(-1))), layout)
    np.testing.assert_array_equal(values[..., 0], masks)
    np.testing.assert_array_equal(
        decoded(memoryview(pack_bits(masks.reshape(-1))), layout, which=(2, 0))[..., 0], masks[[2, 0]]
    )


def test_more_native_frames_than_the_header_names_are_refused() -> None:
    layout = Layout(NATIVE, 2, 4, 4)
    with pytest.raises(CodecFault, match="holds 3 frames where 2 were expected"):
        decoded(memoryview(bytes(3 * 32)), layout)


FRAMES = [ENCODED["jpeg-ls 8"][2], imagecodecs.jpegls_encode(255 - GREY8)]


@pytest.mark.parametrize("way", ["one each", "halves with table", "halves without table", "extended"])
def test_frames_are_found_however_they_are_cut(way: str) -> None:
    layout = replace(_layout(JPEG_LS, GREY8), frames=2)
    offsets: list[int] = []
    if way == "one each":
        raw = encapsulate(FRAMES, has_bot=False)
    elif way == "extended":
        raw, table, _ = encapsulate_extended(FRAMES)
        offsets = np.frombuffer(table, "<u8").tolist()
    else:
        raw = encapsulate(FRAMES, fragments_per_frame=2, has_bot=way == "halves with table")
    values = decoded(memoryview(raw), layout, offsets=offsets)
    np.testing.assert_array_equal(values[..., 0], np.stack([GREY8, 255 - GREY8]))


@pytest.mark.parametrize("frames", [1, 3])
def test_another_number_of_compressed_frames_is_refused(frames: int) -> None:
    with pytest.raises(CodecFault, match=f"holds 2 compressed frames where {frames} were expected"):
        compressed_frames(_raw(*FRAMES), frames)


@pytest.mark.parametrize("cut", [1, 9, 200])
def test_fragments_that_break_off_are_refused(cut: int) -> None:
    raw = bytes(_raw(FRAMES[0])) + END
    with pytest.raises(CodecFault, match="break off"):
        compressed_frames(memoryview(raw)[: len(raw) - 8 - cut], 1, closed=True)


@pytest.mark.parametrize("name", ENCODED)
def test_a_frame_of_another_size_is_refused_before_it_is_decoded(name: str) -> None:
    syntax, pixels, stream = ENCODED[name]
    layout = _layout(syntax, pixels)
    with pytest.raises(CodecFault, match=r"expected|break off"):
        _decode(stream, replace(layout, rows=layout.rows + 1))


@pytest.mark.parametrize("name", ENCODED)
def test_a_frame_cut_short_is_refused(name: str) -> None:
    syntax, pixels, stream = ENCODED[name]
    with pytest.raises(CodecFault):
        _decode(stream[: len(stream) // 2], _layout(syntax, pixels))


@pytest.mark.parametrize("syntax", CODECS)
def test_more_pixels_than_the_bytes_can_hold_are_refused_without_allocating(syntax: str) -> None:
    layout = Layout(syntax, 1000, 60_000, 60_000)
    with pytest.raises(CodecFault, match=r"more than its .* can hold"):
        decoded(_raw(bytes(1000)), layout)
    assert largest(layout, 1000) < layout.frames * layout.frame_bytes


@pytest.mark.parametrize(
    ("syntax", "reason"),
    [
        ("1.2.840.10008.1.2.4.102", "a video"),
        ("1.2.840.10008.1.2.4.94", "another server"),
        ("1.2.840.10008.1.2.4.52", "is not read"),
        ("", "without a transfer syntax"),
        ("../../etc", "unknown"),
    ],
)
def test_what_cannot_be_decoded_says_why(syntax: str, reason: str) -> None:
    assert reason in fault_of_syntax(syntax)


def test_a_worker_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    _, pixels, stream = ENCODED["jpeg 2000"]
    isolated.decode_apart("jpeg2k", stream, most_bytes=1 << 20)
    isolated._pool.idle[-1].process.kill()
    isolated._pool.idle[-1].process.wait()
    with pytest.raises(CodecFault, match="could not survive"):
        isolated.decode_apart("jpeg2k", stream, most_bytes=1 << 20)
    np.testing.assert_array_equal(isolated.decode_apart("jpeg2k", stream, most_bytes=1 << 20), pixels)


def test_a_decoder_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = imagecodecs.jpegls_encode(COLOUR)
    isolated.decode_apart("jpegls", stream, most_bytes=1 << 20)
    worker = isolated._pool.idle[-1]
    os.kill(worker.process.pid, 19)  # SIGSTOP: it hangs
    monkeypatch.setattr(isolated, "SECONDS_A_FRAME", 0.2)
    with pytest.raises(CodecFault, match="could not survive"):
        isolated.decode_apart("jpegls", stream, most_bytes=1 << 20)
    assert worker.process.poll() is not None


def test_workers_serve_threads_at_the_same_time() -> None:
    _, pixels, stream = ENCODED["jpeg 2000"]
    found: list[bool] = []

    def ask() -> None:
        for _ in range(3):
            found.append(np.array_equal(isolated.decode_apart("jpeg2k", stream, most_bytes=1 << 20), pixels))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 12


def test_a_worker_ends_with_the_process_that_started_it() -> None:
    program = (
        "import imagecodecs, numpy, os; from hounsfield.io.dicom.codecs import isolated as i\n"
        "s = imagecodecs.jpegls_encode(numpy.zeros((9, 9), 'u1'))\n"
        "i.decode_apart('jpegls', s, most_bytes=1 << 20)\n"
        "print(i._pool.idle[-1].process.pid, flush=True); os._exit(0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    process = int(done.stdout)
    for _ in range(100):
        status = Path(f"/proc/{process}/stat")
        if not status.exists() or status.read_text().split(")")[-1].split()[0] == "Z":
            return
        threading.Event().wait(0.05)
    raise AssertionError("the worker outlived its parent")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"])
def test_a_progressive_jpeg_of_the_retired_syntaxes_is_decoded(syntax: str) -> None:
    import io

    from PIL import Image
    from pydicom.encaps import encapsulate

    grey = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(grey).save(written, "JPEG", quality=95, progressive=True)
    layout = Layout(syntax, 1, 40, 48, bits_allocated=8, bits_stored=8)
    found = decoded(memoryview(encapsulate([written.getvalue()])), layout)
    assert found.shape == (1, 40, 48, 1)
    np.testing.assert_array_equal(found[0, ..., 0], np.asarray(Image.open(written)))


def test_a_number_of_samples_that_is_no_colour_model_is_refused() -> None:
    with pytest.raises(CodecFault, match="32767 samples per pixel"):
        Layout("1.2.840.10008.1.2.1", 1, 4, 4, samples=32767)


def test_pixels_that_do_not_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("hounsfield.io.dicom.codecs.frames.uncleared", full)
    layout = Layout("1.2.840.10008.1.2.5", 1, 4, 4, bits_allocated=8, bits_stored=8)
    with pytest.raises(CodecFault, match="more than there is here"):
        decoded(memoryview(encapsulate([bytes(64) + b"\0" * 20])), layout)
