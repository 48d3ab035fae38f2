"""Measurements of segments written as a structured report: TID 1500 with a group a finding (PS3.16 TID 1411).

highdicom makes the content, because a tree of templates is long to write and short to run; it is an optional
dependency and imported here alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hounsfield.core.errors import BadInput, MissingDependency
from hounsfield.core.index import Series
from hounsfield.io.dicom.seg_write import Algorithm
from hounsfield.io.dicom.source_grid import SourceGrid, grid_of
from hounsfield.io.dicom.structures import plain_name
from hounsfield.io.files import whole_file
from hounsfield.io.source import Source

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Measured", "write_measurements"]

_PROCEDURES = {
    "CT": ("25045-6", "CT unspecified body region"), "MR": ("25056-3", "MRI unspecified body region"),
    "PT": ("44136-0", "PET unspecified body region"), "NM": ("49118-3", "NM unspecified body region"),
}  # fmt: skip
_ANY_PROCEDURE = ("43468-8", "XR unspecified body region")


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of one segment, which is named by its label in the segmentation.

    The diameter is the longest in three dimensions (`metrics.finding_size`).
    """

    name: str
    volume_mm3: float
    longest_diameter_mm: float


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
    hd = _highdicom()
    grid = grid_of(source, series)
    drawn = _segmentation(segmentation, grid, series)
    segments = _matched(measured, drawn)
    by = algorithm or Algorithm()
    groups = [_group(hd, m, segments[plain_name(m.name)], drawn, grid, by) for m in measured]
    observer = hd.sr.ObserverContext(
        observer_type=_dcm(hd, "121007", "Device"),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=hd.UID(), name=by.name, manufacturer_name="Hounsfield", model_name=by.name,
            serial_number=by.serial,
        ),
    )  # fmt: skip
    procedure = _PROCEDURES.get(grid.modality, _ANY_PROCEDURE)
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=hd.sr.CodedConcept(procedure[0], "LN", procedure[1]),
        imaging_measurements=groups,
        title=_dcm(hd, "126000", "Imaging Measurement Report"),
    )
    made = hd.sr.Comprehensive3DSR(
        evidence=_evidence(drawn, grid), content=report, series_instance_uid=hd.UID(),
        series_number=series_number, sop_instance_uid=hd.UID(), instance_number=1, manufacturer="Hounsfield",
        manufacturer_model_name=by.name, software_versions=by.version or version("hounsfield"),
        device_serial_number=by.serial, is_complete=True, is_final=False, is_verified=False,
        series_description=f"Measurements by {by.name}"[:64],
    )  # fmt: skip
    with whole_file(out) as unfinished:
        made.save_as(unfinished, enforce_file_format=True)
    return Path(out)


def _highdicom() -> Any:
    try:
        import highdicom as hd
    except ImportError as error:
        raise MissingDependency(
            'a structured report needs highdicom; pip install "hounsfield[dicom-results]"'
        ) from error
    return hd


def _dcm(hd: Any, value: str, meaning: str) -> Any:
    return hd.sr.CodedConcept(value, "DCM", meaning)


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
        if not all(isfinite(v) and v > 0 for v in (m.volume_mm3, m.longest_diameter_mm)):
            raise BadInput(
                f'"{m.name[:64]}" measures {m.volume_mm3:g} mm³ and {m.longest_diameter_mm:g} mm; expected '
                "numbers above 0: leave out what was not found"
            )
        seen.add(name)
    if not seen:
        raise BadInput("no measurement was given; give at least one")
    return segments


def _group(
    hd: Any, m: Measured, segment: Dataset, drawn: Dataset, grid: SourceGrid, algorithm: Algorithm
) -> Any:
    """One finding: what it is, where, its segment, and two numbers with how they were found (TID 300)."""
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    category = segment.SegmentedPropertyCategoryCodeSequence[0]
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=str(segment.TrackingUID), identifier=str(segment.TrackingID)
        ),
        referenced_segment=hd.sr.ReferencedSegment(
            sop_class_uid=str(drawn.SOPClassUID),
            sop_instance_uid=str(drawn.SOPInstanceUID),
            segment_number=int(segment.SegmentNumber),
            source_series=hd.sr.SourceSeriesForSegmentation(grid.series_uid),
        ),
        finding_category=_code_of(hd, category),
        finding_type=_code_of(hd, kind),
        finding_sites=_sites(hd, segment, kind, category),
        algorithm_id=hd.sr.AlgorithmIdentification(
            name=algorithm.name, version=algorithm.version or version("hounsfield")
        ),
        measurements=[
            hd.sr.Measurement(
                name=hd.sr.CodedConcept("118565006", "SCT", "Volume"),
                value=float(f"{m.volume_mm3:.9g}"),
                unit=hd.sr.CodedConcept("mm3", "UCUM", "cubic millimeter"),
                method=_dcm(hd, "126030", "Sum of segmented voxel volumes"),
            ),
            hd.sr.Measurement(
                name=hd.sr.CodedConcept("L0JK", "IBSI", "Maximum 3D Diameter of a Mesh"),
                value=float(f"{m.longest_diameter_mm:.9g}"),
                unit=hd.sr.CodedConcept("mm", "UCUM", "mm"),
            ),
        ],
    )


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


def _evidence(drawn: Dataset, grid: SourceGrid) -> list[Dataset]:
    """The segmentation and the images behind it, as references need them, with the patient's elements."""
    from pydicom.dataset import Dataset

    rows = {(r.class_uid, r.instance_uid): grid.series_uid for r in grid.references}
    rows = {(str(drawn.SOPClassUID), str(drawn.SOPInstanceUID)): str(drawn.SeriesInstanceUID)} | rows
    made = []
    for (class_uid, instance_uid), series_uid in rows.items():
        item = Dataset()
        item.update(grid.taken)
        item.SOPClassUID, item.SOPInstanceUID, item.SeriesInstanceUID = class_uid, instance_uid, series_uid
        made.append(item)
    return made
