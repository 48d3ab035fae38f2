"""What a mitigation changes in the training of one member: who is drawn, and how much each case weighs.

The weights of the groups in group-DRO are those that the losses of the steps before gave, so that a step is
the same in one piece or several, in one process or many; they are part of every checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import HounsfieldError

if TYPE_CHECKING:
    from hounsfield.steps.job import Job

__all__ = ["Balance", "balance_of", "balanced_order", "reweighted"]


def balance_of(job: Job, number: int) -> Balance | None:
    """The balance of a member's training, None where the plan asks for none."""
    if job.plan.mitigation.method == "none":
        return None
    if job.groups is None or job.patients is None:
        raise HounsfieldError(
            "the job does not say which case is in which group; train again without --resume"
        )
    training, _ = job.parts(number)
    return Balance(job, job.groups, job.patients, training)


class Balance:
    """The drawing and the weights of one member's cases; `q` (cells,) are group-DRO's weights.

    A cell is a group and a class of it; of several labels a case, a group.
    """

    def __init__(
        self, job: Job, groups: NDArray[np.int64], patients: NDArray[np.int64], training: NDArray[np.int64]
    ) -> None:
        self.plan, self.training, self.patients = job.plan.mitigation, training, patients
        answers, encoding = job.answers, job.encoding
        classes = 1 if encoding.kind == "multilabel" else len(encoding.classes)
        self.cell = groups * classes + (0 if encoding.kind == "multilabel" else answers)
        self.count = np.bincount(self.cell[training], minlength=(int(groups.max()) + 1) * classes)
        self.weight = reweighted(groups, answers, encoding, training)
        held = self.count > 0
        self.q = torch.from_numpy(held / held.sum())
        self._shares = self._wanted_shares(classes, held)

    @property
    def moves(self) -> bool:
        """True for group-DRO, whose weights follow the losses."""
        return self.plan.method == "group_dro"

    def _wanted_shares(self, classes: int, held: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        """How often each cell is drawn; None where every case is drawn once."""
        if self.plan.method == "reweighting":
            return None
        if self.moves:
            return np.asarray(held / held.sum(), np.float64)
        table = self.count.reshape(-1, classes)
        shares: NDArray[np.float64] = (table.sum(1)[:, None] * table.sum(0)[None, :]).ravel() * held
        return np.asarray(shares / shares.sum(), np.float64)

    def order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """The cases of an epoch, as many as there are training cases."""
        if self._shares is None:
            return self.training[rng.permutation(len(self.training))]
        return balanced_order(self.training, self.cell, self.patients, self._shares, rng)

    def weights(self, who: NDArray[np.int64], batch: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Weights (n, 1 or outputs) of the cases `who`, which are a piece of the batch; None for 1."""
        if self.plan.method == "matched_resampling":
            return None
        if not self.moves:
            return np.asarray(self.weight[who], np.float32)
        seen = np.bincount(self.cell[batch], minlength=len(self.count))
        each = self.q.numpy() * len(batch) / np.maximum(seen, 1)
        return np.asarray(each[self.cell[who]][:, None], np.float32)

    def follow(self, losses: NDArray[np.float64], seen: NDArray[np.float64]) -> None:
        """Move the weights of the cells by their sums of losses in a batch of so many cases each.

        Algorithm 1 of Sagawa (ICLR 2020); a cell that the batch does not hold stays as it is.
        """
        held = seen > 0
        mean = losses[held] / seen[held]
        mean = mean + self.plan.adjustment / np.sqrt(np.maximum(self.count[held], 1))
        with torch.no_grad():
            self.q[torch.from_numpy(held)] *= torch.from_numpy(np.exp(self.plan.step_size * mean))
            self.q /= self.q.sum()

    def judged(self, losses: NDArray[np.float64], who: NDArray[np.int64]) -> float:
        """By what a best epoch is chosen: the worst cell's mean loss (n, outputs), or the weighted mean."""
        if not self.moves:
            return float((losses * self.weight[who]).mean())
        rows, cells = losses.mean(1), self.cell[who]
        return float(max(rows[cells == k].mean() for k in np.unique(cells)))

    def sums(self, losses: Tensor, who: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sums (cells,) of the losses (n, outputs) of some cases, each case's the mean over its outputs."""
        rows = losses.detach().double().mean(1).cpu().numpy()
        return np.bincount(self.cell[who], weights=rows, minlength=len(self.count)).astype(np.float64)


def reweighted(
    groups: NDArray[np.int64],
    answers: NDArray[np.int64],
    encoding: LabelEncoding,
    training: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Weights P(group) P(class) / P(group, class) by the training cases (Kamiran & Calders 2012): (N, 1).

    Of several labels a case each output has its own, of the label's presence and absence: (N, outputs).
    They average to 1 over the training cases.

    >>> groups, answers = np.array([0, 0, 0, 1, 1]), np.array([1, 1, 0, 0, 1])
    >>> found = reweighted(groups, answers, LabelEncoding("binary", ("0", "1")), np.arange(5))
    >>> found.ravel().astype(float).round(4).tolist()
    [0.9, 0.9, 1.2, 0.8, 1.2]
    """
    columns = answers.reshape(len(answers), -1)
    classes = 2 if encoding.kind == "multilabel" else len(encoding.classes)
    weights = np.ones(columns.shape)
    for c in range(columns.shape[1]):
        table = np.zeros((int(groups.max()) + 1, classes))
        np.add.at(table, (groups[training], columns[training, c]), 1)
        independent = table.sum(1)[:, None] * table.sum(0)[None, :] / table.sum()
        each = np.divide(independent, table, out=np.ones_like(table), where=table > 0)
        weights[:, c] = each[groups, columns[:, c]]
        weights[:, c] /= weights[training, c].mean()
    return weights.astype(np.float32)


def balanced_order(
    training: NDArray[np.int64],
    cell: NDArray[np.int64],
    patients: NDArray[np.int64],
    shares: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """As many of the training cases as there are, each cell as often as its share, in a random order.

    Within a cell every patient is drawn as often as the others, give or take one, and so is every image of a
    patient.

    >>> cell, alone, rng = np.array([0, 0, 0, 1]), np.arange(4), np.random.default_rng(0)
    >>> np.bincount(cell[balanced_order(alone, cell, alone, np.array([.5, .5]), rng)]).tolist()
    [2, 2]
    """
    exact = shares * len(training)
    quota = np.floor(exact).astype(np.int64)
    rest = len(training) - int(quota.sum())
    quota[np.argsort(quota - exact, kind="stable")[:rest]] += 1
    drawn = [
        _from_patients(training[cell[training] == k], patients, int(quota[k]), rng)
        for k in np.flatnonzero(quota)
    ]
    return rng.permutation(np.concatenate(drawn))


def _from_patients(
    cases: NDArray[np.int64], patients: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    who, owner = np.unique(patients[cases], return_inverse=True)
    turns = _dealt(len(who), count, rng)
    if len(who) == len(cases):
        return np.repeat(cases[np.argsort(owner, kind="stable")], turns)
    found = [
        np.repeat(own, _dealt(len(own), int(turns[p]), rng))
        for p in range(len(who))
        if turns[p] and len(own := cases[owner == p])
    ]
    return np.concatenate(found)


def _dealt(things: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each of the things is drawn in `count` draws: as evenly as it goes."""
    turns = np.full(things, count // things, np.int64)
    turns[rng.permutation(things)[: count % things]] += 1
    return turns
