"""One person in one scanner: the image in HU, the true masks on its own grid, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.applications.chest_ct.anatomy import tissue
from hounsfield.applications.chest_ct.body import Body
from hounsfield.applications.chest_ct.capsules import fill_tubes
from hounsfield.applications.chest_ct.cohort import Patient
from hounsfield.applications.chest_ct.nodules import Nodule, inside
from hounsfield.applications.chest_ct.scanners import Scanner, image_of

__all__ = ["Grid", "Scan", "grid_of", "object_of", "take_scan"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
_BLOOD, _VESSEL, _WALL, _LUMEN, _CALCIUM = 43.0, 46.0, 20.0, -990.0, 620.0
_FINE = 4  # samples a side of a voxel of a nodule
_LOWEST, _HIGHEST = -1024, 3071


@dataclass(frozen=True)
class Grid:
    """Voxels along x, y, z: their number, spacing, and the first one's centre about the carina, in mm."""

    shape: tuple[int, int, int]
    spacing_mm: Doubles
    origin_mm: Doubles


@dataclass(frozen=True)
class Scan:
    """Values in HU and mask (K, J, I); the affine from (i, j, k) to LPS mm; each nodule's centre there.

    A nodule's label in the mask is its place in `nodules` and `centres_mm`, from 1.
    """

    hu: npt.NDArray[np.int16]
    mask: npt.NDArray[np.uint8]
    affine: Doubles
    nodules: tuple[Nodule, ...]
    centres_mm: Doubles


def grid_of(body: Body, scanner: Scanner) -> Grid:
    """The field of view: from below the lungs to above their tips, as wide as the body."""
    half = body.half_width + 9.0 + 1.5 * body.muscle + 1.25 * body.fat + 9.0
    pixel = round(2 * half / scanner.matrix, 4)
    low, high = body.dome_left - 70.0 * body.scale, body.apex + 16.0
    slices = int(np.ceil((high - low) / scanner.slice_mm))
    edge = -pixel * (scanner.matrix - 1) / 2
    return Grid(
        (slices, scanner.matrix, scanner.matrix),
        np.array([pixel, pixel, scanner.slice_mm]),
        np.array([edge, edge + (-6.0 if body.female else 6.0), low]),
    )


def object_of(patient: Patient, grid: Grid, rng: np.random.Generator) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """The chest in HU before the scanner (K, J, I), partial volumes included, and the true mask."""
    where = {"origin_mm": grid.origin_mm, "spacing_mm": grid.spacing_mm}
    hu = tissue(patient.body, grid.shape, rng=rng, **where)
    vessels = patient.vessels
    for tubes, value in (
        (vessels.lungs, _VESSEL),
        (vessels.central, _BLOOD),
        (vessels.calcium, _CALCIUM),
        (vessels.walls, _WALL),
        (vessels.airways, _LUMEN),
    ):
        _blend(hu, fill_tubes(tubes, grid.shape, **where), value)
    mask = np.zeros(grid.shape, np.uint8)
    for label, nodule in enumerate(patient.nodules, start=1):
        _draw(hu, mask, label, nodule, patient.body, grid)
    return hu, mask


def take_scan(patient: Patient, scanner: Scanner, *, seed: int, visit: int = 1) -> Scan:
    """The scan of a patient; `seed` fixes texture, noise and where the patient lay on the table.

    A later `visit` has the same texture, other noise and another place in the field of view.

    >>> from hounsfield.applications.chest_ct.cohort import sample_anatomy, sample_roles
    >>> from hounsfield.applications.chest_ct.scanners import SCANNERS
    >>> patient = sample_anatomy(sample_roles(patients=2, seed=0)[0], seed=0)
    >>> scan = take_scan(patient, SCANNERS["B"], seed=0)
    >>> scan.hu.shape == scan.mask.shape, float(scan.affine[2, 2])
    (True, 2.5)
    """
    rng = np.random.default_rng([seed, 13, patient.role.number])
    grid = grid_of(patient.body, scanner)
    if visit > 1:
        grid = _shifted(grid, np.random.default_rng([seed, 15, patient.role.number, visit]))
    hu, mask = object_of(patient, grid, rng)
    if visit > 1:
        rng = np.random.default_rng([seed, 13, patient.role.number, visit])
    image = image_of(hu, scanner, pixel_mm=float(grid.spacing_mm[0]), rng=rng)
    lay = np.round(rng.uniform([-12.0, -180.0, -320.0], [12.0, -140.0, -90.0]), 1)
    affine = np.diag([*grid.spacing_mm, 1.0])
    affine[:3, 3] = np.round(grid.origin_mm + lay, 4)
    centres = np.array([n.centre_mm for n in patient.nodules]).reshape(-1, 3)
    return Scan(
        np.clip(np.rint(image), _LOWEST, _HIGHEST).astype(np.int16),
        mask,
        affine,
        patient.nodules,
        centres + affine[:3, 3] - grid.origin_mm,
    )


def _shifted(grid: Grid, rng: np.random.Generator) -> Grid:
    # Off the middle of the table by some millimetres, and planned by another hand.
    shift = rng.uniform([-7.0, -5.0, -2.0], [7.0, 5.0, 2.0])
    return Grid(grid.shape, grid.spacing_mm, grid.origin_mm + shift)


def _blend(hu: Floats, part: Floats, value: float) -> None:
    touched = part > 0
    hu[touched] += part[touched] * (value - hu[touched])


def _draw(
    hu: Floats, mask: npt.NDArray[np.uint8], label: int, nodule: Nodule, body: Body, grid: Grid
) -> None:
    # Spicules first; then the body, in whose ground glass the vessels stay visible; then its core.
    spiky = np.float32(0.75) * fill_tubes(
        nodule.spicules, grid.shape, origin_mm=grid.origin_mm, spacing_mm=grid.spacing_mm
    )
    spike_hu = nodule.core_hu if nodule.density != "ground-glass" else nodule.hu + 150.0
    _blend(hu, np.where(hu < spike_hu, spiky, np.float32(0)), spike_hu)
    box, whole, core = _parts(nodule, body, grid)
    below = hu[box]
    over = np.full_like(below, nodule.hu) if nodule.density == "solid" else np.maximum(below, nodule.hu)
    below += whole * (over - below)
    below += core * (nodule.core_hu - below)
    within = whole >= 0.5
    within[np.unravel_index(int(whole.argmax()), whole.shape)] = True  # the smallest keeps a voxel
    mask[box][within] = label


def _parts(nodule: Nodule, body: Body, grid: Grid) -> tuple[tuple[slice, ...], Floats, Floats]:
    # The box (k, j, i) around a nodule, and what part of its voxels the nodule and its solid core fill.
    reach = nodule.radius_mm * (1.0 + float(np.abs(nodule.bumps[:, 3]).sum())) + grid.spacing_mm
    low = np.floor((nodule.origin_mm - reach - grid.origin_mm) / grid.spacing_mm).astype(int)
    high = np.ceil((nodule.origin_mm + reach - grid.origin_mm) / grid.spacing_mm).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, grid.shape[::-1])
    step = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    axes = [
        grid.origin_mm[n] + (np.arange(low[n], high[n])[:, None] + step).ravel() * grid.spacing_mm[n]
        for n in range(3)
    ]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    sizes = [v for n in (2, 1, 0) for v in (int(high[n] - low[n]), _FINE)]

    def filled(part: float) -> Floats:
        within = inside(nodule, points, body, part=part).reshape(sizes)
        shares: Floats = within.mean((1, 3, 5), dtype=np.float32)
        return shares

    whole = filled(1.0)
    core = np.zeros_like(whole)
    if nodule.density == "part-solid":
        core = filled(nodule.solid_mm / nodule.diameter_mm)
    return tuple(slice(int(low[n]), int(high[n])) for n in (2, 1, 0)), whole, core
