"""The elements of a DICOM header as plain Python values; no name of a person is ever read."""

from __future__ import annotations

import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "Elements",
    "HeaderFault",
    "PixelStart",
    "age_in_years",
    "faults",
    "read_until_pixels",
    "silence_pydicom",
]

_WANTED = """
    SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID PatientID IssuerOfPatientID PatientAge
    PatientBirthDate PatientSex StudyDate InstitutionName Manufacturer ManufacturerModelName Modality
    BodyPartExamined ImageLaterality Laterality ViewPosition ImageType InstanceNumber Rows Columns
    NumberOfFrames SamplesPerPixel PhotometricInterpretation PlanarConfiguration BitsAllocated BitsStored
    HighBit PixelRepresentation PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing SliceThickness
    ImagePositionPatient ImageOrientationPatient RescaleSlope RescaleIntercept RescaleType AcquisitionNumber
    EchoNumbers EchoTime TemporalPositionIdentifier DiffusionBValue TriggerTime AcquisitionTime
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence RedPaletteColorLookupTableDescriptor
    ModalityLUTSequence
""".split()  # noqa: SIM905 - fifty keywords, readable
_PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}


@cache
def faults() -> tuple[type[Exception], ...]:
    """What pydicom raises on a file that is damaged or does not follow the standard."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    known = (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        NotImplementedError,
        OSError,
        EOFError,
    )
    rarer = (ArithmeticError, RuntimeError, struct.error, zlib.error, BytesLengthException, InvalidDicomError)
    return (*known, *rarer)


class HeaderFault(ValueError):
    """A header that contradicts the standard; its message is safe to show."""


@dataclass(frozen=True, slots=True)
class PixelStart:
    """How long the pixel data are: declared bytes (-1 if open-ended) and bytes that the file holds.

    `closed` is False where open-ended pixel data, as compressed ones are, break off.
    """

    declared: int
    available: int
    closed: bool = True


@dataclass(frozen=True, slots=True)
class Elements:
    """A dataset asked by keyword; an absent or empty element gives the default.

    A malformed number raises one of `faults()`, which the caller turns into a refusal.
    """

    dataset: Dataset

    def has(self, keyword: str) -> bool:
        return self.dataset.get(keyword) not in (None, "")

    def text(self, keyword: str) -> str:
        value = self.dataset.get(keyword)
        return "" if value is None else " ".join(str(value).split())

    def texts(self, keyword: str) -> tuple[str, ...]:
        value = self.dataset.get(keyword)
        if value is None or isinstance(value, str):
            return (value,) if value else ()
        return tuple(str(v) for v in value)

    def whole(self, keyword: str, default: int) -> int:
        value = self.dataset.get(keyword)
        return default if value in (None, "") else int(value)

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """`count` finite numbers, or () where the element is absent or empty."""
        value = self.dataset.get(keyword)
        if value is None or value == "" or (hasattr(value, "__len__") and not len(value)):
            return ()
        numbers = tuple(float(v) for v in (value if hasattr(value, "__len__") else (value,)))
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise HeaderFault(f"{keyword} holds {len(numbers)} values, expected {count} finite ones")
        return numbers

    def group(self, *keywords: str) -> Elements | None:
        """The first item of a sequence within a sequence …, None where one is absent."""
        here: Any = self.dataset
        for keyword in keywords:
            items = here.get(keyword)
            if not items:
                return None
            here = items[0]
        return Elements(here)

    def items(self, keyword: str) -> list[Elements]:
        return [Elements(item) for item in self.dataset.get(keyword) or ()]

    @staticmethod
    def name(uid: str) -> str:
        """The standard's name of a UID, "" if it has none."""
        from pydicom.uid import UID

        name = UID(uid).name if uid else ""
        return "" if name == uid else name


def read_until_pixels(file: IO[bytes], *, size: int) -> tuple[Dataset, PixelStart | None]:
    """Read the wanted elements of a file of `size` bytes and stop where its pixels begin.

    Raises one of `faults()` where the file is not DICOM at all.
    """
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    silence_pydicom()
    declared: list[int] = []

    def at_pixels(tag: int, _vr: str | None, length: int) -> bool:
        if tag in _PIXELS:
            declared.append(-1 if length == 0xFFFFFFFF else length)
        return tag in _PIXELS

    wanted = [Tag(keyword) for keyword in _WANTED]
    stop: Callable[[Any, str | None, int], bool] = at_pixels
    dataset = read_partial(cast(BinaryIO, file), stop_when=stop, force=True, specific_tags=list(wanted))
    if not declared:
        return dataset, None
    deflated = dataset.file_meta.get("TransferSyntaxUID") == "1.2.840.10008.1.2.1.99"
    # an element's header is 12 bytes with a written 32-bit length, 8 where the type is implicit
    header = 8 if dataset.original_encoding[0] else 12
    if deflated:
        return dataset, PixelStart(declared[0], declared[0])
    start = file.tell() + header
    closed = declared[0] >= 0 or _closed(file, start, size)
    return dataset, PixelStart(declared[0], max(0, size - start), closed)


def _closed(file: IO[bytes], start: int, size: int) -> bool:
    """True if all fragments from `start` on lie in the file and end with a delimiter (PS3.5 A.4)."""
    while start + 8 <= size:
        file.seek(start)
        mark = file.read(8)
        if mark[:4] == b"\xfe\xff\xdd\xe0":
            return True
        if mark[:4] != b"\xfe\xff\x00\xe0":
            return False
        start += 8 + int.from_bytes(mark[4:], "little")
    return False


@cache
def silence_pydicom() -> None:
    """Drop pydicom's warnings: they quote the values of elements, which may name a patient.

    What they warn of is checked where the value is used, and refused there.
    """
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")


def age_in_years(age: str, birth_date: str, study_date: str) -> float | None:
    """PatientAge ("045Y", "010M", "03W", "012D") in years, else from birth to study; None if unknown.

    >>> age_in_years("045Y", "", ""), age_in_years("006M", "", ""), age_in_years("", "19600615", "20200615")
    (45.0, 0.5, 60.0)
    """
    match = re.fullmatch(r"(\d{1,3})([DWMY])", age.strip().upper())
    if match:
        return round(int(match[1]) / {"D": 365.25, "W": 52.1775, "M": 12, "Y": 1}[match[2]], 2)
    try:
        year, month, day = _date(birth_date)
        at_year, at_month, at_day = _date(study_date)
    except ValueError:
        return None
    years = at_year - year + (at_month - month) / 12 + (at_day - day) / 365.25
    return round(years, 2) if 0 <= years <= 120 else None


def _date(written: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"(\d{4})[.\-]?(\d{2})[.\-]?(\d{2})", written.strip())
    if not match or not (1 <= int(match[2]) <= 12 and 1 <= int(match[3]) <= 31):
        raise ValueError("not a date")
    return int(match[1]), int(match[2]), int(match[3])
