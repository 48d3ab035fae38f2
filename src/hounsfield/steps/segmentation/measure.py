"""Outlines compared with a reader's: overlap and surfaces of each structure, on the image's own grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.plan import Plan
from hounsfield.metrics.masks import check_masks
from hounsfield.metrics.overlap import measure_overlap
from hounsfield.metrics.segmentation import SegmentedCase
from hounsfield.metrics.surface import measure_surface
from hounsfield.steps.regions.to_grid import IGNORED, Native
from hounsfield.steps.segmentation.table import Segmented

__all__ = ["compared", "measured_names", "table_of_cases", "tolerance_of"]

Compared = dict[str, SegmentedCase | None]


def measured_names(plan: Plan) -> tuple[str, ...]:
    """What is measured: the regions where regions are learned, else the structures."""
    segmentation = plan.segmentation
    return segmentation.region_names if segmentation.regions else segmentation.structures


def tolerance_of(plan: Plan) -> float:
    """The tolerance of surface distances: the plan's, or the largest spacing of its grid (1 without one)."""
    if plan.segmentation.tolerance_mm > 0:
        return plan.segmentation.tolerance_mm
    spacing = plan.grid.spacing_mm or (1.0, 1.0, 1.0)
    return float(max(spacing[1:] if plan.grid.patch[0] == 1 else spacing))


def compared(
    predicted: NDArray[np.uint8], native: Native, plan: Plan, annotated: Sequence[int] | None
) -> Compared:
    """Each structure's comparison; None where nobody outlined it. Voxels that do not count are left out."""
    assert native.labels is not None
    counted = native.labels != IGNORED
    spacing = native.spacing_mm or (1.0, 1.0, 1.0)
    flat = native.shape[0] == 1
    made: Compared = {}
    for n, name in enumerate(measured_names(plan)):
        labels = plan.segmentation.regions[n] if plan.segmentation.regions else (n + 1,)
        if annotated is not None and not set(labels) <= set(annotated):
            made[name] = None
            continue
        one = np.isin(predicted, labels) & counted
        two = np.isin(native.labels, labels) & counted
        pair = check_masks(
            one[0] if flat else one, two[0] if flat else two, spacing_mm=spacing[1:] if flat else spacing
        )
        surface = measure_surface(pair, tolerance_mm=tolerance_of(plan))
        made[name] = SegmentedCase(measure_overlap(pair), surface)
    return made


def table_of_cases(
    cases: Sequence[Case],
    found: Sequence[Compared],
    plan: Plan,
    *,
    kind: str,
    known: bool,
    spacing_known: bool,
) -> Segmented:
    """The table of all cases."""
    names = measured_names(plan)
    columns = sorted({g for c in cases for g in c.groups})
    return Segmented(
        structures=names,
        ids=tuple(c.id for c in cases),
        patients=tuple(c.patient for c in cases),
        cases={name: tuple(f[name] for f in found) for name in names},
        tolerance=tolerance_of(plan),
        unit="mm" if spacing_known else "pixel",
        groups={g: tuple(c.groups.get(g, "") for c in cases) for g in columns},
        kind=kind,
        patients_known=known,
    )
