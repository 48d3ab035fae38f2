"""preprocessing.json suffices: a reader who follows it with other tools gets the network's own input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration, Model, OperatingPoint
from hounsfield.core.plan import Input, Plan
from hounsfield.steps.preparations import prepare_one
from hounsfield.steps.recipe import recipe_of
from hounsfield.tasks.classification import probabilities
from hounsfield.transforms.normalise import apply_levels

BINARY = LabelEncoding("binary", ("clear", "found"), ("finding",))


def model(plan: Plan, encoding: LabelEncoding = BINARY, **more: Any) -> Model:
    point = OperatingPoint((0.3,) * encoding.outputs, "youden", "folds", 40)
    return Model(Path("x"), plan, encoding, ("a.safetensors", "b.safetensors"), point, **more)


def followed(image: NDArray[Any], recipe: dict[str, Any], *, bits: int) -> NDArray[np.float32]:
    """One 2D image (C, J, I) as the recipe's words say, by numpy, OpenCV and Pillow."""
    dtype = image.dtype
    for step in recipe["preprocessing"]:
        match step["step"]:
            case "pad":
                rows, columns = step["rows_to_columns"]
                j, i = image.shape[1:]
                wide, high = max(i, round(j * columns / rows)), max(j, round(i * rows / columns))
                high = j if wide > i else high
                top, left = (high - j) // 2, (wide - i) // 2
                around = ((0, 0), (top, high - j - top), (left, wide - i - left))
                image = np.pad(image, around, constant_values=image.min())
            case "resize":
                rows, columns = step["size"][1:]
                planes = [_resized(p, rows, columns, step["method"]) for p in image]
                image = np.clip(np.rint(planes), 0, np.iinfo(dtype).max).astype(dtype)
            case "channels":
                if len(image) == 3 and step["channels"] == 1:
                    red, green, blue = image.astype(np.float64)
                    image = np.rint(0.299 * red + 0.587 * green + 0.114 * blue)[None].astype(dtype)
                elif len(image) == 1:
                    image = np.repeat(image, step["channels"], 0)
            case "normalise":
                image = _normalised(image.astype(np.float64), step, bits)
    return image.astype(np.float32)


def _resized(plane: NDArray[Any], rows: int, columns: int, method: str) -> NDArray[np.float32]:
    real = plane.astype(np.float32)
    if "INTER_AREA" in method:
        shrinks = rows < plane.shape[0] or columns < plane.shape[1]
        return np.asarray(cv2.resize(real, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else 1))
    how = Image.Resampling.BILINEAR if "BILINEAR" in method else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(real, "F").resize((columns, rows), how))


def _normalised(x: NDArray[np.float64], step: dict[str, Any], bits: int) -> NDArray[np.float64]:
    match step["method"]:
        case "zscore":
            return (x - x.mean()) / x.std()
        case "unit":
            return x / (2**bits - 1)
        case "percentile":
            low, high = np.percentile(x, step["percentiles"])
            return np.clip((x - low) / (high - low), 0, 1)
        case _:
            return np.clip((x - step["centre"]) / step["width"] + 0.5, 0, 1)


@pytest.mark.parametrize(
    "plan, channels, dtype, bits",
    [
        (Input(size=(1, 24, 24)), 1, np.uint8, 8),
        (Input(size=(1, 24, 24), fit="pad", normalise="unit"), 1, np.uint16, 12),
        (Input(size=(1, 48, 64), fit="pad", channels=3, normalise="percentile"), 1, np.uint16, 12),
        (
            Input(size=(1, 20, 20), interpolation="linear", normalise="window", window=(90, 200)),
            1,
            np.uint8,
            8,
        ),
        (Input(size=(1, 20, 28), interpolation="cubic"), 3, np.uint8, 8),
    ],
)
def test_following_the_words_gives_the_input(plan: Input, channels: int, dtype: Any, bits: int) -> None:
    rng = np.random.default_rng(1)
    smooth = np.cumsum(np.cumsum(rng.standard_normal((channels, 40, 30)), 1), 2)
    image = (np.interp(smooth, (smooth.min(), smooth.max()), (0, 2**bits - 1))).astype(dtype)
    recipe = json.loads(json.dumps(recipe_of(model(Plan(input=plan)))))
    stored, levels = prepare_one(image[:, None], (), plan, bits=bits)
    wanted = apply_levels(stored[None], np.array([levels], np.float32))[0, :, 0]
    found = followed(image, recipe, bits=bits)
    assert list(found.shape) == recipe["input"]["shape"][1:] == list(wanted.shape)
    step = 1.01 * abs(levels[0])  # of the stored integers, which may round otherwise here and there
    apart = np.abs(found - wanted)
    assert apart.max() <= step and np.median(apart) < 1e-5


def test_the_answer_follows_from_what_it_says() -> None:
    made = model(Plan(), calibration=Calibration("temperature and bias", 1.7, -0.4))
    said = recipe_of(made)
    logits = np.array([[0.3], [-2.0]])
    temperature, bias = said["output"]["temperature"], said["output"]["bias"]
    assert said["output"]["probability"] == "1 / (1 + exp(-(logit / temperature + bias)))"
    wanted = probabilities(logits, BINARY, made.calibration)
    assert 1 / (1 + np.exp(-(logits / temperature + bias))) == pytest.approx(wanted)
    assert said["operating_point"]["thresholds"] == [0.3] and said["output"]["of"] == ["found"]
    assert (
        "2 member(s)" in said["output"]["members"] and "Not a medical device" in said["not_a_medical_device"]
    )


def test_several_classes_and_views_are_told() -> None:
    encoding = LabelEncoding("multiclass", ("a", "b", "c"), ("x",))
    plan = Plan().changed({"validation.test_time": "augment", "augment.rotation_deg": 7})
    said = recipe_of(model(plan, encoding))["output"]
    assert said["probability"].startswith("softmax") and said["of"] == ["a", "b", "c"]
    assert said["views"]["random_views"] == 4 and said["views"]["augmentation"]["rotation_deg"] == 7


def test_a_volume_and_every_preparation_have_words() -> None:
    plan = Input(
        size=(8, 16, 16), spacing_mm=(2.0, 1.0, 1.0), crop_foreground=True, fit="pad", normalise="zscore",
        order=("crop", "resample", "normalise", "pad", "resize", "channels"),
    )  # fmt: skip
    said = recipe_of(model(Plan(input=plan)))
    names = [step["step"] for step in said["preprocessing"]]
    assert names == ["read", "shrink", "crop", "resample", "normalise", "pad", "resize", "channels", "type"]
    normalise = said["preprocessing"][4]
    assert "measured here" in normalise["when"] and said["input"]["shape"] == ["n", 1, 8, 16, 16]
    assert all(step["does"] for step in said["preprocessing"]) and len(said["input"]["axes"]) == 5
