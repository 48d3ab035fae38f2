"""In how many of 100 simulated studies does each 95 % interval hold the truth?

    nice python benchmarks/metrics_coverage.py [--studies 2000] [--design PART] [--family PART]

Each design (`metrics_designs`) is a way in which a study could have been made: so many cases of so many
patients, so common a finding, so good and so well calibrated a model. The truth is the metric on 400,000
cases of the design, or a closed form. A refused number is left out and counted. With 2,000 studies a
coverage is known to 0.5 points (its standard error).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from metrics_designs import DESIGNS, SMALL, Design, Study, logits_of
from scipy.special import expit

from hounsfield.metrics.agreement import cohen_kappa
from hounsfield.metrics.calibration import brier, ece
from hounsfield.metrics.calibration_curve import calibration_curve
from hounsfield.metrics.confusion import binary_report, multiclass_report
from hounsfield.metrics.decomposition import brier_decomposition, isotonic
from hounsfield.metrics.discrimination import auroc, average_precision
from hounsfield.metrics.net_benefit import net_benefit
from hounsfield.metrics.operating import operating_point, sensitivity_at, specificity_at
from hounsfield.metrics.paired import (
    auroc_difference,
    average_precision_difference,
    loss_difference,
    rate_difference,
)
from hounsfield.metrics.patients import Patients, Resampling, draw
from hounsfield.metrics.predictive import predictive_values
from hounsfield.metrics.recalibration import calibration_slope_intercept
from hounsfield.metrics.segmentation import case_mean, case_median
from hounsfield.metrics.subgroups import subgroup_metrics
from hounsfield.metrics.thresholds import choose_threshold

CUT, RARE = 0.3, 0.05
LARGE = 400_000
DICE = 0.856649  # the mean of expit(2 + 0.8 z), z normal
Named = Iterator[tuple[str, Any]]
Counts = dict[tuple[str, str], list[int]]


def _direct(study: Study, draws: Resampling) -> Named:
    """Intervals in closed form, or from resamples that are sums."""
    p, other, y, who = study.first, study.second, study.answers, draws.patients
    called, second = p >= CUT, other >= CUT
    yield "auroc", auroc(p, y, patients=who)
    yield "auprc", average_precision(p, y, patients=who)
    yield from ((row.name, row) for row in binary_report(y, called, resampling=draws) if row.name != "recall")
    yield "brier", brier(p, y, patients=who)
    yield "ece", ece(p, y, resampling=draws)
    slope, intercept = calibration_slope_intercept(p, y, patients=who)
    yield "calibration slope", slope
    yield "calibration intercept", intercept
    ppv, npv = predictive_values(y, called, prevalence=RARE, patients=who)
    yield "ppv at 5 %", ppv
    yield "npv at 5 %", npv
    yield "net benefit", net_benefit(p, y, threshold=CUT, patients=who)
    yield "net benefit at 5 %", net_benefit(p, y, threshold=0.1, prevalence=RARE, patients=who)
    for rule in ("sensitivity", "specificity"):
        cut = choose_threshold(p, y, rule=rule, target=0.8, patients=who)
        yield f"threshold: {rule} .8", cut
    yield "auroc difference", auroc_difference(p, other, y, patients=who).difference
    yield "auprc difference", average_precision_difference(p, other, y, patients=who).difference
    for rate in ("sensitivity", "specificity", "accuracy"):
        yield f"{rate} difference", rate_difference(called, second, y, rate=rate, patients=who).difference
    for loss in ("log_loss", "brier"):
        yield f"{loss} difference", loss_difference(p, other, y, loss=loss, patients=who).difference


def _resampled(study: Study, draws: Resampling) -> Named:
    """Places of a maximum and points of the ROC curve, which are chosen anew in every resample."""
    p, y, who = study.first, study.answers, draws.patients
    again = len(draws.counts)
    yield "threshold: youden", choose_threshold(p, y, patients=who, resamples=again)
    cost = choose_threshold(p, y, rule="cost", target=3.0, prevalence=RARE, patients=who, resamples=again)
    yield "threshold: cost", cost
    at = specificity_at(p, y, sensitivity=0.8, patients=who, resamples=again)
    yield "specificity at sensitivity .8", at
    at = sensitivity_at(p, y, specificity=0.8, patients=who, resamples=again)
    yield "sensitivity at specificity .8", at


@cache
def _truths(design: Design) -> tuple[dict[str, float], Study]:
    """What a design's metrics are, on very many cases."""
    study = design.study(np.random.default_rng(1), LARGE)
    draws = draw(Patients.of(study.patients, cases=LARGE), cases=LARGE, resamples=2)
    values = {name: row.value for name, row in (*_direct(study, draws), *_resampled(study, draws))}
    p, y, share = study.first, study.answers, study.answers.mean()
    least = ((isotonic(p, y.astype(float)) - y) ** 2).mean()
    values["brier_miscalibration"] = ((p - y) ** 2).mean() - least
    values["brier_discrimination"] = share * (1 - share) - least
    values["brier_uncertainty"] = share * (1 - share)
    return values, study


def _covers(row: Any, truth: float) -> int | None:
    """Whether an interval holds the truth, None where none was given; a hair for rounding."""
    if row.low is None or row.high is None:
        return None
    return int(row.low - 1e-9 <= truth <= row.high + 1e-9)


Cells = Iterator[tuple[str, int | None]]


def _closed(design: Design, draws: Resampling, rng: np.random.Generator) -> Cells:
    study = design.study(rng, design.n)
    if study.answers.min() == study.answers.max():
        return
    truth = _truths(design)[0]
    for name, row in _direct(study, draws):
        yield name, _covers(row, truth[name])
    if design.levels:
        return
    curve = calibration_curve(study.first, study.answers, patients=draws.patients)
    names = ("calibration curve, one score", "calibration curve, band")
    if curve.reason:
        yield from ((name, None) for name in names)
        return
    true = expit(design.slope * logits_of(curve.score) + design.shift)
    inside = (curve.low <= true) & (true <= curve.high)
    yield names[0], int(inside[len(inside) // 2])
    yield names[1], int(((curve.band_low <= true) & (true <= curve.band_high)).all())


def _chosen(design: Design, draws: Resampling, rng: np.random.Generator) -> Cells:
    study, (truth, large) = design.study(rng, design.n), _truths(design)
    for name, row in _resampled(study, draws):
        yield name, _covers(row, truth[name])
    p, y = large.first, large.answers == 1
    for rule, target in (("youden", None), ("sensitivity", 0.8)):
        point = operating_point(
            study.first, study.answers, rule=rule, target=target, patients=draws.patients,
            resamples=len(draws.counts),
        )  # fmt: skip
        called = p >= point.threshold.value
        yield f"sensitivity in use ({rule})", _covers(point.sensitivity, called[y].mean())
        yield f"specificity in use ({rule})", _covers(point.specificity, 1 - called[~y].mean())


def _parts(design: Design, draws: Resampling, rng: np.random.Generator) -> Cells:
    study, truth = design.study(rng, design.n), _truths(design)[0]
    rows = brier_decomposition(study.first, study.answers, patients=draws.patients)[1:]
    yield from ((row.name, _covers(row, truth[row.name])) for row in rows)


def _subgroups(design: Design, draws: Resampling, rng: np.random.Generator) -> Cells:
    """A quarter of four times as many cases is the group; the truth is that of everyone."""
    study, truth = design.study(rng, 4 * design.n), _truths(design)[0]
    group = rng.permutation(4 * design.n)[: study.patients[-1] + 1] % 4
    table = subgroup_metrics(
        study.first[:, None], study.answers[:, None], {"site": group[study.patients]},
        patients=study.patients, findings=["finding"], thresholds=CUT, resamples=len(draws.counts), seed=rng,
    )  # fmt: skip
    for row in table.rows:
        name = row.estimate.name.replace("calibration_", "calibration ")
        if row.group == "0" and name in truth:
            yield f"subgroup: {name}", _covers(row.estimate, truth[name])
    for test in table.tests:
        if test.test.p_value is not None:
            yield f"no false heterogeneity of {test.metric}", int(test.test.p_value >= 0.05)
    told = [test.p_adjusted for test in table.tests if test.p_adjusted is not None]
    told += [row.p_adjusted for row in table.rows if row.p_adjusted is not None]
    yield "no alarm in the table after Holm", int(min(told, default=1.0) >= 0.05)


def _grades(rng: np.random.Generator, n: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Grades 0 to 3 and what a reader called them."""
    ease = np.repeat(rng.normal(size=-(-n // images)), images)[:n]
    seen = rng.normal(size=n) + ease * (images > 1)
    said = seen + 0.6 * rng.normal(size=n)
    cuts = np.array([-0.3, 0.6, 1.4])
    return np.searchsorted(cuts, seen), np.searchsorted(cuts, said)


def _graded(truth: np.ndarray, said: np.ndarray, draws: Resampling) -> Named:
    for name, weights in (("kappa", "none"), ("qwk", "quadratic")):
        yield name, cohen_kappa(truth, said, classes=4, weights=weights, resampling=draws)
    rows = multiclass_report(truth, said, classes=list("abcd"), resampling=draws)
    yield from ((row.name, row) for row in rows if not row.group and row.name != "recall")


@cache
def _graded_truths(images: int) -> dict[str, float]:
    who = Patients.of(np.arange(LARGE) // images, cases=LARGE)
    truth, said = _grades(np.random.default_rng(2), LARGE, images)
    return {name: row.value for name, row in _graded(truth, said, draw(who, cases=LARGE, resamples=2))}


GRADED = {"100 graded": (100, 1), "60 patients of 4 graded": (240, 4)}
SEGMENTED = {"10 organs": (10, 1), "30 organs": (30, 1), "100 organs": (100, 1), "20 patients of 3": (60, 3)}


def _of_grades(name: str, draws: Resampling, rng: np.random.Generator) -> Cells:
    n, images = GRADED[name]
    truth = _graded_truths(images)
    for metric, row in _graded(*_grades(rng, n, images), draws):
        yield f"{metric}, four grades", _covers(row, truth[metric])


def _segmented(name: str, rng: np.random.Generator) -> Cells:
    """Dice and HD95 of cases that share their patient's difficulty; truths of the same law."""
    n, images = SEGMENTED[name]
    ease = np.repeat(rng.normal(size=-(-n // images)), images)[:n]
    own = rng.normal(size=n)
    mixed = (ease + own) / np.sqrt(2) if images > 1 else own
    dice, distance = list(expit(2 + 0.8 * mixed)), list(np.exp(1 + 0.6 * mixed))
    who = np.arange(n) // images
    yield "mean dice", _covers(case_mean("dice", dice, patients=who, share=True), DICE)
    mean = case_mean("hd95", distance, patients=who, least=0.0)
    yield "mean hd95", _covers(mean, float(np.exp(1 + 0.6**2 / 2)))
    if images == 1:
        yield "median hd95", _covers(case_median("hd95", distance, patients=who), float(np.e))


FAMILIES: dict[str, tuple[Callable[..., Cells], tuple[str, ...], int]] = {
    "closed": (_closed, tuple(design.name for design in DESIGNS), 200),
    "chosen": (_chosen, SMALL, 200),
    "parts": (_parts, SMALL[::2], 2),
    "subgroups": (_subgroups, SMALL[::2], 400),
    "grades": (_of_grades, tuple(GRADED), 200),
    "segmentation": (_segmented, tuple(SEGMENTED), 0),
}
"""Each with its designs, and how many resamples a study has."""


def _run(job: tuple[str, str, int, int]) -> Counts:
    """Some studies of one family and one design, in a process of its own: (covered, told, refused)."""
    family, name, studies, seed = job
    simulate, _, resamples = FAMILIES[family]
    count: Counts = defaultdict(lambda: [0, 0, 0])
    design: Any = next((one for one in DESIGNS if one.name == name), name)
    draws = None
    if resamples:
        n, images = (design.n, 0) if isinstance(design, Design) else GRADED[name]
        who = np.arange(n) // images if images else design.patients(n)
        draws = draw(Patients.of(who, cases=n), cases=n, resamples=resamples)
    for study in range(studies):
        rng = np.random.default_rng([seed, study, sum(name.encode())])
        for metric, covered in simulate(design, draws, rng) if draws else simulate(design, rng):
            row = count[metric, name]
            row[2 if covered is None else 1] += 1
            row[0] += covered or 0
    return dict(count)


def _table(count: Counts) -> None:
    names = list(dict.fromkeys(name for name, _ in count))
    designs = list(dict.fromkeys(design for _, design in count))
    print("| interval of | " + " | ".join(designs) + " |")
    print("|---|" + "---|" * len(designs))
    for name in names:
        cells = [_cell(*count.get((name, design), (0, 0, 0))) for design in designs]
        print(f"| {name} | " + " | ".join(cells) + " |")
    told = {key: (row[0] / row[1], row[1]) for key, row in count.items() if row[1] >= 50}
    shares = np.array([share for share, _ in told.values()])
    inside, near = ((shares >= a) & (shares <= b) for a, b in ((0.94, 0.96), (0.93, 0.97)))
    print(f"\n{len(shares)} settings; within 94-96 %: {inside.sum()}; within 93-97 %: {near.sum()}; ", end="")
    print(f"below 93 %: {(shares < 0.93).sum()}; above 97 %: {(shares > 0.97).sum()}")
    for (name, design), (share, _) in sorted(told.items(), key=lambda item: item[1]):
        if not 0.94 <= share <= 0.96:
            print(f"  {100 * share:.1f}  {name}: {design}")


def _cell(covered: int, told: int, refused: int) -> str:
    if told < 50:
        return "" if not refused else "refused"
    return f"{100 * covered / told:.1f}" + (
        f" ({100 * refused / (told + refused):.0f} % refused)" if refused else ""
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--design", default="", help="only designs whose name holds this")
    parser.add_argument("--family", default="", choices=["", *FAMILIES])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", default="", help="write the counts here too")
    given = parser.parse_args()
    began = time.perf_counter()
    jobs = [
        (family, name, given.studies, 0)
        for family, (_, names, _) in FAMILIES.items()
        for name in names
        if given.family in ("", family) and given.design in name
    ]
    count: Counts = {}
    with ProcessPoolExecutor(given.processes) as pool:
        for done in pool.map(_run, jobs):
            count |= done
            if given.json:
                Path(given.json).write_text(json.dumps([[*key, *row] for key, row in count.items()]))
    _table(count)
    print(f"{given.studies} studies a design, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
