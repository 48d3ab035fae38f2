"""Look at one image of a source: its header without identity, and a picture as the header wants it shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io.catalogue import read_volume
from hounsfield.io.dicom.describe import Description, Line, describe
from hounsfield.io.dicom.display import Display, display_of, displayed_values
from hounsfield.io.dicom.elements import Elements, faults
from hounsfield.io.dicom.segments import Segment, is_segmentation
from hounsfield.io.dicom.structured import Node, tree_of
from hounsfield.io.source import Source
from hounsfield.steps.choose import Row, chosen, dataset_of, rows_of
from hounsfield.steps.look import Seen, evenly, of_frames, of_slide, of_volume
from hounsfield.steps.montage import Wording, composed
from hounsfield.steps.planes import edge_letters, upright
from hounsfield.steps.view import View, WrongView

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import FileDataset

    from hounsfield.core.index import Series
    from hounsfield.steps.overlaid import Outline

__all__ = ["Shown", "View", "as_object", "show"]

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One image of a source, looked at.

    `rows` are all that could be looked at and `row` the one that was; `tree` and `segments` are what an
    object that is no image says. `faults` are reasons why a scan refused it. `seen` is None where there is
    no picture, and `why_not` says why.
    """

    rows: tuple[Row, ...]
    row: Row
    header: Description
    tree: tuple[Node, ...] = ()
    segments: tuple[Segment, ...] = ()
    faults: tuple[str, ...] = ()
    seen: Seen | None = None
    why_not: str = ""
    outlines: tuple[Outline, ...] = ()

    @property
    def caption(self) -> str:
        """One line without identity: what it is, its size, its spacing, the window."""
        return "  ·  ".join(_caption(self))

    def picture(self, *, bare: bool = False, widest: int = 1560, tallest: int = 1000) -> NDArray[np.uint8]:
        """The picture (H, W, 3) with its wording, or only the panels. Raises BadInput if there is none."""
        if self.seen is None:
            raise BadInput(f"no picture can be drawn of this object: {self.why_not}")
        notes = ("  ·  ".join(self.seen.notes),) if self.seen.notes else ()
        # that an object is no image for a network is nothing that its picture need say
        faults = tuple(f for f in self.faults if "not an image" not in f and "in tiles" not in f)
        wording = Wording((self.caption, *notes), faults, self.seen.legend)
        return composed(self.seen.panels, None if bare else wording, widest=widest, tallest=tallest)


def show(
    path: Path | str, *, image: str = "", view: View | None = None, identity: bool = False, draw: bool = True,
    overlay: Path | str | None = None, resample: bool = False,
) -> Shown:  # fmt: skip
    """Look at the image of a source that `image` names by number, id or file name; at the first without.

    `overlay` names a mask, a segmentation, a table of detections or the folder of a hu predict, whose
    outlines are drawn over the image; `resample` brings one of another grid onto the image's.

    Raises BadInput where the source holds nothing to look at, `image` names nothing, `view` asks for a
    window or a plane that the image does not have, or the overlay is of something else. An image that cannot
    be decoded is described all the same.

    >>> show("no-such-folder")
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: ...no-such-folder...
    """
    view = view or View()
    with Source(path) as source:
        rows = rows_of(source)
        row = chosen(rows, image)
        if overlay is not None:
            return _overlaid(source, rows, row, view, overlay, resample=resample, identity=identity)
        return _looked_at(source, rows, row, view, identity=identity, draw=draw)


def _overlaid(
    source: Source, rows: tuple[Row, ...], row: Row, view: View, overlay: Path | str, *, resample: bool,
    identity: bool,
) -> Shown:  # fmt: skip
    """The image with outlines; the planes run through what is outlined unless a place was asked for."""
    from hounsfield.steps.overlaid import centred, outlined, outlines_of
    from hounsfield.steps.overlay import overlay_of

    if row.series is None:
        raise BadInput(
            "an overlay is drawn over an image, and this is none for the scan "
            f"({row.reason or 'one slice of a volume'}); choose another by --image"
        )
    volume = read_volume(source, row.series)
    laid = overlay_of(overlay, volume, row, resample=resample)
    view = centred(view, volume, laid)
    shown = _looked_at(source, rows, row, view, identity=identity, draw=True)
    outlines = outlines_of(laid, volume)
    if shown.seen is None:
        return replace(shown, outlines=outlines)
    return replace(shown, seen=outlined(shown.seen, laid, outlines, volume, view), outlines=outlines)


def _looked_at(
    source: Source, rows: tuple[Row, ...], row: Row, view: View, *, identity: bool, draw: bool
) -> Shown:
    """The image or object of a row, as far as it can be read."""
    if row.series is not None and row.series.reader != "dicom":
        return _other(source, rows, row, view, draw=draw)
    dataset = dataset_of(source, row.files[0], header=not draw)
    shown = Shown(rows, row, describe(dataset, identity=identity))
    if row.reason:
        shown = replace(shown, faults=(row.reason,))
    try:
        return _drawn(source, shown, dataset, view, identity=identity, draw=draw)
    except WrongView:
        raise
    except BadInput as error:
        return replace(shown, why_not=str(error))
    except faults() as error:
        kind = type(error).__name__
        return replace(shown, why_not=f"its elements do not follow the standard ({kind})")


def _drawn(
    source: Source, shown: Shown, dataset: FileDataset, view: View, *, identity: bool, draw: bool
) -> Shown:
    """The header with the tree of an object without pixels, or with its picture if it is to be drawn."""
    if not any(k in dataset for k in _PIXELS) and (draw or "Rows" not in dataset):
        tree = tree_of(dataset, identity=identity)
        return replace(shown, tree=tree, why_not=f"it holds no pixels ({shown.header.kind})")
    if not draw:
        return replace(shown, why_not="not asked for")
    if is_segmentation(dataset):
        return _segmentation(source, shown, dataset, view)
    return replace(shown, seen=_image(source, shown.row, dataset, view))


def _image(source: Source, row: Row, dataset: FileDataset, view: View) -> Seen:
    """The picture of a DICOM image, by what it is."""
    if row.series is not None and row.series.shape[0] > 1 and row.series.spacing_mm:
        display = display_of(dataset, frame=row.series.frames[0] if row.series.frames else 0)
        volume = read_volume(source, row.series)
        return of_volume(_as_stored(volume, dataset, row.series), display, view)
    if len(row.files) > 1:
        return _loose_slices(source, row, view)
    if str(dataset.get("SOPClassUID") or "") == _SLIDE and not view.frame and (corners := _corners(dataset)):
        whole = of_slide(dataset, view, corners)
        if whole:
            return whole
    if (dose := _dose_volume(dataset)) is not None and not view.frame:
        return of_volume(dose, display_of(dataset), view)
    return of_frames(dataset, view)


def _as_stored(volume: Volume, dataset: FileDataset, series: Series) -> Volume:
    """A volume of MONOCHROME1 as stored: readers turn it over, but its windows belong to stored values."""
    found = Elements(dataset)
    if series.photometric != "MONOCHROME1" or found.group("ModalityLUTSequence"):
        return volume
    slope = (found.numbers("RescaleSlope", 1) or (1.0,))[0]
    intercept = (found.numbers("RescaleIntercept", 1) or (0.0,))[0]
    if series.modality in ("CT", "PT") and (slope, intercept) != (1.0, 0.0):
        return volume
    ends = -1 if found.whole("PixelRepresentation", 0) else (1 << found.whole("BitsStored", 16)) - 1
    turned = slope * ends + 2 * intercept - volume.data.astype(np.float64)
    kind = volume.data.dtype
    return replace(volume, data=turned.astype(kind if kind.kind == "f" else np.int32))


def _loose_slices(source: Source, row: Row, view: View) -> Seen:
    """Slices of a refused stack one by one: up to sixteen, in the order of their place or number."""
    placed: list[tuple[float, str]] = []
    for n, file in enumerate(row.files):
        found = Elements(dataset_of(source, file, header=True))
        try:
            position = found.numbers("ImagePositionPatient", 3)
            turn = found.numbers("ImageOrientationPatient", 6)
            along = float(np.dot(np.cross(turn[:3], turn[3:]), position)) if position and turn else float(n)
        except faults():
            along = float(n)
        placed.append((along, file))
    placed.sort()
    picked = evenly(len(placed))
    if view.frame:
        if not 1 <= view.frame <= len(placed):
            raise WrongView(
                f"slice {view.frame} was asked for; the stack holds {len(placed)}, counted from 1"
            )
        picked = (view.frame - 1,)
    panels, notes, first = [], [], None
    for n in picked:
        try:
            seen = of_frames(dataset_of(source, placed[n][1]), replace(view, frame=0))
        except WrongView:
            raise
        except BadInput as error:
            notes.append(f"slice {n + 1} {error}")
            continue
        first = first or seen
        panels.append(replace(seen.panels[0], title=f"slice {n + 1}/{len(placed)}"))
    if first is None:
        raise BadInput(notes[0] if notes else "it holds no slice that can be read")
    return replace(first, panels=tuple(panels), notes=(*first.notes, *notes[:3]))


def _corners(dataset: FileDataset) -> list[tuple[int, int]]:
    """Upper left corners (row, column) of the tiles in the total matrix, [] where they are unknown."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    count = int(dataset.get("NumberOfFrames") or 1)
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    corners = []
    for group in groups:
        slide = Elements(group).group("PlanePositionSlideSequence")
        if slide is None:
            break
        row = slide.whole("RowPositionInTotalImagePixelMatrix", 1)
        corners.append((row - 1, slide.whole("ColumnPositionInTotalImagePixelMatrix", 1) - 1))
    if len(corners) == count:
        return corners
    across = -(-int(dataset.get("TotalPixelMatrixColumns") or 0) // columns)
    down = -(-int(dataset.get("TotalPixelMatrixRows") or 0) // rows)
    if dataset.get("DimensionOrganizationType") != "TILED_FULL" or across * down == 0:
        return []
    return [(n // across * rows, n % across * columns) for n in range(min(count, across * down))]


def _dose_volume(dataset: FileDataset) -> Volume | None:
    """A dose grid as a volume where its planes are evenly spaced (PS3.3 C.8.8.3.2), else None."""
    offsets = dataset.get("GridFrameOffsetVector")
    found = Elements(dataset)
    if str(dataset.get("Modality") or "") != "RTDOSE" or offsets is None or not hasattr(offsets, "__len__"):
        return None
    steps = np.diff([float(v) for v in offsets])
    spacing = found.numbers("PixelSpacing", 2)
    position, turn = found.numbers("ImagePositionPatient", 3), found.numbers("ImageOrientationPatient", 6)
    even = len(steps) > 0 and steps[0] != 0 and bool(np.allclose(steps, steps[0], rtol=0.01))
    if not (even and spacing and position and turn):
        return None
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = np.array(turn[:3]) * spacing[1], np.array(turn[3:]) * spacing[0]
    affine[:3, 2], affine[:3, 3] = np.cross(turn[:3], turn[3:]) * steps[0], position
    return Volume(displayed_values(dataset), affine, (), spacing_known=True)


def _segmentation(source: Source, shown: Shown, dataset: FileDataset, view: View) -> Shown:
    from hounsfield.steps.segmented import of_segmentation, table_of

    try:
        segments, places, why_not = table_of(dataset)
        shown = replace(shown, segments=tuple(segments), why_not=why_not)
        if why_not:
            return shown
        seen = of_segmentation(source, dataset, segments, places, view, shown.rows)
        return replace(shown, seen=seen)
    except faults() as error:
        return replace(shown, why_not=f"its elements do not follow the standard ({type(error).__name__})")


def _other(source: Source, rows: tuple[Row, ...], row: Row, view: View, *, draw: bool) -> Shown:
    """A NIfTI volume, a picture or a row of an array: what its header says, and how it looks."""
    assert row.series is not None
    series = row.series
    lines = {
        "Image": (Line("Format", "format", _FORMATS.get(series.reader, series.reader)),),
        "Pixels": (
            Line("Size (slices, rows, columns)", "shape", series.shape),
            Line("Channels", "channels", series.channels),
            Line("Bits", "bits", series.bits),
        ),
    }
    if series.spacing_mm:
        lines["Geometry"] = (Line("Spacing (slices, rows, columns), mm", "spacing_mm", series.spacing_mm),)
    shown = Shown(rows, row, Description(_FORMATS.get(series.reader, series.reader), lines))
    if not draw:
        return replace(shown, why_not="not asked for")
    try:
        volume = read_volume(source, series)
    except BadInput as error:
        return replace(shown, why_not=str(error))
    if volume.spacing_known:
        corner = edge_letters(volume.affine)
        seen = upright(volume.data, volume.affine)
        about = (
            Line("Columns and rows run towards", "orientation", f"{corner[1]}, {corner[3]}"),
            Line("Angle to the patient's axes, degrees", "oblique_deg", round(seen.oblique_deg, 2)),
        )
        lines["Geometry"] = (*lines.get("Geometry", ()), *about)
    low, high = float(volume.data.min()), float(volume.data.max())
    lines["Pixels"] = (*lines["Pixels"], Line("Values", "range", (low, high)))
    eight = volume.data.dtype == np.uint8 and series.reader != "nifti"
    display = Display(stored_range=(0.0, 255.0) if eight else None)
    return replace(shown, seen=of_volume(volume, display, view))


_FORMATS = {"nifti": "NIfTI volume", "raster": "Picture", "arrays": "Array of images"}


def _caption(shown: Shown) -> list[str]:
    row, words = shown.row, [shown.header.kind]
    shape = [n for n in row.shape if n > 1 or len(row.shape) == 2]
    if shape:
        words.append("×".join(map(str, shape)))
    if row.spacing_mm:
        kept = row.spacing_mm if row.shape and row.shape[0] > 1 else row.spacing_mm[-2:]
        words.append("×".join(f"{s:.3g}" for s in kept) + " mm")
    if row.about:
        words.append(row.about)
    if shown.seen and shown.seen.shade:
        words.append(shown.seen.shade.name)
    return words


def as_object(shown: Shown) -> dict[str, Any]:
    """What was seen as one JSON object, under the same rule of identity as the header."""
    shade = shown.seen.shade if shown.seen else None
    return {
        "image": shown.row.id,
        "kind": shown.header.kind,
        "caption": shown.caption,
        "refused": list(shown.faults),
        "header": {
            group: {_key(line): line.value for line in lines} for group, lines in shown.header.groups.items()
        },
        "hidden": list(shown.header.hidden),
        "private_elements": shown.header.private,
        "tree": [_branch(n) for n in shown.tree],
        "segments": [
            {
                "number": s.number, "label": s.label, "category": s.category, "type": s.kind,
                "algorithm": s.algorithm, "frames": s.frames, "voxels": s.voxels, "volume_ml": s.volume_ml,
            }
            for s in shown.segments
        ],
        "overlay": [
            {
                "number": o.number, "name": o.name, "colour": o.colour_name, "voxels": o.voxels,
                "volume_ml": o.volume_ml, "area_mm2": o.area_mm2,
            }
            for o in shown.outlines
        ],
        "window": shade.as_object() if shade else None,
        "notes": list(shown.seen.notes) if shown.seen else [],
        "no_picture": shown.why_not,
        "images": [r.as_object() for r in shown.rows],
    }  # fmt: skip


def _key(line: Line) -> str:
    return f"{line.keyword} ({line.where})" if line.where else line.keyword


def _branch(node: Node) -> dict[str, Any]:
    branch: dict[str, Any] = {"name": node.name, "value": node.value}
    if node.below:
        branch["below"] = [_branch(n) for n in node.below]
    return branch
