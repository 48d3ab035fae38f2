"""The job of a task of places: who is in which fold, and the store that patches are cut from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hounsfield.core.cohort import Cohort
from hounsfield.core.plan import Plan
from hounsfield.steps.compute import available_cores
from hounsfield.steps.fit import members_beside
from hounsfield.steps.job import Job
from hounsfield.steps.prepare import Prepared
from hounsfield.steps.regions.grid_store import GridStore

__all__ = ["region_job"]


def region_job(cohort: Cohort, plan: Plan, grid: GridStore, folder: Path) -> Job:
    """The job that trains a plan of places on the development cases, in `folder`."""
    cases = cohort.development
    beside = members_beside(plan)
    return Job(
        folder=folder,
        plan=plan,
        encoding=cohort.encoding,
        prepared=Prepared.nothing(),
        rows=np.arange(len(cases)),
        answers=np.zeros(len(cases), np.int64),
        fold=np.array([cohort.fold[c.id] for c in cases], np.int64),
        threads=max(1, (plan.threads or available_cores()) // beside),
        beside=beside,
        grid=grid,
        cases=tuple(c.id for c in cases),
    )
