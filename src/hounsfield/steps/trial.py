"""One member trained on trial: how well it does on the fold that it has not seen."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.plan import Plan
from hounsfield.steps.fit import Progress
from hounsfield.steps.job import Job

__all__ = ["Trial", "case_losses", "tried"]


@dataclass(frozen=True)
class Trial:
    """What one trial gave: the log loss (n,) of each case of fold 0, and where its member lies."""

    losses: NDArray[np.float64]
    rows: NDArray[np.int64]
    folder: Path

    @property
    def loss(self) -> float:
        """The mean log loss, after a temperature fitted on the same fold."""
        return float(self.losses.mean())


def tried(job: Job, plan: Plan, name: str, progress: Progress, *, start: Path | None = None) -> Trial:
    """Train member 0 of a plan in a folder of its own and score its fold. Interrupted training goes on."""
    from hounsfield.steps.member import train_member

    folder = job.folder / name
    trial = replace(job, plan=plan, folder=folder, start=start, threads=job.threads * job.beside, beside=1)
    train_member(trial, 0, progress)
    with np.load(trial.member_folder(0) / "validation.npz", allow_pickle=False) as z:
        rows, logits = z["rows"], z["logits"].astype(np.float64)
    return Trial(case_losses(logits, job.answers[rows], job.encoding, plan), rows, folder)


def case_losses(
    logits: NDArray[np.float64], answers: NDArray[np.int64], encoding: LabelEncoding, plan: Plan
) -> NDArray[np.float64]:
    """Log loss (n,) of each case after calibration on these cases, so that plans of other losses compare.

    Several labels of a case are added.
    """
    from hounsfield.steps.calibrate import calibrated
    from hounsfield.tasks.classification import probabilities

    rule = plan.validation.model_copy(update={"calibrate": "temperature"})
    scores = probabilities(logits, encoding, calibrated(logits, answers, encoding, rule))
    scores = np.clip(scores, 1e-7, 1 - 1e-7)
    if encoding.kind == "multiclass":
        return -np.log(scores[np.arange(len(answers)), answers])
    wanted = answers.reshape(len(answers), -1)
    losses: NDArray[np.float64] = -(wanted * np.log(scores) + (1 - wanted) * np.log(1 - scores)).sum(1)
    return losses


def removed(job: Job, name: str) -> None:
    """Take a folder of trials away."""
    shutil.rmtree(job.folder / name, ignore_errors=True)


def moved_to_member(trial: Trial, job: Job) -> None:
    """Let the member of a trial that trained the job's very plan be the job's member 0."""
    target = job.member_folder(0)
    if not (target / "history.json").exists():
        shutil.rmtree(target, ignore_errors=True)
        (trial.folder / "member-0").rename(target)


def quiet(progress: Progress, note: str) -> Progress:
    """A progress that says `note` before what a trial says of its own epochs."""

    def say(facts: dict[str, Any]) -> None:
        progress({**facts, "trial": note})

    return say
