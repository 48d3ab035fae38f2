"""Losses equal their closed form, classes weigh alike, outputs are read as probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.model import Calibration
from hounsfield.core.plan import Fit
from hounsfield.tasks.classification import answers_of, loss_of, predicted_classes, probabilities, targets_of

TWO = LabelEncoding("binary", ("no", "yes"))
THREE = LabelEncoding("multiclass", ("a", "b", "c"))
MANY = LabelEncoding("multilabel", ("a", "b", "c"))
PLAIN = Fit(loss="binary_cross_entropy", class_weights=False)
RNG = np.random.default_rng(0)


def _loss(plan: Fit, encoding: LabelEncoding, logits: np.ndarray, targets: np.ndarray) -> float:
    return float(
        loss_of(plan, encoding, targets)(torch.from_numpy(logits).float(), torch.from_numpy(targets))
    )


def test_binary_loss_is_the_log_loss() -> None:
    answers, logits = RNG.integers(0, 2, 50), RNG.normal(size=(50, 1))
    wanted = log_loss(answers, expit(logits[:, 0]))
    assert _loss(PLAIN, TWO, logits, targets_of(answers, TWO)) == pytest.approx(wanted, rel=1e-5)


def test_several_classes_have_the_log_loss_of_the_softmax() -> None:
    answers, logits = np.arange(50) % 3, RNG.normal(size=(50, 3))
    wanted = log_loss(answers, softmax(logits, 1))
    plan = Fit(class_weights=False)
    assert _loss(plan, THREE, logits, targets_of(answers, THREE)) == pytest.approx(wanted, rel=1e-5)


def test_label_smoothing_is_that_of_torch() -> None:
    answers, logits = np.arange(30) % 3, RNG.normal(size=(30, 3))
    wanted = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits).float(), torch.from_numpy(answers), label_smoothing=0.1
    )
    plan = Fit(class_weights=False, label_smoothing=0.1)
    assert _loss(plan, THREE, logits, targets_of(answers, THREE)) == pytest.approx(float(wanted), rel=1e-5)


def test_multi_label_loss_is_the_mean_over_findings() -> None:
    targets, logits = RNG.integers(0, 2, (40, 3)), RNG.normal(size=(40, 3))
    wanted = np.mean([log_loss(targets[:, c], expit(logits[:, c])) for c in range(3)])
    assert _loss(PLAIN, MANY, logits, targets_of(targets, MANY)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("encoding, share", [(TWO, (0.9, 0.1)), (THREE, (0.7, 0.2, 0.1))])
def test_weighted_classes_pull_alike_and_average_to_one(
    encoding: LabelEncoding, share: tuple[float, ...]
) -> None:
    counts = [int(100 * s) for s in share]
    answers = np.repeat(np.arange(len(share)), counts)
    plan = Fit(loss="cross_entropy" if len(share) > 2 else "binary_cross_entropy", class_weights=True)
    targets = targets_of(answers, encoding)
    loss = loss_of(plan, encoding, targets)
    logits = torch.zeros(len(answers), encoding.outputs)
    whole = np.log(2) if encoding is TWO else np.log(3)
    each = [
        float(loss(logits[answers == k], torch.from_numpy(targets[answers == k]))) / whole
        for k in range(len(share))
    ]
    pull = [w * s for w, s in zip(each, share, strict=True)]
    assert pull == pytest.approx([1 / len(share)] * len(share), rel=1e-4)
    assert sum(pull) == pytest.approx(1, rel=1e-4)


def test_weights_do_not_follow_the_batch() -> None:
    answers = np.array([0] * 9 + [1])
    targets = targets_of(answers, TWO)
    loss = loss_of(Fit(loss="binary_cross_entropy"), TWO, targets)
    alone = loss(torch.zeros(1, 1), torch.ones(1, 1))
    assert float(alone) == pytest.approx(np.log(2) * 5, rel=1e-5)


def test_a_loss_that_does_not_fit_the_labels_is_refused() -> None:
    with pytest.raises(BadInput, match="3 exclusive classes"):
        loss_of(PLAIN, THREE, np.eye(3, dtype=np.float32))


def test_answers_of_many_findings_are_a_table() -> None:
    cases = [Case("1", "p", (), Label((0, 2))), Case("2", "q", (), Label(()))]
    assert answers_of(cases, MANY).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert answers_of([Case("1", "p", (), Label((2,))), Case("2", "p", ())], THREE).tolist() == [2, -1]


def test_calibration_divides_by_the_temperature_and_adds_the_bias() -> None:
    logits = RNG.normal(size=(20, 1)) * 4
    wanted = expit(logits / 2 - 0.5)
    np.testing.assert_allclose(probabilities(logits, TWO, Calibration("x", 2.0, -0.5)), wanted)
    many = RNG.normal(size=(20, 3)) * 300
    np.testing.assert_allclose(
        probabilities(many, THREE, Calibration("x", 3.0)), softmax(many / 3, 1), atol=1e-12
    )


def test_extreme_logits_give_finite_probabilities() -> None:
    for encoding, logits in ((TWO, [[1e6], [-1e6]]), (THREE, [[1e6, 0, -1e6], [0, 0, 0]])):
        assert np.isfinite(probabilities(np.array(logits), encoding, Calibration())).all()


def test_a_score_at_the_threshold_is_called() -> None:
    assert predicted_classes(np.array([[0.29], [0.3], [0.31]]), TWO, (0.3,)).tolist() == [0, 1, 1]
    assert predicted_classes(np.array([[0.2, 0.5, 0.3]]), THREE, ()).tolist() == [1]
    table = predicted_classes(np.array([[0.2, 0.5, 0.9]]), MANY, (0.1, 0.6, 0.9))
    assert table.tolist() == [[1, 0, 1]]


def test_a_class_that_training_lacks_weighs_nothing_and_the_others_still_average_to_one() -> None:
    answers = np.array([0] * 30 + [1] * 10)
    targets = targets_of(answers, THREE)
    loss = loss_of(Fit(class_weights=True), THREE, targets)
    absent = torch.eye(3)[[2]]
    assert float(loss(torch.zeros(1, 3), absent)) == 0
    assert float(loss(torch.zeros(40, 3), torch.from_numpy(targets))) == pytest.approx(np.log(3), rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.3, 1.0])
def test_weights_of_an_output_average_to_one_however_rare_it_is(share: float) -> None:
    targets = np.zeros((10_000, 2), np.float32)
    targets[: round(share * 10_000), 0] = 1
    targets[::2, 1] = 1
    loss = loss_of(Fit(class_weights=True), MANY, targets)
    whole = float(loss(torch.zeros(10_000, 2), torch.from_numpy(targets)))
    assert whole == pytest.approx(np.log(2), rel=1e-4)


def test_a_finding_that_training_lacks_weighs_nothing() -> None:
    targets = np.array([[0, 1], [0, 0]], np.float32)
    loss = loss_of(Fit(class_weights=True), MANY, targets)
    only_first = float(loss(torch.tensor([[-9.0, 0.0]]), torch.tensor([[1.0, 0.0]])))
    assert only_first == pytest.approx(np.log(2) / 2, rel=1e-5)


def test_two_classes_take_the_same_loss_by_either_name() -> None:
    answers, logits = np.arange(20) % 2, RNG.normal(size=(20, 1))
    targets = targets_of(answers, TWO)
    named = [_loss(Fit(loss=n), TWO, logits, targets) for n in ("cross_entropy", "binary_cross_entropy")]
    assert named[0] == named[1]
