"""The plan refuses what it does not know, says what is wrong, and is hashed by its choices."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Fit, Plan
from hounsfield.steps.article_plans import NAMED_PLANS, named_plan


def test_a_plan_is_written_and_read_as_itself() -> None:
    for plan in (Plan(), *NAMED_PLANS.values()):
        assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    "key, hint", [("fit.epoch", "fit.epochs"), ("network.weight", "network.weights"), ("sede", "seed")]
)
def test_an_unknown_key_suggests_the_nearest(key: str, hint: str) -> None:
    with pytest.raises(BadInput, match=re.escape(f'unknown plan key "{key}"; did you mean "{hint}"')):
        Plan().changed({key: 1})


def test_a_change_is_checked_and_leaves_its_reason() -> None:
    plan = Plan().changed({"fit.epochs": 3, "input.size": [1, 32, 32], "seed": 5})
    assert plan.fit.epochs == 3 and plan.input.size == (1, 32, 32) and plan.seed == 5
    assert plan.reasons["fit.epochs"] == "set by the user" and Plan().fit.epochs != 3
    with pytest.raises(BadInput, match=r'"fit\.epochs" is -1'):
        Plan().changed({"fit.epochs": -1})
    with pytest.raises(BadInput, match="unknown plan key"):
        Plan().changed({"fit.epochs.deep": 1})


@pytest.mark.parametrize(
    "section, value",
    [
        ("input", {"window": [40, 0], "normalise": "window"}),
        ("input", {"normalise": "window"}),
        ("input", {"spacing_mm": [1, -1, 1]}),
        ("input", {"size": [0, 1, 1]}),
        ("augment", {"zoom": 1.0}),
        ("augment", {"rotation_deg": -5}),
        ("augment", {"mixup": float("inf")}),
        ("validation", {"folds": 1}),
    ],
)
def test_values_that_mean_nothing_are_refused(section: str, value: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=section):
        Plan.checked({section: value})


def test_the_digest_follows_choices_and_not_reasons_threads_or_device() -> None:
    plan = Plan()
    for same in ({"threads": 3}, {"device": "cpu"}, {"reasons": {"seed": "x"}}):
        assert plan.model_copy(update=same).digest() == plan.digest()
    others = [
        plan.changed({k: v})
        for k, v in (("seed", 1), ("fit.epochs", 3), ("input.channels", 3), ("budget_minutes", 2))
    ]
    assert len({plan.digest(), *(o.digest() for o in others)}) == 5


@given(st.text(max_size=40))
def test_reasons_are_one_line(text: str) -> None:
    assert "\n" not in Plan(reasons={"seed": text}).reasons["seed"]


def test_named_plans_are_found_by_name() -> None:
    assert named_plan("article-b").fit.optimiser == "rmsprop"
    with pytest.raises(BadInput, match='did you mean "article-a"'):
        named_plan("artcle-a")


def test_a_plan_cannot_be_changed_in_place(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        Plan().fit = Fit()  # type: ignore[misc]


def test_a_federation_is_written_and_hashed_only_where_there_is_one() -> None:
    alone = Plan()
    assert "federation" not in alone.to_json()
    assert alone.changed({"federation.rounds": 3}).digest() == alone.digest()
    together = alone.changed({"federation.strategy": "fedavg"})
    assert together.digest() != alone.digest()
    assert together.changed({"federation.rounds": 3}).digest() != together.digest()
    assert Plan.from_json(together.to_json()).federation == together.federation


def test_plans_of_before_keep_their_hash() -> None:
    assert Plan().digest() == "e8c53d316705afb9"
    assert Plan(task="segmentation").digest() == "17de45ff9d9ea932"
    assert Plan().changed({"network.norm": "group"}).digest() != Plan().digest()


@pytest.mark.parametrize("clash", [{"robust": "krum"}, {"strategy": "scaffold"}])
def test_secure_aggregation_refuses_what_must_see_a_site(clash: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=r"federation.secure_aggregation"):
        Plan.checked({"federation": {"strategy": "fedavg", "secure_aggregation": True, **clash}})
