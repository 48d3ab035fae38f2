"""Decoding of compressed frames: pydicom with its best plug-in and ours, in turn; and a second read by cache.

    python benchmarks/dicom_decode.py [ROUNDS]

The frames are made here: a 512 x 512 body of 12 bits in 16 with noise, and the same in 8 bits, eight frames
a file. Every plug-in that pydicom has for a transfer syntax is tried first and the fastest one is the peer.
Both are given the dataset in memory and give an array of all frames; each is measured with one thread, ours
also with threads as they come. "equal" says whether all values agree. The second part reads forty such
slices, a file each, by `read_volume`: first from the files, then through the cache.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import imagecodecs
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, RLELossless

from hounsfield.core.volume import Volume
from hounsfield.io import Source, VolumeCache, index_of, read_volume
from hounsfield.io.dicom.pixels import frames_of

FRAMES, SLICES = 8, 40
warnings.filterwarnings("ignore")


def phantom(seed: int) -> np.ndarray:
    """A 512 x 512 body of 12 bits with the noise of a scanner."""
    y, x = np.mgrid[:512, :512]
    inside = (x - 256) ** 2 / 1.2 + (y - 256) ** 2 < 190**2
    body = np.where(inside, 1060 + 60 * np.sin(x / 23) * np.cos(y / 31), 20)
    return np.clip(body + np.random.default_rng(seed).normal(0, 10, x.shape), 0, 4095).astype(np.uint16)


def _streams(name: str) -> tuple[str, np.ndarray, Callable[[np.ndarray], bytes]]:
    """Transfer syntax, frames and encoder."""
    grey = np.stack([phantom(n) for n in range(FRAMES)])
    eight = (grey >> 4).astype(np.uint8)
    colour = np.stack([eight, 255 - eight, eight // 2], -1)
    j2k = {"level": 0, "reversible": True, "codecformat": "j2k"}
    made: dict[str, tuple[str, np.ndarray, Callable[[np.ndarray], bytes]]] = {
        "JPEG baseline": ("1.2.840.10008.1.2.4.50", eight, lambda a: imagecodecs.jpeg8_encode(a, 90)),
        "JPEG baseline colour": (
            "1.2.840.10008.1.2.4.50",
            colour,
            lambda a: imagecodecs.jpeg8_encode(a, 90, subsampling="422"),
        ),
        "JPEG lossless 16": (
            "1.2.840.10008.1.2.4.70",
            grey,
            lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=1, bitspersample=16),
        ),
        "JPEG lossless 8": (
            "1.2.840.10008.1.2.4.70",
            eight,
            lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=1, bitspersample=8),
        ),
        "JPEG-LS 16": ("1.2.840.10008.1.2.4.80", grey, imagecodecs.jpegls_encode),
        "JPEG-LS 8": ("1.2.840.10008.1.2.4.80", eight, imagecodecs.jpegls_encode),
        "JPEG-LS near": ("1.2.840.10008.1.2.4.81", eight, lambda a: imagecodecs.jpegls_encode(a, level=2)),
        "JPEG 2000 16": ("1.2.840.10008.1.2.4.90", grey, lambda a: imagecodecs.jpeg2k_encode(a, **j2k)),
        "HTJ2K 16": ("1.2.840.10008.1.2.4.201", grey, imagecodecs.htj2k_encode),
        "RLE 16": (RLELossless, grey, bytes),
        "RLE 8": (RLELossless, eight, bytes),
    }
    return made[name]


NAMES = (
    "JPEG baseline", "JPEG baseline colour", "JPEG lossless 16", "JPEG lossless 8", "JPEG-LS 16", "JPEG-LS 8",
    "JPEG-LS near", "JPEG 2000 16", "HTJ2K 16", "RLE 16", "RLE 8",
)  # fmt: skip


def compressed(name: str) -> Dataset:
    """A multi-frame object with its frames compressed."""
    syntax, frames, encode = _streams(name)
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7.4", "1.2.3.4"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = "1.2.3", "1.2.3.1", "OT"
    made.Rows, made.Columns, made.NumberOfFrames = 512, 512, len(frames)
    bits = frames.dtype.itemsize * 8
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits, bits - 1, 0
    made.SamplesPerPixel = frames.shape[3] if frames.ndim == 4 else 1
    made.PhotometricInterpretation = "YBR_FULL_422" if frames.ndim == 4 else "MONOCHROME2"
    if frames.ndim == 4:
        made.PlanarConfiguration = 0
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    if syntax == RLELossless:
        made.PixelData = frames.tobytes()
        made["PixelData"].VR = "OW"
        made.compress(RLELossless)
    else:
        made.PixelData = encapsulate([encode(f) for f in frames])
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
        made.file_meta.TransferSyntaxUID = syntax
    written = io.BytesIO()
    made.save_as(written, enforce_file_format=True)
    return dcmread(io.BytesIO(written.getvalue()))


def _peers(dataset: Dataset) -> dict[str, Callable[[], np.ndarray]]:
    decoder = get_decoder(UID(dataset.file_meta.TransferSyntaxUID))

    def by(plugin: str) -> np.ndarray:
        values: np.ndarray = decoder.as_array(dataset, decoding_plugin=plugin)[0]
        return values

    return {name: (lambda n=name: by(n)) for name in decoder.available_plugins}


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _codec(name: str, rounds: int) -> None:
    dataset = compressed(name)
    peers = _peers(dataset)
    best = min(peers, key=lambda n: min(_seconds(peers[n]) for _ in range(3)))
    theirs, mine = peers[best](), frames_of(dataset)
    equal = np.array_equal(theirs.reshape(mine.shape), mine)
    times = [
        (
            _seconds(peers[best]),
            _seconds(lambda: frames_of(dataset, threads=1)),
            _seconds(lambda: frames_of(dataset)),
        )
        for _ in range(rounds)
    ]
    peer, one, several = (median(column) for column in zip(*times, strict=True))
    print(
        f"{name:22} {best:10} {peer * 1e3 / FRAMES:7.2f} ms a frame; ours {one * 1e3 / FRAMES:6.2f} "
        f"({peer / one:4.1f}x), with threads {several * 1e3 / FRAMES:6.2f} ({peer / several:4.1f}x); "
        f"equal: {equal}",
        flush=True,
    )


def _again(name: str, rounds: int) -> None:
    """A compressed series read from its files, then through the cache; every cache line is touched."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as kept:
        _write_series(Path(folder), name)
        cache = VolumeCache(Path(kept), most_bytes=1 << 30)
        (series,) = index_of(folder).series
        with Source(folder) as source:

            def first() -> int:
                return _touched(read_volume(source, series))

            def second() -> int:
                return _touched(read_volume(source, series, cache=cache))

            assert first() == second() == second()
            times = [(_seconds(first), _seconds(second)) for _ in range(rounds)]
            decoded, known = (median(column) for column in zip(*times, strict=True))
            said = f"first {decoded * 1e3:7.2f} ms, by cache {known * 1e3:6.2f} ms: {decoded / known:.1f}x"
            print(f"{name:22} {said}", flush=True)


def _touched(volume: Volume) -> int:
    return int(volume.data.reshape(-1).view(np.uint8)[::64].sum(dtype=np.int64))


def _write_series(folder: Path, name: str) -> None:
    """The frames as slices of a series, a file each."""
    whole = compressed(name)
    frames = list(generate_frames(whole.PixelData, number_of_frames=FRAMES))
    for n in range(SLICES):
        made = Dataset()
        made.update({e.tag: e for e in whole if e.keyword not in ("PixelData", "NumberOfFrames")})
        made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.826.0.1.{n + 1}"
        made.Modality, made.SeriesInstanceUID, made.StudyInstanceUID = "CT", "1.2.826.0.2", "1.2.826.0.3"
        made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, n], [1, 0, 0, 0, 1, 0]
        made.PixelSpacing = [0.7, 0.7]
        made.PixelData = encapsulate([frames[n % FRAMES]])
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
        made.file_meta = whole.file_meta
        made.save_as(folder / f"{n:03}.dcm", enforce_file_format=True)


def main(rounds: int = 9) -> None:
    """Print a line a codec, and a line a second read."""
    for name in NAMES:
        _codec(name, rounds)
    print("\nsecond read through the cache")
    for name in NAMES:
        _again(name, rounds)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
