"""Where the tissues of a chest lie, and their Hounsfield units: lungs, heart, bones, muscle, fat, liver.

Points are LPS millimetres about the carina: x to the left, y to the back, z to the head. Every organ is a
signed distance (negative inside); the part of a voxel that it fills follows from that distance, so that edges
show the partial volume of a real scan. Vessels, airways and nodules are laid over it by others.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hounsfield.applications.chest_ct.body import Body
from hounsfield.core.compiled import compiled

__all__ = ["AIR", "LOBES", "lobe_of", "lung_distance", "tissue"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
LOBES = ("RUL", "RML", "RLL", "LUL", "LLL")
AIR = -1000.0
_FAT, _MUSCLE, _BLOOD, _LIVER, _SPLEEN, _CARTILAGE = -102.0, 52.0, 42.0, 58.0, 46.0, 105.0
_COARSE_MM, _FINE_MM = 22.0, 6.0  # the two scales of the random texture


@compiled
def _radial(x, y, width, depth):  # type: ignore[no-untyped-def]
    # Distance along the ray from the middle to a rounded rectangle (between an ellipse and a superellipse
    # of power 4), negative inside.
    u, v = (x / width) ** 2, (y / depth) ** 2
    g = math.sqrt(math.sqrt(u * u + v * v + 1.4 * u * v))
    return math.sqrt(x * x + y * y) * (1.0 - 1.0 / max(g, 0.02))


@compiled
def cage_distance(x, y, z, body):  # type: ignore[no-untyped-def]
    """Signed distance to the inside of the ribs, which narrow towards the neck."""
    rise = min(max((z + 40.0 * body.scale) / (body.apex + 40.0 * body.scale), 0.0), 1.25)
    narrow = rise * rise
    return _radial(x, y, body.half_width * (1.0 - 0.46 * narrow), body.half_depth * (1.0 - 0.34 * narrow))


@compiled
def heart_distance(x, y, z, body):  # type: ignore[no-untyped-def]
    """Signed distance to the heart: a ventricle turned to the left, an atrium on the right."""
    s = body.heart
    u, v, w = x - 26 * s, y + 27 * s, z + 62 * s
    a, b = 0.82 * u - 0.57 * v, 0.57 * u + 0.82 * v
    left = math.sqrt((a / (57 * s)) ** 2 + (b / (39 * s)) ** 2 + (w / (50 * s)) ** 2) - 1.0
    u, v, w = x + 16 * s, y + 14 * s, z + 52 * s
    right = math.sqrt((u / (33 * s)) ** 2 + (v / (38 * s)) ** 2 + (w / (46 * s)) ** 2) - 1.0
    return min(left * 42 * s, right * 36 * s)


@compiled
def diaphragm(x, y, body):  # type: ignore[no-untyped-def]
    """Height of the diaphragm under a point: two domes that fall off to the ribs."""
    side = 0.52 * body.half_width
    top = body.dome_left if x > 0 else body.dome_right
    u = (abs(x) - side) / (0.56 * body.half_width)
    v = (y + 0.22 * body.half_depth) / (1.02 * body.half_depth)
    return top - 46.0 * body.scale * (u * u + v * v)


@compiled
def lung_walls(x, y, z, cage, heart, body):  # type: ignore[no-untyped-def]
    """Signed distances (negative inside the lungs) to the upright and to the lying walls."""
    s = body.scale
    upper = min(max((z - 30 * s) / (60 * s), 0.0), 1.0)
    middle = 9 * s + 17 * s * math.exp(-((y - 2) ** 2) / (34 * s) ** 2) + 9 * s * upper
    upright = max(cage + 1.5, middle - abs(x))
    upright = max(upright, 1.5 - heart)
    spine = math.sqrt(x * x + (y - body.spine_y - 6.0) ** 2)
    upright = max(upright, 25.0 * s - spine)
    over = z - body.apex
    over += 34 * s * (((abs(x) - 0.36 * body.half_width) / 40 / s) ** 2 + ((y - 14) / 42 / s) ** 2)
    return upright, max(0.75 * over, 0.75 * (diaphragm(x, y, body) - z))


@compiled
def lobe_at(x, y, z, body):  # type: ignore[no-untyped-def]
    """The lobe's place in LOBES, and the distance to the nearest fissure."""
    s = body.scale
    wave = 4.0 * math.sin(x / 19.0 + body.fissure) + body.fissure
    oblique = (z - (42 * s - 1.22 * (body.half_depth - y) + wave)) * 0.63
    if x > 0:
        return (3 if oblique > 0 else 4), abs(oblique)
    if oblique <= 0:
        return 2, -oblique
    minor = z + 22 * s + 0.12 * y - 3.0 * math.sin(y / 23.0 + body.fissure)
    return (0 if minor > 0 else 1), min(oblique, abs(minor))


@compiled
def _distances(points, body, out):  # type: ignore[no-untyped-def]
    for n in range(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        cage, heart = cage_distance(x, y, z, body), heart_distance(x, y, z, body)
        upright, lying = lung_walls(x, y, z, cage, heart, body)
        out[n] = max(upright, lying)


def lung_distance(points_mm: Doubles, body: Body) -> Doubles:
    """About how far (n,) points (n, 3) lie outside the lungs, in millimetres; negative inside.

    >>> from hounsfield.applications.chest_ct.body import sample_body
    >>> body = sample_body(np.random.default_rng(0), sex="M", age=60)
    >>> lung_distance(np.array([[70.0, 10.0, 0.0], [0.0, 0.0, 0.0]]), body) < 0
    array([ True, False])
    """
    out = np.empty(len(points_mm))
    _distances(np.ascontiguousarray(points_mm, np.float64), body, out)
    return out


def lobe_of(point_mm: Doubles, body: Body) -> str:
    """The lobe in which a point of the lungs lies."""
    return LOBES[lobe_at(*(float(v) for v in point_mm), body)[0]]


@compiled
def _texture(field, x, y, z, step):  # type: ignore[no-untyped-def]
    # A periodic random field, linear between its samples.
    n = field.shape[0]
    u, v, w = x / step + 1000.0 * n, y / step + 1000.0 * n, z / step + 1000.0 * n
    i, j, k = int(u), int(v), int(w)
    a, b, c = u - i, v - j, w - k
    i0, j0, k0 = i % n, j % n, k % n
    i1, j1, k1 = (i + 1) % n, (j + 1) % n, (k + 1) % n
    low = (field[k0, j0, i0] * (1 - a) + field[k0, j0, i1] * a) * (1 - b)
    low += (field[k0, j1, i0] * (1 - a) + field[k0, j1, i1] * a) * b
    high = (field[k1, j0, i0] * (1 - a) + field[k1, j0, i1] * a) * (1 - b)
    high += (field[k1, j1, i0] * (1 - a) + field[k1, j1, i1] * a) * b
    return low * (1 - c) + high * c


@compiled
def _laid(below, value, distance, width):  # type: ignore[no-untyped-def]
    # The part of the voxel inside a surface takes the new value.
    part = min(max(0.5 - distance / width, 0.0), 1.0)
    return below + part * (value - below)


@compiled
def _bones(hu, x, y, z, cage, width, body):  # type: ignore[no-untyped-def]
    s = body.scale
    marrow = 240.0 - 2.2 * (body.age - 55.0)
    turn = math.atan2(abs(x), y)  # 0 at the back, pi in front
    if -2.0 < cage < 14.0:
        step = 23.0 * s
        fall = z - (body.apex + 4 * s - 62.0 * s * (0.5 - 0.5 * math.cos(turn * 1.15)))
        number = math.floor(-fall / step + 0.5)
        if 0 <= number <= 11:
            off = fall + number * step
            rib = (math.sqrt((off / (6.3 * s)) ** 2 + ((cage - 4.6) / 3.6) ** 2) - 1.0) * 3.6
            if turn > 2.35:
                hu = _laid(hu, _CARTILAGE, rib, width)
            else:
                hu = _laid(hu, 720.0, rib, width)
                hu = _laid(hu, marrow + 60.0, rib + 1.5, width)
        if y < 0 and abs(x) < 30 * s and -62 * s < z < 78 * s:
            plate = max(abs(x) - (14.0 * s if z < 45 * s else 21.0 * s), abs(cage - 6.0) - 5.5)
            hu = _laid(hu, 420.0, plate, width)
            hu = _laid(hu, marrow, plate + 1.6, width)
    if 14.0 < cage < 26.0 and -20.0 * s < z < 92 * s and 0.42 < turn < 1.35:
        lowest = 1.35 - 0.6 * (92 * s - z) / (112 * s)
        plate = max(abs(cage - 19.0) - 2.6, max(0.42 - turn, turn - lowest) * 80.0)
        hu = _laid(hu, 480.0, plate, width)
    v = y - body.spine_y
    if abs(x) < 46 * s and -22 * s < v < 62 * s:
        disc = math.floor(z / (25.0 * s))
        phase = abs(z - (disc + 0.5) * 25.0 * s) - 9.8 * s  # above 0: in a disc
        front = (math.sqrt((x / 17.5) ** 2 + (v / 14.0) ** 2) / s - 1.0) * 14.0 * s
        if phase > 1.0:
            hu = _laid(hu, 85.0, front, width)
        else:
            hu = _laid(hu, 430.0, front, width)
            hu = _laid(hu, marrow, max(front + 1.8, phase + 1.2), width)
        ring = math.sqrt(x * x + (v - 23.0 * s) ** 2) - 13.0 * s
        hu = _laid(hu, 400.0, max(ring, 13.0 * s - v), width)
        hu = _laid(hu, 28.0, ring + 4.5 * s, width)
        slope = v - 0.35 * (abs(z - (disc + 0.5) * 25.0 * s))
        process = max(abs(x) - 3.2 * s, max(33.0 * s - v, slope - 52.0 * s))
        if phase <= 0:
            hu = _laid(hu, 380.0, process, width)
            side = max(abs(v - 20.0 * s) - 4.5 * s, max(11.0 * s - abs(x), abs(x) - 36.0 * s))
            hu = _laid(hu, 350.0, max(side, abs(phase + 6.0 * s) - 5.0 * s), width)
    return hu


@compiled
def _outer(hu, x, y, z, cage, grain, width, body):  # type: ignore[no-untyped-def]
    # Skin, fat and muscle around the ribs; the shoulders above, the breasts in front.
    s = body.scale
    lift = min(max((z - 5.0 * s) / (95.0 * s), 0.0), 1.0)
    wide = body.half_width + 9.0 + body.muscle * (1.0 + 0.5 * lift)
    deep = body.half_depth + 9.0 + body.muscle * (1.1 + 0.3 * lift) - 10.0 * s * lift
    muscle = _radial(x, y - 4.0, wide, deep)
    skin = muscle - body.fat * (1.0 + 0.25 * min(max(0.5 - y / 90.0, 0.0), 1.0) * (1 - lift))
    if body.female > 0.5:
        size = 0.62 + 0.022 * body.fat
        u, v, w = abs(x) - 66 * s, y + body.half_depth + 2.0, z + 34 * s
        breast = math.sqrt((u / 52) ** 2 + (v / 40) ** 2 + (w / 52) ** 2) / (s * size)
        bulge = (breast - 1.0) * 40 * s * size
        blend = max(14.0 - abs(skin - bulge), 0.0)  # the two surfaces meet in a smooth fold
        skin = min(skin, bulge) - blend * blend / 56.0
        gland = (breast * 1.5 - 1.0) * 27 * s + 9.0 * grain
    else:
        gland = 99.0
    hu = _laid(hu, 15.0, skin, width)
    hu = _laid(hu, _FAT + 6.0 * grain, skin + 1.8, width)
    hu = _laid(hu, 30.0, max(gland, 2.0 - muscle), width)
    streak = min(max(grain - 0.9, 0.0), 1.0) * 110.0  # fat between the muscles
    return _laid(hu, _MUSCLE - streak, max(muscle, 0.5 - cage), width)


@compiled
def _inner(hu, x, y, z, cage, grain, broad, widths, body):  # type: ignore[no-untyped-def]
    # What the ribs hold: mediastinum, heart, liver and spleen, the spine, then the lungs over them, so that
    # no bone stands in a lung.
    s = body.scale
    width = widths[0]
    hu = _laid(hu, -78.0 + 22.0 * grain, cage, width)
    under = (z - diaphragm(x, y, body)) * 0.75 + 2.0
    if under < 6.0:
        right = x + 22.0 * s + 0.1 * y
        organ = _LIVER if right < 0 else (_SPLEEN if y > -5.0 else 25.0)
        wall = max(under, cage + 3.0)
        hu = _laid(hu, organ + 3.0 * grain, max(wall, 3.0 - abs(right)), max(width, widths[1] * 0.7))
        gas = math.sqrt(((x - 62 * s) / 24) ** 2 + ((y + 38 * s) / 17) ** 2 + ((under + 32 * s) / 16) ** 2)
        hu = _laid(hu, -960.0, (gas / s - 1.0) * 16 * s, width)
    heart = heart_distance(x, y, z, body)
    hu = _laid(hu, _FAT, max(heart, -under), width)
    hu = _laid(hu, _BLOOD + 3.0 * grain, max(heart + 3.0 + 1.5 * broad, -under), width)
    gullet = math.sqrt((x - 5 * s) ** 2 + (0.8 * (y - body.spine_y + 25 * s)) ** 2) - 7.0 * s
    hu = _laid(hu, 38.0, max(gullet, cage), width)
    hu = _bones(hu, x, y, z, cage, width, body)
    upright, lying = lung_walls(x, y, z, cage, heart, body)
    outside = max(upright / width, lying / max(width, 0.75 * widths[1]))
    if outside < 0.5:
        air = body.lung_hu + body.gradient_hu * y / body.half_depth + 9.0 * broad + 7.0 * grain
        if body.emphysema > 0.0:
            high = 1.0 + 0.7 * min(max(z / body.apex, -0.7), 1.0)
            air -= 85.0 * body.emphysema * high * min(max(0.6 * grain + 0.8 * broad - 0.5, 0.0), 1.0)
        hu = _laid(hu, max(air, -985.0), outside, 1.0)
        if outside < -0.5:
            gap = lobe_at(x, y, z, body)[1]
            thin = 0.9 / width * max(1.0 - gap / width, 0.0)  # a sheet thinner than a voxel
            hu += thin * 420.0
    return hu


@compiled
def _table(hu, x, y, body, width):  # type: ignore[no-untyped-def]
    back = body.half_depth + 4.0 + 9.0 + body.muscle * 1.1 + body.fat + 10.0
    top = y - (back - 0.0009 * x * x)
    return _laid(hu, -660.0, max(abs(top - 6.0) - 5.0, abs(x) - 205.0), width)


@compiled
def _paint(out, origin, spacing, coarse, fine, body):  # type: ignore[no-untyped-def]
    width = spacing[0]
    widths = (spacing[0], spacing[2])
    for k in range(out.shape[0]):
        z = origin[2] + k * spacing[2]
        for j in range(out.shape[1]):
            y = origin[1] + j * spacing[1]
            for i in range(out.shape[2]):
                x = origin[0] + i * spacing[0]
                cage = cage_distance(x, y, z, body)
                hu = AIR
                if cage > 120.0 + body.fat:
                    out[k, j, i] = _table(hu, x, y, body, width)
                    continue
                grain = _texture(fine, x, y, z, _FINE_MM)
                broad = _texture(coarse, x, y, z, _COARSE_MM) if cage < width else 0.0
                if cage > -2 * width:
                    hu = _table(_outer(hu, x, y, z, cage, grain, width, body), x, y, body, width)
                if cage < width:
                    hu = _inner(hu, x, y, z, cage, grain, broad, widths, body)
                else:
                    hu = _bones(hu, x, y, z, cage, width, body)
                out[k, j, i] = hu


def tissue(
    body: Body,
    shape: tuple[int, int, int],
    *,
    origin_mm: Doubles,
    spacing_mm: Doubles,
    rng: np.random.Generator,
) -> Floats:
    """Hounsfield units (K, J, I) of a chest without vessels, airways and noise.

    `origin_mm` (the centre of the first voxel) and `spacing_mm` are along x, y, z.

    >>> from hounsfield.applications.chest_ct.body import sample_body
    >>> body = sample_body(np.random.default_rng(0), sex="M", age=60)
    >>> hu = tissue(body, (1, 3, 3), origin_mm=np.array([-70.0, -70, 0]), spacing_mm=np.array([70.0, 70, 2]),
    ...     rng=np.random.default_rng(0))
    >>> bool(hu[0, 1, 0] < -750 < -150 < hu[0, 1, 1])
    True
    """
    coarse, fine = (rng.standard_normal((24, 24, 24)).astype(np.float32) for _ in range(2))
    out = np.empty(shape, np.float32)
    _paint(out, origin_mm, spacing_mm, coarse, fine, body)
    return out
