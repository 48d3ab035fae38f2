"""The one configuration: readable, editable, hashed; an unknown key is refused.

`design` writes it from the data, a user may edit it and rerun. Every section says what a step does;
`reasons` says in one line why each value was chosen.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from hounsfield.core.errors import BadInput
from hounsfield.core.plan_federation import Federation
from hounsfield.core.plan_regions import Detection, Grid, Segmentation
from hounsfield.core.plan_sections import (
    ORDER,
    Augment,
    Export,
    Fit,
    Input,
    Mitigation,
    Network,
    Pretrain,
    Section,
    Validation,
)
from hounsfield.core.registry import nearest

__all__ = [
    "ORDER",
    "Augment",
    "Detection",
    "Export",
    "Federation",
    "Fit",
    "Grid",
    "Input",
    "Mitigation",
    "Network",
    "Plan",
    "Pretrain",
    "Segmentation",
    "Task",
    "Validation",
]

Task = Literal["classification", "segmentation", "detection"]

_NO_CHOICE = dict.fromkeys(("reasons", "threads", "device"), True)
_PLACES = ("widest", "blocks", "strides", "kernels")
_OF_OTHERS: dict[str, dict[str, Any]] = {
    "classification": {
        **dict.fromkeys(("grid", "segmentation", "detection"), True),
        "network": dict.fromkeys(_PLACES, True),
    },
    "segmentation": {
        **dict.fromkeys(("input", "detection", "mitigation", "pretrain", "export"), True),
        "network": {"norm": True},
    },
    "detection": {
        **dict.fromkeys(("input", "segmentation", "mitigation", "pretrain", "export"), True),
        "network": {"norm": True},
    },
}
"""Sections and keys that say nothing in a task: they are neither written nor hashed."""

_LATER = (
    ("input", "fundus", "off"),
    ("augment", "transpose", False),
    ("network", "norm", "batch"),
    ("fit", "mark_weight", 0.0),
    ("grid", "orientation", ""),
    ("federation", "send_norms", True),
)
"""Keys that came later: at their usual value they are not hashed, so that older plans keep their hash."""


class Plan(Section):
    """Everything that decides a training run except the data.

    >>> plan = Plan(seed=3)
    >>> Plan.from_json(plan.to_json()) == plan
    True
    """

    name: str = "designed"
    task: Task = "classification"
    application: str = ""
    input: Input = Input()
    grid: Grid = Grid()
    segmentation: Segmentation = Segmentation()
    detection: Detection = Detection()
    augment: Augment = Augment()
    network: Network = Network()
    fit: Fit = Fit()
    mitigation: Mitigation = Mitigation()
    validation: Validation = Validation()
    pretrain: Pretrain = Pretrain()
    export: Export = Export()
    federation: Federation = Federation()
    seed: int = Field(0, ge=0)
    threads: int = Field(0, ge=0)
    device: str = "auto"
    budget_minutes: float = Field(8.0, gt=0)
    reasons: dict[str, str] = Field({})

    @field_validator("reasons")
    @classmethod
    def _reasons_are_lines(cls, value: dict[str, str]) -> dict[str, str]:
        return {k: " ".join(v.split()) for k, v in value.items()}

    def to_json(self) -> str:
        """The plan as indented JSON, sections of its task in reading order; of a federation only where there
        is one.
        """
        return json.dumps(self.model_dump(mode="json", exclude=self._unsaid()), indent=2)

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
            if (
                isinstance(value, dict) and not path
            ):  # a whole section: what it leaves out takes its usual value
                raw = Plan.checked(raw).model_dump(mode="json")
        return Plan.checked(raw)

    def digest(self) -> str:
        """A hash of every choice (not of the reasons, the thread count or the device)."""
        raw = self.model_dump(mode="json", exclude={**self._unsaid(), **_NO_CHOICE})
        for section, key, usual in _LATER:
            if raw.get(section, {}).get(key) == usual:
                del raw[section][key]
        return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:16]

    def _unsaid(self) -> dict[str, Any]:
        """Sections and keys that say nothing in this plan."""
        alone = {} if self.federation.on else {"federation": True}
        return {**_OF_OTHERS[self.task], **alone}


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
