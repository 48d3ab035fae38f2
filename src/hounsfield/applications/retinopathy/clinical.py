"""What a retinopathy screening programme reads: grades and referable disease, by camera and by eye.

The grade of an eye is the mean of its classes' probabilities, rounded: of all single answers it has the least
expected squared error, which is what the quadratic weights of kappa count. Referable disease is grade 2 or
worse (International Clinical Diabetic Retinopathy scale, Wilkinson, Ophthalmology 2003;110:1677), scored by
the sum of those classes' probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.clinical import Clinical, Plot, PlotSeries
from hounsfield.core.evidence import Finding
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.agreement import cohen_kappa
from hounsfield.metrics.discrimination import auroc, roc_curve
from hounsfield.metrics.operating import sensitivity_at, specificity_at
from hounsfield.steps.audits.eyes import eye_of
from hounsfield.steps.clinical import Asked, as_finding

__all__ = ["grades_of", "grading", "referable_scores"]

REFERABLE_FROM = 2
_PROGRAMMES = (
    ("specificity", 0.95, "British Diabetic Association: at least 80 % sensitivity at 95 % specificity"),
    (
        "specificity",
        0.825,
        "Abràmoff, npj Digit Med 2018;1:39: at least 85 % sensitivity at 82.5 %",
    ),
    ("sensitivity", 0.85, "Abràmoff 2018, the other way round"),
)
_BY = ("scanner", "eye", "site", "sex", "age band")


def grades_of(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The grade (N,) of each row of class probabilities (N, C): their mean class, rounded.

    >>> grades_of(np.array([[0.5, 0.0, 0.5], [0.9, 0.1, 0.0]])).tolist()
    [1, 0]
    """
    return np.rint(scores @ np.arange(scores.shape[1])).astype(np.int64)


def referable_scores(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability (N,) of grade 2 or worse.

    >>> referable_scores(np.array([[0.5, 0.2, 0.2, 0.1, 0.0]])).round(2).tolist()
    [0.3]
    """
    return np.asarray(scores[:, REFERABLE_FROM:].sum(1), np.float64)


def grading(asked: Asked) -> Clinical:
    """The screening chapter of graded photographs."""
    table = asked.table
    assert isinstance(table, Predictions)
    classes = table.encoding.classes
    if table.answers is None or table.encoding.kind != "multiclass" or len(classes) <= REFERABLE_FROM:
        return Clinical(
            "Retinopathy screening", untested=("Agreement of grades: it needs graded answers, 0 to 4.",)
        )
    grade, score = grades_of(table.scores), referable_scores(table.scores)
    truth, who = np.asarray(table.answers), np.array(table.patients)
    sick = (truth >= REFERABLE_FROM).astype(int)
    kappa = cohen_kappa(truth, grade, classes=len(classes), patients=who)
    findings = [as_finding(kappa, name="quadratic_weighted_kappa", note="grades by mean probability")]
    if asked.called is not None:
        likeliest = cohen_kappa(truth, asked.called, classes=len(classes), patients=who)
        findings.append(as_finding(likeliest, name="quadratic_weighted_kappa", label="likeliest class"))
    findings += _referable(score, sick, who)
    columns = {**table.groups, "eye": tuple(eye_of(c) for c in asked.cases)}
    findings += _by_group(columns, grade, truth, score, sick, who, len(classes))
    plots = (_roc(score, sick), _agreement(grade, truth, classes)) if len(np.unique(sick)) == 2 else ()
    return Clinical(
        "Retinopathy screening",
        "Both eyes of a patient lie in the same part of the split, and intervals count patients.",
        findings=tuple(findings),
        tables={"Grades: the reader's by row, the model's by column": _crossed(grade, truth, classes)},
        plots=plots,
        untested=("Macular oedema: it is no grade of this scale and was not looked for.",),
    )


def _referable(score: NDArray[np.float64], sick: NDArray[np.int64], who: NDArray[np.str_]) -> list[Finding]:
    if len(np.unique(sick)) < 2:
        return [
            Finding("auroc", label="referable", n=len(sick), note="referable disease, or none, is missing")
        ]
    found = [as_finding(auroc(score, sick, patients=who), label="referable")]
    for held, target, why in _PROGRAMMES:
        if held == "specificity":
            made = sensitivity_at(score, sick, specificity=target, patients=who)
        else:
            made = specificity_at(score, sick, sensitivity=target, patients=who)
        other = "sensitivity" if held == "specificity" else "specificity"
        found.append(
            as_finding(made, name=f"{other}_at_{100 * target:g}_{held}", label="referable", note=why)
        )
    return found


def _by_group(
    columns: dict[str, tuple[str, ...]],
    grade: NDArray[np.int64],
    truth: NDArray[np.int64],
    score: NDArray[np.float64],
    sick: NDArray[np.int64],
    who: NDArray[np.str_],
    classes: int,
) -> list[Finding]:
    found = []
    for column in _BY:
        held = np.array(columns.get(column, ()))
        for value in sorted(set(held.tolist()) - {""}):
            rows, group = np.flatnonzero(held == value), f"{column}={value}"
            kappa = cohen_kappa(truth[rows], grade[rows], classes=classes, patients=who[rows])
            found.append(as_finding(kappa, name="quadratic_weighted_kappa", group=group))
            if len(np.unique(sick[rows])) == 2:
                area = auroc(score[rows], sick[rows], patients=who[rows])
                found.append(as_finding(area, label="referable", group=group))
    return found


def _crossed(
    grade: NDArray[np.int64], truth: NDArray[np.int64], classes: Sequence[str]
) -> list[dict[str, object]]:
    return [
        {"reader": name, **{str(c): int(((truth == n) & (grade == k)).sum()) for k, c in enumerate(classes)}}
        for n, name in enumerate(classes)
    ]


def _roc(score: NDArray[np.float64], sick: NDArray[np.int64]) -> Plot:
    curve = roc_curve(score, sick)
    line = PlotSeries("referable", curve.x.tolist(), curve.y.tolist())
    return Plot("ROC of referable disease", "1 − specificity", "sensitivity", (line,), diagonal=True)


def _agreement(grade: NDArray[np.int64], truth: NDArray[np.int64], classes: Sequence[str]) -> Plot:
    """The mean grade that the model gives, with its spread, for each grade of the reader."""
    held = [grade[truth == n] for n in range(len(classes))]
    x = [float(n) for n, g in enumerate(held) if len(g)]
    mean = [float(g.mean()) for g in held if len(g)]
    spread = [float(g.std()) for g in held if len(g)]
    series = PlotSeries(
        "mean ± standard deviation", x, mean,
        [m - s for m, s in zip(mean, spread, strict=True)],
        [m + s for m, s in zip(mean, spread, strict=True)], "points",
    )  # fmt: skip
    return Plot("Grades", "the reader's grade", "the model's grade", (series,), diagonal=True)
