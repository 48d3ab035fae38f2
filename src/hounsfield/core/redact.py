"""Labels in an error: by name where they are classes, by pattern where they may be identities."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["listed", "looks_like_ids", "pattern"]

FEWEST_IDS = 20


def pattern(value: str) -> str:
    """The form of a value without the identity: A a letter, 9 a digit.

    >>> pattern("MRN-0123")
    '"AAA-9999"'
    """
    form = "".join("9" if c.isdigit() else "A" if c.isalpha() else c for c in value[:40])
    return f'"{form}"'


def looks_like_ids(distinct: int, rows: int) -> bool:
    """True for a column with more than 20 values of which most stand in one row only: no column of classes.

    >>> looks_like_ids(60, 100), looks_like_ids(60, 600), looks_like_ids(3, 4)
    (True, False, False)
    """
    return distinct > FEWEST_IDS and 2 * distinct > rows


def listed(values: Iterable[str], *, ids: bool, most: int = 20) -> str:
    """Values in quotes, or where they may be identities (`ids`) their patterns, each once.

    >>> listed(["a", "b"], ids=False), listed(["P-01", "P-02"], ids=True)
    ('"a", "b"', '"A-99"')
    """
    shown = dict.fromkeys(pattern(v) if ids else f'"{v}"' for v in values)
    return ", ".join(list(shown)[:most])
