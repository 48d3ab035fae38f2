"""Who is in the cohort: what is missing and for whom, the classes within each group, the groups beside the
target.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.core.redact import looks_like_ids
from hounsfield.steps.audits.chance import SMALL, counts_differ, tabled, unit_table
from hounsfield.steps.audits.contract import CHECKS, Claim, Material

__all__ = ["class_balance", "missing", "missing_by_group", "representation"]

EXPECTED = ("sex", "age band", "site", "scanner")
MOST_VALUES = 12
LEAST = 20
CLEAR = 0.2
FAR = 0.05


@CHECKS.register("missing data")
def missing(material: Material) -> list[Claim]:
    """How many images do not name sex, age, site or scanner."""
    claims, n = [], len(material.cases)
    for group in EXPECTED:
        absent = sum(not c.groups.get(group) for c in material.cases)
        if absent:
            note = (
                f"no image names {group}, so nothing can be said by {group}; give the column if there is one"
                if absent == n
                else f"{n - absent} of {n} images name {group}; results by {group} speak only of these"
            )
            claims.append(
                Claim(Finding(f"missing_{group.replace(' ', '_')}", value=float(absent), n=n, note=note))
            )
    if not claims and n:
        note = f"every image names {', '.join(EXPECTED)}"
        claims.append(Claim(Finding("missing_data", value=0.0, n=n, note=note)))
    return claims


@CHECKS.register("missing data by group")
def missing_by_group(material: Material) -> list[Claim]:
    """Whether a column is missing more often in one class, part or group than in another."""
    claims = []
    split, sides = material.sides
    for column, values in material.columns.items():
        gaps = ["missing" if not v else "known" for v in values]
        if len(set(gaps)) < 2:
            continue
        for question, classes in material.questions:
            kinds = [material.class_name(question, k) if k >= 0 else "" for k in classes.tolist()]
            claims += _missing_with(material, column, gaps, question or "the answer", kinds, "warning")
        claims += _missing_with(material, column, gaps, split, sides, "warning")
        for other, held in material.columns.items():
            if other != column:
                claims += _missing_with(material, column, gaps, other, held, "info")
    return claims


def _missing_with(
    material: Material, column: str, gaps: Sequence[str], with_what: str, held: Sequence[str], level: str
) -> list[Claim]:
    names, numbers = np.unique(np.array(held, str), return_inverse=True)
    codes = np.where(np.array(held, str) == "", -1, numbers.reshape(-1)).astype(np.intp)
    rows, kinds, table = unit_table(gaps, material.patients, codes)
    common = np.flatnonzero(table.sum(0) >= SMALL)
    if min(table.shape) < 2 or table.sum() < LEAST or len(common) < 2:
        return []
    found = tabled(table)
    shares = table[rows.index("missing")] / table.sum(0)
    high, low = (int(common[k]) for k in (shares[common].argmax(), shares[common].argmin()))
    note = (
        f"{column} is missing in {shares[high]:.0%} of {names[kinds[high]]} and {shares[low]:.0%} of "
        f"{names[kinds[low]]} (by {with_what}); whoever is missing is not like the rest: find out why, "
        "complete it, and do not fill it in from the images"
    )
    finding = Finding(
        "missing_data_by_group",
        group=f"{column} by {with_what}",
        value=found.v,
        n=found.n,
        n_patients=found.n,
        method="bias-corrected Cramér's V by patient",
        level=level if found.v >= CLEAR else "info",
        note=note,
    )
    return [Claim(finding, found.p, "missing")]


@CHECKS.register("classes within groups")
def class_balance(material: Material) -> list[Claim]:
    """How often each class stands in each group, a line a column; groups of fewer than five are not counted
    out.
    """
    claims = []
    for column, values in material.columns.items():
        for question, classes in material.questions:
            names, kinds, table = unit_table(values, material.patients, classes)
            if not 2 <= len(names) <= MOST_VALUES or looks_like_ids(len(names), int(table.sum())):
                continue
            told = [_balance(material, question, kinds, n, row) for n, row in zip(names, table, strict=True)]
            note = "; ".join(told)
            n = int(table.sum())
            finding = Finding("class_balance", group=column, label=question, n=n, n_patients=n, note=note)
            claims.append(Claim(finding))
    return claims


def _balance(
    material: Material, question: str, kinds: Sequence[int], name: str, row: NDArray[np.int64]
) -> str:
    n = int(row.sum())
    if n < SMALL:
        return f"{name} too few (n = {n})"
    shares = [
        f"{count / n:.0%} {material.class_name(question, k)}"
        for k, count in zip(kinds, row.tolist(), strict=True)
    ]
    return f"{name} {', '.join(shares[-1:] if len(shares) == 2 else shares)} (n = {n})"


@CHECKS.register("representation")
def representation(material: Material) -> list[Claim]:
    """Whether patients of each group are as many as the target table says."""
    if material.targets is None:
        return []
    material.targets.require_known(material.columns)
    claims = []
    for column, wanted in material.targets.shares.items():
        everyone = np.zeros(len(material.cases), np.intp)
        names, _, table = unit_table(material.columns[column], material.patients, everyone)
        counts = dict(zip(names, table.sum(1).tolist(), strict=True))
        foreign = sum(k for name, k in counts.items() if name not in wanted)
        seen = np.array([counts.get(name, 0) for name in wanted], np.int64)
        share = np.array(list(wanted.values()))
        n, unknown = int(seen.sum()), sum(not v for v in material.columns[column])
        if n < SMALL:
            note = f"{n} patients bear a {column} of the target table: too few to compare with it"
            claims.append(Claim(Finding("representation", group=column, n=n, n_patients=n, note=note)))
            continue
        far = np.abs(seen / n - share)
        told = ", ".join(
            f"{v} {k / n:.0%} (target {s:.0%})" for v, k, s in zip(wanted, seen, share, strict=True)
        )
        note = (
            f"{column} of {n} patients: {told}; {unknown} image(s) do not say, {foreign} patient(s) bear "
            "another value; results for all weigh groups as they are here: gather more of those that are "
            "too few, or reweight"
        )
        finding = Finding(
            "representation", group=column, value=float(far.max()), n=n, n_patients=n,
            method="largest difference of shares; chi-square, exact where few are expected",
            level="warning" if far.max() >= FAR else "info", note=note,
        )  # fmt: skip
        claims.append(Claim(finding, counts_differ(seen, share), "representation"))
    return claims
