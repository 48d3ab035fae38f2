"""A retina as a camera shows it: colours, vessels and lesions through lens, light, faults and sensor.

What a photograph shows is painted in layers: the fundus, blood that takes light away, spots that lie over it,
new vessels and blood before the retina; then the light that reaches it and the haze before it, the lens, the
sensor. The masks are of what was painted inside the circle, whatever a fault then hides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hounsfield.applications.retinopathy.cameras import Camera
from hounsfield.applications.retinopathy.eye import Anatomy
from hounsfield.applications.retinopathy.faults import exposed, hidden, light_of, out_of_focus
from hounsfield.applications.retinopathy.field import Doubles, Field, Floats
from hounsfield.applications.retinopathy.fundus import fundus_colours, smooth_noise
from hounsfield.applications.retinopathy.lesions import Lesions, sample_lesions
from hounsfield.applications.retinopathy.optics import dust, glow, notch
from hounsfield.applications.retinopathy.paint import paint_spots, paint_tubes
from hounsfield.applications.retinopathy.vessels import ARTERY, VEIN, Tree, beaded, grow_tree

__all__ = ["FAULTS", "Fault", "Photograph", "aim", "take_photograph"]

Fault = Literal["", "blurred", "dark", "bright", "off centre", "eyelid"]
FAULTS: tuple[Fault, ...] = ("blurred", "dark", "bright", "off centre", "eyelid")
"""What makes a photograph ungradable."""

Bytes = npt.NDArray[np.uint8]
_VISIBLE = 0.35  # of a lesion's or a vessel's depth: what stands in a mask


@dataclass(frozen=True)
class Photograph:
    """`pixels` (H, W, 3) and on the same grid the vessels (1 artery, 2 vein) and lesions (see `KINDS`)."""

    pixels: Bytes
    vessels: Bytes
    lesions: Bytes
    lesion: Lesions
    field: Field


def aim(rng: np.random.Generator, anatomy: Anatomy, camera: Camera) -> Field:
    """Where the camera looks: between fovea and disc, near the fovea, with a little roll of the eye."""
    between = rng.uniform(0.05, 0.42)
    x, y = anatomy.disc_mm[0] * between, anatomy.disc_mm[1] * 0.5
    return Field(
        camera.shape,
        radius=camera.radius,
        mm_a_pixel=camera.mm_a_pixel * rng.uniform(0.96, 1.04),
        centre_mm=(x + rng.normal(0, 0.15), y + rng.normal(0, 0.25)),
        turn=rng.normal(0, 0.06),
        eye=anatomy.eye,
    )


def take_photograph(
    anatomy: Anatomy, camera: Camera, *, grade: int, fault: Fault = "", seed: tuple[int, ...]
) -> Photograph:
    """The photograph of an eye at that grade; the same seed takes the same picture."""
    rng = np.random.default_rng([*seed, 3])
    field = aim(rng, anatomy, camera)
    tree = grow_tree(anatomy)
    lesions = sample_lesions(
        np.random.default_rng([*seed, 4]), anatomy, tree, grade=grade, seen=lambda spots: _seen(spots, field)
    )
    tree = beaded(tree, lesions.beading, phase=rng.uniform(0, 6.28))
    x, y = field.places()
    inside = np.clip((1 - field.out()) * field.radius / 1.6 + 0.5, 0, 1)
    colours = fundus_colours(anatomy, field, x, y)
    vessels = _lay_vessels(colours, tree, field, inside)
    marks = _lay_lesions(colours, lesions, field, rng)
    _mark(marks, 0, inside > 0.5)
    _veil(colours, anatomy, lesions)
    pixels = _exposed(colours, anatomy, camera, field, inside, fault, rng)
    return Photograph(pixels, vessels, np.where(inside > 0.5, marks, 0).astype(np.uint8), lesions, field)


def _seen(spots: Doubles, field: Field) -> npt.NDArray[np.bool_]:
    """Places well inside the circle and the sensor."""
    place = field.pixels(spots)
    row, column = field.middle
    round_in = np.hypot(place[:, 0] - column, place[:, 1] - row) < 0.90 * field.radius
    framed: npt.NDArray[np.bool_] = round_in & (np.abs(place[:, 1] - row) < 0.93 * row)
    return framed


def _lay_vessels(colours: Floats, tree: Tree, field: Field, inside: Floats) -> Bytes:
    """Blood takes light away, least of all red; an artery shines along its middle. Returns their mask."""
    depth = {kind: np.zeros(field.shape, np.float32) for kind in (VEIN, ARTERY)}
    shine = np.zeros(field.shape, np.float32)
    paint_tubes(tree.of(VEIN), field, depth[VEIN])
    paint_tubes(tree.of(ARTERY), field, depth[ARTERY], shine)
    for channel, (vein, artery) in enumerate(((0.32, 0.14), (0.78, 0.50), (0.66, 0.46))):
        colours[channel] *= np.exp(-np.maximum(vein * depth[VEIN], artery * depth[ARTERY]))
        colours[channel] *= 1 + (0.10, 0.26, 0.22)[channel] * shine
    mask = np.zeros(field.shape, np.uint8)
    mask[depth[VEIN] > _VISIBLE * 0.6] = VEIN
    mask[(depth[ARTERY] > _VISIBLE * 0.6) & (depth[ARTERY] >= depth[VEIN])] = ARTERY
    mask[inside <= 0.5] = 0
    return mask


def _lay_lesions(colours: Floats, lesions: Lesions, field: Field, rng: np.random.Generator) -> Bytes:
    """Each kind in its turn, the deepest first. Returns the mask of all, a later kind over an earlier."""
    marks = np.zeros(field.shape, np.uint8)
    depth = np.zeros((8, *field.shape), np.float32)
    paint_spots(lesions.microaneurysms, field, depth[0])
    paint_spots(lesions.haemorrhages, field, depth[1])
    paint_spots(lesions.exudates, field, depth[2])
    paint_spots(lesions.cotton_wool, field, depth[3])
    paint_tubes(lesions.irma, field, depth[4])
    paint_tubes(lesions.new_vessels, field, depth[5])
    if len(lesions.haemorrhages):
        depth[1] *= np.clip(
            0.80 + 0.24 * smooth_noise(rng, field.shape, cells=0.16 / field.mm_a_pixel), 0.3, 1.2
        )
    if len(lesions.cotton_wool):
        depth[3] *= np.clip(
            0.85 + 0.22 * smooth_noise(rng, field.shape, cells=0.10 / field.mm_a_pixel), 0, 1.2
        )
    _absorb(colours, depth[4], (0.20, 0.80, 0.66))
    _absorb(colours, depth[1], (0.42, 1.02, 0.86))
    _absorb(colours, depth[0], (0.30, 0.86, 0.76))
    _cover(colours, depth[3], (0.97, 0.80, 0.60), 0.70)
    _cover(colours, depth[2], (1.0, 0.88, 0.44), 0.88)
    _absorb(colours, depth[5], (0.16, 0.92, 0.80))
    for kind in (4, 3, 1, 2, 0, 5):
        marks[depth[kind] > _VISIBLE] = kind + 1
    if len(lesions.preretinal):
        boat = _boat(lesions.preretinal, field)
        _cover(colours, boat, (0.40, 0.070, 0.045), 0.95)
        marks[boat > _VISIBLE] = 7
    if lesions.vitreous:
        smoke = _smoke(rng, field) * lesions.vitreous
        _absorb(colours, smoke, (0.55, 1.0, 0.85))
        marks[(smoke > 0.5) & (marks == 0)] = 8
    return marks


def _boat(spots: Doubles, field: Field) -> Floats:
    """Ellipses cut level at their middle: blood settles."""
    depth = np.zeros(field.shape, np.float32)
    paint_spots(spots, field, depth)
    level = field.pixels(spots[:, :2])[0, 1]
    depth *= np.clip((np.arange(field.shape[0]) - level) / 5.0 + 0.5, 0, 1).astype(np.float32)[:, None]
    return depth


def _smoke(rng: np.random.Generator, field: Field) -> Floats:
    """Blood in the vitreous: clouds of all sizes, wisps at their rims, 0 to about 1.5."""
    clouds = np.zeros(field.shape, np.float32)
    for share, size_mm in ((0.50, 3.4), (0.38, 1.7), (0.26, 0.8), (0.14, 0.35)):
        clouds += share * smooth_noise(rng, field.shape, cells=size_mm / field.mm_a_pixel)
    smoke: Floats = np.clip(0.10 + 0.85 * clouds, 0, 1.5)
    return smoke


def _absorb(colours: Floats, depth: Floats, take: tuple[float, float, float]) -> None:
    rows, columns = np.flatnonzero(depth.any(1)), np.flatnonzero(depth.any(0))
    if not len(rows):
        return
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    for channel in range(3):
        colours[channel][box] *= np.exp(-take[channel] * depth[box])


def _cover(colours: Floats, depth: Floats, colour: tuple[float, float, float], amount: float) -> None:
    rows, columns = np.flatnonzero(depth.any(1)), np.flatnonzero(depth.any(0))
    if not len(rows):
        return
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    for channel in range(3):
        colours[channel][box] += amount * depth[box] * (colour[channel] - colours[channel][box])


def _mark(marks: Bytes, value: int, keep: npt.NDArray[np.bool_]) -> None:
    marks[~keep] = value


def _veil(
    colours: Floats,
    anatomy: Anatomy,
    lesions: Lesions,
) -> None:
    """A lens that yellows scatters: contrast falls, blue most; so does fresh blood in the vitreous."""
    haze = anatomy.haze + 0.25 * lesions.vitreous
    for channel, (share, colour) in enumerate(((0.16, 0.80), (0.22, 0.46), (0.30, 0.20))):
        colours[channel] += haze * share * (colour - colours[channel])
    colours[2] *= 1 - 0.30 * anatomy.haze


def _exposed(
    colours: Floats, anatomy: Anatomy, camera: Camera, field: Field, inside: Floats, fault: Fault,
    rng: np.random.Generator,
) -> Bytes:  # fmt: skip
    import cv2

    exposure = rng.normal(1.0, 0.06) * (1.0 + 0.10 * anatomy.pigment)
    light = light_of(rng, camera, field)
    colours *= (light * np.float32(exposure))[None]
    if fault == "off centre":
        hidden(colours, rng, field, what="pupil")
    elif fault == "eyelid":
        hidden(colours, rng, field, what="lid")
    glow(colours, camera, field, rng)
    blur = camera.blur * rng.uniform(0.92, 1.12)
    image = cv2.GaussianBlur(np.ascontiguousarray(np.moveaxis(colours, 0, 2)), (0, 0), blur)
    if fault == "blurred":
        image = out_of_focus(image, rng, field)
    image *= inside[..., None] * np.array(camera.gains, np.float32)  # the stop in the camera stays sharp
    image = exposed(image, rng, fault)
    image = np.power(np.clip(image, 0, 1.2), camera.gamma)
    dust(image, camera, field, rng)
    image = np.where(
        image > 0.85, 0.85 + 0.17 * np.tanh((image - 0.85) / 0.17), image
    )  # the sensor's shoulder
    grain = rng.standard_normal(image.shape, np.float32) * camera.noise
    grain *= 0.45 + 0.8 * np.sqrt(np.clip(image, 0, 1))
    image = image + grain + 0.008
    if camera.notch:
        notch(image, field)
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
