"""Thresholds by group: only with consent, chosen without the cases they call, common where nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.model import GroupPoint, Model, OperatingPoint
from hounsfield.core.plan import Plan
from hounsfield.core.predictions import Predictions
from hounsfield.io.model_store import read_model, write_model
from hounsfield.steps.calibrate import cross_fitted, operating_point
from hounsfield.steps.group_thresholds import called_at, unknown_groups, with_group_points
from hounsfield.steps.mitigation import require_possible

BINARY = LabelEncoding("binary", ("0", "1"))
ASKED = {
    "mitigation.by": "sex",
    "mitigation.thresholds_per_group": True,
    "mitigation.consent": "the board, 2 January 2026, since sensitivity differed",
    "validation.threshold_rule": "youden",
    "validation.calibrate": "none",
}
Drawn = tuple[NDArray[np.float64], NDArray[np.int64], list[str], list[str]]


def _plan(**more: Any) -> Plan:
    return Plan().changed({**ASKED, **more})


def _drawn(n: int = 400, seed: int = 0) -> Drawn:
    """Logits of two groups, of which one is scored two units lower; answers, patients and groups."""
    rng = np.random.default_rng(seed)
    answers = rng.integers(0, 2, n)
    sex = rng.integers(0, 2, n)
    logits = 3.0 * answers - 1.5 - 2.0 * sex + rng.normal(0, 1, n)
    return logits[:, None], answers, [f"p{k}" for k in range(n)], [f"sex={'FM'[s]}" for s in sex]


def test_without_a_persons_consent_it_is_refused() -> None:
    for consent in ("", "ok"):
        with pytest.raises(BadInput, match=r"does not say who decided that, when, and why"):
            _plan(**{"mitigation.consent": consent})


@pytest.mark.parametrize(
    "changes, encoding, said",
    [
        ({}, LabelEncoding("multiclass", ("a", "b", "c")), "there is no threshold"),
        ({"validation.threshold_rule": "half"}, BINARY, "one half for every group"),
    ],
)
def test_where_there_is_no_threshold_it_is_refused(
    changes: dict[str, Any], encoding: LabelEncoding, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        require_possible(_plan(**changes), encoding)


def test_each_group_gets_the_threshold_of_its_own_cases() -> None:
    logits, answers, patients, sex = _drawn()
    scores = 1 / (1 + np.exp(-logits))
    plan = _plan()
    common = operating_point(scores, answers, patients, BINARY, plan.validation, seed=0, chosen_on="")
    found = with_group_points(common, scores, answers, patients, sex, BINARY, plan, seed=0)
    assert [g.group for g in found.groups] == ["sex=F", "sex=M"] and found.by == ("sex",)
    assert found.groups[0].values[0] > common.values[0] > found.groups[1].values[0]
    rows = np.array(sex) == "sex=M"
    alone = operating_point(
        scores[rows], answers[rows], [p for p, r in zip(patients, rows, strict=True) if r],
        BINARY, plan.validation, seed=0, chosen_on="",
    )  # fmt: skip
    assert found.groups[1].values == alone.values


def test_a_small_group_keeps_the_common_threshold() -> None:
    logits, answers, patients, sex = _drawn()
    few = ["sex=X" if k < 12 else name for k, name in enumerate(sex)]
    common = OperatingPoint((0.5,), "youden", "")
    found = with_group_points(common, logits, answers, patients, few, BINARY, _plan(), seed=0)
    assert "sex=X" not in {g.group for g in found.groups}


def test_cross_validation_calls_each_case_by_a_threshold_of_its_group_in_other_folds() -> None:
    logits, answers, patients, sex = _drawn()
    fold, plan = np.arange(len(answers)) % 4, _plan()
    seen = (logits, np.arange(len(answers)))
    given = (logits, answers, patients, fold, BINARY, plan.validation)
    _, called = cross_fitted(*given, seen=seen, by_group=(sex, plan))
    _, common = cross_fitted(*given, seen=seen)
    assert (called == answers).mean() > (common == answers).mean() + 0.03
    turned = np.where(fold == 0, 1 - answers, answers)  # the answers of fold 0 do not move its own calls
    again = (logits, turned, *given[2:])
    _, others = cross_fitted(*again, seen=seen, by_group=(sex, plan))
    assert (others[fold == 0] == called[fold == 0]).all() and not np.array_equal(others, called)


def _predictions(sex: tuple[str, ...]) -> Predictions:
    scores = np.full((len(sex), 1), 0.4)
    names = tuple(map(str, range(len(sex))))
    return Predictions(BINARY, names, names, scores, None, {"sex": sex}, "prediction")


def test_an_unknown_group_is_called_by_the_common_threshold_and_this_is_said() -> None:
    point = OperatingPoint(
        (0.5,), "youden", "", by=("sex",), groups=(GroupPoint("sex=F", (0.3,)), GroupPoint("sex=M", (0.6,)))
    )
    table = _predictions(("F", "M", "", "X"))
    assert called_at(table, point).tolist() == [1, 0, 0, 0]
    assert unknown_groups(table, point).startswith("2 of 4 case(s) were called by the common threshold")
    assert unknown_groups(table, OperatingPoint((0.5,), "youden", "")) == ""


def test_the_groups_are_kept_with_the_model_and_its_card(tmp_path: Path) -> None:
    point = OperatingPoint(
        (0.5,), "youden", "folds", 9, by=("sex",), groups=(GroupPoint("sex=F", (0.3,), 5, 5, 0.1, 0.5),)
    )
    (tmp_path / "m.safetensors").write_bytes(b"")
    write_model(Model(tmp_path, _plan(), BINARY, ("m.safetensors",), point))
    kept = read_model(tmp_path)
    assert kept.operating_point == point
    card = (tmp_path / "card.md").read_text()
    assert "threshold where sex=F: 0.3000" in card and "consent to thresholds by group: the board" in card
