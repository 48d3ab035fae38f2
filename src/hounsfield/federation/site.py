"""A site: what it answers to each message, from its own cases and by the installed package alone.

It tells aggregated facts, accepts one plan and pins its hash, trains a round, and evaluates in counts. What
is its own from round to round (SCAFFOLD's correction, FedBN's layers) lies in its folder, one file a round,
so that a round that is asked again begins as it did.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hounsfield.core.errors import BadInput, GateRefused, HounsfieldError
from hounsfield.federation.facts import facts_of
from hounsfield.federation.flower import Message
from hounsfield.federation.layout import Vector
from hounsfield.federation.local_training import LocalTraining, Trained
from hounsfield.federation.messages import (
    CONTROL,
    EVALUATE,
    FACTS,
    OWN_LAYERS,
    PROPOSE,
    TRAIN,
    Reason,
    accepted,
    answered_counts,
    answered_facts,
    answered_weights,
    config_of,
    refused,
    vector_of,
)
from hounsfield.federation.own_state import OwnState
from hounsfield.federation.proposal import Proposal, package_version
from hounsfield.federation.site_cases import SiteCases, encoded_as, patients_of
from hounsfield.steps.prepare import Prepared, prepare
from hounsfield.tasks.classification import answers_of

if TYPE_CHECKING:
    from hounsfield.federation.private_rounds import PrivateRounds

__all__ = ["Refused", "Site"]


class Refused(HounsfieldError):
    """A site does not do what was asked; `reason` names why."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Site:
    """One site with its cases, which keeps what is its own in `folder`; `answer` is its door.

    `allows` may refuse a proposal by raising Refused, after the site's own checks.
    """

    def __init__(
        self,
        cases: SiteCases,
        folder: Path,
        *,
        allows: Callable[[Proposal], None] = lambda _: None,
        threads: int = 1,
    ) -> None:
        self.cases, self.folder, self.allows, self.threads = cases, folder, allows, threads
        self.proposal: Proposal | None = None
        self.private: PrivateRounds | None = None
        self._training: LocalTraining | None = None
        self._prepared: Prepared | None = None
        self._answers = {
            FACTS: self._facts,
            PROPOSE: self._propose,
            TRAIN: self._train,
            EVALUATE: self._evaluate,
        }

    def answer(self, ask: Message) -> Message:
        """What the site says to a message; a fault becomes a refusal with one sentence."""
        kind = ask.metadata.message_type
        try:
            if kind not in self._answers:
                raise Refused(Reason.UNKNOWN, f'a site does not answer to "{kind}"; compare the versions')
            return self._answers[kind](ask)
        except Refused as error:
            return refused(ask, error.reason, str(error))
        except GateRefused as error:  # a budget that is spent, or a rule of safety
            return refused(ask, Reason.BUDGET, str(error))
        except HounsfieldError as error:
            return refused(ask, Reason.FAILED, str(error))

    @property
    def training(self) -> LocalTraining:
        """The site's network and batches under the accepted plan, made when they are first needed."""
        if self._training is None:
            proposal = self._accepted()
            cohort = encoded_as(self.cases.cohort, proposal.encoding)
            cases = cohort.development
            self._training = LocalTraining(
                proposal.plan, proposal.encoding, self.prepared, self.prepared.rows([c.id for c in cases]),
                answers_of(cases, proposal.encoding), name=self.cases.name, patients=patients_of(cases),
                threads=proposal.plan.threads or self.threads,
            )  # fmt: skip
            if proposal.plan.federation.private:
                from hounsfield.federation.private_rounds import PrivateRounds

                place = self.folder / "privacy"
                self.private = PrivateRounds(self._training, place, run=proposal.hash)
                self._training.walk = self.private.walk
        return self._training

    @property
    def prepared(self) -> Prepared:
        """The site's images as the accepted plan wants them, made when they are first needed."""
        if self._prepared is None:
            plan, cases = self._accepted().plan, self.cases.cohort.cases
            place = self.folder / "prepared"
            self._prepared = prepare(cases, plan.input, self.cases.store, place, threads=self.threads)
        return self._prepared

    def trained(self, weights: Vector, number: int, *, common: Vector | None = None) -> Trained:
        """One round from the common weights (P,), with what is the site's own taken up and laid down."""
        own, training = self.own, self.training
        control = None
        mine = own.before(number)
        training.give_kept(mine)
        if common is not None:
            control = (common, mine.get(CONTROL, np.zeros_like(common)))
        found = training.round(weights, number, control=control)
        kept = training.kept()
        if found.control is not None:
            kept[CONTROL] = found.control
        own.keep(number, kept)
        if control is None or found.control is None:
            return found
        return Trained(found.weights, found.n, found.metrics, found.control - control[1])

    @property
    def own(self) -> OwnState:
        """What is the site's own from round to round under the accepted plan."""
        return OwnState(self.folder / "own", self._accepted().hash)

    def _facts(self, ask: Message) -> Message:
        cohort = self.cases.cohort
        if not cohort.development:
            raise Refused(Reason.NO_CASES, "the site has no case to learn from")
        smallest = int(str(config_of(ask)["smallest-n"]))
        if self.cases.patients < smallest:
            raise Refused(Reason.TOO_FEW, self._too_few(smallest))
        told = facts_of(cohort, self.cases.store, smallest_n=smallest, version=package_version())
        return answered_facts(ask, told.to_json())

    def _propose(self, ask: Message) -> Message:
        asked = config_of(ask)
        theirs = str(asked["version"])
        if theirs != package_version():
            raise Refused(
                Reason.VERSION,
                f"the coordinator runs hounsfield {theirs} and this site {package_version()}; expected the "
                "same on both sides; install one of the two",
            )
        try:
            proposal = Proposal.from_json(str(asked["proposal"]))
        except BadInput as error:
            raise Refused(Reason.PLAN, str(error)) from error
        if proposal.hash != asked["plan-hash"]:
            raise Refused(Reason.HASH, self._other_hash(str(asked["plan-hash"]), proposal.hash))
        self._fits(proposal)
        self.allows(proposal)
        if self.proposal is None or self.proposal.hash != proposal.hash:
            self.proposal, self._training, self._prepared = proposal, None, None
        return accepted(ask, proposal.hash, n=self.cases.patients)

    def _fits(self, proposal: Proposal) -> None:
        """Refuse a plan that these cases cannot follow."""
        smallest = proposal.plan.federation.smallest_n
        if self.cases.patients < smallest:
            raise Refused(Reason.TOO_FEW, self._too_few(smallest))
        try:
            cohort = encoded_as(self.cases.cohort, proposal.encoding)
        except BadInput as error:
            raise Refused(Reason.CLASSES, str(error)) from error
        present = [name for name, n in cohort.class_counts(cohort.development).items() if n]
        if len(present) < 2 and proposal.encoding.kind != "multilabel":
            raise Refused(
                Reason.ONE_CLASS,
                f'the cases of the site have one class only ("{"".join(present) or "none"}"); expected at '
                "least two; check the target column",
            )

    def _train(self, ask: Message) -> Message:
        self._pinned(ask)
        if OWN_LAYERS in config_of(ask):
            from hounsfield.federation.own_layers import layers_at

            layers, n = layers_at(self, _round_of(ask))
            return answered_weights(ask, layers, {}, n=n)
        scaffold = self._accepted().plan.federation.strategy == "scaffold"
        common = vector_of(ask, CONTROL) if scaffold else None
        number = _round_of(ask)
        found = self.trained(vector_of(ask), number, common=common)
        if not np.isfinite(found.weights).all():
            raise Refused(
                Reason.NOT_FINITE, f"the weights of round {number} are not finite (NaN or infinite)"
            )
        return answered_weights(ask, found.weights, found.metrics, n=found.n, control=found.control)

    def _evaluate(self, ask: Message) -> Message:
        from hounsfield.federation.own_model import keep_own_model
        from hounsfield.federation.site_counts import counts_at

        self._pinned(ask)
        weights = vector_of(ask)
        counts, n = counts_at(self, weights, _round_of(ask))
        keep_own_model(self, weights)
        return answered_counts(ask, counts, n=n)

    def _accepted(self) -> Proposal:
        if self.proposal is None:
            raise Refused(Reason.HASH, "no plan was accepted yet; expected a proposal before any round")
        return self.proposal

    def _pinned(self, ask: Message) -> None:
        """Refuse a message that bears another plan's hash than the accepted one."""
        given, own = str(config_of(ask).get("plan-hash", "")), self._accepted().hash
        if given != own:
            raise Refused(Reason.HASH, self._other_hash(given, own))

    def _other_hash(self, given: str, own: str) -> str:
        return (
            f"the message bears the plan hash {given[:16] or 'none'}, and the plan is {own[:16]}; expected "
            "the same; propose the changed plan anew"
        )

    def _too_few(self, smallest: int) -> str:
        return f"the site has fewer than {smallest} patients to learn from (federation.smallest_n)"


def _round_of(ask: Message) -> int:
    return int(str(config_of(ask)["server-round"]))
