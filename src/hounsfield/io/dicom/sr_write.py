"""Measurements of segments written as a structured report: TID 1500 with a group a finding.

A segment of a volume is a group of TID 1411 (PS3.16) with its volume, one of a single image a group of TID
1410 with its area.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io.dicom.seg_write import Algorithm
from hounsfield.io.dicom.source_grid import SourceGrid, grid_of
from hounsfield.io.dicom.sr_document import evidence_of, highdicom, identified, measurement, write_report
from hounsfield.io.dicom.structures import Code, plain_name
from hounsfield.io.source import Source

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Measured", "write_measurements"]

_MM3, _MM2 = Code("mm3", "cubic millimeter", "UCUM"), Code("mm2", "square millimeter", "UCUM")
_MM, _PIXELS = Code("mm", "mm", "UCUM"), Code("{pixels}", "pixels", "UCUM")


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of one segment, which is named by its label in the segmentation.

    Of a volume the diameter is the longest in three dimensions (`metrics.finding_size`). A segment of a
    single image has no volume but `area_mm2`, and its diameter lies in the image; where its spacing is
    unknown it has `pixels` alone.
    """

    name: str
    volume_mm3: float | None
    longest_diameter_mm: float | None
    area_mm2: float | None = None
    pixels: int | None = None

    @property
    def is_flat(self) -> bool:
        """True for a segment of a single image."""
        return self.volume_mm3 is None

    @property
    def numbers(self) -> tuple[float, ...]:
        """All that was measured."""
        given = (self.volume_mm3, self.area_mm2, self.pixels, self.longest_diameter_mm)
        return tuple(v for v in given if v is not None)


def write_measurements(
    measured: Sequence[Measured],
    segmentation: Path | str,
    source: Source,
    series: Series,
    *,
    out: Path | str,
    algorithm: Algorithm | None = None,
    series_number: int = 901,
) -> Path:
    """Write the measurements as a DICOM report (Comprehensive 3D SR), whole or not at all; gives `out` back.

    `segmentation` is the file that `write_segmentation` made of the same series: each finding refers to its
    segment there and bears its type, side, place and tracking UID. No person is named as an observer, only
    the device; the report is complete and unverified.

    Raises BadInput for a name that is no segment there or comes twice, for values that are no lengths or
    volumes, for a segmentation of another series; MissingDependency without highdicom.
    """
    highdicom()
    grid = grid_of(source, series)
    drawn = _segmentation(segmentation, grid, series)
    segments = _matched(measured, drawn)
    by = algorithm or Algorithm()
    groups = [_group(m, segments[plain_name(m.name)], drawn, grid, by) for m in measured]
    own = {(str(drawn.SOPClassUID), str(drawn.SOPInstanceUID)): str(drawn.SeriesInstanceUID)}
    evidence = evidence_of(grid, own)
    return write_report(groups, grid, evidence, out=out, algorithm=by, series_number=series_number)


def _segmentation(path: Path | str, grid: SourceGrid, series: Series) -> Dataset:
    """The header of the segmentation, if it was drawn on this series."""
    from hounsfield.io.dicom.datasets import dataset_of
    from hounsfield.io.dicom.elements import faults
    from hounsfield.io.dicom.segments import is_segmentation

    try:
        with Source(path) as held:
            drawn = dataset_of(held, held.members[0], before_pixels=True)
        fits = is_segmentation(drawn) and grid.series_uid in {
            str(i.SeriesInstanceUID) for i in drawn.get("ReferencedSeriesSequence") or ()
        }
    except faults():
        fits = False
    if not fits:
        raise BadInput(
            f"the measurements' segmentation was not drawn on image {series.id}; give the file that was "
            "written for it (write_segmentation)"
        )
    return drawn


def _matched(measured: Sequence[Measured], drawn: Dataset) -> dict[str, Dataset]:
    """The segments by plain name, after every measurement was found to have one."""
    segments = {plain_name(str(s.SegmentLabel)): s for s in drawn.SegmentSequence if int(s.SegmentNumber)}
    seen: set[str] = set()
    for m in measured:
        name = plain_name(m.name)
        if name not in segments or name in seen:
            fault = "was measured twice" if name in seen else "is no segment of the segmentation"
            raise BadInput(f'"{m.name[:64]}" {fault}; give one measurement for each of its segments\' labels')
        if not m.numbers or not all(isfinite(v) and v > 0 for v in m.numbers):
            given = (f"{m.volume_mm3:g} mm³ and " if m.volume_mm3 is not None else "") + (
                f"{m.longest_diameter_mm:g} mm" if m.longest_diameter_mm is not None else "nothing else"
            )
            raise BadInput(
                f'"{m.name[:64]}" measures {given}; expected numbers above 0: leave out what was not found'
            )
        seen.add(name)
    if not seen:
        raise BadInput("no measurement was given; give at least one")
    return segments


def _group(m: Measured, segment: Dataset, drawn: Dataset, grid: SourceGrid, algorithm: Algorithm) -> Any:
    """One finding: what it is, where, its segment, and its numbers with how they were found (TID 300)."""
    hd = highdicom()
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    category = segment.SegmentedPropertyCategoryCodeSequence[0]
    told: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=str(segment.TrackingUID), identifier=str(segment.TrackingID)
        ),
        "finding_category": _code_of(hd, category),
        "finding_type": _code_of(hd, kind),
        "finding_sites": _sites(hd, segment, kind, category),
        "algorithm_id": identified(algorithm),
        "measurements": _numbers(m),
    }
    number = int(segment.SegmentNumber)
    where = {"sop_class_uid": str(drawn.SOPClassUID), "sop_instance_uid": str(drawn.SOPInstanceUID)}
    if not m.is_flat:
        there = hd.sr.ReferencedSegment(
            **where,
            segment_number=number,
            source_series=hd.sr.SourceSeriesForSegmentation(grid.series_uid),
        )
        return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=there, **told)
    image = grid.references[0]
    frame = hd.sr.ReferencedSegmentationFrame(
        **where,
        frame_number=1,
        segment_number=number,
        source_image=hd.sr.SourceImageForSegmentation(
            image.class_uid, image.instance_uid, [image.frame] if image.frame else None
        ),
    )
    # segment and frame exclude each other (C.18.4); of a single image the segment has one frame alone
    del frame[0].ReferencedSOPSequence[0].ReferencedFrameNumber
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=frame, **told)


def _numbers(m: Measured) -> list[Any]:
    made = []
    if m.volume_mm3 is not None:
        how = Code("126030", "Sum of segmented voxel volumes", "DCM")
        made.append(measurement(Code("118565006", "Volume"), m.volume_mm3, _MM3, method=how))
    if m.area_mm2 is not None:
        made.append(measurement(Code("42798000", "Area"), m.area_mm2, _MM2))
    elif m.pixels is not None:
        made.append(measurement(Code("42798000", "Area"), m.pixels, _PIXELS))
    if m.longest_diameter_mm is not None:
        solid = Code("L0JK", "Maximum 3D Diameter of a Mesh", "IBSI")
        name = Code("103339001", "Long axis") if m.is_flat else solid
        made.append(measurement(name, m.longest_diameter_mm, _MM))
    return made


def _code_of(hd: Any, item: Dataset) -> Any:
    return hd.sr.CodedConcept(
        str(item.CodeValue),
        str(item.CodingSchemeDesignator),
        str(item.CodeMeaning),
    )


def _sites(hd: Any, segment: Dataset, kind: Dataset, category: Dataset) -> list[Any] | None:
    """Where it lies: the segment's region, or the structure itself if that is anatomy; with its side."""
    region = segment.get("AnatomicRegionSequence")
    if not region and str(category.CodeValue) != "91723000":
        return None
    side = kind.get("SegmentedPropertyTypeModifierCodeSequence")
    return [
        hd.sr.FindingSite(
            _code_of(hd, region[0] if region else kind), laterality=_code_of(hd, side[0]) if side else None
        )
    ]
