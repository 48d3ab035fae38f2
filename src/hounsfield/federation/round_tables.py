"""What the history of the rounds shows a reader: bytes, sites that were missing, the course of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hounsfield.core.clinical import Plot, PlotSeries

__all__ = ["History", "bytes_of_round", "course", "missing"]

Row = dict[str, Any]
History = Sequence[Mapping[str, Any]]
"""The facts of each round, as `rounds` writes them down."""


def bytes_of_round(history: History, weights_bytes: int) -> list[Row]:
    """What the last round carried to each site and from it, beside the bytes of the weights."""
    if not history:
        return []
    to, back = history[-1]["bytes_to_sites"], history[-1]["bytes_from_sites"]
    return [
        {
            "site": name,
            "to the site": sent,
            "from the site": back.get(name),
            "weights": weights_bytes,
            "times the weights": round(max(sent, back.get(name, 0)) / weights_bytes, 3),
        }
        for name, sent in to.items()
    ]


def missing(history: History) -> list[Row]:
    """Rounds in which a site was missing, and why."""
    return [
        {"round": r["round"], "site": name, "why": why}
        for r in history
        for name, why in [*r["left_out"].items(), *((late, "no answer in time") for late in r["late"])]
    ]


def course(history: History) -> tuple[Plot, ...]:
    """What the common weights lose at each site before it learns, round by round."""
    series = []
    for name in sorted({name for r in history for name in r["losses"]}):
        told = [(r["round"], r["losses"][name]["before"]) for r in history if name in r["losses"]]
        series.append(PlotSeries(name, [float(x) for x, _ in told], [y for _, y in told]))
    if not series:
        return ()
    note = "Measured on cases that the site learns from, before it learns in that round."
    return (Plot("Loss of the common weights at each site", "round", "loss", tuple(series), note=note),)
