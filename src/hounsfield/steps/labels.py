"""Read a label table and join it to the images on patient, study, series, object or file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.redact import pattern
from hounsfield.core.registry import nearest

__all__ = ["LabelTable", "join_labels", "read_labels"]

KEYS = ("file", "sop", "series", "study", "patient")
"""From the most to the least specific: on a tie the more specific key wins."""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """A table of text: column names, and rows as mappings from column to value.

    >>> LabelTable("labels.csv", ("id", "grade"), ({"id": "a", "grade": "2"},)).column("grade")
    'grade'
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]

    def column(self, name: str) -> str:
        """The column of that name, ignoring case; BadInput suggests the nearest."""
        folded = {c.casefold(): c for c in self.columns}
        if name.casefold() not in folded:
            raise BadInput(f'{self.name} has no column "{name}"; {nearest(name, self.columns)}')
        return folded[name.casefold()]


def read_labels(path: Path | str) -> LabelTable:
    """Read a CSV (comma, semicolon or tab; UTF-8 or Latin-1) with a header line."""
    path = Path(path)
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*.csv")] if path.parent.is_dir() else []
        hint = nearest(path.name, siblings) if siblings else "give the path of a CSV file"
        raise BadInput(f"the label table {path.name} does not exist; {hint}")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, restval="")
    try:
        columns = tuple(c.strip() for c in reader.fieldnames or ())
        rows = tuple({k.strip(): (v or "").strip() for k, v in r.items() if k} for r in reader)
    except csv.Error as error:
        raise BadInput(f"{path.name} is not a table of text; expected a CSV; export it as CSV") from error
    if b"\0" in raw:
        raise BadInput(f"{path.name} is not a table of text; expected a CSV; export it as CSV")
    if len(columns) < 2 or not rows:
        raise BadInput(
            f"{path.name} has {len(columns)} column(s) and {len(rows)} row(s); expected a header line with "
            "an id column and a label column, and a row for each image or patient"
        )
    return LabelTable(path.name, columns, rows)


@dataclass(frozen=True, slots=True)
class _Join:
    """What one column says if it is read as one key: the row of each image that exactly one row matches.

    `whole` counts the images matched by a name with its ending or by a path, `doubled` those that rows
    which differ match.
    """

    column: str
    key: str
    rows: Mapping[str, Mapping[str, str]]
    whole: int
    doubled: int

    @property
    def sure(self) -> bool:
        """True for whole names and UIDs, which do not match by chance as the numbers 1, 2, 3 do."""
        return self.key in ("sop", "series", "study") or 2 * self.whole > len(self.rows)

    def contradicts(self, other: _Join) -> bool:
        """True where both match about as many images and do not say the same of them."""
        if self.column == other.column or 2 * len(self.rows) <= len(other.rows):
            return False
        if len(self.rows) == len(other.rows):
            return self.rows != other.rows
        return any(other.rows[k] != row for k, row in self.rows.items() if k in other.rows)


def join_labels(
    index: Index, table: LabelTable, *, on: str = "", never: Sequence[str] = ()
) -> tuple[dict[str, Mapping[str, str]], str, str]:
    """Match rows to images: a mapping from series id to its row, the column and the key that joined.

    `on` names the column; without it, the column and key that match the most images are taken, whole
    names and UIDs before bare numbers and stems, and none of the columns `never` (the target, the groups).
    An image that two different rows match is not joined. Raises BadInput where nothing matches, showing
    the shape of both sides, where images match several rows only, and where two columns match but
    assign different rows.
    """
    left = tuple(c for c in table.columns if c not in never)
    columns = (table.column(on),) if on else left
    if not columns:
        raise BadInput(
            f"every column of {table.name} is a target or a group; expected a column of ids too; "
            "add one, or name it with --on"
        )
    lookups = {key: lookup for key in KEYS if (lookup := _lookup(index.series, key))}
    joins = [_match(lookup, table, c, key) for key, lookup in lookups.items() for c in columns]
    most = max((len(j.rows) for j in joins), default=0)
    unsure = max(joins, key=lambda j: len(j.rows) + j.doubled)
    reach = len(unsure.rows) + unsure.doubled
    if reach > 2 * most:
        raise BadInput(
            f'column "{unsure.column}" of {table.name} matches the {unsure.key} of {reach} image(s), but '
            f"{reach - most} of them match rows that differ; expected one row an image; name a column "
            "that tells the images apart with --on, or keep one row of each"
        )
    if not most:
        raise BadInput(_nothing_matches(index, table, columns))
    pool = [j for j in joins if j.sure and 2 * len(j.rows) >= most] or joins
    best = max(pool, key=lambda j: len(j.rows))  # on a tie the first: the more specific key
    rival = next((j for j in pool if j.contradicts(best)), None)
    if rival:
        raise BadInput(
            f'column "{best.column}" and column "{rival.column}" of {table.name} both match the images '
            f"({len(best.rows)} and {len(rival.rows)}), but assign different rows to them; expected one "
            f'column of ids; say which with --on "{best.column}" or --on "{rival.column}"'
        )
    return dict(best.rows), best.column, best.key


def _match(lookup: Mapping[str, list[str]], table: LabelTable, column: str, key: str) -> _Join:
    joined: dict[str, Mapping[str, str]] = {}
    doubled: set[str] = set()
    whole: set[str] = set()
    for row in table.rows:
        value = row.get(column, "")
        forms = _forms(value) if key == "file" else (value,)
        form = next((f for f in forms if f in lookup), None)
        if form is None:
            continue
        for series_id in lookup[form]:
            if joined.setdefault(series_id, row) != row:
                doubled.add(series_id)
            if key == "file" and form != forms[-1]:
                whole.add(series_id)
    rows = {k: row for k, row in joined.items() if k not in doubled}
    return _Join(column, key, rows, len(whole - doubled), len(doubled))


def _lookup(series: Sequence[Series], key: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for s in series:
        if key == "file":
            values = {form for f in s.files for form in _forms(f)}
            if s.position >= 0:  # a row of an array has no file of its own
                values.add(s.id)
        else:
            values = {getattr(s, key)} - {""}
        for value in values:
            found.setdefault(value, []).append(s.id)
    if key == "file":  # "1.png" in two folders names neither
        return {form: ids for form, ids in found.items() if len(ids) == 1}
    if key == "patient":
        _add_plain_patients(found)
    return found


def _add_plain_patients(found: dict[str, list[str]]) -> None:
    """Where ids bear their issuer ("17^^^HOSPITAL"), let the bare id match too if one issuer uses it."""
    issued: dict[str, list[str]] = {}
    for whole in found:
        issued.setdefault(whole.split("^^^")[0], []).append(whole)
    for plain, wholes in issued.items():
        if plain not in found and len(wholes) == 1:
            found[plain] = found[wholes[0]]


def _forms(path: str) -> tuple[str, ...]:
    """A file as a label table may write it: whole, its name, its name without the ending."""
    plain = path.replace("\\", "/").split("::")[-1]
    pure = PurePosixPath(plain)
    ending = ".nii.gz" if pure.name.endswith(".nii.gz") else pure.suffix
    # a UID as a file name ends in a number, which is no ending
    stem = pure.name if ending[1:].isdigit() else pure.name[: len(pure.name) - len(ending)]
    return tuple(dict.fromkeys((path, plain, pure.name, stem))) if path else ()


def _nothing_matches(index: Index, table: LabelTable, columns: Sequence[str]) -> str:
    have = [key for key in KEYS if any(getattr(s, key, "") or key == "file" for s in index.series)]
    example_row = table.rows[0].get(columns[0], "")
    shapes = ", ".join(f"{key} like {pattern(_example(index.series[0], key))}" for key in have)
    return (
        f"no row of {table.name} matches an image: tried column(s) {', '.join(columns)} (for example "
        f"{pattern(example_row)}) against {shapes} (patterns: A a letter, 9 a digit, so that no identity is "
        f"printed); name the right column of {', '.join(table.columns)} with --on, or correct the ids"
    )


def _example(series: Series, key: str) -> str:
    return PurePosixPath(series.files[0]).name if key == "file" else str(getattr(series, key))
