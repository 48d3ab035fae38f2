"""The sections of a plan: what reaches the network, how it is changed, which network, how it is trained,
validated and given away.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "ORDER",
    "Augment",
    "Export",
    "Fit",
    "Input",
    "Mitigation",
    "Network",
    "Pretrain",
    "Section",
    "Validation",
]

Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Chance = Annotated[float, Field(ge=0, le=1)]
ThresholdRule = Literal["youden", "accuracy", "f1", "sensitivity", "specificity", "cost", "half"]
Preparation = Literal["crop", "resample", "pad", "resize", "channels", "normalise"]

ORDER: tuple[Preparation, ...] = ("crop", "resample", "pad", "resize", "channels", "normalise")
"""The preparations of an image in their usual order; one that the plan switches off does nothing."""


class Section(BaseModel):
    """A frozen part of a plan that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Input(Section):
    """What reaches the network: size in voxels (k, j, i), channels, and how values are normalised.

    `order` is the order in which the preparations are executed: "crop" (to the foreground, if
    `crop_foreground`; to the circle of light, if `fundus`), "resample" (to `spacing_mm` (k, j, i), if it is
    not empty), "pad" (to the aspect of `size`, if `fit` is "pad"), "resize" (to `size`), "channels" and
    "normalise"; the numbers by which an image is normalised are measured on what it is at that point. Pixels
    stay integers of their own depth: the normalisation is applied when a batch is made.

    `normalise` is "zscore" (per image), "unit" (stored range to [0, 1], the article's rescale), "percentile"
    (two `percentiles` of the image to [0, 1]), "window" (`window` = centre and width in the image's units, to
    [0, 1]) or "histogram" (the image's percentiles to the `landmarks` of the development images, Nyúl 1999;
    empty landmarks are learned before training).

    `fundus` is for photographs of the fundus: "centred" finds the circle of light and cuts the square about
    it, "evened" makes each channel its contrast with its surroundings too.
    """

    size: tuple[Positive, Positive, Positive] = (1, 64, 64)
    channels: Positive = 1
    spacing_mm: tuple[float, ...] = ()
    fit: Literal["stretch", "pad"] = "stretch"
    crop_foreground: bool = False
    fundus: Literal["off", "centred", "evened"] = "off"
    interpolation: Literal["area", "linear", "cubic"] = "area"
    normalise: Literal["zscore", "unit", "percentile", "window", "histogram"] = "zscore"
    window: tuple[float, ...] = ()
    percentiles: tuple[float, float] = (0.5, 99.5)
    landmarks: tuple[float, ...] = ()
    order: tuple[Preparation, ...] = ORDER

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if len(self.spacing_mm) not in (0, 3) or any(s <= 0 for s in self.spacing_mm):
            raise ValueError("input.spacing_mm is not three lengths above 0 (k, j, i), nor empty; correct it")
        given = len(self.window) == 2 and self.window[1] > 0
        if (self.window and not given) or (self.normalise == "window" and not given):
            raise ValueError(
                "input.window is not a centre and a width above 0, which input.normalise=window needs; give "
                "both, e.g. input.window=[40,400]"
            )
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError("input.percentiles is not two rising numbers from 0 to 100; correct it")
        if sorted(self.order) != sorted(ORDER):
            raise ValueError(f"input.order does not hold each of {', '.join(ORDER)} once; correct it")
        if any(b <= a for a, b in pairwise(self.landmarks)):
            raise ValueError("input.landmarks do not rise; leave them empty to have them learned")
        return self


class Augment(Section):
    """Random changes to a training image; each range is drawn uniformly, 0 switches a part off.

    Spatial parts compose into one resampling. Angles in degrees (`tilt_deg` turns a volume out of its
    slices); shifts and zoom as a fraction of the image (zoom .2: factor .8 to 1.2); shear in degrees;
    `elastic` is the largest displacement as a fraction of the image, at control points `elastic_points` to
    an axis, with cubic B-splines between them. `transpose` exchanges axes of equal length, which with flips
    turns a cube in all 48 ways without drawing between its voxels. What lies outside the image is filled as
    `fill` says ("constant": with `fill_value`, in units of the normalised image).

    Intensities: brightness and noise in units of the normalised image's spread; contrast as a fraction about
    1; gamma as the largest |log| of the exponent; blur as the largest sigma in pixels; sharpness 1 ranges
    from a binomial blur to as much sharpening; `bias_field` is the largest |log| of a smooth factor;
    `low_resolution` the largest factor by which an image is coarsened and enlarged again; `motion` the
    largest move of a patient between the two halves of an MR acquisition, as a fraction of the image;
    `ghosting` the largest strength of its ghosts. `intensity_chance` is the probability of each of gamma,
    contrast, brightness, noise, blur, sharpness and bias field; `artefact_chance` that of each of low
    resolution, motion and ghosting.

    `cutout` is the largest side as a fraction; `mixup` is the alpha of the beta distribution (Zhang 2018).
    """

    rotation_deg: Amount = 0.0
    tilt_deg: Amount = 0.0
    shift_width: Amount = 0.0
    shift_height: Amount = 0.0
    shift_slices: Amount = 0.0
    shear_deg: float = Field(0.0, ge=0, lt=90)
    zoom: float = Field(0.0, ge=0, lt=1)
    flip_left_right: bool = False
    flip_up_down: bool = False
    flip_slices: bool = False
    transpose: bool = False
    elastic: float = Field(0.0, ge=0, lt=0.5)
    elastic_points: int = Field(7, ge=4, le=32)
    fill: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"
    fill_value: float = 0.0
    brightness: Amount = 0.0
    contrast: float = Field(0.0, ge=0, lt=1)
    gamma: Amount = 0.0
    noise: Amount = 0.0
    blur: Amount = 0.0
    sharpness: Amount = 0.0
    bias_field: Amount = 0.0
    intensity_chance: Chance = 1.0
    low_resolution: float = Field(1.0, ge=1)
    motion: float = Field(0.0, ge=0, lt=0.5)
    ghosting: Amount = 0.0
    artefact_chance: Chance = 0.25
    cutout: Chance = 0.0
    cutout_chance: Chance = 0.5
    mixup: Amount = 0.0

    @property
    def is_nothing(self) -> bool:
        """True if no image is ever changed."""
        return not (self.is_spatial or self.is_intensity or self.cutout or self.mixup)

    @property
    def is_spatial(self) -> bool:
        """True if images are moved: resampled or mirrored."""
        amounts = (
            self.rotation_deg, self.tilt_deg, self.shift_width, self.shift_height, self.shift_slices,
            self.shear_deg, self.zoom, self.elastic,
        )  # fmt: skip
        turned = self.flip_left_right or self.flip_up_down or self.flip_slices or self.transpose
        return any(amounts) or turned

    @property
    def is_intensity(self) -> bool:
        """True if values are changed."""
        amounts = (
            self.brightness, self.contrast, self.gamma, self.noise, self.blur, self.sharpness,
            self.bias_field, self.motion, self.ghosting,
        )  # fmt: skip
        return any(amounts) or self.low_resolution > 1


class Network(Section):
    """A network by its registered name, or "timm:NAME" for a backbone of timm.

    `weights` is "" (start from random numbers), "pretrained" (timm's hub or cache), or a local
    safetensors file. `trainable_layers` = N freezes all but the last N layers of the backbone;
    -1 trains everything. A volume takes the weights of a 2D network by inflation (Carreira 2017).

    `norm` "group" has "plain", "compact" and "attention" normalise each image by itself, in groups of
    channels (Wu 2018): no statistics of other patients reach an image, or leave a site.

    Of "unet" and "detector", `depth` stages double their channels from `width` to at most `widest`;
    `strides` and `kernels` (k, j, i) are one a stage (empty: halved where an axis is long enough, 3),
    `blocks` the residual blocks of each.
    """

    name: str = "compact"
    norm: Literal["batch", "group"] = "batch"
    width: int = 32
    depth: int = 3
    dropout: float = 0.0
    weights: str = ""
    trainable_layers: int = -1
    widest: Positive = 320
    blocks: Positive = 1
    strides: tuple[tuple[Positive, Positive, Positive], ...] = ()
    kernels: tuple[tuple[Positive, Positive, Positive], ...] = ()


class Fit(Section):
    """How the weights are found: optimiser, schedule, loss, when to stop.

    `patience` epochs without a better validation loss end the training (0: never); `choose` takes the
    weights of the best epoch or of the last; `weight_average` is the decay of an exponential mean of the
    weights (0: none); `precision` "bfloat16" computes in mixed precision, "auto" where the chip is faster so.

    `unfreeze` are pairs (epoch, layers): from that epoch on the last so many layers learn, -1 for all (Howard
    2018); empty leaves it to `network.trainable_layers`. `layer_decay` multiplies the learning rate once for
    each layer further from the head (1: all alike). `cache_frozen` computes the frozen first part of the
    network once for each image, where no augmentation changes what it sees.

    `loss`: "cross_entropy", "binary_cross_entropy", "focal" (Lin 2017, with `focal_gamma`), "ordinal" (the
    logarithmic score of every cumulative probability, for classes in rising order).

    `micro_batch` is how many images pass at once; gradients are accumulated over the batch (0: the whole
    batch, halved where memory does not suffice). `compile` has torch compile the network ("auto": on a GPU
    where the training is long).

    `mark_weight` weighs what teaches a network that pools by attention to look where the label table marks
    findings: the negative logarithm of the attention on them (0: it is told the classes alone).
    """

    optimiser: Literal["sgd", "rmsprop", "adam", "adamw"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    layer_decay: float = Field(1.0, gt=0, le=1)
    weight_decay: float = Field(1e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["constant", "cosine", "onecycle"] = "onecycle"
    warmup: float = Field(0.1, ge=0, lt=1)
    epochs: int = Field(30, ge=1)
    patience: int = Field(0, ge=0)
    batch_size: int = Field(32, ge=1)
    micro_batch: int = Field(0, ge=0)
    loss: Literal["cross_entropy", "binary_cross_entropy", "focal", "ordinal"] = "cross_entropy"
    focal_gamma: Amount = 2.0
    class_weights: bool = True
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    mark_weight: Amount = 0.0
    weight_average: float = Field(0.0, ge=0, lt=1)
    choose: Literal["best", "last"] = "best"
    gradient_clip: float = Field(0.0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    unfreeze: tuple[tuple[int, int], ...] = ()
    cache_frozen: bool = True

    @model_validator(mode="after")
    def _stages_rise(self) -> Self:
        epochs = [epoch for epoch, _ in self.unfreeze]
        if epochs and (epochs[0] != 0 or any(b <= a for a, b in pairwise(epochs))):
            raise ValueError(
                "fit.unfreeze is not pairs (epoch, layers) whose epochs rise from 0; "
                "correct it, e.g. fit.unfreeze=[[0,0],[3,4],[6,-1]]"
            )
        if any(layers < -1 for _, layers in self.unfreeze):
            raise ValueError("fit.unfreeze names a number of layers below -1; -1 stands for all; correct it")
        return self


class Mitigation(Section):
    """How training is kept from leaning on what tells groups of patients apart; off unless asked for.

    `by` names the group column, or several joined by "+" for their intersections ("sex+site"). `method`:
    "reweighting" weighs a case by P(group) P(class) / P(group, class) (Kamiran & Calders 2012);
    "matched_resampling" draws the cases of each epoch so that classes are as frequent in every group, each
    patient of a group and class as often as the others; "group_dro" minimises the loss of the worst group
    and class (Sagawa 2020), whose weights move by `step_size`, with `adjustment` / sqrt(n) added to the loss
    of a group of n cases. A group of fewer than `least_patients`, or without one of the classes, is pooled.

    `thresholds_per_group` gives every group its own threshold, chosen on validation cases. That treats
    patients differently by who they are: it needs `consent`, a text that says who decided it, when and why.
    """

    method: Literal["none", "reweighting", "matched_resampling", "group_dro"] = "none"
    by: str = ""
    step_size: float = Field(0.01, gt=0, le=1)
    adjustment: Amount = 0.0
    least_patients: int = Field(10, ge=2)
    thresholds_per_group: bool = False
    consent: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The group columns that `by` names."""
        return tuple(part.strip() for part in self.by.split("+") if part.strip())

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.method != "none" or self.thresholds_per_group) and not self.columns:
            asked = "mitigation.thresholds_per_group" if self.method == "none" else "mitigation.method"
            raise ValueError(
                f"{asked} is on, but mitigation.by names no group column; name it, e.g. mitigation.by=site"
            )
        if self.thresholds_per_group and len(self.consent.split()) < 3:
            raise ValueError(
                "mitigation.thresholds_per_group treats patients differently by their group, and "
                "mitigation.consent does not say who decided that, when, and why; a person must write it"
            )
        return self


class Validation(Section):
    """How models are validated, combined, calibrated and cut.

    `folds` = k trains one member on each k-1 folds and validates it on the k-th, split by patient;
    `members` are trained: fewer than `folds` saves time, more go round again from other seeds.
    `test_time` averages over mirrored images ("flip"), over `test_time_views` draws of the plan's own
    augmentation and the image itself ("augment"), or not ("none"). Calibration is fitted on validation
    cases, as they are or under the plan's own augmentation, which stands in for other scanners
    (`calibrate_on`). The threshold is chosen by `threshold_rule` on validation cases only: "half" calls
    positive from a calibrated probability of one half; "sensitivity" and "specificity" hold at least
    `threshold_target` of it and get the most of the other; "cost" makes the least false positives plus
    `threshold_target` x false negatives.

    `calibrate` is "temperature" (with a bias for each output that stands alone), "platt" (with a shift for
    each class), "isotonic" (any rising curve), "none", or "auto": the kind that loses least on patients
    whom its fit has not seen.

    A case is referred to a reader where more than one class may hold at `conformal_error` (0: never), where
    the model is less sure than it must be for an error of at most `error_limit` among the cases that it
    keeps (0: no such limit), and where its image is unlike the training images: odder than all but
    `unlike_share` of their patients (0: not looked at).

    `folds_by` names a group column each value of which is a fold, so that "site" leaves one site out at a
    time ("": patients are dealt); `folds` is then the number of its values. `outer_folds` above 0 reports
    nested cross-validation: each of so many parts of the patients is scored by members, a calibration and
    a threshold of which none has seen it.
    """

    folds: int = Field(5, ge=2, le=20)
    members: int = Field(5, ge=1, le=50)
    test_time: Literal["none", "flip", "augment"] = "none"
    test_time_views: int = Field(4, ge=1, le=64)
    threshold_rule: ThresholdRule = "youden"
    threshold_target: float = Field(0.0, ge=0)
    calibrate: Literal["auto", "temperature", "platt", "isotonic", "none"] = "temperature"
    calibrate_on: Literal["images", "augmented"] = "images"
    conformal_error: float = Field(0.1, ge=0, lt=1)
    error_limit: float = Field(0.0, ge=0, lt=1)
    unlike_share: float = Field(0.01, ge=0, lt=1)
    folds_by: str = ""
    outer_folds: int = Field(0, ge=0, le=20)

    @model_validator(mode="after")
    def _one_design(self) -> Self:
        held = self.threshold_rule in ("sensitivity", "specificity")
        if held and not 0 < self.threshold_target < 1:
            raise ValueError(
                f"validation.threshold_target is {self.threshold_target:g}; expected the "
                f"{self.threshold_rule} to hold, above 0 and below 1; give it, e.g. "
                "validation.threshold_target=0.95"
            )
        if self.threshold_rule == "cost" and not self.threshold_target > 0:
            raise ValueError(
                "validation.threshold_target is 0; expected how many false positives one false negative "
                "costs, above 0; give it, e.g. validation.threshold_target=10"
            )
        if self.outer_folds == 1:
            raise ValueError("validation.outer_folds is 1; expected 0 (off) or at least 2; correct it")
        if self.outer_folds and self.folds_by:
            raise ValueError(
                "validation.outer_folds and validation.folds_by are both set, but cases are left out either "
                "by patient or by group; choose one of the two"
            )
        return self


class Pretrain(Section):
    """Self-supervised pretraining on images without labels (VICReg, Bardes 2022), before `Fit`.

    `epochs` 0 leaves it out. What it found is kept only if a member validates better with it than without.
    """

    epochs: int = Field(0, ge=0)
    batch_size: int = Field(64, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    projection: int = Field(256, ge=8)


class Export(Section):
    """What is written beside the weights: ONNX, checked to give the same scores, and an int8 form of it.

    The int8 form is kept only if it loses at most `int8_loss` of the accuracy on validation cases.
    """

    onnx: bool = True
    int8: bool = False
    int8_loss: float = Field(0.01, ge=0, le=1)
