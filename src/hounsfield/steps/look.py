"""From an image and what its header says to panels: three planes, a grid of frames, a slide, segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.display import Display, display_of, displayed_values, overlay_of
from hounsfield.steps.montage import Panel
from hounsfield.steps.planes import PLANES, cut, edge_letters, upright
from hounsfield.steps.shade import Shade, shade_for
from hounsfield.steps.view import View, WrongView

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

    from hounsfield.core.volume import Volume

__all__ = ["MOST_FRAMES", "Seen", "evenly", "of_frames", "of_slide", "of_volume"]

MOST_FRAMES = 16
_FEWEST_SLICES = 5  # of fewer, the planes across them would be mere stripes
_MOST_SLIDE_PIXELS = 40_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The panels, the window they are shown with, and what must be said about them."""

    panels: tuple[Panel, ...]
    shade: Shade | None
    notes: tuple[str, ...] = ()
    legend: tuple[tuple[tuple[int, int, int], str], ...] = field(default=())


def evenly(count: int, most: int = MOST_FRAMES) -> tuple[int, ...]:
    """At most `most` of `count` numbers, the first and the last among them.

    >>> evenly(5), evenly(100, 4)
    ((0, 1, 2, 3, 4), (0, 33, 66, 99))
    """
    if count <= most:
        return tuple(range(count))
    return tuple(int(v) for v in np.rint(np.linspace(0, count - 1, most)))


def of_volume(volume: Volume, display: Display, view: View) -> Seen:
    """The three planes through the middle or `view.at`, or one of them, or one slice as stored.

    Raises WrongView for a plane of an image of unknown geometry, and for a frame that is not there.
    """
    values = volume.data
    notes: list[str] = []
    if values.shape[0] not in (1, 3):
        notes.append(f"channel 1 of {values.shape[0]}")
        values = values[:1]
    shade = shade_for(view.window, values, display)
    depth = values.shape[1]
    few = view.plane == "all" and depth < _FEWEST_SLICES and view.at is None
    if view.frame or depth == 1 or few or not volume.spacing_known:
        return _slices(volume, values, shade, view, notes)
    seen = upright(values, volume.affine, at=view.at)
    chosen = PLANES if view.plane == "all" else (view.plane,)
    panels = []
    for plane in chosen:
        found = cut(seen, plane)
        title = f"{plane}  {found.number}/{found.count}"
        panels.append(Panel(shade.picture(found.values), found.pixel_mm, True, found.letters, title))
    if seen.sheared:
        notes.append("its axes are not perpendicular (tilted gantry): planes along the volume's own axes")
    elif seen.oblique_deg > 1:
        notes.append(f"oblique by {seen.oblique_deg:.0f}°: planes along the axes nearest to the patient's")
    return Seen(tuple(panels), shade, tuple(notes))


def _slices(volume: Volume, values: NDArray[Any], shade: Shade, view: View, notes: list[str]) -> Seen:
    """Slices as stored: the one asked for, the only one, or a grid."""
    depth = values.shape[1]
    if view.plane != "all":
        raise WrongView(f"the {view.plane} plane was asked for, but the image is no volume of known geometry")
    chosen = (_one_of(view.frame, depth, "slice"),) if view.frame else evenly(depth)
    _, *in_plane = volume.spacing_mm
    known = volume.spacing_known
    pixel = (in_plane[0], in_plane[1]) if known else (1.0, 1.0)
    placed = known and bool(np.any(volume.affine[:3, 3]) or depth > 1)
    letters = edge_letters(volume.affine) if placed else ("", "", "", "")
    panels = [
        Panel(
            shade.picture(values[:, n]), pixel, known, letters, f"slice {n + 1}/{depth}" if depth > 1 else ""
        )
        for n in chosen
    ]
    return Seen(tuple(panels), shade, tuple(notes))


def _one_of(asked: int, count: int, noun: str) -> int:
    if not 1 <= asked <= count:
        raise WrongView(f"{noun} {asked} was asked for; the image holds {count}, counted from 1")
    return asked - 1


def of_frames(dataset: FileDataset, view: View) -> Seen:
    """One object's frames as stored: a single picture whole, or a grid of up to sixteen, or one of them."""
    count = max(1, int(dataset.get("NumberOfFrames") or 1))
    if view.plane != "all":
        raise WrongView(f"the {view.plane} plane was asked for, but the image is no volume of known geometry")
    chosen = (_one_of(view.frame, count, "frame"),) if view.frame else evenly(count)
    values = displayed_values(dataset, frames=chosen if count > 1 else ())
    display = display_of(dataset, frame=chosen[0])
    shade = shade_for(view.window, values, display)
    letters = _letters_of(dataset, display)
    panels = []
    for place, n in enumerate(chosen):
        own = display_of(dataset, frame=n) if count > 1 and not view.window else display
        frame_shade = shade if own.windows == display.windows else shade_for("", values, own)
        pixels = frame_shade.picture(values[:, place], overlay_of(dataset, frame=n))
        title = f"frame {n + 1}/{count}" if count > 1 else ""
        panels.append(
            Panel(pixels, own.pixel_mm or (own.aspect, 1.0), bool(own.pixel_mm), letters, title)  # type: ignore[arg-type]
        )
    return Seen(tuple(panels), shade, _notes(dataset, display))


def _notes(dataset: FileDataset, display: Display) -> tuple[str, ...]:
    notes = []
    if display.overlays:
        notes.append(f"{display.overlays} graphic overlay{'s' * (display.overlays != 1)} drawn in green")
    if str(dataset.get("BurnedInAnnotation") or "") == "YES":
        notes.append("annotation burned into the pixels")
    return tuple(notes)


def _letters_of(dataset: FileDataset, display: Display) -> tuple[str, str, str, str]:
    """Edge letters from the image's place in the patient, else from PatientOrientation, else none."""
    turn = dataset.get("ImageOrientationPatient")
    if turn is not None and len(turn) == 6 and "ImagePositionPatient" in dataset:
        affine = np.eye(4)
        try:
            affine[:3, 0], affine[:3, 1] = [float(v) for v in turn[:3]], [float(v) for v in turn[3:]]
        except (TypeError, ValueError):
            return "", "", "", ""
        return edge_letters(affine)
    right, bottom = (letters[:1] for letters in display.letters)
    opposite = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H", "": ""}
    return opposite[right], right, opposite[bottom], bottom


def of_slide(dataset: FileDataset, view: View, corners: Sequence[tuple[int, int]]) -> Seen | None:
    """The tiles of a whole slide put together, None where it is too large to be decoded for a look."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    size = (
        int(dataset.get("TotalPixelMatrixRows") or max(c[0] for c in corners) + rows),
        int(dataset.get("TotalPixelMatrixColumns") or max(c[1] for c in corners) + columns),
    )
    if size[0] * size[1] > _MOST_SLIDE_PIXELS or len(corners) * rows * columns > 2 * _MOST_SLIDE_PIXELS:
        return None
    values = displayed_values(dataset)
    whole = np.zeros((values.shape[0], *size), values.dtype)
    done: set[tuple[int, int]] = set()
    for n, (top, left) in enumerate(corners[: values.shape[1]]):
        if (top, left) in done or not (0 <= top < size[0] and 0 <= left < size[1]):
            continue  # another focal plane or optical path of the same place
        done.add((top, left))
        part = whole[:, top : top + rows, left : left + columns]
        part[...] = values[:, n, : part.shape[1], : part.shape[2]]
    display = display_of(dataset)
    shade = shade_for(view.window, whole, display)
    pixel = display.pixel_mm or (1.0, 1.0)
    panel = Panel(shade.picture(whole), (pixel[0], pixel[1]), bool(display.pixel_mm))
    note = f"{len(done)} tiles of {rows}×{columns} put together"
    return Seen((panel,), shade, (note,))
