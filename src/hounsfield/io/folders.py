"""What the folders say about images: their class and their part (train, val, test).

Level by level: a level at which all images agree says nothing; a level that holds only names of
parts is the part; if exactly one other level is left, it is the class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hounsfield.io.source import INSIDE

__all__ = ["Place", "places"]

Place = tuple[str, str]

_PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# Folders that say what kind of file they hold; beside such a folder no folder is a class.
_KINDS = {
    "image", "images", "img", "imgs", "picture", "pictures", "scan", "scans", "raw", "data",
    "label", "labels", "mask", "masks", "annotation", "annotations", "segmentation", "segmentations",
    "ground_truth", "groundtruth", "gt", "png", "jpg", "jpeg", "tif", "tiff", "nifti", "dicom",
}  # fmt: skip
# patient01, STS_003, sub-7: numbered people; "grade2", "class01" and "3" may be classes.
_PATIENT = re.compile(
    r"(patient|pat|subject|subj|sub|case|person|p|id|study|visit|series)[ _-]?\d+"
    r"|(?!class|grade|stage|type|label|birads|score|level|group)[a-z]+[ _-]?\d{2,}|\d{3,}",
    re.IGNORECASE,
)
_MANY = 20


def places(members: Sequence[str]) -> dict[str, Place]:
    """The (label, part) of each member; ("", "") where the folders are not consistent.

    Classes need two folders or more, one depth for all images, and names that are neither kinds of
    file ("images", "masks") nor numbered people ("patient01", "STS_003"). More than 20 folders that
    hold less than two images each on average are taken for people too.

    >>> places(["d/train/cat/1.png", "d/train/dog/2.png", "d/test/cat/3.png"])["d/test/cat/3.png"]
    ('cat', 'test')
    >>> places(["images/1.png", "masks/1.png"])["images/1.png"]
    ('', '')
    """
    rows = _without_common_start([_folders(m) for m in members])
    levels = list(zip(*rows, strict=True)) if len({len(r) for r in rows}) == 1 else []
    if not levels:
        firsts = [r[0] if r else "" for r in rows]
        parts = _as_parts(firsts) or [""] * len(rows)
        return {m: ("", p) for m, p in zip(members, parts, strict=True)}
    part = next((found for level in levels if (found := _as_parts(level))), None)
    others = [level for level in levels if len(set(level)) > 1 and not _as_parts(level)]
    labels = others[0] if len(others) == 1 and _are_classes(others[0]) else ("",) * len(rows)
    return {m: (labels[n], part[n] if part else "") for n, m in enumerate(members)}


def _folders(member: str) -> tuple[str, ...]:
    folders = member.replace(INSIDE, "/").split("/")[:-1]
    return tuple(f[:-4] if f.casefold().endswith(".zip") else f for f in folders)


def _without_common_start(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Drop leading folders shared by all, but keep one that names a part."""
    while rows and all(rows) and len({r[0] for r in rows}) == 1 and rows[0][0].casefold() not in _PARTS:
        rows = [r[1:] for r in rows]
    return rows


def _as_parts(level: Sequence[str]) -> list[str] | None:
    parts = [_PARTS.get(name.casefold(), "") for name in level]
    return parts if all(parts) else None


def _are_classes(level: Sequence[str]) -> bool:
    names = set(level)
    if all(_PATIENT.fullmatch(name) for name in names):
        return False
    if any(name.casefold() in _KINDS for name in names):
        return False
    return len(names) <= _MANY or 2 * len(names) <= len(level)
