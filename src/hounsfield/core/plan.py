"""The one configuration: readable, editable, hashed; an unknown key is refused.

`design` writes it from the data, a user may edit it and rerun. Every section says what a step does;
`reasons` says in one line why each value was chosen.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hounsfield.core.errors import BadInput
from hounsfield.core.registry import nearest

__all__ = ["Augment", "Fit", "Input", "Network", "Plan", "Validation"]

Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Input(_Section):
    """What reaches the network: size in voxels (k, j, i), channels, and how values are normalised.

    `spacing_mm` (k, j, i) resamples volumes first; empty keeps the grid. `normalise` is
    "zscore" (per image), "unit" (stored range to [0, 1]), "percentile" (0.5 to 99.5 % of the image
    to [0, 1]) or "window" (`window` = centre and width in the image's units, to [0, 1]).
    """

    size: tuple[Positive, Positive, Positive] = (1, 64, 64)
    channels: Literal[1, 3] = 1
    spacing_mm: tuple[float, ...] = ()
    fit: Literal["stretch", "pad"] = "stretch"
    crop_foreground: bool = False
    interpolation: Literal["area", "linear", "cubic"] = "area"
    normalise: Literal["zscore", "unit", "percentile", "window"] = "zscore"
    window: tuple[float, ...] = ()

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
        return self


class Augment(_Section):
    """Random changes to a training image; each range is drawn uniformly, 0 switches a part off.

    Angles in degrees; shifts and zoom as a fraction of the image (zoom .2: factor .8 to 1.2);
    shear in degrees; brightness and noise in units of the normalised image's spread; contrast as a
    fraction about 1; gamma as the largest |log| of the exponent; sharpness 1 ranges from a binomial
    blur to as much sharpening; `cutout` is the largest side as a fraction; `mixup` is the alpha
    of the beta distribution (Zhang 2018); the chances are probabilities.
    """

    rotation_deg: Amount = 0.0
    shift: Amount = 0.0
    shear_deg: Amount = 0.0
    zoom: float = Field(0.0, ge=0, lt=1)
    flip_left_right: bool = False
    flip_up_down: bool = False
    flip_slices: bool = False
    fill: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"
    brightness: Amount = 0.0
    contrast: Amount = 0.0
    gamma: Amount = 0.0
    noise: Amount = 0.0
    sharpness: Amount = 0.0
    cutout: float = Field(0.0, ge=0, le=1)
    cutout_chance: float = Field(0.5, ge=0, le=1)
    mixup: Amount = 0.0


class Network(_Section):
    """A network by its registered name, or "timm:NAME" for a backbone of timm.

    `weights` is "" (start from random numbers), "pretrained" (timm's hub or cache), or a local
    safetensors file. `trainable_layers` = N freezes all but the last N layers of the backbone;
    -1 trains everything.
    """

    name: str = "compact"
    width: int = 32
    depth: int = 3
    dropout: float = 0.0
    weights: str = ""
    trainable_layers: int = -1


class Fit(_Section):
    """How the weights are found: optimiser, schedule, loss, when to stop.

    `patience` epochs without a better validation loss end the training (0: never); `choose` takes the
    weights of the best epoch or of the last; `weight_average` is the decay of an exponential mean of the
    weights (0: none); `precision` "bfloat16" computes in mixed
    precision, "auto" where the chip is faster so.
    """

    optimiser: Literal["sgd", "rmsprop", "adam", "adamw"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["constant", "cosine", "onecycle"] = "onecycle"
    warmup: float = Field(0.1, ge=0, lt=1)
    epochs: int = Field(30, ge=1)
    patience: int = Field(0, ge=0)
    batch_size: int = Field(32, ge=1)
    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    class_weights: bool = True
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    weight_average: float = Field(0.0, ge=0, lt=1)
    choose: Literal["best", "last"] = "best"
    gradient_clip: float = Field(0.0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class Validation(_Section):
    """How models are validated, combined, calibrated and cut.

    `folds` = k trains one member on each k-1 folds and validates it on the k-th, split by patient;
    `members` are trained: fewer than `folds` saves time, more go round again from other seeds.
    `test_time` averages over mirrored images ("flip") or not ("none"). Calibration is fitted on validation
    cases, as they are or under the plan's own augmentation, which stands in for other scanners
    (`calibrate_on`). The threshold is chosen by `threshold_rule` on validation cases only: "half" calls
    positive from a calibrated probability of one half.
    """

    folds: int = Field(5, ge=2, le=20)
    members: int = Field(5, ge=1, le=50)
    test_time: Literal["none", "flip"] = "none"
    threshold_rule: Literal["youden", "accuracy", "f1", "half"] = "youden"
    calibrate: Literal["temperature", "none"] = "temperature"
    calibrate_on: Literal["images", "augmented"] = "images"


class Plan(_Section):
    """Everything that decides a training run except the data.

    >>> plan = Plan(seed=3)
    >>> Plan.from_json(plan.to_json()) == plan
    True
    """

    name: str = "designed"
    task: Literal["classification"] = "classification"
    application: str = ""
    input: Input = Input()
    augment: Augment = Augment()
    network: Network = Network()
    fit: Fit = Fit()
    validation: Validation = Validation()
    seed: int = Field(0, ge=0)
    threads: int = Field(0, ge=0)
    device: str = "auto"
    budget_minutes: float = Field(8.0, gt=0)
    reasons: dict[str, str] = {}

    @field_validator("reasons")
    @classmethod
    def _reasons_are_lines(cls, value: dict[str, str]) -> dict[str, str]:
        return {k: " ".join(v.split()) for k, v in value.items()}

    def to_json(self) -> str:
        """The plan as indented JSON, sections in reading order."""
        return json.dumps(self.model_dump(mode="json"), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read a plan; BadInput names an unknown key and the nearest known one, or the bad value."""
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadInput(
                f"the plan is not JSON (line {error.lineno}: {error.msg}); correct it or design anew"
            ) from error
        return cls.checked(raw)

    @classmethod
    def checked(cls, raw: Any) -> Plan:
        """Validate a plan given as nested dicts; BadInput says which key or value is wrong."""
        if not isinstance(raw, dict):
            raise BadInput("the plan is not a JSON object; expected the keys of a plan.json")
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise BadInput(_first_fault(error)) from error

    def changed(self, changes: dict[str, Any]) -> Plan:
        """A new plan with dotted keys replaced, e.g. {"fit.epochs": 5}."""
        raw = self.model_dump(mode="json")
        for dotted, value in changes.items():
            *path, last = dotted.split(".")
            place: Any = raw
            for step in path:
                place = place.get(step) if isinstance(place, dict) else None
            if not isinstance(place, dict) or (last not in place and place is not raw["reasons"]):
                raise BadInput(f'unknown plan key "{dotted}"; {nearest(dotted, _known_keys())}')
            place[last] = value
            raw["reasons"][dotted] = "set by the user"
        return Plan.checked(raw)

    def digest(self) -> str:
        """A hash of every choice (not of the reasons, the thread count or the device)."""
        raw = self.model_dump(mode="json", exclude={"reasons", "threads", "device"})
        return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:16]


def _known_keys() -> list[str]:
    keys: list[str] = []
    for name, value in Plan().model_dump(mode="json").items():
        if isinstance(value, dict) and name != "reasons":
            keys += [f"{name}.{inner}" for inner in value]
        else:
            keys.append(name)
    return keys


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f'plan key "{where}" is unknown; {nearest(where, _known_keys())}'
    if fault["type"] == "value_error":
        return f"plan key {fault['ctx']['error']}"
    given = repr(fault.get("input"))[:60]
    return f'plan key "{where}" is {given}; {fault["msg"][0].lower()}{fault["msg"][1:]}'
