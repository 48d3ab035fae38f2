"""What the federated weights are set beside: each site alone, all cases in one place, and each site's own
fine-tuning. The same plan, the same steps, the same number of epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.model import Calibration
from hounsfield.core.plan import Plan
from hounsfield.federation.layout import Vector
from hounsfield.federation.local_training import LocalTraining, first_weights
from hounsfield.federation.proposal import Proposal
from hounsfield.federation.site import Site
from hounsfield.federation.site_cases import encoded_as, patients_of
from hounsfield.steps.prepare import Prepared
from hounsfield.tasks.classification import answers_of, probabilities

__all__ = ["ALONE", "FEDERATED", "OWN", "POOLED", "WITHOUT_BUDGET", "Scored", "scored_arms", "with_arm"]

ALONE, POOLED, FEDERATED, OWN = "alone", "pooled", "federated", "fine-tuned"
WITHOUT_BUDGET = "without budget"

Told = Callable[[str], None]


@dataclass(frozen=True)
class Scored:
    """A site's test cases under every arm: `scores` are probabilities (N, outputs) by arm; `foreign` those of
    the models that the other sites trained alone, by site.
    """

    name: str
    learned_from: int
    answers: NDArray[np.int64]
    patients: tuple[str, ...]
    scores: dict[str, NDArray[np.float64]]
    foreign: dict[str, NDArray[np.float64]]


def scored_arms(
    sites: Sequence[Site], proposal: Proposal, common: Vector, folder: Path, *, told: Told = lambda _: None
) -> tuple[Scored, ...]:
    """Every site's test cases scored by the common weights, by its own model, by the pooled one.

    Weights of an arm that is finished lie in `folder` and are not trained again.
    """
    alone = {
        site.cases.name: _kept(folder, site.cases.name, partial(_alone, site, proposal)) for site in sites
    }
    told(f"{len(alone)} sites trained alone")
    pooled_training = _pooled(sites, proposal)
    pooled = _kept(folder, "", partial(_through, pooled_training))
    told("all cases trained in one place")
    found = []
    for site in sites:
        found.append(_scored(site, proposal, common, alone, pooled, pooled_training))
        told(f"{site.cases.name} scored under each arm")
    return tuple(found)


def with_arm(
    scored: Sequence[Scored], arm: str, sites: Sequence[Site], proposal: Proposal, common: Vector
) -> tuple[Scored, ...]:
    """The same test cases scored by another federation's common weights too, at its own sites."""
    return tuple(
        replace(one, scores={**one.scores, arm: _federated(site, proposal, common)})
        for one, site in zip(scored, sites, strict=True)
    )


def _federated(site: Site, proposal: Proposal, common: Vector) -> NDArray[np.float64]:
    """What the common weights, with the site's own layers, say of its test cases."""
    rows = site.prepared.rows([c.id for c in encoded_as(site.cases.cohort, proposal.encoding).test])
    training = site.training
    training.give_kept(site.own.before(proposal.plan.federation.rounds + 1))
    return probabilities(training.logits(common, rows).astype(np.float64), proposal.encoding, Calibration())


def _scored(
    site: Site, proposal: Proposal, common: Vector, alone: dict[str, Vector], pooled: Vector,
    pooled_training: LocalTraining,
) -> Scored:  # fmt: skip
    cohort = encoded_as(site.cases.cohort, proposal.encoding)
    cases, training = cohort.test, site.training
    rows = site.prepared.rows([c.id for c in cases])

    def by(weights: Vector, with_own: LocalTraining) -> NDArray[np.float64]:
        logits = with_own.logits(weights, rows).astype(np.float64)
        return probabilities(logits, proposal.encoding, Calibration())

    scores = {FEDERATED: _federated(site, proposal, common)}
    tuning = proposal.plan.federation.fine_tune_epochs
    if tuning:
        tuned = training.fine_tuned(common, epochs=tuning)
        scores[OWN] = by(tuned, training)
    beside = replace_job(pooled_training, site.prepared)
    scores[POOLED] = by(pooled, beside)
    scores[ALONE] = by(alone[site.cases.name], beside)
    foreign = {name: by(weights, beside) for name, weights in alone.items() if name != site.cases.name}
    return Scored(
        site.cases.name, len(cohort.development), answers_of(cases, proposal.encoding),
        tuple(c.patient for c in cases), scores, foreign,
    )  # fmt: skip


def replace_job(training: LocalTraining, prepared: Prepared) -> LocalTraining:
    """The same network over other images."""
    training.job = replace(training.job, prepared=prepared)
    return training


def _plain(plan: Plan) -> Plan:
    """The plan as one party alone follows it: nothing that is of several sites."""
    return plan.changed(
        {"federation.strategy": "fedavg", "federation.epsilon": 0.0, "federation.secure_aggregation": False}
    )


def _alone(site: Site, proposal: Proposal) -> Vector:
    cohort = encoded_as(site.cases.cohort, proposal.encoding)
    cases = cohort.development
    training = LocalTraining(
        _plain(proposal.plan), proposal.encoding, site.prepared,
        site.prepared.rows([c.id for c in cases]), answers_of(cases, proposal.encoding),
        name=site.cases.name, threads=site.training.threads,
    )  # fmt: skip
    return _through(training)


def _pooled(sites: Sequence[Site], proposal: Proposal) -> LocalTraining:
    """One training over the cases of all sites."""
    images, levels, answers, rows, owners = [], [], [], [], []
    start = 0
    for number, site in enumerate(sites):
        cohort = encoded_as(site.cases.cohort, proposal.encoding)
        cases, prepared = cohort.development, site.prepared
        mine = prepared.rows([c.id for c in cases])
        images.append(np.asarray(prepared.images[mine]))
        levels.append(prepared.levels[mine])
        answers.append(answers_of(cases, proposal.encoding))
        owners.append(np.stack([np.full(len(cases), number), patients_of(cases)], 1))
        rows.append(start + np.arange(len(cases)))
        start += len(cases)
    kind = np.result_type(*{x.dtype for x in images})
    whole = Prepared(
        tuple(map(str, range(start))),
        np.concatenate([x.astype(kind) for x in images]),
        np.concatenate(levels),
    )
    return LocalTraining(
        _plain(proposal.plan), proposal.encoding, whole, np.concatenate(rows), np.concatenate(answers),
        name="pooled", threads=sites[0].training.threads,
        patients=np.unique(np.concatenate(owners), axis=0, return_inverse=True)[1].reshape(-1),
    )  # fmt: skip


def _through(training: LocalTraining) -> Vector:
    """All rounds in one place, where nobody is waited for and the optimiser goes on."""
    weights = first_weights(training.plan, training.job.encoding)
    for number in range(1, training.plan.federation.rounds + 1):
        weights = training.round(weights, number, fresh=number == 1).weights
    return weights


def _kept(folder: Path, site: str, made: Callable[[], Vector]) -> Vector:
    """The weights of an arm (of a site alone, or pooled), from the disk where they are finished."""
    from safetensors.numpy import load_file, save_file

    from hounsfield.federation.local_training import number_of
    from hounsfield.io.files import whole_file

    path = folder / (f"alone-{number_of(site)}.safetensors" if site else "pooled.safetensors")
    if path.is_file():
        return np.asarray(load_file(str(path))["weights"], np.float32)
    weights = made()
    with whole_file(path) as unfinished:
        save_file({"weights": weights}, str(unfinished))
    return weights
