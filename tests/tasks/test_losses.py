"""Focal and ordinal losses equal their definitions, stay finite, and do not depend on how a batch is cut."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Fit
from hounsfield.tasks.classification import loss_of, targets_of

TWO = LabelEncoding("binary", ("no", "yes"))
FOUR = LabelEncoding("multiclass", ("0", "1", "2", "3"))
MANY = LabelEncoding("multilabel", ("a", "b", "c"))
RNG = np.random.default_rng(5)
Loss = Literal["cross_entropy", "binary_cross_entropy", "focal", "ordinal"]
FITTING = [
    *((TWO, loss) for loss in ("cross_entropy", "binary_cross_entropy", "focal")),
    *((MANY, loss) for loss in ("cross_entropy", "binary_cross_entropy", "focal")),
    *((FOUR, loss) for loss in ("cross_entropy", "focal", "ordinal")),
]


def answers(encoding: LabelEncoding, n: int = 60) -> np.ndarray:
    if encoding.kind == "multilabel":
        return (RNG.random((n, 3)) < [0.2, 0.5, 0.7]).astype(np.int64)
    classes = len(encoding.classes)
    return np.concatenate([np.arange(classes), RNG.integers(0, classes, n - classes)])


def mean_loss(plan: Fit, encoding: LabelEncoding, logits: np.ndarray, targets: np.ndarray) -> float:
    loss = loss_of(plan, encoding, targets)
    return float(loss(torch.from_numpy(logits).float(), torch.from_numpy(targets)))


def options(loss: str, **more: object) -> Fit:
    return Fit.model_validate({"loss": loss, "class_weights": False, **more})


def test_every_loss_of_a_plan_is_tried_here() -> None:
    assert set(get_args(Fit.model_fields["loss"].annotation)) == {loss for _, loss in FITTING}


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_of_exclusive_classes_is_its_definition(gamma: float) -> None:
    given, logits = answers(FOUR), RNG.normal(size=(60, 4)) * 2
    p = softmax(logits, 1)[np.arange(60), given]
    wanted = np.mean((1 - p) ** gamma * -np.log(p))
    plan = options("focal", focal_gamma=gamma)
    assert mean_loss(plan, FOUR, logits, targets_of(given, FOUR)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("encoding", [TWO, MANY])
def test_focal_loss_of_findings_is_its_definition(encoding: LabelEncoding) -> None:
    targets = targets_of(answers(encoding), encoding)
    logits = RNG.normal(size=targets.shape) * 2
    p = np.where(targets == 1, expit(logits), expit(-logits))
    wanted = np.mean((1 - p) ** 2 * -np.log(p))
    assert mean_loss(options("focal"), encoding, logits, targets) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("smooth", [0.0, 0.1])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("encoding", [TWO, MANY, FOUR])
def test_focal_loss_without_gamma_is_the_cross_entropy(
    encoding: LabelEncoding, weights: bool, smooth: float
) -> None:
    targets = targets_of(answers(encoding), encoding)
    logits = RNG.normal(size=targets.shape)
    more = {"class_weights": weights, "label_smoothing": smooth}
    found = mean_loss(options("focal", focal_gamma=0.0, **more), encoding, logits, targets)
    assert found == pytest.approx(
        mean_loss(options("cross_entropy", **more), encoding, logits, targets), rel=1e-5
    )


def test_ordinal_loss_is_the_sum_of_log_scores_of_the_cuts() -> None:
    given, logits = answers(FOUR), RNG.normal(size=(60, 4)) * 2
    p, wanted = softmax(logits, 1), 0.0
    for cut in range(3):
        above = p[:, cut + 1 :].sum(1)
        wanted -= np.mean(np.where(given > cut, np.log(above), np.log(1 - above)))
    assert mean_loss(options("ordinal"), FOUR, logits, targets_of(given, FOUR)) == pytest.approx(
        wanted, rel=1e-5
    )


def test_ordinal_loss_grows_with_the_distance_and_cross_entropy_does_not() -> None:
    sure = np.log(np.array([[0.91, 0.03, 0.03, 0.03]]))
    by_class = {
        loss: [mean_loss(options(loss), FOUR, sure, targets_of(np.array([k]), FOUR)) for k in range(1, 4)]
        for loss in ("ordinal", "cross_entropy")
    }
    assert by_class["ordinal"][0] < by_class["ordinal"][1] < by_class["ordinal"][2]
    assert by_class["cross_entropy"] == pytest.approx([by_class["cross_entropy"][0]] * 3)


def test_ordinal_loss_is_proper() -> None:
    """In expectation the true distribution scores best, also when the answers are as many."""
    truth = np.array([0.1, 0.2, 0.3, 0.4])
    loss = loss_of(options("ordinal"), FOUR, np.eye(4, dtype=np.float32))

    def expected(p: np.ndarray) -> float:
        logits = torch.from_numpy(np.log(p)).float()[None]
        return sum(truth[k] * float(loss(logits, torch.eye(4)[k : k + 1])) for k in range(4))

    others = RNG.dirichlet(truth * 30, 40)
    assert all(expected(p) > expected(truth) for p in others)


def test_weights_count_a_row_of_the_ordinal_loss_by_its_class() -> None:
    given = np.array([0] * 6 + [1] * 2 + [2] + [3])
    targets = targets_of(given, FOUR)
    loss = loss_of(Fit(loss="ordinal", class_weights=True), FOUR, targets)
    plain = loss_of(options("ordinal"), FOUR, targets)
    logits = torch.from_numpy(RNG.normal(size=(10, 4))).float()
    for k, share in enumerate((0.6, 0.2, 0.1, 0.1)):
        rows = torch.from_numpy(given == k)
        part = torch.from_numpy(targets)[rows]
        weighed, bare = float(loss(logits[rows], part)), float(plain(logits[rows], part))
        assert weighed == pytest.approx(bare / (4 * share), rel=1e-5)


@pytest.mark.parametrize(("encoding", "loss"), FITTING)
@pytest.mark.parametrize("smooth", [0.0, 0.2])
def test_a_batch_is_the_mean_of_its_parts(encoding: LabelEncoding, loss: str, smooth: float) -> None:
    targets = torch.from_numpy(targets_of(answers(encoding), encoding))
    targets = 0.7 * targets + 0.3 * targets.flip(0)  # mixed, as by mixup
    logits = torch.from_numpy(RNG.normal(size=targets.shape)).float().requires_grad_()
    plan = Fit.model_validate({"loss": loss, "label_smoothing": smooth, "class_weights": True})
    function = loss_of(plan, encoding, targets.numpy())
    whole = function(logits, targets)
    (wanted,) = torch.autograd.grad(whole, logits)
    parts = [slice(0, 7), slice(7, 8), slice(8, 60)]
    total = sum(function(logits[p], targets[p]) * len(targets[p]) / 60 for p in parts)
    (found,) = torch.autograd.grad(total, logits)
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("encoding", "loss"), FITTING)
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_extreme_logits_have_a_finite_loss_and_gradient(
    encoding: LabelEncoding, loss: str, gamma: float
) -> None:
    targets = torch.from_numpy(targets_of(answers(encoding, 12), encoding))
    for size in (30.0, 1e4, 1e30):
        logits = (
            torch.from_numpy(RNG.choice([-1.0, 0.0, 1.0], targets.shape)).float() * size
        ).requires_grad_()
        plan = options(loss, focal_gamma=gamma, label_smoothing=0.1)
        value = loss_of(plan, encoding, targets.numpy())(logits, targets)
        value.backward()
        assert torch.isfinite(value)
        assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_a_wrong_answer_of_great_confidence_still_pulls() -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0, 0.0]], requires_grad=True)
    for loss in ("focal", "ordinal", "cross_entropy"):
        function = loss_of(options(loss), FOUR, np.eye(4, dtype=np.float32))
        (slope,) = torch.autograd.grad(function(logits, torch.eye(4)[3:]), logits)
        assert slope[0, 0] > 0.9 and slope[0, 3] < -0.3


@pytest.mark.parametrize(("encoding", "loss"), FITTING)
def test_gradients_are_those_of_finite_differences(encoding: LabelEncoding, loss: str) -> None:
    targets = torch.from_numpy(targets_of(answers(encoding, 6), encoding)).double()
    function = loss_of(options(loss, label_smoothing=0.1), encoding, targets.float().numpy())
    logits = torch.from_numpy(RNG.normal(size=targets.shape)).requires_grad_()
    (found,) = torch.autograd.grad(function(logits, targets), logits)
    for row, column in ((0, 0), (3, targets.shape[1] - 1)):
        step = torch.zeros_like(logits)
        step[row, column] = 2e-2
        with torch.no_grad():
            slope = (function(logits + step, targets) - function(logits - step, targets)) / 4e-2
        assert float(found[row, column]) == pytest.approx(float(slope), rel=5e-3, abs=1e-4)


@pytest.mark.parametrize("encoding", [TWO, MANY])
def test_an_order_of_two_classes_is_refused(encoding: LabelEncoding) -> None:
    with pytest.raises(BadInput, match="ordinal needs at least three classes in rising order"):
        loss_of(options("ordinal"), encoding, targets_of(answers(encoding), encoding))
