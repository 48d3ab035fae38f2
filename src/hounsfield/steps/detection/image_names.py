"""Which image of an index a source of annotations means by a UID, a file, a file's name or its stem."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.redact import pattern
from hounsfield.io.source import INSIDE

__all__ = ["ImageNames", "require_some"]

_MASK_WORD = re.compile(r"[ ._-]*(?:masks?|seg|segmentation|labels?|gt|annotations?)$", re.IGNORECASE)


class ImageNames:
    """Images by what may name them: series, SOP or study UID of one image, path, file name, stem, folder.

    >>> names = ImageNames(Index("x", (Series("image-1", ("a/b.nii.gz",), "nifti", (4, 4, 4)),)))
    >>> [s.id for s in names.meant("b.nii.gz")], [s.id for s in names.meant_by_mask("masks/b_mask.nii.gz")]
    (['image-1'], ['image-1'])
    """

    def __init__(self, index: Index) -> None:
        self._known: list[dict[str, list[Series]]] = [{}, {}, {}]
        for series in index.series:
            for rank, names in enumerate(_names_of(series)):
                for name in names:
                    self._known[rank].setdefault(name, []).append(series)

    def meant(self, name: str) -> tuple[Series, ...]:
        """The images that a name fits, by its most telling form: none, one, or several."""
        for rank, names in enumerate(_forms(name)):
            for form in names:
                for known in self._known[rank:]:
                    if form in known:
                        return tuple(known[form])
        return ()

    def meant_by_mask(self, name: str) -> tuple[Series, ...]:
        """As `meant`, for a file that may bear a word such as "_mask" at the end of its name."""
        bare = _stem(name)
        for form in (name, bare, _MASK_WORD.sub("", bare)):
            if found := self.meant(form):
                return found
        return ()

    def one(self, name: str) -> Series | None:
        """The image meant, None where there is none. Raises BadInput where there are several."""
        found = self.meant(name)
        if len(found) > 1:
            raise BadInput(
                f"an image named {pattern(name)} (A a letter, 9 a digit) in the annotations fits "
                f"{len(found)} images; expected one: name its series or its whole path"
            )
        return found[0] if found else None


def require_some(found: int, missing: Iterable[str], *, what: str, index: Index) -> tuple[str, ...]:
    """A note on the images that the index does not hold; BadInput where it holds none of those named."""
    absent = sorted(set(missing))
    if not absent:
        return ()
    if not found:
        raise BadInput(
            f"{what} names {len(absent)} image(s), for example {pattern(absent[0])} (A a letter, 9 a digit), "
            f"and none is among the {len(index.series)} images; expected series UIDs or file names of these "
            "images; give the annotations of these images"
        )
    return (f"{what} names {len(absent)} image(s) that are not here; what was marked in them was left out",)


def _names_of(series: Series) -> tuple[set[str], set[str], set[str]]:
    """The names of an image: UIDs and paths; names of files; stems and the folder that it has for itself."""
    sure = {series.series, series.sop} - {""}
    names: set[str] = set()
    stems: set[str] = set()
    for file in series.files:
        plain = _plain(file)
        sure |= {file, plain}
        names.add(PurePosixPath(plain).name)
        stems.add(_stem(plain))
    if len(series.files) > 1:
        sure.add(str(PurePosixPath(_plain(series.files[0])).parent))
    if series.position >= 0:
        sure.add(series.id)
    return sure, names, stems


def _forms(name: str) -> tuple[tuple[str, ...], ...]:
    plain = _plain(name)
    return (name, plain), (PurePosixPath(plain).name,), (_stem(plain),)


def _plain(path: str) -> str:
    return path.replace("\\", "/").split(INSIDE)[-1].strip()


def _stem(path: str) -> str:
    name = PurePosixPath(_plain(path)).name
    if name.casefold().endswith(".nii.gz"):
        return name[:-7]
    ending = PurePosixPath(name).suffix
    return name if not ending or ending[1:].isdigit() else name[: -len(ending)]  # a UID ends in a number
