"""The one call: its names, its values, its refusals and its errors."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as sk

from hounsfield.core.errors import BadInput
from hounsfield.metrics.summary import classification_metrics

NAMES = [
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "npv",
    "recall",
    "f1",
    "mcc",
    "brier",
    "ece",
]


def binary(seed=0, n=200):
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=n)
    return expit(logit), (rng.random(n) < expit(logit)).astype(int)


def multiclass(seed=0, n=300, classes=3):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes))
    return softmax(logits, axis=1), (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def overall(rows, group=""):
    return {row.name: row for row in rows if row.group == group}


def run(scores, answers, kind, **options):
    count = 2 if np.ndim(scores) == 1 else np.shape(scores)[1]
    options = {"classes": [f"c{k}" for k in range(count)], "patients": None} | options
    return classification_metrics(scores, answers, kind=kind, resamples=200, **options)


def test_binary_names_and_values():
    scores, answers = binary()
    rows = run(scores, answers, "binary", threshold=0.4)
    assert [row.name for row in rows] == NAMES
    values = {row.name: row.value for row in rows}
    called = scores >= 0.4
    assert values["auroc"] == pytest.approx(sk.roc_auc_score(answers, scores))
    assert values["auprc"] == pytest.approx(sk.average_precision_score(answers, scores))
    assert values["f1"] == pytest.approx(sk.f1_score(answers, called))
    assert values["brier"] == pytest.approx(sk.brier_score_loss(answers, scores))


def test_multiclass_names_and_values():
    scores, answers = multiclass()
    rows = run(scores, answers, "multiclass", ordinal=True)
    whole = overall(rows)
    assert set(whole) == {*NAMES, "qwk"}
    area = sk.roc_auc_score(answers, scores, multi_class="ovr")
    assert whole["auroc"].value == pytest.approx(area, abs=1e-12)
    assert whole["accuracy"].value == sk.accuracy_score(answers, scores.argmax(axis=1))
    assert set(overall(rows, "c1")) == set(NAMES) - {"accuracy", "balanced_accuracy", "mcc"}
    precision = sk.average_precision_score(answers == 1, scores[:, 1])
    assert overall(rows, "c1")["auprc"].value == pytest.approx(precision)
    assert "qwk" not in overall(run(scores, answers, "multiclass"))


def test_multilabel_values_are_those_of_each_label_and_their_mean():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(250, 3))
    scores, answers = expit(logits), (rng.random(logits.shape) < expit(logits)).astype(int)
    rows = run(scores, answers, "multilabel", threshold=[0.4, 0.5, 0.6])
    assert set(overall(rows)) == set(overall(rows, "c2")) == set(NAMES)
    alone = overall(run(scores[:, 2], answers[:, 2], "binary", threshold=0.6))
    for name, row in overall(rows, "c2").items():
        assert (row.value, row.low) == (alone[name].value, alone[name].low)
    for name, row in overall(rows).items():
        mean = np.mean([overall(rows, f"c{k}")[name].value for k in range(3)])
        assert row.value == pytest.approx(mean, abs=1e-12), name
        assert row.low < row.value < row.high


def test_every_printed_number_lies_in_its_interval_and_carries_its_n():
    patients = [f"P{k // 2}" for k in range(300)]
    for row in run(*multiclass(), "multiclass", patients=patients, ordinal=True):
        assert row.low <= row.value <= row.high, row.name
        assert 0 < row.n_patients <= min(row.n, 150)
        assert row.method and not row.reason


def test_the_macro_area_spreads_as_the_bootstrap_does():
    scores, answers = multiclass(2)
    rng = np.random.default_rng(0)
    row = overall(run(scores, answers, "multiclass"))["auroc"]
    areas = []
    for _ in range(300):
        again = rng.integers(0, 300, 300)
        areas.append(sk.roc_auc_score(answers[again], scores[again], multi_class="ovr"))
    assert (row.high - row.low) / (2 * 1.96) == pytest.approx(np.std(areas), rel=0.12)


def test_one_seed_gives_one_answer_whatever_the_order_of_cases():
    scores, answers = binary(3)
    patients, shuffle = np.arange(200) // 2, np.random.default_rng(4).permutation(200)
    one = run(scores, answers, "binary", patients=patients)
    two = run(scores[shuffle], answers[shuffle], "binary", patients=patients[shuffle])
    for a, b in zip(one, two, strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high)), a.name
    other = overall(run(scores, answers, "binary", patients=patients, seed=1))
    assert other["mcc"].low != overall(one)["mcc"].low


def test_repeated_images_raise_every_upper_bound():
    scores, answers = binary(5)
    tripled, patients = (np.tile(scores, 3), np.tile(answers, 3)), np.tile(np.arange(200), 3)
    naive = overall(run(*tripled, "binary"))
    for name, row in overall(run(*tripled, "binary", patients=patients)).items():
        assert row.high - row.value > 1.4 * (naive[name].high - naive[name].value), name


def test_a_rare_label_withholds_the_mean_and_says_which():
    rng = np.random.default_rng(6)
    answers = np.stack([np.arange(100) % 2, np.arange(100) < 3], axis=1).astype(int)
    rows = run(rng.random((100, 2)), answers, "multilabel", classes=["effusion", "hernia"])
    expected = "hernia: n = 3 with the finding: too few to print a number"
    assert overall(rows)["auroc"].reason == expected
    assert overall(rows)["auroc"].value is None
    assert overall(rows, "effusion")["auroc"].value is not None
    assert overall(rows)["brier"].value is not None


def test_a_subgroup_of_one_class_is_reported_with_reasons():
    rows = overall(run(np.linspace(0, 1, 30), np.zeros(30, int), "binary", subgroup=True))
    assert rows["auroc"].reason.startswith("n = 0 with the finding")
    assert rows["specificity"].value == 0.5 and rows["sensitivity"].refused


def test_importing_the_metrics_stays_light():
    code = (
        "import sys, hounsfield.metrics.summary, hounsfield.metrics.thresholds\n"
        "print([name for name in ('torch', 'sklearn', 'scipy') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_three_cases_print_no_number():
    for row in run([0.1, 0.6, 0.7], [0, 1, 1], "binary"):
        assert row.value is None and "too few" in row.reason


@pytest.mark.parametrize(
    ("scores", "answers", "options", "words"),
    [
        ([0.1, np.nan], [0, 1], {"kind": "binary"}, "not finite"),
        ([0.1, 2.0], [0, 1], {"kind": "binary"}, "sigmoid"),
        ([0.1, 0.2], [1, 1], {"kind": "binary"}, "one class"),
        ([0.1, 0.2], [0, 1, 1], {"kind": "binary"}, "same number"),
        ([[0.1], [0.2]], [0, 1], {"kind": "binary", "classes": ["a", "b"]}, r"\(N,\)"),
        ([0.1, 0.2], [0, 1], {"kind": "binary", "classes": ["a"]}, "2 different names"),
        ([0.1, 0.2], [0, 1], {"kind": "binary", "threshold": [0.1, 0.2]}, "one finite number"),
        ([0.1, 0.2], [0, 1], {"kind": "binary", "patients": ["x"]}, "1 patients"),
        ([0.1, 0.2], [0, 1], {"kind": "ranking", "classes": ["a", "b"]}, "the kind is"),
        ([[0.5, 0.5]] * 2, [0, 2], {"kind": "multiclass"}, "from 0 to 1"),
        ([[0.5, 0.9]] * 2, [0, 1], {"kind": "multiclass"}, "sum to 1"),
        ([[0.5, 0.5]] * 2, [0, 0], {"kind": "multiclass"}, "one class"),
        ([[0.5, 0.5]] * 2, [0, 1], {"kind": "multiclass", "threshold": 0.3}, "leave it out"),
        ([[1.0]] * 2, [0, 0], {"kind": "multiclass"}, "one column"),
        ([[0.5, 0.5]] * 2, [0, 1], {"kind": "multilabel"}, r"\(N, L\)"),
        ([[0.5, 0.5]] * 2, [[0, 1]] * 2, {"kind": "multilabel"}, "one class"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(scores, answers, options, words):
    with pytest.raises(BadInput, match=words):
        run(scores, answers, **options)
