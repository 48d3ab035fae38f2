"""What a job is given and what it leaves: the study, what is known before training, the finished run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hounsfield.core.cohort import Cohort
from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.index import Index
from hounsfield.core.model import Model
from hounsfield.core.plan import Plan, Task
from hounsfield.core.predictions import Predictions
from hounsfield.core.progress import Progress
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.clinical import Accepts, Clinician, Keeps
from hounsfield.steps.design import Detail
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.duplicates import Fingerprints, Pair
from hounsfield.steps.gather import KNOWN_GROUPS, Question
from hounsfield.steps.intervene import Intervention
from hounsfield.steps.segmentation.table import Segmented

__all__ = ["Clock", "Looked", "Run", "Study"]

_DECIDING = (
    "validation", "validation.folds", "validation.folds_by", "validation.outer_folds", "mitigation",
    "mitigation.by", "seed",
)  # fmt: skip
"""Keys of a plan that say how the cases are split and along which columns."""


@dataclass(frozen=True)
class Study:
    """One job: where the images are, what is asked, where the results go, and how.

    `unlabelled` is a source of images to pretrain on; `search_minutes` the time to look for a better plan.
    `before` is the folder of a run on the same cases, which the report sets beside this one. `accepts`,
    `keeps` and `clinical` are an application's: which images are its own, which of them can be judged, and
    what it reads in an evaluation; `detail` is what it has a designed plan do with large pictures.
    """

    source: str
    out: Path
    question: Question = field(default_factory=Question)
    task: Task = "classification"
    plan: Plan | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    budget_minutes: float = 8.0
    resume: bool = False
    keep_cache: bool = False
    application: str = ""
    title: str = ""
    phantom: bool = False
    interventions: tuple[Intervention, ...] = ()
    unlabelled: str = ""
    search_minutes: float = 0.0
    command: str = ""
    before: str = ""
    accepts: Accepts | None = None
    clinical: Clinician | None = None
    keeps: Keeps | None = None
    detail: Detail | None = None

    @property
    def asked(self) -> Question:
        """The question, with the folds, the seed and the group columns of the plan and its changes.

        So a plan.json splits again as it did in its run, unless the question names a seed of its own.
        """
        deciding = {k: v for k, v in self.changes.items() if k in _DECIDING}
        plan = (self.plan or Plan()).changed(deciding)
        seed = plan.seed if "seed" in deciding else self.question.seed or plan.seed
        rule, asked = plan.validation, self.question
        named = (*plan.mitigation.columns, *([rule.folds_by] if rule.folds_by else []))
        further = tuple(c for c in dict.fromkeys(named) if c not in (*asked.groups, *KNOWN_GROUPS))
        return replace(
            asked,
            folds=rule.folds,
            seed=seed,
            groups=(*asked.groups, *further),
            folds_by=rule.folds_by,
            outer_folds=rule.outer_folds,
        )


@dataclass(frozen=True)
class Run:
    """What a finished job left in its folder."""

    folder: Path
    model: Model
    evidence: Evidence
    predictions: Predictions | Segmented | Detected
    report: Path


@dataclass(frozen=True)
class Looked:
    """What is known before any training: images, cases, pixels, duplicates and findings."""

    index: Index
    cohort: Cohort
    store: PixelStore
    marks: Fingerprints
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]


class Clock:
    """Names each step to the user and keeps how long it took."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.seconds = progress, {}  # type: tuple[Progress, dict[str, float]]

    @contextmanager
    def step(self, name: str, detail: str = "") -> Iterator[list[str]]:
        """Time a step; what is put into the yielded list becomes its closing line."""
        began, said = time.perf_counter(), []  # type: tuple[float, list[str]]
        self.progress.begin(name, detail)
        try:
            yield said
        except BaseException:
            self.progress.end("stopped")
            raise
        self.seconds[name] = round(time.perf_counter() - began, 2)
        self.progress.end("; ".join(said))
