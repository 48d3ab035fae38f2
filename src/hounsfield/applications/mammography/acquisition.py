"""The X-ray picture: attenuation, scatter, quantum noise, detector and for-presentation processing.

Linear attenuation near 20 keV, per centimetre: fat 0.456, gland 0.802, carcinoma 0.85 (Johns &
Yaffe, Phys Med Biol 1987;32:675); calcium oxalate and apatite about 10 (Boone, AAPM 1999 tables).
Scatter behind a grid is a broad blur of the primary beam (Boone et al., Med Phys 2000;27:1818).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hounsfield.applications.mammography.anatomy import Breast, Floats, View
from hounsfield.applications.mammography.grid import Grid, enlarge
from hounsfield.applications.mammography.lesions import Lesion, lesion_shadow
from hounsfield.applications.mammography.tissue import Tissue, tissue

__all__ = ["SCANNERS", "Picture", "Scanner", "take_picture"]

_FAT, _GLAND, _TUMOUR, _CALCIUM = 0.0456, 0.0802, 0.088, 1.0  # per millimetre


@dataclass(frozen=True)
class Scanner:
    """A site's mammography unit: identity, detector and taste in pictures."""

    site: Literal["A", "B"]
    institution: str
    manufacturer: str
    model: str
    station: str
    serial: str
    software: str
    grid: Grid
    bits: int
    photometric: Literal["MONOCHROME1", "MONOCHROME2"]
    detector: Literal["DIRECT", "SCINTILLATOR"]
    anode: str
    filter: str
    photons: float
    mtf_blur_mm: float
    noise_blur_mm: float
    scatter: float
    gamma: float
    steepness: float

    @property
    def highest(self) -> int:
        """The largest stored value."""
        return int(2**self.bits - 1)


SCANNERS: dict[str, Scanner] = {
    "A": Scanner(
        site="A",
        institution="PHANTOM SCREENING CENTRE NORTH",
        manufacturer="PHANTOM IMAGING NORTH",
        model="SELENIUM PHANTOM 40",
        station="NORTH-MG1",
        serial="N-1001",
        software="1.2.0",
        grid=Grid(rows=480, columns=384, spacing_mm=0.40),
        bits=12,
        photometric="MONOCHROME1",
        detector="DIRECT",
        anode="TUNGSTEN",
        filter="RHODIUM",
        photons=5.0e4,
        mtf_blur_mm=0.14,
        noise_blur_mm=0.0,
        scatter=0.10,
        gamma=1.25,
        steepness=0.0,
    ),
    "B": Scanner(
        site="B",
        institution="PHANTOM BREAST CLINIC SOUTH",
        manufacturer="PHANTOM IMAGING SOUTH",
        model="CAESIUM PHANTOM 45",
        station="SOUTH-MG2",
        serial="S-2002",
        software="7.4",
        grid=Grid(rows=448, columns=352, spacing_mm=0.45),
        bits=14,
        photometric="MONOCHROME2",
        detector="SCINTILLATOR",
        anode="MOLYBDENUM",
        filter="MOLYBDENUM",
        photons=2.5e4,
        mtf_blur_mm=0.28,
        noise_blur_mm=0.18,
        scatter=0.22,
        gamma=1.0,
        steepness=4.2,
    ),
}


@dataclass(frozen=True)
class Picture:
    """For-presentation values (H, W), bright is dense, as displayed; and where the lesion lies."""

    pixels: npt.NDArray[np.uint16]
    lesion_row: float | None
    lesion_column: float | None


def take_picture(breast: Breast, lesion: Lesion | None, view: View, scanner: Scanner) -> Picture:
    """One view of one breast on one scanner, the chest wall on the side where it belongs.

    >>> from hounsfield.applications.mammography.anatomy import sample_breasts
    >>> right = sample_breasts(np.random.default_rng(0), density="b")[1]
    >>> picture = take_picture(right, None, "CC", SCANNERS["A"])
    >>> half = picture.pixels.shape[1] // 2
    >>> bool(picture.pixels[:, half:].mean() > picture.pixels[:, :half].mean())
    True
    """
    grid = _collimate(breast, view, scanner.grid)
    maps = tissue(breast, view, grid)
    attenuation = _FAT * maps.thickness_mm + (_GLAND - _FAT) * maps.gland_mm
    row = column = None
    if lesion is not None:
        shadow = lesion_shadow(lesion, breast, view, grid)
        mass = np.minimum(shadow.mass_mm, maps.thickness_mm)
        # The mass takes the place of tissue that is in part dense already.
        local = maps.gland_mm / np.maximum(maps.thickness_mm, 1.0)
        attenuation += mass * (_TUMOUR - _FAT - (_GLAND - _FAT) * local)
        attenuation += _CALCIUM * shadow.calcium_mm
        row, column = shadow.row, shadow.column
    rng = np.random.default_rng([breast.seed, 3, view == "MLO"])
    shown = _present(_expose(attenuation, scanner, rng), maps, scanner)
    pixels = np.zeros(scanner.grid.shape, np.uint16)
    top = (scanner.grid.rows - grid.rows) // 2
    pixels[top : top + grid.rows, : grid.columns] = shown
    row = None if row is None else row + top
    if breast.laterality == "R":
        pixels = np.ascontiguousarray(pixels[:, ::-1])
        column = None if column is None else scanner.grid.columns - 1 - column
    return Picture(pixels, row, column)


def _collimate(breast: Breast, view: View, full: Grid) -> Grid:
    # The pixels that the breast can reach, in steps of 32; beyond them is air, which is black.
    columns = -(-int((breast.depth_mm + 10.0) / full.spacing_mm) // 32) * 32
    rows = -(-int(2 * (breast.half_width_mm + 4.0) / full.spacing_mm) // 32) * 32
    if view == "MLO":
        rows = full.rows
    return Grid(min(rows, full.rows), min(columns, full.columns), full.spacing_mm)


def _expose(attenuation: Floats, scanner: Scanner, rng: np.random.Generator) -> Floats:
    # Photons counted behind the breast, as a part of those that reach the detector in air.
    primary = np.exp(-attenuation)
    signal = primary + scanner.scatter * _broad_blur(primary, 12.0 / scanner.grid.spacing_mm)
    # At thousands of photons a pixel the Poisson law is a normal one of the same variance.
    noise = rng.standard_normal(signal.shape, dtype=np.float32) * np.sqrt(signal / scanner.photons)
    if scanner.noise_blur_mm:  # the scintillator spreads each quantum's light
        noise = ndimage.gaussian_filter(noise, scanner.noise_blur_mm / scanner.grid.spacing_mm)
    sharp = ndimage.gaussian_filter(signal, scanner.mtf_blur_mm / scanner.grid.spacing_mm)
    out: Floats = np.maximum(sharp + noise, 1e-4).astype(np.float32)
    return out


def _broad_blur(image: Floats, sigma: float) -> Floats:
    # A wide kernel on every eighth pixel, enlarged again: the scatter has no fine detail.
    step = 8
    small = ndimage.gaussian_filter(image[::step, ::step], sigma / step, mode="nearest")
    return enlarge(small, image.shape, step)


def _present(signal: Floats, maps: Tissue, scanner: Scanner) -> npt.NDArray[np.uint16]:
    # Logarithm, peripheral equalisation (Byng et al., Phys Med Biol 1997;42:87), window, tone.
    density = -np.log(signal / (1.0 + scanner.scatter))
    full = float(maps.thickness_mm.max())
    ramp = np.clip(maps.thickness_mm / (0.35 * full), 0.0, 1.0)
    density += 0.8 * _FAT * (full - maps.thickness_mm) * ramp
    inside = density[maps.thickness_mm > 0.5 * full][::7]
    # Air is below the window, so it is black; the middle of the fat sits at a quarter.
    fat, high = (float(np.percentile(inside, part)) for part in (3.0, 99.6))
    z = np.interp(density, [0.12, fat, high * 1.12], [0.0, 0.24, 1.0]).astype(np.float32)
    if scanner.steepness:
        s = 1.0 / (1.0 + np.exp(-scanner.steepness * (z - 0.5)))
        edge = 1.0 / (1.0 + np.exp(0.5 * scanner.steepness))
        z = (s - edge) / (1.0 - 2.0 * edge)
    z = np.clip(z, 0.0, 1.0) ** scanner.gamma
    out: npt.NDArray[np.uint16] = np.rint(z * scanner.highest).astype(np.uint16)
    return out
