"""The evidence of a deployed run: what the sites counted, each alone and all together, the worst first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from hounsfield.core.clinical import Clinical
from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.model import Model
from hounsfield.federation.checks import contrary_findings
from hounsfield.federation.own_layers import ROW
from hounsfield.federation.privacy.pooled_counts import pooled
from hounsfield.federation.round_tables import History, bytes_of_round, course, missing
from hounsfield.steps.clinical import with_clinical

__all__ = ["evidence_of"]

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
        phantom="phantom" in model.card,
    )
    return with_clinical(evidence, _chapter(model, counts, silent, history, weights_bytes))


def _chapter(
    model: Model, counts: Counted, silent: Mapping[str, str], history: History, weights_bytes: int
) -> Clinical:
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
    if ROW in model.card:
        lead += f" The common model's normalisation layers: {model.card[ROW]}."
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
    return (*quiet, *contrary_findings(history))


def _context(model: Model) -> dict[str, Any]:
    from hounsfield.steps.facts import meaning_of, versions

    federation = model.plan.federation
    return {
        "task": model.plan.task,
        "application": model.plan.application,
        **meaning_of(model),
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
