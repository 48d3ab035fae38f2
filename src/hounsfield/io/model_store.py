"""A model as a directory of JSON, safetensors and ONNX: written whole, read without unpickling anything."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.model import (
    Calibration,
    Cleaning,
    Form,
    GroupPoint,
    Model,
    OperatingPoint,
    Referral,
    Typicality,
)
from hounsfield.core.plan import Plan
from hounsfield.io.files import write_text

__all__ = ["digest_of", "form_content", "read_classifier", "read_model", "write_model"]


def write_model(model: Model) -> None:
    """Write plan.json, model.json and card.md into the model's directory, where its weights lie."""
    facts = {
        "format": 1,
        "task": model.plan.task,
        "encoding": asdict(model.encoding),
        "members": list(model.members),
        "operating_point": asdict(model.operating_point),
        "calibration": asdict(model.calibration),
        "referral": _finite(model.referral),
        "typicality": asdict(model.typicality) if model.typicality else None,
        "cleaning": asdict(model.cleaning) if model.cleaning else None,
        "data_digest": model.data_digest,
        "plan_digest": model.plan.digest(),
        "card": model.card,
        "forms": [asdict(form) for form in model.forms],
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
            operating_point=_operating_point(point),
            calibration=_calibration(facts["calibration"]),
            data_digest=facts["data_digest"],
            card=facts["card"],
            forms=tuple(Form(**form) for form in facts.get("forms", ())),
            referral=_referral(facts.get("referral")),
            typicality=_typicality(facts.get("typicality")),
            cleaning=_cleaning(facts.get("cleaning")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise BadInput(
            f"the model in {folder.name} cannot be read; expected the files that hu train wrote, unchanged; "
            "copy the folder again or train again"
        ) from error
    kept = (*model.members, *(f.file for f in model.forms), model.typicality.file if model.typicality else "")
    if any(Path(name).name != name for name in kept):
        raise BadInput(f"the model in {folder.name} names weights outside its folder; train again")
    needed = (
        *model.members,
        *([model.typicality.file] if model.typicality and model.typicality.file else []),
    )
    absent = [name for name in needed if not (home / name).is_file()]
    if absent:
        raise BadInput(f"the model in {folder.name} lacks {absent[0]}; copy the whole folder again")
    return model


def read_classifier(folder: Path | str, *, what: str) -> Model:
    """The model in RUN/model if it classifies; BadInput says that `what` is offered for no other."""
    model = read_model(folder)
    if model.plan.task != "classification":
        raise BadInput(
            f'"{Path(folder).name}" holds a model of {model.plan.task}; {what} offered for models that '
            "classify only; name another run"
        )
    return model


def _operating_point(facts: dict[str, Any]) -> OperatingPoint:
    """An operating point as it was written; that of an older version has no groups."""
    groups = tuple(GroupPoint(**{**g, "values": tuple(g["values"])}) for g in facts.get("groups", ()))
    return OperatingPoint(
        **{**facts, "values": tuple(facts["values"]), "by": tuple(facts.get("by", ())), "groups": groups}
    )


def _calibration(facts: dict[str, Any]) -> Calibration:
    """A calibration as it was written; that of an older version has neither shifts, curves nor outputs."""
    return Calibration(
        **{
            **facts,
            "shifts": tuple(facts.get("shifts", ())),
            "curves": tuple((tuple(x), tuple(y)) for x, y in facts.get("curves", ())),
            "outputs": tuple(_calibration(own) for own in facts.get("outputs", ())),
        }
    )


def _finite(referral: Referral | None) -> dict[str, Any] | None:
    """A referral rule as JSON holds it, which knows no infinity: null."""
    if referral is None:
        return None
    quantiles = [[q if math.isfinite(q) else None for q in row] for row in referral.quantiles]
    return {**asdict(referral), "quantiles": quantiles}


def _referral(facts: dict[str, Any] | None) -> Referral | None:
    if facts is None:
        return None
    quantiles = tuple(tuple(math.inf if q is None else float(q) for q in row) for row in facts["quantiles"])
    return Referral(**{**facts, "quantiles": quantiles, "notes": tuple(facts["notes"])})


def _typicality(facts: dict[str, Any] | None) -> Typicality | None:
    return Typicality(**{**facts, "modalities": tuple(facts["modalities"])}) if facts else None


def _cleaning(facts: dict[str, Any] | None) -> Cleaning | None:
    return Cleaning(**{name: tuple(values) for name, values in facts.items()}) if facts else None


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def form_content(model: Model, member: str, *, int8: bool = False) -> bytes | None:
    """The ONNX file of a member, None where it is not there or was not made of these very weights.

    With `int8` the 8-bit form, if it was kept, and otherwise the 32-bit one.
    """
    for form in (model.form(member, "int8") if int8 else None, model.form(member, "onnx")):
        path = model.directory / form.file if form else None
        if form and path and path.is_file() and digest_of(model.directory / member) == form.weights:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == form.digest:
                return content
    return None


def _card(model: Model) -> str:
    lines = [
        "# Model card",
        "",
        *(f"- {key}: {value}" for key, value in model.card.items()),
        *(_of_classes(model) if model.plan.task == "classification" else _of_places(model)),
        f"- members: {len(model.members)}; data {model.data_digest}; plan {model.plan.digest()}",
        *(f"- {form.file or form.kind}: {form.note}" for form in model.forms),
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


def _of_classes(model: Model) -> list[str]:
    """Classes, threshold and calibration of a classifier."""
    point = model.operating_point
    return [
        f"- classes: {', '.join(model.encoding.classes)} ({model.encoding.kind})",
        f"- threshold: {', '.join(f'{v:.4f}' for v in point.values) or 'none'} "
        f"({point.rule}, on {point.chosen_on}, n = {point.n})",
        *(
            f"- threshold where {g.group}: {', '.join(f'{v:.4f}' for v in g.values)} (n = {g.n})"
            for g in point.groups
        ),
        *([f"- consent to thresholds by group: {model.plan.mitigation.consent}"] if point.groups else []),
        f"- calibration: {model.calibration.text}",
    ]


def _of_places(model: Model) -> list[str]:
    """What is outlined or found, on which grid, and what was chosen for it on validation cases."""
    plan, point = model.plan, model.operating_point
    spacing = "×".join(f"{s:g}" for s in plan.grid.spacing_mm)
    patch, window = ("×".join(map(str, shape)) for shape in (plan.grid.patch, plan.grid.window))
    named = "structures" if plan.task == "segmentation" else "classes"
    voxels = f"{spacing} mm (k, j, i)" if spacing else "the voxels of each image"
    lines = [
        f"- {named}: {', '.join(model.encoding.classes)}",
        f"- channels: {', '.join(plan.grid.channels)}",
        f"- grid: {voxels}; patches of {patch}, windows of {window} voxels",
    ]
    if plan.segmentation.regions:
        lines.append(f"- regions: {', '.join(plan.segmentation.region_names)}")
    if plan.task == "detection":
        score = ", ".join(f"{v:.4f}" for v in point.values) or "none"
        lines.append(f"- called from a score of: {score} ({point.rule}, on {point.chosen_on}, n = {point.n})")
    return lines + [f"- cleaning of masks: {n}" for n in (model.cleaning.notes if model.cleaning else ())]
