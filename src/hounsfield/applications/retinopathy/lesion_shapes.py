"""Lesions of each kind as spots and tubes: where they may lie, how large they are and what shape they have.

A spot (12 numbers) is what `paint.paint_spots` takes, a tube (8) what `paint.paint_tubes` takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hounsfield.applications.retinopathy.eye import Anatomy
from hounsfield.applications.retinopathy.field import Doubles
from hounsfield.applications.retinopathy.vessels import VEIN, Tree

__all__ = [
    "NO_SPOTS", "NO_TUBES", "QUADRANTS", "Places", "Seen", "cotton_wool", "exudates", "haemorrhages", "irma",
    "microaneurysms", "new_vessels", "preretinal",
]  # fmt: skip

Seen = Callable[[Doubles], npt.NDArray[np.bool_]]

QUADRANTS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""Signs of x and y: nasal or temporal, upper or lower."""

NO_SPOTS, NO_TUBES = np.zeros((0, 12)), np.zeros((0, 8))
_MIDDLE_X = 2.0  # quadrants meet between the fovea and the disc


class Places:
    """Places that a photograph shows, off the disc and off the fovea unless asked."""

    def __init__(self, rng: np.random.Generator, anatomy: Anatomy, seen: Seen) -> None:
        self._rng, self._anatomy, self.seen = rng, anatomy, seen

    def some(
        self,
        count: int,
        *,
        quadrant: tuple[int, int] | None = None,
        about: tuple[float, float] = (1.0, 0.0),
        spread: float = 2.6,
        fovea_mm: float = 0.3,
        disc_mm: float = 1.15,
    ) -> Doubles:
        """Places (count, 2), normal about a point, by default at the macula; in a quadrant if asked."""
        found: list[Doubles] = []
        have, tries = 0, 0
        while have < count and tries < 60:
            tries += 1
            spots = self._rng.normal(about, spread, (4 * count + 16, 2))
            if quadrant is not None:
                spots[:, 0] = _MIDDLE_X + quadrant[0] * np.abs(spots[:, 0] - _MIDDLE_X)
                spots[:, 1] = quadrant[1] * np.abs(spots[:, 1])
            disc = self._anatomy.disc_mm
            fit = self.seen(spots) & (np.hypot(*spots.T) > fovea_mm)
            fit &= np.hypot(spots[:, 0] - disc[0], spots[:, 1] - disc[1]) > disc_mm
            found.append(spots[fit][: count - have])
            have += len(found[-1])
        return np.concatenate(found)[:count] if found else np.zeros((0, 2))


def _spots(
    rng: np.random.Generator, places: Doubles, along: Doubles, across: Doubles, heading: Doubles,
    *, soft: float, waves: float,
) -> Doubles:  # fmt: skip
    n = len(places)
    outline = np.empty((n, 6))
    outline[:, 0::2] = rng.normal(0, waves, (n, 3)) / [1.0, 1.5, 2.0]
    outline[:, 1::2] = rng.uniform(0, 2 * math.pi, (n, 3))
    return np.column_stack([places, along, across, heading, np.full(n, soft), outline])


def microaneurysms(rng: np.random.Generator, place: Places, count: int) -> Doubles:
    """Red dots of 60 to 110 micrometres, two or three pixels wide."""
    places = place.some(count, spread=2.3)
    radius = rng.uniform(0.030, 0.056, len(places))
    return _spots(rng, places, radius, radius, np.zeros(len(places)), soft=0.5, waves=0.05)


def haemorrhages(rng: np.random.Generator, place: Places, counts: list[int]) -> Doubles:
    """Dots, blots and, near the disc and the arcades, flames along the nerve fibres."""
    places = np.concatenate(
        [place.some(n, quadrant=q, spread=2.9) for n, q in zip(counts, QUADRANTS, strict=True)]
    )
    n = len(places)
    kind = rng.random(n)
    radius = np.where(kind < 0.45, rng.uniform(0.055, 0.095, n), rng.uniform(0.10, 0.24, n))
    flame = kind > 0.78
    stretch = np.where(flame, rng.uniform(2.2, 4.0, n), rng.uniform(1.0, 1.35, n))
    across = np.where(flame, radius * 0.55, radius)
    u, v = places[:, 0] - 4.5, places[:, 1] - 0.4
    fibres = (
        np.arctan2(v, u) - np.sign(v) * np.clip(-u, 0, 6) * 0.16
    )  # along the fibres' bend round the macula
    heading = np.where(flame, fibres + rng.normal(0, 0.12, n), rng.uniform(0, math.pi, n))
    return _spots(rng, places, across * stretch, across, heading, soft=0.55, waves=0.16)


def exudates(rng: np.random.Generator, place: Places, clusters: int) -> Doubles:
    """Waxy spots in clusters, some of them in rings about what leaks."""
    found = []
    for centre in place.some(clusters, about=(-0.3, 0.0), spread=1.7, fovea_mm=0.6, disc_mm=1.6):
        n = int(rng.integers(8, 34))
        if rng.random() < 0.45:
            angle = rng.uniform(0, 2 * math.pi) + rng.uniform(0, 1.5 * math.pi, n)
            away = rng.uniform(0.35, 0.75) + rng.normal(0, 0.07, n)
        else:
            angle, away = rng.uniform(0, 2 * math.pi, n), np.abs(rng.normal(0, 0.42, n))
        places = centre + np.column_stack([away * np.cos(angle), away * np.sin(angle)])
        places = places[np.hypot(*places.T) > 0.25]
        radius = np.clip(rng.lognormal(math.log(0.045), 0.45, len(places)), 0.022, 0.13)
        stretch = rng.uniform(1.0, 1.8, len(places))
        heading = rng.uniform(0, math.pi, len(places))
        found.append(_spots(rng, places, radius * stretch, radius, heading, soft=0.3, waves=0.2))
    return np.concatenate(found) if found else NO_SPOTS


def cotton_wool(rng: np.random.Generator, place: Places, count: int) -> Doubles:
    """Pale soft patches about the arcades, where nerve fibres lack blood."""
    places = place.some(count, about=(3.0, 0.0), spread=2.4, fovea_mm=1.2, disc_mm=1.5)
    n = len(places)
    radius = rng.uniform(0.16, 0.30, n)
    return _spots(
        rng,
        places,
        radius * rng.uniform(1.1, 1.7, n),
        radius,
        rng.uniform(0, math.pi, n),
        soft=1.1,
        waves=0.14,
    )


def preretinal(rng: np.random.Generator, place: Places) -> Doubles:
    """A boat of blood before the retina: its middle, half width and depth; its upper rim is level."""
    places = place.some(1, about=(1.5, -1.2), spread=1.8, fovea_mm=0.0, disc_mm=0.8)
    width = rng.uniform(0.7, 1.7, len(places))
    return _spots(
        rng,
        places,
        width,
        width * rng.uniform(0.55, 0.85, len(places)),
        np.zeros(len(places)),
        soft=0.16,
        waves=0.05,
    )


def _wandering(
    rng: np.random.Generator, start: Doubles, heading: float, *, steps: int, bend: float, radius: float
) -> Doubles:
    """A fine tube that winds: pieces (steps, 8)."""
    heads = heading + np.cumsum(rng.normal(0, bend, steps)) + np.cumsum(np.full(steps, rng.normal(0, 0.09)))
    way = start + np.cumsum(0.05 * np.column_stack([np.cos(heads), np.sin(heads)]), 0)
    points = np.vstack([start, way])
    radii = radius * np.linspace(1.0, 0.6, steps + 1)
    return np.column_stack(
        [points[:-1], points[1:], radii[:-1], radii[1:], np.full(steps, 3.0), 0.05 * np.arange(steps)]
    )


def _near_veins(rng: np.random.Generator, place: Places, tree: Tree, count: int) -> Doubles:
    """Places on veins of some width, at the arcades, where new vessels begin."""
    veins = tree.of(VEIN)
    veins = veins[(veins[:, 4] > 0.026) & (np.abs(veins[:, 1]) > 1.2)]
    if len(veins):
        veins = veins[place.seen(veins[:, :2] * 1.06)]
    if not len(veins):
        return place.some(count, spread=2.5, fovea_mm=1.0)
    chosen: Doubles = veins[rng.integers(0, len(veins), count), :2]
    return chosen


def irma(rng: np.random.Generator, place: Places, tree: Tree) -> Doubles:
    """Short winding channels inside the retina beside the arcades."""
    pieces = []
    for start in _near_veins(rng, place, tree, int(rng.integers(2, 5))):
        for _ in range(int(rng.integers(3, 6))):
            at = start + rng.normal(0, 0.18, 2)
            length = int(rng.integers(10, 20))
            pieces.append(
                _wandering(
                    rng,
                    at,
                    rng.uniform(0, 2 * math.pi),
                    steps=length,
                    bend=0.55,
                    radius=rng.uniform(0.016, 0.024),
                )
            )
    return np.concatenate(pieces)


def new_vessels(
    rng: np.random.Generator, anatomy: Anatomy, place: Places, tree: Tree, rules: set[str]
) -> Doubles:
    """Fronds of fine loops, on the disc and elsewhere."""
    roots = []
    if "disc" in rules:
        angle = rng.uniform(0, 2 * math.pi, 3)
        roots += [np.array(anatomy.disc_mm) + 0.55 * np.array([math.cos(a), math.sin(a)]) for a in angle]
    if "elsewhere" in rules:
        roots += list(_near_veins(rng, place, tree, int(rng.integers(1, 4))))
    pieces = []
    for root in roots:
        lean = rng.uniform(0, 2 * math.pi)
        for _ in range(int(rng.integers(12, 22))):
            steps = int(rng.integers(12, 30))
            heading = lean + rng.normal(0, 0.8)
            pieces.append(
                _wandering(
                    rng,
                    root + rng.normal(0, 0.13, 2),
                    heading,
                    steps=steps,
                    bend=0.38,
                    radius=rng.uniform(0.018, 0.030),
                )
            )
    return np.concatenate(pieces) if pieces else NO_TUBES
