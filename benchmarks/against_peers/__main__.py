"""The table of augmentation, loading, training and inference: ours and its peers alternating on one core.

    make bench                        # builds both environments, measures, writes docs/benchmarks.md
    make bench ROWS=a,b               # only these rows; the others keep what they had
    python benchmarks/against_peers --rows a --turns 3 --dry

Every contender is a process of its own with one thread on the same core; they take turns, never two at
once, and medians of the processor's seconds are compared. Raw numbers go to benchmarks/results/training.json
and the tables into docs/benchmarks.md between two marks.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from typing import Any

from machine import machine
from page import write_page
from rows import ROWS, row
from turns import CHECKOUT, PYTHON, Turns

RESULTS = CHECKOUT / "benchmarks/results/training.json"


def _rounded(value: Any) -> Any:
    """Numbers of five figures: enough for medians, and small in the repository."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value


def main() -> None:
    """Measure the rows that were asked for, keep the others, and write both files."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--rows", default=",".join(ROWS), help="letters with commas between them")
    asked.add_argument("--turns", type=int, default=7)
    asked.add_argument("--seconds", type=float, default=0.7, help="of a contender's turn, at least")
    asked.add_argument("--dry", action="store_true", help="print the page, write nothing")
    given = asked.parse_args()
    wanted = [r.strip() for r in given.rows.split(",") if r.strip()]
    if unknown := [r for r in wanted if r not in ROWS]:
        sys.exit(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    for home, python in PYTHON.items():
        if not python.exists():
            sys.exit(f"{python.parent.parent.name} is not there ({home}); run `make bench`, which makes it")
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for letter in wanted:
        print(f"row {letter}: {row(letter).TITLE}", file=sys.stderr, flush=True)
        found = row(letter).measure(Turns(turns=given.turns, seconds=given.seconds))
        today = datetime.date.today().isoformat()
        results[letter] = _rounded(
            {"date": today, "machine": machine(), "turns": given.turns, "found": found}
        )
        if not given.dry:  # after each row: a run that is stopped keeps what it has
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
            write_page(results)
    if given.dry:
        print(write_page(results, dry=True))


if __name__ == "__main__":
    main()
