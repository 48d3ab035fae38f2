"""What an application is asked after an evaluation, and its answer put into the evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.clinical import Clinical
from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.index import Index, Series
from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.core.volume import Volume
from hounsfield.io.pixel_store import PixelStore
from hounsfield.metrics.intervals import Estimate
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.segmentation.table import Segmented

__all__ = ["Accepts", "Asked", "Clinician", "Keeps", "as_finding", "with_clinical"]


@dataclass(frozen=True)
class Asked:
    """A finished evaluation: the table of what was said, its cases in the same order, and who said it.

    `called` (N,) are the classes that were called at the model's thresholds, None where places were found.
    `read` decodes an image of a case.
    """

    table: Predictions | Segmented | Detected
    cases: tuple[Case, ...]
    model: Model
    called: NDArray[np.int64] | None = None
    seed: int = 0
    read: Callable[[Series], Volume] | None = None


Clinician = Callable[[Asked], Clinical]
"""An application's own reading of an evaluation."""

Accepts = Callable[[Index], None]
"""Raises BadInput for images that are none of the application's, and says what it expects."""


Keeps = Callable[[Sequence[Case], PixelStore], tuple[tuple[Case, ...], tuple[Finding, ...]]]
"""Of cases those that can be judged at all, and findings that say which cannot and why."""


def with_clinical(evidence: Evidence, told: Clinical) -> Evidence:
    """The evidence with the application's chapter.

    >>> found = Clinical("Screening", findings=(Finding("recall_rate", value=0.1, n=50),))
    >>> with_clinical(Evidence("Mammography"), found).clinical[0].name
    'recall_rate'
    """
    tables: dict[str, Any] = {"clinical": dict(told.tables)} if told.tables else {}
    curves: dict[str, Any] = {"clinical": list(told.plots)} if told.plots else {}
    return replace(
        evidence,
        clinical=(*evidence.clinical, *told.findings),
        tables={**evidence.tables, **tables},
        curves={**evidence.curves, **curves},
        untested=(*evidence.untested, *told.untested),
        context={**evidence.context, "clinical": {"title": told.title, "lead": told.lead}},
    )


def as_finding(
    estimate: Estimate, *, name: str = "", label: str = "", group: str = "", note: str = ""
) -> Finding:
    """An estimate as a finding of the report; why it has no number goes before the note.

    >>> as_finding(Estimate("auroc", 0.9, 0.8, 0.95, 40, 30), label="breast").text
    '0.900 (95 % CI 0.800 to 0.950; n = 40)'
    """
    return Finding(
        name or estimate.name, group or estimate.group, label, estimate.value, estimate.low, estimate.high,
        estimate.n, estimate.n_patients, estimate.method, note=estimate.reason or note,
    )  # fmt: skip
