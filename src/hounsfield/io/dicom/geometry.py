"""Where slices lie: their order along the normal, faults of spacing, and the voxel-to-patient affine.

DICOM's own axes are kept: x to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Plane", "Stacked", "affine_of", "flat_affine", "plane_of", "stacked"]

_TOLERANCE = 0.05  # of the median gap between slices
_SAME_DIRECTION = 1e-3  # largest difference of a direction cosine, 0.06 degrees


@dataclass(frozen=True, slots=True)
class Plane:
    """A slice in the patient: centre of its first voxel in mm, and the unit directions of i and of j."""

    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.cross(self.orientation[:3], self.orientation[3:])


@dataclass(frozen=True, slots=True)
class Stacked:
    """Slices in order along their normal, the step from one to the next (LPS mm), or the fault.

    The step is not parallel to the normal where the gantry was tilted: the shear is kept.
    """

    order: tuple[int, ...] = ()
    step_mm: tuple[float, ...] = ()
    fault: str = ""
    by_duplicates: bool = False


def plane_of(position_mm: Sequence[float], orientation: Sequence[float]) -> Plane | None:
    """A plane, or None unless the directions are of length one and perpendicular (within 1 %)."""
    if len(position_mm) != 3 or len(orientation) != 6:
        return None
    i, j = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.array([i @ i, j @ j])
    if np.abs(lengths - 1).max() > 0.02 or abs(i @ j) > 0.01:
        return None
    return Plane(tuple(position_mm), tuple(orientation))


def stacked(planes: Sequence[Plane], *, noun: str = "slices") -> Stacked:
    """Order slices along their normal and check that they are parallel, distinct and evenly spaced.

    >>> axial = (1, 0, 0, 0, 1, 0)
    >>> stacked([Plane((0, 0, z), axial) for z in (10., 0., 5.)]).order
    (1, 2, 0)
    >>> stacked([Plane((0, 0, z), axial) for z in (0., 5., 10., 20.)]).fault
    'a gap between slices 3 and 4: 10.0 mm where 5.0 mm was expected'
    """
    turned = np.abs(np.array([p.orientation for p in planes]) - np.array(planes[0].orientation))
    if turned.max() > _SAME_DIRECTION:
        return Stacked(fault=f"{noun} of mixed orientation; expected parallel {noun}")
    positions = np.array([p.position_mm for p in planes], np.float64)
    along = positions @ planes[0].normal
    order = np.argsort(along, kind="stable")
    steps = np.diff(positions[order], axis=0)
    gaps = np.diff(along[order])
    distinct = gaps[gaps > 1e-4]
    # the lower median: of two gaps that differ, the wider one is the fault
    usual = float(np.sort(distinct)[(distinct.size - 1) // 2]) if distinct.size else 0.0
    if (same := np.flatnonzero(gaps <= max(1e-4, 0.01 * usual))).size:
        first = int(same[0]) + 1
        fault = f"{noun} {first} and {first + 1} share one position; expected distinct positions"
        return Stacked(tuple(order.tolist()), fault=fault, by_duplicates=True)
    fault = _uneven(gaps, usual, noun) or _sideways(steps, gaps, planes[0].normal, usual, noun)
    mean_step = (positions[order[-1]] - positions[order[0]]) / len(gaps)
    return Stacked(tuple(order.tolist()), tuple(mean_step.tolist()), fault)


def affine_of(
    plane: Plane, spacing_mm: Sequence[float], step_mm: Sequence[float] | None
) -> NDArray[np.float64]:
    """The (4, 4) affine from voxel (i, j, k) to LPS mm; `plane` is of slice 0, spacing is (j, i).

    Without a step, k runs along the normal by 1 mm.
    """
    affine = np.eye(4)
    affine[:3, 0] = np.array(plane.orientation[:3]) * spacing_mm[1]
    affine[:3, 1] = np.array(plane.orientation[3:]) * spacing_mm[0]
    affine[:3, 2] = plane.normal if step_mm is None else step_mm
    affine[:3, 3] = plane.position_mm
    return affine


def flat_affine(spacing_kji_mm: Sequence[float]) -> NDArray[np.float64]:
    """The affine of an image of known spacing but unknown place."""
    k, j, i = spacing_kji_mm
    return np.diag([i, j, k, 1.0])


def _uneven(gaps: NDArray[np.float64], usual: float, noun: str) -> str:
    wrong = np.flatnonzero(np.abs(gaps - usual) > _TOLERANCE * usual)
    if not wrong.size:
        return ""
    n = int(wrong[0])
    between = f"between {noun} {n + 1} and {n + 2}: {gaps[n]:.1f} mm where {usual:.1f} mm was expected"
    if f"{gaps[n]:.1f}" == f"{usual:.1f}":
        between = f"between {noun} {n + 1} and {n + 2}: {gaps[n]:.3f} mm where {usual:.3f} mm was expected"
    return f"a gap {between}" if gaps[n] > usual else f"too small a distance {between}"


def _sideways(
    steps: NDArray[np.float64],
    gaps: NDArray[np.float64],
    normal: NDArray[np.float64],
    usual: float,
    noun: str,
) -> str:
    """Fault if the shift within the plane differs from slice to slice: no affine describes that."""
    within = steps - np.outer(gaps, normal)
    strays = np.linalg.norm(within - np.median(within, axis=0), axis=1)
    wrong = np.flatnonzero(strays > _TOLERANCE * usual)
    if not wrong.size:
        return ""
    n = int(wrong[0])
    return f"{noun} {n + 1} and {n + 2} are shifted sideways by {strays[n]:.1f} mm against the others"
