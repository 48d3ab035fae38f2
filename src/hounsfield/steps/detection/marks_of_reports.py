"""Objects of measurement reports: a finding a measurement group (PS3.16 TID 1500, TID 1410, TID 1411)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hounsfield.core.index import Series
from hounsfield.io.dicom.elements import Elements
from hounsfield.steps.detection.drawn import Drawn, spacing_of
from hounsfield.steps.detection.marks_of_masks import object_of_mask
from hounsfield.steps.detection.marks_of_segments import name_of_segment, voxels_of_segments
from hounsfield.steps.detection.pictured import Pictured, plain_class
from hounsfield.steps.detection.regions import Region, region_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

    from hounsfield.steps.detection.marks_of_segments import Places

    _Segments = tuple[FileDataset, Series | None, dict[int, Places]]

__all__ = ["read_report"]

_GROUP, _FINDING, _SEGMENT, _FRAME = "125007", "121071", "121191", "121214"
_SOURCE_SERIES = "121232"
_DIAMETERS = {"81827009", "103339001", "L0JK", "M-02550", "G-A185"}  # diameter, long axis, mesh, SNOMED RT
_THIN = 0.1  # voxels: coordinates are stored in single precision
_TO_MM = {"mm": 1.0, "cm": 10.0, "um": 0.001}


def read_report(
    dataset: Dataset, pictured: Pictured, segmentation: Callable[[str], FileDataset | None]
) -> tuple[list[Drawn], set[str], list[str]]:
    """Objects, ids of the images that the report is evidence of, and notes of a report.

    `segmentation` gives a segmentation by its instance UID, None where it is not here. Where points have no
    extent the measured diameter is the size; a region in one plane of a volume is taken to be as deep as it
    is wide. A report with a finding that cannot be placed is left out whole: its images would count as marked
    without it.
    """
    images = pictured.of(_evidence(dataset))
    if not images:
        return [], set(), []

    @cache
    def segments(instance: str) -> _Segments | None:
        held = segmentation(instance)
        return None if held is None else (held, *voxels_of_segments(held, pictured))

    found = [
        _of_segment(group, segments) or _of_region(group, images, pictured) for group in _groups(dataset)
    ]
    objects = [f for f in found if isinstance(f, Drawn)]
    why = next((f for f in found if isinstance(f, str)), "")
    if why:
        return [], set(), [f"reports with findings that cannot be placed were left out: {why}"]
    return objects, {o.series for o in objects} or {s.id for s in images}, []


def _evidence(dataset: Dataset) -> list[str]:
    found = []
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in dataset.get(keyword) or ():
            found += [
                str(s.get("SeriesInstanceUID") or "") for s in study.get("ReferencedSeriesSequence") or ()
            ]
    return found


def _groups(item: Dataset) -> Iterator[Dataset]:
    """The measurement groups anywhere in the content tree."""
    for child in item.get("ContentSequence") or ():
        if _concept(child) == _GROUP:
            yield child
        else:
            yield from _groups(child)


def _below(item: Dataset) -> list[Dataset]:
    return list(item.get("ContentSequence") or ())


def _concept(item: Dataset) -> str:
    code = Elements(item).group("ConceptNameCodeSequence")
    return code.text("CodeValue") if code else ""


def _finding(group: Dataset) -> str:
    for item in _below(group):
        if _concept(item) == _FINDING and (code := Elements(item).group("ConceptCodeSequence")):
            return plain_class(code.text("CodeMeaning"))
    return ""


def _diameter_mm(group: Dataset) -> float | None:
    """The longest of the measured diameters."""
    found: list[float] = []
    for item in _below(group):
        code = Elements(item).group("ConceptNameCodeSequence")
        measured = Elements(item).group("MeasuredValueSequence")
        if str(item.get("ValueType") or "") != "NUM" or code is None or measured is None:
            continue
        unit = measured.group("MeasurementUnitsCodeSequence")
        named = code.text("CodeValue") in _DIAMETERS or "diameter" in code.text("CodeMeaning").casefold()
        if named and unit is not None and unit.text("CodeValue") in _TO_MM:
            found += [v * _TO_MM[unit.text("CodeValue")] for v in measured.numbers("NumericValue", 1)]
    return max(found, default=None)


def _of_segment(group: Dataset, segments: Callable[[str], _Segments | None]) -> Drawn | str | None:
    """The object of the segment that a group refers to; why there is none; None where it refers to none."""
    reference = next((i for i in _below(group) if _concept(i) in (_SEGMENT, _FRAME)), None)
    if reference is None:
        return None
    about = Elements(reference).group("ReferencedSOPSequence")
    if about is None:
        return "they refer to no segment"
    known = segments(about.text("ReferencedSOPInstanceUID"))
    if known is None:
        return "the segmentation that they refer to is not here"
    value = about.dataset.get("ReferencedSegmentNumber")
    number = int(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value or 1)
    held, series, voxels = known
    if series is None or number not in voxels:
        return "the segment that they refer to is empty or of another image"
    name = _finding(group) or name_of_segment(held, number)
    drawn = object_of_mask(voxels[number], name, series.id, spacing_mm=series.spacing_mm, flat=series.is_flat)
    measured = _diameter_mm(group)
    return Drawn(drawn.series, name, drawn.centre, drawn.size, diameter_mm=measured or drawn.diameter_mm)


def _of_region(group: Dataset, images: list[Series], pictured: Pictured) -> Drawn | str:
    """The object of the regions of a group: all of them together, on the image where they lie."""
    named = [str(i.get("UID") or "") for i in _below(group) if _concept(i) == _SOURCE_SERIES]
    among = pictured.of(named) or images
    regions: list[Region] = []
    series: Series | None = None
    for item in _below(group):
        if str(item.get("ValueType") or "") not in ("SCOORD", "SCOORD3D"):
            continue
        found = region_of(item, among, pictured)
        if found is None:
            return "they lie on an image that is not here, or in a shape that is not read"
        if series is not None and found[0].id != series.id:
            return "they lie on several images"
        series = found[0]
        regions.append(found[1])
    if series is None:
        return "they say no place"
    return _drawn(regions, series, _finding(group) or "finding", _diameter_mm(group), pictured)


def _drawn(
    regions: list[Region], series: Series, name: str, diameter_mm: float | None, pictured: Pictured
) -> Drawn | str:
    low = np.min([r.low for r in regions], axis=0)
    high = np.max([r.high for r in regions], axis=0)
    planar = all(r.high[0] - r.low[0] < _THIN for r in regions)
    if planar and high[0] - low[0] > _THIN:  # outlines on the middles of several slices
        low[0], high[0] = low[0] - 0.5, high[0] + 0.5
    size, centre = high - low, (low + high) / 2
    spacing = spacing_of(pictured.grids.affine(series)) if series.spacing_mm or series.affine else np.ones(3)
    round_one = all(r.is_round for r in regions)
    if size.max() < _THIN:
        if not diameter_mm:
            return "they are points without a diameter"
        size, round_one = diameter_mm / spacing, True
    flat = np.flatnonzero(size < _THIN)
    if len(flat):  # drawn in one plane: as deep as it is wide
        wide_mm = np.delete(size * spacing, flat)
        size[flat] = float(np.exp(np.log(wide_mm).mean())) / spacing[flat]
    if series.is_flat:
        centre[0], size[0] = 0.0, 1.0
    k, j, i = centre.tolist()
    along_k, along_j, along_i = size.tolist()
    shape = "sphere" if round_one else "box"
    return Drawn(series.id, name, (k, j, i), (along_k, along_j, along_i), shape, diameter_mm)  # type: ignore[arg-type]
