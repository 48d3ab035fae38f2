"""A segmentation as pictures: its segments in colour, over the images they were drawn on if here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.display import display_of, displayed_values
from hounsfield.io.dicom.elements import faults
from hounsfield.io.dicom.segments import Place, Segment, places_of, segments_of
from hounsfield.io.source import Source
from hounsfield.steps.choose import Row, dataset_of
from hounsfield.steps.look import Seen, evenly
from hounsfield.steps.montage import Panel
from hounsfield.steps.shade import shade_for
from hounsfield.steps.view import View, WrongView

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["of_segmentation", "table_of"]

Picture = NDArray[np.uint8]
Backdrop = Callable[[tuple[str, int], str], Picture | None]

_NOTHING = (30, 32, 37)
_MOST_IN_LEGEND = 24
_MOST_READ = 20_000


def table_of(dataset: FileDataset) -> tuple[list[Segment], list[Place], str]:
    """The segments, the places where they lie, and why there are none ("" where the pixels could be read)."""
    try:
        places = places_of(dataset)
        return segments_of(dataset, places), places, ""
    except BadInput as error:
        return segments_of(dataset, None), [], str(error)


def of_segmentation(
    source: Source, dataset: FileDataset, segments: Sequence[Segment], places: Sequence[Place], view: View,
    rows: Sequence[Row],
) -> Seen:  # fmt: skip
    """A grid of up to sixteen slices that hold something, or the whole slide; one where `view.frame` asks."""
    if view.plane != "all":
        raise WrongView(f"the {view.plane} plane was asked for; a segmentation is shown slice by slice")
    colours = {s.number: s.colour for s in segments if s.number}
    legend = [(s.colour, _named(s)) for s in segments if s.number and s.voxels]
    if len(legend) > _MOST_IN_LEGEND:
        left = len(legend) - _MOST_IN_LEGEND
        legend = [*legend[:_MOST_IN_LEGEND], (_NOTHING, f"… {left} more")]
    display = display_of(dataset)
    pixel = (display.pixel_mm[0], display.pixel_mm[1]) if display.pixel_mm else (1.0, 1.0)
    if any(p.corner is not None for p in places):
        shown = _slide(dataset, places, colours)
        panel = Panel(shown, pixel, bool(display.pixel_mm))
        return Seen((panel,), None, (f"{len(places)} tiles put together",), tuple(legend))
    held = [p for p in places if any(n in colours and m.any() for n, m in p.masks.items())] or list(places)
    if view.frame:
        if not 1 <= view.frame <= len(places):
            raise WrongView(f"frame {view.frame} was asked for; the segments lie in {len(places)} slices")
        held = [places[view.frame - 1]]
    picked = [held[n] for n in evenly(len(held))]
    behind = _backdrops(source, dataset, picked, view, rows)
    panels = []
    for place in picked:
        size = (
            next(iter(place.masks.values())).shape
            if place.masks
            else (int(dataset.Rows), int(dataset.Columns))
        )
        ground = behind.get(place.image)
        if ground is not None and ground.shape[:2] != size:
            ground = None
        title = f"slice {place.frame + 1}" if len(picked) > 1 else ""
        panels.append(
            Panel(_coloured(size, place, colours, ground), pixel, bool(display.pixel_mm), title=title)
        )
    notes = [f"{len(picked)} of {len(held)} slices with segments"] if len(picked) < len(held) else []
    drawn = sum(behind.get(p.image) is not None for p in picked)
    notes.append(
        "over the images they were drawn on" if drawn else "the images they were drawn on are not here"
    )
    return Seen(tuple(panels), None, tuple(notes), tuple(legend))


def _named(segment: Segment) -> str:
    size = f", {segment.volume_ml:.3g} ml" if segment.volume_ml is not None else ""
    return f"{segment.number} {segment.label}{size}"


def _coloured(
    size: tuple[int, ...], place: Place, colours: dict[int, tuple[int, int, int]], ground: Picture | None
) -> Picture:
    """Segments laid over the ground: thin where there is an image below, with a full outline."""
    shown = np.empty((size[0], size[1], 3), np.float32)
    shown[:] = _NOTHING if ground is None else ground
    inside = 0.85 if ground is None else 0.35
    for number, mask in place.masks.items():
        if number not in colours:
            continue
        share = (mask * inside)[..., None]
        shown = shown * (1 - share) + np.array(colours[number], np.float32) * share
    for number, mask in place.masks.items():
        if number in colours:
            shown[_outline(mask >= 0.5)] = colours[number]
    return np.rint(shown).astype(np.uint8)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask that touch the outside by an edge."""
    wide = np.pad(mask, 1)
    core = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask & ~core


def _slide(
    dataset: FileDataset, places: Sequence[Place], colours: dict[int, tuple[int, int, int]]
) -> Picture:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    corners = [p.corner for p in places if p.corner is not None]
    height = int(dataset.get("TotalPixelMatrixRows") or max(c[0] for c in corners) + rows)
    width = int(dataset.get("TotalPixelMatrixColumns") or max(c[1] for c in corners) + columns)
    step = max(1, int(np.ceil((height * width / 40e6) ** 0.5)))
    whole = np.empty((-(-height // step), -(-width // step), 3), np.uint8)
    whole[:] = _NOTHING
    for place in places:
        if place.corner is None:
            continue
        tile = _coloured((rows, columns), place, colours, None)[::step, ::step]
        top, left = place.corner[0] // step, place.corner[1] // step
        part = whole[top : top + tile.shape[0], left : left + tile.shape[1]]
        part[...] = tile[: part.shape[0], : part.shape[1]]
    return whole


def _backdrops(
    source: Source, dataset: FileDataset, places: Sequence[Place], view: View, rows: Sequence[Row]
) -> dict[tuple[str, int], Picture]:
    """The referenced images that lie in the same source, drawn, by (SOP instance UID, frame number)."""
    wanted = {p.image[0] for p in places if p.image[0]}
    files = _files_by_uid(source, wanted, _referenced_series(dataset), rows)
    found: dict[tuple[str, int], Picture] = {}
    for image in {p.image for p in places}:
        if image[0] not in files:
            continue
        try:
            behind = dataset_of(source, files[image[0]])
            frame = max(0, image[1] - 1)
            values = displayed_values(
                behind, frames=(frame,) if int(behind.get("NumberOfFrames") or 1) > 1 else ()
            )
            display = display_of(behind, frame=frame)
            found[image] = shade_for(view.window, values, display).picture(values[:, 0])
        except WrongView:
            raise
        except BadInput:
            continue
        except faults():
            continue
    return found


def _referenced_series(dataset: FileDataset) -> set[str]:
    items = dataset.get("ReferencedSeriesSequence") or ()
    return {str(i.get("SeriesInstanceUID") or "") for i in items} - {""}


def _files_by_uid(source: Source, wanted: set[str], series: set[str], rows: Sequence[Row]) -> dict[str, str]:
    """Which files hold the wanted objects, looked for in the series that the segmentation names."""
    from hounsfield.io.dicom.header_table import header_table

    taken = [r for r in rows if r.series is not None and r.series.reader == "dicom"]
    files = [f for r in taken if not series or (r.series and r.series.series in series) for f in r.files]
    if not files or not wanted:
        return {}
    table = header_table(source, files[:_MOST_READ])
    pairs = zip(table["sop_instance_uid"].to_pylist(), table["file"].to_pylist(), strict=True)
    return {uid: file for uid, file in pairs if uid in wanted}
