"""Benign and malignant lesions: what they are in space and what each view shows of them.

Descriptors follow the BI-RADS lexicon (ACR BI-RADS Atlas, 5th ed., 2013): a benign mass is round
or oval, circumscribed, of equal or low density, its calcifications coarse or rim-like; a malignant
mass is irregular, indistinct or spiculated, of high density, its calcifications fine, pleomorphic
and grouped. The two overlap on purpose: some malignant masses look smooth, some benign ones do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from hounsfield.applications.mammography.anatomy import (
    VIEWS,
    Breast,
    Floats,
    View,
    outline,
    project,
)
from hounsfield.applications.mammography.grid import Grid, draw_strands

__all__ = ["Lesion", "LesionShadow", "lesion_shadow", "sample_lesion"]

Calcification = Literal["none", "fine", "coarse", "rim"]


@dataclass(frozen=True)
class Lesion:
    """One mass: its place (behind, lateral, superior), its radius and its margin.

    `irregularity` is the relative deviation of the margin's radius, `blur_mm` the softness of the
    margin, `density` the part of the mass that is tumour or fibrous tissue along the beam.
    """

    malignant: bool
    place_mm: tuple[float, float, float]
    radius_mm: float
    elongation: float
    irregularity: float
    blur_mm: float
    density: float
    spicules: int
    calcification: Calcification
    seed: int


@dataclass(frozen=True)
class LesionShadow:
    """What one view shows: maps (H, W) of `mass_mm` and `calcium_mm` along the beam, and where."""

    mass_mm: Floats
    calcium_mm: Floats
    row: float
    column: float


def sample_lesion(rng: np.random.Generator, breast: Breast, *, malignant: bool) -> Lesion:
    """A lesion that both views of the breast show whole, off the muscle and off the skin.

    >>> from hounsfield.applications.mammography.anatomy import sample_breasts
    >>> rng = np.random.default_rng(0)
    >>> lesion = sample_lesion(rng, sample_breasts(rng, density="b")[0], malignant=True)
    >>> 3.0 <= lesion.radius_mm <= 11.0
    True
    """
    wanted = rng.normal(7.6, 1.7) if malignant else rng.normal(6.0, 1.6)
    radius = float(np.clip(wanted, 3.2, 11.0))
    # One in ten wears the other's margin.
    rough = malignant != (rng.random() < 0.1)
    return Lesion(
        malignant=malignant,
        place_mm=_place(rng, breast, radius),
        radius_mm=radius,
        elongation=float(rng.uniform(0.75, 1.0) if rough else rng.uniform(0.65, 1.0)),
        irregularity=float(rng.uniform(0.14, 0.26) if rough else rng.uniform(0.0, 0.04)),
        blur_mm=float(rng.uniform(0.7, 1.3) if rough else rng.uniform(0.2, 0.4)),
        density=float(rng.uniform(1.05, 1.4) if malignant else rng.uniform(0.6, 0.95)),
        spicules=int(rng.integers(16, 34)) if rough else 0,
        calcification=_calcification(rng, malignant),
        seed=int(rng.integers(2**32)),
    )


def lesion_shadow(lesion: Lesion, breast: Breast, view: View, grid: Grid) -> LesionShadow:
    """The lesion projected along one view: the same lesion, turned, at its place.

    >>> from hounsfield.applications.mammography.anatomy import sample_breasts
    >>> rng = np.random.default_rng(0)
    >>> breast = sample_breasts(rng, density="b")[0]
    >>> lesion = sample_lesion(rng, breast, malignant=False)
    >>> shadow = lesion_shadow(lesion, breast, "CC", Grid(rows=240, columns=192, spacing_mm=0.8))
    >>> bool(shadow.mass_mm[round(shadow.row), round(shadow.column)] > lesion.radius_mm / 2)
    True
    """
    x, v = project(breast, view, np.asarray(lesion.place_mm))
    row, column = grid.pixel(x, v)
    rng = np.random.default_rng([lesion.seed, view == "MLO"])
    # Work in a window about the lesion: a sixth of the picture, not the whole of it.
    reach = int(np.ceil(3.4 * lesion.radius_mm / grid.spacing_mm)) + 4
    r0, c0 = round(float(row)) - reach, round(float(column)) - reach
    patch = Grid(rows=2 * reach + 1, columns=2 * reach + 1, spacing_mm=grid.spacing_mm)
    dx = (np.arange(patch.columns) + c0 - float(column)) * grid.spacing_mm
    dv = -(np.arange(patch.rows) + r0 - float(row)) * grid.spacing_mm
    mass = _mass(lesion, dx[None, :], dv[:, None], patch, rng)
    mass += _spicules(lesion, patch, rng)
    calcium = _calcium(lesion, patch, rng)
    return LesionShadow(
        mass_mm=_paste(mass, grid, r0, c0),
        calcium_mm=_paste(calcium, grid, r0, c0),
        row=float(row),
        column=float(column),
    )


def _place(rng: np.random.Generator, breast: Breast, radius_mm: float) -> tuple[float, float, float]:
    # Half of all cancers lie in the upper outer quadrant (Lee, Int J Cancer 2005;117:1037).
    margin = radius_mm + 7.0
    views = [outline(breast, view) for view in VIEWS]
    for _ in range(400):
        behind = rng.uniform(0.2, 0.82) * breast.depth_mm
        lateral, superior = rng.normal(12.0, 24.0), rng.normal(8.0, 20.0)
        ok = True
        for view, shape in zip(VIEWS, views, strict=True):
            x, v = project(breast, view, np.array([behind, lateral, superior]))
            around = v + np.linspace(-margin, margin, 9, dtype=np.float32)
            ok &= bool(shape.depth_at(around).min() - margin * 0.7 > x)
            ok &= bool(x > np.max(shape.pectoral_at(around)) + radius_mm + 2.0)
            ok &= bool(x > radius_mm + 6.0)
        if ok:
            return float(behind), float(lateral), float(superior)
    return 0.45 * breast.depth_mm, 0.0, 0.0


def _calcification(rng: np.random.Generator, malignant: bool) -> Calcification:
    draw = rng.random()
    if malignant:
        return "fine" if draw < 0.6 else "none"
    return "coarse" if draw < 0.2 else "rim" if draw < 0.35 else "none"


def _mass(lesion: Lesion, dx: Floats, dv: Floats, patch: Grid, rng: np.random.Generator) -> Floats:
    # An ellipsoid whose margin is a Fourier series of the angle; thickness of the solid in mm.
    turn = rng.uniform(0, np.pi)
    along = dx * np.cos(turn) + dv * np.sin(turn)
    across = (dv * np.cos(turn) - dx * np.sin(turn)) / lesion.elongation
    angle = np.arctan2(across, along)
    order = np.arange(2, 9)
    gain = rng.normal(0, 1, order.size) / order**0.9
    gain *= lesion.irregularity / max(float(np.hypot.reduce(gain)) * 0.5**0.5, 1e-6)
    phase = rng.uniform(0, 2 * np.pi, order.size)
    margin = np.ones_like(angle)
    for k, g, p in zip(order, gain, phase, strict=True):
        margin += g * np.cos(k * angle + p)
    rho = np.hypot(along, across) / (lesion.radius_mm * np.maximum(margin, 0.35))
    # Compression flattens the soft breast about the firm mass, which keeps its diameter.
    solid = 2.0 * lesion.radius_mm * lesion.density * np.clip(1.0 - rho**4, 0.0, None) ** 0.7
    out: Floats = ndimage.gaussian_filter(
        solid.astype(np.float32), lesion.blur_mm / patch.spacing_mm, truncate=3.0
    )
    return out


def _spicules(lesion: Lesion, patch: Grid, rng: np.random.Generator) -> Floats:
    # Strands of retracted tissue that leave the mass and thin out.
    n = lesion.spicules
    if n == 0:
        return np.zeros(patch.shape, np.float32)
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False) + rng.normal(0, 0.15, n)
    length = lesion.radius_mm * rng.uniform(0.5, 1.7, n)
    t = np.linspace(0, 1, 120, dtype=np.float32)
    bend = rng.normal(0, 0.22, n)[:, None] * t
    radius = 0.75 * lesion.radius_mm + length[:, None] * t
    x = radius * np.cos(angle[:, None] + bend) + patch.columns / 2 * patch.spacing_mm
    v = radius * np.sin(angle[:, None] + bend)
    section = rng.uniform(1.2, 3.6, n)[:, None] * lesion.density * (1.15 - t)
    volume = section * (length[:, None] / t.size)
    return draw_strands(patch, x, v, volume, width_mm=0.35)


def _calcium(lesion: Lesion, patch: Grid, rng: np.random.Generator) -> Floats:
    if lesion.calcification == "none":
        return np.zeros(patch.shape, np.float32)
    centre = patch.columns / 2 * patch.spacing_mm
    if lesion.calcification == "rim":
        t = np.linspace(0, 2 * np.pi, 400)
        ring = rng.uniform(0.4, 0.7) * lesion.radius_mm
        gain = 0.55 + 0.45 * np.sin(t + rng.uniform(0, 6))  # an eggshell, thicker on one side
        volume = gain * 2 * np.pi * ring / t.size * 0.4
        return draw_strands(patch, centre + ring * np.cos(t), ring * np.sin(t), volume, width_mm=0.3)
    fine = lesion.calcification == "fine"
    n = int(rng.integers(14, 34)) if fine else int(rng.integers(2, 6))
    spread = lesion.radius_mm * (0.42 if fine else 0.3)
    size = rng.uniform(0.25, 0.55, n) if fine else rng.uniform(0.9, 1.7, n)
    x, v = centre + rng.normal(0, spread, n), rng.normal(0, spread, n)
    if fine:  # pleomorphic: each speck a short crooked rod
        rod = np.linspace(-0.5, 0.5, 5)[None, :] * rng.uniform(0.2, 1.2, n)[:, None]
        turn = rng.uniform(0, np.pi, n)[:, None]
        x, v = x[:, None] + rod * np.cos(turn), v[:, None] + rod * np.sin(turn)
        volume = np.broadcast_to((size**3)[:, None] * 0.36, x.shape)
        return draw_strands(patch, x, v, volume, width_mm=0.16)
    # Popcorn: a few grains that grow together.
    grain = rng.normal(0, 0.4, (2, n, 12)) * size[:, None]
    volume = np.broadcast_to((size**3)[:, None] / 20, grain[0].shape)
    return draw_strands(patch, x[:, None] + grain[0], v[:, None] + grain[1], volume, width_mm=0.3)


def _paste(patch: Floats, grid: Grid, row: int, column: int) -> Floats:
    out = np.zeros(grid.shape, np.float32)
    r = slice(max(row, 0), min(row + patch.shape[0], grid.rows))
    c = slice(max(column, 0), min(column + patch.shape[1], grid.columns))
    out[r, c] = patch[r.start - row : r.stop - row, c.start - column : c.stop - column]
    return out
