"""One visit measured: the brain found, the volumes of its tissues in ml, and which of them are unsafe and
why.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.steps.brain.extract import Found, find_brain
from hounsfield.steps.brain.hippocampi import Hippocampi, find_hippocampi
from hounsfield.steps.brain.scan import BrainVisit
from hounsfield.steps.brain.tissue import parts_of
from hounsfield.steps.brain.upright import Upright, upright
from hounsfield.steps.brain.ventricles import find_ventricles

__all__ = ["Measured", "Unsafe", "VisitVolumes", "measure_visit"]

Floats = NDArray[np.float32]
_THICK_MM = 2.0
_ENHANCED = 0.012  # of the hull's rim: what is brighter than white matter, see _bright_rim
_MOST_CUT = 0.002


@dataclass(frozen=True)
class VisitVolumes:
    """Volumes in ml. `brain_ml` is grey and white matter; `inside_ml` also the CSF in and between the
    folds. A hippocampus that is not believed has None.
    """

    brain_ml: float
    grey_ml: float
    white_ml: float
    csf_ml: float
    ventricles_ml: float
    inside_ml: float
    hippocampus_left_ml: float | None
    hippocampus_right_ml: float | None


@dataclass(frozen=True)
class Unsafe:
    """A sentence that says what is wrong with a scan, and the names of the measures that it touches."""

    sentence: str
    measures: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """All that was found in a visit, on its upright grid: `parts` (3, K, J, I) are CSF, grey and white."""

    image: Volume
    head: Upright
    found: Found
    parts: Floats
    ventricles: NDArray[np.bool_]
    hippocampi: Hippocampi
    volumes: VisitVolumes
    unsafe: tuple[Unsafe, ...]
    noise: float
    blur_mm: float


def measure_visit(
    visit: BrainVisit, *, step_mm: float = 1.0, also: NDArray[np.bool_] | None = None
) -> Measured:
    """Find and measure the brain in a visit's T1-weighted scan, on cubes of `step_mm`.

    `also` (K, J, I) is where the brain is looked for besides, on the upright grid of the scan.
    Raises BadInput where there is no T1-weighted scan or no brain in it.
    """
    if visit.t1 is None:
        raise BadInput("a visit has no T1-weighted scan; volumes need one; give it or leave the visit out")
    image = visit.t1
    head = upright(image.data[0], image.affine, step_mm=step_mm)
    found = find_brain(head, also)
    parts = parts_of(found.even, found.hull, found.levels)
    ventricles = find_ventricles(parts[0], found.hull, head.step_mm)
    ml = head.step_mm**3 / 1000.0
    csf, grey, white = (float(p.sum()) * ml for p in parts)
    near = ndimage.binary_dilation(ventricles, iterations=2)
    hippocampi = find_hippocampi(head, found.hull)
    left, right = (None if h.doubt else h.volume_ml for h in (hippocampi.left, hippocampi.right))
    volumes = VisitVolumes(
        brain_ml=grey + white,
        grey_ml=grey,
        white_ml=white,
        csf_ml=csf,
        ventricles_ml=float(parts[0][near].sum()) * ml if ventricles.any() else 0.0,
        inside_ml=float(found.hull.sum()) * ml,
        hippocampus_left_ml=left,
        hippocampus_right_ml=right,
    )
    unsafe = _what_is_unsafe(visit, image, head, found)
    unsafe += tuple(
        Unsafe(f"The {side} hippocampus is not measured: {one.doubt}.", (f"hippocampus_{side}_ml",))
        for side, one in (("left", hippocampi.left), ("right", hippocampi.right))
        if one.doubt
    )
    noise, blur = found.levels.spread[2], max(image.spacing_mm)
    return Measured(image, head, found, parts, ventricles, hippocampi, volumes, unsafe, noise, blur)


def _what_is_unsafe(visit: BrainVisit, image: Volume, head: Upright, found: Found) -> tuple[Unsafe, ...]:
    said = []
    every = ("brain_ml", "grey_ml", "csf_ml", "inside_ml", "change")
    # A brain that reaches the last slices of the field of view goes on beyond them.
    rim = found.hull & ~ndimage.binary_erosion(
        head.seen, iterations=max(1, round(2.0 / head.step_mm)), border_value=0
    )
    top = np.flatnonzero(found.hull.any((1, 2)))[-1]
    cut = float(rim[top - max(3, round(25 / head.step_mm)) :].sum()) * head.step_mm**2
    if cut > 400.0 * head.step_mm:
        said.append(
            Unsafe("The top of the head is missing: the brain reaches the end of the field of view.", every)
        )
    elif float(rim.sum()) * head.step_mm**2 > 1500.0 * head.step_mm:
        said.append(Unsafe("The brain reaches the end of the field of view.", every))
    if max(image.spacing_mm) > _THICK_MM:
        said.append(
            Unsafe(
                f"Voxels of {max(image.spacing_mm):.1f} mm are thicker than {_THICK_MM:g} mm: "
                "tissues are mixed in them.",
                ("grey_ml", "white_ml", "csf_ml", "change"),
            )
        )
    if visit.contrast:
        said.append(Unsafe("The header names a contrast agent: vessels and meninges are bright.", every))
    elif bright_rim(found, head.step_mm) > _ENHANCED:
        said.append(
            Unsafe("Vessels or meninges are brighter than white matter, as after a contrast agent.", every)
        )
    return tuple(said)


def bright_rim(found: Found, step_mm: float) -> float:
    """The part of the outermost 8 mm of a brain's hull that is much brighter than white matter."""
    depth = ndimage.distance_transform_edt(found.hull, step_mm)
    rim = (depth > 0) & (depth < 8.0)
    return float((found.even[rim] > 1.0 + max(0.22, 4 * found.levels.spread[2])).mean())
