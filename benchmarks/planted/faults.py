"""Faults of labels, groups, parts, files, marks and orientation."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from hounsfield.core.case import LabelEncoding
from hounsfield.steps.audits.targets import Targets
from planted.cohorts import Study
from planted.pictures import Image, fundus
from planted.register import fault

__all__ = ["flipped"]


def flipped(study: Study, share: float) -> Study:
    for k in study.rng.choice(len(study.items), round(share * len(study.items)), replace=False).tolist():
        study.items[k].answer = 1 - study.items[k].answer
    return study


@fault("labels flipped, 5 %", "label_errors", n=400)
def _(study: Study) -> Study:
    return flipped(study, 0.05)


@fault("labels flipped, 10 %", "label_errors", n=400)
def _(study: Study) -> Study:
    return flipped(study, 0.10)


def _tag(study: Study, column: str, values: tuple[str, str], share: float) -> Study:
    for item in study.items:
        if study.rng.random() < share:
            item.groups[column] = values[item.answer]
    return study


@fault("scanner gives the class away", "scanner_label_association")
def _(study: Study) -> Study:
    return _tag(study, "scanner", ("Alpha", "Beta"), 0.6)


@fault("site confounded with the class", "site_label_association")
def _(study: Study) -> Study:
    return _tag(study, "site", ("North", "South"), 0.6)


@fault("sex confounded with the class", "sex_label_association")
def _(study: Study) -> Study:
    return _tag(study, "sex", ("F", "M"), 0.6)


@fault("a site with one class only", "group_of_one_class", "site_label_association")
def _(study: Study) -> Study:
    ill = [i for i in study.items if i.answer]
    for item in ill[:24]:
        item.groups["site"] = "East"
    return study


@fault("prevalence shift", "shift_between_parts", parts=True, n=240)
def _(study: Study) -> Study:
    kept = [i for i in study.items if not (i.part == "test" and not i.answer and study.rng.random() < 0.8)]
    study.items = kept
    return study


@fault("scanner shift", "shift_between_parts", parts=True)
def _(study: Study) -> Study:
    for item in study.items:
        if item.part == "test" and study.rng.random() < 0.7:
            item.groups["scanner"] = "Gamma"
    return study


@fault("brightness shift", "shift_between_parts", parts=True)
def _(study: Study) -> Study:
    for item in study.items:
        if item.part == "test":
            item.image = np.clip(item.image * 1.12 + 8.0, 0, 255).astype(np.uint8)
    return study


@fault("pixel spacing shift", "shift_between_parts", parts=True)
def _(study: Study) -> Study:
    for item in study.items:
        pixel = 0.15 if item.part == "test" else float(study.rng.choice([0.2, 0.18]))
        item.spacing_mm = (1.0, pixel, pixel)
    return study


@fault("sex missing in one class", "missing_data_by_group")
def _(study: Study) -> Study:
    for item in study.items:
        if item.answer and study.rng.random() < 0.4:
            item.groups["sex"] = ""
    return study


@fault("age missing in the test part", "missing_data_by_group", parts=True)
def _(study: Study) -> Study:
    for item in study.items:
        if item.part == "test" and study.rng.random() < 0.5:
            item.groups["age band"] = ""
    return study


@fault("burnt-in marker in one class", "letters_label_association", "margin_label_association")
def _(study: Study) -> Study:
    for item in study.items:
        if item.answer and study.rng.random() < 0.8:
            item.image = item.image.copy()
            cv2.putText(item.image, "L", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 255, 1)
    return study


@fault("burnt-in text in a few images", "burnt_in_text")
def _(study: Study) -> Study:
    for item in study.items[:6]:
        large = cv2.resize(item.image, (384, 384), interpolation=cv2.INTER_CUBIC)
        cv2.putText(large, "DOE JANE", (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
        item.image = large
    return study


@fault("square tag in a corner of small images", "margin_label_association", "letters_label_association")
def _(study: Study) -> Study:
    for item in study.items:
        item.image = cv2.resize(item.image, (28, 28), interpolation=cv2.INTER_AREA)
        if item.answer:
            item.image[1:4, 24:27] = 255
    return study


@fault("padding by class", "border_label_association")
def _(study: Study) -> Study:
    for item in study.items:
        if item.answer and study.rng.random() < 0.7:
            item.image = np.pad(item.image, ((8, 8), (0, 0)))
    return study


@fault("aspect by class", "aspect_label_association", "rows_label_association", "columns_label_association")
def _(study: Study) -> Study:
    for item in study.items:
        if item.answer and study.rng.random() < 0.7:
            item.image = cv2.resize(item.image, (96, 110), interpolation=cv2.INTER_LINEAR)
    return study


@fault("bit depth by class", "bit_depth_label_association")
def _(study: Study) -> Study:
    for item in study.items:
        if item.answer and study.rng.random() < 0.7:
            item.bits = 12
    return study


@fault("file format by class", "file_format_label_association")
def _(study: Study) -> Study:
    for item in study.items:
        if study.rng.random() < 0.7:
            item.ending = ("png", "jpg")[item.answer]
    return study


@fault("year by class", "year_of_the_study_label_association")
def _(study: Study) -> Study:
    for item in study.items:
        item.date = f"{2015 + int(study.rng.integers(3)) + 3 * item.answer}0312"
    return study


@fault("blur by class", "sharpness_label_association", "noise_label_association")
def _(study: Study) -> Study:
    for item in study.items:
        if item.answer:
            item.image = cv2.GaussianBlur(item.image, (0, 0), 0.8)
    return study


@fault("noise by class", "sharpness_label_association", "noise_label_association")
def _(study: Study) -> Study:
    for item in study.items:
        if not item.answer:
            item.image = np.clip(item.image + study.rng.normal(0, 5, item.image.shape), 0, 255).astype(
                np.uint8
            )
    return study


@fault("brightness by class", "brightness_label_association")
def _(study: Study) -> Study:
    for item in study.items:
        if item.answer:
            item.image = np.clip(item.image * 1.15 + 10.0, 0, 255).astype(np.uint8)
    return study


@fault("laterality tag swapped in some", "laterality_contradicted")
def _(study: Study) -> Study:
    for k, item in enumerate(study.items):
        side = k // 2 % 2
        item.image = item.image[:, ::-1].copy() if side else item.image
        item.groups["laterality"] = "LR"[side if k % 16 else 1 - side]
    return study


def _some(study: Study, change: Callable[[Image], Image], share: float = 0.06) -> Study:
    for k in study.rng.choice(
        len(study.items), max(6, round(share * len(study.items))), replace=False
    ).tolist():
        study.items[k].image = change(study.items[k].image)
    return study


@fault("some images mirrored", "unusual_orientation")
def _(study: Study) -> Study:
    return _some(study, lambda x: x[:, ::-1].copy())


@fault("some images upside down", "unusual_orientation")
def _(study: Study) -> Study:
    return _some(study, lambda x: x[::-1].copy())


@fault("some images turned by 90°", "unusual_orientation")
def _(study: Study) -> Study:
    return _some(study, lambda x: np.rot90(x).copy())


@fault("some images inverted", "unusual_orientation")
def _(study: Study) -> Study:
    return _some(study, lambda x: 255 - x)


@fault("too few women for the target", "representation")
def _(study: Study) -> Study:
    study.items = [i for i in study.items if i.groups["sex"] == "M" or study.rng.random() < 0.35]
    study.targets = Targets({"sex": {"F": 0.51, "M": 0.49}})
    return study


@fault("eyes: laterality swapped in some", "laterality_contradicted", picture=fundus)
def _(study: Study) -> Study:
    for k, item in enumerate(study.items):
        side = k // 2 % 2
        item.image = item.image if side else item.image[:, ::-1].copy()
        item.groups["laterality"] = "LR"[side if k % 16 else 1 - side]
    return study


@fault("eyes: some images mirrored, laterality unknown", "unusual_orientation", picture=fundus)
def _(study: Study) -> Study:
    return _some(study, lambda x: x[:, ::-1].copy())


@fault("eyes: some images turned by 180°", "unusual_orientation", picture=fundus)
def _(study: Study) -> Study:
    return _some(study, lambda x: np.rot90(x, 2).copy())


@fault("eyes: labels flipped, 8 %", "label_errors", n=300, picture=fundus)
def _(study: Study) -> Study:
    return flipped(study, 0.08)


@fault("eyes: date stamped on the ill", "letters_label_association", "burnt_in_text", picture=fundus)
def _(study: Study) -> Study:
    for item in study.items:
        item.image = cv2.resize(item.image, (320, 320), interpolation=cv2.INTER_CUBIC)
        if item.answer and study.rng.random() < 0.7:
            cv2.putText(item.image, "12-03-19", (6, 312), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1)
    return study


@fault("three classes: a scanner for one of them", "scanner_label_association")
def _(study: Study) -> Study:
    study.encoding = LabelEncoding("multiclass", ("healthy", "ill", "very ill"))
    for k, item in enumerate(study.items):
        item.answer = k % 3
        if item.answer == 2 and study.rng.random() < 0.8:
            item.groups["scanner"] = "Gamma"
    return study


@fault("site missing in one age band", "missing_data_by_group")
def _(study: Study) -> Study:
    for item in study.items:
        if item.groups["age band"] == "60-69" and study.rng.random() < 0.6 and item.answer:
            item.groups["site"] = ""
    return study


@fault("noise shift", "shift_between_parts", parts=True, picture=fundus)
def _(study: Study) -> Study:
    for item in study.items:
        if item.part == "test":
            noise = study.rng.normal(0, 5, item.image.shape)
            item.image = np.clip(item.image + noise, 0, 255).astype(np.uint8)
    return study
