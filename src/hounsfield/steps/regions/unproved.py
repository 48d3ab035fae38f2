"""What an evaluation of outlines or of found objects does not show, in sentences for the reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["unproved"]


def unproved(kind: str, groups: Mapping[str, Sequence[str]], *, patients_known: bool) -> list[str]:
    """Sentences that follow from how the cases were held apart, and from the columns that the data lack.

    >>> unproved("external", {c: ["x"] for c in ("sex", "age band", "site", "scanner")}, patients_known=True)
    ['Effect on readers, on decisions and on patients; use beyond the intended use that a human states.']
    """
    said = []
    if kind != "external":
        said.append("Data of another hospital, scanner or period: no external set was evaluated.")
    if kind == "cross-validation":
        said.append(
            "A held-back test set: these are the numbers of cross-validation. Each case was predicted by "
            "members that did not learn from it."
        )
    if not patients_known:
        said.append("Separation by patient: the images do not name their patients.")
    absent = [g for g in ("sex", "age band", "site", "scanner") if not any(groups.get(g, ()))]
    if absent:
        said.append(f"Differences by {', '.join(absent)}: the data does not say.")
    said.append(
        "Effect on readers, on decisions and on patients; use beyond the intended use that a human states."
    )
    return said
