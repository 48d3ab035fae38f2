"""The fundus without its vessels: pigment, choroid, macula, disc, nerve fibres, in red, green and blue.

Colours are those of a well exposed photograph (0 to 1). Blood and pigment take light away by Beer's law, the
disc and the fibres are laid over.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hounsfield.applications.retinopathy.eye import Anatomy
from hounsfield.applications.retinopathy.field import Field, Floats

__all__ = ["disc_cover", "fundus_colours", "smooth_noise"]

_FAIR, _DARK = np.array([0.95, 0.52, 0.27]), np.array([0.66, 0.32, 0.145])
_DISC_RIM, _DISC_CUP = (1.0, 0.70, 0.42), (1.0, 0.87, 0.63)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], *, cells: float) -> Floats:
    """Noise (H, W) of mean 0 and spread 1 that varies over about `cells` pixels.

    >>> noise = smooth_noise(np.random.default_rng(0), (64, 64), cells=4.0)
    >>> noise.shape, bool(abs(noise.std() - 1) < 1e-3)
    ((64, 64), True)
    """
    import cv2

    rows, columns = (max(4, int(np.ceil(n / cells)) + 3) for n in shape)
    noise = rng.standard_normal((rows, columns), np.float32)
    left = cells
    if cells > 8:  # most of the way in small steps: an interpolation of few numbers is quick
        noise, left = cv2.resize(noise, None, fx=cells / 4, fy=cells / 4, interpolation=cv2.INTER_CUBIC), 4.0
    noise = cv2.resize(
        noise, None, fx=left, fy=left, interpolation=cv2.INTER_LINEAR if cells > 8 else cv2.INTER_CUBIC
    )
    noise = noise[: shape[0], : shape[1]]
    noise = noise - noise.mean()
    return noise / max(float(noise.std()), 1e-6)


def disc_cover(anatomy: Anatomy, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """How far the disc and its cup cover each pixel, 0 to 1."""
    across, up = anatomy.disc_radii_mm
    u, v = (x - anatomy.disc_mm[0]) / across, (y - anatomy.disc_mm[1]) / up
    disc = _edge(np.hypot(u, v), 1.0, 0.11)
    u, v = u + 0.10, v * 0.96
    cup = _edge(np.hypot(u, v) / max(anatomy.cup, 0.1), 1.0, 0.45)
    return disc, cup


def fundus_colours(anatomy: Anatomy, field: Field, x: Floats, y: Floats) -> Floats:
    """Red, green and blue (3, H, W) of the fundus of an eye, where `x` and `y` are its places."""
    rng = np.random.default_rng([*anatomy.seed, 2])
    size = 1.0 / field.mm_a_pixel  # pixels a millimetre
    base = (_FAIR + (_DARK - _FAIR) * anatomy.pigment) * [1.0, anatomy.hue, 0.5 + 0.5 * anatomy.hue**2]
    colours = np.empty((3, *field.shape), np.float32)
    dark = _pigment(rng, anatomy, field.shape, size)
    square = x * x + y * y
    macula = 0.30 * np.exp(square / -(1.25**2)) + 0.30 * np.exp(square / -(0.42**2))
    yellow = 0.35 * np.exp(square / -(0.55**2))
    choroid = _choroid(rng, anatomy, field.shape, size)
    choroid *= 1 - 0.8 * np.exp(square / -(2.0**2))
    take = (0.45, 0.95, 0.9)
    for channel, colour in enumerate(base.tolist()):
        loss = take[channel] * (dark + (0.6 + 0.4 * anatomy.pigment) * macula)
        loss += (0.10, 0.10, 0.75)[channel] * yellow
        loss -= choroid * (0.10, 0.34, 0.30)[channel]
        np.multiply(np.exp(-loss), colour, out=colours[channel])
    _lay_fibres(colours, rng, anatomy, x, y)
    _lay_disc(colours, rng, anatomy, field, x, y)
    glint = np.exp(((x - 0.02) ** 2 + (y - 0.03) ** 2) / -(0.055**2)) * (0.22 * anatomy.reflex)
    for channel in range(3):
        colours[channel] += (0.5, 0.7, 0.6)[channel] * glint
    return colours


def _pigment(rng: np.random.Generator, anatomy: Anatomy, shape: tuple[int, int], size: float) -> Floats:
    """Optical depth of what varies in the pigment: patches, mottling, grain."""
    amount: Floats = 0.048 * smooth_noise(rng, shape, cells=2.6 * size)
    amount += 0.034 * smooth_noise(rng, shape, cells=0.75 * size)
    amount += 0.024 * smooth_noise(rng, shape, cells=0.22 * size)
    amount += (0.016 + 0.012 * anatomy.pigment) * smooth_noise(rng, shape, cells=0.085 * size)
    return amount


def _choroid(rng: np.random.Generator, anatomy: Anatomy, shape: tuple[int, int], size: float) -> Floats:
    """The choroid's vessels where pigment is thin: winding bright bands with dark spaces, -1 to 1."""
    import cv2

    if anatomy.tessellation < 0.08:
        return np.zeros(shape, np.float32)
    rows, columns = ((n + 1) // 2 for n in shape)  # bands are broad: half the pixels show them
    size = size / 2
    band = np.zeros((rows, columns), np.float32)
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    for cells, bend, share in ((0.62, 0.30, 0.6), (0.36, 0.18, 0.4)):
        noise = smooth_noise(rng, (rows, columns), cells=cells * size)
        bend_x, bend_y = (
            smooth_noise(rng, (rows, columns), cells=0.9 * size) * bend * size for _ in range(2)
        )
        bent = cv2.remap(noise, x + bend_x, y + bend_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        band += share * (2.2 * np.exp(-np.abs(bent) / 0.45) - 1.1)
    where = np.clip(0.55 + 0.6 * smooth_noise(rng, (rows, columns), cells=3.2 * size), 0, 1.3)
    bands: Floats = cv2.resize(
        band * where * anatomy.tessellation, shape[::-1], interpolation=cv2.INTER_LINEAR
    )
    return bands


def _lay_fibres(colours: Floats, rng: np.random.Generator, anatomy: Anatomy, x: Floats, y: Floats) -> None:
    """The nerve fibres' sheen: fine rays from the disc, strongest along the arcades of young eyes."""
    if anatomy.reflex < 0.05:
        return
    box = _box(np.hypot(x - anatomy.disc_mm[0], y - anatomy.disc_mm[1]) < 4.6)
    u, v = x[box] - np.float32(anatomy.disc_mm[0]), y[box] - np.float32(anatomy.disc_mm[1])
    angle, away = np.arctan2(v, -u), np.hypot(u, v)
    upwards = np.sin(angle) ** 2
    # fibres bend round the macula: what starts upwards ends at the raphe
    bent = angle - np.sign(angle) * 0.16 * np.clip(away - 0.9, 0, 5) * upwards
    table = np.convolve(rng.standard_normal(1440), np.hanning(7) / 3.5, "same").astype(np.float32)
    rays = table[((bent + math.pi) * (1439 / (2 * math.pi))).astype(np.int32) % 1440]
    sheen = np.exp(-(((away - 1.9) / 1.5) ** 2)) * upwards * anatomy.reflex * (0.040 + 0.022 * rays)
    for channel in range(3):
        colours[channel][box] += (0.6, 1.0, 0.9)[channel] * sheen


def _lay_disc(
    colours: Floats, rng: np.random.Generator, anatomy: Anatomy, field: Field, x: Floats, y: Floats
) -> None:
    across, up = anatomy.disc_radii_mm
    mottled = 1 + 0.05 * smooth_noise(rng, field.shape, cells=0.12 / field.mm_a_pixel)
    box = _box(np.hypot(x - anatomy.disc_mm[0], y - anatomy.disc_mm[1]) < 2.2 * max(across, up))
    x, y, mottle = x[box], y[box], mottled[box]
    disc, cup = disc_cover(anatomy, x, y)
    u, v = (x - anatomy.disc_mm[0]) / across, (y - anatomy.disc_mm[1]) / up
    glow = np.exp(-((np.hypot(u, v) / 1.45) ** 4)) * 0.10
    beside = _edge(np.hypot(u + 0.16 + 0.16 * anatomy.crescent, v), 1.03, 0.10)
    crescent = beside * (0.75 * min(1.0, 1.6 * anatomy.crescent))
    temporal = np.clip(-u, -1, 1) * 0.07  # the rim is paler towards the temple
    for channel in range(3):
        plane = colours[channel][box]
        plane += glow * (0.35, 0.5, 0.3)[channel]
        plane += crescent * ((1.0, 0.76, 0.46)[channel] * mottle - plane)
        rim = (_DISC_RIM[channel] + temporal) * (1 - cup) + _DISC_CUP[channel] * cup
        plane += disc * 0.93 * (rim * (0.9 + 0.1 * mottle) - plane)


def _box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """The rows and columns that hold all that is in a mask (H, W); none for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0), slice(0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _edge(distance: npt.NDArray[np.floating], at: float, softness: float) -> Floats:
    """1 inside, 0 outside, smooth between."""
    part = np.clip((at + softness / 2 - distance) / softness, 0, 1)
    edge: Floats = (part * part * (3 - 2 * part)).astype(np.float32)
    return edge
