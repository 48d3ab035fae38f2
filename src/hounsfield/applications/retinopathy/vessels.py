"""The vessels of a retina: arteries and veins that leave the disc, arch over the macula, branch and taper.

Main vessels follow the arcades, wandering about them, so that an artery and its vein cross now and then;
branches leave on both sides, those inside the arcades run towards the fovea and stop before it, those outside
run to the periphery. At a branching the cubes of the radii add up (Murray 1926). A vessel ends where it would
run into another of its kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hounsfield.applications.retinopathy.eye import Anatomy
from hounsfield.applications.retinopathy.field import Doubles
from hounsfield.core.compiled import compiled

__all__ = ["ARTERY", "VEIN", "Tree", "beaded", "grow_tree"]

ARTERY, VEIN = 1, 2

# Places along the upper arcades, in mm from the disc: towards the temple, and up. The lower ones mirror them.
_TEMPORAL = np.array(
    [
        (0.05, 0.15), (0.3, 0.95), (1.0, 2.1), (2.2, 3.0), (4.0, 3.45),
        (6.0, 3.35), (8.0, 2.75), (10, 2.1), (12, 1.6),
    ]
)  # fmt: skip
_NASAL = np.array([(0.0, 0.15), (-0.25, 0.8), (-0.95, 1.7), (-2.0, 2.5), (-3.4, 3.3), (-5.5, 4.3)])
_STEP_MM, _CELL_MM, _REACH_MM = 0.08, 0.11, 11.0
_MOST = 20_000
_WIDTH_MM = {ARTERY: 0.052, VEIN: 0.071}  # radius of a main vessel at the disc


@dataclass(frozen=True)
class Tree:
    """Pieces of vessels (n, 8): start x, y, end x, y in mm, radii there, kind, way from the root."""

    pieces: Doubles

    def of(self, kind: int) -> Doubles:
        """The pieces of arteries or of veins."""
        return self.pieces[self.pieces[:, 6] == kind]


def grow_tree(anatomy: Anatomy) -> Tree:
    """The tree of an eye; the same whenever it is grown.

    >>> from hounsfield.applications.retinopathy.eye import sample_anatomies
    >>> eye = sample_anatomies(np.random.default_rng(0), age=50, seed=(0,))["R"]
    >>> tree = grow_tree(eye)
    >>> 1000 < len(tree.pieces) < 20000 and bool((tree.pieces[:, 5] <= tree.pieces[:, 4] + 1e-9).all())
    True
    """
    rng = np.random.default_rng([*anatomy.seed, 1])
    starts, guides = _roots(rng, anatomy)
    pieces = np.zeros((_MOST, 8))
    count = _grow(
        starts, guides, np.array(anatomy.disc_mm), anatomy.tortuosity,
        rng.standard_normal(_MOST), rng.random(_MOST), _STEP_MM, _CELL_MM, _REACH_MM, pieces,
    )  # fmt: skip
    return Tree(pieces[:count].copy())


def beaded(tree: Tree, quadrants: tuple[tuple[int, int], ...], *, phase: float) -> Tree:
    """The tree with its larger veins beaded in these quadrants of the retina (signs of x and y)."""
    pieces = tree.pieces.copy()
    for sign_x, sign_y in quadrants:
        here = (pieces[:, 6] == VEIN) & (pieces[:, 4] > 0.036)
        here &= (np.sign(pieces[:, 0] - 2.0) == sign_x) & (np.sign(pieces[:, 1]) == sign_y)
        for radius, way in ((4, 0.0), (5, _STEP_MM)):
            turns = (pieces[here, 7] + way) * 2 * math.pi / 0.46
            wave = np.sin(turns + phase + 1.3 * np.sin(0.37 * turns + 2 * phase))  # beads are never alike
            pieces[here, radius] *= 1.10 + (0.26 + 0.14 * np.sin(0.23 * turns)) * wave
    return Tree(pieces)


def _roots(rng: np.random.Generator, anatomy: Anatomy) -> tuple[Doubles, Doubles]:
    """Where vessels begin (n, 6: x, y, heading, radius, kind, guide or -1), and the ways of main ones."""
    dx, dy = anatomy.disc_mm
    starts, guides = [], []
    for arch, share in ((_TEMPORAL, 1.0), (_NASAL, 0.72)):
        for up in (1.0, -1.0):
            spread = anatomy.arcade * rng.normal(1.0, 0.05)
            for kind in (VEIN, ARTERY):
                way = arch * [1.0, up * spread * rng.normal(1.0, 0.05)]
                way = way + rng.normal(0, 0.07, way.shape) * anatomy.tortuosity
                way[0] = arch[0] * [1.0, up] + rng.normal(0, 0.06, 2)
                way = _smooth(way, 60)
                points = np.column_stack([dx - way[:, 0], dy + way[:, 1]])
                heading = math.atan2(*(points[1] - points[0])[::-1])
                radius = _WIDTH_MM[kind] * share * anatomy.vessel_width * rng.normal(1.0, 0.06)
                starts.append((*points[0], heading, radius, kind, len(guides)))
                guides.append(points)
    for side in (-1.0, 1.0):  # twigs of the disc, to the macula and to the nose
        for n in range(int(rng.integers(2, 4))):
            up = 1.0 if n % 2 else -1.0
            angle = (0.0 if side > 0 else math.pi) - side * -up * rng.uniform(0.15, 0.75)
            place = (dx + side * rng.uniform(0.05, 0.25), dy + up * rng.uniform(0.12, 0.4))
            kind = VEIN if rng.random() < 0.5 else ARTERY
            starts.append((*place, angle, rng.uniform(0.018, 0.030), kind, -1.0))
    return np.array(starts), np.array(guides)


def _smooth(way: Doubles, count: int) -> Doubles:
    from scipy.interpolate import CubicSpline

    length = np.r_[0.0, np.cumsum(np.hypot(*np.diff(way, axis=0).T))]
    smooth: Doubles = CubicSpline(length, way)(np.linspace(0, length[-1], count))
    return smooth


@compiled
def _grow(starts, guides, disc, winding, normals, uniforms, step, cell, reach, out):  # type: ignore[no-untyped-def]
    side = int(2 * reach / cell) + 1
    held = np.zeros((3, side, side), np.int32)
    # x, y, heading, radius, kind, guide, level, way, owner of where it begins, turn towards the fovea
    queue = np.zeros((4000, 10))
    queued = len(starts)
    queue[:queued, :6] = starts
    queue[:queued, 8] = -1.0
    count, next_one, drawn = 0, 0, 0
    while next_one < queued:
        x, y, heading, radius, kind, guide, level, way, owner, inward = queue[next_one]
        me = next_one + 1
        next_one += 1
        plane = int(kind)
        along, steps, wander, side_of_branch = 0, 0, 0.0, 1.0 if me % 2 else -1.0
        until = 0.35 + 0.5 * uniforms[drawn % len(uniforms)]
        until = until + (0.5 if level == 0 else 0.0)
        while steps < 200 and count < len(out):
            drawn += 1
            if guide >= 0:
                points = guides[int(guide)]
                while (
                    along < len(points) - 1
                    and (points[along, 0] - x) ** 2 + (points[along, 1] - y) ** 2 < 0.09
                ):
                    along += 1
                if along >= len(points) - 1:
                    break
                aim = math.atan2(points[along, 1] - y, points[along, 0] - x)
                pull = 0.35
            elif inward > 0:
                aim = math.atan2(-y, -x)
                pull = 0.07
            else:
                aim = math.atan2(y - 0.3 * disc[1], x - 0.55 * disc[0])
                pull = 0.07
            turn = math.atan2(math.sin(aim - heading), math.cos(aim - heading))
            loose = 0.085 if level == 0 else 0.06
            wander = 0.80 * wander + loose * winding * normals[drawn % len(normals)]
            heading += pull * turn + wander
            nx, ny = x + step * math.cos(heading), y + step * math.sin(heading)
            steps += 1
            way += step
            if abs(nx) >= reach - cell or abs(ny) >= reach - cell or radius < 0.0085:
                break
            if nx * nx + ny * ny < 0.35**2:
                break  # the fovea has no vessels
            row, column = int((ny + reach) / cell), int((nx + reach) / cell)
            here = held[plane, row, column]
            near_disc = (nx - disc[0]) ** 2 + (ny - disc[1]) ** 2 < 1.4
            if here != 0 and here != me and not near_disc and (here != owner or steps > 6):
                break
            held[plane, row, column] = me
            taper = 0.0035 if level == 0 else 0.010
            thinner = radius * (1 - taper * step / 0.1 * (1.0 if radius < 0.06 else 1.3))
            out[count, 0], out[count, 1], out[count, 2], out[count, 3] = x, y, nx, ny
            out[count, 4], out[count, 5], out[count, 6], out[count, 7] = radius, thinner, kind, way
            count += 1
            x, y, radius = nx, ny, thinner
            until -= step
            if until <= 0 and level < 4 and queued < len(queue) and not near_disc:
                u = uniforms[drawn % len(uniforms)]
                v = uniforms[(drawn * 7 + 3) % len(uniforms)]
                share = 0.32 + 0.42 * u * u if level == 0 else 0.50 + 0.34 * u
                child = radius * share
                angle = side_of_branch * (0.55 + 0.6 * v)
                queue[queued, 0], queue[queued, 1], queue[queued, 2] = x, y, heading + angle
                queue[queued, 3], queue[queued, 4], queue[queued, 5] = child, kind, -1.0
                queue[queued, 6], queue[queued, 7], queue[queued, 8] = level + 1, way, me
                # towards the fovea if the branch leaves on its side
                cross = math.cos(heading) * (-y) - math.sin(heading) * (-x)
                inner = cross * side_of_branch > 0 and x < disc[0] - 0.6 and x > -4.5 and abs(y) < 4.2
                queue[queued, 9] = 1.0 if (inner if level == 0 else inward > 0) else 0.0
                queued += 1
                radius = (radius**3 - child**3) ** (1 / 3)
                if guide < 0:
                    heading -= 0.35 * angle
                side_of_branch = -side_of_branch
                until = (0.45 + 0.80 * v) * (0.85 if level == 0 else 1.0)
    return count
