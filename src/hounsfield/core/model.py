"""A trained model: a directory of safetensors and JSON, and what must be known to use it safely."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hounsfield.core.case import LabelEncoding
from hounsfield.core.plan import Plan

__all__ = ["Calibration", "Form", "Model", "OperatingPoint"]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The score at or above which a case is called positive, and how it was chosen.

    `values` holds one threshold an output; `low` and `high` bound the first by bootstrap over patients.
    """

    values: tuple[float, ...]
    rule: str
    chosen_on: str
    n: int = 0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature by which the logits are divided (Guo 2017); 1 leaves them as they are."""

    method: str = "none"
    temperature: float = 1.0
    bias: float = 0.0


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
    `data_digest` is the hash of the cohort it was trained on. `forms` are the members as ONNX.
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

    def form(self, member: str, kind: Literal["onnx", "int8"]) -> Form | None:
        """A member's weights in this form, None where it was not kept."""
        return next((f for f in self.forms if (f.member, f.kind) == (member, kind) and f.file), None)
