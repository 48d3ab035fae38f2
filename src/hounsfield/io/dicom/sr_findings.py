"""Objects that a detector found, written as a structured report: TID 1500 with a place for each.

In a volume with a place in the patient a sphere is an ellipsoid and a box a stack of rectangles, in
millimetres of the frame of reference (SCOORD3D, TID 1411); in a single image they are a circle or ellipse and
a rectangle in its pixels (SCOORD, TID 1410). Nothing is drawn into voxels, and no segmentation is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.marked import Marked
from hounsfield.io.dicom.confidential import legible
from hounsfield.io.dicom.seg_write import Algorithm
from hounsfield.io.dicom.source_grid import SourceGrid, grid_of
from hounsfield.io.dicom.sr_document import (
    coded,
    evidence_of,
    highdicom,
    identified,
    measurement,
    write_report,
)
from hounsfield.io.dicom.structures import Code, Structure
from hounsfield.io.source import Source

__all__ = ["Found", "write_findings"]

Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """An object in voxels (k, j, i) of its image, what it is, and how sure the detector was (0 to 1).

    `diameter_mm` is None where the image's spacing is unknown.
    """

    where: Marked
    what: Structure
    score: float
    diameter_mm: float | None


def write_findings(
    found: Sequence[Found],
    source: Source,
    series: Series,
    *,
    out: Path | str,
    algorithm: Algorithm | None = None,
    series_number: int = 902,
) -> Path:
    """Write what was found in a DICOM series as a report, whole or not at all; gives `out` back.

    Each finding bears its type, its place and two numbers: its diameter, and the score as "certainty of
    finding" in percent (the detector's own, which need not be a probability). Raises BadInput for a series
    that is not DICOM, for nothing found, and for objects outside the image; MissingDependency without
    highdicom.
    """
    highdicom()
    grid = grid_of(source, series)
    if not found:
        raise BadInput(f"image {series.id}: nothing was found in it, and a report of nothing is not written")
    for one in found:
        _require_inside(one, grid, series)
    by = algorithm or Algorithm()
    groups = [_group(one, n, grid, by) for n, one in enumerate(found, start=1)]
    return write_report(groups, grid, evidence_of(grid), out=out, algorithm=by, series_number=series_number)


def _require_inside(one: Found, grid: SourceGrid, series: Series) -> None:
    numbers = (*one.where.centre, *one.where.size, one.score, one.diameter_mm or 0.0)
    inside = all(-0.5 <= c <= n - 0.5 for c, n in zip(one.where.centre, grid.shape, strict=True))
    if not (all(map(isfinite, numbers)) and min(one.where.size) > 0 and inside and 0 <= one.score <= 1):
        raise BadInput(
            f"image {series.id}: an object at {tuple(round(c, 1) for c in one.where.centre)} of score "
            f"{one.score:g} was found in {grid.shape} voxels (k, j, i); expected a centre inside, a size "
            "above 0 and a score from 0 to 1"
        )


def _group(one: Found, number: int, grid: SourceGrid, algorithm: Algorithm) -> Any:
    hd = highdicom()
    label = legible(one.what.name).replace("\\", "/")[:58]
    numbers = [
        measurement(
            Code("111012", "Certainty of Finding", "DCM"), 100 * one.score, Code("%", "Percent", "UCUM")
        )
    ]
    if one.diameter_mm:
        diameter = Code("81827009", "Diameter")
        numbers.insert(0, measurement(diameter, one.diameter_mm, Code("mm", "mm", "UCUM")))
    place = one.what.place
    told: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(uid=hd.UID(), identifier=f"{label} {number}"),
        "finding_category": coded(one.what.category),
        "finding_type": coded(one.what.kind),
        "finding_sites": [_site(one.what, place)] if place else None,
        "algorithm_id": identified(algorithm),
        "measurements": numbers,
    }
    if grid.affine is None or grid.shape[0] == 1:
        region = _in_image(one.where, grid)
        return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **told)
    surface = _in_patient(one.where, grid)
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_volume_surface=surface, **told)


def _site(what: Structure, place: Code) -> Any:
    return highdicom().sr.FindingSite(coded(place), laterality=coded(what.side) if what.side else None)


def _in_patient(where: Marked, grid: SourceGrid) -> Any:
    """The surface in LPS mm."""
    hd = highdicom()
    corners = _ellipsoid(where, grid) if where.shape == "sphere" else _rectangles(where, grid)
    return hd.sr.VolumeSurface(
        graphic_type="ELLIPSOID" if where.shape == "sphere" else "POLYGON",
        graphic_data=corners,
        frame_of_reference_uid=grid.frame_of_reference,
        source_series=hd.sr.SourceSeriesForSegmentation(grid.series_uid),
    )


def _ellipsoid(where: Marked, grid: SourceGrid) -> list[Real]:
    """The ends of its axes, in pairs; they stand upright on each other also where slices are sheared."""
    assert grid.affine is not None
    k, j, i = where.centre
    middle = (grid.affine @ np.array([i, j, k, 1.0]))[:3]
    rows, columns = np.reshape(grid.orientation, (2, 3))
    ends = []
    for size, step, direction in zip(
        where.size[::-1], grid.spacing_mm[::-1], (rows, columns, np.cross(rows, columns)), strict=True
    ):
        half = direction * size * step / 2
        ends += [middle - half, middle + half]
    return [np.array(ends)]


def _rectangles(where: Marked, grid: SourceGrid) -> list[Real]:
    """One closed rectangle for every slice in the box; its two faces where it holds fewer than two slices."""
    assert grid.affine is not None
    (k0, j0, i0), (k1, j1, i1) = where.low, where.high
    slices = [float(k) for k in range(int(np.ceil(k0)), int(np.floor(k1)) + 1)]
    round_ = [(i0, j0), (i1, j0), (i1, j1), (i0, j1), (i0, j0)]
    return [
        np.array([(grid.affine @ np.array([i, j, k, 1.0]))[:3] for i, j in round_])
        for k in (slices if len(slices) > 1 else [k0, k1])
    ]


def _in_image(where: Marked, grid: SourceGrid) -> Any:
    """The outline in pixels of the slice, x before y; the first pixel's corner is (0, 0) (C.18.6.1.2)."""
    hd = highdicom()
    k, y, x = where.centre[0], where.centre[1] + 0.5, where.centre[2] + 0.5
    high, wide = where.size[1] / 2, where.size[2] / 2
    if where.shape == "box":
        kind = "POLYLINE"
        corners = [(-wide, -high), (wide, -high), (wide, high), (-wide, high), (-wide, -high)]
        points = [(x + a, y + b) for a, b in corners]
    elif abs(high - wide) <= 1e-3 * max(high, wide):
        kind, points = "CIRCLE", [(x, y), (x + wide, y)]
    else:
        kind, across, along = "ELLIPSE", [(x - wide, y), (x + wide, y)], [(x, y - high), (x, y + high)]
        points = across + along if wide >= high else along + across  # the longer axis first
    image = grid.references[round(k)]
    held = np.clip(np.array(points), 0, [grid.shape[2], grid.shape[1]])
    return hd.sr.ImageRegion(
        graphic_type=kind,
        graphic_data=held if kind == "POLYLINE" else np.array(points),
        source_image=hd.sr.SourceImageForRegion(
            image.class_uid, image.instance_uid, [image.frame] if image.frame else None
        ),
    )
