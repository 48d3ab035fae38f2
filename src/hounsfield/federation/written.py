"""The files of a finished simulation: the common model, its report with the chapter of the sites, rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hounsfield.core.cohort import Cohort
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Index
from hounsfield.core.model import Calibration, Model
from hounsfield.core.predictions import Predictions
from hounsfield.federation.agreement import Agreement
from hounsfield.federation.arms import FEDERATED, Scored
from hounsfield.federation.checks import contrary_findings
from hounsfield.federation.common_model import common_network, half
from hounsfield.federation.comparison import SiteResult, chapter
from hounsfield.federation.kept_rounds import Kept
from hounsfield.federation.own_layers import CommonLayers
from hounsfield.federation.privacy.privacy_facts import privacy_facts
from hounsfield.federation.site import Site
from hounsfield.io.files import write_json
from hounsfield.io.model_store import write_model
from hounsfield.networks.weights import save_weights
from hounsfield.steps.clinical import with_clinical
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.study import Clock, Run

__all__ = ["written"]


def written(
    folder: RunFolder,
    sites: Sequence[Site],
    scored: Sequence[Scored],
    found: Sequence[SiteResult],
    agreement: Agreement,
    kept: Kept,
    layers: CommonLayers,
    index: Index,
    cohort: Cohort,
    *,
    clock: Clock,
    command: str,
    refused: Mapping[str, str],
    audit: Sequence[Finding] = (),
) -> Run:
    """Write model, predictions, rounds.json and the report of a simulation.

    `cohort` are the cases of all sites together, `audit` is what was found of them.
    """
    from hounsfield.steps.evaluate import Setting, evaluate
    from hounsfield.steps.facts import context_of, tables_of
    from hounsfield.steps.predict import table_of, write_predictions
    from hounsfield.steps.report import report

    phantom = all(site.cases.cohort.only_phantoms for site in sites)
    model = _model(folder, agreement, kept, layers, sites, cohort, phantom=phantom)
    with clock.step("report") as said:
        scores = np.concatenate([s.scores[FEDERATED] for s in scored])
        predictions: Predictions = table_of(model, cohort.test, scores, kind="test")
        setting = Setting(
            title=f"Federation of {len(sites)} sites: {', '.join(model.encoding.target)}",
            audit=(*_of_sites(refused, kept), *audit),
            tables=tables_of(index, cohort, model.plan),
            context=context_of(model, cohort, clock.seconds, command),
            untested=("Explanations, robustness and referral: not part of a simulation; see hu evaluate.",),
            phantom=phantom,
            seed=model.plan.seed,
        )
        evidence = evaluate(predictions, model.operating_point, setting)
        notes = [f"{name} took no part: {why}." for name, why in refused.items()]
        notes += [f"The common model's normalisation layers: {layers.told}."] if layers.told else []
        told = chapter(
            found, scored, model.encoding, kept.history,
            weights_bytes=kept.weights.nbytes, notes=notes, spent=_spent(sites),
        )  # fmt: skip
        evidence = with_clinical(evidence, told)
        write_predictions(
            predictions, folder.path / "predictions.csv", thresholds=model.operating_point.values
        )
        write_json(folder.path / "rounds.json", {"plan_hash": kept.plan_hash, "rounds": list(kept.history)})
        folder.keep_files(cohort.cases, {c.id: (cohort.part[c.id], "") for c in cohort.cases})
        path = report(evidence, (), folder.path)
        said.append(str(path))
    return Run(folder.path, model, evidence, predictions, path)


def _spent(sites: Sequence[Site]) -> list[dict[str, object]]:
    """What each site has spent of its patients' privacy; nothing where the plan has no budget."""
    rows: list[dict[str, object]] = []
    for site in sites:
        if site.private is None:
            continue
        told = site.private.spending()
        rows.append(
            {
                "site": site.cases.name, "epsilon": round(told.epsilon, 3), "delta": told.delta,
                "budget": told.limit, "unit": "patient", "accountant": told.accountant,
                "noise": round(told.noise, 3), "clip": told.clip, "steps": told.steps,
            }
        )  # fmt: skip
    return rows


def _model(
    folder: RunFolder,
    agreement: Agreement,
    kept: Kept,
    layers: CommonLayers,
    sites: Sequence[Site],
    cohort: Cohort,
    *,
    phantom: bool,
) -> Model:
    """The common model as a directory."""
    proposal = agreement.proposal
    network = common_network(proposal, kept.weights, layers)
    home = folder.work / "common"
    home.mkdir(parents=True, exist_ok=True)
    save_weights(network, home / "weights.safetensors")
    model = folder.model(
        proposal.plan, proposal.encoding, (home / "weights.safetensors",), half(proposal.encoding),
        Calibration(), cohort.digest(), phantom=phantom,
    )  # fmt: skip
    federation = proposal.plan.federation
    card = {
        **model.card,
        "learned": f"by {len(sites)} sites in {kept.round} rounds ({federation.strategy}), simulated",
        **privacy_facts(federation, [s.private.spending() for s in sites if s.private is not None]),
        **layers.row,
    }
    model = replace(model, card=card)
    write_model(model)
    return model


def _of_sites(refused: Mapping[str, str], kept: Kept) -> tuple[Finding, ...]:
    """What a reader must know of the sites: who took no part, whose labels contradict the others'."""
    left = [
        Finding("site_took_no_part", group=name, level="warning", note=why) for name, why in refused.items()
    ]
    return (*left, *contrary_findings(kept.history))
