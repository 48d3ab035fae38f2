"""All that training needs, as files that a process of its own can read: the plan, the images, the folds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import HounsfieldError
from hounsfield.core.plan import Plan
from hounsfield.io.files import whole_file, write_text
from hounsfield.steps.prepare import Prepared, teaches_attention
from hounsfield.steps.regions.grid_store import GridStore
from hounsfield.steps.regions.prepare import grid_folder

__all__ = ["Job", "read_job", "write_job"]


@dataclass(frozen=True)
class Job:
    """The plan, the images, and who is in which fold.

    `rows` (N,) are the development cases' rows in `prepared`, `answers` and `fold` theirs in the same order.
    `threads` is for each member, `beside` how many members train at once. `start` is a safetensors file of
    weights, learned without labels, from which every member starts; None leaves that to the plan.
    `groups` and `patients` (N,) are numbers that say who belongs together, where a mitigation asks.

    Where places are learned, `grid` holds the images, `cases` names the development cases in it, and
    `prepared` holds nothing.
    """

    folder: Path
    plan: Plan
    encoding: LabelEncoding
    prepared: Prepared
    rows: NDArray[np.int64]
    answers: NDArray[np.int64]
    fold: NDArray[np.int64]
    threads: int = 1
    beside: int = 1
    start: Path | None = None
    groups: NDArray[np.int64] | None = None
    patients: NDArray[np.int64] | None = None
    grid: GridStore | None = None
    cases: tuple[str, ...] = ()

    @property
    def teaches_attention(self) -> bool:
        """Whether the plan has the network look at marked findings, and some are marked."""
        return teaches_attention(self.plan) and self.prepared.marks is not None

    def member_folder(self, number: int) -> Path:
        """Where a member keeps what it learned."""
        return self.folder / f"member-{number}"

    def parts(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places (in `rows`) that a member learns from, and those of the fold that validates it."""
        held_out = self.fold == number % self.plan.validation.folds
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def kept(self, place: Callable[[Path], Path]) -> Path | None:
        """The file at a `place` in the first member's folder that has it, None where none has."""
        folders = (self.member_folder(m) for m in range(self.plan.validation.members))
        return next((path for folder in folders if (path := place(folder)).is_file()), None)

    def seed(self, number: int, *salt: int) -> np.random.SeedSequence:
        """The randomness of one member for one purpose."""
        return np.random.SeedSequence([self.plan.seed, number, *salt])


def write_job(job: Job) -> None:
    """Put the job into its folder so that a process of its own can read it."""
    with whole_file(job.folder / "rows.npz") as temporary, temporary.open("wb") as stream:
        who: dict[str, Any] = {}
        if job.groups is not None and job.patients is not None:
            who = {"groups": job.groups, "patients": job.patients}
        np.savez(stream, rows=job.rows, answers=job.answers, fold=job.fold, **who)
    facts = {
        "plan": job.plan.model_dump(mode="json"),
        "encoding": [job.encoding.kind, job.encoding.classes, job.encoding.target],
        "threads": job.threads,
        "beside": job.beside,
        "start": job.start.name if job.start else "",
        "cases": job.cases,
    }
    write_text(job.folder / "job.json", json.dumps(facts))


def read_job(folder: Path) -> Job:
    """The job that `write_job` wrote. Raises HounsfieldError where its files are not (or no longer) there."""
    try:
        facts = json.loads((folder / "job.json").read_text())
        home = next((p for p in folder.parents if (p / "cache").is_dir()), folder.parent)
        cache = home / "cache"
        grid = GridStore.open(grid_folder(cache)) if facts["cases"] else None
        prepared = Prepared.nothing() if grid else Prepared.open(cache)
        with np.load(folder / "rows.npz", allow_pickle=False) as z:
            rows, answers, fold = z["rows"], z["answers"], z["fold"]
            groups, patients = (z[k] if k in z.files else None for k in ("groups", "patients"))
    except OSError as error:
        raise HounsfieldError(
            "the run's work folder cannot be read from here; expected every process on a file system "
            "that all hosts share; put --out there, or train again without --resume"
        ) from error
    if prepared is None:
        raise HounsfieldError("the prepared images of this run are gone; train again without --resume")
    kind, classes, target = facts["encoding"]
    encoding = LabelEncoding(kind, tuple(classes), tuple(target))
    plan = Plan.checked(facts["plan"])
    start = folder / facts["start"] if facts["start"] else None
    return Job(
        folder, plan, encoding, prepared, rows, answers, fold, facts["threads"], facts["beside"], start,
        groups, patients, grid, tuple(facts["cases"]),
    )  # fmt: skip
