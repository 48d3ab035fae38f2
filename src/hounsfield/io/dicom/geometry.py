"""Where slices lie: their order along the normal, faults of spacing, and the voxel-to-patient affine.

DICOM's own axes are kept: x to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Stacked",
    "affine_of",
    "flat_affine",
    "normal_of",
    "parallel_groups",
    "places_of",
    "stacked",
    "tolerance_mm",
    "usable",
]

Array = NDArray[np.float64]
_SAME_DIRECTION = 1e-3  # largest difference of a direction cosine, 0.06 degrees
_TILT = 0.005  # sideways shift a unit of height: 0.3 degrees, under the half degree of a CT's gantry
_STEEPEST = 1.0  # 45 degrees; a gantry turns by 30 at most


@dataclass(frozen=True, slots=True)
class Stacked:
    """Slices in order along their normal, the step from one to the next (LPS mm), or the fault.

    `kind` is "regular", or "tilt" where the step is not parallel to the normal, as under a tilted
    gantry: the shear is kept. `fault` begins with "gap", "duplicate" or "irregular".
    """

    order: tuple[int, ...] = ()
    step_mm: tuple[float, ...] = ()
    fault: str = ""
    kind: str = ""


def tolerance_mm(step_mm: float) -> float:
    """How far a slice may lie from its place in a regular stack: rounding, not a fault.

    A hundredth of the step, or the 0.1 mm by which positions written with one decimal are off (each end
    by 0.05 mm), but never more than a tenth of the step. Peers: 0.1 mm in dicom2nifti, 0.2 mm in
    dcm2niix; the 0.01 mm and less of ITK and Slicer warns of clean series (ITK#1607, dicom2nifti#36).

    >>> [round(tolerance_mm(step), 3) for step in (0.05, 0.5, 1.25, 5.0, 20.0)]
    [0.005, 0.05, 0.1, 0.1, 0.2]
    """
    return min(max(0.01 * abs(step_mm), 0.1), 0.1 * abs(step_mm))


def usable(orientations: Array) -> NDArray[np.bool_]:
    """Which rows (N, 6) are two directions of length one and perpendicular, within 1 %.

    >>> usable(np.array([[1, 0, 0, 0, 1, 0], [1, 0, 0, 1, 0, 0], [np.nan] * 6]))
    array([ True, False, False])
    """
    i, j = orientations[:, :3], orientations[:, 3:]
    with np.errstate(all="ignore"):
        long = np.abs(np.stack([(i * i).sum(1), (j * j).sum(1)]) - 1).max(0) <= 0.02
        return np.asarray(long & (np.abs((i * j).sum(1)) <= 0.01))


def parallel_groups(orientations: Array) -> NDArray[np.int64]:
    """Number the rows (N, 6) by direction, in order of appearance, within 0.06 degrees.

    >>> parallel_groups(np.array([[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 1e-5, 0, 1, 0]]))
    array([0, 1, 0])
    """
    groups = np.full(len(orientations), -1, np.int64)
    number = 0
    while (left := np.flatnonzero(groups < 0)).size:
        away = np.abs(orientations[left] - orientations[left[0]]).max(axis=1)
        groups[left[~(away > _SAME_DIRECTION)]] = number
        number += 1
    return groups


def normal_of(orientation: Array) -> Array:
    """The unit normal of a slice: along rows x along columns."""
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal))


def places_of(positions_mm: Array, orientation: Array) -> NDArray[np.int64]:
    """Number the slices (N, 3) by height along their normal; slices at one height have one number.

    Heights are one where they differ by less than a hundredth of the usual distance.

    >>> places_of(np.array([[0, 0, 5.0], [0, 0, 0.0], [0, 0, 5.001]]), np.array([1, 0, 0, 0, 1, 0.0]))
    array([1, 0, 1])
    """
    along = positions_mm @ normal_of(orientation)
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    apart = gaps[gaps > 0.01] if (gaps > 0.01).any() else gaps[gaps > 1e-4]
    usual = float(np.median(apart)) if apart.size else 0.0
    places = np.zeros(len(along), np.int64)
    places[order[1:]] = np.cumsum(gaps > max(1e-4, 0.01 * usual))
    return places


def stacked(positions_mm: Array, orientation: Array, *, noun: str = "slices") -> Stacked:
    """Order parallel slices (N, 3) along their normal and check that they are distinct and evenly spaced.

    Every slice must lie within `tolerance_mm` of the straight line of even steps from the first to the
    last, so a spacing is never the mean of different ones.

    >>> axial = np.array([1, 0, 0, 0, 1, 0.0])
    >>> stacked(np.array([[0, 0, z] for z in (10., 0., 5.)]), axial).order
    (1, 2, 0)
    >>> stacked(np.array([[0, 0, z] for z in (0., 5., 10., 20.)]), axial).fault
    'gap between slices 3 and 4: 10.0 mm where 5.0 mm was expected; send the missing slices again'
    """
    normal = normal_of(orientation)
    along = positions_mm @ normal
    order = np.argsort(along, kind="stable")
    chosen = tuple(order.tolist())
    if len(order) < 2:
        return Stacked(chosen, tuple(normal.tolist()))
    places = places_of(positions_mm, orientation)[order]
    if (same := np.flatnonzero(np.diff(places) == 0)).size:
        first = int(same[0]) + 1
        what = f"duplicate: {noun} {first} and {first + 1} share one position"
        return Stacked(chosen, fault=f"{what} and nothing tells them apart; remove one")
    ordered = positions_mm[order]
    step = (ordered[-1] - ordered[0]) / (len(order) - 1)
    away = ordered - ordered[0] - np.arange(len(order))[:, None] * step
    height = float(step @ normal)
    fault = ""
    if np.linalg.norm(away, axis=1).max() > tolerance_mm(height):
        fault = _fault(ordered, away, normal, noun)
    slant = float(np.linalg.norm(step - height * normal)) / height
    if not fault and slant > _STEEPEST:
        fault = f"irregular: {noun} are shifted sideways by more than their distance of {height:.1f} mm"
    kind = "" if fault else "tilt" if slant > _TILT else "regular"
    return Stacked(chosen, tuple(step.tolist()), fault, kind)


def affine_of(
    position_mm: Sequence[float] | Array,
    orientation: Sequence[float] | Array,
    spacing_mm: Sequence[float] | Array,
    step_mm: Sequence[float] | Array,
) -> Array:
    """The (4, 4) affine from voxel (i, j, k) to LPS mm; place and directions of slice 0, spacing (j, i)."""
    affine = np.eye(4)
    affine[:3, 0] = np.asarray(orientation[:3], np.float64) * spacing_mm[1]
    affine[:3, 1] = np.asarray(orientation[3:], np.float64) * spacing_mm[0]
    affine[:3, 2] = step_mm
    affine[:3, 3] = position_mm
    return affine


def flat_affine(spacing_kji_mm: Sequence[float]) -> Array:
    """The affine of an image of known spacing but unknown place."""
    k, j, i = spacing_kji_mm
    return np.diag([i, j, k, 1.0])


def _fault(ordered: Array, away: Array, normal: Array, noun: str) -> str:
    """In words why ordered slices are no regular stack."""
    gaps = np.diff(ordered, axis=0) @ normal
    # the lower median: of two gaps that differ, the wider one is the fault
    usual = float(np.sort(gaps)[(gaps.size - 1) // 2])
    wrong = np.flatnonzero(np.abs(gaps - usual) > 2 * tolerance_mm(usual))
    if wrong.size:
        n = int(wrong[0])
        lost = (gaps[wrong] > 1.5 * usual).all() and wrong.size * 2 <= gaps.size
        if lost:
            pair = f"gap between {noun} {n + 1} and {n + 2}"
            said = f"{pair}: {gaps[n]:.1f} mm where {usual:.1f} mm was expected"
            return f"{said}; send the missing {noun} again"
        digits = 1 if f"{gaps[n]:.1f}" != f"{usual:.1f}" else 3
        pair = f"irregular: {noun} {n + 1} and {n + 2} lie {gaps[n]:.{digits}f} mm apart"
        return f"{pair} where {usual:.{digits}f} mm was expected"
    within = away - np.outer(away @ normal, normal)
    strays = np.linalg.norm(np.diff(within, axis=0) - np.median(np.diff(within, axis=0), axis=0), axis=1)
    if strays.max() > tolerance_mm(usual):
        n = int(np.argmax(strays > tolerance_mm(usual)))
        return (
            f"irregular: {noun} {n + 1} and {n + 2} are shifted sideways by {strays[n]:.1f} mm "
            "against the others"
        )
    most = float(np.linalg.norm(away, axis=1).max())
    return (
        f"irregular: the distances of the {noun} drift between {gaps.min():.3f} and {gaps.max():.3f} mm, "
        f"by up to {most:.2f} mm in place"
    )
