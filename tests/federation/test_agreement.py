"""Sites agree on classes and a plan from aggregated facts, and who does not fit is named."""

from __future__ import annotations

from typing import Any

import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Plan
from hounsfield.federation.agreement import agreed, federated_plan, merged
from hounsfield.federation.facts import SiteFacts
from hounsfield.steps.fingerprint import Fingerprint


def facts(
    classes: tuple[str, ...] = ("benign", "malignant"), *, counts: Any = None, **changed: Any
) -> SiteFacts:
    told: dict[str, Any] = {
        "n": 60, "patients": 50, "size": (1, 64, 48), "aspects": (0.7, 0.8), "channels": 1, "bits": 12,
        "modality": "MG", "spacing_mm": (1.0, 0.1, 0.1), "imbalance": 1.5, "levels": (0.0, 100.0),
    }  # fmt: skip
    kind = "binary" if len(classes) == 2 else "multiclass"
    known = counts or dict.fromkeys(classes, 25)
    return SiteFacts(kind, classes, ("finding",), known, Fingerprint(**{**told, **changed}), "0.1.0")


def test_facts_are_read_as_they_were_written() -> None:
    told = facts(counts={"benign": 30, "malignant": None})
    assert SiteFacts.from_json(told.to_json()) == told
    with pytest.raises(BadInput, match="compare the versions"):
        SiteFacts.from_json('{"kind": 3}')


def test_classes_that_are_spelled_otherwise_are_the_same() -> None:
    found = agreed({"A": facts(), "B": facts(("Benign", "MALIGNANT")), "C": facts()})
    assert not found.refused and found.proposal.encoding.kind == "binary"
    assert found.proposal.encoding.classes[1].casefold() == "malignant"


def test_a_site_with_other_classes_is_refused_and_named() -> None:
    found = agreed({"A": facts(), "B": facts(("cat", "dog")), "C": facts()})
    assert list(found.refused) == ["B"] and "cat, dog" in found.refused["B"]
    with pytest.raises(BadInput, match=r"do not agree.*--classes"):
        agreed({"A": facts(), "B": facts(("cat", "dog"))})
    named = agreed({"A": facts(), "B": facts(("cat", "dog")), "C": facts()}, classes=("benign", "malignant"))
    assert named.proposal.encoding.classes == ("benign", "malignant")


def test_a_site_that_lacks_one_of_several_classes_takes_part() -> None:
    three = ("normal", "benign", "malignant")
    found = agreed({"A": facts(three), "B": facts(three), "C": facts(("benign", "malignant"))})
    assert not found.refused and found.proposal.encoding.kind == "multiclass"
    assert found.proposal.encoding.classes == ("normal", "benign", "malignant")


def test_the_facts_of_sites_become_one_fingerprint() -> None:
    whole, _ = merged(
        {
            "A": facts(n=100, levels=(0.0, 100.0), size=(1, 64, 48), counts={"benign": 80, "malignant": 20}),
            "B": facts(
                n=300, levels=(20.0, 500.0), size=(1, 128, 96), counts={"benign": 40, "malignant": None}
            ),
        }
    )
    assert whole.n == 400 and whole.patients == 100 and whole.size == (1, 128, 96)
    assert whole.levels == (15.0, 400.0) and whole.imbalance == 6.0


@pytest.mark.parametrize(
    "other, said", [({"channels": 3}, "channels"), ({"size": (20, 64, 48)}, "2D images")]
)
def test_images_that_do_not_go_together_are_refused(other: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=rf"{said}.*B"):
        merged({"A": facts(), "B": facts(**other)})


def test_the_plan_mixes_no_statistics_and_says_why() -> None:
    plan = agreed({"A": facts(), "B": facts()}, changes={"federation.rounds": 10}).proposal.plan
    assert plan.network.norm == "group" and not plan.fit.class_weights and plan.validation.members == 1
    assert plan.fit.epochs == 10 * plan.federation.local_epochs and plan.federation.local_epochs > 1
    for key in ("network.norm", "fit.class_weights", "federation.local_epochs"):
        assert plan.reasons[key] and plan.reasons[key] != "set by the user"
    own = agreed({"A": facts(), "B": facts()}, changes={"network.norm": "batch"}).proposal.plan
    assert own.network.norm == "batch"


def test_a_plan_that_was_made_for_sites_keeps_its_epochs() -> None:
    plan = Plan().changed({"federation.strategy": "fedavg", "federation.local_epochs": 1, "fit.epochs": 90})
    assert agreed({"A": facts(), "B": facts()}, plan=plan).proposal.plan.federation.local_epochs == 1


def test_scaffold_takes_plain_gradient_steps_and_privacy_no_mixtures() -> None:
    base = Plan().changed({"augment.mixup": 0.3})
    scaffold = federated_plan(base.changed({"federation.strategy": "scaffold"}))
    assert (scaffold.fit.optimiser, scaffold.fit.momentum) == ("sgd", 0.0)
    private = federated_plan(base.changed({"federation.strategy": "fedavg", "federation.epsilon": 8}))
    assert private.augment.mixup == 0


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"pretrain.epochs": 3}, "pretrain.epochs"),
        ({"mitigation.method": "reweighting", "mitigation.by": "sex"}, "mitigation.method"),
        ({"input.normalise": "histogram"}, "landmarks"),
        ({"validation.folds_by": "site"}, "folds_by"),
    ],
)
def test_what_needs_all_cases_in_one_place_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        federated_plan(Plan.checked(_nested(changes)))


def _nested(changes: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for dotted, value in changes.items():
        section, key = dotted.split(".")
        found.setdefault(section, {})[key] = value
    return found
