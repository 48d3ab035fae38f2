"""Where marks come from: what readers marked in each image, in tables, COCO files, masks or DICOM results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index
from hounsfield.core.marked import Marked
from hounsfield.core.redact import listed, looks_like_ids
from hounsfield.core.registry import nearest
from hounsfield.io.dicom.structures import plain_name
from hounsfield.steps.detection.drawn import Drawn, Told

__all__ = ["Marks", "read_marks"]

_PLAIN = "lesion"
_TABLES = (".csv", ".tsv", ".txt")
_ROUNDING = 1.0  # voxels that a box may reach beyond its image


@dataclass(frozen=True, slots=True)
class Marks:
    """What readers marked: the objects of every image that the source speaks of, by the image's id.

    An image with an empty tuple was looked at and has nothing; one that is not in `by_series` was not
    marked. `classes` are the names of the numbers `Marked.label`; `notes` say what was left out or assumed.
    """

    by_series: Mapping[str, tuple[Marked, ...]]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many objects there are, excluded ones too."""
        return sum(map(len, self.by_series.values()))


def read_marks(path: Path | str, index: Index, *, classes: Sequence[str] = ()) -> Marks:
    """The marks of the images of an index, from a file or a folder.

    A .json is COCO; a .csv holds world coordinates or pixel boxes (`marks_of_tables` says which columns); a
    NIfTI file, a picture or a folder of them are masks; a DICOM file or a folder or zip of them are reports
    (SR TID 1500), segmentations and structure sets. A folder that holds exactly one .csv or .json and no mask
    nor DICOM file is that file.

    `classes` fixes the names and their numbers; of structure sets and other DICOM results those of other
    names are left out. Without it they are those found, in the source's order or sorted, "lesion" where the
    source names none. Raises BadInput for a source of another form, for sizes of 0 or less, for objects
    outside their image (how many and how far), for names that are not among the classes or differ only in
    spelling, and where no image is one of the index.

    >>> import tempfile
    >>> from hounsfield.io import index_of
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.pgm").write_bytes(b"P5 6 6 255 " + bytes(36))
    ...     _ = (Path(folder) / "boxes.csv").write_text("file,xmin,ymin,xmax,ymax\\na.pgm,1,2,4,4\\n")
    ...     marks = read_marks(Path(folder) / "boxes.csv", index_of(Path(folder) / "a.pgm"))
    >>> marks.classes, marks.by_series
    (('lesion',), {'image-00001': (Marked(label=0, centre=(0.0, 2.5, 2.0), size=(1.0, 2.0, 3.0),
    shape='box', diameter_mm=None, excluded=False),)})
    """
    given = tuple(c.strip() for c in classes)
    _require_apart(given)
    told = _told(Path(path), index, given)
    names, kept, notes = _named(told, given)
    _require_sizes(kept)
    shapes = {s.id: s.shape for s in index.series}
    _require_inside(kept, shapes)
    by_series: dict[str, list[Marked]] = {s: [] for s in shapes if s in told.images}
    for one in kept:
        marked = Marked(names.index(one.name), one.centre, one.size, one.shape, one.diameter_mm, one.excluded)
        by_series[one.series].append(marked)
    return Marks({s: tuple(m) for s, m in by_series.items()}, names, (*told.notes, *notes))


def _told(path: Path, index: Index, classes: tuple[str, ...]) -> Told:
    from hounsfield.steps.detection.marks_of_coco import marks_of_coco
    from hounsfield.steps.detection.marks_of_dicom import marks_of_dicom
    from hounsfield.steps.detection.marks_of_masks import marks_of_masks
    from hounsfield.steps.detection.marks_of_tables import marks_of_table

    plain = classes[0] if len(classes) == 1 else _PLAIN
    path, kind = _kind_of(path)
    if kind == "coco":
        return marks_of_coco(path, index)
    if kind == "table":
        return marks_of_table(path, index, plain=plain)
    if kind == "masks":
        return marks_of_masks(path, index, classes=classes, plain=plain)
    return marks_of_dicom(path, index)


def _kind_of(path: Path) -> tuple[Path, str]:
    """The file or folder to read, and what it is: "coco", "table", "masks" or "dicom"."""
    from hounsfield.io.dicom.reader import DicomReader
    from hounsfield.io.reader import HEAD_BYTES, READERS
    from hounsfield.io.source import Source

    ending = path.suffix.casefold()
    if ending == ".json" and path.is_file():
        return path, "coco"
    if ending in _TABLES and not path.is_dir():
        return path, "table"
    with Source(path) as source:
        members = source.members
        dicom = any(DicomReader().claims(m, source.head(m, HEAD_BYTES)) for m in members)
        masks = any(READERS[r].claims(m, b"") for m in members for r in ("nifti", "raster"))
        tables = [m for m in members if m.casefold().endswith((".json", *_TABLES))]
        if dicom and not masks:
            return path, "dicom"
        if masks and not dicom:
            return path, "masks"
        if len(tables) == 1 and not dicom and not masks and source.local_path(tables[0]):
            return _kind_of(path / tables[0])
    what = "DICOM files and masks" if dicom and masks else f"{len(members)} file(s), none of them annotations"
    raise BadInput(
        f"{path.name} holds {what}; expected a COCO .json, a .csv, a folder of masks (NIfTI or pictures), or "
        "DICOM reports, segmentations or structure sets; give the one file or folder of the annotations"
    )


def _named(told: Told, given: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Drawn, ...], tuple[str, ...]]:
    """The classes, the objects that are of them, and a note on the others."""
    found = tuple(dict.fromkeys(o.name for o in told.objects))
    if not given:
        _require_apart(found)
        names = told.names or tuple(sorted(found))
        _require_apart(names)
        return names or (_PLAIN,), told.objects, ()
    others = [n for n in found if n not in given]
    if not others:
        return given, told.objects, ()
    known = {plain_name(g): g for g in given}
    alike = next((n for n in others if plain_name(n) in known), None)
    if alike:
        raise BadInput(
            f'the annotations name "{alike}" where the classes say "{known[plain_name(alike)]}"; expected '
            "one spelling of a name; correct either"
        )
    if told.others:
        kept = tuple(o for o in told.objects if o.name in given)
        left = len(told.objects) - len(kept)
        return given, kept, (f"{left} object(s) of other names than the classes were left out",)
    ids = looks_like_ids(len(found), len(told.objects))
    raise BadInput(
        f"the annotations name {listed(others, ids=ids)}, which is not among the classes "
        f"{listed(given, ids=False)}; {nearest(others[0], given)} Correct the annotations or the classes"
    )


def _require_apart(names: Sequence[str]) -> None:
    """Raise BadInput for a class without a name, or two names that differ only in spelling."""
    if any(not plain_name(n) for n in names):
        raise BadInput("a class has no name; expected letters or figures; name every class")
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(plain_name(name), name)
        if other != name or names.count(name) > 1:
            raise BadInput(
                f'"{other}" and "{name}" are two names for one class; expected one spelling; correct the '
                "annotations or the classes"
            )


def _require_sizes(objects: Sequence[Drawn]) -> None:
    small = [o for o in objects if not all(s > 0 for s in o.size)]
    if small:
        least = min(min(o.size) for o in small)
        raise BadInput(
            f"{len(small)} of {len(objects)} objects have a size of 0 or less (the smallest: {least:.3g} "
            "voxels); expected sizes above 0, upper corners above lower ones; correct the annotations"
        )


def _require_inside(objects: Sequence[Drawn], shapes: Mapping[str, tuple[int, int, int]]) -> None:
    """Raise BadInput where centres lie outside their image, or boxes reach more than a voxel beyond it."""
    far = []
    for one in objects:
        centre, size = np.array(one.centre), np.array(one.size)
        reach = np.zeros(3) if one.shape == "sphere" else np.maximum(size / 2 - _ROUNDING, 0)
        beyond = np.maximum(-0.5 - (centre - reach), centre + reach - (np.array(shapes[one.series]) - 0.5))
        far.append(float(beyond.max()))
    outside = [f for f in far if f > 1e-3]
    if outside:
        raise BadInput(
            f"{len(outside)} of {len(objects)} objects lie outside their image, by up to {max(outside):.1f} "
            "voxels; expected centres and boxes within the images; check which images they belong to, and "
            "whether they are in mm (LPS) or in voxels"
        )
