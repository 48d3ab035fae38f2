"""Which tissue lies at a point: the fields of head and brain, read there and laid over each other.

Every boundary is a signed distance; the part of a small box that lies inside follows from it, and each
tissue is laid over what lies below, so that the parts of all tissues sum to one.
"""

from __future__ import annotations

import math

import numpy as np

from hounsfield.core.compiled import arithmetic

__all__ = ["BRAIN", "GREY", "LABELS", "TISSUES", "WHITE", "measure", "see", "tissues_at"]

TISSUES = (
    "air", "soft", "fat", "bone", "marrow", "eye", "csf", "ventricle", "cortex", "white", "brainstem",
    "cerebellar-grey", "cerebellar-white", "caudate", "putamen", "thalamus", "pallidum", "hippocampus",
    "amygdala", "lesion", "cord", "vessel",
)  # fmt: skip
GREY = ("cortex", "cerebellar-grey", "caudate", "putamen", "thalamus", "pallidum", "hippocampus", "amygdala")
WHITE = ("white", "brainstem", "cerebellar-white", "lesion")
BRAIN = GREY + WHITE
# As FreeSurfer numbers them (left, right); what it does not name has a number from 165.
LABELS = {
    "air": (0, 0), "soft": (168, 168), "fat": (167, 167), "bone": (165, 165), "marrow": (166, 166),
    "eye": (169, 169), "csf": (24, 24), "ventricle": (4, 43), "cortex": (3, 42), "white": (2, 41),
    "brainstem": (16, 16), "cerebellar-grey": (8, 47), "cerebellar-white": (7, 46), "caudate": (11, 50),
    "putamen": (12, 51), "thalamus": (10, 49), "pallidum": (13, 52), "hippocampus": (17, 53),
    "amygdala": (18, 54), "lesion": (77, 77), "cord": (170, 170), "vessel": (171, 171),
}  # fmt: skip
_AIR, _SOFT, _FAT, _BONE, _MARROW, _EYE, _CSF, _VENT, _CORTEX, _WHITE, _STEM = range(11)
_CGREY, _CWHITE, _CAUDATE, _PUTAMEN, _THALAMUS, _PALLIDUM, _HIPPO, _AMYGDALA, _LESION, _CORD, _VESSEL = range(
    11, 22
)
_CORD_Z = -66.0  # below this height the stem is no longer counted as brain


@arithmetic
def read(fields, count, grid, x, y, z, out):  # type: ignore[no-untyped-def]
    """The first channels of fields (z, y, x, c) at a point, linear between nodes; `grid`: origin, step."""
    step = grid[3]
    u, v, w = (x - grid[0]) / step, (y - grid[1]) / step, (z - grid[2]) / step
    u = min(max(u, 0.0), fields.shape[2] - 1.001)
    v = min(max(v, 0.0), fields.shape[1] - 1.001)
    w = min(max(w, 0.0), fields.shape[0] - 1.001)
    i, j, k = int(u), int(v), int(w)
    a, b, c = np.float32(u - i), np.float32(v - j), np.float32(w - k)
    one = np.float32(1.0)
    w00, w01, w10, w11 = (one - a) * (one - b), a * (one - b), (one - a) * b, a * b
    d = one - c
    for n in range(count):
        low = fields[k, j, i, n] * w00 + fields[k, j, i + 1, n] * w01
        low += fields[k, j + 1, i, n] * w10 + fields[k, j + 1, i + 1, n] * w11
        high = fields[k + 1, j, i, n] * w00 + fields[k + 1, j, i + 1, n] * w01
        high += fields[k + 1, j + 1, i, n] * w10 + fields[k + 1, j + 1, i + 1, n] * w11
        out[n] = low * d + high * c


@arithmetic
def lay(parts, tissue, distance, width):  # type: ignore[no-untyped-def]
    """The part of a box of that width that lies inside a boundary becomes the tissue."""
    inside = 0.5 - distance / width
    if inside <= 0.0:
        return
    if inside >= 1.0:
        for n in range(22):
            parts[n] = 0.0
        parts[tissue] = 1.0
        return
    left = np.float32(1.0 - inside)
    for n in range(22):
        parts[n] *= left
    parts[tissue] += np.float32(inside)


@arithmetic
def softer(a, b, blend):  # type: ignore[no-untyped-def]
    """The lesser of two distances, rounded where they meet."""
    h = max(blend - abs(a - b), 0.0)
    return min(a, b) - h * h * 0.25 / blend


@arithmetic
def _sheet(value, slope, wave):  # type: ignore[no-untyped-def]
    # Distance to where a wave is zero: the angle of (value, slope), to some thousandths of a radian.
    a, b = abs(value), max(slope, 1e-6)
    if a < b:
        r = a / b
        angle = r * (0.9724 - 0.1919 * r * r + 0.0049 * r * r * r * r)
    else:
        r = b / a
        angle = 1.5707963 - r * (0.9724 - 0.1919 * r * r + 0.0049 * r * r * r * r)
    return angle * wave / 6.283185307


@arithmetic
def pial_depth(f, folds):  # type: ignore[no-untyped-def]
    """How deep a point lies under the folded surface of the cerebrum, from its fields."""
    depth = float(f[0])
    low = float(f[5])
    under = max(depth, 0.0)
    opened = folds.half_width * (1.0 + folds.opening / (1.0 + under * under / 8.0))
    below = max(depth - folds.deep * (1.0 + 0.30 * low), 0.0)
    if below > 9.0:
        return 8.0  # no fold is near
    sheet = _sheet(f[1], f[2], folds.wave_deep)
    phi = softer(depth, math.sqrt(sheet * sheet + below * below) - opened, 2.6)
    below = max(depth - folds.shallow * (1.0 - 0.55 * low), 0.0)
    if below > 8.0:
        return phi
    sheet = _sheet(f[3], f[4], folds.wave_shallow)
    return softer(phi, math.sqrt(sheet * sheet + below * below) - 0.8 * opened, 2.2)


@arithmetic
def _outside(parts, g, x, y, z, width):  # type: ignore[no-untyped-def]
    cavity, skin, thick = g[0], g[1], g[2]
    lay(parts, _SOFT, skin, width)
    lay(parts, _FAT, skin + 2.0, width)
    lay(parts, _SOFT, skin + 7.5 + 1.2 * g[7], width)
    lay(parts, _FAT, max(2.6 - 1.1 * g[7], skin + 3.0), width)
    lay(parts, _FAT, max(g[4], skin + 2.5), width)
    lay(parts, _BONE, max(g[6], skin + 3.0), width)
    lay(parts, _MARROW, max(g[6] + 2.0, skin + 5.0), width)
    lay(parts, _AIR, g[3], width)
    if g[5] < 2.0:
        lay(parts, _EYE, g[5], width)
    lay(parts, _BONE, cavity - thick, width)
    marrow = abs(cavity - 0.52 * thick) - 0.5 * thick + 2.3 - 0.45 * g[7]
    lay(parts, _MARROW, marrow, width)
    if z < -58.0:
        canal = math.sqrt(x * x + (y + 44.0 - 0.05 * (z + 90)) ** 2) - 9.5
        lay(parts, _BONE, canal - 2.0, width)
        lay(parts, _CSF, canal, width)


@arithmetic
def _cerebrum(parts, f, folds, recede, width):  # type: ignore[no-untyped-def]
    if f[0] < -3.0:
        return
    phi = pial_depth(f, folds)
    # The surface recedes along its normal; what lies deeper follows less, so that the cortex thins.
    under = max(phi, 0.0) / 5.0
    phi -= recede * f[19] / (1.0 + under * under)
    thick = folds.thickness * (1.0 + 0.10 * f[5])
    lay(parts, _CORTEX, -phi, width)
    lay(parts, _WHITE, thick - phi, width)


@arithmetic
def _cerebellum(parts, f, folds, width):  # type: ignore[no-untyped-def]
    if f[6] < -2.0:
        return
    depth = f[6]
    sheet = math.asin(min(abs(f[7]), 1.0)) * folds.folia / 6.283185307
    below = max(depth - 4.5, 0.0)
    phi = softer(depth, math.sqrt(sheet * sheet + below * below) - 0.28, 1.0)
    lay(parts, _CGREY, -phi, width)
    branch = max(0.0, sheet / folds.folia * 4.0 - 0.5)
    lay(parts, _CWHITE, 8.5 + 3.0 * f[18] - depth - 8.0 * branch, width)


@arithmetic
def _deep(parts, f, z, width):  # type: ignore[no-untyped-def]
    least = f[8]
    for n in range(9, 18):
        least = min(least, f[n])
    if least > width:
        return
    lay(parts, _STEM, f[8], width)
    lay(parts, _WHITE, f[9], width)
    lay(parts, _THALAMUS, f[14], width)
    lay(parts, _CAUDATE, f[12], width)
    lay(parts, _PUTAMEN, f[13], width)
    lay(parts, _PALLIDUM, f[15], width)
    lay(parts, _VENT, min(f[10], f[11]), width)
    lay(parts, _AMYGDALA, f[17], width)
    lay(parts, _HIPPO, f[16], width)
    if z < _CORD_Z + width:
        cut = min(max(0.5 - (z - _CORD_Z) / width, 0.0), 1.0)
        moved = parts[_STEM] * np.float32(cut)
        parts[_STEM] -= moved
        parts[_CORD] += moved


@arithmetic
def _lesions(parts, lesions, x, y, z, width):  # type: ignore[no-untyped-def]
    # Lesions (n, 6), centre and radii, lie in white matter only.
    if parts[_WHITE] <= 0.0:
        return
    for n in range(lesions.shape[0]):
        a, b, c = x - lesions[n, 0], y - lesions[n, 1], z - lesions[n, 2]
        ra, rb, rc = lesions[n, 3], lesions[n, 4], lesions[n, 5]
        if ra <= 0.0 or abs(a) > ra + 1.0 or abs(b) > rb + 1.0 or abs(c) > rc + 1.0:
            continue
        a, b, c = a / ra, b / rb, c / rc
        far = math.sqrt(a * a + b * b + c * c)
        steep = math.sqrt((a / ra) ** 2 + (b / rb) ** 2 + (c / rc) ** 2)
        distance = far * (far - 1.0) / steep if steep > 1e-6 else -ra
        part = min(max(0.5 - distance / width, 0.0), 1.0)
        moved = parts[_WHITE] * np.float32(part)
        parts[_WHITE] -= moved
        parts[_LESION] += moved


@arithmetic
def tissues_at(x, y, z, around, inside, move, lesions, grids, folds, recede, width, known, f, g, m, parts):  # type: ignore[no-untyped-def]
    """The parts of all tissues in a box of that width about a point; `f`, `g` and `m` are scratch space.

    The grain of the brain at the point is left in `f[18]`, that of the head in `g[7]`. What is `known` of a
    point near by, well inside the skull, is not read again: `g` and the displacement `m`.
    """
    for n in range(22):
        parts[n] = 0.0
    if known:
        parts[_CSF] = 1.0
    else:
        read(around, 8, grids[0], x, y, z, g)
        parts[_AIR] = 1.0
        f[18] = 0.0
        if g[1] > 2.0 * width:
            return
        if g[0] > -1.0:
            _outside(parts, g, x, y, z, width)
        if g[0] > width:
            return
        read(move, 3, grids[2], x, y, z, m)
        lay(parts, _CSF, g[0], width)
    u, v, w = x + m[0], y + m[1], z + m[2]
    read(inside, 20, grids[1], u, v, w, f)
    _cerebrum(parts, f, folds, recede, width)
    _cerebellum(parts, f, folds, width)
    _deep(parts, f, w, width)
    _lesions(parts, lesions, u, v, w, width)


@arithmetic
def _placed(a, d, b, i, j, k):  # type: ignore[no-untyped-def]
    x = a[0, 0] * i + a[0, 1] * j + a[0, 2] * k + a[0, 3]
    y = a[1, 0] * i + a[1, 1] * j + a[1, 2] * k + a[1, 3]
    z = a[2, 0] * i + a[2, 1] * j + a[2, 2] * k + a[2, 3]
    far = (x * x + y * y + z * z) * 1e-4
    x, y, z = x * (1 + d[0] + d[3] * far), y * (1 + d[1] + d[4] * far), z * (1 + d[2] + d[5] * far)
    return (
        b[0, 0] * x + b[0, 1] * y + b[0, 2] * z + b[0, 3],
        b[1, 0] * x + b[1, 1] * y + b[1, 2] * z + b[1, 3],
        b[2, 0] * x + b[2, 1] * y + b[2, 2] * z + b[2, 3],
    )


@arithmetic
def _voxel(view, i, j, k, size, spots, scene, scratch):  # type: ignore[no-untyped-def]
    # The parts of a voxel in `total`: from one point where one tissue fills it, else from several.
    to, bent, at = view
    around, inside, move, lesions, grids, folds, recede = scene
    f, g, move_mm, parts, total = scratch
    x, y, z = _placed(to, bent, at, i, j, k)
    rest = (lesions, grids, folds, recede)
    wide = 1.3 * size
    tissues_at(x, y, z, around, inside, move, *rest, wide, False, f, g, move_mm, parts)
    grain = g[7] if g[0] > 0.0 else f[18]
    most = np.float32(0.0)
    for m in range(22):
        total[m] = parts[m]
        most = max(most, parts[m])
    if most < 0.999 and g[0] < 1.2 * size:  # around the skull one point will do
        for m in range(22):
            total[m] = 0.0
        known = g[0] < -2.0 * size
        share = np.float32(1.0 / len(spots))
        for n in range(len(spots)):
            u, v, w = _placed(to, bent, at, i + spots[n, 0], j + spots[n, 1], k + spots[n, 2])
            near = spots[n, 3] * size
            tissues_at(u, v, w, around, inside, move, *rest, near, known, f, g, move_mm, parts)
            for m in range(22):
                total[m] += parts[m] * share
    return grain, x


@arithmetic
def see(view, scene, values, grains, sides, kinds, spots, size, intensity, labels, out):  # type: ignore[no-untyped-def]
    """Intensity, label and parts of CSF, grey, white and lesion of every voxel (K, J, I) of a view."""
    f, g, move_mm = np.zeros(20, np.float32), np.zeros(8, np.float32), np.zeros(3, np.float32)
    parts, total = np.zeros(22, np.float32), np.zeros(22, np.float32)
    scratch = (f, g, move_mm, parts, total)
    for k in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            for i in range(labels.shape[2]):
                grain, x = _voxel(view, i, j, k, size, spots, scene, scratch)
                best, value = 0, 0.0
                for m in range(22):
                    part = total[m]
                    if part > 0.0:
                        value += part * values[m] * (1.0 + grain * grains[m])
                        if kinds[m] > 0:
                            out[kinds[m] - 1, k, j, i] += part
                        if part > total[best]:
                            best = m
                out[3, k, j, i] = total[19]
                intensity[k, j, i] = value
                labels[k, j, i] = sides[best, 0 if x > 0 else 1]


@arithmetic
def measure(scene, view, shape, spots, size, sums):  # type: ignore[no-untyped-def]
    """Add the parts of each tissue (left, right) over the voxels of a view."""
    f, g, move_mm = np.zeros(20, np.float32), np.zeros(8, np.float32), np.zeros(3, np.float32)
    parts, total = np.zeros(22, np.float32), np.zeros(22, np.float32)
    scratch = (f, g, move_mm, parts, total)
    for k in range(shape[0]):
        for j in range(shape[1]):
            for i in range(shape[2]):
                _, x = _voxel(view, i, j, k, size, spots, scene, scratch)
                side = 0 if x > 0 else 1
                for m in range(6, 22):
                    sums[m, side] += total[m]
