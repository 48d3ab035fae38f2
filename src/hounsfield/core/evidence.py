"""What a run can show for itself: findings with n and interval, and what was not tested."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evidence", "Finding", "Picture"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One number, or one fact, that the run measured.

    `name` is the metric or check; `group` the subgroup it speaks of as "column=value" ("" is everyone);
    `label` the class ("" is all). `value` is None where the group is too small, and `note` says so.
    `level` is "info", "warning" or "stop". `n` counts cases, `n_patients` patients.

    >>> Finding("auroc", value=.91, low=.85, high=.95, n=156, n_patients=150).text
    '0.910 (95 % CI 0.850 to 0.950; n = 156)'
    """

    name: str
    group: str = ""
    label: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    n_patients: int = 0
    method: str = ""
    level: str = "info"
    note: str = ""

    @property
    def text(self) -> str:
        """The number as it is printed: value, interval and n, or why there is none."""
        if self.value is None:
            return self.note or "not measured"
        interval = ""
        if self.low is not None and self.high is not None:
            interval = f"95 % CI {self.low:.3f} to {self.high:.3f}; "
        return f"{self.value:.3f} ({interval}n = {self.n})"


@dataclass(frozen=True, slots=True)
class Picture:
    """A case shown to the reader: image, overlays side by side, and what was said and what is true.

    `panels` are (title, uint8 RGB (H, W, 3)) pairs; `outcome` is "right" or "wrong"; no identity. `kind` says
    what stands beside the image: "maps" of where the score comes from, "similar" confirmed training cases, or
    a "synthetic" edit. `scores` are what was measured of the methods that are shown.
    """

    case: str
    outcome: str
    caption: str
    panels: tuple[tuple[str, NDArray[np.uint8]], ...]
    kind: str = "maps"
    scores: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that one evaluation found, by chapter, plain enough for JSON.

    `audit` are facts about the data, `metrics` numbers of the model, `subgroups` the same by group,
    `clinical` those of the application, `untested` what a reader must not assume. `curves` and `tables` hold
    what figures are drawn from. `context` names plan, model, data and code by hash.
    """

    title: str
    audit: tuple[Finding, ...] = ()
    metrics: tuple[Finding, ...] = ()
    subgroups: tuple[Finding, ...] = ()
    interventions: tuple[Finding, ...] = ()
    untested: tuple[str, ...] = ()
    curves: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    phantom: bool = False
    clinical: tuple[Finding, ...] = ()
