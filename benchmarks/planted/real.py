"""Copies, flipped labels and marks planted into real images, and real images whose labels are dealt out at
random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from planted.cohorts import Item, Study, alarms, caught, clean_study, with_parts
from planted.copies import CHANGES, copied
from planted.faults import flipped
from planted.pictures import Image

SETS = ("pneumoniamnist", "cxr_covid")


def real_study(images: Sequence[Image], answers: Sequence[int], rng: np.random.Generator) -> Study:
    """Real images with groups drawn at random."""
    study = clean_study(int(rng.integers(1 << 30)), n=0)
    for k, (image, answer) in enumerate(zip(images, answers, strict=True)):
        groups = {"sex": str(rng.choice(["F", "M"])), "site": str(rng.choice(["North", "South"]))}
        study.items.append(Item(np.ascontiguousarray(image), int(answer), f"patient-{k}", groups))
    return study


@cache
def _real_sets(folder: str) -> dict[str, tuple[list[Image], list[int]]]:
    """Sets without duplicates, each with labels that a quick model can tell apart, or none."""
    with np.load(Path(folder) / "medmnist" / "pneumoniamnist_train_val.npz") as z:
        small = {
            x.tobytes(): (x, int(y))
            for x, y in zip(z["train_images"], z["train_labels"].ravel(), strict=True)
        }
    chests = [
        cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in sorted((Path(folder) / "cxr_covid").glob("*.png"))
    ]
    return {
        "pneumoniamnist": ([x for x, _ in small.values()], [y for _, y in small.values()]),
        "cxr_covid": (chests, [k % 2 for k in range(len(chests))]),
    }


def _marked(study: Study) -> Study:
    for item in study.items:
        if item.answer and study.rng.random() < 0.8:
            item.image = item.image.copy()
            side = max(item.image.shape)
            at, size = (side // 12, side // 8), side / 300
            cv2.putText(item.image, "L", at, cv2.FONT_HERSHEY_SIMPLEX, size, 255, max(1, side // 150))
    return study


def _changes() -> dict[str, tuple[Callable[[Study], Study], tuple[str, ...]]]:
    found: dict[str, tuple[Callable[[Study], Study], tuple[str, ...]]] = {
        words: (lambda s, c=change: copied(s, c, across=False), ("near_duplicates",))
        for words, change in CHANGES.items()
    }
    found["marker in one class"] = (_marked, ("letters_label_association", "margin_label_association"))
    found["labels flipped, 10 %"] = (lambda s: flipped(s, 0.1), ("label_errors",))
    return found


def real_faults(folder: str, seeds: int) -> list[tuple[str, str, str, int]]:
    """What is planted into which set: folder, set, change, seed."""
    return [
        (folder, name, words, seed)
        for name in SETS
        for words in _changes()
        for seed in range(seeds)
        if name == "pneumoniamnist" or "flipped" not in words
    ]


def caught_in_real(job: tuple[str, str, str, int]) -> tuple[str, bool]:
    """Whether a fault in real images was caught; flipped labels are planted into more of them."""
    folder, name, words, seed = job
    images, answers = _real_sets(folder)[name]
    rng = np.random.default_rng([seed, 5])
    size = 400 if "flipped" in words else 150
    chosen = rng.choice(len(images), min(size, len(images)), replace=False)
    study = real_study([images[k] for k in chosen], [answers[k] for k in chosen], rng)
    plant, names = _changes()[words]
    return f"{name}: {words}", caught(plant(study), names)


def alarms_of_real(job: tuple[str, int]) -> tuple[str, int, tuple[str, ...]]:
    """Alarms in a set of real images whose labels were dealt out at random.

    That some of them bear text is true, and no false alarm.
    """
    folder, number = job
    name = SETS[number % len(SETS)]
    images, _ = _real_sets(folder)[name]
    rng = np.random.default_rng([number, 77])
    chosen = rng.choice(len(images), min(int(rng.choice([80, 150, 300])), len(images)), replace=False)
    dealt = rng.permutation(np.arange(len(chosen)) % 2).tolist()
    study = real_study([images[k] for k in chosen], dealt, rng)
    study = with_parts(study) if number % 3 == 0 else study
    return name, len(chosen), alarms(study, but=("burnt_in_text",))
