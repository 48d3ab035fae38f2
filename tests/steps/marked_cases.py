"""Synthetic tables of found objects, for tests of their evidence and report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hounsfield.metrics.detection_objects import Boxes, Spheres
from hounsfield.steps.detection.table import Detected


def detected(
    patients: int = 60,
    *,
    classes: tuple[str, ...] = ("nodule",),
    images: int = 1,
    lesions: float = 1.5,
    boxes: bool = False,
    drop: float = 0.0,
    seed: int = 0,
    **more: Any,
) -> Detected:
    """Cubes of 200 mm with lesions of 4 to 20 mm; large ones are found more surely, at site B `drop` less.

    Marks lie within a third of the radius of a lesion that is found; their diameters are 1 mm too large.
    """  # fmt: skip
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), images)
    n = len(owner)
    site = rng.choice(["A", "B"], patients)[owner]
    sex = rng.choice(["F", "M"], patients)[owner]
    held = rng.poisson(lesions, n)
    image = np.repeat(np.arange(n), held)
    size = rng.uniform(4, 20, len(image))
    centre = rng.uniform(20, 180, (len(image), 3))
    label = rng.integers(0, len(classes), len(image))
    chance = 1 / (1 + np.exp(-(size - 6) / 2)) - drop * (site[image] == "B")
    hit = np.flatnonzero(rng.random(len(image)) < chance)
    near = centre[hit] + rng.uniform(-1, 1, (len(hit), 3)) * size[hit, None] / 12
    wrong = np.repeat(np.arange(n), rng.poisson(1.5, n))
    away = rng.uniform(20, 180, (len(wrong), 3))
    places, where = np.concatenate([near, away]), np.concatenate([image[hit], wrong])
    scores = np.concatenate([rng.beta(5, 2, len(hit)), rng.beta(2, 6, len(wrong))])
    widths = np.concatenate([size[hit] + 1 + rng.normal(0, 1, len(hit)), rng.uniform(4, 9, len(wrong))])
    names = np.concatenate([label[hit], rng.integers(0, len(classes), len(wrong))]).astype(np.int64)
    make = _boxes if boxes else Spheres.of
    made = Detected(
        classes,
        tuple(f"scan-{k:03d}" for k in range(n)),
        tuple(f"p{k}" for k in owner),
        make(places, widths, image=where, score=scores),
        make(centre, size, image=image),
        names,
        label.astype(np.int64),
        widths,
        size,
        groups={"sex": tuple(sex.tolist()), "site": tuple(site.tolist())},
    )
    return replace(made, **more)


def _boxes(centre: np.ndarray, size: np.ndarray, *, image: np.ndarray, score: Any = None) -> Boxes:
    half = np.asarray(size)[:, None] / 2
    return Boxes.of(np.concatenate([centre - half, centre + half], axis=1), image=image, score=score)
