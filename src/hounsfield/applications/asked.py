"""A study asked as an application asks it; what the user said stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hounsfield.applications.catalogue import APPLICATIONS, Application
from hounsfield.core.errors import BadInput
from hounsfield.core.model import Model
from hounsfield.io.model_store import read_model
from hounsfield.pipeline.seeing import MINUTES
from hounsfield.steps.clinical import Keeps
from hounsfield.steps.following import Follower
from hounsfield.steps.study import Study

__all__ = ["as_application", "as_its_application", "followed_by", "keeps_of", "named_application"]


def named_application(name: str) -> Application:
    """The application of a name. Raises BadInput for an unknown one, with the nearest.

    >>> named_application("mammography").task
    'classification'
    """
    return APPLICATIONS[name]()


def as_application(study: Study, application: Application, *, budget_given: bool = True) -> Study:
    """The study with the application's task, question, plan values, and its own reading of the results.

    The target column, groups, plan values and title that the user named stay; without a label table there is
    no column. Raises BadInput where another task was asked for than the application has.

    >>> from pathlib import Path
    >>> study = Study("images", Path("run"))
    >>> labelled = replace(study, question=replace(study.question, labels="labels.csv"))
    >>> made = as_application(labelled, named_application("mammography"))
    >>> made.application, made.question.target
    ('mammography', ('malignant',))
    """
    if study.task not in ("classification", application.task):
        raise BadInput(
            f"--task {study.task} was given with --application {application.name}, which is a"
            f" {application.task}; leave --task out"
        )
    asked, own = study.question, application.question
    usual = own.target if asked.labels else ()  # class folders and arrays bring their own
    question = replace(
        asked,
        target=asked.target or usual if application.task == "classification" else (),
        groups=tuple(dict.fromkeys((*asked.groups, *own.groups))) if asked.labels else asked.groups,
        positive=asked.positive or (own.positive if not asked.target else ""),
        classes=asked.classes or (own.classes if not asked.target else ()),
    )
    return replace(
        study,
        question=question,
        task=application.task,
        changes={**dict(application.changes), **study.changes},
        detail=application.detail,
        application=application.name,
        title=study.title or application.title,
        budget_minutes=study.budget_minutes if budget_given else MINUTES[application.task],
        accepts=application.accepts,
        clinical=application.clinical,
        keeps=application.keeps,
    )


def as_its_application(study: Study, run: Path) -> Study:
    """A study that evaluates a run, read as the application reads it that the run's model was trained for."""
    name = read_model(run).plan.application
    if name not in APPLICATIONS:
        return study
    own = named_application(name)
    return replace(
        study, accepts=own.accepts, keeps=own.keeps, clinical=own.clinical, title=study.title or own.title
    )


def keeps_of(model: Model) -> Keeps | None:
    """What the application of a model leaves out; None where it was trained for none."""
    name = model.plan.application
    return named_application(name).keeps if name in APPLICATIONS else None


def followed_by(study: Study, name: str) -> tuple[Study, Follower]:
    """A study of visits as an application measures them. Raises BadInput for one that measures none."""
    own = named_application(name)
    if own.follow is None:
        known = ", ".join(n for n in APPLICATIONS if named_application(n).follow)
        raise BadInput(f"the application {name} measures no visits; expected one of: {known or 'none yet'}")
    title = study.title or f"{own.title}, over visits"
    return replace(study, application=name, title=title, accepts=own.accepts), own.follow
