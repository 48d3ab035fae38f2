"""Small made-up studies, the command line called in place, and one trained run that many tests look at."""

from __future__ import annotations

import atexit
import csv
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME, NUMBER = "ZZTOPSECRET^NAME", "MRN99881"
TINY = (
    "network.width=8",
    "network.depth=2",
    "fit.epochs=2",
    "fit.batch_size=8",
    "validation.folds=2",
    "validation.members=2",
    "threads=1",
    "device=cpu",
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The closing sentence on stderr."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


def hu(*words: str | Path) -> Outcome:
    """Call `hu` in this process, with its own handling of errors."""
    from hounsfield.cli.main import main

    out, err, before, code = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = ["hu", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
    return Outcome(code, out.getvalue(), err.getvalue())


def pictures(
    answers: Sequence[int], *, side: int = 16, seed: int = 0, spread: float = 45.0
) -> NDArray[np.uint8]:
    """Noise (N, side, side) with a bright square whose corner tells the answer; no two are alike."""
    rng = np.random.default_rng(seed)
    images = rng.normal(90, spread, (len(answers), side, side))
    half = side // 2
    for image, answer in zip(images, answers, strict=True):
        j, i = divmod(answer % 4, 2)
        image[j * half : (j + 1) * half, i * half : (i + 1) * half] += 70
    return np.clip(images, 0, 255).astype(np.uint8)


def answers_of(n: int, classes: int = 2) -> list[int]:
    return [k % classes for k in range(n)]


def write_npz(
    path: Path, *, n: int = 40, test: int = 0, classes: int = 2, seed: int = 0, **more: Any
) -> Path:
    """An archive in MedMNIST's layout: `n` training images, and `test` images of a part of their own."""
    arrays: dict[str, Any] = {}
    for part, count, salt in (("train", n, 0), ("test", test, 1)):
        if count:
            answers = answers_of(count, classes)
            arrays[f"{part}_images"] = pictures(answers, seed=[seed, salt], **more)  # type: ignore[arg-type]
            arrays[f"{part}_labels"] = np.array(answers)[:, None]
    np.savez(path, **arrays)
    return path


def write_png(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def write_class_folders(
    root: Path, names: Sequence[str] = ("benign", "malignant"), *, each: int = 15
) -> Path:
    """root/CLASS/NUMBER.png"""
    answers = [k for k in range(len(names)) for _ in range(each)]
    for number, (answer, image) in enumerate(zip(answers, pictures(answers), strict=True)):
        write_png(root / names[answer] / f"{number:03}.png", image)
    return root


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_table_study(
    root: Path, rows: Sequence[dict[str, Any]], *, answer: str = "finding"
) -> tuple[Path, Path]:
    """A folder of PNG files named by the column "file", and the table; pixels follow the column `answer`."""
    levels = sorted({str(r[answer]) for r in rows})
    images = pictures([levels.index(str(r[answer])) for r in rows])
    for row, image in zip(rows, images, strict=True):
        write_png(root / row["file"], image)
    return root, write_csv(root.parent / f"{root.name}.csv", rows)


def write_dicom(path: Path, pixels: NDArray[Any], *, number: int, **elements: Any) -> Path:
    """A secondary-capture-like object, explicit little endian; elements by keyword override."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", f"1.2.3.9.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = f"1.2.3.7.{number}", f"1.2.3.8.{number}"
    made.PatientID, made.PatientName, made.Modality = f"P{number}", NAME, "CR"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 8 * pixels.dtype.itemsize
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def write_dicom_study(root: Path, *, patients: int = 20, images: int = 2) -> tuple[Path, Path]:
    """Several images a patient, identities planted in headers, file and folder names; labels by PatientID."""
    rows = []
    answers = [p % 2 for p in range(patients) for _ in range(images)]
    pixels = pictures(answers).astype(np.uint16) * 16
    for k, image in enumerate(pixels):
        p = k // images
        patient = NUMBER if p == 0 else f"MRN{10000 + p}"
        folder = root / f"{NAME}-{p}"
        write_dicom(
            folder / f"{NUMBER}_{k}.dcm",
            image,
            number=k,
            PatientID=patient,
            PatientSex="FM"[p // 2 % 2],
            PatientAge=f"{30 + p:03}Y",
            InstitutionName=f"Clinic {p // 3 % 2}",
            Manufacturer="Maker",
        )
        rows.append({"mrn": patient, "finding": ("normal", "cancer")[answers[k]]})
    unique = list({r["mrn"]: r for r in rows}.values())
    return root, write_csv(root.parent / f"{root.name}.csv", unique)


def folder_of(prefix: str) -> Path:
    """A new temporary folder that goes with the process."""
    made = Path(tempfile.mkdtemp(prefix=f"hounsfield-{prefix}-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@dataclass(frozen=True)
class Trained:
    """A finished run on DICOM files with planted identities, and how the command ended."""

    source: Path
    labels: Path
    run: Path
    outcome: Outcome

    @property
    def said(self) -> dict[str, Any]:
        """The JSON object of the command."""
        found = json.loads(self.outcome.out)
        assert isinstance(found, dict)
        return found


@cache
def trained() -> Trained:
    """Train once a session."""
    home = folder_of("trained")
    source, labels = write_dicom_study(home / "study", patients=60)
    run = home / "run"
    words = ("--labels", labels, "--target", "finding", "--test-fraction", "0.4", "--out", run, "--json")
    outcome = hu("train", source, *words, *TINY, "fit.epochs=6", "fit.learning_rate=0.01")
    assert outcome.code == 0, outcome.err
    return Trained(source, labels, run, outcome)
