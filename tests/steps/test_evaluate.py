"""Predictions become findings: every number with its interval and n, and by group."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.model import OperatingPoint
from hounsfield.core.predictions import Predictions
from hounsfield.steps.evaluate import Setting, evaluate, measure, subgroup_findings

BINARY = LabelEncoding("binary", ("0", "1"), ("malignant",))


def binary(n: int = 120, *, images: int = 1, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    answers = rng.integers(0, 2, n).repeat(images)
    scores = np.clip(0.3 + 0.4 * answers + rng.normal(0, 0.2, n * images), 0, 1)
    patients = tuple(f"p{k}" for k in range(n) for _ in range(images))
    site = tuple("A" if k % 3 else "B" for k in range(n * images))
    return Predictions(
        BINARY, tuple(f"c{k}" for k in range(n * images)), patients, scores[:, None], answers, {"site": site}
    )


def called_at(p: Predictions, cut: float = 0.5) -> np.ndarray:
    return (p.scores[:, 0] >= cut).astype(np.int64)


def test_every_metric_has_an_interval_around_it_and_an_n() -> None:
    p = binary()
    found = {f.name: f for f in measure(p, called_at(p))}
    wanted = "auroc auprc accuracy balanced_accuracy sensitivity specificity precision recall f1 brier ece"
    assert set(wanted.split()) <= set(found)
    for f in found.values():
        assert f.value is not None and f.low is not None and f.high is not None
        assert f.low <= f.value <= f.high and f.n > 0


def test_accuracy_is_that_of_the_calls_given_not_of_another_threshold() -> None:
    p = binary()
    called = called_at(p, 0.2)
    found = {f.name: f.value for f in measure(p, called)}
    assert found["accuracy"] == pytest.approx((called == p.answers).mean())


def test_several_images_of_a_patient_widen_the_interval() -> None:
    p = binary(n=60, images=4)
    alone = Predictions(p.encoding, p.ids, p.ids, p.scores, p.answers, p.groups)
    width = [
        {f.name: f.high - f.low for f in measure(x, called_at(x)) if f.high is not None and f.low is not None}
        for x in (p, alone)
    ]
    assert width[0]["sensitivity"] > width[1]["sensitivity"] * 0.99
    assert {f.name: f for f in measure(p, called_at(p))}["auroc"].n_patients == 60


def test_a_group_too_small_says_so_instead_of_a_number() -> None:
    p = binary(n=60)
    groups = {"site": tuple("rare" if k < 3 else "usual" for k in range(60))}
    small = Predictions(p.encoding, p.ids, p.patients, p.scores, p.answers, groups)
    rows = {(f.name, f.group): f for f in subgroup_findings(small, called_at(small))}
    assert rows["accuracy", "site=rare"].value is None
    assert "too few" in rows["accuracy", "site=rare"].note
    assert rows["accuracy", "site=usual"].value is not None


def test_a_group_of_one_class_has_accuracy_and_no_auroc() -> None:
    p = binary(n=80)
    assert p.answers is not None
    groups = {"side": tuple("x" if a else "y" for a in p.answers)}
    rows = {
        (f.name, f.group): f
        for f in subgroup_findings(
            Predictions(p.encoding, p.ids, p.patients, p.scores, p.answers, groups), called_at(p)
        )
    }
    assert rows["auroc", "side=x"].value is None
    assert rows["accuracy", "side=x"].value is not None


def test_the_evidence_names_what_was_not_tested() -> None:
    p = binary()
    evidence = evaluate(p, OperatingPoint((0.5,), "half", "validation folds", 100), Setting("t"))
    said = " ".join(evidence.untested)
    assert "no external set" in said and "sex" in said and "readers" in said
    crossed = Predictions(p.encoding, p.ids, p.patients, p.scores, p.answers, p.groups, "cross-validation")
    evidence = evaluate(crossed, OperatingPoint((0.5,), "half", "folds", 100), Setting("t"))
    assert "cross-validation" in " ".join(evidence.untested)


def test_the_confusion_matrix_and_the_curves_hold_every_case() -> None:
    p = binary()
    evidence = evaluate(p, OperatingPoint((0.5,), "half", "folds", 100), Setting("t"))
    assert int(np.sum(evidence.tables["confusion"]["counts"])) == len(p)
    scores = evidence.curves["scores"]["malignant"]
    assert sum(scores["positive"]) + sum(scores["negative"]) == len(p)
    roc = evidence.curves["roc"]["malignant"]
    assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0, 0, 1, 1)
    assert [row["class"] for row in evidence.tables["classification_report"]] == ["0", "1"]


def test_many_classes_and_many_labels_are_measured_by_class() -> None:
    rng = np.random.default_rng(1)
    names = ("a", "b", "c")
    answers = rng.integers(0, 3, 150)
    scores = rng.dirichlet((1, 1, 1), 150) * 0.4 + 0.6 * np.eye(3)[answers]
    ids = tuple(map(str, range(150)))
    many = Predictions(LabelEncoding("multiclass", names), ids, ids, scores, answers)
    found = measure(many, scores.argmax(1))
    assert {f.label for f in found if f.name == "auroc"} == {"", *names}
    several = (rng.random((150, 3)) < 0.4).astype(np.int64)
    noisy = np.clip(several * 0.5 + rng.random((150, 3)) * 0.5, 0, 1)
    labels = Predictions(LabelEncoding("multilabel", names), ids, ids, noisy, several)
    found = measure(labels, (noisy > 0.5).astype(np.int64))
    assert {f.label for f in found if f.name == "f1"} == {"", *names}


def test_cases_without_answers_cannot_be_evaluated() -> None:
    p = binary()
    unknown = Predictions(p.encoding, p.ids, p.patients, p.scores, None, p.groups)
    with pytest.raises(BadInput, match="--labels"):
        measure(unknown, called_at(p))


@pytest.mark.parametrize("ordinal", [True, False])
def test_only_grades_have_a_weighted_kappa_and_it_is_that_of_the_calls(ordinal: bool) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    answers = rng.integers(0, 3, 90)
    scores = rng.dirichlet(np.ones(3), 90) + 0.5 * np.eye(3)[answers]
    scores /= scores.sum(1, keepdims=True)
    called = scores.argmax(1)
    encoding = LabelEncoding("multiclass", ("0", "1", "2"), ("grade",))
    ids = tuple(f"c{k}" for k in range(90))
    p = Predictions(encoding, ids, ids, scores, answers, {})
    setting = Setting("t", ordinal=ordinal)
    evidence = evaluate(p, OperatingPoint((), "most likely", "folds", 90), setting, called=called)
    found = [f.value for f in evidence.metrics if f.name == "qwk"]
    wanted = [sklearn_metrics.cohen_kappa_score(answers, called, weights="quadratic")] if ordinal else []
    assert found == pytest.approx(wanted)
