"""The applications by name: each a phantom, a question, and the interventions its report must show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hounsfield.core.registry import Registry
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

    `question` is asked of the phantom (and gives the defaults for real data); `interventions` are
    shortcuts of the phantom, tested by changing images; `phantom_changes` are plan values of the demo.
    """

    name: str
    title: str
    write_cohort: WriteCohort
    patients: int
    question: Question
    interventions: tuple[Intervention, ...] = ()
    phantom_changes: tuple[tuple[str, object], ...] = ()


APPLICATIONS: Registry[Callable[[], Application]] = Registry("application")


@APPLICATIONS.register("mammography")
def _mammography() -> Application:
    from hounsfield.applications.mammography.application import mammography

    return mammography()


@APPLICATIONS.register("chest-ct")
def _chest_ct() -> Application:
    from hounsfield.applications.chest_ct.application import chest_ct

    return chest_ct()
