"""What a scan found: every image that can be read, and every file that was refused with its reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Index", "Refused", "Series"]


@dataclass(frozen=True, slots=True)
class Series:
    """One image that a network may see: a radiograph, a photograph, a volume, a row of an array.

    `files` are the members that hold it, relative to the source ("a/b.dcm", or "x.zip::a/b.dcm"
    for a member of a zip); for an array file, `position` is the row and `part` the split that the
    file names. `patient` is empty when the source holds no patient identity. `shape` is
    (K, J, I); `spacing_mm` is (k, j, i) and empty when unknown. `label` and `part` are what the
    folders or the file itself say ("" when they say nothing; several labels are joined by "|").

    `frames` are the frames of a multi-frame file that make this volume, in order along its normal (()
    for all, in the file's order). `volume` says in words what tells this volume from the others of its
    series ("echo 2", "b-value 1000"). `stack` is "regular" or "tilt" where the slices' places were checked.
    `compressed` is True where the pixels must be decoded. `affine` is the 4 x 4 matrix from voxel (i, j, k)
    to LPS mm, row by row, of a stack, and `digest` a hash of the headers that gave it: while it is the same,
    so is the affine. Of MR, `weighting` is what it is weighted by ("T1", "FLAIR", "T2", …, "" where
    nothing says it), and `contrast_agent` whether the header names one.

    >>> Series(id="a.png", files=("a.png",), reader="raster", shape=(1, 28, 28)).is_flat
    True
    """

    id: str
    files: tuple[str, ...]
    reader: str
    shape: tuple[int, int, int]
    channels: int = 1
    bits: int = 8
    spacing_mm: tuple[float, ...] = ()
    patient: str = ""
    study: str = ""
    series: str = ""
    sop: str = ""
    modality: str = ""
    body_part: str = ""
    laterality: str = ""
    view: str = ""
    sex: str = ""
    age_years: float | None = None
    site: str = ""
    scanner: str = ""
    study_date: str = ""
    photometric: str = ""
    label: str = ""
    part: str = ""
    position: int = -1
    frames: tuple[int, ...] = ()
    volume: str = ""
    stack: str = ""
    compressed: bool = False
    affine: tuple[float, ...] = ()
    digest: str = ""
    weighting: str = ""
    contrast_agent: bool = False

    @property
    def is_flat(self) -> bool:
        """True for a 2D image: one slice."""
        return self.shape[0] == 1


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that was not taken, and why, in one sentence without patient identity."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Index:
    """All that a scan found under one source; `reused` objects were known from an earlier scan.

    >>> Index(source="x", series=(), refused=(Refused("a.txt", "not an image"),)).summary()
    'no image; 1 file refused (not an image: 1)'
    """

    source: str
    series: tuple[Series, ...]
    refused: tuple[Refused, ...] = field(default=())
    reused: int = field(default=0, compare=False)

    def reasons(self) -> dict[str, int]:
        """Refused files by reason, most frequent first; reasons that differ in their numbers only are one.

        >>> Index("x", (), tuple(Refused(f, f"a gap of {n} mm") for n, f in enumerate("ab"))).reasons()
        {'a gap of N mm': 2}
        """
        exact = Counter(r.reason for r in self.refused)
        forms = Counter(_form(reason) for reason in exact)
        merged: Counter[str] = Counter()
        for reason, count in exact.items():
            form = _form(reason)
            merged[form if forms[form] > 1 else reason] += count
        return dict(merged.most_common())

    def summary(self) -> str:
        """One line: how many images, patients and modalities, and what was refused and why."""
        n = len(self.series)
        patients = len({s.patient for s in self.series if s.patient})
        text = "no image" if not n else f"{n} image{'s' * (n != 1)}"
        if patients:
            text += f" of {patients} patient{'s' * (patients != 1)}"
        modalities = Counter(s.modality for s in self.series if s.modality)
        if modalities:
            text += " (" + ", ".join(f"{m} {c}" for m, c in modalities.most_common()) + ")"
        if self.refused:
            reasons = list(self.reasons().items())[:3]
            text += f"; {len(self.refused)} file{'s' * (len(self.refused) != 1)} refused ("
            text += "; ".join(f"{reason}: {count}" for reason, count in reasons) + ")"
        return text


def _form(reason: str) -> str:
    return re.sub(r"\d+(?:[.,]\d+)*", "N", reason)
