"""Writes the measured rows into docs/benchmarks.md between two marks, and leaves everything else as it is."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from typing import Any

from measured import prose, table
from rows import row
from turns import CHECKOUT

__all__ = ["write_page"]

PAGE = CHECKOUT / "docs/benchmarks.md"
BEGIN, END = "<!-- bench:training begin -->", "<!-- bench:training end -->"
_DISTURBED = 1.1


def write_page(results: dict[str, Any], *, dry: bool = False) -> str:
    """The section of these results, put between the marks (at the page's end where they are absent)."""
    section = "\n".join([BEGIN, *_section(results), END])
    if not dry:
        whole = PAGE.read_text()
        if BEGIN in whole:
            before, _, rest = whole.partition(BEGIN)
            whole = before + section + rest.partition(END)[2]
        else:
            whole = whole.rstrip("\n") + "\n\n" + section + "\n"
        PAGE.write_text(whole)
    return section


def _section(results: dict[str, Any]) -> Iterator[str]:
    yield "## Preprocessing, augmentation, training, inference"
    yield ""
    yield "`make bench` (`make bench ROWS=a,b` for some rows)"
    yield ""
    yield from prose(
        "Every contender is a process of its own with one thread, all on the same core; they take turns, "
        "never two at once. Numbers are of seconds of the processor: medians of the turns, ratios of "
        "medians, and the least and largest ratio of one turn. Raw numbers: "
        "`benchmarks/results/training.json`."
    )
    yield ""
    yield from _machines(results)
    yield ""
    head = ["row", "work", "peer", "at least", "goal", "ours is faster by", "of one turn", "reached"]
    lines = []
    for letter, result in sorted(results.items()):
        for cells in row(letter).summary(result["found"]):
            lines.append([letter, *cells, _reached(*cells[2:5])])
    yield from table(head, lines)
    for letter, result in sorted(results.items()):
        yield ""
        yield f"### {letter}. {row(letter).TITLE}"
        yield ""
        yield from row(letter).page(result["found"])
        if (busy := _disturbance(result["found"])) > _DISTURBED:
            yield ""
            yield f"The machine was busy with other work meanwhile (clock over processor {busy:.2f})."


def _machines(results: dict[str, Any]) -> Iterator[str]:
    """Machine, date and turns, once for rows that share them."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for letter, result in sorted(results.items()):
        key = result["machine"], result["date"], str(result["turns"])
        alike.setdefault(key, []).append(letter)
    for (machine, date, turns), letters in alike.items():
        which = "" if len(alike) == 1 else f"Rows {', '.join(letters)}: "
        yield f"- {which}{machine}; {date}; {turns} turns."
    named = (
        f"{name} {version}" for name, version in sorted(_versions(results).items()) if name != "hounsfield"
    )
    yield from prose(f"- {', '.join(named)}.")


def _versions(found: Any) -> dict[str, str]:
    """Every version that a contender named."""
    if not isinstance(found, dict):
        return {}
    named: dict[str, str] = dict(found["versions"]) if "versions" in found else {}
    for value in found.values():
        named |= _versions(value)
    return named


def _disturbance(found: Any) -> float:
    """The largest median ratio of the clock's seconds to the processor's, of any contender."""
    if not isinstance(found, dict):
        return 0.0
    if "cpu" in found and "wall" in found:
        return statistics.median(w / max(c, 1e-9) for w, c in zip(found["wall"], found["cpu"], strict=True))
    return max((_disturbance(v) for v in found.values()), default=0.0)


def _reached(least: str, goal: str, got: str) -> str:
    """ "goal", "at least" or "no".

    >>> _reached("14×", "25×", "19.0×"), _reached("4×", "number of epochs", "3.1×")
    ('at least', 'no')
    """
    wanted, aim, value = (
        float(m.group()) if (m := re.match(r"[\d.]+", text)) else None for text in (least, goal, got)
    )
    if value is None or wanted is None:
        return ""
    if aim is not None and value >= aim:
        return "goal"
    return "at least" if value >= wanted else "no"
