"""Faults of identity: copies of every kind within and across the parts, and patients in two places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from planted.cohorts import Study
from planted.pictures import Image, fundus, phantom
from planted.register import fault

__all__ = ["CHANGES", "copied"]


def jpeg(x: Image, quality: int = 60) -> Image:
    return cv2.imdecode(cv2.imencode(".jpg", x, [1, quality])[1], cv2.IMREAD_GRAYSCALE)


def cut(x: Image, top: float, bottom: float, left: float, right: float) -> Image:
    j, i = x.shape
    return x[round(j * top) : j - round(j * bottom), round(i * left) : i - round(i * right)]


def _deep(x: Image) -> Image:
    """The picture as a scanner stores it: 12 bits, with more range than the picture shows."""
    return (x.astype(np.uint16) * 9 + 700).astype(np.uint16)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "recompressed": jpeg,
    "rescaled to 70 %": lambda x: cv2.resize(x, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA),
    "enlarged, stretched": lambda x: cv2.resize(x, None, fx=1.6, fy=1.4, interpolation=cv2.INTER_CUBIC),
    "mirrored left to right": lambda x: x[:, ::-1].copy(),
    "mirrored up to down": lambda x: x[::-1].copy(),
    "turned by 90°": lambda x: np.rot90(x).copy(),
    "turned by 180°": lambda x: np.rot90(x, 2).copy(),
    "brightened": lambda x: np.clip(x * 1.2 + 15.0, 0, 255).astype(np.uint8),
    "clipped": lambda x: np.clip((x - 40.0) * 1.5, 0, 255).astype(np.uint8),
    "gamma": lambda x: (255 * (x / 255.0) ** 0.7).astype(np.uint8),
    "cropped all around": lambda x: cut(x, 0.05, 0.05, 0.05, 0.05),
    "cropped on one side": lambda x: cut(x, 0, 0, 0.09, 0),
    "inverted": lambda x: 255 - x,
    "noisy": lambda x: np.clip(x + np.random.default_rng(0).normal(0, 5, x.shape), 0, 255).astype(np.uint8),
    "mirrored, cropped, recompressed": lambda x: jpeg(cut(x[:, ::-1].copy(), 0.04, 0.04, 0.04, 0.04)),
    "turned, brightened, recompressed": lambda x: jpeg(
        np.clip(np.rot90(x) * 1.15 + 10.0, 0, 255).astype(np.uint8)
    ),
}


def copied(study: Study, change: Callable[[Image], Image], *, across: bool) -> Study:
    """A copy of one image under another patient, in the other part where there are parts."""
    source = study.items[int(study.rng.integers(len(study.items)))]
    part = {"train": "test", "test": "train"}.get(source.part, "") if across else source.part
    study.items.append(replace(source, image=change(source.image), patient="patient-copy", part=part))
    return study


for _words, _change in CHANGES.items():
    fault(f"copy within, {_words}", "near_duplicates")(lambda s, c=_change: copied(s, c, across=False))
    if _words in ("recompressed", "mirrored left to right", "cropped all around", "brightened"):
        fault(f"copy across parts, {_words}", "leakage_in_given_split", parts=True)(
            lambda s, c=_change: copied(s, c, across=True)
        )
fault("copy within, exact", "exact_duplicates")(lambda s: copied(s, np.copy, across=False))
fault("copy across parts, exact", "leakage_in_given_split", parts=True)(
    lambda s: copied(s, np.copy, across=True)
)


@fault("copy with the other label", "conflicting_labels")
def _(study: Study) -> Study:
    study = copied(study, jpeg, across=False)
    study.items[-1].answer = 1 - study.items[-1].answer
    return study


@fault("DICOM against PNG of the same image", "near_duplicates")
def _(study: Study) -> Study:
    windowed = study.items[3]
    deep = _deep(windowed.image)
    shown = np.clip((deep.astype(np.float32) - 900) / 1700 * 255, 0, 255).astype(np.uint8)
    study.items[3] = replace(windowed, image=deep, ending="dcm")
    study.items.append(replace(windowed, image=shown, patient="patient-copy"))
    return study


def volumes(study: Study, count: int = 24) -> Study:
    """The study as volumes of 20 slices that belong together."""
    items = []
    for item in study.items[: 2 * count]:
        slices = [cv2.GaussianBlur(phantom(study.rng, item.answer, side=48), (0, 0), 1.2) for _ in range(5)]
        steps = np.linspace(0, 4, 20)
        volume = np.stack([
            slices[int(t)] * (1 - t % 1) + slices[min(int(t) + 1, 4)] * (t % 1) for t in steps
        ])  # fmt: skip
        items.append(
            replace(item, image=volume.astype(np.int16) * 4 - 200, ending="nii", spacing_mm=(3.0, 1.0, 1.0))
        )
    study.items = items
    return study


@fault("volume copied", "exact_duplicates")
def _(study: Study) -> Study:
    return copied(volumes(study), np.copy, across=False)


@fault("volume mirrored", "near_duplicates")
def _(study: Study) -> Study:
    return copied(volumes(study), lambda x: x[:, :, ::-1].copy(), across=False)


@fault("volume rescaled in values and size", "near_duplicates")
def _(study: Study) -> Study:
    def smaller(x: Image) -> Image:
        resized = [cv2.resize(p.astype(np.float32), (40, 40), interpolation=cv2.INTER_AREA) for p in x[::2]]
        return (np.stack(resized) * 0.5 + 90).astype(np.int16)

    return copied(volumes(study), smaller, across=False)


@fault("slice of a volume as a picture", "near_duplicates")
def _(study: Study) -> Study:
    study = volumes(study, 12)
    volume = study.items[5]
    plane = volume.image[9].astype(np.float32)
    shown = np.clip((plane - plane.min()) / np.ptp(plane) * 255, 0, 255).astype(np.uint8)
    pictures = [
        replace(
            volume, image=phantom(study.rng, k % 2, side=48), answer=k % 2, patient=f"flat-{k}", ending="png"
        )
        for k in range(12)
    ]
    study.items += [*pictures, replace(volume, image=shown, patient="patient-copy", ending="png")]
    return study


@fault("patient in two parts", "refused_split", "patients_in_both_parts", parts=True)
def _(study: Study) -> Study:
    moved = study.items[0]
    study.items.append(
        replace(
            moved, image=phantom(study.rng, moved.answer), part="test" if moved.part == "train" else "train"
        )
    )
    return study


@fault("patient spelled in two ways", "patient_spelled_twice")
def _(study: Study) -> Study:
    item = study.items[0]
    study.items.append(
        replace(item, image=phantom(study.rng, item.answer), patient=item.patient.upper().replace("-", " "))
    )
    return study


for _words in ("mirrored left to right", "cropped all around", "rescaled to 70 %", "recompressed", "clipped"):
    fault(f"eyes: copy across parts, {_words}", "leakage_in_given_split", parts=True, picture=fundus)(
        lambda s, c=CHANGES[_words]: copied(s, c, across=True)
    )
