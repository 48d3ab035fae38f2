"""A member's task where images are classified: loss, mitigation, AUROC by epoch, logits of its own fold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from hounsfield.io.files import whole_file
from hounsfield.metrics.discrimination import area
from hounsfield.steps.balance import Balance, balance_of
from hounsfield.steps.batches import Batches
from hounsfield.steps.validate import stressed_logits, validation_logits
from hounsfield.tasks.classification import loss_of, targets_of, terms_of

if TYPE_CHECKING:
    from hounsfield.steps.group import Group
    from hounsfield.steps.job import Job
    from hounsfield.steps.learner import Learner

__all__ = ["Classifying"]


class Classifying:
    """See `member_task.MemberTask`."""

    def __init__(self, job: Job, number: int, device: torch.device, group: Group) -> None:
        self.job, self.number, self.group = job, number, group
        self.training, self.validation = job.parts(number)
        self.targets = targets_of(job.answers, job.encoding)
        self.loss = loss_of(job.plan.fit, job.encoding, self.targets[self.training])
        self.batches = Batches(job, number, self.targets, device, threads=job.threads)
        self.balance = self.batches.balance = balance_of(job, number)

    @property
    def judge(self) -> str:
        """With a mitigation the best epoch is known by the loss that it lowers."""
        return "val_loss" if self.balance is None else "val_group_loss"

    def begin(self, learner: Learner) -> None:
        learner.balance = self.balance
        if self.balance is not None:  # group-DRO has weights of its own, in place of the classes'
            weighed = self.job.plan.fit.class_weights and not self.balance.moves
            fit = self.job.plan.fit.model_copy(update={"class_weights": weighed})
            learner.terms = terms_of(fit, self.job.encoding, self.targets[self.training])

    def measured(self, learner: Learner) -> dict[str, Any]:
        logits = validation_logits(self.job, learner, self.batches, self.validation)
        with torch.no_grad():
            wanted = torch.from_numpy(self.targets[self.validation])
            found: dict[str, Any] = {"val_loss": float(self.loss(torch.from_numpy(logits), wanted))}
        found["val_auroc"] = self._discrimination(logits)
        if self.balance is not None:
            found["val_group_loss"] = self._balanced_loss(learner, self.balance, logits)
        return found

    def closed(self, learner: Learner, epoch: int, pause: Callable[[], None]) -> None:
        """Nothing."""

    def keep(self, learner: Learner, folder: Path) -> None:
        rule = self.job.plan.validation
        logits = validation_logits(self.job, learner, self.batches, self.validation, test_time=rule.test_time)
        stressed = logits[None]
        if rule.calibrate_on == "augmented":
            stressed = stressed_logits(self.job, self.number, learner, self.validation)
        if self.group.leads:
            with whole_file(folder / "validation.npz") as temporary, temporary.open("wb") as stream:
                np.savez(stream, rows=self.validation, logits=logits, stressed=stressed)

    def _balanced_loss(self, learner: Learner, balance: Balance, logits: NDArray[np.float32]) -> float:
        if learner.terms is None:
            raise RuntimeError("a balance without the losses of its rows")
        with torch.no_grad():
            wanted = torch.from_numpy(self.targets[self.validation])
            terms = learner.terms(torch.from_numpy(logits), wanted)
        return balance.judged(terms.double().numpy(), self.validation)

    def _discrimination(self, logits: NDArray[np.float32]) -> float | None:
        """Mean one-against-rest AUROC on the validation fold, None where a class is absent."""
        wanted = self.targets[self.validation]
        areas = [area(logits[:, c].astype(np.float64), wanted[:, c] > 0.5) for c in range(wanted.shape[1])]
        known = [a for a in areas if a is not None]
        return float(np.mean(known)) if known else None
