"""The page: templates filled with what the chapters print; it asks no network and runs no script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hounsfield.steps.chapters import arranged
from hounsfield.steps.chapters.arrange import ANCHORS, with_anchors
from hounsfield.steps.chapters.derived import with_derived
from hounsfield.steps.standards import Account, Beside, Given, account

__all__ = ["Page", "Seal", "page_of"]

Row = dict[str, Any]
PHANTOM = "PHANTOM DATA - not patients; nothing here says anything about clinical performance"


@dataclass(frozen=True, slots=True)
class Page:
    """The HTML of a report, and the account of the standards in it."""

    html: str
    account: Account


@dataclass(frozen=True, slots=True)
class Seal:
    """Whose key signs the run, or why it is not signed."""

    fingerprint: str = ""
    why_not: str = ""


def page_of(
    content: Row,
    kept: Row,
    *,
    answers: Mapping[str, Given] | None = None,
    seal: Seal = Seal(),
    covered: tuple[str, ...] = (),
) -> Page:
    """The page of the report.

    `content` is the evidence as plain dicts, `kept` the pictures as they are stored; `covered` names the
    files that stand beside the report. The same input gives the same page.
    """
    content = with_derived(with_anchors(content))
    given = dict(answers or {})
    chapters = arranged(content, kept, given)
    beside = Beside(
        outcomes=[p["outcome"] for p in kept["pictures"]],
        covered=covered,
        signed=bool(seal.fingerprint),
        anchors=_placed(chapters),
    )
    told = account(content, given, beside)
    html = (
        _environment()
        .get_template("report.html")
        .render(
            e=content,
            context=content["context"],
            tables=content["tables"],
            phantom_sentence=PHANTOM,
            glossary=_glossary(str(content["context"].get("task") or "classification")),
            seal=seal,
            answers=given,
            account=told,
            style=Markup(files("hounsfield.steps").joinpath("templates/report.css").read_text("utf-8")),
            **chapters,
        )
    )
    return Page(html, told)


def _placed(chapters: Row) -> dict[str, str]:
    """The places of tables and curves, without chapters that this report does not have."""
    there = {c["id"] for c in chapters["chapters"]}
    signed = {"signed": "signature"}
    return signed | {key: anchor for key, anchor in ANCHORS.items() if anchor in there}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hounsfield.steps", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "count": _count, "plainly": _plainly, "chance": _chance}
    environment.filters |= {"words": _words, "metric": _metric_title, "entries": _entries}
    environment.filters |= {"source": _source}
    return environment


@cache
def _asset(name: str) -> Any:
    return json.loads(files("hounsfield.steps").joinpath("templates", name).read_text("utf-8"))


def _glossary(task: str) -> Row:
    """The words that a report of this task needs."""
    words: Row = _asset("glossary.json")
    return {key: term for key, term in words.items() if task in term.get("tasks", (task,))}


def _number(value: float | None, digits: int = 3) -> str:
    """Three decimals, a leading zero (without it .5 is misread as 5) and a true minus."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _chance(p: float) -> str:
    """A p value behind its sign: one that would be written 0.000 is below 0.001."""
    return "< 0.001" if p < 0.0005 else f"= {_number(p)}"


def _plainly(value: float | None) -> str:
    """A count as a count, anything else with three decimals, or as many as it takes to tell it from 0."""
    if isinstance(value, float | int) and float(value).is_integer():
        return _count(int(value))
    if value is not None and abs(value) < 0.0005:
        return f"{value:.1e}".replace("-", "−")
    return _number(value)


def _count(n: int | None) -> str:
    return "–" if n is None else f"{n:,}".replace("-", "−")


def _words(name: Any) -> str:
    return str(name).replace("_", " ").strip()


def _metric_title(name: str) -> str:
    known = _asset("glossary.json").get(name)
    title = str(known["title"]) if known else _words(name)
    return title[:1].upper() + title[1:]


def _source(standard: str) -> str:
    """A standard's item as it is printed; a number from memory says so."""
    return f"{standard[:-1]} (to be checked)" if standard.endswith("†") else standard


def _entries(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested context as (dotted key, text) pairs."""
    if isinstance(value, dict):
        return [
            pair for key, inner in value.items() for pair in _entries(inner, f"{prefix}.{key}".strip("."))
        ]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return [(prefix, text)]
