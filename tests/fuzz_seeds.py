"""Whole DICOM files to mutate: small ones made here for every transfer syntax, and real ones found here."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Seed", "real_data", "seeds"]

LARGEST, LARGEST_UNPACKED = 600_000, 2_000_000  # bytes; a larger file only takes longer


@dataclass(frozen=True)
class Seed:
    """A whole file to mutate, and the whole files that lie beside it."""

    name: str
    content: bytes
    beside: tuple[bytes, ...] = ()


def seeds(more: Path | None = None, *, made_only: bool = False) -> list[Seed]:
    """Files made here, then real ones: test files of pydicom and nibabel, and those below `more`."""
    if made_only:
        return [*_made()]
    import nibabel
    import pydicom

    inside = {pydicom: ("data", "test_files"), nibabel: ("nicom", "tests", "data")}
    folders = [Path(m.__file__ or "").parent.joinpath(*parts) for m, parts in inside.items()]
    found = [*_made()]
    for path in sorted(
        {p for f in (*folders, *([more] if more else [])) for p in f.rglob("*") if p.is_file()}
    ):
        content = path.read_bytes() if path.stat().st_size <= LARGEST else b""
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        if len(content) > LARGEST_UNPACKED:
            continue
        if content[128:132] == b"DICM" or (content and path.suffix == ".dcm"):
            found.append(Seed(path.name, content))
    return found


def _made() -> Iterator[Seed]:
    """A small valid file for every transfer syntax that can be written here, and series and frames."""
    import tempfile

    from pydicom.encaps import encapsulate

    from ct_mr_series import enhanced, pattern, positions_of, save, slice_of, write_series

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"

        def written(dataset: object, syntax: str) -> bytes:
            save(path, dataset, syntax=syntax)  # type: ignore[arg-type]
            return path.read_bytes()

        grey = pattern((24, 20), np.uint8)
        place = {
            "ImagePositionPatient": [0, 0, 0],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [1, 1],
        }
        for syntax in ("1.2", "1.2.1", "1.2.2", "1.2.1.99"):
            made = slice_of(pattern((24, 20)), 0, **place)
            if syntax == "1.2.2":
                made.PixelData = pattern((24, 20)).astype(">i2").tobytes()
            yield Seed(f"made {syntax}", written(made, f"1.2.840.10008.{syntax}"))
        for name, syntax, encode in _encoders():
            for frames in (1, 3):
                made = slice_of(np.stack([grey] * frames) if frames > 1 else grey, 0, **place)
                if frames > 1:
                    made.NumberOfFrames = frames
                made.PixelData = encapsulate([encode(grey)] * frames)
                made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
                yield Seed(f"made {name} of {frames}", written(made, syntax))
        values, positions = (
            pattern((4, 12, 10)),
            positions_of(4, (1, 0, 0, 0, 1, 0), step_mm=2, origin_mm=(0, 0, 0)),
        )
        for modality in ("CT", "MR"):
            many = enhanced(values, positions, modality=modality)
            yield Seed(f"made enhanced {modality}", written(many, "1.2.840.10008.1.2.1"))
        write_series(Path(folder) / "series", pattern((4, 12, 10)))
        first, *others = [p.read_bytes() for p in sorted((Path(folder) / "series").iterdir())]
        for _ in range(3):
            yield Seed("made series", first, tuple(others))


def _encoders() -> Iterator[tuple[str, str, Callable[[np.ndarray], bytes]]]:
    """Name, transfer syntax and encoder of every compression for which one is installed."""
    import imagecodecs
    from pydicom.pixels.encoders.base import EncodeRunner
    from pydicom.pixels.encoders.native import _encode_frame

    def runs(pixels: np.ndarray) -> bytes:
        runner = EncodeRunner("1.2.840.10008.1.2.5")
        runner.set_options(
            rows=pixels.shape[0], columns=pixels.shape[1], samples_per_pixel=1, number_of_frames=1,
            bits_allocated=8, bits_stored=8, pixel_representation=0, photometric_interpretation="MONOCHROME2",
        )  # fmt: skip
        return bytes(_encode_frame(pixels.tobytes(), runner))

    known: tuple[tuple[str, str, Callable[[np.ndarray], bytes]], ...] = (
        ("RLE", "5", runs),
        ("JPEG", "4.50", lambda p: imagecodecs.jpeg8_encode(p, level=90)),
        ("JPEG lossless", "4.70", lambda p: imagecodecs.ljpeg_encode(p)),
        ("JPEG-LS", "4.80", lambda p: imagecodecs.jpegls_encode(p)),
        ("JPEG 2000", "4.90", lambda p: imagecodecs.jpeg2k_encode(p, codecformat="j2k", reversible=True)),
        ("HTJ2K", "4.201", lambda p: imagecodecs.htj2k_encode(p)),
    )
    for name, syntax, encode in known:
        try:
            encode(np.zeros((24, 20), np.uint8))
        except (RuntimeError, ValueError, TypeError, AttributeError, ImportError):
            continue
        yield name, f"1.2.840.10008.1.2.{syntax}", encode


def real_data() -> Path | None:
    """The folder of DICOM objects below HU_DATA, if there is one."""
    folder = (
        Path(os.environ.get("HU_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "dicom"
    )
    return folder if folder.is_dir() else None
