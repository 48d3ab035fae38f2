"""Facts that a report shows beside its numbers: flow, demographics, plan with reasons, environment."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hounsfield.core.cohort import Cohort
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Index
from hounsfield.core.model import Model
from hounsfield.core.plan import Plan

__all__ = ["context_of", "gates_of", "meaning_of", "tables_of", "versions"]

MOST_SOURCES, MOST_SHOWN = 24, 8
GATES = (
    ("patients_in_both_parts", "no patient in two parts", "hu train, hu evaluate (exit code 4)"),
    ("near_duplicates", "no picture in two parts", "hu train (exit code 4)"),
    ("onnx_parity", "ONNX gives the weights' logits", "hu train, hu export"),
    (
        "int8_accuracy_difference",
        "8-bit integers lose no more accuracy than the plan allows",
        "hu train, hu export",
    ),
)
MEANING = {
    "sex": "Patient's Sex (0010,0040), or the label table's column",
    "age band": "ten years of the Patient's Age (0010,1010), or of the label table's column",
    "site": "Institution Name (0008,0080), or the label table's column",
    "scanner": "Manufacturer and model (0008,0070), (0008,1090), or the label table's column",
    "view": "View Position (0018,5101), or the label table's column",
    "laterality": "Image Laterality (0020,0062), or the label table's column",
    "modality": "Modality (0008,0060), or the kind of file",
    "density": "breast density, of the label table",
}
ASKED = {
    "segmentation": (
        "images and masks read", "cases with outlines",
        "masks and further channels of a case, and images that nobody outlined", "what a reader outlined",
    ),
    "detection": (
        "images read", "cases that a reader has seen",
        "masks and further channels of a case, and images that nobody has looked at", "what a reader marked",
    ),
}  # fmt: skip
"""Of tasks that ask where something is: what was read, what a case is, what is left out, the label."""
PACKAGES = ("torch", "numpy", "scipy", "pydicom", "opencv-python-headless", "timm")


def tables_of(index: Index, cohort: Cohort, plan: Plan) -> dict[str, Any]:
    """Participant flow, classes and demographics per part, refused files, the plan with its reasons."""
    parts = {"development": cohort.development, "test": cohort.test}
    parts = {name: cases for name, cases in parts.items() if cases}
    patients = {name: len({c.patient for c in cases}) for name, cases in parts.items()}
    everyone = len({s.patient for s in index.series if s.patient}) or None
    usual = ("images read", "images that are used", "no label, or left out as the notes below say", "")
    read, used, why, label = ASKED.get(plan.task, usual)
    owners = len({c.patient for c in cohort.cases}) if cohort.patients_known else None
    flow = [
        (read, len(index.series), everyone, "files that are no image are listed below"),
        (used, len(cohort.cases), owners, why),
        *((name, len(cases), patients[name], "") for name, cases in parts.items()),
    ]
    return {
        "flow": [list(row) for row in flow],
        "notes": list(cohort.notes),
        "classes": {name: cohort.class_counts(cases) for name, cases in parts.items()},
        "demographics": _demographics(parts),
        "refused": [list(x) for x in Counter(r.reason for r in index.refused).most_common(12)],
        "sources": _sources(cohort),
        "dictionary": _dictionary(cohort, label),
        "plan": _plan_rows(plan),
    }


def versions() -> dict[str, Any]:
    """This package, Python, the system and the packages that numbers depend on."""
    return {
        "hounsfield": _version("hounsfield"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def context_of(model: Model, cohort: Cohort, seconds: Mapping[str, float], command: str) -> dict[str, Any]:
    """Versions, hashes and settings by which a run can be told from another and done again."""
    plan = model.plan
    return {
        "task": plan.task,
        "application": plan.application,
        **meaning_of(model),
        **versions(),
        "plan_digest": plan.digest(),
        "data_digest": model.data_digest,
        "model_digest": _digest(model),
        "evaluated_digest": cohort.digest(),
        "seed": plan.seed,
        "device": plan.device,
        "seconds": dict(seconds),
        "command": command,
        **({"calibration": model.calibration.text} if plan.task == "classification" else {}),
        **({"cleaning": model.cleaning.text(model.encoding.classes)} if model.cleaning else {}),
        "members": len(model.members),
    }


def meaning_of(model: Model) -> dict[str, Any]:
    """What the outputs mean."""
    encoding = model.encoding
    if model.plan.task != "classification":
        return {"classes": list(encoding.classes)}
    return {
        "kind": encoding.kind,
        "classes": list(encoding.classes),
        "positive": encoding.positive_name if encoding.kind == "binary" else "",
        "target": list(encoding.target),
    }


def _demographics(parts: Mapping[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    columns = sorted({g for cases in parts.values() for c in cases for g in c.groups})
    for column in columns:
        counted = {name: Counter(c.groups.get(column, "") for c in cases) for name, cases in parts.items()}
        values = sorted({v for counts in counted.values() for v in counts})
        if values == [""] or len(values) > 24:
            continue
        for value in values:
            rows.append([column, value or "not known", {name: n[value] for name, n in counted.items()}])
    return rows


def gates_of(looked: Sequence[Finding], metrics: Sequence[Finding]) -> list[dict[str, Any]]:
    """The gates that a changed model must pass, each with the command that executes it and how it stands.

    `looked` are the findings of the audit, of which those of the gates tell how they stand here.
    """
    found = {f.name: f for f in looked}
    rows = []
    for name, words, command in GATES:
        if name not in found:
            continue
        here = "stopped" if found[name].level == "stop" else "passed"
        rows.append({"gate": words, "executed by": command, "here": here})
    for f in metrics:
        if f.name in ("auroc", "sensitivity", "specificity") and not f.label and f.value is not None:
            text = f"{f.value:.3f} ({f.low:.3f} to {f.high:.3f})"
            rows.append(
                {
                    "gate": f"{f.name}: shown to be worse than here by less than the margin",
                    "executed by": "hu compare CHANGED RUN --not-worse MARGIN (exit code 4)",
                    "here": text,
                }
            )
    return rows


def _sources(cohort: Cohort) -> list[dict[str, Any]]:
    """Where the images come from: by site, modality and scanner, with the years; dates are not shown."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for case in cohort.cases:
        series = case.images[0]
        key = (case.groups.get("site", ""), series.modality, case.groups.get("scanner", ""))
        found.setdefault(key, []).append(case)
    rows = []
    for (site, modality, scanner), cases in sorted(found.items(), key=lambda x: -len(x[1]))[:MOST_SOURCES]:
        years = sorted({s.study_date[:4] for c in cases for s in c.images[:1] if s.study_date[:4].isdigit()})
        rows.append(
            {
                "site": site or "not recorded",
                "modality": modality or "not recorded",
                "scanner": scanner or "not recorded",
                "years": f"{years[0]} to {years[-1]}" if years else "not recorded",
                "images": len(cases),
                "patients": len({c.patient for c in cases}) if cohort.patients_known else "not recorded",
            }
        )
    return rows


def _dictionary(cohort: Cohort, meaning: str) -> list[dict[str, Any]]:
    """The label and every column that results are broken down by: what it is, its values, what is missing.

    `meaning` is what the label is where it is no class of the whole image.
    """
    encoding, cases = cohort.encoding, cohort.cases
    target = ", ".join(encoding.target) or "class of the image's folder"
    counts = cohort.class_counts(cases)
    label = {
        "column": target,
        "meaning": meaning
        or f"the label: {encoding.kind}"
        + (f", positive is {encoding.positive_name}" if encoding.kind == "binary" else ""),
        "values": ", ".join(f"{name} {count}" for name, count in counts.items()),
        "missing": sum(c.answer is None for c in cases),
    }
    rows = [label]
    for column in sorted({g for c in cases for g in c.groups}):
        values = Counter(c.groups.get(column, "") for c in cases)
        missing = values.pop("", 0)
        shown = [f"{value} {count}" for value, count in values.most_common(MOST_SHOWN)]
        more = f", and {len(values) - MOST_SHOWN} more" if len(values) > MOST_SHOWN else ""
        meaning = MEANING.get(column, "a column of the label table")
        listed = ", ".join(shown) + more if values else "none"
        rows.append({"column": column, "meaning": meaning, "values": listed, "missing": missing})
    return rows


def _digest(model: Model) -> str:
    """A hash over the weights of all members; empty where a file is not there."""
    found = hashlib.sha256()
    try:
        for member in model.members:
            found.update((model.directory / member).read_bytes())
    except OSError:
        return ""
    return found.hexdigest()[:16]


def _plan_rows(plan: Plan) -> list[list[str]]:
    rows = []
    for name, value in json.loads(plan.to_json()).items():
        if name == "reasons":
            continue
        cells = {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
        rows += [[key, str(v), plan.reasons.get(key, "")] for key, v in cells.items()]
    return rows


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
