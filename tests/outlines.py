"""Small sets of images with masks, drawn here: bright balls or discs in noise that a network soon learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hounsfield.core.plan import Augment, Fit, Grid, Network, Plan, Segmentation, Validation

__all__ = ["ball", "draw_pictures", "draw_volumes", "quick_plan", "save_nifti"]


def quick_plan(*, flat: bool, **changes: Any) -> Plan:
    """A plan by which the sets drawn here are learned in seconds: two members of an eighth of a usual width.

    `changes` are dotted keys of the plan, with two underscores for the dot.
    """
    patch = (1, 32, 32) if flat else (8, 16, 16)
    made = Plan(
        task="segmentation",
        grid=Grid(
            channels=("red", "green", "blue") if flat else ("image",),
            normalise=("zscore",) * (3 if flat else 1),
            orientation="" if flat else "RAS",
            spacing_mm=() if flat else (1.0, 1.0, 1.0),
            patch=patch, window=patch, steps=12 if flat else 24, mirror=(1, 2) if flat else (),
        ),
        segmentation=Segmentation(structures=("label 1",) if flat else ("label 1", "label 2")),
        augment=Augment(rotation_deg=10, zoom=0.1, flip_left_right=True, noise=0.1, brightness=0.1),
        network=Network(name="unet", width=4, depth=3),
        fit=Fit(
            optimiser="adamw", learning_rate=1e-2, schedule="onecycle", warmup=0.1, batch_size=2,
            epochs=3, weight_average=0.9, choose="last", gradient_clip=12.0, cache_frozen=False,
        ),
        validation=Validation(folds=2, members=2),
        threads=1,
        device="cpu",
    )  # fmt: skip
    return made.changed({key.replace("__", "."): value for key, value in changes.items()})


def ball(shape: tuple[int, int, int], centre: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """A ball in a grid (K, J, I)."""
    at = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    return np.asarray(((at - centre) ** 2).sum(-1) <= radius**2)


def save_nifti(
    path: Path, data: NDArray[np.generic], *, spacing: tuple[float, float, float] = (1, 1, 1),
    shift: float = 0.0,
) -> None:  # fmt: skip
    """An array (K, J, I) as NIfTI with spacing (k, j, i)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spacing[::-1], 1.0])
    affine[0, 3] = shift
    nibabel.save(nibabel.Nifti1Image(data.transpose(2, 1, 0), affine), path)


def draw_volumes(
    folder: Path, n: int, *, shape: tuple[int, int, int] = (16, 20, 18), structures: int = 2, seed: int = 0,
    spacing: tuple[float, float, float] = (1, 1, 1),
) -> None:  # fmt: skip
    """`n` volumes in images/ with labels of balls in labels/, brighter the higher the label."""
    rng = np.random.default_rng(seed)
    for case in range(n):
        image = rng.normal(0, 20, shape)
        labels = np.zeros(shape, np.uint8)
        for label in range(1, structures + 1):
            centre = np.array(shape) * ((label - 0.5) / structures, 0.5, 0.5) + rng.normal(0, 1, 3)
            inside = ball(shape, centre, 3.2 + rng.random())
            labels[inside] = label
            image[inside] += 100.0 * label
        save_nifti(folder / f"images/case_{case:03}.nii.gz", image.astype(np.int16), spacing=spacing)
        save_nifti(folder / f"labels/case_{case:03}.nii.gz", labels, spacing=spacing)


def draw_pictures(folder: Path, n: int, *, size: int = 48, seed: int = 0) -> None:
    """`n` colour pictures in images/ with 0/255 masks of a disc in masks/."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for case in range(n):
        centre = np.array([0, *(size / 2 + rng.normal(0, 5, 2))])
        inside = ball((1, size, size), centre, 8 + 3 * rng.random())[0]
        picture = np.clip(rng.normal(90, 15, (size, size, 3)) + 80 * inside[..., None], 0, 255)
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"images/{case:02}.png")
        Image.fromarray(inside.astype(np.uint8) * 255).save(folder / f"masks/{case:02}_mask.png")
