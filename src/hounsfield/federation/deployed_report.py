"""The evidence of a deployed run: what the sites counted, each alone and all together, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from hounsfield.core.clinical import Clinical, Plot, PlotSeries
from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.model import Model
from hounsfield.federation.checks import contrary_sites
from hounsfield.federation.privacy.pooled_counts import pooled
from hounsfield.steps.clinical import with_clinical

__all__ = ["bytes_of_round", "course", "evidence_of", "missing"]

Row = dict[str, Any]
History = Sequence[Mapping[str, Any]]
Counted = Mapping[str, Mapping[str, NDArray[Any]]]


def evidence_of(
    model: Model, counts: Counted, silent: Mapping[str, str], history: History, *, weights_bytes: int
) -> Evidence:
    """Evidence from the sites' counts by name; `silent` says of the others why there are none."""
    together = pooled(list(counts.values()))
    evidence = Evidence(
        f"Federation of {len(counts) + len(silent)} sites: {', '.join(model.encoding.target)}",
        audit=_audit(silent, history),
        metrics=tuple(f for f in together if not f.group),
        subgroups=tuple(f for f in together if f.group),
        untested=_UNTESTED,
        context=_context(model),
    )
    return with_clinical(evidence, _chapter(counts, silent, history, weights_bytes))


def bytes_of_round(history: History, weights_bytes: int) -> list[Row]:
    """What the last round carried to each site and from it, beside the bytes of the weights."""
    if not history:
        return []
    to, back = history[-1]["bytes_to_sites"], history[-1]["bytes_from_sites"]
    return [
        {
            "site": name,
            "to the site": sent,
            "from the site": back.get(name),
            "weights": weights_bytes,
            "times the weights": round(max(sent, back.get(name, 0)) / weights_bytes, 3),
        }
        for name, sent in to.items()
    ]


def missing(history: History) -> list[Row]:
    """Rounds in which a site was missing, and why."""
    return [
        {"round": r["round"], "site": name, "why": why}
        for r in history
        for name, why in [*r["left_out"].items(), *((late, "no answer in time") for late in r["late"])]
    ]


def course(history: History) -> tuple[Plot, ...]:
    """What the common weights lose at each site before it learns, round by round."""
    series = []
    for name in sorted({name for r in history for name in r["losses"]}):
        told = [(r["round"], r["losses"][name]["before"]) for r in history if name in r["losses"]]
        series.append(PlotSeries(name, [float(x) for x, _ in told], [y for _, y in told]))
    if not series:
        return ()
    note = "Measured on cases that the site learns from, before it learns in that round."
    return (Plot("Loss of the common weights at each site", "round", "loss", tuple(series), note=note),)


def _chapter(counts: Counted, silent: Mapping[str, str], history: History, weights_bytes: int) -> Clinical:
    found = [
        replace(finding, group=f"site={name}")
        for name, own in counts.items()
        for finding in pooled([own])
        if finding.name == "auroc" and not finding.group
    ]
    found.sort(key=lambda finding: (finding.value is None, finding.value))
    without = sorted(set(counts) - {f.group.removeprefix("site=") for f in found})
    lead = f"{len(counts)} sites evaluated the common model on their own held-back patients, in counts."
    if found:
        lead += f" The worst is {found[0].group.removeprefix('site=')}: AUROC {found[0].text}."
    if without:
        lead += f" Too few patients for a number at {', '.join(without)}."
    lead += "".join(f" No counts from {name}: {why}." for name, why in silent.items())
    gone = missing(history)
    return Clinical(
        "Sites that learned together",
        lead,
        findings=tuple(found),
        tables={
            "Each site, the worst first (AUROC of the common model on its held-back patients)": [
                {"site": f.group.removeprefix("site="), "answer": f.label, "AUROC": f.text} for f in found
            ],
            "Bytes of a round, by site": bytes_of_round(history, weights_bytes),
            **({"Rounds in which a site was missing": gone} if gone else {}),
        },
        plots=course(history),
    )


def _audit(silent: Mapping[str, str], history: History) -> tuple[Finding, ...]:
    """What a reader must know of the sites."""
    quiet = [Finding("site_not_evaluated", group=n, level="warning", note=why) for n, why in silent.items()]
    odd = [
        Finding("site_contradicts_others", group=name, level="warning", note=why)
        for name, why in contrary_sites(history).items()
    ]
    return (*quiet, *odd)


def _context(model: Model) -> dict[str, Any]:
    from hounsfield.steps.facts import versions

    encoding, federation = model.encoding, model.plan.federation
    return {
        "task": model.plan.task,
        "application": model.plan.application,
        "kind": encoding.kind,
        "classes": list(encoding.classes),
        "positive": encoding.positive_name if encoding.kind == "binary" else "",
        "target": list(encoding.target),
        **versions(),
        "plan_digest": model.plan.digest(),
        "data_digest": model.data_digest,
        "seed": model.plan.seed,
        "device": model.plan.device,
        "members": len(model.members),
        "federation": {
            "strategy": federation.strategy,
            "secure_aggregation": federation.secure_aggregation,
            "epsilon": federation.epsilon,
            "delta": federation.delta,
        },
    }


_UNTESTED = (
    "Whether a site gains: its own model was not trained beside; hu federate simulate does that where cases "
    "may lie in one place.",
    "Explanations, robustness and referral: no site shows its images; hu evaluate at a site does that.",
    "The data of the sites: copies, leaks and shortcuts are audited by each site on its own.",
    "Sites that were not among these: the numbers speak of the sites that took part.",
)
