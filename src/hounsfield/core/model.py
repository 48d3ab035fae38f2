"""A trained model: a directory of safetensors and JSON, and what must be known to use it safely."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Plan

__all__ = [
    "Calibration",
    "Cleaning",
    "Curve",
    "Form",
    "GroupPoint",
    "Model",
    "OperatingPoint",
    "Referral",
    "Typicality",
]


@dataclass(frozen=True, slots=True)
class GroupPoint:
    """The thresholds of one group ("sex=F, site=A"), one an output, and how many chose them."""

    group: str
    values: tuple[float, ...]
    n: int = 0
    n_patients: int = 0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The score at or above which a case is called positive, and how it was chosen.

    `values` holds one threshold an output; `low` and `high` bound the first by bootstrap over patients. Where
    people consented to thresholds that differ by group, `by` names the columns and `groups` holds them.
    """

    values: tuple[float, ...]
    rule: str
    chosen_on: str
    n: int = 0
    low: float | None = None
    high: float | None = None
    by: tuple[str, ...] = ()
    groups: tuple[GroupPoint, ...] = ()


Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Rising points: log odds before, and the probability after; linear between them, level beyond."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How logits become probabilities: logit / `temperature` + `bias` (Guo 2017), then sigmoid or softmax.

    `shifts` are one bias a class, added to the logits of several classes. `curves`, one an output, take the
    place of all these ("isotonic"). In a multi-label task `outputs` holds the calibration of each output.

    >>> Calibration("temperature and bias", 1.7, -0.4).text
    'temperature and bias: temperature 1.700, bias -0.400'
    """

    method: str = "none"
    temperature: float = 1.0
    bias: float = 0.0
    shifts: tuple[float, ...] = ()
    curves: tuple[Curve, ...] = ()
    outputs: tuple[Calibration, ...] = ()

    @property
    def text(self) -> str:
        """The calibration in words with its numbers."""
        if self.outputs:
            return "each output by itself: " + "; ".join(c.text for c in self.outputs)
        if self.method == "none":
            return "none"
        if self.curves:
            return f"{self.method}: a rising curve of {sum(len(x) for x, _ in self.curves)} points"
        shifts = f", shifts {', '.join(f'{s:.3f}' for s in self.shifts)}" if self.shifts else ""
        return f"{self.method}: temperature {self.temperature:.3f}, bias {self.bias:.3f}{shifts}"


@dataclass(frozen=True, slots=True)
class Referral:
    """When a case goes to a reader; all of it fitted on validation cases.

    `quantiles` (outputs, classes of the output) are of conformal sets (least ambiguous sets, by class) that
    miss the right class in at most `error` of patients to come: a class may hold where one minus its
    probability is at most its quantile; infinity lets it always hold. There is one row of them, and for a
    multi-label task one (absent, present) an output. Empty: no sets were asked for.

    `confidence` is the least at which at most `error_limit` of the kept calls are wrong; None where
    no limit was asked for (`error_limit` 0), or where it cannot be kept: then every case is referred.
    `notes` say in words what could not be fitted, and why. `n` and `n_patients` were fitted on.
    """

    error: float = 0.0
    quantiles: tuple[tuple[float, ...], ...] = ()
    error_limit: float = 0.0
    certainty: float = 0.95
    confidence: float | None = None
    n: int = 0
    n_patients: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Typicality:
    """Where it is kept how the training images look, and below which p an image is unlike them.

    `file` lies beside the weights and holds means and spreads of measures of the development images, and
    how odd each of `n_patients` is among the others: no image, and no identity. It is empty where there
    are too few of them, and `note` says so. `digest` is the SHA-256 of the file.
    """

    file: str = ""
    digest: str = ""
    limit: float = 0.0
    modalities: tuple[str, ...] = ()
    n: int = 0
    n_patients: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What is tidied in a predicted mask, one value a structure in the order of the labels 1, 2, …

    `largest_only` keeps the largest component, `least_mm3` drops components of less volume (0: none; voxels
    where no spacing is known), `fill` closes holes. All were chosen on validation cases; `notes` say in words
    what was tried and what it gained.

    >>> Cleaning((True, False), (0.0, 12.5), (False, False)).text(("anterior", "posterior"))
    'anterior: the largest component only; posterior: components below 12.5 mm³ dropped'
    """

    largest_only: tuple[bool, ...] = ()
    least_mm3: tuple[float, ...] = ()
    fill: tuple[bool, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.largest_only) == len(self.least_mm3) == len(self.fill):
            raise BadInput("a cleaning of masks has another number of structures in each of its parts")

    @property
    def changes(self) -> bool:
        """True where anything is tidied at all."""
        return any(self.largest_only) or any(self.fill) or any(m > 0 for m in self.least_mm3)

    def text(self, structures: tuple[str, ...]) -> str:
        """What is tidied in words, "none" where nothing is."""
        said = []
        for name, largest, least, fill in zip(
            structures, self.largest_only, self.least_mm3, self.fill, strict=True
        ):
            parts = ["the largest component only"] if largest else []
            parts += [f"components below {least:g} mm³ dropped"] if least > 0 else []
            parts += ["holes filled"] if fill else []
            said += [f"{name}: {', '.join(parts)}"] if parts else []
        return "; ".join(said) or "none"


@dataclass(frozen=True, slots=True)
class Form:
    """A member's weights in another file, or why there is none: "onnx", or "int8" (ONNX in 8-bit integers).

    It was made of weights whose SHA-256 is `weights`, and its own is `digest`, so that a stale file is
    never used. `lost` is what it was tested for on `n` images: the largest difference of its logits from
    torch's as a share of their spread ("onnx"), or the accuracy it loses ("int8"); above `limit` nothing
    was kept, and `file` is empty. `note` says what was measured in words.
    """

    member: str
    kind: Literal["onnx", "int8"]
    file: str
    weights: str
    digest: str
    lost: float | None
    limit: float
    n: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """The plan, weights by file name, label encoding, calibration, operating point and card.

    `members` are safetensors files in `directory`; the prediction is the mean of their probabilities.
    `data_digest` is the hash of the cohort it was trained on. `forms` are the members as ONNX. `referral` and
    `typicality` say when a case goes to a reader; `cleaning` how predicted masks are tidied. A model of an
    older version has none of them.
    """

    directory: Path
    plan: Plan
    encoding: LabelEncoding
    members: tuple[str, ...]
    operating_point: OperatingPoint
    calibration: Calibration = Calibration()
    data_digest: str = ""
    card: dict[str, str] = field(default_factory=dict)
    forms: tuple[Form, ...] = ()
    referral: Referral | None = None
    typicality: Typicality | None = None
    cleaning: Cleaning | None = None

    def form(self, member: str, kind: Literal["onnx", "int8"]) -> Form | None:
        """A member's weights in this form, None where it was not kept."""
        return next((f for f in self.forms if (f.member, f.kind) == (member, kind) and f.file), None)
