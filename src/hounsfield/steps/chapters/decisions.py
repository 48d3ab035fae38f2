"""From probabilities to decisions: calibration, scores, thresholds, net benefit, predictive values."""

from __future__ import annotations

from typing import Any

from hounsfield.steps import figures
from hounsfield.steps.chapters.derived import predictive_by_prevalence
from hounsfield.steps.chapters.records import complete, records, renamed
from hounsfield.steps.standards import Given

__all__ = ["decisions"]

Row = dict[str, Any]
IDEAL = {"calibration_slope": 1.0, "calibration_intercept": 0.0}
"""What a dashed line marks in these rows."""


def decisions(content: Row, findings: list[Row], answers: dict[str, Given]) -> Row | None:
    """What the chapter prints; None where the evidence holds nothing of it."""
    curves, tables = content["curves"], content["tables"]
    bins = complete(curves.get("calibration"), "predicted", "observed")
    bands = complete(renamed(curves.get("calibration_band"), predicted="score"), "predicted", "observed")
    benefit = complete(
        renamed(curves.get("net_benefit"), model="value", all="treat_all"), "threshold", "model"
    )
    histograms = curves.get("scores") or {}
    range_wanted = _range(answers)
    chapter: Row = {
        "calibration": {
            name: figures.calibration(bins.get(name), name, k, band=bands.get(name))
            for k, name in enumerate(dict.fromkeys([*bins, *bands]))
        },
        "scores": {
            name: figures.scores(counts, name, _threshold(tables, k, of=len(histograms)))
            for k, (name, counts) in enumerate(histograms.items())
        },
        "benefit": {
            name: figures.decision_curve(curve, name, range_wanted) for name, curve in benefit.items()
        },
        "predictive": {
            name: figures.predictive_values(curve, name)
            for name, curve in complete(curves.get("predictive_values"), "prevalence", "ppv", "npv").items()
        },
        "numbers": figures.forest_blocks(
            [{**f, "reference": IDEAL[f["name"]]} if f["name"] in IDEAL else f for f in findings], "name"
        ),
        "points": records(tables.get("operating_points")),
        "at_prevalence": records(tables.get("predictive_values")),
        "stated": _stated_prevalence(content, answers),
    }
    return chapter if any(chapter.values()) or tables.get("operating_point") else None


def _stated_prevalence(content: Row, answers: dict[str, Given]) -> Row | None:
    """Predictive values at the prevalence that a person has stated; None where nobody has."""
    given = answers.get("prevalence")
    if given is None or not isinstance(given.answer, float):
        return None
    rows = predictive_by_prevalence(content, (given.answer,))
    return {**rows[0], "by": given} if rows else None


def _range(answers: dict[str, Given]) -> tuple[float, float] | None:
    """The thresholds between which people would act, where somebody has stated them."""
    given = answers.get("threshold_range")
    return given.answer if given and isinstance(given.answer, tuple) else None


def _threshold(tables: Row, number: int, *, of: int) -> float | None:
    """The threshold of one output; a single number belongs to a single output only."""
    value = (tables.get("operating_point") or {}).get("value")
    if isinstance(value, list):
        return value[number] if len(value) == of else None
    return value if of == 1 else None
