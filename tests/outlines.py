"""Small sets of images with masks, drawn here: bright balls or discs in noise, that a network learns in seconds."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["ball", "draw_pictures", "draw_volumes", "save_nifti"]

QUICK = (
    "network.width=4", "network.depth=3", "network.strides=[]", "network.kernels=[]", "grid.steps=12", "fit.epochs=4",
    "validation.members=2", "validation.folds=2", "augment.elastic=0",
)  # fmt: skip
"""Changes to a plan that let it be learned in seconds."""


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
        inside = ball((1, size, size), np.array([0, *(size / 2 + rng.normal(0, 5, 2))]), 8 + 3 * rng.random())[0]
        picture = np.clip(rng.normal(90, 15, (size, size, 3)) + 80 * inside[..., None], 0, 255)
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"images/{case:02}.png")
        Image.fromarray(inside.astype(np.uint8) * 255).save(folder / f"masks/{case:02}_mask.png")
