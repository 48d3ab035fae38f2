"""Subgroups against the metrics of their cases alone, and the resamples against bootstraps made anew."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from hounsfield.core.errors import BadInput
from hounsfield.metrics.calibration import ece
from hounsfield.metrics.discrimination import auroc
from hounsfield.metrics.patients import draw
from hounsfield.metrics.recalibration import calibration_slope_intercept
from hounsfield.metrics.subgroup_sums import cell_sums
from hounsfield.metrics.subgroup_values import METRICS, resampled_metrics
from hounsfield.metrics.subgroups import subgroup_metrics
from hounsfield.metrics.summary import classification_metrics

N, CUT = 600, 0.4


def cohort(seed=0, n=N, images=2, findings=1):
    rng = np.random.default_rng(seed)
    patients = np.arange(n) // images
    own = rng.normal(size=patients[-1] + 1)[patients]
    logit = rng.normal(size=(n, findings)) + own[:, None]
    answers = (rng.random((n, findings)) < expit(logit)).astype(int)
    sex = np.where(patients % 2 == 0, "F", "M")
    site = np.array(["A", "B", "C"])[patients % 3]
    return np.round(expit(logit * 1.3), 2), answers, patients, {"sex": sex, "site": site}


def by_book(y, p):
    called = p >= CUT
    tn, fp, fn, tp = sk.confusion_matrix(y, called, labels=[0, 1]).ravel()
    slope, intercept = calibration_slope_intercept(p, y)
    return {
        "auroc": sk.roc_auc_score(y, p),
        "auprc": sk.average_precision_score(y, p),
        "accuracy": sk.accuracy_score(y, called),
        "balanced_accuracy": sk.balanced_accuracy_score(y, called),
        "sensitivity": sk.recall_score(y, called),
        "specificity": sk.recall_score(y, called, pos_label=0),
        "precision": sk.precision_score(y, called),
        "npv": sk.precision_score(y, called, pos_label=0),
        "f1": sk.f1_score(y, called),
        "brier": sk.brier_score_loss(y, p),
        "ece": ece(p, y).value,
        "calibration_slope": slope.value,
        "calibration_intercept": intercept.value,
        "selection_rate": called.mean(),
        "prevalence": y.mean(),
        "false_negative_rate": fn / (fn + tp),
        "false_positive_rate": fp / (fp + tn),
    }


def made_anew(y, p):
    """The metrics of one resample, from its repeated cases."""
    said, n, found = p >= CUT, len(y), y.sum()
    tp, called = (said & (y == 1)).sum(), said.sum()
    tn = n - found - called + tp
    shown = p.clip(1e-6, 1 - 1e-6)
    slope = LogisticRegression(C=1e9).fit(np.log(shown / (1 - shown))[:, None], y).coef_[0, 0]
    return {
        "auroc": sk.roc_auc_score(y, p),
        "auprc": sk.average_precision_score(y, p),
        "accuracy": (tp + tn) / n,
        "balanced_accuracy": (tp / found + tn / (n - found)) / 2,
        "sensitivity": tp / found,
        "specificity": tn / (n - found),
        "precision": tp / called,
        "npv": tn / (n - called),
        "f1": 2 * tp / (found + called),
        "brier": ((p - y) ** 2).mean(),
        "calibration_slope": slope,
        "selection_rate": called / n,
        "prevalence": found / n,
        "false_negative_rate": 1 - tp / found,
        "false_positive_rate": 1 - tn / (n - found),
    }


def test_every_metric_of_every_group_is_that_of_its_cases_alone():
    p, y, who, groups = cohort(findings=2)
    table = subgroup_metrics(p, y, groups, patients=who, findings=["a", "b"], thresholds=CUT, resamples=50)
    assert len(table.rows) == 2 * len(METRICS) * (1 + 2 + 3)
    for k, finding in enumerate("ab"):
        for column, group, inside in (
            ("", "", np.ones(N, bool)),
            ("sex", "F", groups["sex"] == "F"),
            ("site", "C", groups["site"] == "C"),
        ):
            for name, value in by_book(y[inside, k], p[inside, k]).items():
                row = table.row(finding, name, column=column, group=group)
                assert row.estimate.value == pytest.approx(value, abs=1e-9), (name, column)
                assert row.estimate.low <= row.estimate.value <= row.estimate.high, name
                assert row.estimate.group == (f"{column}={group}" if column else "")
            assert table.row(finding, "auroc", column=column, group=group).estimate.n == inside.sum()


def test_intervals_are_those_of_the_closed_forms():
    p, y, who, groups = cohort(n=900)
    table = subgroup_metrics(p, y, groups, patients=who, findings=["a"], thresholds=CUT)
    inside = groups["site"] == "A"
    alone = classification_metrics(
        p[inside, 0], y[inside, 0], patients=who[inside], classes=["no", "yes"], kind="binary", threshold=CUT
    )
    for other in alone:
        if other.name in METRICS:
            row = table.row("a", other.name, column="site", group="A").estimate
            width = other.high - other.low
            assert row.low == pytest.approx(other.low, abs=0.1 * width), other.name
            assert row.high == pytest.approx(other.high, abs=0.1 * width), other.name
            assert (row.n, row.n_patients) == (other.n, other.n_patients), other.name


def test_resamples_equal_bootstraps_made_anew():
    """Exactly for sums; to first order for areas, whose spread and correlation must be those of the truth."""
    p, y, who, groups = cohort(seed=3, n=400)
    p, y = p[:, 0], y[:, 0]
    cells = np.stack([np.zeros(400), 1 + (groups["sex"] == "M")]).astype(np.int32)
    draws = draw(who, cases=400, resamples=120, seed=1)
    sums = cell_sums(p, y == 1, p >= CUT, cells, 3, draws.block, draws.counts.shape[1], draws.patients.code)
    resampled, _ = resampled_metrics(sums, draws.counts)
    anew = {name: [] for name in METRICS if name not in ("calibration_intercept", "ece")}
    inside = cells[1] == 2
    for counts in draws.counts:
        weight = counts[draws.block] * inside
        again = np.repeat(np.arange(400), weight.astype(int))
        for name, value in made_anew(y[again], p[again]).items():
            anew[name].append(value)
    for name, values in anew.items():
        ours, truth = resampled[name][:, 2], np.array(values)
        if name in ("auroc", "auprc", "calibration_slope"):
            assert ours.std() == pytest.approx(truth.std(), rel=0.08), name
            assert np.corrcoef(ours, truth)[0, 1] > 0.98, name
        else:
            np.testing.assert_allclose(ours, truth, atol=2e-6, err_msg=name)


def test_calibration_error_of_resamples_is_exact():
    p, y, who, _ = cohort(seed=4, n=300)
    draws = draw(who, cases=300, resamples=40, seed=1)
    cells = np.zeros((1, 300), np.int32)
    sums = cell_sums(
        p[:, 0],
        y[:, 0] == 1,
        p[:, 0] >= CUT,
        cells,
        1,
        draws.block,
        draws.counts.shape[1],
        draws.patients.code,
    )
    resampled, bias = resampled_metrics(sums, draws.counts)
    for counts, found in zip(draws.counts, resampled["ece"][:, 0], strict=True):
        again = np.repeat(np.arange(300), counts[draws.block].astype(int))
        assert found == pytest.approx(
            ece(p[again, 0], y[again, 0], resampling=draw(None, cases=300, resamples=2)).value, abs=1e-6
        )
    assert 0 < bias[0] < 0.3


def test_answers_nobody_gave_are_left_out_of_their_finding_only():
    p, y, who, groups = cohort(findings=2)
    known = np.ones((N, 2), bool)
    known[::3, 1] = False
    y = y.astype(float)
    y[::3, 1] = np.nan
    table = subgroup_metrics(p, y, groups, patients=who, findings=["a", "b"], known=known, resamples=20)
    assert table.row("a", "auroc").estimate.n == N
    row = table.row("b", "auroc").estimate
    assert row.n == 400 and row.value == pytest.approx(sk.roc_auc_score(y[known[:, 1], 1], p[known[:, 1], 1]))


def test_empty_group_values_are_a_group_and_numbers_are_names():
    p, y, who, _ = cohort()
    band = np.where(np.arange(N) < 100, None, np.where(np.arange(N) % 2, 40, 60))
    rows = subgroup_metrics(p, y, {"age": band}, patients=who, findings=["a"], resamples=20).rows
    assert {row.group for row in rows} == {"", "40", "60", "not recorded"}


def test_small_groups_print_no_number_and_are_not_compared():
    p, y, who, _ = cohort()
    site = np.where(who < 6, "tiny", np.where(who % 2, "A", "B"))
    table = subgroup_metrics(p, y, {"site": site}, patients=who, findings=["a"], resamples=200)
    row = table.row("a", "auroc", column="site", group="tiny")
    assert row.estimate.value is None and "too few to print" in row.estimate.reason
    assert row.difference is None and row.p_value is None
    assert table.row("a", "auroc", column="site", group="A").difference is not None
    test = next(test for test in table.tests if test.metric == "auroc")
    assert test.test.groups == 2


def test_a_column_of_one_group_is_not_tested_and_says_why():
    p, y, who, _ = cohort()
    table = subgroup_metrics(p, y, {"site": np.full(N, "A")}, patients=who, findings=["a"], resamples=20)
    assert all(test.test.p_value is None and "needs two" in test.test.reason for test in table.tests)


def test_a_disparity_is_found_where_it_is_and_nowhere_else():
    rng = np.random.default_rng(5)
    n = 3000
    y = rng.integers(0, 2, (n, 2))
    site = np.arange(n) % 4
    skill = np.where(site == 2, 0.4, 2.0)[:, None] * np.array([1, 0]) + np.array([0, 2.0])
    p = expit(rng.normal(size=(n, 2)) + skill * (y - 0.5))
    table = subgroup_metrics(p, y, {"site": site}, patients=None, findings=["a", "b"])
    flagged = {(test.finding, test.metric) for test in table.tests if test.p_adjusted < 0.05}
    assert ("a", "auroc") in flagged and not any(finding == "b" for finding, _ in flagged)
    worst = table.row("a", "auroc", column="site", group="2")
    assert worst.p_adjusted < 0.001 and worst.difference.high < -0.1
    test = next(t for t in table.tests if t.metric == "auroc" and t.finding == "a")
    assert test.test.i_squared > 0.8


def test_one_seed_gives_one_table_whatever_the_order_of_cases():
    p, y, who, groups = cohort()
    shuffle = np.random.default_rng(6).permutation(N)
    options = {"findings": ["a"], "resamples": 100}
    one = subgroup_metrics(p, y, groups, patients=who, **options)
    moved = {name: values[shuffle] for name, values in groups.items()}
    two = subgroup_metrics(p[shuffle], y[shuffle], moved, patients=who[shuffle], **options)
    for a, b in zip(one.rows, two.rows, strict=True):
        assert (a.estimate.value, a.estimate.low) == pytest.approx(
            (b.estimate.value, b.estimate.low), abs=1e-5
        )


def test_copies_of_a_patients_images_add_no_certainty():
    p, y, _, _ = cohort(n=300, images=1)
    who = np.tile(np.arange(300), 4)
    one = subgroup_metrics(p, y, {}, patients=np.arange(300), findings=["a"])
    four = subgroup_metrics(np.tile(p, (4, 1)), np.tile(y, (4, 1)), {}, patients=who, findings=["a"])
    for a, b in zip(one.rows, four.rows, strict=True):
        width = a.estimate.high - a.estimate.low
        assert b.estimate.high - b.estimate.low == pytest.approx(width, rel=0.08), a.estimate.name


def test_areas_equal_the_metric_itself():
    p, y, who, _ = cohort()
    row = subgroup_metrics(p, y, {}, patients=who, findings=["a"]).row("a", "auroc").estimate
    alone = auroc(p[:, 0], y[:, 0], patients=who)
    assert row.value == pytest.approx(alone.value) and row.low == pytest.approx(alone.low, abs=0.005)


def test_calls_that_were_made_elsewhere_replace_the_threshold():
    p, y, who, groups = cohort()
    options = {"patients": who, "findings": ["a"], "resamples": 50}
    by_cut = subgroup_metrics(p, y, groups, thresholds=0.3, **options)
    by_call = subgroup_metrics(p, y, groups, thresholds=0.9, called=p >= 0.3, **options)
    assert by_call.rows == by_cut.rows


def test_a_group_of_one_case_gets_reasons_and_no_number():
    p, y, who, _ = cohort()
    site = np.where(np.arange(N) == 7, "lonely", "crowd")
    table = subgroup_metrics(p, y, {"site": site}, patients=who, findings=["a"], resamples=50)
    lonely = [row for row in table.rows if row.group == "lonely"]
    assert len(lonely) == len(METRICS)
    assert all(row.estimate.value is None and row.estimate.low is None for row in lonely)
    assert all("too few" in row.estimate.reason for row in lonely)
    assert all(row.p_value is None and row.difference is None for row in lonely)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": ["dice"]}, '"dice" is not measured'),
        ({"compared": ["ece"]}, "cannot be compared"),
        ({"findings": ["a", "b"]}, "expected 1 different names"),
        ({"groups": {"sex": ["F"] * 3}}, '"sex" has 3 values'),
        ({"thresholds": [0.1, 0.2]}, "thresholds were given"),
        ({"known": np.ones((3, 1))}, "known has the shape"),
        ({"called": np.ones((N, 1)), "findings": ["a", "b"]}, "expected 1 different names"),
        ({"called": np.ones((N, 2))}, "calls have the shape"),
        ({"called": np.full((N, 1), 2)}, "from 0 to 1"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(options, words):
    p, y, who, groups = cohort()
    given = {"groups": groups, "findings": ["a"], "patients": who, "resamples": 20} | options
    with pytest.raises(BadInput, match=words):
        subgroup_metrics(p, y, given.pop("groups"), **given)
