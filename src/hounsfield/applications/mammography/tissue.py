"""What lies in the compressed breast at each pixel: thickness, gland, muscle, ducts and ligaments.

The parenchyma is anatomic noise with a power spectrum 1 / f**3 (Burgess, Jacobson & Judy, Med Phys
2001;28:419; Burgess, JOSA A 1999;16:633). Its coarse part is one field in three dimensions that
both views project, so that a dense quadrant is dense in both; its fine part is drawn for each view.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from scipy import ndimage, sparse, spatial, special

from hounsfield.applications.mammography.anatomy import Breast, Floats, Outline, View, outline, project
from hounsfield.applications.mammography.grid import Grid, draw_strands, enlarge, power_law
from hounsfield.applications.mammography.threads import threads

__all__ = ["Tissue", "tissue"]

_STEP_MM = 4.0  # spacing of the coarse field of parenchyma
_SHAPE = (32, 48, 48)  # behind, lateral, superior
_COARSE = 6  # the skin distance is smooth: every sixth pixel is enough
_DEEP_MM = 40.0  # from here on the paddle, not the skin, sets the thickness
_SKIN_MM = 1.5  # Huang et al., Med Phys 2008;35:1199


@dataclass(frozen=True)
class Tissue:
    """Maps (H, W): compressed `thickness_mm`, and `gland_mm`, the part of it that is dense."""

    thickness_mm: Floats
    gland_mm: Floats
    outline: Outline


def tissue(breast: Breast, view: View, grid: Grid) -> Tissue:
    """The compressed breast as one view sees it.

    >>> from hounsfield.applications.mammography.anatomy import sample_breasts
    >>> left, _ = sample_breasts(np.random.default_rng(0), density="b")
    >>> maps = tissue(left, "CC", Grid(rows=120, columns=96, spacing_mm=1.6))
    >>> bool((maps.gland_mm <= maps.thickness_mm + 1e-3).all())
    True
    """
    shape = outline(breast, view)
    depth_mm = _skin_distance(shape, grid)
    thickness = _thickness(breast, view, depth_mm)
    rng = np.random.default_rng([breast.seed, 1, view == "MLO"])
    fraction = _parenchyma(breast, view, grid, rng)
    inner = np.clip((depth_mm - 2.0) / 6.0, 0.0, 1.0)
    gland = fraction * inner * thickness + _strands(breast, view, grid) * inner
    # A beam that grazes the edge runs a long way through the skin: the bright skin line.
    skin = np.clip(1.0 - np.abs(depth_mm - _SKIN_MM / 2) / _SKIN_MM, 0.0, 1.0)
    gland += 0.75 * skin * thickness
    if shape.pectoral_mm is not None:
        gland += _pectoral(shape, grid, rng) * (thickness - gland)
    return Tissue(thickness, np.clip(gland, 0.0, thickness), shape)


def _skin_distance(shape: Outline, grid: Grid) -> Floats:
    # Signed distance to the skin, positive inside: exact on a coarse grid, then interpolated.
    step = _COARSE * grid.spacing_mm
    rows, columns = -(-grid.rows // _COARSE) + 1, -(-grid.columns // _COARSE) + 1
    x = grid.x_mm[0] + np.arange(columns, dtype=np.float32) * step
    v = grid.v_mm[0] - np.arange(rows, dtype=np.float32) * step
    points = np.stack(np.broadcast_arrays(x[None, :], v[:, None]), -1).reshape(-1, 2)
    distance, _ = spatial.cKDTree(shape.skin_mm).query(points, distance_upper_bound=_DEEP_MM)
    distance = np.minimum(distance, _DEEP_MM)
    inside = points[:, 0] < shape.depth_at(points[:, 1])
    coarse = np.where(inside, distance, -distance).reshape(rows, columns).astype(np.float32)
    return enlarge(coarse, grid.shape, _COARSE)


def _thickness(breast: Breast, view: View, depth_mm: Floats) -> Floats:
    # Between the plates the thickness is even; the free edge is a half circle.
    full = breast.thickness_mm * (1.05 if view == "MLO" else 1.0)
    radius = 0.5 * full
    u = np.clip(1.0 - depth_mm / radius, 0.0, 1.0)
    out: Floats = (full * np.sqrt(np.maximum(1.0 - u * u, 0.0))).astype(np.float32)
    return out


@lru_cache(maxsize=8)  # both views of a breast project the same field
def _field(breast: Breast) -> Floats:
    # Dense tissue in three dimensions (behind, lateral, superior), 0 to 1: a cone behind the
    # nipple, fuller in the upper outer quadrant, broken up by power-law noise.
    rng = np.random.default_rng([breast.seed, 0])
    behind, lateral, superior = (
        (np.arange(n, dtype=np.float32) + 0.5 - (0 if axis == 0 else n / 2)) * _STEP_MM
        for axis, n in enumerate(_SHAPE)
    )
    u = behind / breast.depth_mm
    radius = breast.half_width_mm * (0.16 + 0.95 * np.clip(u, 0, 1) ** 0.75)
    y = (lateral[None, :, None] - 5.0) / radius[:, None, None]
    z = (superior[None, None, :] - 5.0) / (0.85 * radius[:, None, None])
    off_axis = y * y + z * z
    back = np.clip((u[:, None, None] + 0.2 * off_axis - 0.6) / 0.4, 0, None)
    front = np.clip((0.12 - u) / 0.12, 0, None)[:, None, None]
    # The retromammary fat takes the back of the cone, subcutaneous fat its front and sides.
    level = 1.0 - off_axis - 1.2 * back**2 - 0.7 * front
    level = level + 0.5 * power_law(rng, _SHAPE, beta=3.0)
    threshold = 1.25 - 2.2 * breast.gland_fraction
    out: Floats = special.expit((level - threshold) / 0.2).astype(np.float32)
    return out


def _flatten(field: Floats, view: View) -> Floats:
    # Mean of the field along the beam: (behind, across).
    if view == "CC":
        downwards: Floats = field.mean(2)
        return downwards
    oblique: Floats = (_oblique_sum() @ field.reshape(_SHAPE[0], -1).T).T.astype(np.float32)
    return oblique


@cache
def _oblique_sum() -> sparse.csr_array:
    # The mean along the 45 degree lines of the (lateral, superior) plane, as a sparse matrix.
    n = _SHAPE[1]
    y, z = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    across = ((y + z - (n - 1)) * 0.5**0.5 + (n - 1) / 2).ravel()
    low = np.clip(np.floor(across).astype(np.intp), 0, n - 2)
    weight = np.clip(across - low, 0.0, 1.0)
    cell = np.arange(n * n)
    values = np.concatenate([1 - weight, weight]).astype(np.float32) / n
    index = np.concatenate([low, low + 1]), np.concatenate([cell, cell])
    return sparse.csr_array((values, index), shape=(n, n * n))


def _parenchyma(breast: Breast, view: View, grid: Grid, rng: np.random.Generator) -> Floats:
    # Fraction (H, W) of the thickness that is dense, 0 to about 0.8.
    flat = _flatten(_field(breast), view)
    x_nipple, v_nipple = project(breast, view, np.zeros(3))
    behind, across = x_nipple - grid.x_mm, grid.v_mm - v_nipple
    at_across = across / _STEP_MM + (_SHAPE[1] - 1) / 2
    coarse = _sample(_sample(flat, behind / _STEP_MM - 0.5, 0), at_across, 1).T
    fine = power_law(rng, grid.shape, beta=3.0)
    # The lobes have no detail that half the pixels would miss.
    streak = enlarge(_streaks(rng, behind[::2], across[::2]), grid.shape, 2)
    value = 1.0 * coarse * np.exp(0.24 * fine + 0.3 * streak)
    value = 0.6 * np.tanh(value / 0.6)  # some fat is left between the densest lobules
    out: Floats = np.clip(0.035 + 0.015 * fine + 0.02 * streak + value, 0.0, 0.7).astype(np.float32)
    return out


def _streaks(rng: np.random.Generator, behind_mm: Floats, across_mm: Floats) -> Floats:
    # Anatomic noise drawn out along the lines that converge on the nipple, as the lobes are.
    n = 256
    noise = power_law(rng, (n, n), beta=2.6)
    x, v = behind_mm[None, :] + 14.0, across_mm[:, None]
    # The atan2 lies within +-pi and 0.8 of the radius below 256: no coordinate leaves the noise.
    at = np.stack([np.arctan2(v, x) * ((n - 2) / 2 / np.pi) + n / 2, np.hypot(x, v) * 0.8])
    out: Floats = ndimage.map_coordinates(noise, at, order=1, mode="nearest")
    return out


def _sample(image: Floats, at: Floats, axis: int) -> Floats:
    at = np.clip(at, 0, image.shape[axis] - 1.001)
    low = at.astype(np.intp)
    weight = np.expand_dims(at - low, 1 - axis).astype(np.float32)
    weight = weight * weight * (3 - 2 * weight)
    return image.take(low, axis) * (1 - weight) + image.take(low + 1, axis) * weight


def _strands(breast: Breast, view: View, grid: Grid) -> Floats:
    # Tissue (H, W) in millimetres of the threads: one blur for the fine ones, one for the vessels.
    out = np.zeros(grid.shape, np.float32)
    for points, volume_mm3, width_mm in threads(breast):
        x, v = project(breast, view, points)
        out += draw_strands(grid, x, v, volume_mm3, width_mm=width_mm)
    return out


def _pectoral(shape: Outline, grid: Grid, rng: np.random.Generator) -> Floats:
    # Fraction (H, W) of muscle: clear above, fading towards its foot, with faint fibres.
    edge = shape.pectoral_at(grid.v_mm)[:, None]
    inside = np.clip((edge - grid.x_mm[None, :]) / 2.5 + 0.5, 0.0, 1.0)
    along = 0.45 + 0.55 * np.clip(edge / 35.0, 0.0, 1.0)
    fibres = ndimage.gaussian_filter1d(rng.standard_normal(grid.columns * 2), 6.0) * 4.0
    skew = np.arange(grid.rows)[:, None] * 0.45 + np.arange(grid.columns)[None, :]
    fibre = fibres[skew.astype(np.intp) % (grid.columns * 2)]
    result: Floats = (inside * along * (0.4 + 0.02 * fibre)).astype(np.float32)
    return result
