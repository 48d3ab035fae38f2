"""Cohorts without any fault, of ten kinds: what warns here is a false alarm."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from hounsfield.core.case import LabelEncoding
from planted.cohorts import Study, alarms, clean_study, with_parts
from planted.copies import volumes
from planted.pictures import fundus

__all__ = ["KINDS", "alarms_of", "clean_cohort"]

Kind = Callable[[int, int], Study]


def _chests(seed: int, n: int) -> Study:
    return clean_study(seed, n=n, side=(64, 96, 128)[seed % 3], parts=bool(seed % 2))


def _two_images_each(seed: int, n: int) -> Study:
    return clean_study(seed, n=n // 2, side=64, images=2)


def _eyes(seed: int, n: int) -> Study:
    return clean_study(seed, n=n, picture=fundus, parts=bool(seed % 2))


def _both_eyes(seed: int, n: int) -> Study:
    """Both sides of each patient, and the laterality named."""
    study = clean_study(seed, n=n // 2, images=2, picture=fundus)
    for k, item in enumerate(study.items):
        item.groups["laterality"] = "LR"[k % 2]
        item.image = item.image if k % 2 else item.image[:, ::-1].copy()
    return study


def _volumes(seed: int, n: int) -> Study:
    return volumes(clean_study(seed, n=max(40, n // 4), side=48), count=max(20, n // 8))


def _three_classes(seed: int, n: int) -> Study:
    """Two diseases, of which the second is seen by a shadow below the middle too."""
    study = clean_study(seed, n=n, side=64, parts=bool(seed % 2))
    study.encoding = LabelEncoding("multiclass", ("healthy", "ill", "very ill"))
    for item in study.items:
        if item.answer and study.rng.random() < 0.5:
            item.answer = 2
            shadow = cv2.circle(np.zeros((64, 64), np.uint8), (32, 40), 4, 60, -1)
            item.image = cv2.add(item.image, cv2.GaussianBlur(shadow, (0, 0), 1.0))
        exposed = item.image * study.rng.normal(1, 0.08) + study.rng.normal(8, 4)
        item.image = np.clip(exposed, 0, 255).astype(np.uint8)
    return study


def _findings(seed: int, n: int) -> Study:
    """Four findings that do not exclude each other; the first is to be seen."""
    study = clean_study(seed, n=n, side=64)
    study.encoding = LabelEncoding("multilabel", ("mass", "cyst", "scar", "clip"))
    for item in study.items:
        held = [k for k in (1, 2, 3) if study.rng.random() < 0.3]
        item.answer = tuple(([0] if item.answer else []) + held)
    return study


def _rare_disease(seed: int, n: int) -> Study:
    """One of eight is ill, and columns are missing at random."""
    study = clean_study(seed, n=n + 80, side=64)
    kept = [i for i in study.items if not i.answer or study.rng.random() < 0.15]
    for item in kept:
        for column in ("sex", "age band"):
            if study.rng.random() < 0.15:
                item.groups[column] = ""
    study.items = kept
    return study


def _many_columns(seed: int, n: int) -> Study:
    """Thirty columns of two to twenty values, one with a value for each patient."""
    study = clean_study(seed, n=n, side=48)
    for item in study.items:
        item.groups |= {f"column {c}": f"v{study.rng.integers(2 + c % 19)}" for c in range(30)}
        item.groups["number"] = item.patient
    return study


def _nothing_to_see(seed: int, n: int) -> Study:
    """Labels that have nothing to do with the images, of several sizes and spacings."""
    study = clean_study(seed, n=n, side=64)
    dealt = study.rng.permutation([i.answer for i in study.items])
    for item, answer in zip(study.items, dealt.tolist(), strict=True):
        item.answer = int(answer)
        side = int(study.rng.choice([64, 80, 96]))
        item.image = cv2.resize(item.image, (side, side), interpolation=cv2.INTER_LINEAR)
        item.spacing_mm = (1.0, 12.8 / side, 12.8 / side)
    return with_parts(study) if seed % 2 else study


KINDS: dict[str, Kind] = {
    "chests": _chests,
    "two images a patient": _two_images_each,
    "eyes": _eyes,
    "both eyes, laterality named": _both_eyes,
    "volumes": _volumes,
    "three classes": _three_classes,
    "four findings": _findings,
    "one in eight ill, data missing at random": _rare_disease,
    "thirty columns": _many_columns,
    "labels that are not to be seen": _nothing_to_see,
}
SIZES = (50, 80, 120, 200)


def clean_cohort(number: int) -> tuple[str, Study]:
    """The clean cohort of this number, and its kind."""
    names = list(KINDS)
    name, n = names[number % len(names)], SIZES[number // len(names) % len(SIZES)]
    return name, KINDS[name](5000 + number, n)


def alarms_of(number: int) -> tuple[str, int, tuple[str, ...]]:
    """The kind of a clean cohort, its size, and what is said of it."""
    name, study = clean_cohort(number)
    return name, len(study.items), alarms(study)
