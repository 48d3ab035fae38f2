"""The nouns keep their promises: encodings, indexes, predictions, findings, registries."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput, GateRefused, HounsfieldError, MissingDependency
from hounsfield.core.evidence import Finding
from hounsfield.core.predictions import Predictions
from hounsfield.core.redact import listed, looks_like_ids
from hounsfield.core.registry import Registry, nearest
from hounsfield.core.volume import Volume

TWO = LabelEncoding("binary", ("a", "b"))


def test_an_encoding_numbers_its_classes() -> None:
    many = LabelEncoding("multilabel", ("a", "b", "c"))
    assert many.encode("c|a").positive == (2, 0) and many.encode("").positive == () and many.outputs == 3
    assert TWO.encode("b").positive == (1,) and TWO.outputs == 1 and TWO.positive == "b"
    for wrong in (
        lambda: TWO.encode("z"),
        lambda: LabelEncoding("x", ("a",)),
        lambda: LabelEncoding("binary", ("a", "a")),
    ):
        with pytest.raises(BadInput):
            wrong()


def test_an_unknown_label_is_shown_by_its_pattern_only() -> None:
    with pytest.raises(BadInput, match='"AAA-9999"') as caught:
        TWO.encode("DOE-4711")
    assert "DOE" not in str(caught.value) and '"a", "b"' in str(caught.value)


def test_values_are_shown_by_name_unless_they_may_be_ids() -> None:
    assert looks_like_ids(21, 41) and not looks_like_ids(21, 42) and not looks_like_ids(20, 20)
    assert listed(["a1", "b2", "c"], ids=False, most=2) == '"a1", "b2"'
    assert listed(["a1", "b2", "c"], ids=True) == '"A9", "A"'


def test_predictions_stay_in_step() -> None:
    table = Predictions(
        TWO,
        ("1", "2", "3"),
        ("p", "p", "q"),
        np.array([[0.1], [0.5], [0.9]]),
        np.array([0, 1, 1]),
        {"sex": ("F", "M", "F")},
    )
    part = table.where("sex", "F")
    assert part.ids == ("1", "3") and part.patients == ("p", "q") and part.scores[:, 0].tolist() == [0.1, 0.9]
    assert part.answers is not None and part.answers.tolist() == [0, 1]
    with pytest.raises(BadInput, match="columns of lengths"):
        Predictions(TWO, ("1",), ("p", "q"), np.zeros((1, 1)))
    with pytest.raises(BadInput, match="do not fit 1 output"):
        Predictions(TWO, ("1",), ("p",), np.zeros((1, 2)))


def test_a_finding_prints_its_interval_and_its_n() -> None:
    assert (
        Finding("auroc", value=1.0, low=0.9, high=1.0, n=30).text == "1.000 (95 % CI 0.900 to 1.000; n = 30)"
    )
    assert Finding("auroc", note="too few").text == "too few" and Finding("auroc").text == "not measured"


def test_a_registry_refuses_a_second_of_a_name_and_suggests_the_nearest() -> None:
    plugs = Registry[int]("reader")
    plugs.register("dicom")(1)
    with pytest.raises(BadInput, match="registered already"):
        plugs.add("dicom", 2)
    with pytest.raises(BadInput, match='unknown reader "dcom"; did you mean "dicom"'):
        plugs["dcom"]
    assert "dicom" in plugs and list(plugs) == ["dicom"] and nearest("Q", ["a", "b"]) == "known: a, b"


def test_exit_codes_are_those_of_the_command_line() -> None:
    assert [e.exit_code for e in (HounsfieldError, BadInput, GateRefused, MissingDependency)] == [1, 3, 4, 5]
    assert all(issubclass(e, HounsfieldError) for e in (BadInput, GateRefused, MissingDependency))


def test_a_volume_has_four_axes_and_knows_its_spacing() -> None:
    turned = np.eye(4)
    turned[:3, :3] = np.array([[0, 0, 5], [0.7, 0, 0], [0, 0.6, 0]])
    assert Volume(np.zeros((1, 2, 3, 4)), turned).spacing_mm == (5.0, 0.6, 0.7)
    with pytest.raises(BadInput, match="expected four axes"):
        Volume(np.zeros((2, 3, 4)), np.eye(4))
    with pytest.raises(BadInput, match="affine"):
        Volume(np.zeros((1, 2, 3, 4)), np.eye(3))
