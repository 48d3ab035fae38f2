"""The phantom breast: one anatomy in millimetres, seen in two views.

A point of the breast is (behind, lateral, superior): millimetres behind the nipple, towards the
armpit's side and towards the head. The cranio-caudal view looks down: it keeps (behind, lateral).
The mediolateral oblique view looks along the 45 degree oblique: it keeps behind and
(lateral + superior) / sqrt 2. Both keep the distance behind the nipple, which is the clinic's rule
for finding a lesion again in the other view (the posterior nipple line).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["VIEWS", "Breast", "Density", "Floats", "Laterality", "Outline", "View", "outline"]
__all__ += ["project", "sample_breasts", "sample_density"]

Floats = npt.NDArray[np.float32]
Laterality = Literal["L", "R"]
View = Literal["CC", "MLO"]
Density = Literal["a", "b", "c", "d"]

VIEWS: tuple[View, View] = ("CC", "MLO")

_GLAND_FRACTION: dict[Density, float] = {"a": 0.12, "b": 0.24, "c": 0.38, "d": 0.54}
_TOP_MM = 115.0  # the skin of the oblique view is drawn past the upper edge of any detector


@dataclass(frozen=True)
class Breast:
    """One breast: its side, its compressed size, its tissue and the seed of its inner structure."""

    laterality: Laterality
    depth_mm: float
    half_width_mm: float
    thickness_mm: float
    density: Density
    gland_fraction: float
    squareness: float
    tilt: float
    pectoral_top_mm: float
    seed: int


@dataclass(frozen=True)
class Outline:
    """The skin line of one view, chest wall at x = 0, v upwards on the film (lateral or cranial).

    `skin_mm` is (n, 2): x and v of points along the skin, v falling; `nipple_mm` is (x, v).
    `pectoral_mm` is (x of the muscle at v = `_TOP_MM`, v where it meets the chest wall), or None.
    """

    skin_mm: Floats
    nipple_mm: tuple[float, float]
    pectoral_mm: tuple[float, float] | None

    def depth_at(self, v_mm: Floats) -> Floats:
        """Depth of the breast in millimetres at each height v; 0 outside it."""
        x, v = self.skin_mm[::-1, 0], self.skin_mm[::-1, 1]
        depth: Floats = np.interp(v_mm, v, x, left=0.0, right=0.0).astype(np.float32)
        return depth

    def pectoral_at(self, v_mm: Floats) -> Floats:
        """Edge of the pectoral muscle in millimetres from the chest wall at each height v."""
        if self.pectoral_mm is None:
            return np.zeros_like(v_mm)
        top, foot = self.pectoral_mm
        rise = np.clip((v_mm - foot) / (_TOP_MM - foot), 0.0, None)
        edge: Floats = (top * rise * (1.2 - 0.2 * rise)).astype(np.float32)
        return edge


def sample_density(rng: np.random.Generator, *, age: int) -> Density:
    """A BI-RADS density category; older breasts are less dense (Checka et al., AJR 2012;198:W292).

    >>> sample_density(np.random.default_rng(0), age=50) in "abcd"
    True
    """
    latent = rng.normal(-0.045 * (age - 55), 0.8)
    categories: tuple[Density, ...] = ("a", "b", "c", "d")
    return categories[int(np.searchsorted([-1.1, 0.0, 1.1], latent))]


def sample_breasts(rng: np.random.Generator, *, density: Density) -> tuple[Breast, Breast]:
    """The left and the right breast of one woman: alike in size and density, not in structure.

    >>> left, right = sample_breasts(np.random.default_rng(0), density="b")
    >>> left.laterality, right.laterality, abs(left.depth_mm - right.depth_mm) < 15
    ('L', 'R', True)
    """
    size = float(np.clip(rng.normal(0.0, 1.0), -1.8, 1.8))
    fraction = _GLAND_FRACTION[density]

    def breast(laterality: Laterality) -> Breast:
        return Breast(
            laterality=laterality,
            depth_mm=float(np.clip(86 + 11 * size + rng.normal(0, 2.5), 64, 110)),
            half_width_mm=float(np.clip(75 + 5.5 * size + rng.normal(0, 2), 62, 87)),
            thickness_mm=float(np.clip(50 + 8 * size + rng.normal(0, 2.5), 32, 70)),
            density=density,
            gland_fraction=float(fraction * rng.uniform(0.9, 1.1)),
            squareness=float(rng.uniform(1.9, 2.4)),
            tilt=float(rng.uniform(-0.08, 0.08)),
            pectoral_top_mm=float(rng.uniform(44, 62)),
            seed=int(rng.integers(2**32)),
        )

    return breast("L"), breast("R")


def outline(breast: Breast, view: View) -> Outline:
    """The skin line of a breast under the compression paddle.

    >>> left, _ = sample_breasts(np.random.default_rng(0), density="b")
    >>> outline(left, "CC").pectoral_mm is None, outline(left, "MLO").pectoral_mm is None
    (True, False)
    """
    return _cranio_caudal(breast) if view == "CC" else _oblique(breast)


def project(breast: Breast, view: View, points_mm: npt.NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Points (…, 3) as (behind, lateral, superior) to (x, v) of the view, in millimetres.

    >>> left, _ = sample_breasts(np.random.default_rng(0), density="b")
    >>> x, v = project(left, "MLO", np.array([[0.0, 0.0, 0.0]]))
    >>> bool(abs(x[0] - left.depth_mm) < 1e-3)
    True
    """
    behind, lateral, superior = np.moveaxis(np.asarray(points_mm, np.float32), -1, 0)
    x_nipple, v_nipple = _nipple(breast, view)
    across = lateral if view == "CC" else (lateral + superior) * np.float32(0.5**0.5)
    # The ducts follow the nipple: a tilted breast carries its structure with it.
    return x_nipple - behind, v_nipple + across


def _nipple(breast: Breast, view: View) -> tuple[float, float]:
    if view == "CC":
        return breast.depth_mm, breast.tilt * breast.half_width_mm
    return breast.depth_mm, -18.0 + breast.tilt * breast.half_width_mm


def _bulge(v_mm: npt.NDArray[np.float64], nipple_v_mm: float) -> npt.NDArray[np.float64]:
    # The nipple in profile: about 9 mm across and 6 mm high.
    out: npt.NDArray[np.float64] = 6.0 * np.exp(-(((v_mm - nipple_v_mm) / 4.5) ** 4))
    return out


def _cranio_caudal(breast: Breast) -> Outline:
    x_nipple, v_nipple = _nipple(breast, "CC")
    angle = np.linspace(np.pi / 2, -np.pi / 2, 400)
    v = breast.half_width_mm * np.sin(angle)
    # A superellipse whose top follows the nipple: each side keeps its own width.
    side = np.where(v > v_nipple, breast.half_width_mm - v_nipple, breast.half_width_mm + v_nipple)
    u = np.clip(np.abs(v - v_nipple) / side, 0.0, 1.0)
    x = x_nipple * (1.0 - u**breast.squareness) ** 0.56 + _bulge(v, v_nipple)
    return Outline(np.stack([x, v], 1).astype(np.float32), (x_nipple, v_nipple), None)


def _oblique(breast: Breast) -> Outline:
    x_nipple, v_nipple = _nipple(breast, "MLO")
    low = breast.half_width_mm * 0.78
    high = breast.half_width_mm * 1.8
    axilla = breast.pectoral_top_mm + 4.0
    up = np.linspace(_TOP_MM, v_nipple, 300)
    rise = np.clip((up - v_nipple) / high, 0.0, 1.0)
    above = axilla + (x_nipple - axilla) * (1.0 - rise**2) ** 1.3
    # Down to the inframammary fold, and on along the strip of abdominal wall below it.
    down = v_nipple - np.concatenate(
        [low * np.sin(np.linspace(0, np.pi / 2, 200))[1:], np.linspace(low + 1, low + 40, 60)]
    )
    fall = (v_nipple - down) / low
    below = x_nipple * np.clip(1.0 - fall**breast.squareness, 0.0, None) ** 0.58
    strip = 6.0 * np.clip(fall, 0, 1) ** 5 + 16.0 * np.clip(fall - 1.0, 0.0, None)
    v = np.concatenate([up, down])
    x = np.concatenate([above, np.hypot(below, strip)]) + _bulge(v, v_nipple)
    foot = v_nipple + breast.pectoral_top_mm * 0.25
    skin = np.stack([x, v], 1).astype(np.float32)
    return Outline(skin, (x_nipple, v_nipple), (breast.pectoral_top_mm * 1.12, foot))
