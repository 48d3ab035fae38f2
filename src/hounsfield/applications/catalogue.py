"""The applications by name: each a phantom, a question, and the interventions its report must show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from hounsfield.core.plan import Task
from hounsfield.core.registry import Registry
from hounsfield.steps.clinical import Accepts, Clinician, Keeps
from hounsfield.steps.design import Detail
from hounsfield.steps.following import Follower
from hounsfield.steps.gather import Question

if TYPE_CHECKING:
    from hounsfield.steps.intervene import Intervention

__all__ = ["APPLICATIONS", "Application"]


class WriteCohort(Protocol):
    """Writes a phantom cohort as DICOM with a label table, and returns the table's path."""

    def __call__(
        self, out: Path, *, patients: int, seed: int, progress: Callable[[int, int], None] | None = None
    ) -> Path: ...


@dataclass(frozen=True)
class Application:
    """One clinical application.

    `question` is asked of the phantom (and gives the defaults for real data); `changes` are plan values of
    real data and of the demo, `phantom_changes` of the demo alone, `detail` what a designed plan does with
    large pictures. `accepts` refuses images that are none of its own, `keeps` leaves out those that cannot
    be judged, `clinical` reads an evaluation as its clinicians do, `follow` measures patients over their
    visits without a model. `interventions` are shortcuts of the phantom, tested by changing images. A demo
    simulates `patients` and trains for `minutes`, or follows them (`demo`); with --full `full_patients`,
    `full_minutes` and the plan values `full_changes` in the place of `phantom_changes`.
    """

    name: str
    title: str
    write_cohort: WriteCohort
    patients: int
    question: Question
    interventions: tuple[Intervention, ...] = ()
    phantom_changes: tuple[tuple[str, object], ...] = ()
    changes: tuple[tuple[str, object], ...] = ()
    detail: Detail | None = None
    task: Task = "classification"
    follow: Follower | None = None
    demo: Literal["train", "follow"] = "train"
    accepts: Accepts | None = None
    clinical: Clinician | None = None
    keeps: Keeps | None = None
    minutes: float = 0.22
    full_patients: int = 0
    full_changes: tuple[tuple[str, object], ...] = ()
    full_minutes: float = 0.0


APPLICATIONS: Registry[Callable[[], Application]] = Registry("application")


@APPLICATIONS.register("mammography")
def _mammography() -> Application:
    from hounsfield.applications.mammography.application import mammography

    return mammography()


@APPLICATIONS.register("chest-ct")
def _chest_ct() -> Application:
    from hounsfield.applications.chest_ct.application import chest_ct

    return chest_ct()


@APPLICATIONS.register("nodule")
def _nodule() -> Application:
    from hounsfield.applications.nodule.application import nodule

    return nodule()


@APPLICATIONS.register("retinopathy")
def _retinopathy() -> Application:
    from hounsfield.applications.retinopathy.application import retinopathy

    return retinopathy()


@APPLICATIONS.register("atrophy")
def _atrophy() -> Application:
    from hounsfield.applications.brain_mri.application import atrophy

    return atrophy()
