"""Segmentations: what each segment is, how large it is, which frames lie in one place (PS3.3 C.8.20).

Three kinds: BINARY and FRACTIONAL hold a frame a segment and place, LABELMAP a frame a place whose values
are segment numbers.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.confidential import legible
from hounsfield.io.dicom.display import own_copy
from hounsfield.io.dicom.elements import Elements, faults
from hounsfield.io.dicom.pixels import pixels_of

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["Place", "Segment", "is_segmentation", "places_of", "segments_of"]

_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_COLOURS = (
    (230, 90, 80), (86, 180, 233), (120, 200, 110), (240, 190, 60), (190, 130, 230), (80, 210, 190),
    (240, 140, 190), (170, 170, 90),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: number, label, what it is, who drew it, where it appears and how large it is.

    `voxels` are those inside: of a fractional segment those of at least half. `volume_ml` is None where
    the voxels have no known size. `colour` is the recommended one, or one of a fixed row.
    """

    number: int
    label: str
    category: str
    kind: str
    algorithm: str
    frames: int
    voxels: int
    volume_ml: float | None
    colour: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """All that lies in one slice: masks (J, I) from 0 to 1 by segment number, the first frame's number
    (from 0), the upper left corner in the total matrix (row, column), and the image they were drawn on:
    its SOP instance UID and frame number (0 for all)."""

    masks: dict[int, NDArray[np.float32]]
    frame: int
    corner: tuple[int, int] | None
    image: tuple[str, int]


def is_segmentation(dataset: FileDataset) -> bool:
    """True for a Segmentation or a Label Map Segmentation with pixels."""
    return str(dataset.get("SOPClassUID") or "") in _CLASSES or str(dataset.get("Modality") or "") == "SEG"


def segments_of(dataset: FileDataset, places: list[Place] | None) -> list[Segment]:
    """The table of segments; sizes are 0 and None where `places` is None, the pixels being unreadable."""
    size_ml = _voxel_ml(dataset)
    found: list[Segment] = []
    for n, item in enumerate(dataset.get("SegmentSequence") or ()):
        about = Elements(item)
        number = _number(about, n + 1)
        masks = [p.masks[number] for p in places or () if number in p.masks]
        voxels = int(sum(int((m >= 0.5).sum()) for m in masks))
        found.append(
            Segment(
                number,
                legible(about.text("SegmentLabel")) or "(no label)",
                _meaning(about, "SegmentedPropertyCategoryCodeSequence"),
                _meaning(about, "SegmentedPropertyTypeCodeSequence"),
                " ".join(
                    (legible(about.text("SegmentAlgorithmType")), about.text("SegmentAlgorithmName"))
                ).strip(),
                sum(bool(m.any()) for m in masks),
                voxels,
                None if size_ml is None or places is None else round(voxels * size_ml, 4),
                _colour(item, n),
            )
        )
    return found


def places_of(dataset: FileDataset) -> list[Place]:
    """Decode the frames and put those of one place together, in the file's order.

    Raises BadInput where the pixels cannot be decoded.
    """
    plain = own_copy(dataset)
    if plain.get("PhotometricInterpretation") == "PALETTE COLOR":
        plain.add_new(
            "PhotometricInterpretation", "CS", "MONOCHROME2"
        )  # the numbers of the segments, not their colours
    frames = pixels_of(plain)[0]
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    tiled_full = not groups and dataset.get("DimensionOrganizationType") == "TILED_FULL"
    numbers = [_number(Elements(s), n) for n, s in enumerate(dataset.get("SegmentSequence") or (), start=1)]
    label_map = str(dataset.get("SegmentationType") or "") == "LABELMAP"
    white = float(dataset.get("MaximumFractionalValue") or 255)
    white = white if str(dataset.get("SegmentationType") or "") == "FRACTIONAL" else 1.0
    found: dict[Hashable, Place] = {}
    for n, frame in enumerate(frames):
        group = Elements(groups[n]) if n < len(groups) else None
        at = _tile(dataset, n, 1 if label_map else len(numbers)) if tiled_full else None
        place = _place(n, group, at and at[1])
        key = _key(place, group)
        place = found.setdefault(key, place)
        if label_map:
            for value in np.unique(frame).tolist():
                if value in numbers:
                    place.masks[int(value)] = (frame == value).astype(np.float32)
        else:
            number = numbers[at[0]] if at and at[0] < len(numbers) else _segment_of(group)
            mask = np.asarray(frame, np.float32) / white
            place.masks[number] = np.maximum(place.masks.get(number, mask), mask)
    return list(found.values())


def _number(about: Elements, default: int) -> int:
    return about.whole("SegmentNumber", default)


def _segment_of(group: Elements | None) -> int:
    found = group.group("SegmentIdentificationSequence") if group else None
    return found.whole("ReferencedSegmentNumber", 1) if found else 1


def _place(n: int, group: Elements | None, corner: tuple[int, int] | None) -> Place:
    image: tuple[str, int] = ("", 0)
    if group and (source := group.group("DerivationImageSequence", "SourceImageSequence")):
        image = (source.text("ReferencedSOPInstanceUID"), _first_whole(source, "ReferencedFrameNumber"))
    if group and (slide := group.group("PlanePositionSlideSequence")):
        row = slide.whole("RowPositionInTotalImagePixelMatrix", 1)
        column = slide.whole("ColumnPositionInTotalImagePixelMatrix", 1)
        corner = (row - 1, column - 1)
    return Place({}, n, corner, image)


def _first_whole(found: Elements, keyword: str) -> int:
    value = found.dataset.get(keyword)
    several = hasattr(value, "__len__") and not isinstance(value, str)
    return int((value[0] if several and len(value) else value) or 0) if value not in (None, "") else 0


def _key(place: Place, group: Elements | None) -> Hashable:
    if place.corner is not None:
        return place.corner
    if group and (plane := group.group("PlanePositionSequence")):
        position = plane.numbers("ImagePositionPatient", 3)
        if position:
            return tuple(round(p, 3) for p in position)
    return place.image if place.image[0] else place.frame


def _tile(dataset: FileDataset, frame: int, segments: int) -> tuple[int, tuple[int, int]]:
    """Segment (from 0) and corner of a frame of a TILED_FULL object, row by row (C.7.6.17.3)."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    across = -(-int(dataset.get("TotalPixelMatrixColumns") or columns) // columns)
    down = -(-int(dataset.get("TotalPixelMatrixRows") or rows) // rows)
    segment, tile = divmod(frame, max(1, across * down))
    return segment % max(1, segments), (tile // across * rows, tile % across * columns)


def _meaning(about: Elements, keyword: str) -> str:
    code = about.group(keyword)
    return legible(code.text("CodeMeaning")) if code else ""


def _voxel_ml(dataset: FileDataset) -> float | None:
    """The size of a voxel in millilitres: pixel spacing times the distance between slices."""
    found = Elements(dataset)
    try:
        measures = found.group("SharedFunctionalGroupsSequence", "PixelMeasuresSequence")
        if measures is None:
            first = found.group("PerFrameFunctionalGroupsSequence", "PixelMeasuresSequence")
            measures = first or found
        spacing = measures.numbers("PixelSpacing", 2)
        between = measures.numbers("SpacingBetweenSlices", 1) or measures.numbers("SliceThickness", 1)
    except faults():
        return None
    if not spacing or not between or dataset.get("TotalPixelMatrixRows"):
        return None
    return spacing[0] * spacing[1] * abs(between[0]) / 1000


def _colour(item: Any, n: int) -> tuple[int, int, int]:
    lab = item.get("RecommendedDisplayCIELabValue")
    if lab is None or not hasattr(lab, "__len__") or len(lab) != 3:
        return _COLOURS[n % len(_COLOURS)]
    return _rgb_of_lab([float(v) for v in lab])


def _rgb_of_lab(stored: list[float]) -> tuple[int, int, int]:
    """sRGB of a CIELab value stored as PS3.3 C.10.7.1.1 says: L 0…100 in 16 bits, a and b -128…127.

    >>> _rgb_of_lab([65535, 32896, 32896])
    (255, 255, 255)
    """
    light = stored[0] / 65535 * 100
    a, b = (s / 65535 * 255 - 128 for s in stored[1:])
    fy = (light + 16) / 116
    cubes = [f**3 if f**3 > 0.008856 else (f - 16 / 116) / 7.787 for f in (fy + a / 500, fy, fy - b / 200)]
    xyz = np.array(cubes) * (0.9642, 1.0, 0.8249)  # the white point D50
    # from XYZ under D50 to linear sRGB (Bradford)
    matrix = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]])
    linear = np.clip(matrix @ xyz, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (int(v) for v in np.rint(np.clip(curved, 0, 1) * 255))
    return red, green, blue
