"""Where a finding lies, as a label table says it: boxes and circles, carried to what a network sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.plan import Input
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.explain_scores import Truth
from hounsfield.steps.gather import GROUP_COLUMNS, Question
from hounsfield.steps.labels import LabelTable, join_labels, read_labels
from hounsfield.tasks.losses import COVERED
from hounsfield.transforms.field_of_view import crop_to_field, field_of_view
from hounsfield.transforms.foreground import crop_foreground
from hounsfield.transforms.resize import pad_to_aspect, resize

__all__ = ["prepared_mask", "truth_of"]

_BOXES = (
    ("x_min", "y_min", "x_max", "y_max"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x", "y", "width", "height"),
)
_CIRCLE = ("lesion_row", "lesion_col", "lesion_radius_mm")


def truth_of(
    question: Question, index: Index, cases: Sequence[Case], store: PixelStore, plan: Input
) -> Truth | None:
    """The masks of 2D cases whose row in the label table bears a box or a circle; None where no row does.

    Columns (x_min, y_min, x_max, y_max), or (x, y, width, height), are in pixels of the image from its upper
    left corner; (lesion_row, lesion_col, lesion_radius_mm) are pixels from the centre of the first, and mm.
    An empty cell is no finding with a known place. Raises BadInput as `read_labels` and `join_labels` do.
    """
    if not question.labels:
        return None
    table = read_labels(question.labels)
    columns = {c.casefold(): c for c in table.columns}
    shape = next((names for names in (*_BOXES, _CIRCLE) if all(n in columns for n in names)), None)
    if shape is None:
        return None
    rows = _rows(question, index, table)
    series = {c.id: c.images[0] for c in cases if c.images[0].id in rows and c.images[0].is_flat}

    def truth(case: str) -> NDArray[np.bool_] | None:
        if case not in series:
            return None
        numbers = _numbers(rows[series[case].id], [columns[n] for n in shape])
        if numbers is None:
            return None
        image = store.image(series[case].id)
        spacing = store.rows[series[case].id].spacing_mm
        mask = _painted(series[case], shape, numbers, image.shape[2:], spacing)
        return None if mask is None else prepared_mask(image, mask[None], spacing, plan)[0]

    return truth


def _rows(question: Question, index: Index, table: LabelTable) -> Mapping[str, Mapping[str, str]]:
    """The row of each image, joined as `gather` joins it."""
    grouping = {name for names in GROUP_COLUMNS.values() for name in names}
    never = [c for c in table.columns if c.casefold() in grouping]
    named = [table.column(name) for name in (*question.target, *question.groups)]
    return join_labels(index, table, on=question.on, never=(*named, *never))[0]


def _numbers(row: Mapping[str, str], columns: Sequence[str]) -> list[float] | None:
    """The numbers of some cells; None where one is empty."""
    cells = [row.get(column, "") for column in columns]
    if not all(cells):
        return None
    try:
        return [float(cell) for cell in cells]
    except ValueError as error:
        raise BadInput(
            f"a cell of the columns {', '.join(columns)} is not a number; expected the place of a finding in "
            "numbers, or empty cells; correct the label table"
        ) from error


def _painted(
    series: Series,
    shape: tuple[str, ...],
    numbers: Sequence[float],
    size: tuple[int, ...],
    spacing_mm: tuple[float, ...],
) -> NDArray[np.bool_] | None:
    """The mask (J, I) of a box or a circle on the decoded image, which may be smaller than the file's."""
    down, across = size[0] / series.shape[1], size[1] / series.shape[2]
    row, column = np.indices((size[0], size[1]), sparse=True)
    if shape == _CIRCLE:
        if len(spacing_mm) != 3:
            return None
        centre = (numbers[0] + 0.5) * down - 0.5, (numbers[1] + 0.5) * across - 0.5
        away = ((row - centre[0]) * spacing_mm[1]) ** 2 + ((column - centre[1]) * spacing_mm[2]) ** 2
        return np.asarray(away <= numbers[2] ** 2)
    left, top, third, fourth = numbers
    right, bottom = (left + third, top + fourth) if "width" in shape else (third, fourth)
    inside_rows = (row + 0.5 >= top * down) & (row + 0.5 <= bottom * down)
    return np.asarray(inside_rows & (column + 0.5 >= left * across) & (column + 0.5 <= right * across))


def prepared_mask(
    image: NDArray[Any], mask: NDArray[np.bool_], spacing_mm: tuple[float, ...], plan: Input
) -> NDArray[np.bool_]:
    """A mask (K, J, I) of a decoded image (C, K, J, I) as it lies in the prepared image, at `plan.size`.

    What crops and pads the image does the same to the mask. A voxel belongs to it that is covered to a
    quarter, or the most covered one where none is.

    >>> image = np.zeros((1, 1, 8, 8), np.uint8); mask = np.zeros((1, 8, 8), bool); mask[0, 4:, 4:] = True
    >>> prepared_mask(image, mask, (), Input(size=(1, 2, 2)))[0].tolist()
    [[False, False], [False, True]]
    """
    whole = np.ascontiguousarray(image)
    cover = np.ascontiguousarray(mask, np.float32)[None]
    for name in plan.order:
        if name == "crop" and plan.crop_foreground:
            part = crop_foreground(whole)
            cut = _cut_of(whole, part)
            whole, cover = np.ascontiguousarray(part), np.ascontiguousarray(cover[(slice(None), *cut)])
        if name == "crop" and plan.fundus != "off":
            field = field_of_view(whole)
            whole, cover = crop_to_field(whole, field), crop_to_field(cover, field)
        elif name == "resample" and plan.spacing_mm:
            size = _resampled_size(whole.shape[1:], spacing_mm, plan.spacing_mm)
            whole, cover = resize(whole, size), resize(cover, size)
        elif name == "pad" and plan.fit == "pad":
            whole, cover = pad_to_aspect(whole, plan.size), pad_to_aspect(cover, plan.size)
        elif name == "resize":
            whole, cover = resize(whole, plan.size), resize(cover, plan.size)
    limit = min(COVERED, float(cover.max()))
    made: NDArray[np.bool_] = (cover[0] >= limit) & (cover[0] > 0)
    return made


def _resampled_size(
    shape: tuple[int, ...], have: tuple[float, ...], want: tuple[float, ...]
) -> tuple[int, int, int]:
    k, j, i = (max(1, round(n * h / w)) for n, h, w in zip(shape, have, want, strict=True))
    return (1 if shape[0] == 1 else k), j, i


def _cut_of(whole: NDArray[Any], part: NDArray[Any]) -> tuple[slice, ...]:
    """The slices along (K, J, I) by which `part`, a view, was cut out of a contiguous array."""
    offset = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    cut = []
    for stride, length in zip(whole.strides, part.shape, strict=True):
        start, offset = divmod(offset, stride)
        cut.append(slice(start, start + length))
    return tuple(cut[1:])
