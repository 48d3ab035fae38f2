"""What a model card says of privacy."""

from __future__ import annotations

from pathlib import Path

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Model, OperatingPoint
from hounsfield.core.plan import Federation, Plan
from hounsfield.federation.privacy.ledger import Spending
from hounsfield.federation.privacy.privacy_facts import NOT_PROVED, privacy_facts
from hounsfield.steps.model_card import readme

PRIVATE = Federation(strategy="fedavg", epsilon=8, secure_aggregation=True)


def spending(epsilon: float) -> Spending:
    return Spending(epsilon, 1e-5, 8.0, "prv", 1.25, 0.2, 1.0, 100, 20, 64)


def test_a_card_names_budget_unit_accountant_and_what_is_not_proved() -> None:
    facts = privacy_facts(PRIVATE, [spending(6.5), spending(7.876)])
    said = facts["differential privacy"]
    for word in (
        "epsilon 7.88",
        "delta 1e-05",
        "at most epsilon 8",
        "each patient",
        "PRV",
        "100 steps",
        "1.25",
    ):
        assert word in said
    assert facts["privacy not proved"] == NOT_PROVED and "only sums" in facts["secure aggregation"]
    assert "at most epsilon 8" in privacy_facts(PRIVATE)["differential privacy"]


def test_a_card_without_protection_says_so() -> None:
    facts = privacy_facts(Federation(strategy="fedavg"))
    assert facts["differential privacy"].startswith("none") and facts["secure aggregation"].startswith("none")


def test_the_model_card_of_the_hub_repeats_it(tmp_path: Path) -> None:
    encoding = LabelEncoding("binary", ("benign", "malignant"))
    for card in (privacy_facts(PRIVATE), {}):
        model = Model(tmp_path, Plan(), encoding, ("a",), OperatingPoint((0.5,), "half", ""), card=card)
        assert ("at most epsilon 8" in readme(model, {}, {})) is bool(card)
