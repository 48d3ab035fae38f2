"""A model as a directory of JSON and safetensors: written whole, read without unpickling anything."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.model import Calibration, Model, OperatingPoint
from hounsfield.core.plan import Plan
from hounsfield.io.files import write_text

__all__ = ["read_model", "write_model"]


def write_model(model: Model) -> None:
    """Write plan.json, model.json and card.md into the model's directory, where its weights lie."""
    facts = {
        "format": 1,
        "task": model.plan.task,
        "encoding": asdict(model.encoding),
        "members": list(model.members),
        "operating_point": asdict(model.operating_point),
        "calibration": asdict(model.calibration),
        "data_digest": model.data_digest,
        "plan_digest": model.plan.digest(),
        "card": model.card,
    }
    write_text(model.directory / "plan.json", model.plan.to_json() + "\n")
    write_text(model.directory / "card.md", _card(model))
    write_text(model.directory / "model.json", json.dumps(facts, indent=2) + "\n")


def read_model(folder: Path | str) -> Model:
    """The model in RUN/model or in the folder itself; BadInput says what is missing."""
    folder = Path(folder)
    home = folder / "model" if (folder / "model" / "model.json").is_file() else folder
    if not (home / "model.json").is_file():
        raise BadInput(
            f'"{folder.name}" holds no model (no model.json); expected the --out folder of a finished '
            "hu train; finish it with --resume, or name another"
        )
    try:
        facts = json.loads((home / "model.json").read_text())
        encoding = facts["encoding"]
        point = facts["operating_point"]
        model = Model(
            directory=home,
            plan=Plan.from_json((home / "plan.json").read_text()),
            encoding=LabelEncoding(encoding["kind"], tuple(encoding["classes"]), tuple(encoding["target"])),
            members=tuple(facts["members"]),
            operating_point=OperatingPoint(**{**point, "values": tuple(point["values"])}),
            calibration=Calibration(**facts["calibration"]),
            data_digest=facts["data_digest"],
            card=facts["card"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise BadInput(
            f"the model in {folder.name} cannot be read; expected the files that hu train wrote, unchanged; "
            "copy the folder again or train again"
        ) from error
    if any(Path(m).name != m for m in model.members):
        raise BadInput(f"the model in {folder.name} names weights outside its folder; train again")
    absent = [m for m in model.members if not (home / m).is_file()]
    if absent:
        raise BadInput(f"the model in {folder.name} lacks {absent[0]}; copy the whole folder again")
    return model


def _card(model: Model) -> str:
    point = model.operating_point
    lines = [
        "# Model card",
        "",
        *(f"- {key}: {value}" for key, value in model.card.items()),
        f"- classes: {', '.join(model.encoding.classes)} ({model.encoding.kind})",
        f"- threshold: {', '.join(f'{v:.4f}' for v in point.values) or 'none'} "
        f"({point.rule}, on {point.chosen_on}, n = {point.n})",
        f"- calibration: {model.calibration.method}, temperature {model.calibration.temperature:.3f}, "
        f"bias {model.calibration.bias:.3f}",
        f"- members: {len(model.members)}; data {model.data_digest}; plan {model.plan.digest()}",
        "",
        "## To be filled by a human",
        "",
        "- intended use and users:",
        "- out-of-scope use:",
        "- reference standard:",
        "- known limitations:",
        "",
    ]
    return "\n".join(lines)
