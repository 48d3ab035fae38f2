"""A site's policy: what it does not agree to never reaches its data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Federation, Plan
from hounsfield.federation.consent import Consent
from hounsfield.federation.flower import Message
from hounsfield.federation.messages import (
    Reason,
    accepted,
    ask_evaluate,
    ask_facts,
    ask_propose,
    ask_train,
    config_of,
    refusal_of,
)
from hounsfield.federation.policy import Guard, Policy
from hounsfield.federation.proposal import Proposal

ENCODING = LabelEncoding("binary", ("no", "yes"), ("hiv",))


class Site:
    """Counts what reaches the site's data."""

    def __init__(self) -> None:
        self.reached = 0

    def __call__(self, message: Message) -> Message:
        self.reached += 1
        return accepted(message, "0", n=50)


def _proposal(**values: Any) -> Proposal:
    return Proposal(Plan(federation=Federation(**{"strategy": "fedavg", **values})), ENCODING)


def _guard(place: Path, site: Site, *, agrees: bool = True, patients: int = 50, **given: Any) -> Guard:
    decided = given.pop("decided", lambda _: "given" if agrees else "declined")
    policy = Policy(**given)
    return Guard(site, place, policy=policy, patients=patients, decided=decided)


def _reason(answer: Message) -> Reason | None:
    refusal = refusal_of(answer)
    return None if refusal is None else refusal.reason


@pytest.mark.parametrize(
    ("policy", "plan", "reason"),
    [
        ({"refused_columns": ("hiv",)}, {}, Reason.COLUMN),
        ({"smallest_cohort": 51}, {}, Reason.TOO_FEW),
        ({"secure_aggregation": True}, {}, Reason.PLAN),
        ({"largest_epsilon": 8.0}, {}, Reason.PLAN),
        ({"largest_epsilon": 8.0}, {"epsilon": 9.0}, Reason.PLAN),
        ({"most_rounds": 10}, {"rounds": 11}, Reason.PLAN),
        (
            {"largest_epsilon": 8.0, "secure_aggregation": True},
            {"epsilon": 8.0, "secure_aggregation": True},
            None,
        ),
        ({}, {}, None),
    ],
)
def test_a_plan_that_breaks_a_rule_is_refused_for_its_reason(
    tmp_path: Path, policy: dict[str, Any], plan: dict[str, Any], reason: Reason | None
) -> None:
    site = Site()
    answer = _guard(tmp_path, site, **policy)(ask_propose(7, _proposal(**plan)))
    assert _reason(answer) is reason
    assert site.reached == (reason is None)


def test_only_the_plan_that_was_agreed_to_reaches_the_data(tmp_path: Path) -> None:
    site, agreed, other = Site(), _proposal(), _proposal(rounds=3)
    guard = _guard(tmp_path, site)
    train = ask_train(7, np.zeros(3, np.float32), plan_hash=agreed.hash, number=1)
    assert _reason(guard(train)) is Reason.HASH
    assert site.reached == 0
    guard(ask_propose(7, agreed))
    assert _reason(guard(train)) is None
    for ask in (ask_train, ask_evaluate):
        changed = guard(ask(7, np.zeros(3, np.float32), plan_hash=other.hash, number=1))
        assert _reason(changed) is Reason.HASH and "the plan changed" in changed.error.reason
    assert site.reached == 2


def test_what_was_agreed_to_outlives_the_process_and_is_written_down(tmp_path: Path) -> None:
    proposal = _proposal()
    _guard(tmp_path, Site())(ask_propose(7, proposal))
    again = _guard(tmp_path, Site(), agrees=False)
    assert again.agreed == proposal.hash
    assert _reason(again(ask_propose(7, proposal))) is None
    kept = json.loads((tmp_path / "agreed.json").read_text())
    assert Proposal.from_json(json.dumps(kept["proposal"])).hash == proposal.hash


def test_after_a_restart_the_site_is_told_what_it_agreed_to(tmp_path: Path) -> None:
    proposal, kinds = _proposal(), []

    def answer(message: Message) -> Message:
        kinds.append(message.metadata.message_type)
        return accepted(message, "0", n=50)

    _guard(tmp_path, Site())(ask_propose(7, proposal))
    again = _guard(tmp_path, answer)  # type: ignore[arg-type]
    train = ask_train(7, np.zeros(3, np.float32), plan_hash=proposal.hash, number=2)
    again(ask_facts(7, smallest_n=5))
    again(train)
    again(train)
    assert kinds == ["query.facts", "query.propose", "train", "train"]
    stricter = _guard(tmp_path, Site(), most_rounds=1)
    assert _reason(stricter(train)) is Reason.PLAN


def test_a_person_who_does_not_agree_is_obeyed_unless_the_hash_was_given(tmp_path: Path) -> None:
    proposal, site = _proposal(), Site()
    assert _reason(_guard(tmp_path, site, agrees=False)(ask_propose(7, proposal))) is Reason.PLAN
    consent = Consent(tmp_path, beforehand=(proposal.hash[:12].upper(),))
    given = _guard(tmp_path, site, decided=consent.of)
    assert _reason(given(ask_propose(7, proposal))) is None
    assert _reason(given(ask_propose(7, _proposal(rounds=2)))) is Reason.BUSY
    for digits in (proposal.hash[:11], "", "the plan"):
        with pytest.raises(BadInput, match="12 hexadecimal digits"):
            Consent(tmp_path).decide(digits, agreed=True)


def test_people_decide_while_the_site_goes_on_and_the_last_decision_counts(tmp_path: Path) -> None:
    proposal, site = _proposal(), Site()
    consent = Consent(tmp_path)
    consent.show(proposal)
    assert Proposal.from_json((tmp_path / "proposed.json").read_text()).hash == proposal.hash
    guard = _guard(tmp_path, site, decided=consent.of)
    assert _reason(guard(ask_propose(7, proposal))) is Reason.BUSY
    Consent(tmp_path).decide(proposal.hash[:16], agreed=False)
    assert _reason(guard(ask_propose(7, proposal))) is Reason.PLAN
    assert site.reached == 0
    Consent(tmp_path).decide(proposal.hash[:16], agreed=True)
    assert _reason(guard(ask_propose(7, proposal))) is None
    (tmp_path / "consent.json").write_text("[")
    with pytest.raises(BadInput, match="damaged"):
        _ = consent.decided


def test_a_plan_that_is_not_the_one_of_its_hash_is_refused(tmp_path: Path) -> None:
    ask = ask_propose(7, _proposal())
    config_of(ask)["proposal"] = _proposal(rounds=99).to_json()
    assert _reason(_guard(tmp_path, Site())(ask)) is Reason.HASH


def test_another_version_of_the_package_is_refused(tmp_path: Path) -> None:
    proposal = Proposal(_proposal().plan, ENCODING, "0.0.9")
    answer = _guard(tmp_path, Site())(ask_propose(7, proposal))
    assert _reason(answer) is Reason.VERSION and "0.0.9" in answer.error.reason


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    ask = ask_propose(7, _proposal())
    for given in ("", "{}", "[1]", '{"plan": {"fit": 3}, "encoding": ["binary", [], []], "version": "1"}'):
        config_of(ask)["proposal"] = given
        assert _reason(_guard(tmp_path, Site())(ask)) is Reason.PLAN


def test_facts_are_given_before_a_plan_but_not_of_a_small_cohort(tmp_path: Path) -> None:
    site = Site()
    assert _reason(_guard(tmp_path, site)(ask_facts(7, smallest_n=5))) is None
    small = _guard(tmp_path, site, patients=4, smallest_cohort=5)(ask_facts(7, smallest_n=5))
    assert _reason(small) is Reason.TOO_FEW and site.reached == 1


def test_rules_are_read_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    place = tmp_path / "policy.json"
    assert Policy.read(place) == Policy()
    place.write_text('{"refused_columns": ["a"], "smallest_cohort": 9}')
    assert Policy.read(place) == Policy(refused_columns=("a",), smallest_cohort=9)
    place.write_text('{"smallest_cohrt": 9}')
    with pytest.raises(BadInput, match="smallest_cohrt"):
        Policy.read(place)
    place.write_text("[")
    with pytest.raises(BadInput, match="no JSON object"):
        Policy.read(place)
