"""Rows as the text of a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

__all__ = ["table_of"]


def table_of(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    """The rows as CSV with a header line.

    >>> table_of(("a", "b"), [{"a": 1, "b": "x"}])
    'a,b\\n1,x\\n'
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
