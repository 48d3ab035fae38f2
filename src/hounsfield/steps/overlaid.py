"""Outlines of labels over the panels of an image, in colours that colour-blind readers tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io.dicom.display import Display
from hounsfield.steps.look import Seen, of_volume
from hounsfield.steps.montage import Panel
from hounsfield.steps.overlay import Overlay
from hounsfield.steps.segmentation.islands import counts
from hounsfield.steps.view import View

__all__ = ["Outline", "centred", "outlined", "outlines_of"]

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Okabe & Ito 2008, the light ones first, without the blue that is lost on a dark image
_COLOURS: tuple[tuple[str, Colour], ...] = (
    ("sky blue", (86, 180, 233)), ("orange", (230, 159, 0)), ("green", (0, 190, 140)),
    ("yellow", (240, 228, 66)), ("vermilion", (235, 100, 20)), ("purple", (220, 140, 180)),
    ("white", (245, 245, 245)),
)  # fmt: skip
_MOST_IN_LEGEND = 24
_SIDE, _LARGEST_ZOOM = 1000, 12  # pixels: a smaller panel is enlarged before a line is drawn in it
_PIXELS_A_LINE = 600  # of the panel's longer side, for one of a line's breadth


@dataclass(frozen=True, slots=True)
class Outline:
    """A label that is drawn: what it is, in which colour, and how large it is.

    A volume has `volume_ml`, a single image `area_mm2`; None where the spacing is unknown, and where the
    label only marks a place (`is_object`).
    """

    number: int
    name: str
    colour_name: str
    colour: Colour
    voxels: int
    volume_ml: float | None
    area_mm2: float | None
    is_object: bool = False

    @property
    def text(self) -> str:
        """What it is and how large in one line."""
        if self.is_object:
            return self.name
        if not self.voxels:
            return f"{self.name}: not there"
        if self.volume_ml is not None:
            return f"{self.name}: {self.volume_ml:.3g} ml"
        if self.area_mm2 is not None:
            return f"{self.name}: {self.area_mm2:.3g} mm²"
        return f"{self.name}: {self.voxels} pixels"


def outlines_of(overlay: Overlay, image: Volume) -> tuple[Outline, ...]:
    """Every label with its colour and size."""
    found = counts(overlay.labels, max(overlay.names, default=0))
    voxel_mm3 = abs(float(np.linalg.det(image.affine[:3, :3])))
    _, rows, columns = image.spacing_mm
    made = []
    for n, (number, name) in enumerate(overlay.names.items()):
        colour_name, colour = _COLOURS[n % len(_COLOURS)]
        voxels = int(found[number - 1])
        known = image.spacing_known and not overlay.are_objects
        ml = voxels * voxel_mm3 / 1000 if known and not image.is_flat else None
        area = voxels * rows * columns if known and image.is_flat else None
        made.append(Outline(number, name, colour_name, colour, voxels, ml, area, overlay.are_objects))
    return tuple(made)


def centred(view: View, image: Volume, overlay: Overlay) -> View:
    """The view through the planes that hold most labels, or the first object; as asked where it was."""
    marked = overlay.labels == 1 if overlay.are_objects else overlay.labels > 0
    if view.at is not None or view.frame or not marked.any():
        return view
    k, j, i = (int(marked.sum(axis=axes).argmax()) for axes in ((1, 2), (0, 2), (0, 1)))
    if image.spacing_known and image.data.shape[1] > 1:
        return replace(view, at=(i, j, k))
    return replace(view, frame=k + 1) if image.data.shape[1] > 1 else view


def outlined(seen: Seen, overlay: Overlay, outlines: Sequence[Outline], image: Volume, view: View) -> Seen:
    """The panels with a line around each label, and the legend.

    The labels go the way of the image: the same planes, turned alike. Raises BadInput where they cannot be
    laid over it.
    """
    laid = of_volume(
        _as_colours(overlay.labels, image), Display(stored_range=(0.0, 255.0)), replace(view, window="")
    )
    pairs = list(zip(seen.panels, laid.panels, strict=False))
    if len(seen.panels) != len(laid.panels) or any(a.pixels.shape != b.pixels.shape for a, b in pairs):
        raise BadInput("the overlay cannot be laid over this object; give an image or a volume")
    panels = tuple(_drawn(panel, _labels_of(under.pixels), outlines) for panel, under in pairs)
    legend = [(o.colour, o.text) for o in outlines[:_MOST_IN_LEGEND]]
    if len(outlines) > _MOST_IN_LEGEND:
        legend.append(((30, 32, 37), f"… {len(outlines) - _MOST_IN_LEGEND} more"))
    return replace(seen, panels=panels, notes=(*seen.notes, *overlay.notes), legend=tuple(legend))


def _as_colours(labels: NDArray[Any], image: Volume) -> Volume:
    """Labels as the low and the high byte of a colour, which is shown as it is stored."""
    whole = labels.astype(np.uint16)
    three = np.zeros((3, *labels.shape), np.uint8)
    three[0], three[1] = whole & 255, whole >> 8
    return Volume(three, image.affine, (), image.spacing_known)


def _labels_of(pixels: Picture) -> NDArray[np.int64]:
    return pixels[..., 0].astype(np.int64) + 256 * pixels[..., 1].astype(np.int64)


def _drawn(panel: Panel, labels: NDArray[np.int64], outlines: Sequence[Outline]) -> Panel:
    import cv2

    height, width = labels.shape
    zoom = min(-(-_SIDE // max(height, width)), _LARGEST_ZOOM)
    pixels = panel.pixels
    if zoom > 1:
        size = (width * zoom, height * zoom)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        labels = np.repeat(np.repeat(labels, zoom, axis=0), zoom, axis=1)
    made = pixels.copy()
    thickness = max(1, round(max(labels.shape) / _PIXELS_A_LINE))
    there = set(np.unique(labels).tolist())
    for outline in outlines:
        if outline.number in there:
            mask = (labels == outline.number).astype(np.uint8)
            core = cv2.erode(
                mask,
                np.ones((3, 3), np.uint8),
                iterations=thickness,
                borderType=cv2.BORDER_CONSTANT,
                borderValue=0,
            )
            made[(mask - core).astype(np.bool_)] = outline.colour
    down, across = panel.pixel_size
    return replace(panel, pixels=made, pixel_size=(down / zoom, across / zoom))
