"""The plan of a detection from what the images are, how large the marked objects are, and the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Detection, Fit, Grid, Network, Plan, Validation
from hounsfield.steps.regions.fingerprint import RegionFacts
from hounsfield.steps.segmentation.design import augment_of, scales_of, why_turned

__all__ = ["design_detection"]

Real = NDArray[np.float64]

_VOXELS = {
    ("cpu", True): 256 * 256,
    ("cpu", False): 32**3,
    ("cuda", True): 640 * 640,
    ("cuda", False): 112**3,
}
_WINDOW = {
    ("cpu", True): 2048 * 2048,
    ("cpu", False): 192**3,
    ("cuda", True): 4096 * 4096,
    ("cuda", False): 256**3,
}
"""Voxels of an image that are searched at once: a whole one where it can be, as nothing is computed twice."""

_WIDTH = {"cpu": 16, "cuda": 32}
_BATCH = {("cpu", True): 4, ("cpu", False): 12, ("cuda", True): 8, ("cuda", False): 8}
_ACROSS = 2.5
"""Voxels that a small object (a tenth are smaller) must be wide: finer ones would only cost time."""

_FINER = 25
"""Percentile of the images' spacings: thin slices show small objects, and thick ones can be drawn finer."""

_SHARP: dict[str, float] = {
    **dict.fromkeys(("rotation_deg", "tilt_deg", "zoom", "elastic", "blur"), 0.0), "low_resolution": 1.0
}  # fmt: skip
"""What blurs is left out: an object of two or three voxels does not survive being drawn between them."""

_CUBES = 1.2
"""Voxels whose sides differ by no more are cubes: patches are turned by right angles about every axis."""

_MOST_STRIDE = {True: 8, False: 4}


def design_detection(
    facts: RegionFacts,
    classes: Sequence[str],
    *,
    shape: Literal["sphere", "box"],
    device: str = "cpu",
    seed: int = 0,
    budget_minutes: float = 60.0,
    folds: int = 5,
) -> Plan:
    """A detector, its grid, patches, scales and augmentation; epochs and members follow by `within_minutes`.

    Raises BadInput where no object is marked.
    """
    if not len(facts.marked_mm):
        raise BadInput("no object is marked in the development images; expected some; check the marks")
    where = (device, facts.flat)
    small, usual = (np.percentile(facts.marked_mm, q, axis=0) for q in (10, 50))
    spacing, why = _spacing(facts, small)
    unit = np.array(spacing or (1.0, 1.0, 1.0))
    stride = _stride(usual / unit, facts.flat)
    have = facts.spacings if spacing else np.ones((1, 3))
    size = np.median(facts.shapes * have / unit, 0)
    divisor = [1 if facts.flat and a == 0 else max(s, 16) for a, s in enumerate(stride)]
    patch = _patch(size, divisor, _VOXELS[where])
    scales, why_scales = scales_of(facts)
    mirror = (2,) if facts.flat else (0, 1, 2)
    cubes = not facts.flat and bool(max(unit) <= _CUBES * min(unit))
    window = _window(np.max(facts.shapes * have / unit, 0), divisor, _WINDOW[where])
    return Plan(
        name="designed",
        task="detection",
        grid=Grid(
            channels=facts.channels,
            orientation=facts.orientation,
            spacing_mm=spacing,
            normalise=scales,
            fixed=facts.fixed if "fixed" in scales else (),
            patch=patch,
            window=(max(window[0], patch[0]), max(window[1], patch[1]), max(window[2], patch[2])),
            foreground=0.5,
            overlap=0.25,
            mirror=() if device == "cpu" else mirror,
        ),
        detection=Detection(
            classes=tuple(classes),
            shape=shape,
            stride=stride,
            searched=(0.4, 0.7),
            match="centre" if shape == "sphere" else "overlap",
        ),
        augment=augment_of(facts, spacing, mirror).model_copy(update={**_SHARP, "transpose": cubes}),
        network=Network(name="detector", width=_WIDTH[device], depth=5 if facts.flat else 4, widest=256),
        fit=Fit(
            optimiser="adamw",
            learning_rate=3e-3,
            weight_decay=1e-3,
            schedule="onecycle",
            warmup=0.1,
            batch_size=_BATCH[where],
            weight_average=0.99,
            choose="last",
            gradient_clip=5.0,
            cache_frozen=False,
        ),
        validation=Validation(folds=folds, members=folds),
        seed=seed,
        budget_minutes=budget_minutes,
        reasons={
            **why_turned(facts),
            "task": f"find {', '.join(classes)} as {shape}s",
            "grid.spacing_mm": why,
            "grid.normalise": why_scales,
            "grid.patch": f"at most {_VOXELS[where]:,} voxels on this machine",
            "grid.foreground": "half of the patches are centred near something marked",
            "detection.stride": "a cell is about half as wide as the median object "
            f"({_by(usual / unit)} voxels)",
            "detection.searched": "what is taken for an object is rare: it is looked for, and learned from",
            "detection.match": "LUNA16's rule for spheres; overlap for boxes",
            "augment": "mirrored, lighter, darker, noisier; nothing that blurs the small",
            **(
                {"augment.transpose": "voxels are cubes: a patch is turned in all ways of a cube"}
                if cubes
                else {}
            ),
            "network.name": "residual encoder with a feature pyramid, no anchors",
        },
    )


def _spacing(facts: RegionFacts, small: Real) -> tuple[tuple[float, ...], str]:
    """Spacing (k, j, i) or empty, and why."""
    if facts.spacings.shape[1] != 3:
        return (), "the images do not say their spacing: their voxels are kept"
    fine = np.percentile(facts.spacings, _FINER, axis=0)
    wanted = np.maximum(fine, small / _ACROSS)
    if facts.flat:
        wanted[0] = np.median(facts.spacings[:, 0])
    why = (
        f"that of a fine image (a quarter are finer), or coarser: an object of {_by(small)} mm, than which a "
        f"tenth are smaller, is {_ACROSS:g} voxels wide there"
    )
    return tuple(round(float(s), 3) for s in wanted), why


def _stride(usual: Real, flat: bool) -> tuple[int, int, int]:
    """Powers of 2 nearest to half an object of the usual size (k, j, i), in voxels of the grid."""
    most = _MOST_STRIDE[flat]
    k, j, i = (int(min(most, max(1, 2 ** round(math.log2(max(1.0, n / 2)))))) for n in usual)
    return (1 if flat else k), j, i


def _shrunk(size: Real, most: int) -> list[float]:
    """An extent with its longest sides shortened until it has so few voxels."""
    target = [max(1.0, float(n)) for n in size]
    while math.prod(target) > most:
        target[int(np.argmax(target))] *= 0.92
    return target


def _patch(size: Real, divisor: Sequence[int], most: int) -> tuple[int, int, int]:
    """About so many voxels of the images' extent, in steps of the divisor."""
    k, j, i = (max(d, round(n / d) * d) for n, d in zip(_shrunk(size, most), divisor, strict=True))
    return k, j, i


def _window(size: Real, divisor: Sequence[int], most: int) -> tuple[int, int, int]:
    """The images' extent, or about so many voxels of it, up to whole steps of the divisor."""
    k, j, i = (math.ceil(n / d - 1e-6) * d for n, d in zip(_shrunk(size, most), divisor, strict=True))
    return k, j, i


def _by(numbers: Sequence[float] | Real) -> str:
    return "×".join(f"{n:.3g}" for n in numbers)
