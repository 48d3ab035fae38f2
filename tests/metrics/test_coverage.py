"""Do 95 % intervals hold the truth in about 95 of 100 studies? Seeded simulations, known truths."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import norm
from sklearn import metrics as sk

from hounsfield.metrics.agreement import cohen_kappa, measure_agreement
from hounsfield.metrics.calibration import ece
from hounsfield.metrics.calibration_curve import calibration_curve
from hounsfield.metrics.confusion import measure_one_against_rest
from hounsfield.metrics.discrimination import auroc, average_precision
from hounsfield.metrics.measured import average, proportion
from hounsfield.metrics.net_benefit import net_benefit
from hounsfield.metrics.operating import operating_point, specificity_at
from hounsfield.metrics.paired import loss_difference, rate_difference
from hounsfield.metrics.patients import Patients, draw
from hounsfield.metrics.predictive import predictive_values
from hounsfield.metrics.recalibration import calibration_slope_intercept
from hounsfield.metrics.segmentation import case_mean, case_median
from hounsfield.metrics.subgroups import subgroup_metrics
from hounsfield.metrics.thresholds import choose_threshold

STUDIES = 600


def share_covered(truth, studies):
    return np.mean([study.low <= truth <= study.high for study in studies])


@pytest.mark.parametrize(("area", "found", "clear"), [(0.7, 10, 10), (0.85, 25, 60), (0.95, 30, 100)])
def test_delong_interval_covers(area, found, clear):
    rng = np.random.default_rng(0)
    answers = np.repeat([1, 0], [found, clear])
    shift = norm.ppf(area) * np.sqrt(2) * answers
    studies = [auroc(rng.normal(size=len(answers)) + shift, answers) for _ in range(STUDIES)]
    assert 0.92 <= share_covered(area, studies) <= 0.985


def test_a_perfect_area_is_covered_too():
    rng = np.random.default_rng(1)
    answers = np.repeat([1, 0], 12)
    shift = norm.ppf(0.99) * np.sqrt(2) * answers
    studies = [auroc(rng.normal(size=24) + shift, answers) for _ in range(STUDIES)]
    assert np.mean([study.value == 1 for study in studies]) > 0.2
    assert share_covered(0.99, studies) >= 0.92


def test_clustered_interval_covers_where_the_naive_one_does_not():
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(60), 6)
    answers = (patients % 2).astype(int)
    clustered, naive = [], []
    shift = 1.2 * np.sqrt(2)
    for _ in range(300):
        own = rng.normal(size=60)[patients]
        scores = np.sqrt(0.7) * own + np.sqrt(0.3) * rng.normal(size=360) + shift * answers
        clustered.append(auroc(scores, answers, patients=patients))
        naive.append(auroc(scores, answers))
    truth = norm.cdf(1.2)
    assert 0.92 <= share_covered(truth, clustered) <= 0.985
    assert share_covered(truth, naive) < 0.8


def test_average_precision_interval_covers():
    rng = np.random.default_rng(3)
    large = np.arange(400_000) % 4 == 0
    truth = average_precision(rng.normal(size=400_000) + 1.2 * large, large.astype(int)).value
    studies = []
    for _ in range(STUDIES):
        answers = (rng.random(200) < 0.25).astype(int)
        studies.append(average_precision(rng.normal(size=200) + 1.2 * answers, answers))
    assert 0.915 <= share_covered(truth, studies) <= 0.98


def test_rates_of_an_accurate_decision_are_covered_at_small_n():
    """Where the bootstrap's percentiles cover 81-93 %."""
    rng = np.random.default_rng(4)
    truth = np.arange(60) < 20
    owners, draws = Patients.of(None, cases=60), draw(None, cases=60, resamples=400)
    balanced, f1, mcc = [], [], []
    for _ in range(STUDIES):
        said = np.where(truth, rng.random(60) < 0.9, rng.random(60) < 0.05)
        rates = measure_one_against_rest(truth, said, owners)
        both = [rates["sensitivity"], rates["specificity"]]
        balanced.append(average(both, n=60, n_patients=60))
        f1.append(rates["f1"])
        mcc.append(measure_agreement(truth.astype(int), said.astype(int), 2, draws, kind="mcc"))
    cells = np.array([20 * 0.9, 20 * 0.1, 40 * 0.05, 40 * 0.95])
    tp, fn, fp, tn = cells
    phi = (tp * tn - fn * fp) / np.sqrt((tp + fn) * (tp + fp) * (tn + fn) * (tn + fp))
    assert 0.92 <= share_covered(0.925, balanced) <= 0.985
    assert 0.92 <= share_covered(2 * tp / (2 * tp + fn + fp), f1) <= 0.99
    assert 0.92 <= share_covered(phi, mcc) <= 0.99


@pytest.mark.parametrize("patients", [15, 60])
def test_clustered_proportion_covers_where_wilson_alone_does_not(patients):
    rng = np.random.default_rng(5)
    names = np.repeat(np.arange(patients), 8)
    everyone, owners = np.ones(len(names), dtype=bool), Patients.of(names, cases=len(names))
    clustered, naive = [], []
    for _ in range(STUDIES):
        hits = rng.random(len(names)) < rng.beta(4, 1, patients)[names]
        clustered.append(proportion(hits, everyone, owners))
        naive.append(proportion(hits, everyone, Patients.of(None, cases=len(names))))
    assert 0.925 <= share_covered(0.8, clustered) <= 0.985
    assert share_covered(0.8, naive) < 0.92


@pytest.mark.parametrize("slope", [1.0, 2.0])
def test_calibration_error_is_covered_in_spite_of_its_bias(slope):
    rng = np.random.default_rng(6)
    draws = draw(None, cases=300, resamples=200)
    logit = rng.normal(size=400_000) * 1.5
    shown, true = expit(slope * logit), expit(logit)
    place = np.clip(np.ceil(shown * 15) - 1, 0, 14).astype(int)
    error = np.abs(np.bincount(place, weights=shown - true)).sum() / len(logit)
    studies = []
    for _ in range(200):
        pick = rng.integers(0, len(logit), 300)
        answers = (rng.random(300) < true[pick]).astype(int)
        studies.append(ece(shown[pick], answers, resampling=draws))
    assert share_covered(0.0 if slope == 1 else error, studies) >= 0.94


def study(rng, n, *, images=1, shared=0.0):
    """Calibrated probabilities, answers and patients, alike within a patient by `shared`."""
    who = np.arange(n) // images

    def normal():
        own = rng.normal(size=who[-1] + 1)[who]
        return np.sqrt(shared) * own + np.sqrt(1 - shared) * rng.normal(size=n)

    logit = 1.5 * normal() - 0.5
    return logit, (norm.cdf(normal()) < expit(logit)).astype(int), who


@pytest.mark.parametrize(("n", "images", "shared"), [(120, 1, 0.0), (240, 4, 0.6)])
def test_decisions_are_covered(n, images, shared):
    rng = np.random.default_rng(7)
    logit, y, _ = study(rng, 400_000)
    called = logit > 0
    sens, spec = called[y == 1].mean(), (~called)[y == 0].mean()
    truth = {
        "ppv": 0.05 * sens / (0.05 * sens + 0.95 * (1 - spec)),
        "npv": 0.95 * spec / (0.95 * spec + 0.05 * (1 - sens)),
        "net": (called & (y == 1)).mean() - (called & (y == 0)).mean(),
        "net at 5 %": 0.05 * sens - 0.95 * (1 - spec) / 9,
        "specificity at .8": (logit[y == 0] < np.quantile(logit[y == 1], 0.2)).mean(),
    }
    found = {name: [] for name in truth}
    for _ in range(400):
        logit, y, who = study(rng, n, images=images, shared=shared)
        p, owners = expit(logit), Patients.of(who, cases=n)
        values = predictive_values(y, logit > 0, prevalence=0.05, patients=owners)
        found["ppv"].append(values[0])
        found["npv"].append(values[1])
        found["net"].append(net_benefit(p, y, threshold=0.5, patients=owners))
        found["net at 5 %"].append(
            net_benefit((logit > 0) * 1.0, y, threshold=0.1, prevalence=0.05, patients=owners)
        )
        found["specificity at .8"].append(
            specificity_at(p, y, sensitivity=0.8, patients=owners, resamples=200)
        )
    for name, rows in found.items():
        assert 0.92 <= share_covered(truth[name], rows) <= 0.985, name


def test_rates_in_use_are_covered_although_the_same_cases_chose_the_threshold():
    rng = np.random.default_rng(8)
    covered = {"sensitivity": [], "specificity": []}
    for _ in range(300):
        y = rng.random(150) < 0.4
        point = operating_point(rng.normal(size=150) + 1.3 * y, y, resamples=200, seed=rng)
        truth = {
            "sensitivity": norm.sf(point.threshold.value - 1.3),
            "specificity": norm.cdf(point.threshold.value),
        }
        for name, value in truth.items():
            row = getattr(point, name)
            covered[name].append(row.low <= value <= row.high)
    assert all(0.915 <= np.mean(inside) <= 0.99 for inside in covered.values())


def test_paired_differences_are_covered():
    rng = np.random.default_rng(9)
    everyone = np.ones(100, int)
    rates, losses = [], []
    for _ in range(STUDIES):
        ease = rng.normal(size=100)
        first, second = ease + 0.7 * rng.normal(size=100) > -1.2, ease + 0.7 * rng.normal(size=100) > -0.8
        rates.append(rate_difference(first, second, everyone, rate="sensitivity").difference)
        logit, y, _ = study(rng, 100)
        losses.append(loss_difference(expit(logit), expit(1.5 * logit), y, loss="brier").difference)
    spread = np.sqrt(1 + 0.49)
    assert 0.925 <= share_covered(norm.cdf(1.2 / spread) - norm.cdf(0.8 / spread), rates) <= 0.98
    logit, y, _ = study(rng, 1_000_000)
    truth = np.mean((expit(logit) - y) ** 2 - (expit(1.5 * logit) - y) ** 2)
    assert 0.92 <= share_covered(truth, losses) <= 0.98


def test_calibration_curve_and_its_band_cover():
    rng = np.random.default_rng(10)
    at_one, everywhere = [], []
    for _ in range(300):
        logit, y, who = study(rng, 400, images=2, shared=0.5)
        curve = calibration_curve(expit(logit), y, patients=who)
        at_one.append(curve.low[50] <= curve.score[50] <= curve.high[50])
        everywhere.append(((curve.band_low <= curve.score) & (curve.score <= curve.band_high)).all())
    assert 0.91 <= np.mean(at_one) <= 0.99 and 0.91 <= np.mean(everywhere) <= 0.99


@pytest.mark.parametrize(("n", "images", "shared"), [(120, 1, 0.0), (240, 4, 0.6)])
def test_calibration_slope_intercept_and_bounded_thresholds_are_covered(n, images, shared):
    """Four images of a patient: percentiles of a bootstrap cover 92 %, the model's own errors 85 %."""
    rng = np.random.default_rng(13)
    logit, y, _ = study(rng, 400_000)
    shown = 1.5 * logit + 0.3
    shift = minimize_scalar(lambda a: np.mean(np.logaddexp(0, shown + a) - y * (shown + a))).x
    truth = {
        "calibration_slope": 1 / 1.5,
        "calibration_intercept": shift,
        "sensitivity": np.quantile(logit[y == 1], 0.2),
        "specificity": np.quantile(logit[y == 0], 0.8),
    }
    found = {name: [] for name in truth}
    for _ in range(300):
        logit, y, who = study(rng, n, images=images, shared=shared)
        for row in calibration_slope_intercept(expit(1.5 * logit + 0.3), y, patients=who):
            found[row.name].append(row)
        for rule in ("sensitivity", "specificity"):
            found[rule].append(choose_threshold(logit, y, rule=rule, target=0.8, patients=who))
    for name, rows in found.items():
        told = [row for row in rows if row.low is not None]
        assert len(told) > 200 and 0.915 <= share_covered(truth[name], told) <= 0.985, name


@pytest.mark.parametrize("weights", ["none", "quadratic"])
def test_agreement_of_grades_is_covered(weights):
    rng = np.random.default_rng(14)

    def grades(n, images):
        ease = np.repeat(rng.normal(size=n // images), images)
        seen = ease + rng.normal(size=n)
        cuts = [-0.5, 0.8]
        return np.searchsorted(cuts, seen), np.searchsorted(cuts, seen + 0.7 * rng.normal(size=n))

    large = grades(400_000, 1)
    options = {"classes": 3, "weights": weights}
    truth = sk.cohen_kappa_score(*large, weights=None if weights == "none" else weights)
    draws = draw(np.repeat(np.arange(50), 3), cases=150, resamples=200)
    studies = [cohen_kappa(*grades(150, 3), resampling=draws, **options) for _ in range(300)]
    assert 0.92 <= share_covered(truth, studies) <= 0.985


def test_means_of_skewed_distances_and_of_overlaps_are_covered():
    """Lognormal distances of 30 patients, where a plain t interval covers 89 %."""
    rng = np.random.default_rng(11)
    distances, overlaps, medians = [], [], []
    for _ in range(STUDIES):
        far = list(np.exp(0.9 * rng.normal(size=30)))
        distances.append(case_mean("hd95", far))
        medians.append(case_median("hd95", far))
        overlaps.append(case_mean("dice", list(rng.beta(8, 2, 30)), share=True))
    assert 0.91 <= share_covered(np.exp(0.405), distances) <= 0.97
    assert 0.93 <= share_covered(1.0, medians) <= 0.985 and 0.92 <= share_covered(0.8, overlaps) <= 0.98


def test_groups_without_disparity_raise_no_alarm():
    rng = np.random.default_rng(12)
    alarms, covered = [], []
    truth = norm.cdf(1.2 / np.sqrt(2))
    for _ in range(150):
        y = rng.random((400, 1)) < 0.4
        site = rng.integers(0, 4, 400)
        p = expit(rng.normal(size=(400, 1)) + 1.2 * y - 0.7)
        table = subgroup_metrics(
            p, y, {"site": site}, patients=None, findings=["f"], resamples=200, seed=rng,
            compared=("auroc", "sensitivity", "specificity"),
        )  # fmt: skip
        told = [row.p_adjusted for row in table.rows] + [test.p_adjusted for test in table.tests]
        alarms.append(min(p for p in told if p is not None) < 0.05)
        covered.append(table.row("f", "auroc", column="site", group="0").estimate)
    assert np.mean(alarms) <= 0.1 and 0.9 <= share_covered(truth, covered) <= 0.99
