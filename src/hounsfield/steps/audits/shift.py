"""Whether the parts of the split differ: in classes, people, site, scanner, files and looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.steps.audits.chance import SMALL, ranks_differ, tabled, unit_table
from hounsfield.steps.audits.contract import CHECKS, Claim, Material

__all__ = ["shift"]

LEAST = 20
CLEAR, CLEAR_AUROC = 0.15, 0.65


@CHECKS.register("shift between parts")
def shift(material: Material) -> list[Claim]:
    """Classes, group columns and measures, compared between the parts by patient."""
    words, sides = material.sides
    names, numbers = np.unique(np.array(sides, str), return_inverse=True)
    parts = np.where(np.array(sides, str) == "", -1, numbers.reshape(-1)).astype(np.intp)
    if len(set(parts.tolist()) - {-1}) < 2:
        return []
    columns = {**(material.measures.columns if material.measures else {}), **material.columns}
    claims = []
    for question, classes in material.questions:
        kinds = [material.class_name(question, k) if k >= 0 else "" for k in classes.tolist()]
        claims += _of_column(material, words, names, parts, question or "class", kinds, "prevalence")
    for column, held in columns.items():
        claims += _of_column(material, words, names, parts, column, held)
    return claims + _of_measures(material, words, names, parts)


def _of_column(
    material: Material,
    words: str,
    names: NDArray[np.str_],
    parts: NDArray[np.intp],
    column: str,
    held: Sequence[str],
    family: str = "shift",
) -> list[Claim]:
    values, kinds, table = unit_table(held, material.patients, parts)
    common = np.flatnonzero(table.sum(1) >= SMALL)
    if table.sum() < LEAST or min(table.shape) < 2 or not len(common):
        return []
    found = tabled(table)
    shares = table / table.sum(0)
    row = int(common[np.ptp(shares[common], axis=1).argmax()])
    told = ", ".join(f"{shares[row, k]:.0%} in {names[kind]}" for k, kind in enumerate(kinds))
    note = (
        f"{words} differ in {column} (Cramér's V {found.v:.2f}): {values[row]} is {told}; a result on one "
        "part does not speak for the other: split again by patient, or report the results by this column"
    )
    finding = Finding(
        "shift_between_parts",
        group=column,
        value=found.v,
        n=found.n,
        n_patients=found.n,
        method="bias-corrected Cramér's V by patient",
        level="warning" if found.v >= CLEAR else "info",
        note=note,
    )
    return [Claim(finding, found.p, family)]


def _of_measures(
    material: Material, words: str, names: NDArray[np.str_], parts: NDArray[np.intp]
) -> list[Claim]:
    claims = []
    for measure in material.measures.numbers if material.measures else ():
        found = ranks_differ(measure.values, material.patients, parts)
        if found.n < LEAST or found.p == 1.0:
            continue
        note = (
            f"{words} differ in the {measure.words}: it is {'higher' if found.higher else 'lower'} in "
            f"{names[found.best]} (AUROC {found.auroc:.2f}, n = {found.n}); the parts were taken or "
            "stored in different ways: find out how, and bring both to one form"
        )
        finding = Finding(
            "shift_between_parts", group=measure.words, value=found.auroc, n=found.n, n_patients=found.n,
            method="AUROC, Kruskal-Wallis by patient",
            level="warning" if found.auroc >= CLEAR_AUROC else "info", note=note,
        )  # fmt: skip
        claims.append(Claim(finding, found.p, "shift"))
    return claims
