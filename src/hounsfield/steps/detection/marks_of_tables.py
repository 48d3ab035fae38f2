"""Objects of a CSV: spheres in world coordinates as LUNA16 lists them, or boxes in pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.registry import nearest
from hounsfield.steps.detection.drawn import Drawn, Grids, Told, spacing_of
from hounsfield.steps.detection.image_names import ImageNames, require_some
from hounsfield.steps.labels import LabelTable, read_labels

__all__ = ["marks_of_table"]

Row = Mapping[str, str]

_IMAGE = ("seriesuid", "series_uid", "seriesinstanceuid", "series", "file", "filename", "file_name", "path",
          "image", "image_id", "image_file")  # fmt: skip
_CLASS = ("class", "label", "category", "class_name")
_EXCLUDED = ("excluded", "irrelevant", "ignore")
_WORLD = ("coordX", "coordY", "coordZ")
_DIAMETER = ("diameter_mm", "diameter")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SLICES = ("zmin", "zmax")
_YES, _NO = {"1", "1.0", "true", "yes", "y"}, {"", "0", "0.0", "false", "no", "n"}
_UNKNOWN_MM = 10.0  # what LUNA16 takes an excluded finding of unknown size for


def marks_of_table(path: Path, index: Index, *, plain: str) -> Told:
    """Objects of a table; `plain` is the class of those that have none of their own.

    World coordinates: a column that names the series (or the file), coordX, coordY, coordZ in LPS mm and
    diameter_mm; pixel boxes: a column that names the file, xmin, ymin, xmax, ymax with half-open corners (the
    box of the pixels 3, 4, 5 runs from 3 to 6), in a volume zmin and zmax too. A column class (or label)
    names the class, one excluded (1 or 0) what does not count. A row without coordinates says that its image
    has none. Where such rows stand, an image that no row names is unmarked; else it has none.
    """
    table = read_labels(path)
    known = {c.casefold(): c for c in table.columns}
    name = next((known[c] for c in _IMAGE if c in known), None)
    world, boxes = all(c.casefold() in known for c in _WORLD), all(c in known for c in _CORNERS)
    wanted = _CORNERS if any(c in known for c in _CORNERS) and not world else (*_WORLD, _DIAMETER[0])
    diameter = next((known[c] for c in _DIAMETER if c in known), None)
    if name is None or not (boxes or (world and diameter)):
        raise BadInput(_columns_missing(table, known, wanted, name))
    columns = [known[c.casefold()] for c in (_WORLD if world else _CORNERS)]
    if world and diameter:
        columns.append(diameter)
    else:
        columns += [known[c] for c in _SLICES if c in known]
    named, empty, missing = _by_image(table, index, name, columns)
    numbers = _numbers_of(table, [row for rows in named.values() for row in rows], columns)
    objects: list[Drawn] = []
    by_id = {s.id: s for s in index.series}
    with Grids(index) as grids:
        for series_id, rows in named.items():
            for row in rows:
                values = numbers[id(row)]
                about = (_class_of(row, known, plain), _is_excluded(table, row, known))
                make = _sphere if world else _box
                objects.append(make(by_id[series_id], values, about, grids))
    notes = require_some(len(named) + len(empty), missing, what=table.name, index=index)
    spoken = frozenset(named) | empty if empty else frozenset(by_id)
    if not empty and (none := len(by_id) - len(named)):
        notes += (f"{none} image(s) without a row in {table.name} have nothing to be found",)
    return Told(tuple(objects), spoken, notes)


def _columns_missing(
    table: LabelTable, known: Mapping[str, str], wanted: Sequence[str], name: str | None
) -> str:
    lacking = [c for c in wanted if c.casefold() not in known] + ([] if name else ["seriesuid (or file)"])
    hint = nearest(lacking[0], list(table.columns)) if lacking else "correct its header line"
    return (
        f"{table.name} has no column {', '.join(lacking)}; expected seriesuid, coordX, coordY, coordZ, "
        f"diameter_mm (LPS mm) or file, xmin, ymin, xmax, ymax (pixels); {hint}"
    )


def _by_image(
    table: LabelTable, index: Index, name: str, columns: Sequence[str]
) -> tuple[dict[str, list[Row]], frozenset[str], list[str]]:
    """Rows with coordinates by image, the images said to have none, and the names of images not here."""
    names = ImageNames(index)
    named: dict[str, list[Row]] = {}
    empty: set[str] = set()
    missing: list[str] = []
    for row in table.rows:
        series = names.one(row.get(name, ""))
        if series is None:
            missing.append(row.get(name, ""))
        elif not any(row.get(c, "") for c in columns):
            empty.add(series.id)
        else:
            named.setdefault(series.id, []).append(row)
    return named, frozenset(empty), missing


def _numbers_of(
    table: LabelTable, rows: Sequence[Row], columns: Sequence[str]
) -> dict[int, tuple[float, ...]]:
    found: dict[int, tuple[float, ...]] = {}
    bad = 0
    for row in rows:
        try:
            values = tuple(float(row.get(c, "")) for c in columns)
        except ValueError:
            values = (math.nan,)
        bad += not all(math.isfinite(v) for v in values)
        found[id(row)] = values
    if bad:
        raise BadInput(
            f"{bad} row(s) of {table.name} hold something other than a number in {', '.join(columns)}; "
            "expected numbers with a decimal point, or all of them empty where an image has no object"
        )
    return found


def _class_of(row: Row, known: Mapping[str, str], plain: str) -> str:
    column = next((known[c] for c in _CLASS if c in known), "")
    return row.get(column, "") or plain


def _is_excluded(table: LabelTable, row: Row, known: Mapping[str, str]) -> bool:
    column = next((known[c] for c in _EXCLUDED if c in known), "")
    said = row.get(column, "").casefold()
    if said not in _YES | _NO:
        raise BadInput(f'{table.name} says something other than 1 or 0 in column "{column}"; correct it')
    return said in _YES


def _sphere(series: Series, values: Sequence[float], about: tuple[str, bool], grids: Grids) -> Drawn:
    x, y, z, diameter = values
    name, excluded = about
    if excluded and diameter <= 0:
        diameter = _UNKNOWN_MM
    k, j, i = grids.voxels(series, np.array([[x, y, z]]))[0].tolist()
    size = (diameter / spacing_of(grids.affine(series))).tolist()
    if series.is_flat:
        size[0] = 1.0 if diameter > 0 else diameter
    return Drawn(series.id, name, (k, j, i), (size[0], size[1], size[2]), "sphere", diameter, excluded)


def _box(series: Series, values: Sequence[float], about: tuple[str, bool], grids: Grids) -> Drawn:  # noqa: ARG001
    low_i, low_j, high_i, high_j = values[:4]
    low_k, high_k = values[4:] if len(values) == 6 else (0.0, 1.0)
    if len(values) < 6 and not series.is_flat:
        raise BadInput(
            f"image {series.id} is a volume of {series.shape[0]} slices, and its boxes have no zmin, zmax; "
            "expected boxes in three dimensions; add the columns, half-open as the others"
        )
    return Drawn(
        series.id,
        about[0],
        ((low_k + high_k - 1) / 2, (low_j + high_j - 1) / 2, (low_i + high_i - 1) / 2),
        (high_k - low_k, high_j - low_j, high_i - low_i),
        excluded=about[1],
    )
