"""What the name of a file says of it in a set of images and masks: which of the two, and of which case."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hounsfield.core.index import Series
from hounsfield.io.source import INSIDE

__all__ = ["Named", "named", "without_common_folders", "words_of"]

_MASK = re.compile(
    r"masks?|seg(mentation)?s?|labels?(tr|ts)?|gt|groundtruth|truth|annotations?|annotated|manual\d*|contours?"
    r"|(1st|2nd|3rd|first|second)(ho|observer|manual|expert|reader)?"
)
_SECOND = re.compile(r"(2nd|3rd|second)\w*|manual[2-9]\d*")
_IMAGE = re.compile(r"images?(tr|ts)?|img|imgs|pictures?|volumes?|ground|fov")
_PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_ENDING = re.compile(
    r"(\.(nii|gz|mha|mhd|nrrd|dcm|tiff?|png|jpe?g|gif|bmp|pgm|ppm|npz|npy))+$", re.IGNORECASE
)
_CHANNEL = re.compile(r"\d{4}")


@dataclass(frozen=True, slots=True)
class Named:
    """A series with what its name says.

    `is_mask` where a word of it says so; `second` where it is another reader's than the first. `folders` and
    `stem` are the words left of its folders and its name when those that say image, mask or part are
    taken away, in lower case; `channel` is a number of four digits at the end (nnU-Net's), else "".
    """

    series: Series
    is_mask: bool
    second: bool
    folders: tuple[str, ...]
    stem: tuple[str, ...]
    channel: str
    folder: str

    @property
    def key(self) -> tuple[str, ...]:
        """All words left, folders first."""
        return (*self.folders, *self.stem)


def named(series: Sequence[Series]) -> list[Named]:
    """What the names of all series say; folders that all share say nothing.

    >>> of = lambda *files: [Series(id=f, files=(f,), reader="nifti", shape=(1, 2, 2)) for f in files]
    >>> [(n.is_mask, n.key) for n in named(of("d/images/a_1.nii.gz", "d/labels/a_1.nii.gz"))]
    [(False, ('a', '1')), (True, ('a', '1'))]
    """
    paths = [_path(s) for s in series]
    shared = without_common_folders([p[:-1] for p in paths])
    return [_named(s, p[:-1][shared:], p[-1]) for s, p in zip(series, paths, strict=True)]


def without_common_folders(rows: Sequence[Sequence[str]]) -> int:
    """How many leading folders are alike in all rows.

    >>> without_common_folders([("a", "b"), ("a", "c")])
    1
    """
    shared = 0
    while rows and all(len(r) > shared for r in rows) and len({r[shared] for r in rows}) == 1:
        shared += 1
    return shared


def _path(series: Series) -> tuple[str, ...]:
    """Folders and name of a series; one of several files is named by its Series Instance UID."""
    parts = series.files[0].replace(INSIDE, "/").split("/")
    if series.reader == "dicom":
        return (*parts[:-1], series.series or _ENDING.sub("", parts[-1]))
    return (*parts[:-1], _ENDING.sub("", parts[-1]))


def _named(series: Series, folders: Sequence[str], stem: str) -> Named:
    uid = series.reader == "dicom" and bool(series.series)
    said = [words_of(f) for f in folders]
    words = (stem.casefold(),) if uid or re.fullmatch(r"[0-9.]{20,}", stem) else words_of(stem)
    everything = [w for ws in said for w in ws] + list(words)
    masks = [w for w in everything if _MASK.fullmatch(w)]
    numbered = words[-1] if len(words) > 1 and _CHANNEL.fullmatch(words[-1]) and not masks else ""
    if numbered:
        words = words[:-1]
    return Named(
        series,
        bool(masks),
        any(_SECOND.fullmatch(w) for w in masks),
        tuple(w for ws in said for w in ws if not _says_nothing(w) and w not in _PARTS),
        tuple(w for w in words if not _says_nothing(w)),
        numbered,
        "/".join(folders),
    )


def words_of(text: str) -> tuple[str, ...]:
    """The words of a name, in lower case.

    >>> words_of("Case-7_T1.ce")
    ('case', '7', 't1', 'ce')
    """
    return tuple(w for w in re.split(r"[_\-. ]+", text.casefold()) if w)


def _says_nothing(word: str) -> bool:
    return bool(_MASK.fullmatch(word) or _IMAGE.fullmatch(word))
