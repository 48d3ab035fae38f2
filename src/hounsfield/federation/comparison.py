"""The honest comparison: each site's result under each arm, the worst site first, who gains and who loses.

A site gains or loses where the difference to its own model, on the same test cases, is beyond chance after
Holm's correction over the sites. Else nothing was shown, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.clinical import Clinical
from hounsfield.federation.arms import ALONE, FEDERATED, OWN, POOLED, WITHOUT_BUDGET, Scored
from hounsfield.federation.round_tables import History, bytes_of_round, course, missing
from hounsfield.metrics.discrimination import auroc
from hounsfield.metrics.heterogeneity import holm
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.paired import PairedDifference, auroc_difference
from hounsfield.metrics.summary import classification_metrics
from hounsfield.steps.clinical import as_finding

__all__ = ["SiteResult", "chapter", "results"]

Row = dict[str, Any]
Array = NDArray[np.float64]

_ARMS = (ALONE, FEDERATED, WITHOUT_BUDGET, POOLED, OWN)


@dataclass(frozen=True)
class SiteResult:
    """A site's AUROC by arm, the paired difference of the federated model to its own, and what that shows:
    "gains", "loses" or "no difference shown". `by_budget` is the difference to the same federation without
    its budget, where that was trained.
    """

    name: str
    learned_from: int
    arms: dict[str, Estimate]
    foreign: dict[str, Estimate]
    gain: PairedDifference
    to_pooled: PairedDifference
    verdict: str
    by_budget: PairedDifference | None = None


def results(scored: Sequence[Scored], encoding: LabelEncoding) -> tuple[SiteResult, ...]:
    """All sites, the one with the lowest federated AUROC first; those without a number come last."""
    gains = [_difference(s, FEDERATED, ALONE, encoding) for s in scored]
    chances = {k: p for k, gain in enumerate(gains) if (p := gain.p_value) is not None}
    adjusted = dict(zip(chances, holm(list(chances.values())), strict=True)) if chances else {}
    found = []
    for k, (site, gain) in enumerate(zip(scored, gains, strict=True)):
        arms = {arm: _area(scores, site, encoding) for arm, scores in site.scores.items()}
        foreign = {name: _area(scores, site, encoding) for name, scores in site.foreign.items()}
        to_pooled = _difference(site, FEDERATED, POOLED, encoding)
        shown = adjusted.get(k, 1.0) <= 0.05 and gain.difference.value is not None
        better = (gain.difference.value or 0.0) > 0
        verdict = ("gains" if better else "loses") if shown else "no difference shown"
        by_budget = changed_by_budget([site], encoding)
        found.append(
            SiteResult(site.name, site.learned_from, arms, foreign, gain, to_pooled, verdict, by_budget)
        )
    return tuple(sorted(found, key=_worst_first))


def changed_by_budget(scored: Sequence[Scored], encoding: LabelEncoding) -> PairedDifference | None:
    """The federated AUROC less that of the same federation without its budget, over the test cases of all
    these sites; None where there was no such arm.
    """
    if not all(WITHOUT_BUDGET in site.scores for site in scored):
        return None
    return _difference(_whole(scored, (FEDERATED, WITHOUT_BUDGET)), FEDERATED, WITHOUT_BUDGET, encoding)


def chapter(
    found: Sequence[SiteResult],
    scored: Sequence[Scored],
    encoding: LabelEncoding,
    history: History,
    *,
    weights_bytes: int,
    notes: Sequence[str] = (),
    spent: Sequence[Mapping[str, Any]] = (),
) -> Clinical:
    """The report's chapter: findings, tables, the course of the rounds, what a simulation does not show."""
    findings = [
        as_finding(estimate, name="auroc", group=f"site={r.name}", label=arm)
        for r in found
        for arm, estimate in r.arms.items()
    ]
    findings += [
        as_finding(r.gain.difference, name="auroc_gain_over_alone", group=f"site={r.name}", note=r.verdict)
        for r in found
    ]
    whole = [arm for arm in (FEDERATED, WITHOUT_BUDGET, POOLED) if all(arm in s.scores for s in scored)]
    findings += [
        as_finding(_everyone(scored, arm, encoding), name="auroc", group="all sites", label=arm)
        for arm in whole
    ]
    changes = [(f"site={r.name}", r.by_budget) for r in found]
    changes.append(("all sites", changed_by_budget(scored, encoding)))
    findings += [
        as_finding(change.difference, name="auroc_change_by_budget", group=group)
        for group, change in changes
        if change is not None
    ]
    return Clinical(
        "Sites that learn together",
        " ".join([_statement(found), *_of_budget(changes[-1][1]), *notes]),
        findings=tuple(findings),
        tables={
            "Each site under each arm, the worst first (AUROC on its own test cases)": _by_site(found),
            "Models that were trained at one site alone, at each site (AUROC)": _transfer(found),
            "Bytes of a round, by site": bytes_of_round(history, weights_bytes),
            **({"Privacy that was spent on each patient, by site": list(spent)} if spent else {}),
            **({"Rounds in which a site was missing": gone} if (gone := missing(history)) else {}),
        },
        plots=course(history),
        untested=_untested(found),
    )


def _statement(found: Sequence[SiteResult]) -> str:
    """Who gains and who loses, in sentences."""
    by: dict[str, list[str]] = {"gains": [], "loses": [], "no difference shown": []}
    for r in found:
        by[r.verdict].append(r.name)
    worst = next((r for r in found if r.arms[FEDERATED].value is not None), None)
    words = [f"Beside its own model, the federated one is better at {_count(by['gains'], found)}"]
    words.append(f"worse at {_count(by['loses'], found)}")
    words.append(f"and at {_count(by['no difference shown'], found)} no difference was shown.")
    text = ", ".join(words)
    if worst is not None:
        text += f" The worst site is {worst.name}: AUROC {as_finding(worst.arms[FEDERATED]).text}."
    lower = [r.name for r in found if (r.gain.difference.value or 0.0) < 0]
    if lower:
        text += f" Its measured AUROC is below that of the own model at {', '.join(lower)}."
    return text


def _of_budget(change: PairedDifference | None) -> list[str]:
    """What the budget of privacy did to all test cases together, in a sentence."""
    if change is None:
        return []
    if change.difference.value is None:
        return [f"What the budget of privacy cost is not told: {change.difference.reason}."]
    return [
        "Beside the same federation without its budget of privacy, the AUROC over all test cases is changed "
        f"by {as_finding(change.difference).text}."
    ]


def _count(names: Sequence[str], found: Sequence[SiteResult]) -> str:
    listed = f" ({', '.join(names)})" if names else ""
    return f"{len(names)} of {len(found)} sites{listed}"


def _by_site(found: Sequence[SiteResult]) -> list[Row]:
    rows = []
    for r in found:
        arms = {arm: _cell(r.arms[arm]) for arm in _ARMS if arm in r.arms}
        spent = {"federated less without budget": _cell(r.by_budget.difference)} if r.by_budget else {}
        rows.append(
            {
                "site": r.name,
                "cases learned from": r.learned_from,
                "test cases": r.arms[FEDERATED].n,
                **arms,
                "federated less alone": _cell(r.gain.difference),
                "federated less pooled": _cell(r.to_pooled.difference),
                **spent,
                "shown": r.verdict,
            }
        )
    return rows


def _transfer(found: Sequence[SiteResult]) -> list[Row]:
    """A row a site whose cases are scored, a column a site whose model scores."""
    names = [r.name for r in found]
    return [
        {"at site": r.name}
        | {f"of {name}": _cell(r.arms[ALONE] if name == r.name else r.foreign[name]) for name in names}
        for r in found
    ]


def _untested(found: Sequence[SiteResult]) -> tuple[str, ...]:
    few = [r.name for r in found if r.arms[FEDERATED].value is None]
    said = [
        "A federation of real hospitals: this was a simulation on one machine, without their networks, their "
        "delays or their ways of labelling.",
        "Privacy: what the weights give away of patients is measured only where the plan has a budget of "
        "differential privacy, and then by its accountant.",
        "Sites that were not among these: the numbers speak of the sites that took part.",
    ]
    return (*said, *((f"Results at {', '.join(few)}: too few test cases for a number.",) if few else ()))


def _everyone(scored: Sequence[Scored], arm: str, encoding: LabelEncoding) -> Estimate:
    """One AUROC over the test cases of all sites, each scored by its arm."""
    whole = _whole(scored, (arm,))
    return _area(whole.scores[arm], whole, encoding)


def _whole(scored: Sequence[Scored], arms: Sequence[str]) -> Scored:
    """The test cases of all sites as those of one."""
    return Scored(
        "all", 0, np.concatenate([s.answers for s in scored]),
        tuple(f"{k}/{p}" for k, s in enumerate(scored) for p in s.patients),
        {arm: np.concatenate([s.scores[arm] for s in scored]) for arm in arms}, {},
    )  # fmt: skip


def _area(scores: Array, site: Scored, encoding: LabelEncoding) -> Estimate:
    """The AUROC at a site: of the positive class, or the mean over classes against the rest."""
    if encoding.kind == "binary":
        return auroc(scores[:, 0], site.answers, patients=list(site.patients))
    rows = classification_metrics(
        scores, site.answers, patients=list(site.patients), classes=encoding.classes,
        kind="multiclass" if encoding.kind == "multiclass" else "multilabel", subgroup=True,
    )  # fmt: skip
    return next(r for r in rows if r.name == "auroc" and not r.group)


def _difference(site: Scored, one: str, two: str, encoding: LabelEncoding) -> PairedDifference:
    """The first arm's AUROC less the second's on a site's test cases; of binary questions only."""
    if encoding.kind != "binary":
        reason = "the paired difference is measured of binary questions only"
        n, patients = len(site.answers), len(set(site.patients))
        return PairedDifference(
            Estimate("auroc_difference", None, None, None, n, patients, reason=reason), None
        )
    return auroc_difference(
        site.scores[one][:, 0], site.scores[two][:, 0], site.answers, patients=list(site.patients)
    )


def _cell(estimate: Estimate) -> Row | str:
    if estimate.value is None:
        return estimate.reason
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def _worst_first(result: SiteResult) -> float:
    value = result.arms[FEDERATED].value
    return 2.0 if value is None else value
