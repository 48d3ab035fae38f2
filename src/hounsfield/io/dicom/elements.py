"""The elements of a DICOM header as plain Python values; no name of a person is ever read."""

from __future__ import annotations

import math
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "Elements",
    "HeaderFault",
    "age_in_years",
    "faults",
    "silence_pydicom",
]


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
