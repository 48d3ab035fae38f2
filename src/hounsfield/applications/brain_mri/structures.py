"""Where the parts of a brain lie: plain adult places and sizes in the atlas frame, chosen by hand.

They follow the coordinates at which an atlas of the field (MNI) shows them; a geometric model, not a
segmentation of anybody. Each function gives signed distances (negative inside) at points (n, 3).
"""

from __future__ import annotations

import numpy as np

from hounsfield.applications.brain_mri.shapes import Floats, ellipsoid, joined, overlap, tubes

__all__ = [
    "amygdala",
    "brainstem",
    "callosum",
    "caudate",
    "cavity",
    "cerebellum",
    "cerebrum",
    "core",
    "hippocampus",
    "pallidum",
    "putamen",
    "tentorium",
    "thalamus",
    "ventricles",
]

_VENTRICLE = [
    [12, 33, -1, 1.6], [11, 25, 5, 4.2], [10, 13, 12, 4.6], [9.5, 0, 18, 4.2], [11.5, -15, 21, 4.4],
    [18, -29, 19, 5.4], [25, -40, 11, 6.2],
]  # fmt: skip
_OCCIPITAL = [[25, -40, 11, 6.2], [25, -56, 7, 3.4], [22, -70, 5, 1.0]]
_TEMPORAL = [
    [25, -40, 11, 6.0],
    [33, -37, 0, 3.2],
    [35, -28, -9, 2.0],
    [33, -16, -14, 1.9],
    [29, -8, -15, 1.7],
]
_CAUDATE = [
    [14, 21, 0, 6.0], [15.5, 15, 6, 6.0], [16.5, 6, 13, 4.6], [17.5, -6, 19, 3.3], [20, -18, 22, 2.5],
    [27, -31, 20, 1.8], [33, -38, 8, 1.5],
]  # fmt: skip
_HIPPOCAMPUS = [
    [23, -11, -20, 6.6], [27, -18, -18, 6.0], [29.5, -27, -12, 5.1], [28, -35, -5, 4.3], [23, -40, 2, 2.8],
]  # fmt: skip
_MEDULLA = [[0, -30, -40, 9.0], [0, -37, -54, 7.6], [0, -43, -70, 6.0], [0, -44, -90, 5.6]]
_PEDUNCLE = [[13, -27, -31, 8.0], [20, -42, -34, 6.0], [24, -55, -36, 4.0]]


def cavity(p: Floats) -> Floats:
    """The inside of the skull, with its anterior, middle and posterior fossa."""
    wide = p.copy()
    wide[:, 0] *= 1.0 + np.clip(0.0021 * (p[:, 1] + 30.0), -0.10, 0.22)
    vault = ellipsoid(wide, [0, -16, 12], [69, 88, 70])
    roofs = 7.0 * np.exp(-(((np.abs(p[:, 0]) - 30) / 16) ** 2) - ((p[:, 1] - 40) / 24) ** 2)  # of the orbits
    vault = overlap(vault, -25.0 - p[:, 2] + 0.08 * np.maximum(p[:, 1], 0) + roofs, 16.0)
    back = ellipsoid(p, [0, -60, -26], [57, 46, 38])
    middle = ellipsoid(p, [42, -15, -22], [27, 40, 24])
    stem = tubes(p, [[0, -22, -15, 18], [0, -32, -45, 15], [0, -42, -75, 10]])
    return joined(joined(joined(vault, back, 14.0), middle, 9.0), stem, 8.0)


def tentorium(p: Floats) -> Floats:
    """The height above the tentorium, which parts cerebrum and cerebellum behind the brainstem."""
    return p[:, 2] - (-2.0 - 0.32 * np.abs(p[:, 0]) - 0.34 * np.maximum(0, -50.0 - p[:, 1]))


def cerebrum(p: Floats, inner: Floats, *, falx_mm: float, sylvian_mm: float) -> Floats:
    """The two hemispheres as if they had no folds, within the space `inner`; joined under the callosum.

    `falx_mm` and `sylvian_mm` are half the widths of the fissures.
    """
    a, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    behind = np.clip((-34.0 - y) / 8.0, 0, 1)  # only there does the tentorium bound the cerebrum
    shape = overlap(inner, np.where(behind > 0, 0.6 - tentorium(p) - 60 * (1 - behind), -60.0), 2.0)
    ring = ellipsoid(np.stack([0 * a, y, z], -1), [0, -4, 5], [1e3, 37, 23])
    shape = overlap(shape, -np.maximum(a - falx_mm, -ring), 1.0)
    height = -7.0 + 0.42 * (8.0 - y)
    lips = np.maximum(np.abs(z - height) - sylvian_mm, np.maximum(37.0 - a, np.abs(y + 9.0) - 33.0))
    island = 35.0 + 0.006 * (y + 6.0) ** 2
    floor = np.maximum(
        np.abs(a - island) - sylvian_mm, np.abs(z - height - 3.0) - 15.0 + 0.016 * (y + 4) ** 2
    )
    shape = overlap(shape, -joined(lips, floor, 3.0), 2.0)
    for centre, radii in (
        ([0, -5, -27], [13, 15, 13]),
        ([0, -39, -2], [9, 6, 9]),
        ([0, -24, -30], [17, 16, 18]),
    ):
        shape = overlap(shape, -ellipsoid(p, centre, radii), 6.0)
    return overlap(shape, 2.0 - tubes(p, [[0, -27, -12, 13.0], [0, -27, -40, 15.0]]), 4.0)


def cerebellum(p: Floats, inner: Floats) -> Floats:
    """The two cerebellar hemispheres and the vermis."""
    side = ellipsoid(p, [25, -66, -32], [32, 33, 29])
    vermis = ellipsoid(p, [0, -64, -27], [14, 26, 26])
    shape = overlap(joined(side, vermis, 5.0), tentorium(p) + 0.6, 2.0)
    shape = overlap(shape, inner + 0.3, 3.0)
    return overlap(shape, 1.5 - brainstem(p), 3.0)


def brainstem(p: Floats) -> Floats:
    """Midbrain, pons, medulla and the upper cord."""
    middle = ellipsoid(p, [7, -25, -11], [9, 11, 11])
    middle = joined(middle, ellipsoid(p, [0, -31, -10], [11, 8, 9]), 4.0)
    pons = ellipsoid(p, [0, -25, -31], [17, 12.5, 13.5])
    return joined(joined(middle, pons, 5.0), tubes(p, _MEDULLA), 4.0)


def callosum(p: Floats) -> Floats:
    """White matter without cortex: corpus callosum, fornix, and the peduncles of the cerebellum."""
    a, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    ring = ellipsoid(np.stack([0 * a, y, z], -1), [0, -4, 5], [1e3, 36.5, 22.5])
    wings = 13.0 + 4.0 * np.sin(0.16 * y) + 2.0 * np.sin(0.3 * z + 1)
    thick = 2.9 + 1.6 * np.clip(np.abs(y + 4.0) / 36.0, 0, 1) ** 3
    band = np.maximum(np.abs(ring + thick) - thick, np.maximum(a - wings, -4.0 - z - 0.06 * y))
    septum = np.maximum(np.maximum(a - 0.9, ring + 2.0), np.maximum(6.0 - z - 0.2 * np.abs(y), -26.0 - y))
    fornix = tubes(p, [[2, -2, 0, 1.6], [2, -2, 9, 2.0], [3, -18, 15, 2.0], [14, -34, 13, 1.8]])
    return joined(joined(band.astype(np.float32), joined(septum, fornix), 1.5), tubes(p, _PEDUNCLE))


def core(p: Floats) -> Floats:
    """The deep white matter about the ventricles and nuclei, which no sulcus reaches."""
    crown = joined(tubes(p, _VENTRICLE), tubes(p, _OCCIPITAL)) - 6.0
    capsule = ellipsoid(p, [20, -4, 4], [11, 22, 15])
    return overlap(joined(crown, capsule, 4.0), 2.5 - np.abs(p[:, 0]), 2.0)


def ventricles(p: Floats, *, swell: float) -> tuple[Floats, Floats]:
    """The lateral ventricles with their horns; the third and the fourth. `swell` adds to radii, in mm."""
    side = joined(joined(tubes(p, _VENTRICLE), tubes(p, _OCCIPITAL), 2.0), tubes(p, _TEMPORAL), 2.0)
    side = overlap(side - swell, 1.1 - np.abs(p[:, 0]), 1.0)
    third = ellipsoid(p, [0, -11, -2], [2.0 + 0.5 * swell, 15, 11])
    water = tubes(p, [[0, -29, -3, 1.1], [0, -35, -18, 1.0], [0, -40, -26, 1.4]])
    fourth = overlap(ellipsoid(p, [0, -44, -35], [8, 6.5, 10]), -(brainstem(p) - 0.2), 1.0)
    return side, joined(joined(third, water, 1.0), fourth - 0.3 * swell, 1.0)


def caudate(p: Floats) -> Floats:
    """The caudate nuclei along the wall of the ventricles."""
    return tubes(p, _CAUDATE)


def putamen(p: Floats) -> Floats:
    """The putamina, outside the pallidum, their front end nearer the middle."""
    return overlap(ellipsoid(p, [26.0, 2, 1], [6.6, 17.5, 11.5], turn=0.20), 1.3 - pallidum(p), 1.0)


def pallidum(p: Floats) -> Floats:
    """The pallida, between putamen and internal capsule."""
    return ellipsoid(p, [20.0, -3, -1], [5.0, 10, 7.2], turn=0.25)


def thalamus(p: Floats) -> Floats:
    """The thalami on both sides of the third ventricle, parting towards the back."""
    return ellipsoid(p, [11.5, -18, 7], [10.0, 16, 10], turn=-0.30)


def hippocampus(p: Floats) -> Floats:
    """The hippocampi, from the amygdala along the temporal horn."""
    return tubes(p, _HIPPOCAMPUS)


def amygdala(p: Floats) -> Floats:
    """The amygdalae in front of the hippocampi."""
    return ellipsoid(p, [22, -2.5, -20], [7, 7, 7.5])
