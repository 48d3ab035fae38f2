"""An account of the reporting standards: 48 items, each answered by the evidence, waiting for a person, not
answered, or not applicable.

`templates/checklist.json` is the table: an item names the standards that it comes from ("†": the number is
from memory), for the tool what it `needs`, and for a person what is asked. A need is met if the evidence
holds any of its places:

    context.KEY  tables.KEY  curves.KEY    that entry is there and not empty
    audit:RE  metrics:RE  subgroups:RE  interventions:RE    a finding of that part bears such a name
    finding:RE                             a finding of any part bears such a name
    method:RE  group:RE                    a number of the model was measured by that method, or in that group
    both:A,B                               each of these checks was made and found nothing
    column:RE                              a group column is counted in each part
    plan:KEY  kind:KIND  evaluated:HOW     the plan says so; the labels are such; cases were held apart so
    task:TASK                              the task is such
    pictures:OUTCOME  covered:PREFIX       cases are shown; such a file is kept
    signed:                                the run is signed

Outside the audit a finding without a value answers nothing: it only says why there is no number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["Account", "Asked", "Beside", "Given", "Link", "Row", "account", "items", "questions"]

Content = Mapping[str, Any]
PARTS = ("audit", "metrics", "subgroups", "interventions")
ANCHORS = {
    "tables": "data",
    "curves": "performance",
    "context": "training",
    "column": "data",
    "plan": "training",
    "pictures": "explanations",
    "evaluated": "summary",
    "kind": "summary",
    "task": "summary",
}
"""The chapter where such a thing stands unless `Beside.anchors` says otherwise."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a person answered, who they are, and when: a date as YYYY-MM-DD."""

    answer: str | float | tuple[float, float]
    name: str
    date: str

    @property
    def text(self) -> str:
        """The answer in words."""
        if isinstance(self.answer, tuple):
            return f"{self.answer[0]:g} to {self.answer[1]:g}"
        return self.answer if isinstance(self.answer, str) else f"{self.answer:g}"


@dataclass(frozen=True, slots=True)
class Link:
    """Something that the evidence holds, and the id of the place of the page where it stands ("" is none)."""

    what: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question for a person, and their answer, if they gave one."""

    id: str
    asks: str
    kind: str = "text"
    above: float | None = None
    below: float | None = None
    given: Given | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One item: what answers it, what would still answer it, and what a person is asked."""

    number: int
    item: str
    standards: tuple[str, ...]
    present: tuple[Link, ...] = ()
    missing: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    does_not_apply: str = ""

    @property
    def tool(self) -> str:
        """The tool's part: "answered", "in part", "not answered", or "" where it has none."""
        if not (self.present or self.missing):
            return ""
        return "answered" if not self.missing else "in part" if self.present else "not answered"

    @property
    def person(self) -> str:
        """A person's part: "answered", "waiting", or "" where nothing is asked."""
        if not self.asked:
            return ""
        return "answered" if all(a.given for a in self.asked) else "waiting"

    @property
    def state(self) -> str:
        """One word for the whole item."""
        if self.does_not_apply:
            return "does not apply"
        if self.tool in ("in part", "not answered"):
            return self.tool
        return "waiting" if self.person == "waiting" else "answered"


@dataclass(frozen=True, slots=True)
class Account:
    """All items, and how many stand where."""

    rows: tuple[Row, ...]

    @property
    def by_tool(self) -> int:
        """Items whose whole tool part is answered by the evidence."""
        return sum(row.tool == "answered" and not row.does_not_apply for row in self.rows)

    def count(self, state: str) -> int:
        """Items in a state (see Row.state)."""
        return sum(row.state == state for row in self.rows)

    @property
    def waiting(self) -> tuple[Asked, ...]:
        """The questions that nobody has answered yet."""
        return tuple(a for row in self.rows if not row.does_not_apply for a in row.asked if not a.given)


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known beside the evidence: outcomes that are shown, files that are kept, whether it is signed,
    and the chapters of tables and curves."""

    outcomes: Sequence[str] = ()
    covered: Sequence[str] = ()
    signed: bool = False
    anchors: Mapping[str, str] = field(default_factory=dict)


@cache
def items() -> tuple[Mapping[str, Any], ...]:
    """The items as `templates/checklist.json` states them."""
    text = files("hounsfield.steps").joinpath("templates", "checklist.json").read_text("utf-8")
    return tuple(json.loads(text))


def questions(task: str = "classification") -> tuple[tuple[int, str, Asked], ...]:
    """(number, item, question) of everything that is asked of a person about such a task."""
    return tuple(
        (item["number"], item["item"], asked)
        for item in items()
        if not _why_not(item, task)
        for asked in _asked(item, {})
    )


def account(
    content: Content, answers: Mapping[str, Given] | None = None, beside: Beside = Beside()
) -> Account:
    """The state of every item, by what the evidence holds and what people have answered.

    >>> bare = {part: [] for part in PARTS} | {"context": {"python": "3.11"}, "tables": {}, "curves": {}}
    >>> rows = account(bare).rows
    >>> len(rows), rows[0].state, rows[5].state, rows[5].missing
    (48, 'waiting', 'in part', ('packages', 'system and device'))
    """
    return Account(tuple(_row(item, content, answers or {}, beside) for item in items()))


def _row(item: Mapping[str, Any], content: Content, answers: Mapping[str, Given], beside: Beside) -> Row:
    present, missing = [], []
    for what, places in item.get("tool", {}).items():
        anchors = (_found(content, beside, *re.split("[.:]", place, maxsplit=1)) for place in places)
        anchor = next((a for a in anchors if a is not None), None)
        if anchor is None:
            missing.append(what)
        else:
            present.append(Link(what, anchor))
    return Row(
        item["number"],
        item["item"],
        tuple(item["standards"]),
        tuple(present),
        tuple(missing),
        _asked(item, answers),
        _why_not(item, str(content["context"].get("task", ""))),
    )


def _asked(item: Mapping[str, Any], answers: Mapping[str, Given]) -> tuple[Asked, ...]:
    return tuple(
        Asked(key, q["asks"], q["type"], q.get("above"), q.get("below"), answers.get(key))
        for key, q in item.get("person", {}).items()
    )


def _why_not(item: Mapping[str, Any], task: str) -> str:
    if "tasks" in item and task and task not in item["tasks"]:
        return f"the task is {task}; this asks about {' and '.join(item['tasks'])}"
    return ""


def _found(content: Content, beside: Beside, kind: str, name: str) -> str | None:
    """The anchor of what is asked for, None where the evidence lacks it."""
    if kind in ("context", "tables", "curves"):
        held = content[kind].get(name) not in (None, "", [], {})
        return beside.anchors.get(f"{kind}.{name}", ANCHORS[kind]) if held else None
    if kind in (*PARTS, "finding", "method", "group", "both"):
        return _finding(content, kind, name)
    facts = {
        "column": any(re.search(name, str(row[0])) for row in content["tables"].get("demographics") or ()),
        "plan": any(row[0] == name for row in content["tables"].get("plan") or ()),
        "kind": content["context"].get("kind") == name,
        "task": content["context"].get("task") == name,
        "evaluated": content["context"].get("evaluated_on") == name,
        "pictures": name in beside.outcomes,
        "covered": any(file.startswith(name) for file in beside.covered),
        "signed": beside.signed,
    }
    return beside.anchors.get(kind, ANCHORS.get(kind, "")) if facts[kind] else None


def _finding(content: Content, kind: str, name: str) -> str | None:
    """The anchor of the first finding that answers."""
    findings = [f for part in ((kind,) if kind in PARTS else PARTS) for f in content[part]]
    if kind == "both":
        quiet = {f["name"]: f.get("anchor", "") for f in findings if f["level"] == "info"}
        wanted = name.split(",")
        return quiet[wanted[0]] if all(key in quiet for key in wanted) else None
    key = kind if kind in ("method", "group") else "name"
    audit = {id(f) for f in content["audit"]}
    if key != "name":  # how the data were checked says nothing about how the model was measured
        findings = [f for f in findings if id(f) not in audit]
    for f in findings:
        if re.search(name, f[key], re.IGNORECASE) and (f["value"] is not None or id(f) in audit):
            return str(f.get("anchor", ""))
    return None
