"""Three MR scanners, and what they do to a head: contrast, sharpness, noise, uneven coil, warped gradients.

Values are in parts of white matter's. Magnitude images have Rician noise (Gudbjartsson & Patz, Magn Reson Med
1995;34:910); gradients whose strength falls off or rises away from the isocentre stretch what lies there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import fft

from hounsfield.applications.brain_mri.shapes import Floats
from hounsfield.applications.brain_mri.tissue import TISSUES

__all__ = ["GRAINS", "SCANNERS", "Scanner", "bias_of", "image_of", "values_of"]

Doubles = npt.NDArray[np.float64]
Plane = Literal["sagittal", "axial", "coronal"]
_VALUES = {
    "air": 0.0, "soft": 0.46, "fat": 1.12, "bone": 0.06, "marrow": 0.80, "eye": 0.20, "csf": 0.24,
    "ventricle": 0.20, "cortex": 0.61, "white": 1.0, "brainstem": 0.93, "cerebellar-grey": 0.61,
    "cerebellar-white": 0.96, "caudate": 0.69, "putamen": 0.73, "thalamus": 0.80, "pallidum": 0.88,
    "hippocampus": 0.65, "amygdala": 0.64, "lesion": 0.70, "cord": 0.85, "vessel": 0.3,
}  # fmt: skip
GRAINS = np.array(
    [
        {"soft": 0.16, "fat": 0.07, "marrow": 0.14, "white": 0.016, "cortex": 0.03, "thalamus": 0.05}.get(
            t, 0.02
        )
        for t in TISSUES
    ]
)


@dataclass(frozen=True)
class Scanner:
    """A site's MR scanner. Matrix: slices, rows, columns. `distortion`: scale x, y, z; added at 100 mm.

    `grey` is how much nearer grey is to white matter than in the first scanner; `fwhm` the width of its point
    spread in voxels; `noise` the deviation of each channel in parts of white matter.
    """

    site: str
    institution: str
    manufacturer: str
    model: str
    station: str
    serial: str
    software: str
    protocol: str
    field_tesla: float
    plane: Plane
    voxel_mm: float
    matrix: tuple[int, int, int]
    grey: float
    fwhm: float
    noise: float
    uneven: float
    gain: float
    repetition_ms: float
    echo_ms: float
    inversion_ms: float
    flip: float
    distortion: tuple[float, float, float, float, float, float]


SCANNERS: dict[str, Scanner] = {
    "A": Scanner(
        site="A",
        institution="PHANTOM MEMORY CLINIC NORTH",
        manufacturer="PHANTOM IMAGING NORTH",
        model="MAGNA PHANTOM 3T",
        station="NORTH-MR1",
        serial="N-7001",
        software="E11.0",
        protocol="T1_MPRAGE_SAG",
        field_tesla=3.0,
        plane="sagittal",
        voxel_mm=1.05,
        matrix=(160, 192, 192),
        grey=0.0,
        fwhm=0.9,
        noise=0.030,
        uneven=0.26,
        gain=620.0,
        repetition_ms=2300.0,
        echo_ms=2.98,
        inversion_ms=900.0,
        flip=9.0,
        distortion=(0.0008, -0.0006, 0.0010, 0.0020, 0.0016, -0.0026),
    ),
    "B": Scanner(
        site="B",
        institution="PHANTOM NEUROLOGY HOSPITAL SOUTH",
        manufacturer="PHANTOM IMAGING SOUTH",
        model="SIGNAL PHANTOM 1.5",
        station="SOUTH-MR2",
        serial="S-8002",
        software="16.0",
        protocol="AX 3D T1 IR-FSPGR",
        field_tesla=1.5,
        plane="axial",
        voxel_mm=1.1,
        matrix=(164, 184, 184),
        grey=0.03,
        fwhm=1.15,
        noise=0.040,
        uneven=0.14,
        gain=980.0,
        repetition_ms=9.0,
        echo_ms=3.9,
        inversion_ms=500.0,
        flip=12.0,
        distortion=(-0.0010, 0.0006, -0.0004, -0.0030, -0.0024, 0.0022),
    ),
    "C": Scanner(
        site="C",
        institution="PHANTOM RESEARCH CENTRE EAST",
        manufacturer="PHANTOM IMAGING EAST",
        model="ACHIEVE PHANTOM 3.0",
        station="EAST-MR3",
        serial="E-9003",
        software="5.4",
        protocol="COR T1 TFE 1.2",
        field_tesla=3.0,
        plane="coronal",
        voxel_mm=1.2,
        matrix=(170, 168, 148),
        grey=0.015,
        fwhm=1.0,
        noise=0.026,
        uneven=0.22,
        gain=1450.0,
        repetition_ms=8.1,
        echo_ms=3.7,
        inversion_ms=1000.0,
        flip=8.0,
        distortion=(0.0004, 0.0010, -0.0008, 0.0012, -0.0018, 0.0020),
    ),
}


def values_of(scanner: Scanner, *, age: float) -> Doubles:
    """Each tissue's value in a scanner; with age white matter comes nearer to grey.

    >>> young, old = (values_of(SCANNERS["A"], age=age) for age in (30, 90))
    >>> grey = TISSUES.index("cortex")
    >>> bool(old[grey] > young[grey])
    True
    """
    nearer = scanner.grey + 0.0012 * (age - 65.0)
    grey = {"cortex", "cerebellar-grey", "caudate", "putamen", "hippocampus", "amygdala", "lesion"}
    return np.array([_VALUES[t] + (nearer if t in grey else 0.0) for t in TISSUES])


def bias_of(shape: tuple[int, int, int], strength: float, rng: np.random.Generator) -> Floats:
    """A smooth field about 1 (K, J, I), as a coil's unevenness; `strength` is about half its range.

    >>> field = bias_of((8, 9, 10), 0.2, np.random.default_rng(0))
    >>> bool(0.4 < field.min() < field.max() < 2.5)
    True
    """
    axes = [np.linspace(-1, 1, n) for n in shape]

    def face(a: int, b: int) -> Floats:
        u, v = axes[a][:, None], axes[b][None, :]
        c = rng.normal(0, 0.45 * strength, 5)
        level = c[0] * u + c[1] * v + c[2] * u * v + c[3] * u * u + c[4] * v * v
        return np.exp(level + 0.30 * strength * (u * u + v * v)).astype(np.float32)

    field: Floats = face(1, 2)[None] * face(0, 1)[:, :, None] * face(0, 2)[:, None, :]
    field /= field[tuple(slice(n // 4, n - n // 4) for n in shape)].mean()
    return field


def image_of(intensity: Floats, scanner: Scanner, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """The magnitude image (K, J, I) of what voxels see: passed by the point spread, uneven, with noise."""
    signal = intensity
    for axis, count in enumerate(intensity.shape):
        # In k-space: a Gaussian, and a window that takes the ringing at the edge of what is measured.
        f = fft.rfftfreq(count) if axis == 2 else fft.fftfreq(count)
        passed = np.exp(-2 * (np.pi * f * scanner.fwhm / 2.3548) ** 2) * np.cos(np.pi * f * 0.6) ** 2
        along = [1, 1, 1]
        along[axis] = len(f)
        if axis == 0:
            wave = fft.rfftn(intensity)
        wave *= passed.astype(np.float32).reshape(along)
    signal = fft.irfftn(wave, s=intensity.shape)
    signal *= bias_of(intensity.shape, scanner.uneven, rng)  # type: ignore[arg-type]
    signal += scanner.noise * rng.standard_normal(signal.shape, dtype=np.float32)
    other = scanner.noise * rng.standard_normal(signal.shape, dtype=np.float32)
    np.hypot(signal, other, out=signal)
    return np.clip(np.rint(signal * scanner.gain), 0, 4095).astype(np.uint16)
