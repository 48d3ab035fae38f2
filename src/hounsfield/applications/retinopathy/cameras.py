"""Three fundus cameras: what they see of the retina, how sharply and in which colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hounsfield.applications.retinopathy.field import MM_A_DEGREE

__all__ = ["CAMERAS", "Camera", "Site"]

Site = Literal["A", "B", "C"]


@dataclass(frozen=True)
class Camera:
    """A camera. `radius` of the circle of light in pixels: where it is more than half the height, the circle
    is cut at top and bottom. `blur` is the spread of a point in pixels, `gains` the cast of red, green, blue,
    `fall_off` the light lost at the rim, `noise` the spread of a pixel in parts of white, `dust` the mean
    number of specks on its lens.
    """

    institution: str
    manufacturer: str
    model: str
    station: str
    serial: str
    software: str
    shape: tuple[int, int]
    field_degrees: float
    radius: float
    blur: float
    gains: tuple[float, float, float]
    gamma: float
    fall_off: float
    noise: float
    dust: float
    notch: bool
    rim_glow: float

    @property
    def mm_a_pixel(self) -> float:
        """What a pixel covers on the retina, the same over the whole field."""
        return self.field_degrees * MM_A_DEGREE / (2 * self.radius)

    @property
    def cut(self) -> bool:
        """True where the sensor is not as high as the circle."""
        return 2 * self.radius > self.shape[0]


CAMERAS: dict[Site, Camera] = {
    "A": Camera(
        institution="PHANTOM SCREENING PROGRAMME NORTH",
        manufacturer="PHANTOM OPTICS NORTH",
        model="NONMYD PHANTOM 45",
        station="NORTH-OP1",
        serial="N-4501",
        software="5.0.1",
        shape=(512, 512),
        field_degrees=45.0,
        radius=248.0,
        blur=0.62,
        gains=(1.0, 0.98, 0.98),
        gamma=1.0,
        fall_off=0.24,
        noise=0.010,
        dust=0.4,
        notch=True,
        rim_glow=0.35,
    ),
    "B": Camera(
        institution="PHANTOM EYE CLINIC SOUTH",
        manufacturer="PHANTOM OPTICS SOUTH",
        model="RETINA PHANTOM 50",
        station="SOUTH-OP2",
        serial="S-5002",
        software="2.3",
        shape=(480, 640),
        field_degrees=50.0,
        radius=276.0,
        blur=0.85,
        gains=(0.92, 1.0, 1.18),
        gamma=1.10,
        fall_off=0.34,
        noise=0.013,
        dust=1.0,
        notch=False,
        rim_glow=0.15,
    ),
    "C": Camera(
        institution="PHANTOM MOBILE CLINIC EAST",
        manufacturer="PHANTOM OPTICS EAST",
        model="HANDHELD PHANTOM 40",
        station="EAST-OP3",
        serial="E-4003",
        software="1.9",
        shape=(480, 480),
        field_degrees=40.0,
        radius=232.0,
        blur=1.10,
        gains=(1.02, 0.90, 0.72),
        gamma=0.92,
        fall_off=0.48,
        noise=0.018,
        dust=2.0,
        notch=False,
        rim_glow=0.7,
    ),
}
