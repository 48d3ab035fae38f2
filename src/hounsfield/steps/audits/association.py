"""Group columns that give the answer away: site, scanner, sex and every other column, by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.steps.audits.chance import SMALL, Tabled, tabled, unit_table
from hounsfield.steps.audits.contract import CHECKS, Claim, Material

__all__ = ["STRONG", "associations", "one_sided"]

STRONG = 0.3
LEAST = 20
LEAST_OF_GROUP = 8
PEOPLE = ("sex", "age band")


@CHECKS.register("association with the answer")
def associations(material: Material) -> list[Claim]:
    """Every group column, and what the files say of themselves, against the answer."""
    measured = material.measures.columns if material.measures else {}
    columns: Mapping[str, Sequence[str]] = {**measured, **material.columns}
    return [
        claim
        for column, values in columns.items()
        for question, classes in material.questions
        for claim in _associated(material, column, values, question, classes)
    ]


def _associated(
    material: Material, column: str, values: Sequence[str], question: str, classes: NDArray[np.intp]
) -> list[Claim]:
    names, kinds, table = unit_table(values, material.patients, classes)
    if table.sum() < LEAST or min(table.shape) < 2 or table.sum(1).max() < SMALL:
        return []
    found = tabled(table)
    doubt = "which may be how the disease is spread, or how patients were chosen" if column in PEOPLE else ""
    asked = f" {question}" if question else ""
    note = (
        f"{column} is associated with the answer{asked} (Cramér's V {found.v:.2f}, n = {found.n}"
        f"{f'; {doubt}' if doubt else ''}): {_extremes(material, names, kinds, table, question)}; a "
        f"model may learn {column} instead of disease: compare the results by {column}, or balance it"
    )
    finding = Finding(
        f"{column.replace(' ', '_')}_label_association",
        label=question,
        value=found.v,
        n=found.n,
        n_patients=len(set(material.patients[classes >= 0].tolist())),
        method=_method(found, table),
        level="warning" if found.v >= STRONG else "info",
        note=note,
    )
    return [Claim(finding, found.p, "association")]


def _method(found: Tabled, table: NDArray[np.int64]) -> str:
    expected = np.outer(table.sum(1), table.sum(0)) / max(1, found.n)
    way = "permutation of patients" if expected.min() < SMALL else "chi-square by patient"
    return f"bias-corrected Cramér's V, {way}"


def _extremes(
    material: Material, names: Sequence[str], kinds: Sequence[int], table: NDArray[np.int64], question: str
) -> str:
    """The groups of five and more furthest from the rest, with the class that is over-represented in them."""
    total = table.sum()
    expected = np.outer(table.sum(1), table.sum(0)) / total
    residual = (table - expected) / np.sqrt(expected)
    told = []
    common = np.flatnonzero(table.sum(1) >= SMALL)
    for row in common[np.argsort(-residual[common].max(1), kind="stable")][:3]:
        column = int(residual[row].argmax())
        share = table[:, column].sum() / total
        named = material.class_name(question, kinds[column])
        told.append(
            f"{names[row]} has {table[row, column]} of {table[row].sum()} {named} ({share:.0%} of all)"
        )
    return "; ".join(told)


@CHECKS.register("groups of one class")
def one_sided(material: Material) -> list[Claim]:
    """Groups in which a class is absent that the others have: a model needs to know no more than the
    group.
    """
    claims = []
    for column, values in material.columns.items():
        for question, classes in material.questions:
            names, kinds, table = unit_table(values, material.patients, classes)
            if min(table.shape) < 2:
                continue
            for row, name in enumerate(names):
                claims += _one_sided(material, column, name, question, kinds, table, row)
    return claims


def _one_sided(
    material: Material,
    column: str,
    name: str,
    question: str,
    kinds: Sequence[int],
    table: NDArray[np.int64],
    row: int,
) -> list[Claim]:
    n, held = int(table[row].sum()), int(table[row].argmax())
    rest = table.sum(0) - table[row]
    if n < LEAST_OF_GROUP or not rest.sum():
        return []
    share = rest[held] / rest.sum()
    p = _of_one_class(table.sum(0), n) if table[row, held] == n else 1.0
    note = (
        f"all {n} patients of {column}={name} are {material.class_name(question, kinds[held])}, of the "
        f"others {share:.0%}; a model can answer from {column} alone: bring both classes from there, or "
        "leave it out"
    )
    finding = Finding(
        "group_of_one_class", group=f"{column}={name}", label=question, value=1.0, n=n, n_patients=n,
        method="hypergeometric, by patient", level="warning", note=note,
    )  # fmt: skip
    return [Claim(finding, p, "balance")]


def _of_one_class(counts: NDArray[np.int64], n: int) -> float:
    """The chance that n patients, drawn from these counts of the classes, are all of one class, whichever.

    >>> round(_of_one_class(np.array([2, 2]), 2), 4)
    0.3333
    """
    from scipy.stats import hypergeom

    return float(min(1.0, sum(hypergeom.sf(n - 1, counts.sum(), k, n) for k in counts.tolist())))
