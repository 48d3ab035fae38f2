"""Two CT scanners, and what they do to a chest: sharpness and noise of a kernel, dose, slice thickness.

In filtered backprojection a kernel is a window W(f) on the ramp. The object is passed with W, and white noise
of the projections comes out with the power spectrum f W(f)**2 (Riederer, Pelc & Chesler, Phys Med Biol
1978;23:446): smooth kernels leave a soft grain, sharp ones a fine and strong grain. Frequencies are in
parts of the image's own Nyquist frequency, since the phantom's pixels are coarser than a clinic's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

__all__ = ["SCANNERS", "Kernel", "Scanner", "image_of", "noise_deviation"]

Floats = npt.NDArray[np.float32]
_BASE_HU = 30.0  # noise of a smooth kernel at 40 mAs, 1 mm and 300 mm of water


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel: cut-off and mid-frequency lift in parts of Nyquist, noise beside a smooth one.

    >>> smooth = Kernel("S", cutoff=0.9, lift=0.0, gain=1.0)
    >>> [round(float(smooth.window(np.array(f))), 2) for f in (0.0, 0.45, 0.9)]
    [1.0, 0.5, 0.0]
    """

    name: str
    cutoff: float
    lift: float
    gain: float

    def window(self, frequency: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """What passes of an object's frequency: 1 at 0, falling as a squared cosine, lifted in between."""
        part = np.minimum(frequency / self.cutoff, 1.0)
        passed: npt.NDArray[np.floating] = np.cos(np.pi / 2 * part) ** 2
        passed *= 1.0 + self.lift * np.sin(np.pi / 2 * part) ** 2
        return passed


@dataclass(frozen=True)
class Scanner:
    """A site's CT: identity, matrix, slices and kernel; `stored` says how it writes HU."""

    site: Literal["A", "B"]
    institution: str
    manufacturer: str
    model: str
    station: str
    serial: str
    software: str
    matrix: int
    slice_mm: float
    overlap: float
    kernel: Kernel
    mas: int
    kvp: int
    stored: Literal["signed", "unsigned"]


SCANNERS: dict[str, Scanner] = {
    "A": Scanner(
        site="A",
        institution="PHANTOM SCREENING CENTRE NORTH",
        manufacturer="PHANTOM IMAGING NORTH",
        model="HELIX PHANTOM 64",
        station="NORTH-CT1",
        serial="N-3001",
        software="3.1.0",
        matrix=192,
        slice_mm=1.0,
        overlap=0.35,
        kernel=Kernel("SHARP-L", cutoff=1.7, lift=1.0, gain=1.5),
        mas=40,
        kvp=120,
        stored="unsigned",
    ),
    "B": Scanner(
        site="B",
        institution="PHANTOM CHEST CLINIC SOUTH",
        manufacturer="PHANTOM IMAGING SOUTH",
        model="SPIRAL PHANTOM 16",
        station="SOUTH-CT2",
        serial="S-4002",
        software="9.0",
        matrix=176,
        slice_mm=2.5,
        overlap=0.1,
        kernel=Kernel("SMOOTH-S", cutoff=1.15, lift=0.0, gain=1.0),
        mas=110,
        kvp=120,
        stored="signed",
    ),
}


def noise_deviation(scanner: Scanner, water_mm: float) -> float:
    """Noise in HU behind so much water: as one over the root of dose and thickness.

    >>> sharp, smooth = (noise_deviation(SCANNERS[site], 300.0) for site in "AB")
    >>> sharp > 3 * smooth
    True
    """
    dose = np.sqrt(40.0 / scanner.mas / scanner.slice_mm)
    # Tube current modulation makes up for half of what a larger body takes away.
    return float(_BASE_HU * scanner.kernel.gain * dose * np.exp(0.5 * 0.0096 * (water_mm - 300.0)))


def image_of(object_hu: Floats, scanner: Scanner, *, pixel_mm: float, rng: np.random.Generator) -> Floats:
    """The reconstructed image (K, J, I) of an object in HU: passed by the kernel, with the kernel's noise.

    >>> water = np.zeros((8, 64, 64), np.float32)
    >>> sharp = image_of(water, SCANNERS["A"], pixel_mm=2.0, rng=np.random.default_rng(0))
    >>> bool(5 < sharp.std() < 60)
    True
    """
    shape = object_hu.shape
    noise = rng.standard_normal(shape, dtype=np.float32)
    along = np.array([scanner.overlap, 1.0, scanner.overlap], np.float32)
    ndimage.convolve1d(noise, along / np.linalg.norm(along), axis=0, output=noise, mode="wrap")
    frequency = np.hypot(fft.fftfreq(shape[1])[:, None], fft.rfftfreq(shape[2])[None]) / 0.5
    window = scanner.kernel.window(frequency)
    grain = np.sqrt(frequency) * window
    twice = np.full(grain.shape[1], 2.0)
    twice[0] = 1.0
    if shape[2] % 2 == 0:
        twice[-1] = 1.0
    grain /= np.sqrt((grain**2 * twice).sum() / (shape[1] * shape[2]))
    window, grain = window.astype(np.float32), grain.astype(np.float32)
    falloff = _falloff(shape[1], shape[2])
    out = np.empty(shape, np.float32)
    for k in range(shape[0]):
        water = 2 * np.sqrt(np.maximum(object_hu[k] + 1000.0, 0).sum() / 1000.0 * pixel_mm**2 / np.pi)
        noise[k] *= noise_deviation(scanner, float(water)) * falloff
        out[k] = fft.irfft2(fft.rfft2(object_hu[k]) * window + fft.rfft2(noise[k]) * grain, s=shape[1:])
    return out


def _falloff(rows: int, columns: int) -> Floats:
    # Least of the beam reaches the detector through the middle of a body, so the noise is greatest there.
    y, x = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)[None]
    return (0.62 + 0.5 * np.exp(-(x**2 + y**2) / 0.5)).astype(np.float32)
