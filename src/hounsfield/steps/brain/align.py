"""Two images laid over each other half-way between them, so that neither is favoured (Reuter, Rosas & Fischl,
NeuroImage 2010;53:1181): swapping them gives the inverse.

Both are looked up from a lattice in the middle, T^(-1/2) and T^(1/2) away, and differences are brought
down by Gauss-Newton steps with robust weights (Tukey): what changed between the visits has no say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import arithmetic

__all__ = ["Fit", "Seen", "aligned", "halves"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Freedom = Literal["rigid", "affine"]
_ARM_MM = 100.0  # rotations and scales are steps of a hundredth of what moves a point so far out by 1 mm
_FREE = {"rigid": 6, "affine": 12}


class Seen(NamedTuple):
    """An image (K, J, I) with white matter at about 1, its affine to LPS mm, and how much each voxel
    counts.
    """

    data: Floats
    affine: Doubles
    weight: Floats


@dataclass(frozen=True)
class Fit:
    """`matrix` (4, 4) takes LPS mm of the first image to the second; `gain` divides the second by the first.

    `residual` is the robust deviation of the differences, `correlation` that of the values where both count.
    `spread` (p, p) is the covariance of the steps left, in the parameters of `aligned`.
    """

    matrix: Doubles
    gain: float
    residual: float
    correlation: float
    spread: Doubles


def halves(matrix: Doubles) -> tuple[Doubles, Doubles]:
    """The matrices from the middle to the first and the second image: the inverse root and the root.

    >>> move = np.eye(4)
    >>> move[0, 3] = 3.0
    >>> first, second = halves(move)
    >>> float(first[0, 3]), float(second[0, 3])
    (-1.5, 1.5)
    """
    from scipy.linalg import sqrtm

    root = np.real(sqrtm(matrix))
    return np.linalg.inv(root), np.ascontiguousarray(root)


def aligned(
    first: Seen,
    second: Seen,
    start: Doubles,
    *,
    freedom: Freedom = "rigid",
    step_mm: float = 3.0,
    rounds: int = 20,
    robust: bool = True,
) -> Fit:
    """Lay `second` over `first`, beginning at `start` (4, 4), with points of a lattice `step_mm` apart.

    A rigid fit keeps the scale and shear that `start` has. Images should be smooth on the scale of the step.
    """
    matrix, gain = np.array(start, np.float64), 0.0
    width = np.inf
    free = _FREE[freedom]
    back = [np.linalg.inv(image.affine)[:3] for image in (first, second)]
    reach = np.inf
    for n in range(rounds):
        to_first, to_second = halves(matrix)
        origin, counts, middle = _lattice(first, second, to_first, to_second, step_mm)
        looks = [np.ascontiguousarray(b @ m) for b, m in zip(back, (to_first, to_second), strict=True)]
        limit = np.inf if not robust or not np.isfinite(width) else 4.685 * width
        normal, right, sums, sample = _normal_equations(
            first, second, looks, origin, counts, step_mm, middle, gain, limit
        )
        width = 1.4826 * float(np.median(np.abs(sample))) if len(sample) else 0.0
        width = max(width, 1e-4)
        keep = [*range(free), 12]
        left = normal[np.ix_(keep, keep)]
        left = left + 1e-9 * np.trace(left) / len(left) * np.eye(len(left))
        step = np.zeros(13)
        step[keep] = -np.linalg.solve(left, right[keep])
        matrix = _stepped(step[:12], to_first, to_second, middle)
        gain += float(step[12])
        reach = float(np.abs(step[:12]).max())
        if n > 2 and reach < 2e-4:
            break
    spread = np.linalg.inv(left)[:free, :free] * width**2
    n, a, b, aa, bb, ab = sums
    shared = (ab / n - a * b / n**2) / np.sqrt(max((aa / n - (a / n) ** 2) * (bb / n - (b / n) ** 2), 1e-12))
    return Fit(matrix, float(np.exp(gain)), width, float(shared), np.asarray(spread, np.float64))


def _lattice(
    first: Seen, second: Seen, to_first: Doubles, to_second: Doubles, step_mm: float
) -> tuple[Doubles, tuple[int, int, int], Doubles]:
    # A lattice about the middle of both images' weights, the same whichever comes first.
    boxes = []
    for image, move in ((first, to_first), (second, to_second)):
        low, high = _extent(image)
        corners = np.array(
            [[x, y, z, 1.0] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
        )
        there = (corners @ np.linalg.inv(move).T)[:, :3]
        boxes.append((there.min(0), there.max(0)))
    low = 0.5 * (boxes[0][0] + boxes[1][0])
    high = 0.5 * (boxes[0][1] + boxes[1][1])
    middle = 0.5 * (low + high)
    half = np.ceil(0.5 * (high - low) / step_mm).astype(int) + 1
    return middle - half * step_mm, tuple(int(2 * h + 1) for h in half[::-1]), middle  # type: ignore[return-value]


def _extent(image: Seen) -> tuple[Doubles, Doubles]:
    ends = []
    for axis in range(3):
        filled = np.flatnonzero(image.weight.any(tuple(a for a in range(3) if a != axis)))
        ends.append((filled[0], filled[-1]) if len(filled) else (0, image.weight.shape[axis] - 1))
    corners = np.array([[i, j, k] for k in ends[0] for j in ends[1] for i in ends[2]], np.float64)
    places = corners @ image.affine[:3, :3].T + image.affine[:3, 3]
    return places.min(0), places.max(0)


def _stepped(step: Doubles, to_first: Doubles, to_second: Doubles, middle: Doubles) -> Doubles:
    from scipy.linalg import expm

    a, b, c = step[3:6] / _ARM_MM
    turn = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    x, y, z, xy, xz, yz = step[6:12] / _ARM_MM
    small = np.zeros((4, 4))
    small[:3, :3] = turn + np.array([[x, xy, xz], [xy, y, yz], [xz, yz, z]])
    small[:3, 3] = step[:3] - small[:3, :3] @ middle
    # Steps are taken in the middle: to_second . exp(d) . to_first^-1
    moved: Doubles = to_second @ expm(small) @ np.linalg.inv(to_first)
    return moved


def _normal_equations(
    first: Seen,
    second: Seen,
    looks: list[Doubles],
    origin: Doubles,
    counts: tuple[int, int, int],
    step_mm: float,
    middle: Doubles,
    gain: float,
    limit: float,
) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    normal, right, sums = np.zeros((13, 13)), np.zeros(13), np.zeros(6)
    sample = np.empty(counts[0] * counts[1] * counts[2], np.float32)
    # Slopes along the voxels of each image become slopes along the middle's mm.
    slopes = [np.ascontiguousarray(look[:, :3]) for look in looks]
    used = _gather(
        first.data, first.weight, second.data, second.weight, looks[0], looks[1], slopes[0], slopes[1],
        origin, counts, step_mm, middle, np.exp(0.5 * gain), np.float32(min(limit, 1e9)), normal, right,
    sums, sample, )  # fmt: skip
    normal = normal + normal.T - np.diag(np.diag(normal))
    return normal, right, sums, sample[:used].astype(np.float64)


@arithmetic
def _look(data, x, y, z, out):  # type: ignore[no-untyped-def]
    # The value and its slope along i, j and k, linear between voxels; False outside.
    depth, height, width = data.shape
    if x < 0.0 or y < 0.0 or z < 0.0 or x >= width - 1 or y >= height - 1 or z >= depth - 1:
        return False
    a, b, c = int(x), int(y), int(z)
    u, v, w = x - a, y - b, z - c
    p000, p001 = data[c, b, a], data[c, b, a + 1]
    p010, p011 = data[c, b + 1, a], data[c, b + 1, a + 1]
    p100, p101 = data[c + 1, b, a], data[c + 1, b, a + 1]
    p110, p111 = data[c + 1, b + 1, a], data[c + 1, b + 1, a + 1]
    q00, q01 = p000 + (p001 - p000) * u, p010 + (p011 - p010) * u
    q10, q11 = p100 + (p101 - p100) * u, p110 + (p111 - p110) * u
    r0, r1 = q00 + (q01 - q00) * v, q10 + (q11 - q10) * v
    out[0] = r0 + (r1 - r0) * w
    out[1] = ((p001 - p000) * (1 - v) + (p011 - p010) * v) * (1 - w) + (
        (p101 - p100) * (1 - v) + (p111 - p110) * v
    ) * w
    out[2] = (q01 - q00) * (1 - w) + (q11 - q10) * w
    out[3] = r1 - r0
    return True


@arithmetic
def _gather(  # type: ignore[no-untyped-def]
    d1, w1, d2, w2, m1, m2, s1, s2, origin, counts, step, middle, root, limit, normal, right, sums, sample
):
    one, two, row = np.empty(4), np.empty(4), np.empty(13)
    used = 0
    for k in range(counts[0]):
        z = origin[2] + k * step
        for j in range(counts[1]):
            y = origin[1] + j * step
            for i in range(counts[2]):
                x = origin[0] + i * step
                a = m1[0, 0] * x + m1[0, 1] * y + m1[0, 2] * z + m1[0, 3]
                b = m1[1, 0] * x + m1[1, 1] * y + m1[1, 2] * z + m1[1, 3]
                c = m1[2, 0] * x + m1[2, 1] * y + m1[2, 2] * z + m1[2, 3]
                u = m2[0, 0] * x + m2[0, 1] * y + m2[0, 2] * z + m2[0, 3]
                v = m2[1, 0] * x + m2[1, 1] * y + m2[1, 2] * z + m2[1, 3]
                w = m2[2, 0] * x + m2[2, 1] * y + m2[2, 2] * z + m2[2, 3]
                if not _look(w1, a, b, c, one) or not _look(w2, u, v, w, two):
                    continue
                weight = one[0] * two[0]
                if weight < 0.01:
                    continue
                _look(d1, a, b, c, one)
                _look(d2, u, v, w, two)
                low, high = one[0] * root, two[0] / root
                off = high - low
                sample[used] = off
                used += 1
                sums[0] += 1.0
                sums[1] += low
                sums[2] += high
                sums[3] += low * low
                sums[4] += high * high
                sums[5] += low * high
                part = off / limit
                if abs(part) >= 1.0:
                    continue
                weight *= (1.0 - part * part) ** 2
                # d(high - low) for a step in the middle: half of it in each image.
                g0 = 0.5 * (root * (one[1] * s1[0, 0] + one[2] * s1[1, 0] + one[3] * s1[2, 0])
                            + (two[1] * s2[0, 0] + two[2] * s2[1, 0] + two[3] * s2[2, 0]) / root)  # fmt: skip
                g1 = 0.5 * (root * (one[1] * s1[0, 1] + one[2] * s1[1, 1] + one[3] * s1[2, 1])
                            + (two[1] * s2[0, 1] + two[2] * s2[1, 1] + two[3] * s2[2, 1]) / root)  # fmt: skip
                g2 = 0.5 * (root * (one[1] * s1[0, 2] + one[2] * s1[1, 2] + one[3] * s1[2, 2])
                            + (two[1] * s2[0, 2] + two[2] * s2[1, 2] + two[3] * s2[2, 2]) / root)  # fmt: skip
                p, q, r = (x - middle[0]) * 0.01, (y - middle[1]) * 0.01, (z - middle[2]) * 0.01
                row[0], row[1], row[2] = g0, g1, g2
                row[3], row[4], row[5] = q * g2 - r * g1, r * g0 - p * g2, p * g1 - q * g0
                row[6], row[7], row[8] = p * g0, q * g1, r * g2
                row[9], row[10], row[11] = q * g0 + p * g1, r * g0 + p * g2, r * g1 + q * g2
                row[12] = -0.5 * (low + high)
                for m in range(13):
                    scaled = weight * row[m]
                    right[m] += scaled * off
                    for n in range(m, 13):
                        normal[m, n] += scaled * row[n]
    return used
