"""Recalibrations against scikit-learn, and the choice among them."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from hounsfield.core.errors import BadInput
from hounsfield.metrics.recalibrators import KINDS, choose_recalibration, fit_recalibration


def single(seed, n=1000, slope=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 1)) * 2
    return logits, (rng.random(n) < expit(slope * logits[:, 0] + shift)).astype(int)


def several(seed, n=1000, heat=2.0, bias=(0.0, 0.0, 0.0)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3)) * 3
    return logits, (logits / heat + np.array(bias) + rng.gumbel(size=logits.shape)).argmax(axis=1)


def test_temperature_equals_a_line_search():
    for logits, answers in (single(0, slope=0.4), several(1)):
        both = np.concatenate([0 * logits, logits], axis=1) if logits.shape[1] == 1 else logits
        found = minimize_scalar(
            lambda t, both=both, answers=answers: (
                -log_softmax(both / t, axis=1)[np.arange(1000), answers].mean()
            ),
            bounds=(0.1, 10),
            method="bounded",
        )
        ours = fit_recalibration("temperature", logits, answers).temperature
        assert ours == pytest.approx(found.x, rel=1e-3)


def test_a_temperature_keeps_the_order_and_is_bounded_where_no_case_is_wrong():
    logits, answers = several(1)
    fitted = fit_recalibration("temperature", logits, answers)
    assert (fitted.apply(logits).argmax(axis=1) == logits.argmax(axis=1)).all()
    certain = fit_recalibration("temperature", np.eye(3)[np.arange(30) % 3] * 9, np.arange(30) % 3)
    assert np.exp(-3) - 1e-9 <= certain.temperature < 1


def test_platt_equals_scikit_learns():
    logits, answers = single(2, slope=0.5, shift=-1)
    expected = _SigmoidCalibration().fit(logits[:, 0], answers).predict(logits[:, 0])
    ours = fit_recalibration("platt", logits, answers).apply(logits)
    assert ours[:, 0] == pytest.approx(expected, abs=1e-4)


def test_platt_of_separable_logits_stays_finite():
    fitted = fit_recalibration("platt", [[-2.0]] * 20 + [[2.0]] * 20, [0] * 20 + [1] * 20)
    assert 0.9 < fitted.apply([[2.0]])[0, 0] < 0.99


def test_platt_of_classes_mends_a_bias_that_a_temperature_cannot():
    logits, answers = several(3, n=4000, bias=(1.5, 0, 0))
    losses = {
        kind: log_loss(answers, fit_recalibration(kind, logits, answers).apply(logits))
        for kind in ("none", "temperature", "platt")
    }
    assert losses["platt"] < losses["temperature"] - 0.05 and losses["temperature"] <= losses["none"]


def test_isotonic_follows_scikit_learns_and_is_never_certain():
    logits, answers = single(4, n=3000, slope=0.5)
    ours = fit_recalibration("isotonic", logits, answers).apply(logits)[:, 0]
    expected = IsotonicRegression().fit(logits[:, 0], answers).predict(logits[:, 0])
    # Ours runs straight from step to step, which lies nearer to the truth than the steps.
    assert np.abs(ours - expected).mean() < 0.015
    truth = expit(0.5 * logits[:, 0])
    assert np.abs(ours - truth).mean() < np.abs(expected - truth).mean()
    assert ours.min() > 0 and ours.max() < 1
    order = np.argsort(logits[:, 0])
    assert (np.diff(ours[order]) >= -1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_probabilities(kind):
    for logits, answers in (single(5), several(6)):
        shown = fit_recalibration(kind, logits, answers).apply(logits[:50])
        assert shown.shape == (50, logits.shape[1]) and (shown >= 0).all() and (shown <= 1).all()
        if shown.shape[1] > 1:
            assert shown.sum(axis=1) == pytest.approx(np.ones(50))


def test_the_choice_is_the_kind_that_the_data_needs():
    assert choose_recalibration(*single(7, n=2000)).chosen.kind == "none"
    assert choose_recalibration(*single(8, n=2000, slope=0.4)).chosen.kind == "temperature"
    assert choose_recalibration(*single(9, n=2000, shift=1.5)).chosen.kind == "platt"
    rng = np.random.default_rng(10)
    logits = rng.normal(size=(4000, 1)) * 2
    stepped = (rng.random(4000) < np.where(logits[:, 0] > 1, 0.95, 0.3)).astype(int)
    choice = choose_recalibration(logits, stepped)
    assert choice.chosen.kind == "isotonic" and set(choice.losses) == set(KINDS)
    assert choice.losses["isotonic"].value < choice.losses["platt"].value


def test_a_patients_copies_do_not_make_a_rich_choice():
    logits, answers = single(11, n=60)
    who = np.tile(np.arange(60), 20)
    choice = choose_recalibration(np.tile(logits, (20, 1)), np.tile(answers, 20), patients=who)
    assert choice.chosen.kind in ("none", "temperature") and choice.losses["none"].n_patients == 60


def test_few_cases_are_not_recalibrated():
    choice = choose_recalibration([[0.1]] * 30, [0] * 25 + [1] * 5)
    assert (
        choice.chosen.kind == "none"
        and choice.reason == "n = 5 of class 1: too few to choose a recalibration"
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_recalibration("spline", [[0.0]], [0]), 'the recalibration is "spline"'),
        (lambda: fit_recalibration("platt", [[0.0]] * 4, [1] * 4), "one class"),
        (lambda: choose_recalibration([[0.0]], [0], kinds=()), "no kind"),
        (lambda: fit_recalibration("platt", *several(0)).apply([[0.0]]), "expected 3"),
        (lambda: fit_recalibration("isotonic", *several(0)).apply([[0.0, 1.0]]), "expected 3"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(call, words):
    with pytest.raises(BadInput, match=words):
        call()
