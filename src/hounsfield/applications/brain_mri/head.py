"""What lies around the brain: skull with marrow, fat, muscle, skin, face, eyes, air and neck.

Like the brain, it is a set of smooth functions, on a coarser grid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hounsfield.applications.brain_mri import structures
from hounsfield.applications.brain_mri.fields import Grid, waves
from hounsfield.applications.brain_mri.shapes import Floats, ellipsoid, joined, overlap, tubes

__all__ = ["AROUND", "Head", "sample_head"]

AROUND = Grid.over((-120.0, -150.0, -170.0), (120.0, 140.0, 115.0), 3.0)


class Head(NamedTuple):
    """Fields (z, y, x, 8) on `AROUND`: cavity, skin, skull's thickness, air, fat, eye, bone, grain."""

    fields: Floats


def sample_head(rng: np.random.Generator, *, female: bool) -> Head:
    """The head around a brain; distances in millimetres, negative inside."""
    p = AROUND.points()
    cavity = structures.cavity(p)
    fields = np.empty((*AROUND.shape, 8), np.float32)
    skull = float(rng.normal(7.2 if female else 6.8, 0.7))
    scalp = float(rng.uniform(4.6, 7.5)) + (0.8 if female else 0.0)
    thick = skull + 0.9 * waves(rng, p, length_mm=60.0, spread=0.3)
    thick += 2.0 * np.clip((-p[:, 1] - 70) / 30, 0, 1) + 1.6 * np.clip((p[:, 1] - 45) / 25, 0, 1)
    above = np.clip((p[:, 2] + 30) / 20, 0, 1)
    skin = _skin(rng, p, cavity, skull + scalp)
    for channel, field in enumerate(
        (
            cavity,
            skin,
            np.maximum(thick, 3.0) * (0.55 + 0.45 * above),
            _air(p),
            _fat(p, cavity, skin),
            ellipsoid(p, [32, 58, -33], [12, 12.5, 12]),
            _bone(p),
            waves(rng, p, length_mm=14.0, spread=0.4),
        )
    ):
        fields[..., channel] = AROUND.laid(field.astype(np.float32))
    return Head(fields)


def _skin(rng: np.random.Generator, p: Floats, cavity: Floats, cover: float) -> Floats:
    vault = cavity - np.float32(cover)
    temples = ellipsoid(p, [58, 22, -22], [20, 36, 34])
    face = ellipsoid(p, [0, 34, -66], [61, 55, 66])
    nose = tubes(p, [[0, 82, -34, 7], [0, 96, -62, 10]])
    brows = ellipsoid(p, [22, 72, -22], [26, 14, 12])
    neck = ellipsoid(p, [0, -28, -150], [61, 60, 130])
    ear = ellipsoid(p, [78, -32, -40], [7, 16, 27], turn=0.35)
    skin = joined(joined(joined(vault, face, 18.0), temples, 16.0), neck, 24.0)
    skin = joined(joined(joined(skin, brows, 8.0), nose, 8.0), ear, 3.0)
    sockets = ellipsoid(p, [32, 84, -34], [16, 12, 10])
    return overlap(skin, -sockets, 8.0) + 0.5 * waves(rng, p, length_mm=55.0, spread=0.3)


def _air(p: Floats) -> Floats:
    nasal = ellipsoid(p, [5.5, 62, -58], [5.0, 30, 19])
    ethmoid = ellipsoid(p, [8, 52, -34], [6, 18, 9])
    maxillary = ellipsoid(p, [29, 52, -61], [12, 15, 16])
    sphenoid = ellipsoid(p, [8, 21, -37], [8, 10, 9])
    frontal = ellipsoid(p, [11, 74, -15], [10, 4.5, 10])
    mastoid = ellipsoid(p, [55, -37, -51], [9, 11, 12])
    canal = tubes(p, [[46, -22, -42, 3.5], [85, -30, -46, 4.0]])
    throat = tubes(p, [[0, 22, -62, 7], [0, 8, -85, 8], [0, 4, -130, 9], [0, 0, -180, 9]])
    mouth = ellipsoid(p, [0, 52, -92], [18, 26, 2.2])
    out = nasal
    for part in (ethmoid, maxillary, sphenoid, frontal, mastoid, canal, throat, mouth):
        out = joined(out, part)
    return out


def _fat(p: Floats, cavity: Floats, skin: Floats) -> Floats:
    # Fat in the orbits, the cheeks, under the chin and in the nape, without the muscles and nerves in it.
    orbit = ellipsoid(p, [29, 48, -33], [17, 25, 16])
    cheek = ellipsoid(p, [42, 52, -66], [11, 12, 20])
    nape = ellipsoid(p, [0, -88, -110], [22, 14, 50])
    chin = ellipsoid(p, [0, 50, -118], [24, 26, 10])
    spread = ellipsoid(p, [58, -10, -70], [8, 18, 40])
    scalp = np.maximum(
        cavity - 20.0, np.maximum(-34.0 - p[:, 2] - 0.2 * p[:, 1], skin + 2.0)
    )  # down to the skull
    temporal = ellipsoid(p, [66, 14, -14], [13, 36, 36])
    eye = tubes(p, [[14, 24, -26, 2.4], [31, 50, -33, 2.6]])
    strings = tubes(p, [[22, 26, -33, 1.5], [20, 56, -33, 2.0]])
    strings = joined(strings, tubes(p, [[36, 26, -33, 1.5], [43, 56, -33, 2.0]]))
    out = scalp
    for part in (orbit, cheek, nape, chin, spread):
        out = joined(out, part)
    for part in (temporal, eye, strings):
        out = overlap(out, -part)
    return np.maximum(out, -cavity)


def _bone(p: Floats) -> Floats:
    # Bodies of the vertebrae with discs between, the jaws, the base of the skull and the bones of the face.
    z = p[:, 2] + 84.0
    step = 19.0
    phase = np.abs(z - np.round(z / step) * step)
    spine = np.maximum(ellipsoid(p, [0, -17, -150], [12, 10.5, 76]), phase - 8.2)
    jaw = np.maximum(ellipsoid(p, [0, 36, -98], [47, 50, 17]), -ellipsoid(p, [0, 30, -98], [36, 41, 60]))
    teeth = np.maximum(ellipsoid(p, [0, 44, -80], [33, 41, 12]), -ellipsoid(p, [0, 36, -80], [23, 37, 60]))
    clivus = tubes(p, [[0, 14, -33, 8.0], [0, -14, -52, 7.0], [0, -18, -66, 6.0]])
    petrous = tubes(p, [[14, -12, -42, 6.0], [36, -26, -44, 9.0], [56, -36, -48, 12.0]])
    cheek = tubes(p, [[36, 66, -50, 5.0], [62, 38, -48, 4.0], [68, 4, -44, 4.0]])
    out = spine
    for part in (jaw, teeth, clivus, petrous, cheek):
        out = joined(out, part, 2.0)
    return out
