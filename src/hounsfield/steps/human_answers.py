"""The answers that only people can give, in a small YAML file beside the run: written empty, read with care.

`RUN/answers.yaml` names every question of the account of the standards. An answer bears the name of who gave
it and the date. Nothing is guessed: an answer to an item that does not exist, or that the evidence itself
answers, is refused.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from hounsfield.core.errors import BadInput
from hounsfield.core.redact import pattern
from hounsfield.core.registry import nearest
from hounsfield.io.files import write_text
from hounsfield.steps.standards import Asked, Given, items, questions

__all__ = ["ANSWERS", "read_answers", "write_template"]

ANSWERS = "answers.yaml"
LARGEST = 1_000_000
"""Bytes; a longer file is not read."""

LONGEST = 20_000
"""Characters of one answer."""

PREAMBLE = """\
# Answers that only people can give; the tool never fills them in.
#
# Write an answer after "answer:", your name after "name:" and the day after "date:" (2026-03-14), then
#
#     hu report RUN
#
# puts them into the report and the model cards. Leave empty what nobody has answered. A longer text goes
# on new, indented lines after "answer: |". Lines that begin with # are comments. No patient's name, please.
"""


def write_template(folder: Path, task: str = "classification") -> None:
    """Write an empty `answers.yaml` for a run unless there is one: nobody's words are overwritten."""
    path = folder / ANSWERS
    if path.exists():
        return
    parts = [PREAMBLE]
    for number, title, asked in questions(task):
        told = textwrap.wrap(f"{number}. {title}. {asked.asks}", 106)
        parts.append("\n".join(f"# {line}" for line in told))
        parts.append(f"{asked.id}:\n  answer:\n  name:\n  date:\n")
    write_text(path, "\n".join(parts))


def read_answers(
    folder: Path, task: str = "classification", *, today: date | None = None
) -> dict[str, Given]:
    """The answers in `answers.yaml` that somebody has given; none where the file is absent.

    Raises BadInput for what is no YAML of this form, an unknown item (naming the nearest), an item that the
    evidence answers or that does not apply to the task, a wrong type, or an answer without name and date.
    """
    path = folder / ANSWERS
    if not path.is_file():
        return {}
    known = {asked.id: asked for _, _, asked in questions(task)}
    latest = (today or datetime.now(UTC).date()) + timedelta(days=1)  # it may be tomorrow elsewhere
    given: dict[str, Given] = {}
    for key, entry in _entries(path).items():
        _require_known(key, known, task)
        answer = _given(key, entry, known[key], latest)
        if answer is not None:
            given[key] = answer
    return given


def _entries(path: Path) -> dict[Any, Any]:
    import yaml

    class OnceLoader(yaml.SafeLoader):  # type: ignore[misc]
        """Safe loading that refuses a key given twice, of which YAML would keep the last in silence."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [child.value for child, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise BadInput(f"{ANSWERS} names {_shown(twice)} twice; keep one of them")
            return dict(super().construct_mapping(node, deep=deep))

    try:
        if path.stat().st_size > LARGEST:
            raise BadInput(f"{ANSWERS} is larger than {LARGEST // 1000:,} kB; expected short answers")
        loaded = yaml.load(path.read_text("utf-8"), OnceLoader)  # a child of SafeLoader
    except yaml.MarkedYAMLError as error:
        where = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise BadInput(f"{ANSWERS} is not YAML{where}; {_likely(error)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{ANSWERS} cannot be read as YAML in UTF-8; correct it, or remove it") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise BadInput(f"{ANSWERS} is not a list of items with answer, name and date under each; correct it")
    return loaded


def _likely(error: Exception) -> str:
    said = str(getattr(error, "problem", ""))
    if "could not determine a constructor" in said:
        return "tags (!…) are not read; write plain text"
    return "check the indentation, and put an answer with a colon or a # into quotes or after |"


def _require_known(key: Any, known: Mapping[str, Asked], task: str) -> None:
    if key in known:
        return
    for item in items():
        name = f"item {item['number']} ({item['item'].lower()})"
        if key in item.get("person", {}):
            raise BadInput(f'{ANSWERS} answers "{key}", which does not apply to {task}; remove it')
        if _names(key, item):
            if not item.get("person"):
                raise BadInput(
                    f"{ANSWERS} answers {name}, which the evidence itself answers or leaves open; remove it"
                )
            asked = ", ".join(item["person"])
            raise BadInput(f"{ANSWERS} answers {name} as {_shown(key)}; a person is asked for {asked} there")
    hint = nearest(key, list(known)) if isinstance(key, str) else "expected the names of the template"
    raise BadInput(f"{ANSWERS} answers {_shown(key)}, an item that does not exist; {hint}")


def _names(key: Any, item: Mapping[str, Any]) -> bool:
    """Whether a key means an item by its number or by the words of its title."""
    if str(key).strip().lower().removeprefix("item").strip(" _") == str(item["number"]):
        return True
    said = re.sub("[^a-z0-9]+", "_", str(key).lower()).strip("_")
    first = re.sub("[^a-z0-9]+", "_", item["item"].lower()).strip("_")
    return len(said) > 3 and (first == said or first.startswith(f"{said}_"))


def _given(key: str, entry: Any, asked: Asked, latest: date) -> Given | None:
    """One answer; None where nothing was written under it."""
    if entry is None:
        return None
    fields = ("answer", "name", "date")
    if not isinstance(entry, dict) or not all(field in fields for field in entry):
        raise BadInput(f'{ANSWERS}, "{key}": expected answer, name and date, and nothing else, under it')
    answer, name, day = (_blank(entry.get(field)) for field in fields)
    if answer is None:
        return None
    if name is None or day is None:
        absent = " and ".join(f for f, v in (("name", name), ("date", day)) if v is None)
        raise BadInput(f'{ANSWERS}, "{key}": the answer has no {absent}; an answer needs both')
    if not isinstance(name, str) or len(name) > 200:
        raise BadInput(f'{ANSWERS}, "{key}": the name is not text; put it into quotes')
    return Given(_value(key, answer, asked), " ".join(name.split()), _day(key, day, latest))


def _blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _value(key: str, answer: Any, asked: Asked) -> str | float | tuple[float, float]:
    if asked.kind == "number":
        return _number(key, answer, asked)
    if asked.kind == "range":
        if not isinstance(answer, list) or len(answer) != 2:
            raise BadInput(f'{ANSWERS}, "{key}": expected two numbers such as [0.05, 0.3]')
        low, high = (_number(key, end, asked) for end in answer)
        if not low < high:
            raise BadInput(f'{ANSWERS}, "{key}": expected two rising numbers such as [0.05, 0.3]')
        return low, high
    if not isinstance(answer, str):
        kind = {bool: "yes or no", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
        told = kind.get(type(answer), "a date or the like")
        raise BadInput(f'{ANSWERS}, "{key}": expected text and got {told}; put the answer into quotes')
    if len(answer) > LONGEST:
        raise BadInput(f'{ANSWERS}, "{key}": the answer has over {LONGEST:,} characters; name a document')
    return answer.strip()


def _number(key: str, value: Any, asked: Asked) -> float:
    told = "a number"
    told += "" if asked.above is None else f" above {asked.above:g}"
    told += " and" if None not in (asked.above, asked.below) else ""
    told += "" if asked.below is None else f" below {asked.below:g}"
    right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not right or (asked.above is not None and not value > asked.above):
        raise BadInput(f'{ANSWERS}, "{key}": expected {told}, written without quotes or units')
    if asked.below is not None and not value < asked.below:
        raise BadInput(f'{ANSWERS}, "{key}": expected {told}, written without quotes or units')
    return float(value)


def _day(key: str, value: Any, latest: date) -> str:
    day = value.date() if isinstance(value, datetime) else value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value.strip()):
        try:
            day = date.fromisoformat(value.strip())
        except ValueError:
            day = None
    if not isinstance(day, date):
        raise BadInput(f'{ANSWERS}, "{key}": the date is no day of the form 2026-03-14')
    if day > latest:
        raise BadInput(f'{ANSWERS}, "{key}": the date lies in the future; give the day of the answer')
    return day.isoformat()


def _shown(key: Any) -> str:
    """A key as an error may show it: as it is if it looks like an item, otherwise by its pattern."""
    text = str(key)
    return f'"{text}"' if re.fullmatch("[a-z0-9_]{1,40}", text) else pattern(text)
