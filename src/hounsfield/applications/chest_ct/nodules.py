"""Lung nodules: size, density, contact, spicules, and how likely each is to be malignant.

The chance of malignancy follows the Brock model with spiculation (McWilliams et al., N Engl J Med
2013;369:910), its intercept raised so that both answers are common; age, sex, emphysema, size, kind, lobe,
number and spiculation count as they do there, and chance decides the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from hounsfield.applications.chest_ct.anatomy import lobe_of, lung_distance
from hounsfield.applications.chest_ct.body import Body
from hounsfield.applications.chest_ct.capsules import distance_to
from hounsfield.applications.chest_ct.vessels import Vessels

__all__ = [
    "CONTACTS",
    "DENSITIES",
    "Contact",
    "Density",
    "Nodule",
    "inside",
    "malignancy",
    "regrown",
    "sample_nodules",
]

Doubles = npt.NDArray[np.float64]
Density = Literal["solid", "part-solid", "ground-glass"]
Contact = Literal["none", "vessel", "pleura"]
DENSITIES: tuple[Density, ...] = ("solid", "part-solid", "ground-glass")
CONTACTS: tuple[Contact, ...] = ("none", "vessel", "pleura")

_SMALLEST_MM, _LARGEST_MM, _SMALLEST_SUBSOLID_MM = 3.0, 20.0, 5.0
_RAISED = 2.6  # added to the model's intercept: the phantom has more cancers than a screening cohort
_SAMPLES = 37  # a side, for the volume of a shape


@dataclass(frozen=True)
class Nodule:
    """One nodule, in LPS mm and HU.

    `centre_mm` is the centroid and `diameter_mm` that of a sphere of equal volume, both of the body within
    the lung, without its spicules. `spiculation` is LIDC's score: 1 (none) to 5 (marked). `solid_mm` is the
    diameter of the solid part: all of it, a core, or 0.
    """

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    density: Density
    contact: Contact
    spiculation: int
    malignant: bool
    lobe: str
    hu: float
    core_hu: float
    solid_mm: float
    origin_mm: Doubles
    radius_mm: float
    bumps: Doubles
    spicules: Doubles


def inside(nodule: Nodule, points_mm: Doubles, body: Body, *, part: float = 1.0) -> npt.NDArray[np.bool_]:
    """Which of (n, 3) points lie in the nodule (or in its inner `part`) and in the lung."""
    offset = points_mm - nodule.origin_mm
    within = _within(offset, part * nodule.radius_mm, nodule.bumps)
    if nodule.contact == "pleura":
        within[within] = lung_distance(points_mm[within], body) < 0
    return within


def malignancy(
    body: Body, *, diameter_mm: float, density: Density, upper: bool, spiculation: int, count: int
) -> float:
    """The chance that a nodule is malignant, by the raised Brock model.

    >>> body = Body(1, 60, *(0.0,) * 14)
    >>> small, large = (
    ...     malignancy(body, diameter_mm=d, density="solid", upper=True, spiculation=s, count=1)
    ...     for d, s in ((4.0, 1), (18.0, 5))
    ... )
    >>> small < 0.1 < 0.6 < large
    True
    """
    kind = {"solid": 0.0, "part-solid": 0.377, "ground-glass": -0.1276}[density]
    logit = (
        -6.7892
        + _RAISED
        + 0.0287 * (body.age - 62)
        + 0.6011 * body.female
        + 0.2953 * (body.emphysema > 0)
        - 5.3854 * ((diameter_mm / 10) ** -0.5 - 1.58113883)
        + kind
        + 0.6581 * upper
        - 0.0824 * (count - 4)
        + 0.7729 * (spiculation - 1) / 2
    )
    return float(1 / (1 + np.exp(-logit)))


def regrown(nodule: Nodule, body: Body, *, origin_mm: Doubles, ratio: float) -> Nodule:
    """The nodule elsewhere and of `ratio` times its volume: the same shape, cut by the pleura anew."""
    wanted = nodule.diameter_mm * float(np.cbrt(ratio))
    if nodule.contact == "pleura":
        centre, radius, true_mm = _settled(origin_mm, wanted, nodule.bumps, body)
    else:
        radius, true_mm = nodule.radius_mm * float(np.cbrt(ratio)), wanted
        centre = origin_mm + (np.array(nodule.centre_mm) - nodule.origin_mm) * np.cbrt(ratio)
    spicules = nodule.spicules.copy()
    for n in (0, 3):
        spicules[:, n : n + 3] = origin_mm + (spicules[:, n : n + 3] - nodule.origin_mm) * np.cbrt(ratio)
    return replace(
        nodule,
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        diameter_mm=true_mm,
        solid_mm=nodule.solid_mm * true_mm / nodule.diameter_mm,
        origin_mm=origin_mm,
        radius_mm=radius,
        spicules=spicules,
    )


def sample_nodules(
    rng: np.random.Generator, body: Body, vessels: Vessels, *, count: int, others: Sequence[Nodule] = ()
) -> list[Nodule]:
    """Up to `count` nodules (one that finds no place is left out), apart from each other and from the hila.

    They keep clear of `others` too, which are not among those given back.

    >>> from hounsfield.applications.chest_ct.body import sample_body
    >>> from hounsfield.applications.chest_ct.vessels import sample_vessels
    >>> body = sample_body(np.random.default_rng(0), sex="F", age=60)
    >>> vessels = sample_vessels(np.random.default_rng(1), body)
    >>> [n.lobe in ("RUL", "RML", "RLL", "LUL", "LLL") for n in
    ...     sample_nodules(np.random.default_rng(2), body, vessels, count=2)]
    [True, True]
    """
    found: list[Nodule] = []
    for _ in range(count):
        nodule = _sample(rng, body, vessels, [*others, *found], count + len(others))
        if nodule is not None:
            found.append(nodule)
    return found


def _sample(
    rng: np.random.Generator, body: Body, vessels: Vessels, others: list[Nodule], count: int
) -> Nodule | None:
    density: Density = DENSITIES[rng.choice(3, p=[0.68, 0.14, 0.18])]
    smallest = _SMALLEST_MM if density == "solid" else _SMALLEST_SUBSOLID_MM
    diameter = 0.0
    while not smallest <= diameter <= _LARGEST_MM:
        diameter = float(np.exp(rng.normal(np.log(7.5), 0.5)))
    contact: Contact = CONTACTS[rng.choice(3, p=[0.5, 0.25, 0.25])]
    origin = _place(rng, body, vessels, others, contact, diameter / 2)
    if origin is None:
        return None
    marked = 1 / (1 + np.exp(-(diameter - 11.0) / 2.5))
    spiculation = int(1 + rng.binomial(4, 0.06 + 0.62 * marked))
    lobe = lobe_of(origin, body)
    chance = malignancy(
        body,
        diameter_mm=diameter,
        density=density,
        upper=lobe in ("RUL", "LUL"),
        spiculation=spiculation,
        count=count,
    )
    malignant = bool(rng.random() < chance)
    bumps = _bumps(rng, spiculation)
    centre, radius, true_mm = _settled(origin, diameter, bumps, body)
    core = float(rng.uniform(0.35, 0.65))
    calcified = not malignant and density == "solid" and spiculation == 1 and rng.random() < 0.15
    solid_hu = float(rng.uniform(220, 480) if calcified else rng.normal(38, 14))
    return Nodule(
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        diameter_mm=true_mm,
        density=density,
        contact=contact,
        spiculation=spiculation,
        malignant=malignant,
        lobe=lobe,
        hu=solid_hu if density == "solid" else float(rng.uniform(-640, -520)),
        core_hu=solid_hu,
        solid_mm={"solid": true_mm, "part-solid": core * true_mm, "ground-glass": 0.0}[density],
        origin_mm=origin,
        radius_mm=radius,
        bumps=bumps,
        spicules=_spicules(rng, origin, radius, spiculation),
    )


def _place(
    rng: np.random.Generator,
    body: Body,
    vessels: Vessels,
    others: list[Nodule],
    contact: Contact,
    radius: float,
) -> Doubles | None:
    low = np.array([-body.half_width, -body.half_depth, body.dome_left - 60 * body.scale])
    thick = vessels.lungs[vessels.lungs[:, 6] > 0.95]
    for _ in range(20):
        points = rng.uniform(low, [body.half_width, body.half_depth, body.apex], (400, 3))
        if contact == "vessel":
            # Beside the middle of a vessel of medium width, so that the two touch.
            beside = thick[thick[:, 6] < 2.2]
            tube = beside[rng.integers(len(beside), size=400)]
            away = rng.standard_normal((400, 3))
            away -= (away * (tube[:, 3:6] - tube[:, :3])).sum(1, keepdims=True) * (
                (tube[:, 3:6] - tube[:, :3]) / ((tube[:, 3:6] - tube[:, :3]) ** 2).sum(1, keepdims=True)
            )
            away /= np.linalg.norm(away, axis=1, keepdims=True)
            points = 0.5 * (tube[:, :3] + tube[:, 3:6]) + away * (0.9 * radius + tube[:, 6:7])
        depth = -lung_distance(points, body)
        near, far = (0.35 * radius, 0.8 * radius) if contact == "pleura" else (1.25 * radius + 3.0, np.inf)
        points = points[(depth > near) & (depth < far)][:40]
        central = np.concatenate([vessels.central, vessels.walls])
        free = distance_to(points, central).min(1, initial=np.inf) > radius + 3.0
        if contact != "vessel":
            free &= distance_to(points, thick).min(1, initial=np.inf) > 1.15 * radius + 1.5
        for other in others:
            gap = np.linalg.norm(points - other.origin_mm, axis=1)
            free &= gap > 1.4 * (radius + other.radius_mm) + 5.0
        if free.any():
            first: Doubles = points[free][0]
            return first
    return None


def _within(offset: Doubles, radius: float, bumps: Doubles) -> npt.NDArray[np.bool_]:
    gap = np.linalg.norm(offset, axis=1)
    near = gap < radius * (1.0 + max(float(np.abs(bumps[:, 3]).sum()), 0.0))
    out = np.zeros(len(offset), np.bool_)
    way = offset[near] / np.maximum(gap[near, None], 1e-9)
    reach = 1.0 + np.exp(7.0 * (way @ bumps[:, :3].T - 1.0)) @ bumps[:, 3]
    out[near] = gap[near] < radius * reach
    return out


def _bumps(rng: np.random.Generator, spiculation: int) -> Doubles:
    # Directions and heights of the lobes of a surface; rougher where there are spicules.
    way = rng.standard_normal((7, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    return np.column_stack([way, rng.normal(0.0, 0.09 + 0.03 * spiculation, 7).clip(-0.3, 0.4)])


def _settled(origin: Doubles, diameter: float, bumps: Doubles, body: Body) -> tuple[Doubles, float, float]:
    # The radius that gives the shape, cut by the pleura, the volume of a sphere of that diameter.
    radius = diameter / 2
    for last in (False, False, True):
        side = np.linspace(-1.7, 1.7, _SAMPLES) * radius
        offset = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)
        offset = offset[_within(offset, radius, bumps)]
        offset = offset[lung_distance(origin + offset, body) < 0]
        true_mm = float(np.cbrt(len(offset) * (side[1] - side[0]) ** 3 * 6 / np.pi))
        if not last:
            radius *= diameter / true_mm
    return origin + offset.mean(0), radius, true_mm


def _spicules(rng: np.random.Generator, origin: Doubles, radius: float, spiculation: int) -> Doubles:
    count = (0, 4, 9, 15, 22)[spiculation - 1]
    way = rng.standard_normal((count, 3))
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    length = radius * rng.uniform(1.35, 1.6 + 0.14 * spiculation, (count, 1)) + 1.0
    base = rng.uniform(0.5, 0.9, count) * min(1.0, 0.25 + radius / 6)
    return np.column_stack([origin + 0.7 * radius * way, origin + length * way, base, 0.3 * base])
