"""Tables that follow from the evidence without a new measurement: why these metrics, predictive values by
prevalence, limits for monitoring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hounsfield.steps.chapters.numbers import overall
from hounsfield.steps.chapters.regions import REGIONS, region_properties

__all__ = ["predictive_by_prevalence", "with_derived"]

Row = dict[str, Any]
PREVALENCES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
BATCHES = (50, 100, 500, 1000)


def with_derived(content: Row) -> Row:
    """The content with those tables, where the evidence holds what they need and has none of its own."""
    made = {
        "metric_fingerprint": _fingerprint(content),
        "predictive_values": predictive_by_prevalence(content, PREVALENCES),
        "drift": _drift(content),
    }
    new = {key: rows for key, rows in made.items() if rows and not content["tables"].get(key)}
    return {**content, "tables": {**content["tables"], **new}, "derived": list(new)}


def predictive_by_prevalence(content: Row, prevalences: tuple[float, ...]) -> list[Row]:
    """Predictive values at each prevalence, by Bayes' rule from the measured sensitivity and specificity.

    An interval joins the ends of the two measured intervals, so it is on the wide side. Empty where there are
    several classes, or either was not measured.
    """
    found, cleared = overall(content, "sensitivity"), overall(content, "specificity")
    binary = content["context"].get("kind", "binary") == "binary"
    if not found or not cleared or not binary or None in (found["value"], cleared["value"]):
        return []
    rows = []
    for prevalence in prevalences:
        values = {}
        for name, of in (("precision", _precision), ("npv", _npv)):
            ends = [of(found[end], cleared[end], prevalence) for end in ("value", "low", "high")]
            values[name] = dict(zip(("value", "low", "high"), ends, strict=True))
        rows.append({"prevalence": prevalence, **values})
    return rows


def _precision(sensitivity: float | None, specificity: float | None, prevalence: float) -> float | None:
    if sensitivity is None or specificity is None:
        return None
    hits, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    return hits / (hits + alarms) if hits + alarms > 0 else None


def _npv(sensitivity: float | None, specificity: float | None, prevalence: float) -> float | None:
    if sensitivity is None or specificity is None:
        return None
    cleared, misses = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return cleared / (cleared + misses) if cleared + misses > 0 else None


def _fingerprint(content: Row) -> list[Row]:
    """What of the task decides which metrics mean something (Maier-Hein, Nat Methods 2024;21:195)."""
    context, findings = content["context"], [f for f in content["metrics"] if not f["group"]]
    if context.get("task") in REGIONS:
        return region_properties(content, findings)
    kind, classes = context.get("kind"), context.get("classes") or []
    if not kind or not findings:
        return []
    names = {f["name"] for f in findings}
    rows = [("task", f"{kind} classification, {len(classes)} classes", _ranking(kind, names))]
    shares = _shares(content)
    if shares:
        rarest, share = min(shares.items(), key=lambda pair: pair[1])
        rows.append(
            ("how common", f"the rarest, {rarest}: {100 * share:.1f} % of the cases", _rare(share, names))
        )
    largest = max(findings, key=lambda f: f["n"])
    if largest["n_patients"]:
        told = f"{largest['n']} cases of {largest['n_patients']} patients"
        clustered = largest["n"] > largest["n_patients"]
        why = (
            "intervals by patient, since cases of one patient are alike"
            if clustered
            else "one case a patient"
        )
        rows.append(("cases by patient", told, why))
    scored = [n for n in ("brier", "ece", "calibration_slope", "calibration_intercept") if n in names]
    if scored:
        rows.append(("output", "probabilities", f"calibration beside ranking: {_listed(scored)}"))
    point = content["tables"].get("operating_point")
    if point:
        rows.append(("decision", f"a threshold by {point.get('rule')}", "sensitivity and specificity at it"))
    return [{"property": a, "here": b, "so it is measured by": c} for a, b, c in rows]


def _ranking(kind: str, names: set[str]) -> str:
    used = [name for name in ("auroc", "auprc", "balanced_accuracy", "qwk") if name in names]
    each = "" if kind == "binary" else ", and each class against the others"
    return _listed(used) + each


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


def _rare(share: float, names: set[str]) -> str:
    if share >= 0.2:
        return "accuracy means something beside the rates of each class"
    told = [name for name in ("auprc", "balanced_accuracy", "mcc") if name in names]
    return f"accuracy alone would flatter: read {_listed(told) or 'the rates of each class'}"


def _shares(content: Row) -> dict[str, float]:
    """The share of each class among the evaluated cases, from the confusion matrix."""
    matrix = content["tables"].get("confusion") or {}
    counts = [sum(row) for row in matrix.get("counts") or []]
    total = sum(counts)
    return (
        {str(c): n / total for c, n in zip(matrix.get("classes", []), counts, strict=False)} if total else {}
    )


def _drift(content: Row) -> list[Row]:
    """How often each class would be called among the next cases like these, as 95 % prediction limits.

    Beta-binomial from the calls on the evaluated cases, with Jeffreys' prior; cases count as independent.
    """
    from scipy.stats import betabinom

    matrix = content["tables"].get("confusion") or {}
    counts, classes = matrix.get("counts") or [], matrix.get("classes") or []
    total = sum(map(sum, counts))
    if not total or total < 30:
        return []
    binary = content["context"].get("kind") == "binary"
    rows = []
    for k, name in enumerate(classes):
        if binary and k != len(classes) - 1:
            continue
        called = sum(row[k] for row in counts)
        law = [betabinom(n, called + 0.5, total - called + 0.5) for n in BATCHES]
        limits = {
            f"of the next {n:,}": f"{int(x.ppf(0.025))} to {int(x.ppf(0.975))}"
            for n, x in zip(BATCHES, law, strict=True)
        }
        shown = content["context"].get("positive") if binary else name
        rows.append({"called": shown or name, "here": f"{called} of {total}", **limits})
    return rows
