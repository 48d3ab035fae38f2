"""Facts that a report shows beside its numbers: flow, demographics, plan with reasons, environment."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hounsfield.core.cohort import Cohort
from hounsfield.core.index import Index
from hounsfield.core.model import Model
from hounsfield.core.plan import Plan

__all__ = ["context_of", "tables_of"]

PACKAGES = ("torch", "numpy", "scipy", "pydicom", "opencv-python-headless", "timm")


def tables_of(index: Index, cohort: Cohort, plan: Plan) -> dict[str, Any]:
    """Participant flow, classes and demographics per part, refused files, the plan with its reasons."""
    parts = {"development": cohort.development, "test": cohort.test}
    parts = {name: cases for name, cases in parts.items() if cases}
    patients = {name: len({c.patient for c in cases}) for name, cases in parts.items()}
    everyone = len({s.patient for s in index.series if s.patient}) or None
    flow = [
        ("images read", len(index.series), everyone, "files that are no image are listed below"),
        (
            "images with a usable label",
            len(cohort.cases),
            len({c.patient for c in cohort.cases}) if cohort.patients_known else None,
            "no label, or a class that was not asked for",
        ),
        *((name, len(cases), patients[name], "") for name, cases in parts.items()),
    ]
    return {
        "flow": [list(row) for row in flow],
        "notes": list(cohort.notes),
        "classes": {name: cohort.class_counts(cases) for name, cases in parts.items()},
        "demographics": _demographics(parts),
        "refused": [list(x) for x in Counter(r.reason for r in index.refused).most_common(12)],
        "plan": _plan_rows(plan),
    }


def context_of(model: Model, cohort: Cohort, seconds: Mapping[str, float], command: str) -> dict[str, Any]:
    """Versions, hashes and settings by which a run can be told from another and done again."""
    plan, encoding = model.plan, model.encoding
    return {
        "task": plan.task,
        "application": plan.application,
        "kind": encoding.kind,
        "classes": list(encoding.classes),
        "positive": encoding.positive_name if encoding.kind == "binary" else "",
        "target": list(encoding.target),
        "hounsfield": _version("hounsfield"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "plan_digest": plan.digest(),
        "data_digest": model.data_digest,
        "evaluated_digest": cohort.digest(),
        "seed": plan.seed,
        "device": plan.device,
        "seconds": dict(seconds),
        "command": command,
        "calibration": f"{model.calibration.method}: temperature {model.calibration.temperature:.3f}, "
        f"bias {model.calibration.bias:.3f}",
        "members": len(model.members),
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


def _plan_rows(plan: Plan) -> list[list[str]]:
    rows = []
    for name, value in plan.model_dump(mode="json").items():
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
