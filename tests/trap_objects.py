"""What the traps are built of: small DICOM objects, and the truth that their builder knows."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

__all__ = [
    "AXIAL",
    "SPACING",
    "Image",
    "Trap",
    "Truth",
    "affine",
    "encapsulated",
    "enhanced",
    "image",
    "item",
    "mosaic",
    "ramp",
    "save",
    "stack",
]

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SPACING = (0.5, 0.25)
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Image:
    """An image that must be found: its values (C, K, J, I), and its affine unless no place is known."""

    values: NDArray[Any]
    affine: NDArray[np.float64] | None = None
    volume: str | None = None
    values_off_by: float = 0
    place_off_by_mm: float = 1e-6
    stack: str | None = None
    site: str = ""


@dataclass(frozen=True)
class Truth:
    """All images of a trap, and how many files are refused for a reason that begins so.

    `unreadable` is the reason where the fault shows only when the pixels are decoded.
    """

    images: Sequence[Image] = ()
    refused: dict[str, int] = field(default_factory=dict)
    unreadable: str = ""


@dataclass(frozen=True)
class Trap:
    """One object, or a folder of them, that has misled readers."""

    pitfall: int
    name: str
    build: Callable[[Path], Truth]


def ramp(shape: tuple[int, ...], dtype: type[np.generic] = np.int16, *, start: int = 0) -> NDArray[Any]:
    """Values that differ from place to place, so that every mix-up shows."""
    return (np.arange(int(np.prod(shape))).reshape(shape) * 3 + start).astype(dtype)


def image(pixels: NDArray[Any] | None, **elements: Any) -> Dataset:
    """A CT image of (J, I), (K, J, I) or (J, I, 3) pixels; elements by keyword, None leaves one out."""
    number = next(_NUMBERS)
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    made.PatientID, made.PatientName, made.Modality = "P1", "SECRET^NAME", "CT"
    made.InstanceNumber = 1
    if pixels is not None:
        colour = pixels.ndim == 3 and pixels.shape[2] == 3
        made.Rows, made.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
        if pixels.ndim == 3 and not colour:
            made.NumberOfFrames = len(pixels)
        made.SamplesPerPixel = 3 if colour else 1
        made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        if colour:
            made.PlanarConfiguration = 0
        bits = pixels.dtype.itemsize * 8
        made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
        made.PixelRepresentation = int(pixels.dtype.kind == "i")
        made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
        made["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in elements.items():
        if value is not None:
            setattr(made, keyword, value)
        elif keyword in made:
            del made[keyword]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def save(made: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def encapsulated(made: Dataset, syntax: str, frames: Sequence[bytes]) -> Dataset:
    """The object with compressed frames, one fragment each."""
    from pydicom.encaps import encapsulate

    made.PixelData = encapsulate(list(frames))
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    made.file_meta.TransferSyntaxUID = syntax
    return made


def stack(
    folder: Path,
    positions_mm: Sequence[Sequence[float]],
    *,
    orientation: Sequence[float] = AXIAL,
    values: NDArray[Any] | None = None,
    prefix: str = "",
    **elements: Any,
) -> NDArray[Any]:
    """Write a slice a position and give their values (N, J, I); a callable element is asked by slice."""
    slices = ramp((len(positions_mm), 3, 4)) if values is None else values
    for n, position in enumerate(positions_mm):
        chosen = {
            "PixelSpacing": list(SPACING),
            "ImageOrientationPatient": list(orientation),
            "ImagePositionPatient": list(map(float, position)),
            "InstanceNumber": n + 1,
            **{k: v(n) if callable(v) else v for k, v in elements.items()},
        }
        save(image(slices[n], **chosen), folder / f"{prefix}{n:03}.dcm")
    return slices


def affine(
    first_mm: Sequence[float],
    step_mm: Sequence[float],
    *,
    orientation: Sequence[float] = AXIAL,
    spacing_mm: Sequence[float] = SPACING,
) -> NDArray[np.float64]:
    """What the standard says (PS3.3 C.7.6.2.1.1), with the step from slice to slice as third column."""
    made = np.eye(4)
    made[:3, 0] = np.array(orientation[:3]) * spacing_mm[1]
    made[:3, 1] = np.array(orientation[3:]) * spacing_mm[0]
    made[:3, 2], made[:3, 3] = step_mm, first_mm
    return made


def item(**content: Any) -> Items:
    """A sequence of one item."""
    made = Dataset()
    for keyword, value in content.items():
        setattr(made, keyword, value)
    return Items([made])


def enhanced(
    pixels: NDArray[Any],
    positions_mm: Sequence[Sequence[float]] | None,
    *,
    each: Callable[[int], dict[str, Any]] = lambda n: {},
    **elements: Any,
) -> Dataset:
    """An enhanced MR object of (K, J, I) pixels; `each` gives functional groups of a frame."""
    common = Dataset()
    if positions_mm is not None:
        common.PixelMeasuresSequence = item(PixelSpacing=list(SPACING), SliceThickness=9)
        common.PlaneOrientationSequence = item(ImageOrientationPatient=list(AXIAL))
    frames = []
    for n in range(len(pixels)):
        frame = Dataset()
        if positions_mm is not None:
            frame.PlanePositionSequence = item(ImagePositionPatient=list(map(float, positions_mm[n])))
        for keyword, group in each(n).items():
            setattr(frame, keyword, group)
        frames.append(frame)
    kind = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1", "Modality": "MR"}
    groups = {
        "SharedFunctionalGroupsSequence": Items([common]),
        "PerFrameFunctionalGroupsSequence": Items(frames),
    }
    return image(pixels, **{**kind, **groups, **elements})


def mosaic(
    slices: NDArray[Any],
    *,
    first_mm: Sequence[float] = (0.0, 0.0, 0.0),
    step_mm: float = 3.0,
    downwards: bool = False,
    private: bytes | None = None,
    number: int = 1,
    **elements: Any,
) -> Dataset:
    """A Siemens mosaic of (K, J, I) slices whose first voxel lies at `first_mm`; spacing 2.0, 1.5 mm."""
    count, rows, columns = slices.shape
    side = int(np.ceil(np.sqrt(count)))
    padded = np.zeros((side * side, rows, columns), slices.dtype)
    padded[:count] = slices
    picture = padded.reshape(side, side, rows, columns).swapaxes(1, 2).reshape(side * rows, side * columns)
    # the position is that of the corner if the whole mosaic were one slice around the same centre
    corner = np.array(first_mm) - [1.5 * columns * (side - 1) / 2, 2.0 * rows * (side - 1) / 2, 0]
    given = {
        "Modality": "MR",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
        "PixelSpacing": [2.0, 1.5],
        "ImageOrientationPatient": list(AXIAL),
        "ImagePositionPatient": corner.tolist(),
        "SpacingBetweenSlices": step_mm,
        "InstanceNumber": number,
    }
    made = image(picture, **{**given, **elements})
    normal = [0.0, 0.0, -1.0 if downwards else 1.0]
    csa = _csa({"NumberOfImagesInMosaic": ("US", [count]), "SliceNormalVector": ("FD", normal)})
    made.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
    made.add_new(0x00291010, "OB", csa if private is None else private)
    return made


def _csa(tags: dict[str, tuple[str, Sequence[float]]]) -> bytes:
    """A Siemens CSA2 header, as nibabel describes its layout."""
    made = b"SV10\4\3\2\1" + struct.pack("<2I", len(tags), 77)
    for name, (vr, values) in tags.items():
        made += struct.pack("<64si4s3i", name.encode(), len(values), vr.encode(), 0, len(values), 77)
        for value in values:
            written = str(value).encode() + b"\0"
            made += struct.pack("<4i", len(written), len(written), 77, len(written))
            made += written + b"\0" * (-len(written) % 4)
    return made + b"\0" * (len(made) % 2)
