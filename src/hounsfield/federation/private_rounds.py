"""A site's rounds under a budget of privacy: each step is private, each round is paid for before it begins.

It stands in for the plain epochs of `local_training`; batches, changes of images and learning rates are the
same plan's. Of the losses nothing leaves the site: they are not protected.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.federation.layout import Vector
from hounsfield.federation.local_training import LocalTraining, Walked
from hounsfield.federation.privacy.ledger import PrivacyLedger, Spending
from hounsfield.federation.privacy.private_step import (
    PrivateDraws,
    PrivateStep,
    refuse_unprotected,
    secret_rng,
)
from hounsfield.steps.schedule import rate_at, set_rate
from hounsfield.tasks.classification import terms_of

__all__ = ["PrivateRounds"]


class PrivateRounds:
    """The private epochs of a site's training, with its account in `folder`.

    A patient comes into a step by a chance of batch size over patients; an epoch has as many steps as it
    takes for each to come once on average. Raises BadInput for a plan that would carry a patient past the
    noise.
    """

    def __init__(self, training: LocalTraining, folder: Path, *, run: str) -> None:
        plan = training.plan
        refuse_unprotected(plan)
        if training.job.patients is None:
            raise BadInput(
                "a budget of privacy needs to know the patient of each case; give --patient COLUMN"
            )
        folder.mkdir(parents=True, exist_ok=True)
        federation = plan.federation
        self.training, self.run = training, run
        self.ledger = PrivacyLedger(folder, run=run, epsilon=federation.epsilon, delta=federation.delta)
        patients = training.job.patients
        self.patients = len(np.unique(patients))
        self.chance = min(1.0, plan.fit.batch_size / self.patients)
        self.steps = max(1, round(1 / self.chance))
        self.draws = PrivateDraws(training.batches, patients, rate=self.chance)
        self._cases = _digest_of(training)
        self.terms = terms_of(plan.fit, training.job.encoding, training.targets)

    def walk(self, weights: Vector, number: int, epochs: int, fixed: float) -> Walked:
        """The steps of a round from `weights` (P,), which the network holds already.

        Raises BudgetSpent before a step where the round would cost more than is left.
        """
        training, federation = self.training, self.training.plan.federation
        digest = self._question(weights)
        whole = federation.rounds * federation.local_epochs * self.steps
        noise = self.ledger.noise(rate=self.chance, steps=whole)
        count = epochs * self.steps
        self.ledger.charge(number, digest, rate=self.chance, steps=count)
        step = PrivateStep(
            training.learner.network, self.terms, clip=federation.clip, noise=noise,
            expected=self.draws.expected,
        )  # fmt: skip
        rates, secret = [], self.ledger.secret
        with step:
            for place in range(count):
                rng = secret_rng(secret, self.run, number, digest, place)
                done = (number - 1) * federation.local_epochs * self.steps + place
                rates.append(fixed or rate_at(training.plan.fit, min(done, whole), whole))
                set_rate(training.learner.optimiser, rates[-1])
                step.gradient(self.draws.pieces(rng), rng)
                if training.learner.corrected is not None:
                    training.learner.corrected()
                training.learner.optimiser.step()
        return Walked((), tuple(rates))

    def _question(self, weights: Vector) -> str:
        """A digest of all that a round is made of: weights, layers and corrections, and the cases themselves.

        Two rounds that differ in any of it must not have the same noise, or their difference would have none.
        """
        training = self.training
        own, control = training.kept(), training.control or ()
        parts = [weights, *(own[name] for name in sorted(own)), *control]
        found = hashlib.sha256(self._cases)
        for part in parts:
            found.update(np.ascontiguousarray(part).tobytes() + b"|")
        return found.hexdigest()

    def spending(self) -> Spending:
        """What the run has spent on each patient of this site."""
        return self.ledger.spending(clip=self.training.plan.federation.clip, patients=self.patients)


def _digest_of(training: LocalTraining) -> bytes:
    """Of the images, answers and patients that are learned from."""
    job, found = training.job, hashlib.sha256()
    for array in (job.rows, job.answers, job.patients, job.prepared.levels[job.rows]):
        found.update(np.ascontiguousarray(array).tobytes() + b"|")
    for row in job.rows:
        found.update(np.ascontiguousarray(job.prepared.images[row]).tobytes())
    return found.digest()
