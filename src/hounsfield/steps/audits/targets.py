"""The target table that a user gives: which share of patients each group should have."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hounsfield.core.errors import BadInput
from hounsfield.core.registry import nearest

__all__ = ["Targets", "read_targets"]

COLUMNS = ("column", "value", "share")
ROUNDING = 0.005


@dataclass(frozen=True, slots=True)
class Targets:
    """Per group column the share of each value, adding up to 1."""

    shares: Mapping[str, Mapping[str, float]]

    def require_known(self, columns: Mapping[str, object]) -> None:
        """Raise BadInput where the cohort has no such group column.

        >>> Targets({"sex": {"F": 0.5, "M": 0.5}}).require_known({"sexe": []})
        Traceback (most recent call last):
        ...
        hounsfield.core.errors.BadInput: the target table names the column "sex", ...
        """
        for column in self.shares:
            if column not in columns:
                raise BadInput(
                    f'the target table names the column "{column}", which is no group of these images; '
                    f"{nearest(column, tuple(columns))}; correct it, or add the column with --groups"
                )


def read_targets(path: Path | str) -> Targets:
    """Read a CSV with the header column,value,share; shares are fractions that add up to 1 within each
    column.

    Raises BadInput, in one sentence, for anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(
            f"the target table {path.name} does not exist; give a CSV with the header column,value,share"
        )
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig")))
        names = tuple((n or "").strip().casefold() for n in reader.fieldnames or ())
        rows = [
            dict(zip(names, (str(v or "").strip() for v in row.values()), strict=False)) for row in reader
        ]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path.name} is not a table of text; expected a CSV; export it as CSV (UTF-8)"
        ) from error
    if not set(COLUMNS) <= set(names) or not rows:
        raise BadInput(
            f"{path.name} has the columns {', '.join(names) or 'none'} and {len(rows)} row(s); expected the "
            "header column,value,share and a row for each group"
        )
    shares: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows, 2):
        held = shares.setdefault(row["column"], {})
        if row["value"] in held:
            raise BadInput(f"{path.name} names {row['column']}={row['value']} twice; name each group once")
        held[row["value"]] = _share(row["share"], path.name, number)
    for column, held in shares.items():
        if abs(sum(held.values()) - 1) > ROUNDING:
            raise BadInput(
                f'the shares of "{column}" in {path.name} add up to {sum(held.values()):.3f}; expected 1; '
                "correct them, or add a row for the rest"
            )
    return Targets(shares)


def _share(text: str, name: str, line: int) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise BadInput(
            f'line {line} of {name} gives the share "{text[:20]}"; expected a fraction from 0 to 1'
        )
    return share
