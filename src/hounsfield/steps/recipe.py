"""How pixels become a model's input and its logits an answer, for programs that know no Hounsfield."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hounsfield.core.model import Calibration, Model
from hounsfield.core.plan import Input
from hounsfield.steps.decode import LARGEST_SIDE

__all__ = ["NOT_A_DEVICE", "recipe_of"]

NOT_A_DEVICE = (
    "Not a medical device: no authority has cleared this model, and it must not decide about a patient. "
    "For research; read card.md."
)


def recipe_of(model: Model) -> dict[str, Any]:
    """Input, preparations in their order, output and operating point, as JSON values; preprocessing.json."""
    plan, encoding = model.plan, model.encoding
    flat = plan.input.size[0] == 1
    size = list(plan.input.size[1:] if flat else plan.input.size)
    return {
        "format": 1,
        "not_a_medical_device": NOT_A_DEVICE,
        "input": {
            "name": "images",
            "type": "float32",
            "shape": ["n", plan.input.channels, *size],
            "axes": [
                "image",
                "channel",
                *([] if flat else ["slice"]),
                "row, from the top",
                "column, from the left",
            ],
        },
        "preprocessing": _preparations(plan.input),
        "output": {
            "name": "logits",
            "shape": ["n", encoding.outputs],
            "kind": encoding.kind,
            "of": [encoding.positive_name] if encoding.kind == "binary" else list(encoding.classes),
            "classes": list(encoding.classes),
            "target": list(encoding.target),
            **_output(model),
        },
        "operating_point": {
            "thresholds": list(model.operating_point.values),
            "rule": model.operating_point.rule,
            "chosen_on": model.operating_point.chosen_on,
            "n": model.operating_point.n,
            "how": _decision(encoding.kind),
            **_by_group(model),
        },
        "files": [
            {"file": f.file, "sha256": f.digest, "precision": _PRECISION[f.kind], "tested": f.note}
            for f in model.forms
            if f.file
        ],
        "plan_digest": plan.digest(),
        "data_digest": model.data_digest,
    }


def _by_group(model: Model) -> dict[str, Any]:
    """The thresholds of groups, where people consented to them."""
    point = model.operating_point
    if not point.groups:
        return {}
    return {
        "by": list(point.by),
        "groups": {g.group: list(g.values) for g in point.groups},
        "consent": model.plan.mitigation.consent,
        "where_the_group_is_not_known": "the common thresholds hold",
    }


_PRECISION = {"onnx": "32-bit floating point", "int8": "8-bit integers"}


def _output(model: Model) -> dict[str, Any]:
    validation = model.plan.validation
    views: dict[str, Any] = {"how": validation.test_time}
    if validation.test_time == "flip":
        views["does"] = (
            "the mean of the logits of the image and of the image with its columns in reverse order"
        )
    elif validation.test_time == "augment":
        views |= {
            "random_views": validation.test_time_views,
            "augmentation": model.plan.augment.model_dump(mode="json"),
        }
        views["does"] = (
            "the mean of the logits of the image and of random changes to it; the image alone scores "
            "almost the same"
        )
    else:
        views["does"] = "the logits of the image as it is"
    return {
        "views": views,
        **_probability(model.calibration, several=model.encoding.kind == "multiclass"),
        "members": f"the mean of the probabilities of {len(model.members)} member(s), each a file",
    }


def _probability(calibration: Calibration, *, several: bool) -> dict[str, Any]:
    """How logits become probabilities, with its numbers."""
    if calibration.outputs:
        return {"by_output": [_probability(own, several=False) for own in calibration.outputs]}
    if calibration.curves:
        odds = "logit of the class - log(sum of exp(logits of the others))" if several else "logit"
        total = ", divided by the sum over the classes" if several else ""
        return {
            "curves": [{"log_odds": list(x), "probability": list(y)} for x, y in calibration.curves],
            "probability": f"the output's curve at {odds}: linear between its points, level beyond{total}",
        }
    scaled = "logit / temperature + bias" + (" + shift of the class" if calibration.shifts else "")
    shifts = {"shifts": list(calibration.shifts)} if calibration.shifts else {}
    return {
        "temperature": calibration.temperature,
        "bias": calibration.bias,
        **shifts,
        "probability": f"softmax({scaled})" if several else f"1 / (1 + exp(-({scaled})))",
    }


def _decision(kind: str) -> str:
    return {
        "binary": "positive where the probability is at or above the threshold",
        "multiclass": "the class of the highest probability",
        "multilabel": "each class whose probability is at or above its threshold",
    }[kind]


def _preparations(plan: Input) -> list[dict[str, Any]]:
    """What is done to an image, in the order in which it is done."""
    flat = plan.size[0] == 1
    steps: list[dict[str, Any]] = [
        {
            "step": "read",
            "does": "values after the modality's rescale (Hounsfield units in CT), MONOCHROME1 turned "
            "over so that the least value is black, colour as RGB; axes channel, slice, row, "
            "column; the integer type is kept until the last step, and every resampling rounds to "
            "it",
        },
        {
            "step": "shrink",
            "longest_side": LARGEST_SIDE if flat else LARGEST_SIDE // 4,
            "does": "an image that is longer along any axis is averaged down to this, all axes by one factor",
            "method": _METHODS["area"],
        },
    ]
    measured_at = plan.order.index("normalise")
    for place, name in enumerate(plan.order):
        made = _STEPS[name](plan)
        if made is not None:
            steps.append({"step": name, **made})
        if place == measured_at < len(plan.order) - 1 and plan.normalise != "histogram":
            steps[-1]["when"] = (
                "its numbers are measured here; it is applied to the image after the last step"
            )
    steps.append({"step": "type", "does": "float32, the axes of the input; a 2D image has no axis of slices"})
    return steps


_METHODS = {
    "area": "along an axis that shrinks the mean of what a new pixel covers, along one that grows linear "
    "between the centres of pixels (OpenCV: INTER_AREA where any of rows and columns shrinks, "
    "else INTER_LINEAR; rows first where one shrinks and the other grows; then slices)",
    "linear": "triangle kernel, widened by the factor where an axis shrinks, one axis after another, "
    "weights beside the edge left out and the rest brought to the sum 1 (Pillow's BILINEAR; "
    "torch's bilinear with antialias=True)",
    "cubic": "cubic convolution, a = -0.5, widened by the factor where an axis shrinks, one axis after "
    "another, weights beside the edge left out and the rest brought to the sum 1 (Pillow's "
    "BICUBIC)",
}


def _crop(plan: Input) -> dict[str, Any] | None:
    if plan.fundus != "off":
        evened = (
            "; then each channel x becomes half of its range times 1 + (x - mean) / (mean + 2 % of the range)"
            ", the mean over a Gaussian of 0.12 radii inside the circle"
        )
        return {
            "does": "the square around the circle of light, black outside it"
            + (evened if plan.fundus == "evened" else ""),
            "code": "hounsfield.transforms.field_of_view.crop_to_field"
            + (", hounsfield.transforms.fundus_light.even_light" if plan.fundus == "evened" else ""),
        }
    if not plan.crop_foreground:
        return None
    return {
        "does": "the box around the body, widened by 2 % of the box on each side; the body are the "
        "largest connected part above a threshold and others of at least a tenth of it; the "
        "threshold is -500 where the least value is -4096 to -900, else Otsu's on square roots, "
        "halved, but above the noise at the image's rim",
        "code": "hounsfield.transforms.foreground.crop_foreground",
    }


def _resample(plan: Input) -> dict[str, Any] | None:
    if not plan.spacing_mm:
        return None
    return {
        "does": "to this distance of voxels along slices, rows and columns; new length = round(length x "
        "old distance / new), a 2D image keeps its one slice",
        "spacing_mm": list(plan.spacing_mm),
        "method": _METHODS[plan.interpolation],
    }


def _pad(plan: Input) -> dict[str, Any] | None:
    if plan.fit != "pad":
        return None
    return {
        "does": "rows or columns of the image's least value on both sides, the odd one after, until rows "
        "to columns are as in the size",
        "rows_to_columns": [plan.size[1], plan.size[2]],
    }


def _resize(plan: Input) -> dict[str, Any]:
    return {
        "does": "to this many slices, rows and columns",
        "size": list(plan.size),
        "method": _METHODS[plan.interpolation],
    }


def _channels(plan: Input) -> dict[str, Any]:
    grey = "; of three channels 0.299 R + 0.587 G + 0.114 B, rounded" if plan.channels == 1 else ""
    return {"does": f"one channel is repeated{grey}", "channels": plan.channels}


def _normalise(plan: Input) -> dict[str, Any]:
    how: dict[str, Any] = {"method": plan.normalise}
    if plan.normalise == "zscore":
        how["does"] = (
            "(x - mean) / standard deviation, both over all voxels and channels of the image, the "
            "deviation with N; 1 instead of a deviation of 0"
        )
    elif plan.normalise == "unit":
        how["does"] = (
            "x / (2^bits - 1) by the stored bits of the file; where values are real, negative, above "
            "that, or of more than 16 bits: (x - least) / (greatest - least) of the image"
        )
    elif plan.normalise == "percentile":
        how |= {"percentiles": list(plan.percentiles)}
        how["does"] = "(x - low) / (high - low) by two percentiles of the image, clipped to 0 to 1"
    elif plan.normalise == "window":
        centre, width = plan.window
        how |= {"centre": centre, "width": width}
        how["does"] = "(x - centre) / width + 0.5, clipped to 0 to 1"
    else:
        how |= {"landmarks": list(plan.landmarks), "percentages": [1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99]}
        how["does"] = (
            "piecewise linear: the percentiles of the image's foreground go to the landmarks, beyond the "
            "first and last straight on, clipped to -1 to 3"
        )
        how["code"] = "hounsfield.transforms.landmarks.to_landmarks"
    return how


_STEPS: dict[str, Callable[[Input], dict[str, Any] | None]] = {
    "crop": _crop,
    "resample": _resample,
    "pad": _pad,
    "resize": _resize,
    "channels": _channels,
    "normalise": _normalise,
}
