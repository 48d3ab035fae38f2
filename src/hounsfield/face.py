"""What `import hounsfield as hu` offers: train, evaluate, predict, scan, in one line each."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Index
from hounsfield.core.model import Model
from hounsfield.core.plan import Plan
from hounsfield.core.predictions import Predictions
from hounsfield.steps.gather import Question

if TYPE_CHECKING:
    from hounsfield.core.progress import Progress
    from hounsfield.steps.study import Run as PipelineRun

__all__ = ["Report", "Run", "evaluate", "load_model", "predict", "read_plan", "scan", "train"]


@dataclass(frozen=True)
class Report:
    """The report of a run: one self-contained HTML file."""

    path: Path

    def open(self) -> None:
        """Show it in the default browser."""
        webbrowser.open(self.path.resolve().as_uri())


@dataclass(frozen=True)
class Run:
    """A finished job: its folder, model, predictions, findings and report."""

    folder: Path
    model: Model
    predictions: Predictions
    findings: tuple[Finding, ...]
    report: Report

    def metric(self, name: str, label: str = "") -> Finding:
        """One metric with its interval; BadInput suggests the nearest name.

        `label` is a class; empty means the whole.
        """
        from hounsfield.core.registry import nearest

        for f in self.findings:
            if (f.name, f.label) == (name, label):
                return f
        known = sorted({f.name for f in self.findings})
        raise BadInput(f'no metric "{name}" was measured; {nearest(name, known)}')


def train(
    source: Path | str,
    *,
    out: Path | str = "run",
    labels: Path | str = "",
    target: str | tuple[str, ...] = (),
    plan: Plan | Path | str | None = None,
    changes: dict[str, Any] | None = None,
    question: Question | None = None,
    seed: int | None = None,
    budget_minutes: float = 8.0,
    unlabelled: Path | str = "",
    search_minutes: float = 0.0,
    before: Path | str = "",
    resume: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train a classifier on a folder of images and report what it can do.

    `source` is a folder, zip or file of DICOM, NIfTI, PNG/JPEG/TIFF class folders or .npz; `labels` a CSV
    joined on patient, study, series or file, `target` its label column. `plan` is a Plan, a plan.json, or a
    named plan; `changes` replaces dotted keys of it. `question` says the rest (see Question). `seed` decides
    split, weights and augmentation (the plan's seed where it is None); a plan that is designed here trains
    for at most `budget_minutes`. `unlabelled` are images to pretrain on, kept only if it helps on validation;
    `search_minutes` is a time to look for a better plan; `before` a run on the same cases to set beside.
    Several processors: torchrun and the command line. Raises BadInput for what cannot be used, GateRefused
    for an unsafe split.
    """
    from hounsfield.pipeline import train as run_train
    from hounsfield.steps.study import Study

    study = Study(
        source=str(source),
        out=Path(out),
        question=_asked(question, labels, target),
        plan=read_plan(plan) if isinstance(plan, str | Path) else plan,
        changes={**({} if seed is None else {"seed": seed}), **(changes or {})},
        budget_minutes=budget_minutes,
        unlabelled=str(unlabelled),
        search_minutes=search_minutes,
        before=str(before),
        resume=resume,
    )
    return _face(run_train(study, progress=progress))


def evaluate(
    run: Path | str,
    source: Path | str,
    *,
    out: Path | str | None = None,
    labels: Path | str = "",
    target: str | tuple[str, ...] = (),
    question: Question | None = None,
    progress: Progress | None = None,
) -> Run:
    """Evaluate a run's model on other images: metrics with intervals, audit and report.

    Without `out` the report goes to the next free RUN/evaluations/N. `labels`, `target` and `question` are
    as for `train`. Raises BadInput for what cannot be used.
    """
    from contextlib import nullcontext

    from hounsfield.pipeline import evaluate_model
    from hounsfield.steps.run_folder import evaluation_folder
    from hounsfield.steps.study import Study

    with nullcontext(Path(out)) if out is not None else evaluation_folder(Path(run)) as folder:
        study = Study(source=str(source), out=folder, question=_asked(question, labels, target))
        return _face(evaluate_model(study, Path(run), progress=progress))


def predict(run: Path | str, source: Path | str, *, progress: Progress | None = None) -> Predictions:
    """Score images with a run's model; no answers are needed.

    `Predictions.referrals` says which cases go to a reader, and why; None from a model that cannot tell.
    """
    from hounsfield.pipeline import predict_source

    return predict_source(Path(run), str(source), progress=progress)


def scan(source: Path | str) -> Index:
    """Every image under a source, and every refused file with its reason."""
    from hounsfield.steps.scan import scan as scan_step

    return scan_step(source)


def load_model(run: Path | str) -> Model:
    """The model of a run's folder."""
    from hounsfield.io.model_store import read_model

    return read_model(run)


def read_plan(name: Path | str) -> Plan:
    """A plan by name (article-a, article-b, article-c) or from a plan.json."""
    from hounsfield.steps.article_plans import NAMED_PLANS, named_plan

    path = Path(name)
    if path.is_file() and str(name) not in NAMED_PLANS:
        return Plan.from_json(path.read_text())
    if path.suffix == ".json":
        raise BadInput(f'the plan file "{path.name}" does not exist; name a plan.json that hu train wrote')
    return named_plan(str(name))


def _asked(question: Question | None, labels: Path | str, target: str | tuple[str, ...]) -> Question:
    """The question, with the label table and target that were named beside it."""
    asked = question or Question()
    targets = (target,) if isinstance(target, str) and target else tuple(target)
    return replace(asked, labels=str(labels) or asked.labels, target=targets or asked.target)


def _face(run: PipelineRun) -> Run:
    return Run(run.folder, run.model, run.predictions, run.evidence.metrics, Report(run.report))
