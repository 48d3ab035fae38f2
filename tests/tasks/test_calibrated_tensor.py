"""torch and numpy give the same probabilities, and the way back from a probability is its inverse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration
from hounsfield.tasks.calibrated_tensor import calibrated_tensor, logit_of
from hounsfield.tasks.classification import probabilities

TWO = LabelEncoding("binary", ("no", "yes"))
THREE = LabelEncoding("multiclass", ("a", "b", "c"))
MANY = LabelEncoding("multilabel", ("a", "b"))
CURVE = ((-2.0, -0.5, 0.5, 3.0), (0.1, 0.4, 0.4, 0.9))
SCALED = Calibration("platt", 1.7, -0.4)
ISOTONIC = Calibration("isotonic", curves=(CURVE,))


@pytest.mark.parametrize(
    ("encoding", "calibration"),
    [
        (TWO, Calibration()),
        (TWO, SCALED),
        (TWO, ISOTONIC),
        (TWO, Calibration("isotonic", curves=(((0.3,), (0.6,)),))),
        (THREE, Calibration("platt", 0.6, shifts=(0.3, -1.0, 0.0))),
        (THREE, Calibration("isotonic", curves=(CURVE, CURVE, CURVE))),
        (MANY, Calibration("by output", outputs=(SCALED, ISOTONIC))),
    ],
)
def test_torch_gives_the_probabilities_of_numpy(encoding: LabelEncoding, calibration: Calibration) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (200, encoding.outputs))
    found = calibrated_tensor(torch.from_numpy(logits), encoding, calibration)
    np.testing.assert_allclose(found.numpy(), probabilities(logits, encoding, calibration), atol=2e-6)


def test_gradients_flow_through_a_curve() -> None:
    logits = torch.tensor([[1.0]], requires_grad=True)
    calibrated_tensor(logits, TWO, ISOTONIC).sum().backward()
    assert logits.grad is not None and logits.grad.item() == pytest.approx(0.2)


@pytest.mark.parametrize("wanted", [0.15, 0.3, 0.6, 0.85])
@pytest.mark.parametrize("calibration", [SCALED, ISOTONIC])
def test_the_logit_of_a_probability_has_that_probability(wanted: float, calibration: Calibration) -> None:
    logit = np.array([[logit_of(wanted, calibration)]])
    assert probabilities(logit, TWO, calibration)[0, 0] == pytest.approx(wanted)


def test_a_probability_that_a_curve_never_reaches_lies_beyond_its_end() -> None:
    assert logit_of(0.95, ISOTONIC) > 3 and logit_of(0.05, ISOTONIC) < -2
    assert logit_of(0.4, ISOTONIC) == pytest.approx(-0.5)  # the first logit that is called
    assert logit_of(0.3, Calibration("by output", outputs=(SCALED, ISOTONIC)), 1) == logit_of(0.3, ISOTONIC)
