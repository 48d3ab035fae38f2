"""Rates and agreement against scikit-learn, and what their intervals must obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from hounsfield.core.errors import BadInput
from hounsfield.metrics.agreement import cohen_kappa, matthews_correlation
from hounsfield.metrics.confusion import binary_report, confusion_matrix, multiclass_report
from hounsfield.metrics.measured import average, f_score, mean_loss, proportion
from hounsfield.metrics.patients import Patients, draw

FEW = draw(None, cases=60, resamples=200)


def by_name(rows, group=""):
    return {row.name: row for row in rows if row.group == group}


def decisions(classes):
    calls = arrays(int, 60, elements=st.integers(0, classes - 1))
    return calls.filter(lambda called: len(np.unique(called)) == classes)


def noisy(answers, rate, seed=0, classes=2):
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(answers)) < rate
    return np.where(wrong, rng.integers(0, classes, len(answers)), answers)


@settings(max_examples=40, deadline=None)
@given(decisions(2))
def test_binary_values_equal_scikit_learn(called):
    answers = np.arange(60) % 2
    rows = by_name(binary_report(answers, called, resampling=FEW))
    expected = {
        "accuracy": sk.accuracy_score(answers, called),
        "balanced_accuracy": sk.balanced_accuracy_score(answers, called),
        "sensitivity": sk.recall_score(answers, called),
        "recall": sk.recall_score(answers, called),
        "specificity": sk.recall_score(answers, called, pos_label=0),
        "precision": sk.precision_score(answers, called),
        "npv": sk.precision_score(answers, called, pos_label=0),
        "f1": sk.f1_score(answers, called),
        "mcc": sk.matthews_corrcoef(answers, called),
    }
    assert set(rows) == set(expected)
    for name, value in expected.items():
        if not rows[name].refused:
            assert rows[name].value == pytest.approx(value, abs=1e-12)
            assert rows[name].low <= rows[name].value <= rows[name].high


@settings(max_examples=40, deadline=None)
@given(decisions(3))
def test_multiclass_values_equal_scikit_learn(called):
    answers = np.arange(60) % 3
    names = ["none", "mild", "severe"]
    report = multiclass_report(answers, called, classes=names, ordinal=True, resampling=FEW)
    rows = by_name(report)
    expected = {
        "accuracy": sk.accuracy_score(answers, called),
        "balanced_accuracy": sk.balanced_accuracy_score(answers, called),
        "sensitivity": sk.recall_score(answers, called, average="macro"),
        "recall": sk.recall_score(answers, called, average="macro"),
        "precision": sk.precision_score(answers, called, average="macro"),
        "f1": sk.f1_score(answers, called, average="macro"),
        "mcc": sk.matthews_corrcoef(answers, called),
        "qwk": sk.cohen_kappa_score(answers, called, weights="quadratic"),
    }
    for name, value in expected.items():
        assert rows[name].value == pytest.approx(value, abs=1e-12)
    for k, label in enumerate(names):
        assert by_name(report, label)["f1"].value == pytest.approx(
            sk.f1_score(answers, called, average=None)[k], abs=1e-12
        )


def test_confusion_matrix_and_unweighted_kappa_equal_scikit_learn():
    answers = np.arange(90) % 3
    called = noisy(answers, 0.4, classes=3)
    ours = confusion_matrix(answers, called, classes=3)
    np.testing.assert_array_equal(ours, sk.confusion_matrix(answers, called))
    kappa = cohen_kappa(answers, called, classes=3, weights="none")
    assert kappa.name == "kappa"
    assert kappa.value == pytest.approx(sk.cohen_kappa_score(answers, called), abs=1e-12)


def test_a_class_never_called_counts_as_precision_zero_in_the_mean():
    answers, called = np.arange(60) % 3, np.arange(60) % 3
    called[called == 2] = 1
    report = multiclass_report(answers, called, classes=["a", "b", "c"])
    expected = sk.precision_score(answers, called, average="macro", zero_division=0)
    assert by_name(report)["precision"].value == pytest.approx(expected)
    assert by_name(report, "c")["precision"].reason == "n = 0: too few to print a number"


def test_proportions_of_small_denominators_print_no_number():
    answers = np.array([1] * 4 + [0] * 40)
    rows = by_name(binary_report(answers, answers))
    assert rows["sensitivity"].reason == "n = 4: too few to print a number"
    assert rows["balanced_accuracy"].refused and rows["f1"].refused
    assert rows["specificity"].value == 1.0 and rows["accuracy"].n == 44


def test_macro_means_name_the_class_that_is_too_small():
    answers = np.array([0] * 30 + [1] * 30 + [2] * 3)
    row = by_name(multiclass_report(answers, answers, classes=["none", "mild", "severe"]))["f1"]
    assert row.reason == "n = 3 of class severe: too few to print a number"


def test_copies_of_a_patients_images_add_no_certainty():
    answers = np.arange(120) % 2
    called = noisy(answers, 0.4, seed=1)
    one = by_name(binary_report(answers, called))
    patients = np.tile(np.arange(120), 5)
    five = by_name(binary_report(np.tile(answers, 5), np.tile(called, 5), patients=patients))
    naive = by_name(binary_report(np.tile(answers, 5), np.tile(called, 5)))
    for name, row in one.items():
        width = row.high - row.low
        assert five[name].value == pytest.approx(row.value)
        assert five[name].high - five[name].low == pytest.approx(width, rel=0.1), name
        assert naive[name].high - naive[name].low < 0.6 * width, name


def test_intervals_do_not_depend_on_the_order_of_cases():
    answers = np.arange(80) % 2
    called, patients = noisy(answers, 0.3, seed=2), np.arange(80) // 2
    shuffle = np.random.default_rng(3).permutation(80)
    one = binary_report(answers, called, patients=patients)
    two = binary_report(answers[shuffle], called[shuffle], patients=patients[shuffle])
    for a, b in zip(one, two, strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))


def test_no_error_seen_still_leaves_room_for_error():
    answers = np.arange(60) % 3
    for row in multiclass_report(answers, answers, classes=["a", "b", "c"], ordinal=True):
        assert row.value == pytest.approx(1.0)
        assert row.high == pytest.approx(1.0) and 0.5 < row.low < 0.99, row.name


def test_the_call_of_one_class_only_has_no_agreement():
    answers = np.arange(40) % 2
    assert "called the same class" in matthews_correlation(answers, np.ones(40, int)).reason
    assert "same answer" in matthews_correlation(np.ones(40, int), answers).reason


def test_influences_give_the_spread_of_the_cluster_bootstrap():
    rng = np.random.default_rng(4)
    truth = rng.random(300) < 0.4
    said = np.where(rng.random(300) < 0.2, ~truth, truth)
    owners = Patients.of(rng.integers(0, 120, 300), cases=300)
    draws = draw(owners, cases=300, resamples=3000)
    sensitivity, specificity = proportion(said, truth, owners), proportion(~said, ~truth, owners)
    columns = np.stack([truth & said, truth, ~truth & ~said, ~truth, said], axis=1).astype(float)
    tp, p, tn, n, called = draws.totals(columns).T
    for part, resampled in (
        (sensitivity, tp / p),
        (f_score(said, truth, owners), 2 * tp / (p + called)),
        (average([sensitivity, specificity], n=300, n_patients=120), (tp / p + tn / n) / 2),
    ):
        expected = resampled.std(ddof=1)
        assert np.sqrt(part.influence @ part.influence) == pytest.approx(expected, rel=0.06)
        assert (part.high - part.low) / (2 * 1.96) == pytest.approx(expected, rel=0.1)


def test_mean_of_unknown_correlation_takes_the_mean_of_the_bounds():
    owners = Patients.of(None, cases=40)
    part = mean_loss(np.linspace(0, 1, 40), owners, ceiling=1.0, least=10)
    blind = type(part)(part.value, part.low, part.high, part.n, part.n_patients, part.method)
    both = average([part, blind], n=40, n_patients=40)
    assert (both.low, both.high) == pytest.approx((part.low, part.high))


def test_a_loss_of_zero_has_an_upper_bound():
    spotless = mean_loss(np.zeros(30), Patients.of(None, cases=30), ceiling=1.0, least=10)
    assert spotless.value == 0 and 0.05 < spotless.high < 0.2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: binary_report([0, 1], [0, 1, 1]), "3 cases have scores and 2 have answers"),
        (lambda: multiclass_report([0, 3], [0, 1], classes=["a", "b"]), "from 0 to 3"),
        (lambda: multiclass_report([0, 0], [0, 0], classes=["a"]), "at least two"),
        (lambda: cohen_kappa([0, 0], [0, 0], classes=1), "at least two"),
        (lambda: confusion_matrix([[0]], [0], classes=2), "shape"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(call, words):
    with pytest.raises(BadInput, match=words):
        call()
