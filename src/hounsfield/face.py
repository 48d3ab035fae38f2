"""What `import hounsfield as hu` offers: train, federate, evaluate, predict, scan, in one line each."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Index
from hounsfield.core.model import Model
from hounsfield.core.plan import Plan, Task
from hounsfield.core.predictions import Predictions
from hounsfield.steps.gather import Question

if TYPE_CHECKING:
    from hounsfield.core.progress import Progress
    from hounsfield.steps.detection.table import Detected
    from hounsfield.steps.results.cases import Written
    from hounsfield.steps.segmentation.table import Segmented
    from hounsfield.steps.study import Run as PipelineRun

__all__ = ["Report", "Run", "evaluate", "federate", "load_model", "predict", "read_plan", "scan", "train"]


@dataclass(frozen=True)
class Report:
    """The report of a run: one self-contained HTML file."""

    path: Path

    def open(self) -> None:
        """Show it in the default browser."""
        webbrowser.open(self.path.resolve().as_uri())


@dataclass(frozen=True)
class Run:
    """A finished job: its folder, model, predictions, findings and report.

    `predictions` are scores by case; of a segmentation the comparison of each case with its reader, of a
    detection the candidates beside what the readers marked.
    """

    folder: Path
    model: Model
    predictions: Predictions | Segmented | Detected
    findings: tuple[Finding, ...]
    report: Report

    def metric(self, name: str, label: str = "") -> Finding:
        """One metric with its interval; BadInput suggests the nearest name.

        `label` is a class, a structure, or a rate of false positives ("1/8 FP an image"); empty means the
        whole.
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
    task: Task = "classification",
    application: str = "",
    labels: Path | str = "",
    target: str | tuple[str, ...] = (),
    masks: str = "",
    channels: tuple[str, ...] = (),
    marks: Path | str = "",
    plan: Plan | Path | str | None = None,
    changes: dict[str, Any] | None = None,
    question: Question | None = None,
    seed: int | None = None,
    budget_minutes: float | None = None,
    unlabelled: Path | str = "",
    search_minutes: float = 0.0,
    before: Path | str = "",
    resume: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train a model on a folder of images and report what it can do.

    `source` is a folder, zip or file of DICOM, NIfTI, PNG/JPEG/TIFF class folders or .npz. `task` says what
    is learned:

    - "classification": `labels` is a CSV joined on patient, study, series or file, `target` its label column;
    - "segmentation": masks lie beside the images; `masks` names their folder where their names do not say it;
    - "detection": `marks` is a file or folder of marked objects (CSV, COCO JSON, DICOM SR or RTSTRUCT,
      masks), found by itself where it lies beside the images as annotations.csv.

    `application` is a clinical one ("mammography", "retinopathy", "nodule"): its task, question and plan
    values, and its chapter in the report. `channels` chooses the images of a case that are learned from
    together. `plan` is a Plan (whose task counts), a plan.json, or a named plan; `changes` replaces dotted
    keys of it. `question` says the rest (see Question). `seed` decides split, weights and augmentation (the
    plan's seed where it is None); a plan that is designed here trains for at most `budget_minutes` (None: 8,
    segmentation 55, detection 80).

    Of classification only: `unlabelled` are images to pretrain on, kept only if it helps on validation;
    `search_minutes` is a time to look for a better plan; `before` a run on the same cases to set beside.
    Several processors: torchrun and the command line. Raises BadInput for what cannot be used, GateRefused
    for an unsafe split.

    >>> train("study", task="segmentation", search_minutes=5.0)
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: search_minutes was given for segmentation; it is of classification only;
    leave it out
    """
    from hounsfield.pipeline import train as run_train
    from hounsfield.pipeline.seeing import MINUTES
    from hounsfield.steps.study import Study

    given = read_plan(plan) if isinstance(plan, str | Path) else plan
    if given is not None and task == "classification":
        task = given.task
    of_classes = {"unlabelled": unlabelled, "search_minutes": search_minutes, "before": before}
    if task != "classification" and (named := next((n for n, v in of_classes.items() if v), "")):
        raise BadInput(f"{named} was given for {task}; it is of classification only; leave it out")
    study = Study(
        source=str(source),
        out=Path(out),
        question=_asked(question, labels, target, masks=masks, channels=channels, marks=marks),
        task=task,
        plan=given,
        changes={**({} if seed is None else {"seed": seed}), **(changes or {})},
        budget_minutes=MINUTES[task] if budget_minutes is None else budget_minutes,
        unlabelled=str(unlabelled),
        search_minutes=search_minutes,
        before=str(before),
        resume=resume,
    )
    if application:
        from hounsfield.applications.asked import as_application, named_application

        chosen = named_application(application)
        study = as_application(study, chosen, budget_given=budget_minutes is not None)
    return _face(run_train(study, progress=progress))


def federate(
    sites: Mapping[str, Path | str] | Path | str,
    plan: Plan | Path | str | None = None,
    *,
    by: str = "",
    out: Path | str = "federation",
    labels: Path | str = "",
    target: str | tuple[str, ...] = (),
    rounds: int | None = None,
    strategy: str = "",
    changes: dict[str, Any] | None = None,
    question: Question | None = None,
    seed: int | None = None,
    budget_minutes: float = 8.0,
    resume: bool = False,
    without_budget: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Simulate a federation on this machine: the same plan at each site alone, pooled, and federated.

    `sites` are sources of images by the site's name (`labels` lies in each, or is one table for all), or one
    source that the group column `by` divides ("site", "scanner"). `strategy` is "fedavg", "fedprox",
    "fedadam", "fedbn" or "scaffold"; the rest is as for `train`. The run's findings hold each site's AUROC
    under each arm: `run.findings`, group "site=NAME", label "alone", "federated" or "pooled". With
    `without_budget` a plan with a budget of privacy is trained once more without it ("without budget").
    Raises BadInput for what cannot be used; a site that cannot take part is named in the report.

    >>> federate({"Kiel": "kiel"}, target="malignant")
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: one source was given without --by; name the column that tells the sites
    apart, e.g. --by site, or give a source for each site
    """
    from hounsfield.federation.simulate import Asked, simulate

    named = {"federation.rounds": rounds, "federation.strategy": strategy or None, "seed": seed}
    asked = _asked(question, labels, target, masks="", channels=(), marks="")
    found = simulate(
        Asked(
            sources={k: str(v) for k, v in sites.items()} if isinstance(sites, Mapping) else {"": str(sites)},
            out=Path(out),
            by=by,
            question=asked if seed is None else replace(asked, seed=seed),
            plan=read_plan(plan) if isinstance(plan, str | Path) else plan,
            changes={**{k: v for k, v in named.items() if v is not None}, **(changes or {})},
            budget_minutes=budget_minutes,
            resume=resume,
            without_budget=without_budget,
        ),
        progress=progress,
    )
    made = _face(found.run)
    return replace(made, findings=(*made.findings, *found.run.evidence.clinical))


def evaluate(
    run: Path | str,
    source: Path | str,
    *,
    out: Path | str | None = None,
    labels: Path | str = "",
    target: str | tuple[str, ...] = (),
    masks: str = "",
    channels: tuple[str, ...] = (),
    marks: Path | str = "",
    question: Question | None = None,
    progress: Progress | None = None,
) -> Run:
    """Evaluate a run's model on other images: metrics with intervals, audit and report.

    Without `out` the report goes to the next free RUN/evaluations/N. `labels`, `target`, `masks`, `channels`,
    `marks` and `question` are as for `train`; the task is the model's. Raises BadInput for what cannot be
    used.
    """
    from contextlib import nullcontext

    from hounsfield.applications.asked import as_its_application
    from hounsfield.pipeline import evaluate_model
    from hounsfield.steps.run_folder import evaluation_folder
    from hounsfield.steps.study import Study

    asked = _asked(question, labels, target, masks=masks, channels=channels, marks=marks)
    with nullcontext(Path(out)) if out is not None else evaluation_folder(Path(run)) as folder:
        study = as_its_application(Study(source=str(source), out=folder, question=asked), Path(run))
        return _face(evaluate_model(study, Path(run), progress=progress))


def predict(
    run: Path | str,
    source: Path | str,
    *,
    out: Path | str | None = None,
    write: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Predictions | Written:
    """Apply a run's model to images; no answers are needed.

    A model that classifies gives scores, and writes them as a table where `out` is named;
    `Predictions.referrals` says which cases go to a reader, and why (None from a model that cannot tell). A
    model of segmentation or detection writes into the new folder `out`, and gives the number of files by
    kind: `write` chooses among "nifti", "seg", "labelmap", "sr" and "csv" (none: masks as NIfTI,
    or the candidates, and a table). Raises BadInput for what cannot be used.

    >>> predict("no-such-run", "study")
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: "no-such-run" holds no model (no model.json); expected the --out folder
    of a finished hu train; finish it with --resume, or name another
    """
    from hounsfield.applications.asked import keeps_of
    from hounsfield.pipeline import predict_source

    folder = None if out is None else Path(out)
    model = load_model(run)
    if model.plan.task == "classification":
        if write:
            raise BadInput(
                f"write={write!r} was given to a model that classifies; expected a model of segmentation or "
                "detection; leave it out"
            )
        keeps = keeps_of(model)
        return predict_source(Path(run), str(source), out=folder, keeps=keeps, progress=progress)
    if folder is None:
        raise BadInput(f"a model of {model.plan.task} writes its results; name a new folder with out=")
    from hounsfield.pipeline.writing import outline_source

    return outline_source(model, str(source), out=folder, write=write, progress=progress)


def scan(source: Path | str) -> Index:
    """Every image under a source, and every refused file with its reason."""
    from hounsfield.steps.scan import scan as scan_step

    return scan_step(source)


def load_model(run: Path | str) -> Model:
    """The model of a run's folder."""
    from hounsfield.io.model_store import read_model

    return read_model(run)


def read_plan(name: Path | str) -> Plan:
    """A plan by name (article-a, article-b, article-c) or from a plan.json.

    >>> read_plan("article-a").task
    'classification'
    """
    from hounsfield.steps.article_plans import NAMED_PLANS, named_plan

    path = Path(name)
    if path.is_file() and str(name) not in NAMED_PLANS:
        return Plan.from_json(path.read_text())
    if path.suffix == ".json":
        raise BadInput(f'the plan file "{path.name}" does not exist; name a plan.json that hu train wrote')
    return named_plan(str(name))


def _asked(
    question: Question | None,
    labels: Path | str,
    target: str | tuple[str, ...],
    *,
    masks: str,
    channels: tuple[str, ...],
    marks: Path | str,
) -> Question:
    """The question, with the tables, masks and marks that were named beside it."""
    asked = question or Question()
    targets = (target,) if isinstance(target, str) and target else tuple(target)
    return replace(
        asked,
        labels=str(labels) or asked.labels,
        target=targets or asked.target,
        masks=masks or asked.masks,
        channels=tuple(channels) or asked.channels,
        marks=str(marks) or asked.marks,
    )


def _face(run: PipelineRun) -> Run:
    return Run(run.folder, run.model, run.predictions, run.evidence.metrics, Report(run.report))
