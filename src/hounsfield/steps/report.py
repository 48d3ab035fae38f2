"""The evidence as one page to read and one file to compute with.

`report.html` stands alone: style, figures and pictures are inside it, it runs no script and asks no
network. `evidence.json` holds the same numbers; the page is drawn from exactly that content.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hounsfield.core.evidence import Evidence, Picture
from hounsfield.io.files import write_text
from hounsfield.steps import figures

__all__ = ["report"]

Row = dict[str, Any]
PHANTOM = "PHANTOM DATA - not patients; nothing here says anything about clinical performance"
SEVERITY = {"stop": 0, "warning": 1, "info": 2}
OVERALL = ("", "macro", "macro average")


def report(evidence: Evidence, pictures: tuple[Picture, ...], out: Path) -> Path:
    """Write `report.html` and `evidence.json` into the folder `out`; returns the page's path.

    What the evidence lacks is named as not measured; fields that only a person can answer stay blank.
    Raises BadInput where the folder cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = report(Evidence("Minimal"), (), Path(folder))
    ...     sorted(p.name for p in Path(folder).iterdir()), "Not measured" in page.read_text()
    (['evidence.json', 'report.html'], True)
    """
    content = _plain(evidence)
    machine = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(out / "evidence.json", machine + "\n")
    page = out / "report.html"
    write_text(page, _page(content, pictures))
    return page


def _plain(value: Any) -> Any:
    """The value in JSON's own types; what is not a finite number becomes None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Path):
        return value.name
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hounsfield.steps", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "count": _count, "plainly": _plainly}
    environment.filters |= {"words": _words, "metric": _metric_title, "entries": _entries}
    return environment


def _page(content: Row, pictures: Sequence[Picture]) -> str:
    checklist = _checklist(content, pictures)
    return (
        _environment()
        .get_template("report.html")
        .render(
            e=content,
            context=content["context"],
            tables=content["tables"],
            phantom_sentence=PHANTOM,
            alarms=_alarms(content),
            headline=_headline(content),
            hundreds=_hundreds(content),
            recalls=[f for f in content["metrics"] if _is_class_recall(f)],
            flow=_flow(content),
            audit=sorted(content["audit"], key=lambda f: SEVERITY.get(f["level"], 2)),
            metrics=_by_label(content),
            drawings=_drawings(content),
            subgroups=_subgroups(content),
            interventions=figures.forest_rows(content["interventions"]),
            gallery=_gallery(pictures),
            localisation=[f for f in _all_findings(content) if "localisation" in f["name"]],
            glossary=_asset("glossary.json"),
            checklist=checklist,
            tally=_tally(checklist),
            style=Markup(files("hounsfield.steps").joinpath("templates/report.css").read_text("utf-8")),
        )
    )


# Findings, as rows with their drawing


def _all_findings(content: Row) -> list[Row]:
    return [f for part in ("audit", "metrics", "subgroups", "interventions") for f in content[part]]


def _alarms(content: Row) -> list[Row]:
    loud = [f for f in _all_findings(content) if f["level"] in ("stop", "warning")]
    return sorted(loud, key=lambda f: SEVERITY[f["level"]])


def _by_label(content: Row) -> Row | None:
    """The metrics of everyone: first those over all classes, then class by class."""
    found = [f for f in content["metrics"] if not f["group"]]
    return _blocks(sorted(found, key=lambda f: f["label"] not in OVERALL), "label")


def _blocks(findings: list[Row], *keys: str) -> Row | None:
    """Forest rows in blocks that share the keys, each block in the order in which it first appears."""
    table = figures.forest_rows(findings)
    if table is None:
        return None
    blocks: dict[tuple[str, ...], list[Row]] = {}
    for row in table["rows"]:
        blocks.setdefault(tuple(row[key] for key in keys), []).append(row)
    return {**table, "blocks": list(blocks.values())}


def _find(content: Row, name: str, *, part: str = "metrics") -> Row | None:
    """The finding about everyone and all classes (or the positive one), if it was measured."""
    labels = (*OVERALL, content["context"].get("positive"))
    found = [f for f in content[part] if f["name"] == name and not f["group"] and f["label"] in labels]
    return found[0] if found else None


def _headline(content: Row) -> list[Row]:
    """The AUROC over all classes, or that of each class where there is no such number."""
    overall = _find(content, "auroc")
    if overall:
        return [overall]
    return [f for f in content["metrics"] if f["name"] == "auroc" and not f["group"]]


def _is_class_recall(finding: Row) -> bool:
    return (
        finding["name"] in ("recall", "sensitivity")
        and finding["label"] not in OVERALL
        and not finding["group"]
    )


def _hundreds(content: Row) -> list[Row]:
    """Sensitivity and specificity as counts out of a hundred; only a binary task has them."""
    if content["context"].get("kind", "binary") != "binary":
        return []
    counted = []
    for name in ("sensitivity", "specificity"):
        finding = _find(content, name)
        if not finding:
            continue
        hits = None if finding["value"] is None else round(100 * finding["value"])
        drawing = "" if hits is None else figures.hundred(hits, f"{name}: {hits} of 100")
        counted.append({**finding, "hits": hits, "drawing": drawing, "interval": _percent_span(finding)})
    return counted


def _percent_span(finding: Row) -> str:
    if finding["low"] is None or finding["high"] is None:
        return "no interval measured"
    return f"95 % CI {round(100 * finding['low'])} to {round(100 * finding['high'])}"


def _subgroups(content: Row) -> list[Row]:
    """For each group column its metrics, each with its groups; everyone's value is the reference."""
    columns: dict[str, list[Row]] = {}
    for finding in content["subgroups"]:
        pairs = [part.partition("=") for part in finding["group"].split(" & ")]
        column, value = (" × ".join(p[k] for p in pairs) for k in (0, 2))
        same = [
            f for f in content["metrics"] if (f["name"], f["label"]) == (finding["name"], finding["label"])
        ]
        overall = next((f for f in same if not f["group"]), None) or _find(content, finding["name"])
        row = {**finding, "member": value, "overall": overall}
        if overall:
            row["reference"] = overall["value"]
        columns.setdefault(column or "all", []).append(row)
    return [
        {"column": name, "table": _blocks(rows, "name", "label"), "smallest": min(rows, key=lambda f: f["n"])}
        for name, rows in columns.items()
    ]


# Chapters that need arranging


def _flow(content: Row) -> Row | None:
    """The steps from all that was found to the parts, each with how many cases it left out."""
    rows = content["tables"].get("flow")
    if not rows:
        return None
    parts = {name.lower() for name in content["tables"].get("classes", {})} | {
        "development",
        "test",
        "external",
    }
    steps: list[Row] = []
    branches: list[Row] = []
    for step, n_cases, n_patients, reason in rows:
        row = {"step": step, "n": n_cases, "n_patients": n_patients, "reason": reason, "dropped": 0}
        if step.lower() in parts:
            branches.append(row)
            continue
        if steps and None not in (steps[-1]["n"], n_cases):
            row["dropped"] = steps[-1]["n"] - n_cases
        steps.append(row)
    return {"steps": steps, "branches": branches}


def _drawings(content: Row) -> Row:
    """Every figure that the curves suffice for."""
    curves, tables = content["curves"], content["tables"]
    sensitivity, specificity = _find(content, "sensitivity"), _find(content, "specificity")
    measured = [f for f in (sensitivity, specificity) if f and f["value"] is not None]
    binary = len(measured) == 2 and len(curves.get("roc", {})) == 1
    crosshair = {"sensitivity": sensitivity, "specificity": specificity} if binary else None
    return {
        "roc": figures.roc(curves["roc"], crosshair) if curves.get("roc") else None,
        "crosshair": binary,
        "pr": figures.precision_recall(curves["pr"]) if curves.get("pr") else None,
        "calibration": {
            name: figures.calibration(curve, name, k)
            for k, (name, curve) in enumerate(curves.get("calibration", {}).items())
        },
        "scores": {
            name: figures.scores(counts, name, _threshold(tables, k, of=len(curves["scores"])))
            for k, (name, counts) in enumerate(curves.get("scores", {}).items())
        },
        "history": figures.learning(curves["history"]) if curves.get("history") else [],
    }


def _threshold(tables: Row, number: int, *, of: int) -> float | None:
    """The threshold of one output; a single number belongs to a single output only."""
    value = (tables.get("operating_point") or {}).get("value")
    if isinstance(value, list):
        return value[number] if len(value) == of else None
    return value if of == 1 else None


def _gallery(pictures: Sequence[Picture]) -> Row:
    """Wrong and right cases with their pictures, and whether pictures had to lose detail."""
    uris, reduced = figures.data_uris(pictures)
    shown = []
    for picture, row in zip(pictures, uris, strict=True):
        panels = [(title, uri) for (title, _), uri in zip(picture.panels, row, strict=True)]
        told = {"case": picture.case, "outcome": picture.outcome, "caption": picture.caption}
        shown.append({**told, "panels": panels})
    parts = [(name, [p for p in shown if p["outcome"] == name]) for name in ("wrong", "right")]
    other = [p for p in shown if p["outcome"] not in ("wrong", "right")]
    return {"parts": [*parts, *([("other", other)] if other else [])], "reduced": reduced, "n": len(shown)}


# The account of the checklist


def _checklist(content: Row, pictures: Sequence[Picture]) -> list[Row]:
    """Each item with its state, decided by whether the evidence holds what the item asks for."""
    task = str(content["context"].get("task", ""))
    account = []
    for item in _asset("checklist.json"):
        needs = item.get("needs", {})
        present = [what for what, where in needs.items() if _has(content, pictures, where)]
        missing = [what for what in needs if what not in present]
        if "tasks" in item and task and task not in item["tasks"]:
            state = "does not apply"
        elif not needs:
            state = "waits for a person"
        elif not present:
            state = "not answered"
        elif missing:
            state = "answered in part"
        else:
            state = "waits for a person" if item.get("person") else "answered"
        account.append({"person": "", **item, "state": state, "present": present, "missing": missing})
    return account


def _has(content: Row, pictures: Sequence[Picture], where: str) -> bool:
    """Whether the evidence holds any of the places that "|" separates; "~" asks for a part of the name."""
    return any(_has_one(content, pictures, *place.split(".", 1)) for place in where.split("|"))


def _has_one(content: Row, pictures: Sequence[Picture], kind: str, name: str) -> bool:
    if kind in ("context", "tables", "curves"):
        return content[kind].get(name) not in (None, "", [], {})
    if kind == "pictures":
        return any(p.outcome == name for p in pictures)
    if kind == "evaluated":
        return bool(content["context"].get("evaluated_on") == name)
    if kind == "column":
        return any(row[0] == name for row in content["tables"].get("demographics", []))
    if kind == "plan":
        return any(row[0] == name and row[1] for row in content["tables"].get("plan", []))
    return _has_finding(content, kind, name)


def _has_finding(content: Row, kind: str, name: str) -> bool:
    chapters = ("audit", "metrics", "subgroups", "interventions")
    findings = content[kind] if kind in chapters else _all_findings(content)
    if kind == "quiet":
        return any(f["name"] == name and f["level"] == "info" for f in findings)
    if kind == "group" and not name.startswith("~"):
        return any(f["group"].partition("=")[0] == name for f in findings)
    key = kind if kind in ("method", "group") else "name"
    measured = [f for f in findings if kind != "metrics" or f["value"] is not None]
    if name.startswith("~"):
        return any(name[1:] in f[key].lower() for f in measured)
    return any(f[key] == name for f in measured)


def _tally(checklist: list[Row]) -> list[tuple[str, int]]:
    states = ("answered", "answered in part", "waits for a person", "not answered", "does not apply")
    return [(state, sum(row["state"] == state for row in checklist)) for state in states]


@cache
def _asset(name: str) -> Any:
    return json.loads(files("hounsfield.steps").joinpath("templates", name).read_text("utf-8"))


# How numbers and names are printed


def _number(value: float | None, digits: int = 3) -> str:
    """Three decimals, a leading zero (without it .5 is misread as 5) and a true minus."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _plainly(value: float | None) -> str:
    """A count as a count, anything else with three decimals."""
    if isinstance(value, float | int) and float(value).is_integer():
        return _count(int(value))
    return _number(value)


def _count(n: int | None) -> str:
    return "–" if n is None else f"{n:,}".replace("-", "−")


def _words(name: str) -> str:
    return str(name).replace("_", " ").strip()


def _metric_title(name: str) -> str:
    known = _asset("glossary.json").get(name)
    return str(known["title"]) if known else _words(name).capitalize()


def _entries(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested context as (dotted key, text) pairs."""
    if isinstance(value, dict):
        return [
            pair for key, inner in value.items() for pair in _entries(inner, f"{prefix}.{key}".strip("."))
        ]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return [(prefix, text)]
