"""The data decides: from a fingerprint and a time budget to a plan in which every choice has its reason."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Augment, Fit, Input, Network, Plan, Validation
from hounsfield.steps.fingerprint import Fingerprint

__all__ = ["Detail", "design", "within_budget"]

_SIDE = 144.0

MIRROR = {
    "MG": "a mirrored breast is a possible breast",
    "US": "a mirrored ultrasound image is a possible one",
    "OP": "a mirrored fundus is a fundus of the other eye",
    "": "the modality is unknown; a mirrored image is taken to be a possible one",
    "OT": "the modality is unknown; a mirrored image is taken to be a possible one",
    "MR": "left and right of the body look alike",
    "CT": "left and right of the body look alike",
}


TELL_TALE = 0.8
"""An AUROC of sharpness alone from which it is varied in training."""

ALWAYS = {
    "name": "designed from the data",
    "task": "the labels are classes",
    "application": "named by the command, or none",
    "input.spacing_mm": "the images keep their own grid; only the size is brought to one",
    "input.fundus": "off: it is for photographs of the fundus, and an application's to ask for",
    "input.percentiles": "not used: no normalisation by percentiles",
    "input.landmarks": "not used: no normalisation of the histogram",
    "input.order": "the usual one: what is cut off costs no work, and values are measured on what is seen",
    "augment.flip_up_down": "bodies do not stand on their heads",
    "augment.flip_slices": "head and feet differ",
    "augment.transpose": "bodies do not lie across their own axes",
    "augment.elastic": "off: it was not measured to help, and bends what may be the sign of disease",
    "augment.elastic_points": "off",
    "augment.fill_value": "not used: edges are mirrored",
    "augment.blur": "off: sharpness covers it",
    "augment.intensity_chance": "every image is changed, each by an amount of its own",
    "augment.low_resolution": "off: it was not measured to help",
    "augment.motion": "off: it was not measured to help",
    "augment.ghosting": "off: it was not measured to help",
    "augment.artefact_chance": "off",
    "augment.cutout": "off: made no difference on small sets",
    "augment.cutout_chance": "off",
    "augment.mixup": "off: underfits small sets",
    "network.norm": "statistics of the batch: quickest to learn where all images are in one place",
    "network.depth": "three stages see enough of an image of this size",
    "network.weights": "none: nothing is downloaded unless asked for",
    "network.trainable_layers": "everything is trained, since nothing is pretrained",
    "fit.optimiser": "AdamW with a fused step (Loshchilov 2019)",
    "fit.learning_rate": "high, as batch normalisation allows; tenfold less lost AUROC on small sets",
    "fit.layer_decay": "all layers learn alike, since nothing is pretrained",
    "fit.micro_batch": "the whole batch passes at once, and is halved where memory does not suffice",
    "fit.focal_gamma": "of no effect on cross-entropy",
    "fit.compile": "on a GPU where the training is long",
    "fit.unfreeze": "no stages: everything is trained from the first epoch",
    "fit.cache_frozen": "nothing is frozen, so nothing is kept",
    "fit.weight_decay": "light; norms and biases are not decayed",
    "fit.momentum": "of no effect on AdamW",
    "fit.schedule": "warm-up, then a cosine to zero: the end needs no choosing",
    "fit.warmup": "a tenth of the steps",
    "fit.patience": "off: the schedule ends by itself",
    "fit.label_smoothing": "labels of medical images are not certain",
    "fit.mark_weight": "of effect where a network pools by attention and the label table marks findings",
    "fit.gradient_clip": "a single odd batch cannot throw the weights",
    "mitigation.method": "off: which groups must be treated alike is for people to say",
    "mitigation.by": "off",
    "mitigation.step_size": "off",
    "mitigation.adjustment": "off",
    "mitigation.least_patients": "below ten patients a group's classes cannot be balanced",
    "mitigation.thresholds_per_group": "off: only people may decide to treat groups differently",
    "mitigation.consent": "nobody was asked",
    "validation.folds_by": "patients are dealt into folds of equal classes",
    "validation.outer_folds": "off: nothing is chosen on the cases that are reported",
    "validation.threshold_target": "of no effect on this rule",
    "validation.test_time_views": "of no effect unless views are augmented",
    "validation.conformal_error": "a set of possible classes misses the right one in one of ten patients",
    "validation.error_limit": "off: which error may be borne is for people to say, not for the data",
    "validation.unlike_share": "one in a hundred patients like those of the training may be called unlike",
    "pretrain.epochs": "off: it takes time, and is worth it where many images have no label",
    "pretrain.batch_size": "off",
    "pretrain.learning_rate": "off",
    "pretrain.projection": "off",
    "export.onnx": "other programs can score with the model, and it is quicker on a CPU",
    "export.int8": "off: coarser numbers are for whoever asks for them",
    "export.int8_loss": "off",
    "seed": "given, or 0",
    "threads": "all cores; on a CPU members train side by side, one thread each",
    "device": "a GPU where there is one",
    "budget_minutes": "given, or 8",
}


@dataclass(frozen=True)
class Detail:
    """What is done for pictures of more than 144² pixels: so many are kept, and plan values are changed."""

    side: float
    changes: tuple[tuple[str, object], ...] = ()
    why: str = ""


@dataclass(frozen=True)
class _Choice:
    """A section of a plan with the reason of each of its values."""

    section: Any
    reasons: dict[str, str]


def design(
    facts: Fingerprint,
    encoding: LabelEncoding,
    *,
    seed: int = 0,
    budget_minutes: float = 8.0,
    detail: Detail | None = None,
    fast_bfloat16: bool = False,
) -> Plan:
    """A plan for these facts; nothing is trained. `within_budget` then fits it to the machine.

    A picture keeps about 144² pixels, or what `detail` asks for. `fast_bfloat16` says whether the chip
    computes faster in bfloat16 than in float32.
    """
    if min(facts.size[1:]) < 8:
        raise BadInput(f"the images are {facts.size[1]}×{facts.size[2]} pixels; expected at least 8×8")
    fine = detail if facts.is_flat and math.prod(facts.size) > _SIDE**2 else None
    arriving = _input(facts, fine.side if fine else _SIDE)
    size = arriving.section.size
    chosen = {
        "input": arriving,
        "augment": _augment(facts, size),
        "network": _network(facts),
        "fit": _fit(facts, encoding, fast_bfloat16=fast_bfloat16),
        "validation": _validation(facts),
    }
    reasons = {f"{s}.{k}": why for s, choice in chosen.items() for k, why in choice.reasons.items()}
    reasons |= ALWAYS
    sections = {name: choice.section for name, choice in chosen.items()}
    plan = Plan(seed=seed, budget_minutes=budget_minutes, reasons=reasons, **sections)
    if fine is None:
        return plan
    asked = dict(fine.changes)
    return plan.changed(asked).model_copy(update={"reasons": {**reasons, **dict.fromkeys(asked, fine.why)}})


def _input(facts: Fingerprint, side: float) -> _Choice:
    why: dict[str, str] = {}
    crop = facts.modality == "MG"
    size = _flat_size(facts, why, side) if facts.is_flat else _volume_size(facts, why)
    uneven = facts.aspects[1] > 1.25 * facts.aspects[0]
    fit = "pad" if uneven and not crop else "stretch"
    why["fit"] = (
        f"aspect ratios differ ({facts.aspects[0]:.2f} to {facts.aspects[1]:.2f}): padded, not distorted"
        if fit == "pad"
        else "aspect ratios are alike; nothing is distorted much"
    )
    if crop:
        why["crop_foreground"] = "mammograms are mostly air: cut to the breast"
    why["channels"] = "colour images" if facts.channels == 3 else "grey images"
    why["crop_foreground"] = why.get("crop_foreground", "the whole frame may matter")
    why["interpolation"] = "averaging where images shrink keeps fine structure from aliasing"
    why["window"] = "not used by the z-score"
    normalise: Literal["zscore", "window"] = "zscore"
    window: tuple[float, ...] = ()
    why["normalise"] = "each image to mean 0 and spread 1: scanners and exposures differ"
    if facts.modality == "CT":
        low, high = facts.levels
        normalise, window = "window", ((low + high) / 2, max(1.0, high - low))
        why["normalise"] = "Hounsfield units mean the same everywhere: one window for all"
        why["window"] = "centre and width of the 0.5 to 99.5 percentile of development voxels"
    section = Input(
        size=size, channels=3 if facts.channels == 3 else 1, fit=fit, crop_foreground=crop,
        interpolation="area", normalise=normalise, window=window,
    )  # fmt: skip
    return _Choice(section, why)


def _flat_size(facts: Fingerprint, why: dict[str, str], most: float) -> tuple[int, int, int]:
    _, rows, columns = facts.size
    side = math.sqrt(rows * columns)
    if side <= 40:
        why["size"] = f"images are small ({rows}×{columns}): kept as they are"
        return 1, rows, columns
    want = min(side, most)
    aspect = 1.0 if facts.modality != "MG" else math.sqrt(1.6)
    aspect = min(2.0, max(0.5, rows / columns)) ** 0.5 if facts.modality != "MG" else aspect
    why["size"] = f"median {rows}×{columns}, brought to about {want:.0f}² pixels at the same aspect"
    return 1, _multiple(want * aspect, 16), _multiple(want / aspect, 16)


def _volume_size(facts: Fingerprint, why: dict[str, str]) -> tuple[int, int, int]:
    shrink = min(1.0, (64**3 / math.prod(facts.size)) ** (1 / 3))
    why["size"] = f"median {facts.size[0]}×{facts.size[1]}×{facts.size[2]}, shrunk to at most 64³ voxels"
    k, j, i = (_multiple(max(n * shrink, 8), 4) for n in facts.size)
    return k, j, i


def _multiple(x: float, of: int) -> int:
    return max(of, round(x / of) * of)


def _tilt(facts: Fingerprint, size: tuple[int, int, int], why: dict[str, str]) -> float:
    """Volumes are tilted where their voxels reach the network about as deep as they are wide."""
    if facts.is_flat:
        why["tilt_deg"] = "off: a 2D image has no slices to be turned out of"
        return 0.0
    known = facts.spacing_mm or tuple(1 / n for n in facts.size)  # unknown: a field of view like a cube
    deep, *wide = (s * n / m for s, n, m in zip(known, facts.size, size, strict=True))
    ratio = deep / math.sqrt(math.prod(wide))
    if not 0.5 <= ratio <= 2:
        guess = "" if facts.spacing_mm else ", as far as their number tells"
        why["tilt_deg"] = f"off: voxels are {ratio:.1f} times as deep as wide{guess}"
        return 0.0
    why["tilt_deg"] = "heads and bodies nod and lean a little"
    return 5.0


def _augment(facts: Fingerprint, size: tuple[int, int, int]) -> _Choice:
    mirror = MIRROR.get(facts.modality)
    tell_tale = facts.sharpness_auroc >= TELL_TALE
    why = {
        "rotation_deg": "patients lie or stand a little turned",
        "zoom": "bodies and distances differ",
        "shift_width": "positions in the frame differ",
        "shift_height": "positions in the frame differ",
        "shift_slices": "off: a 2D image has no slices"
        if facts.is_flat
        else "scans begin at different heights of the body",
        "shear_deg": "a little obliqueness",
        "gamma": "tone curves of scanners differ; brightness and contrast are taken out by the z-score",
        "sharpness": f"sharpness alone tells the classes apart (AUROC {facts.sharpness_auroc:.2f}): "
        "varied, lest it be learned"
        if tell_tale
        else f"off: sharpness does not give the answer away (AUROC {facts.sharpness_auroc:.2f})",
        "noise": "doses differ",
        "brightness": "off: the z-score takes it out",
        "contrast": "off: the z-score takes it out",
        "flip_left_right": mirror or f"{facts.modality}: left and right are not alike; no mirroring",
        "fill": "edges mirrored, so that no artificial border is learned",
        "bias_field": "MR coils shade the image a little"
        if facts.modality == "MR"
        else "off: coils shade MR images only",
    }
    if facts.modality == "CT":
        why |= {
            "brightness": "off: Hounsfield units are calibrated",
            "contrast": "off: Hounsfield units are calibrated",
        }
        why["gamma"] = "kernels and contrast agents differ a little"
    section = Augment(
        rotation_deg=10, tilt_deg=_tilt(facts, size, why), shift_width=0.08, shift_height=0.08,
        shift_slices=0.0 if facts.is_flat else 0.08, zoom=0.15, shear_deg=5, noise=0.1,
        bias_field=0.2 if facts.modality == "MR" else 0.0,
        gamma=0.2 if facts.modality == "CT" else 0.5, sharpness=0.7 if tell_tale else 0.0,
        flip_left_right=mirror is not None, fill="reflect",
    )  # fmt: skip
    return _Choice(section, why)


def _network(facts: Fingerprint) -> _Choice:
    why = {
        "name": f"{facts.n} images, no pretrained weights assumed: pairs of convolutions from random numbers",
        "width": "wide where few images make it affordable, narrow where many make it slow",
        "dropout": "few images: the head is kept from leaning on single channels",
    }
    return _Choice(
        Network(name="plain", width=32 if facts.is_flat and facts.n < 2500 else 16, depth=3, dropout=0.3), why
    )


def _fit(facts: Fingerprint, encoding: LabelEncoding, *, fast_bfloat16: bool) -> _Choice:
    loss = "cross_entropy" if encoding.kind == "multiclass" else "binary_cross_entropy"
    seen = facts.n * 0.8
    epochs = int(min(200, max(8, round(150 * (500 / seen) ** (2 / 3)))))
    rare = facts.imbalance >= 5
    batch = 64 if facts.n >= 400 and facts.is_flat else 32 if facts.n >= 100 else 16
    why = {
        "loss": f"{encoding.kind} labels",
        "class_weights": f"largest class {facts.imbalance:.1f} times the smallest: "
        + ("classes weigh alike" if rare else "cases weigh alike, the threshold sees to the balance"),
        "epochs": f"falls with the number of images: {epochs * round(seen):,} shown to each member",
        "batch_size": f"{facts.n} development cases",
        "weight_average": "an exponential mean of the weights is steadier than the last step",
        "choose": "the last epoch: choosing the best on the validation fold would flatter that fold",
        "precision": "this chip is faster in bfloat16"
        if fast_bfloat16
        else "this chip is not faster in bfloat16",
    }
    section = Fit(
        optimiser="adamw", learning_rate=1e-2, weight_decay=0.02, schedule="cosine", warmup=0.1,
        epochs=epochs, batch_size=batch, loss=loss, class_weights=rare, label_smoothing=0.05,
        mark_weight=1.0, weight_average=0.99,
        choose="last", gradient_clip=5.0, precision="bfloat16" if fast_bfloat16 else "float32",
    )  # fmt: skip
    return _Choice(section, why)


def _validation(facts: Fingerprint) -> _Choice:
    mirrored, rare = facts.modality in MIRROR, facts.imbalance >= 5
    why = {
        "folds": "every development case validates once, so that the threshold rests on all of them",
        "members": "one network a fold and one more, for they train in pairs; their mean is steadier",
        "test_time": "the mirrored image is scored too"
        if mirrored
        else "left and right differ: not mirrored",
        "threshold_rule": "a class is rare: Youden's index, whatever the prevalence"
        if rare
        else "a calibrated probability of one half: the most cases right at this prevalence",
        "calibrate": "fitted on validation logits, so that scores are probabilities",
        "calibrate_on": "augmented views stand in for other scanners and positions",
    }
    section = Validation(
        folds=5, members=6, test_time="flip" if mirrored else "none",
        threshold_rule="youden" if rare else "half", calibrate_on="augmented",
    )  # fmt: skip
    return _Choice(section, why)


def within_budget(
    plan: Plan, seconds_per_image: float, *, n: int, beside: int, fixed: Collection[str] = ()
) -> Plan:
    """Shorten the plan where its training would outlast the budget on this machine.

    `seconds_per_image` is one training step, measured; `n` the development cases; `beside` the members that
    train at once. Epochs are cut to no less than half, then members to no less than train at once, then
    epochs to no less than three. Keys in `fixed` were set by the user and stay.
    """
    seen = n * (1 - 1 / plan.validation.folds)
    epochs, members = plan.fit.epochs, plan.validation.members

    def affordable(count: int) -> int:
        rounds = math.ceil(count / min(beside, count))
        return int(plan.budget_minutes * 60 / (rounds * seen * seconds_per_image))

    note = f"training one image takes {1000 * seconds_per_image:.2f} ms here (measured)"
    reasons = {**plan.reasons, "budget_minutes": note}
    fewest = members if "validation.members" in fixed else min(beside, members)
    enough = epochs if "fit.epochs" in fixed else epochs / 2
    kept = next((m for m in range(members, fewest - 1, -1) if affordable(m) >= enough), fewest)
    if kept < members:
        reasons["validation.members"] = f"cut from {members} to {kept} by the time budget"
    shortened = epochs if "fit.epochs" in fixed else min(epochs, max(3, affordable(kept)))
    if shortened < epochs:
        reasons["fit.epochs"] = f"cut from {epochs} to {shortened} by the time budget"
    return plan.model_copy(
        update={
            "fit": plan.fit.model_copy(update={"epochs": shortened}),
            "validation": plan.validation.model_copy(update={"members": kept}),
            "reasons": reasons,
        }
    )
