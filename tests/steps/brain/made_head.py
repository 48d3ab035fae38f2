"""A head of ellipsoids, whose volumes are known in closed form: scalp, skull, CSF, grey and white matter,
ventricles.
"""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hounsfield.core.volume import Volume
from hounsfield.steps.brain.scan import BrainVisit

SCALP, SKULL_OUT, SKULL_IN = np.array([84.0, 102, 92]), np.array([77.0, 95, 85]), np.array([68.0, 86, 76])
GREY, WHITE, ROOM = np.array([63.0, 80, 70]), np.array([50.0, 67, 57]), np.array([9.0, 26, 11])
VALUES = {"scalp": 0.9, "skull": 0.05, "csf": 0.22, "grey": 0.6, "white": 1.0}


def made_image(
    *,
    shape: tuple[int, int, int] = (106, 116, 96),
    step_mm: float = 2.0,
    turn_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0),
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    brain: float = 1.0,
    scanner: float = 1.0,
    room: float = 1.0,
    noise: float = 0.02,
    seed: int = 0,
    spots: tuple[tuple[float, float, float, float], ...] = (),
) -> Volume:
    """The image; `brain` and `room` scale the brain's and the ventricles' axes, `scanner` all that is seen.

    `spots` are lesions (x, y, z, radius) in mm of the head, dark as in T1.
    """
    affine = np.diag([step_mm, step_mm, step_mm, 1.0])
    affine[:3, 3] = -0.5 * step_mm * (np.array(shape[::-1]) - 1)
    k, j, i = np.indices(shape, dtype=np.float64)
    places = np.stack([i, j, k], -1) @ affine[:3, :3].T + affine[:3, 3]
    turn = Rotation.from_euler("xyz", turn_degrees, degrees=True).as_matrix()
    p = (places - np.array(shift_mm)) @ turn / scanner
    image = np.zeros(shape)
    layers = [("scalp", SCALP), ("skull", SKULL_OUT), ("csf", SKULL_IN), ("grey", GREY * brain)]
    layers += [("white", WHITE * brain), ("csf", ROOM * room)]
    for name, axes in layers:
        inside = _inside(p, axes, step_mm / scanner)
        # A sulcus in the middle, so that the brain is no egg.
        if name in ("grey", "white"):
            inside = np.minimum(inside, 1 - _inside(p - [0, 0, 66.0], np.array([3.5, 90, 18]), step_mm))
        image = image * (1 - inside) + VALUES[name] * inside
    for x, y, z, radius in spots:
        inside = _inside(p - [x, y, z], np.full(3, radius), step_mm)
        image = image * (1 - inside) + 0.65 * inside
    rng = np.random.default_rng(seed)
    light = np.exp(0.002 * (places @ rng.normal(0, 0.5, 3)))
    image = image * light + noise * rng.standard_normal(shape)
    return Volume(np.abs(image * 800).astype(np.uint16)[None], affine, (), True)


def _inside(p: NDArray[np.float64], axes: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    # The part of a voxel in an ellipsoid, from its distance to first order.
    far = np.sqrt(((p / axes) ** 2).sum(-1)) + 1e-9
    slope = np.sqrt(((p / axes**2) ** 2).sum(-1)) / far + 1e-9
    return np.clip(0.5 - (far - 1) / slope / width, 0, 1)


def visit_of(image: Volume, day: date | None = None, **facts: object) -> BrainVisit:
    """The image as a visit of a day."""
    return BrainVisit(image, day or date(2020, 1, 1), "one", **facts)  # type: ignore[arg-type]
