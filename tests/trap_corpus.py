"""All traps: for each pitfall of the field's issue threads, objects built here and what must happen."""

from __future__ import annotations

import trap_geometry
import trap_headers
import trap_pixels
from trap_objects import Image, Trap, Truth

__all__ = ["PITFALLS", "TRAPS", "Image", "Trap", "Truth"]

PITFALLS = 22
TRAPS: tuple[Trap, ...] = (*trap_geometry.TRAPS, *trap_pixels.TRAPS, *trap_headers.TRAPS)
