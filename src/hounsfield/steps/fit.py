"""Train the members of the ensemble, side by side where there are cores, and keep what they learned."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.cohort import Cohort
from hounsfield.core.plan import Plan
from hounsfield.steps.compute import available_cores, pick_device
from hounsfield.steps.group import ALONE, Group
from hounsfield.steps.job import Job, read_job, write_job
from hounsfield.steps.mitigation import require_possible, training_groups
from hounsfield.steps.prepare import Prepared

__all__ = [
    "Fitted", "Progress", "events_of", "fit", "follow", "histories_of", "job_of", "members_beside",
    "train_members", "weights_of",
]  # fmt: skip

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Fitted:
    """What training left: weight files, histories, and every member's logits on its own fold.

    `logits` (N, outputs) averages the members that did not learn from a case; `seen` (N,) is True
    where there is at least one such member. Rows follow the development cases. `stressed` (M, outputs) are
    logits of the same cases as the calibration is to see them (augmented, if the plan says so), each of
    the case in `stressed_rows` (M,). `folds` are the development rows (n,) that each member was validated on.
    """

    weights: tuple[Path, ...]
    histories: tuple[list[dict[str, Any]], ...]
    logits: NDArray[np.float64]
    seen: NDArray[np.bool_]
    answers: NDArray[np.int64]
    stressed: NDArray[np.float64]
    stressed_rows: NDArray[np.int64]
    folds: tuple[NDArray[np.int64], ...] = ()

    @property
    def events(self) -> tuple[str, ...]:
        """What went wrong on the way and was recovered from, in words."""
        return events_of(self.histories)


def job_of(cohort: Cohort, plan: Plan, prepared: Prepared, folder: Path, *, start: Path | None = None) -> Job:
    """The job that trains this plan on the development cases, in `folder`."""
    from hounsfield.tasks.classification import answers_of

    cases = cohort.development
    beside = members_beside(plan)
    groups, patients = None, None
    if plan.mitigation.method != "none":
        require_possible(plan, cohort.encoding)
        groups = training_groups(cases, cohort.encoding, plan.mitigation).code
        patients = np.unique([c.patient for c in cases], return_inverse=True)[1].astype(np.int64)
    return Job(
        folder=folder,
        plan=plan,
        encoding=cohort.encoding,
        prepared=prepared,
        rows=prepared.rows([c.id for c in cases]),
        answers=answers_of(cases, cohort.encoding),
        fold=np.array([cohort.fold[c.id] for c in cases], np.int64),
        threads=max(1, (plan.threads or available_cores()) // beside),
        beside=beside,
        start=start,
        groups=groups,
        patients=patients,
    )


def fit(job: Job, *, progress: Progress | None = None, group: Group = ALONE) -> Fitted:
    """Train the members of a classification (`train_members`) and collect what they say of their folds."""
    train_members(job, progress=progress, group=group)
    return _collect(job)


def train_members(job: Job, *, progress: Progress | None = None, group: Group = ALONE) -> None:
    """Train `plan.validation.members` networks; a member that is finished is not trained again.

    On a CPU with several cores members train in processes of their own, so that many cores are used
    although a small batch fills few; on two cores threads are as fast (docs/benchmarks.md). In a `group` of
    torchrun all processes train each member together.
    Raises Interrupted where the end was asked for, HounsfieldError where training fails.
    """
    from hounsfield.steps.beside import side_by_side
    from hounsfield.steps.member import train_member

    say = progress or (lambda _: None)
    members = job.plan.validation.members
    job.folder.mkdir(parents=True, exist_ok=True)
    write_job(job)
    waiting = [m for m in range(members) if not (job.member_folder(m) / "history.json").is_file()]
    for member in sorted(set(range(members)) - set(waiting)):
        say({"member": member, "event": "finished before", "finished": job.plan.fit.epochs})
    group.say({"folder": str(job.folder.resolve()), "members": waiting})
    if len(waiting) > 1 and job.beside > 1 and group.world == 1:
        side_by_side(job, waiting, say)
    else:
        for member in waiting:
            # as many threads as beside its siblings: a resumed member must end at the same weights
            train_member(job, member, say, group)


def histories_of(job: Job) -> tuple[list[dict[str, Any]], ...]:
    """What every member reached, epoch by epoch."""
    folders = (job.member_folder(m) for m in range(job.plan.validation.members))
    return tuple(json.loads((folder / "history.json").read_text()) for folder in folders)


def weights_of(job: Job) -> tuple[Path, ...]:
    """The weight file of every member."""
    return tuple(job.member_folder(m) / "weights.safetensors" for m in range(job.plan.validation.members))


def events_of(histories: Sequence[Sequence[dict[str, Any]]]) -> tuple[str, ...]:
    """What went wrong on the way and was recovered from, in words."""
    return tuple(
        f"member {member}: {said}"
        for member, history in enumerate(histories)
        for epoch in history
        for said in epoch.get("events", ())
    )


def follow(group: Group) -> None:
    """Train along with rank 0, member by member, until it says that the run is over."""
    from hounsfield.steps.member import train_member

    while "folder" in (word := group.hear()):
        job = read_job(Path(word["folder"]))
        for member in word["members"]:
            train_member(job, member, lambda _: None, group)


def members_beside(plan: Plan) -> int:
    """How many members train at once: one a core on a CPU, one after another on a GPU or under torchrun."""
    from os import environ

    if pick_device(plan.device).type != "cpu" or int(environ.get("WORLD_SIZE", "1")) > 1:
        return 1
    return min(plan.validation.members, plan.threads or available_cores())


def _collect(job: Job) -> Fitted:
    outputs = job.encoding.outputs
    total = np.zeros((len(job.answers), outputs))
    count = np.zeros(len(job.answers))
    folds = []
    stressed, stressed_rows = [], []
    for member in range(job.plan.validation.members):
        home = job.member_folder(member)
        with np.load(home / "validation.npz", allow_pickle=False) as z:
            total[z["rows"]] += z["logits"]
            count[z["rows"]] += 1
            views = z["stressed"].astype(np.float64)
            stressed.append(views.reshape(-1, outputs))
            stressed_rows.append(np.tile(z["rows"], len(views)))
            folds.append(z["rows"])
    logits = total / np.maximum(count, 1)[:, None]
    return Fitted(
        weights_of(job), histories_of(job), logits, count > 0, job.answers,
        np.concatenate(stressed), np.concatenate(stressed_rows), tuple(folds),
    )  # fmt: skip
