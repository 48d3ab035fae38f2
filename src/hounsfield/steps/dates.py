"""In which order images were made. A date tells who a patient is: only its place among the others is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from hounsfield.core.errors import BadInput
from hounsfield.core.redact import listed

__all__ = ["OWN_DATE", "places_in_time"]

OWN_DATE = "images"
"""What stands for the images' own study date where a column of the label table is named otherwise."""

_FORMS = ("%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%Y-%m", "%Y")
_DAY_OR_MONTH_FIRST = ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y")


def places_in_time(texts: Mapping[str, str]) -> dict[str, int | None]:
    """The place of each image's date among all dates, 0 the earliest, None where it has none.

    Dates as YYYY-MM-DD (a time may follow), YYYYMMDD, DD.MM.YYYY, a year, or plain numbers such as days since
    an event. Raises BadInput where they are not all written in one of these ways, and for 03/04/2021 where
    no date tells which number is the month; the error shows patterns only.

    >>> places_in_time({"a": "2021-03-04", "b": "2019-12-31", "c": "", "d": "2021-03-04"})
    {'a': 1, 'b': 0, 'c': None, 'd': 1}
    """
    known = {key: text.strip() for key, text in texts.items() if text.strip()}
    values = _read(sorted(set(known.values())))
    order = {value: place for place, value in enumerate(sorted(set(values.values())))}
    return {key: order[values[known[key]]] if key in known else None for key in texts}


def _read(texts: Sequence[str]) -> dict[str, float]:
    for form in _FORMS:
        if found := _by(texts, form):
            return found
    if found := _iso(texts):
        return found
    slashed = [found for form in _DAY_OR_MONTH_FIRST if (found := _by(texts, form))]
    if len(slashed) == 1:
        return slashed[0]
    if not slashed and texts:
        try:
            return {text: float(text) for text in texts}
        except ValueError:
            pass
    if not texts:
        return {}
    why = "may have day or month first" if slashed else "are not all written in one known way"
    raise BadInput(
        f"the dates ({listed(texts[:3], ids=True)}; 9 a digit, A a letter) {why}; expected one way "
        "throughout, best YYYY-MM-DD; rewrite the column"
    )


def _by(texts: Sequence[str], form: str) -> dict[str, float]:
    try:
        return {text: float(datetime.strptime(text, form).toordinal()) for text in texts}
    except ValueError:
        return {}


def _iso(texts: Sequence[str]) -> dict[str, float]:
    """Dates with a time behind them, as ISO 8601 writes it; an offset from UTC is left out."""
    try:
        moments = {text: datetime.fromisoformat(text).replace(tzinfo=None) for text in texts}
    except ValueError:
        return {}
    return {t: m.toordinal() + (m.hour * 3600 + m.minute * 60 + m.second) / 86400 for t, m in moments.items()}
