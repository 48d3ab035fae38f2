"""A hundred dots, some of them filled: how often something happens, as a count that everyone can read."""

from __future__ import annotations

from markupsafe import Markup

__all__ = ["hundred"]


def hundred(filled: int, description: str) -> Markup:
    """A square of 10 x 10 dots of which `filled` are solid and the others hollow.

    Counts out of one denominator are read more reliably than percentages (Gigerenzer 2007).

    >>> hundred(84, "84 of 100 found").count('class="yes"')
    84
    """
    dots = []
    for k in range(100):
        row, column = divmod(k, 10)
        css = "yes" if k < filled else "no"
        dots.append(f'<circle class="{css}" cx="{6 + 11 * column}" cy="{6 + 11 * row}" r="4"/>')
    return Markup('<svg class="hundred" viewBox="0 0 111 111" role="img" aria-label="{}">{}</svg>').format(
        description, Markup("".join(dots))
    )
