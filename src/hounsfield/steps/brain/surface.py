"""The brain's hull by a deformable surface (Smith, Human Brain Mapping 2002;17:143): a ball that grows to it.

Each point of a triangulated sphere is drawn to the middle of its neighbours, held smooth, and pushed along
its normal as long as the darkest value just below it is brighter than a part of the brightest one.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import arithmetic

__all__ = ["Sphere", "filled", "grown", "sphere"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Sphere = tuple[Doubles, NDArray[np.int64], NDArray[np.int64]]


@cache
def sphere(level: int = 4) -> Sphere:
    """Points (n, 3) of a unit sphere, its triangles (m, 3), and each point's neighbours (n, 6), -1 for none.

    >>> sphere(2)[0].shape, sphere(2)[1].shape
    ((162, 3), (320, 3))
    """
    phi = (1 + 5**0.5) / 2
    flat = np.array([(a, b, 0.0) for a in (-1.0, 1.0) for b in (-phi, phi)])
    points = np.concatenate([np.roll(flat, -n, axis=1) for n in range(3)])
    where = points / np.linalg.norm(points[0])
    edge = np.linalg.norm(where[:, None] - where[None], axis=-1) < 1.1
    faces = [(a, b, c) for a in range(12) for b in range(a) for c in range(b)
             if edge[a, b] and edge[b, c] and edge[a, c]]  # fmt: skip
    for _ in range(level):
        where, faces = _split(where, faces)
    turned = []
    for a, b, c in faces:
        out = np.dot(np.cross(where[b] - where[a], where[c] - where[a]), where[a]) > 0
        turned.append((a, b, c) if out else (a, c, b))
    beside: list[set[int]] = [set() for _ in where]
    for a, b, c in turned:
        beside[a] |= {b, c}
        beside[b] |= {a, c}
        beside[c] |= {a, b}
    near = np.full((len(where), 6), -1, np.int64)
    for n, found in enumerate(beside):
        near[n, : len(found)] = sorted(found)
    return where, np.array(turned, np.int64), near


def _split(where: Doubles, faces: list[tuple[int, int, int]]) -> tuple[Doubles, list[tuple[int, int, int]]]:
    points = [*where]
    halves: dict[tuple[int, int], int] = {}
    made: list[tuple[int, int, int]] = []

    def half(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in halves:
            middle = points[a] + points[b]
            halves[key] = len(points)
            points.append(middle / np.linalg.norm(middle))
        return int(halves[key])

    for a, b, c in faces:
        ab, bc, ca = half(a, b), half(b, c), half(c, a)
        made += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.array(points), made


def grown(
    data: Floats,
    start: Doubles,
    level: Doubles,
    *,
    step_mm: float = 1.0,
    part: float = 0.5,
    rounds: int = 1000,
    ball: Sphere | None = None,
) -> Doubles:
    """The points (n, 3) of the surface after so many rounds, as voxels (k, j, i) of an image of such cubes.

    `start` are its points; `level` the 2nd percentile, the threshold, the median and the 98th percentile of
    the image. `part` is Smith's b_t: less of it makes the surface larger.
    """
    _, faces, near = ball or sphere()
    points = np.array(start, np.float64)
    counts = (near >= 0).sum(1)
    _grow(np.ascontiguousarray(data, np.float32), points, faces, near, counts, level, part, rounds, step_mm)
    return points


def filled(points: Doubles, shape: tuple[int, int, int], ball: Sphere | None = None) -> NDArray[np.bool_]:
    """What lies within a closed surface of triangles, by counting its crossings along i."""
    _, faces, _ = ball or sphere()
    count = np.zeros(shape, np.int32)
    _cross(points + np.array([1e-4, 1.7e-4, 0.0]), faces, count)
    inside: NDArray[np.bool_] = np.cumsum(count, axis=2) % 2 == 1
    return inside


@arithmetic
def _normals(points, faces, out):  # type: ignore[no-untyped-def]
    out[:] = 0.0
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        u0, u1, u2 = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        v0, v1, v2 = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        n0, n1, n2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
        for p in (a, b, c):
            out[p, 0] += n0
            out[p, 1] += n1
            out[p, 2] += n2
    for p in range(len(points)):
        size = np.sqrt(out[p, 0] ** 2 + out[p, 1] ** 2 + out[p, 2] ** 2) + 1e-12
        for x in range(3):
            out[p, x] /= size


@arithmetic
def _value(data, k, j, i):  # type: ignore[no-untyped-def]
    a, b, c = int(np.rint(k)), int(np.rint(j)), int(np.rint(i))
    if a < 0 or b < 0 or c < 0 or a >= data.shape[0] or b >= data.shape[1] or c >= data.shape[2]:
        return np.float32(-1.0)
    return data[a, b, c]


@arithmetic
def _push(data, p, n, level, part, step):  # type: ignore[no-untyped-def]
    # How far the surface is pushed out at a point, from -2 to 2 or so.
    low, high = level[2], level[1]
    for d in range(1, int(20.0 / step) + 1):
        v = _value(data, p[0] - d * n[0], p[1] - d * n[1], p[2] - d * n[2])
        if v < 0.0:
            break
        low = min(low, v)
        if d * step <= 10.0:
            high = max(high, v)
    low, high = max(low, level[0]), min(high, level[2])
    edge = (high - level[0]) * part + level[0]
    return 2.0 * (low - edge) / max(high - level[0], 1e-6)


@arithmetic
def _grow(data, points, faces, near, counts, level, part, rounds, step_mm):  # type: ignore[no-untyped-def]
    normals = np.zeros_like(points)
    step = np.zeros_like(points)
    middle = 0.5 * (1 / 3.33 + 1 / 10.0)
    steep = 6.0 / (1 / 3.33 - 1 / 10.0)
    for _ in range(rounds):
        _normals(points, faces, normals)
        far, edges = 0.0, 0
        for p in range(len(points)):
            for q in range(counts[p]):
                o = near[p, q]
                far += np.sqrt(
                    (points[o, 0] - points[p, 0]) ** 2
                    + (points[o, 1] - points[p, 1]) ** 2
                    + (points[o, 2] - points[p, 2]) ** 2
                )
                edges += 1
        spacing = far / edges
        for p in range(len(points)):
            s0, s1, s2 = 0.0, 0.0, 0.0
            for q in range(counts[p]):
                o = near[p, q]
                s0 += points[o, 0]
                s1 += points[o, 1]
                s2 += points[o, 2]
            s0, s1, s2 = (
                s0 / counts[p] - points[p, 0],
                s1 / counts[p] - points[p, 1],
                s2 / counts[p] - points[p, 2],
            )
            n0, n1, n2 = normals[p, 0], normals[p, 1], normals[p, 2]
            along = s0 * n0 + s1 * n1 + s2 * n2
            curved = 2.0 * abs(along) / (spacing * spacing * step_mm)
            held = 0.5 * (1.0 + np.tanh(steep * (curved - middle)))
            push = 0.05 * _push(data, points[p], normals[p], level, part, step_mm) * spacing
            go = held * along + push
            step[p, 0] = 0.5 * (s0 - along * n0) + go * n0
            step[p, 1] = 0.5 * (s1 - along * n1) + go * n1
            step[p, 2] = 0.5 * (s2 - along * n2) + go * n2
        points += step


@arithmetic
def _cross(points, faces, count):  # type: ignore[no-untyped-def]
    depth, height, width = count.shape
    for f in range(len(faces)):
        a, b, c = points[faces[f, 0]], points[faces[f, 1]], points[faces[f, 2]]
        size = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if size == 0.0:
            continue
        k0 = max(int(np.ceil(min(a[0], b[0], c[0]))), 0)
        k1 = min(int(np.floor(max(a[0], b[0], c[0]))), depth - 1)
        j0 = max(int(np.ceil(min(a[1], b[1], c[1]))), 0)
        j1 = min(int(np.floor(max(a[1], b[1], c[1]))), height - 1)
        for k in range(k0, k1 + 1):
            for j in range(j0, j1 + 1):
                u = ((k - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (j - a[1])) / size
                v = ((b[0] - a[0]) * (j - a[1]) - (k - a[0]) * (b[1] - a[1])) / size
                if u < 0.0 or v < 0.0 or u + v >= 1.0:
                    continue
                at = a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2])
                n = min(max(int(np.ceil(at)), 0), width - 1)
                count[k, j, n] += 1
