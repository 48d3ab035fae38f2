"""Arteries, veins and airways: trees that fill the lungs, with radii after Murray's law.

A branch grows towards the middle of the part of the lung that it must supply, which is then divided among its
two children, as in Tawhai et al., Ann Biomed Eng 2000;28:793. Radii are summed from the tips: the
cube of a parent's radius is the sum of its children's cubes (Murray, PNAS 1926;12:207).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.applications.chest_ct.anatomy import lung_distance
from hounsfield.applications.chest_ct.body import Body
from hounsfield.applications.chest_ct.capsules import chain

__all__ = ["Tree", "Vessels", "grow", "sample_vessels"]

Doubles = npt.NDArray[np.float64]
_TIPS = 560  # end points of each of the four trees
_TIP_MM = (0.5, 0.8)
_STRIDE = 0.42  # how far a branch goes towards the middle of what it supplies
_PAIRED_MM = 1.25  # arteries at least so thick have an airway beside them


@dataclass(frozen=True)
class Tree:
    """Branches as tubes (n, 8), and each one's parent (n,), -1 for the root."""

    tubes: Doubles
    parent: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Vessels:
    """Tubes (n, 8): soft tissue in the lungs, blood and calcium in the middle, airways and their walls."""

    lungs: Doubles
    central: Doubles
    calcium: Doubles
    walls: Doubles
    airways: Doubles


def grow(rng: np.random.Generator, root_mm: Doubles, towards: Doubles, cloud_mm: Doubles) -> Tree:
    """A tree from a point through a cloud (n, 3) that ends at each of its points.

    >>> rng = np.random.default_rng(0)
    >>> tree = grow(rng, np.zeros(3), np.array([1.0, 0, 0]), rng.uniform(5, 60, (50, 3)))
    >>> children = np.bincount(tree.parent[1:], weights=tree.tubes[1:, 6] ** 3, minlength=len(tree.parent))
    >>> inner = children > 0
    >>> bool(np.allclose(children[inner], tree.tubes[inner, 6] ** 3)), int((~inner).sum())
    (True, 50)
    """
    starts: list[Doubles] = []
    ends: list[Doubles] = []
    parents: list[int] = []
    waiting = [(root_mm, towards / np.linalg.norm(towards), cloud_mm, -1)]
    while waiting:
        start, direction, points, parent = waiting.pop()
        way = points.mean(0) - start
        end = start + (0.9 if len(points) == 1 else _STRIDE) * way
        number = len(parents)
        starts.append(start)
        ends.append(end)
        parents.append(parent)
        if len(points) > 1:
            heading = 0.5 * direction + way / max(float(np.linalg.norm(way)), 1e-9)
            heading /= max(float(np.linalg.norm(heading)), 1e-9)
            for half in _halves(rng, points, heading):
                waiting.append((end, heading, half, number))
    parent_of = np.array(parents, np.int64)
    radii = _murray(parent_of, rng.uniform(*_TIP_MM, len(parents)))
    return Tree(np.column_stack([np.array(starts), np.array(ends), radii, radii]), parent_of)


def _halves(rng: np.random.Generator, points: Doubles, heading: Doubles) -> tuple[Doubles, Doubles]:
    # Across the longest axis that is at a right angle to the heading, not quite in the middle.
    centred = points - points.mean(0)
    across = centred - np.outer(centred @ heading, heading)
    _, axes = np.linalg.eigh(across.T @ across)
    place = np.argsort(across @ axes[:, -1], kind="stable")
    cut = int(np.clip(round(len(points) * rng.uniform(0.3, 0.7)), 1, len(points) - 1))
    return points[place[:cut]], points[place[cut:]]


def _murray(parent: npt.NDArray[np.int64], tips: Doubles) -> Doubles:
    cubes = np.zeros(len(parent))
    for n in range(len(parent) - 1, -1, -1):  # a child stands after its parent
        if cubes[n] == 0.0:
            cubes[n] = tips[n] ** 3
        if parent[n] >= 0:
            cubes[parent[n]] += cubes[n]
    radii: Doubles = np.cbrt(cubes)
    return radii


def sample_vessels(rng: np.random.Generator, body: Body) -> Vessels:
    """All tubes of a chest, in millimetres.

    >>> from hounsfield.applications.chest_ct.body import sample_body
    >>> body = sample_body(np.random.default_rng(0), sex="F", age=60)
    >>> vessels = sample_vessels(np.random.default_rng(0), body)
    >>> len(vessels.lungs) > 2000, bool(vessels.lungs[:, 6].max() < 9)
    (True, True)
    """
    s = body.scale
    lungs, walls, airways = [], [], []
    for side in (-1.0, 1.0):
        cloud = _cloud(rng, body, side, 2 * _TIPS)
        artery_root = np.array([side * 33 * s, 2 * s, (-14 if side < 0 else -8) * s])
        vein_root = np.array([side * 31 * s, 8 * s, -42 * s])
        outwards = np.array([side, 0.15, -0.5])
        arteries = grow(rng, artery_root, outwards, cloud[:_TIPS])
        veins = grow(rng, vein_root, np.array([side, -0.1, 0.2]), cloud[_TIPS:])
        lungs += [arteries.tubes, veins.tubes]
        wall, lumen = _beside(arteries, s)
        main = np.array([[0.0, 8 * s, 2 * s], [side * 18 * s, 9 * s, -12 * s], lumen[0, :3]])
        bronchus = np.array([7.4, 6.6, 5.2]) * s
        airways += [chain(main, bronchus), lumen]
        walls += [chain(main, bronchus + 1.5), wall]
    trachea = np.array([[0.0, 0.0, 1.25 * body.apex], [0, 4 * s, 50 * s], [0, 8 * s, 2 * s]])
    width = np.full(3, 8.6 if body.female else 10.2) * s
    airways.append(chain(trachea, width))
    walls.append(chain(trachea, width + 1.8))
    central, calcium = _central(rng, body)
    return Vessels(*(np.concatenate(t) for t in (lungs, central, calcium, walls, airways)))


def _cloud(rng: np.random.Generator, body: Body, side: float, count: int) -> Doubles:
    # Points at least 4 mm inside one lung, evenly spread.
    found = np.empty((0, 3))
    while len(found) < count:
        points = rng.uniform(
            [6.0, -body.half_depth, body.dome_left - 75 * body.scale],
            [body.half_width, body.half_depth, body.apex],
            (6 * count, 3),
        )
        points[:, 0] *= side
        found = np.concatenate([found, points[lung_distance(points, body) < -4.0]])
    return found[:count]


def _beside(arteries: Tree, scale: float) -> tuple[Doubles, Doubles]:
    # An airway beside each thick artery, shifted so that where two arteries meet the airways do.
    tubes = arteries.tubes
    before = np.where(arteries.parent >= 0, tubes[arteries.parent, 6], tubes[:, 6])
    shift = np.array([0.0, 0.93, 0.36])
    kept = tubes[:, 6] > _PAIRED_MM * scale
    start = tubes[:, :3] + 1.9 * before[:, None] * shift
    end = tubes[:, 3:6] + 1.9 * tubes[:, 6:7] * shift
    lumen = np.column_stack([start, end, 0.78 * before, 0.78 * tubes[:, 6]])[kept]
    wall = lumen.copy()
    wall[:, 6:] = wall[:, 6:] * 1.22 + 0.35
    return wall, lumen


def _central(rng: np.random.Generator, body: Body) -> tuple[list[Doubles], list[Doubles]]:
    s = body.scale
    wide = s * (1.0 + 0.004 * (body.age - 55))
    back = body.spine_y - 19 * s
    aorta = s * np.array(
        [[6, -18, -40], [-14, -26, 0], [-12, -22, 28], [2, -6, 46], [16, 14, 44], [22, 0, 24], [22, 0, -180]]
    )
    aorta[4:, 1] = [0.6 * back, back, back + 4 * s]
    arch = chain(aorta, wide * np.array([15.0, 15.5, 14.5, 13.0, 12.5, 12.0, 10.5]))
    trunk = s * np.array([[12.0, -36, -34], [16, -22, -10], [2, -10, -14], [-33, 2, -14]])
    left = s * np.array([[16.0, -22, -10], [33, 2, -8]])
    cava = s * np.array([[-20.0, -14, 70], [-22, -16, -30]])
    neck = [
        chain(s * np.array([[x, y, 46.0], [x * 1.9, y - 4, 118]]), np.array([5.5, 5.0]) * s)
        for x, y in ((-8.0, -10.0), (8.0, -4.0), (15.0, 8.0))
    ]
    atrium = s * np.array([[-31.0, 8, -42], [0, 10, -46], [31, 8, -42]])
    central = [
        arch,
        chain(trunk, s * np.array([13.0, 13.0, 10.5, 8.5])),
        chain(left, s * np.array([11.0, 8.5])),
        chain(cava, s * np.array([8.5, 9.5])),
        chain(atrium, s * np.array([8.0, 15.0, 8.0])),
        *neck,
    ]
    return central, [_plaques(rng, body, arch), _plaques(rng, body, arch[3:5])]


def _plaques(rng: np.random.Generator, body: Body, tubes: Doubles) -> Doubles:
    # Calcium in the wall of the aorta, commoner with age.
    count = rng.poisson(max(body.age - 48, 0) * 0.12)
    which = rng.integers(len(tubes), size=count)
    part = rng.uniform(0.1, 0.9, count)[:, None]
    axis = tubes[which, :3] * (1 - part) + tubes[which, 3:6] * part
    out = rng.standard_normal((count, 3))
    out[:, 2] *= 0.3
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    start = axis + out * tubes[which, 6:7]
    end = start + rng.normal(0, 2.0, (count, 3))
    radius = rng.uniform(0.8, 2.2, count)
    return np.column_stack([start, end, radius, radius])
