"""What a clinical application adds to the evidence of a run: its own numbers, tables, plots and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hounsfield.core.evidence import Finding, Picture

__all__ = ["Clinical", "Plot", "PlotSeries"]


@dataclass(frozen=True, slots=True)
class PlotSeries:
    """Points (x, y) of a plot, joined by a line or not, with an interval at each where one is known.

    >>> PlotSeries("site A", (0, 1), (1.0, 0.99)).kind
    'line'
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    kind: str = "line"


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing of the clinical chapter: series over two named axes; `diagonal` draws where x is y."""

    title: str
    x_name: str
    y_name: str
    series: tuple[PlotSeries, ...]
    diagonal: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Clinical:
    """A chapter of a report. `tables` are rows by title; `untested` what this application could not show.

    >>> Clinical("Screening", findings=(Finding("recall_rate", value=0.08, n=200),)).tables
    {}
    """

    title: str
    lead: str = ""
    findings: tuple[Finding, ...] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    plots: tuple[Plot, ...] = ()
    pictures: tuple[Picture, ...] = ()
    untested: tuple[str, ...] = ()
