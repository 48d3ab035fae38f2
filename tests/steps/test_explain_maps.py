"""What is asked of a case, its probability and its margin agree with how the model scores and calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration, OperatingPoint
from hounsfield.core.predictions import Predictions
from hounsfield.steps.explain import _questions
from hounsfield.steps.explain_captions import picture_of, subject_of
from hounsfield.steps.explain_maps import Asked, Maps
from hounsfield.tasks.classification import predicted_classes, probabilities
from steps.spots import Spots, spots

THREE = ("a", "b", "c")


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Spots:
    return spots(tmp_path_factory.mktemp("spots"), n=12, known=0)


def maps_of(some: Spots, kind: str, logits: np.ndarray) -> Maps:
    """The maps of a model of another task whose logits for the twelve cases are these."""
    encoding = LabelEncoding(kind, ("no", "yes") if kind == "binary" else THREE, ("finding",))
    point = OperatingPoint((0.3,) if kind == "binary" else (0.3, 0.5, 0.7), "youden", "validation folds")
    model = replace(
        some.model, encoding=encoding, operating_point=point, calibration=Calibration("temperature", 1.7, 0.4)
    )
    scores = probabilities(logits, encoding, model.calibration)
    called = predicted_classes(scores, encoding, point.values)
    predictions = Predictions(encoding, some.predictions.ids, some.predictions.patients, scores)
    return Maps(model, some.prepared, predictions, called, lambda _: 0)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_probability_and_margin_are_the_models(some: Spots, kind: str) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (12, 1 if kind == "binary" else 3))
    maps = maps_of(some, kind, logits)
    others = rng.normal(0, 2, (50, logits.shape[1]))
    scores = probabilities(others, maps.model.encoding, maps.model.calibration)
    calls = predicted_classes(scores, maps.model.encoding, maps.model.operating_point.values)
    given = torch.from_numpy(others)
    for row in range(12):
        asked = maps.said(row)
        wanted = scores[:, asked.output]
        wanted = 1 - wanted if asked.towards == "negative" else wanted
        np.testing.assert_allclose(maps.probability(asked)(given).numpy(), wanted, atol=1e-6)
        same = (
            calls == maps.called[row]
            if calls.ndim == 1
            else calls[:, asked.output] == maps.called[row, asked.output]
        )
        np.testing.assert_array_equal(maps.margin(row)(given).numpy() > 0, same)


def test_what_is_asked_is_what_was_called(some: Spots) -> None:
    logits = np.zeros((12, 3))
    logits[:, 1] = 1.0
    logits[3] = (0.0, 0.5, 2.0)
    maps = maps_of(some, "multiclass", logits)
    assert maps.said(0) == Asked(0, 1) and maps.said(3) == Asked(3, 2)
    assert subject_of(maps, Asked(3, 2)) == "c"
    assert _questions(maps, 3, "gradcam") == [Asked(3, 2), Asked(3, 1)]
    assert _questions(maps, 3, "occlusion") == [Asked(3, 2)]
    binary = maps_of(some, "binary", np.linspace(-3, 3, 12)[:, None])
    assert binary.said(0).towards == "negative" and binary.said(11).towards == "positive"
    assert subject_of(binary, binary.said(0)) == "not finding"


def test_a_caption_names_calls_and_scores_of_every_task(some: Spots) -> None:
    logits = np.tile(np.array([2.0, -3.0, 2.5]), (12, 1))
    several = maps_of(some, "multilabel", logits)
    assert picture_of(several, 0, ()).caption.startswith("called a, c; c 0.8")
    answered = replace(several.predictions, answers=several.called.copy())
    right = Maps(several.model, some.prepared, answered, several.called, lambda _: 0)
    assert picture_of(right, 0, ()).outcome == "right"
    assert picture_of(right, 0, ()).caption.endswith("answer a, c")
    wrong = Maps(several.model, some.prepared, answered, 1 - several.called, lambda _: 0)
    assert picture_of(wrong, 0, ()).outcome == "wrong"


def test_work_side_by_side_keeps_its_order_and_its_errors(tmp_path: Path) -> None:
    made = spots(tmp_path, n=8, known=0, threads=3).maps()
    assert made.each(lambda n: n * n, list(range(20))) == [n * n for n in range(20)]
    with pytest.raises(ZeroDivisionError):
        made.each(lambda n: 1 // n, [1, 0, 2])
