"""A site answers from its own cases, pins one plan, and refuses with a named reason what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federation.made_sites import plan
from federation.made_study import write_study
from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Plan
from hounsfield.federation import messages as m
from hounsfield.federation.facts import SiteFacts
from hounsfield.federation.local_training import first_weights
from hounsfield.federation.messages import Reason
from hounsfield.federation.proposal import Proposal
from hounsfield.federation.site import Site
from hounsfield.federation.site_cases import SiteCases, divided, encoded_as, looked_at, of_folder
from hounsfield.steps.gather import Question
from hounsfield.steps.study import Looked

ENCODING = LabelEncoding("binary", ("benign", "malignant"), ("finding",))
SIZES = {"Kiel": 30, "Ulm": 24, "Jena": 12}


def asked(table: Path, **more: Any) -> Question:
    return Question(labels=str(table), target=("finding",), test_fraction=0.3, **more)


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Looked, Question]:
    root = tmp_path_factory.mktemp("sites")
    question = asked(write_study(root / "study", sizes=SIZES))
    return looked_at(str(root / "study"), question, root / "cache"), question


@pytest.fixture
def cases(looked: tuple[Looked, Question]) -> tuple[SiteCases, ...]:
    return divided(looked[0], "site", looked[1])[0]


def site_of(cases: SiteCases, folder: Path, **options: Any) -> Site:
    return Site(cases, folder, **options)


def proposed(site: Site, made: Plan, encoding: LabelEncoding = ENCODING) -> tuple[Proposal, m.Refusal | None]:
    proposal = Proposal(made, encoding)
    return proposal, m.refusal_of(site.answer(m.ask_propose(1, proposal)))


def test_a_column_divides_a_cohort_into_sites_each_split_by_patient(cases: tuple[SiteCases, ...]) -> None:
    assert [c.name for c in cases] == ["Jena", "Kiel", "Ulm"]
    for site in cases:
        cohort = site.cohort
        assert {c.groups["site"] for c in cohort.cases} == {site.name} and len(cohort.cases) == SIZES[
            site.name
        ]
        assert 0.2 <= len(cohort.test) / len(cohort.cases) <= 0.4
        assert not {c.patient for c in cohort.test} & {c.patient for c in cohort.development}


def test_facts_hold_no_count_below_the_smallest_n(cases: tuple[SiteCases, ...], tmp_path: Path) -> None:
    kiel = site_of(cases[1], tmp_path)
    told = SiteFacts.from_json(str(m.config_of(kiel.answer(m.ask_facts(1, smallest_n=5)))["facts"]))
    learned = cases[1].cohort.development
    assert sum(n or 0 for n in told.patients_by_class.values()) == len(learned) == told.fingerprint.n
    hidden = SiteFacts.from_json(str(m.config_of(kiel.answer(m.ask_facts(1, smallest_n=12)))["facts"]))
    assert None in hidden.patients_by_class.values() and hidden.fingerprint.imbalance == 1.0
    refusal = m.refusal_of(site_of(cases[0], tmp_path).answer(m.ask_facts(1, smallest_n=20)))
    assert refusal is not None and refusal.reason is Reason.TOO_FEW


def test_a_site_trains_only_the_plan_that_it_accepted(cases: tuple[SiteCases, ...], tmp_path: Path) -> None:
    site, made = site_of(cases[1], tmp_path), plan()
    start = first_weights(made, ENCODING)
    early = m.refusal_of(site.answer(m.ask_train(1, start, plan_hash="ab" * 32, number=1)))
    assert early is not None and early.reason is Reason.HASH
    proposal, refusal = proposed(site, made)
    assert refusal is None
    reply = site.answer(m.ask_train(1, start, plan_hash=proposal.hash, number=1))
    assert m.metrics_of(reply)["num-examples"] == len(cases[1].cohort.development)
    assert not np.array_equal(m.vector_of(reply), start)
    again = site.answer(m.ask_train(1, start, plan_hash=proposal.hash, number=1))
    assert np.array_equal(m.vector_of(again), m.vector_of(reply))
    changed = Proposal(made.changed({"fit.batch_size": 4}), ENCODING)
    other = m.refusal_of(site.answer(m.ask_train(1, start, plan_hash=changed.hash, number=2)))
    assert other is not None and other.reason is Reason.HASH and changed.hash[:16] in other.sentence


def test_a_proposal_whose_plan_was_changed_under_its_hash_is_refused(
    cases: tuple[SiteCases, ...], tmp_path: Path
) -> None:
    site = site_of(cases[1], tmp_path)
    ask = m.ask_propose(1, Proposal(plan(), ENCODING))
    ask.content["config"]["proposal"] = Proposal(plan(rounds=99), ENCODING).to_json()
    refusal = m.refusal_of(site.answer(ask))
    assert refusal is not None and refusal.reason is Reason.HASH and site.proposal is None


@pytest.mark.parametrize(
    "made, encoding, reason",
    [
        (plan(smallest_n=25), ENCODING, Reason.TOO_FEW),
        (plan(), LabelEncoding("binary", ("cat", "dog")), Reason.CLASSES),
    ],
)
def test_a_plan_that_does_not_fit_the_cases_is_refused(
    cases: tuple[SiteCases, ...], tmp_path: Path, made: Plan, encoding: LabelEncoding, reason: Reason
) -> None:
    refusal = proposed(site_of(cases[1], tmp_path), made, encoding)[1]
    assert refusal is not None and refusal.reason is reason


def test_another_version_an_unknown_message_and_a_plan_that_is_none_are_refused(
    cases: tuple[SiteCases, ...], tmp_path: Path
) -> None:
    site = site_of(cases[1], tmp_path)
    ask = m.ask_propose(1, Proposal(plan(), ENCODING))
    for key, value, reason in (("version", "9.9.9", Reason.VERSION), ("proposal", "{}", Reason.PLAN)):
        before, ask.content["config"][key] = ask.content["config"][key], value
        refusal = m.refusal_of(site.answer(ask))
        assert refusal is not None and refusal.reason is reason
        ask.content["config"][key] = before
    unknown = m.refusal_of(site.answer(m._asked(1, "query.run_code", {})))
    assert unknown is not None and unknown.reason is Reason.UNKNOWN


def test_a_site_with_one_class_or_none_says_so(cases: tuple[SiteCases, ...], tmp_path: Path) -> None:
    kiel = cases[1]
    benign = tuple(c for c in kiel.cohort.cases if c.answer and c.answer.positive == (0,))
    one = replace(kiel, cohort=kiel.cohort.only(benign, "only benign"))
    refusal = proposed(site_of(one, tmp_path), plan())[1]
    assert refusal is not None and refusal.reason is Reason.ONE_CLASS and "benign" in refusal.sentence
    held = tuple(c for c in kiel.cohort.test)
    nothing = replace(kiel, cohort=kiel.cohort.only(held, "nothing to learn from"))
    refusal = m.refusal_of(site_of(nothing, tmp_path).answer(m.ask_facts(1, smallest_n=1)))
    assert refusal is not None and refusal.reason is Reason.NO_CASES


def test_a_folder_of_one_class_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    table = write_study(tmp_path / "study", sizes={"Kiel": 16})
    lines = table.read_text().splitlines()
    kept = [lines[0], *(line for line in lines[1:] if "benign" in line)]
    table.write_text("\n".join(kept) + "\n")
    with pytest.raises(BadInput, match="one class only"):
        of_folder(str(tmp_path / "study"), asked(table), tmp_path / "cache", name="Kiel")


def test_answers_follow_the_common_names_in_any_spelling(cases: tuple[SiteCases, ...]) -> None:
    cohort = cases[1].cohort
    turned = encoded_as(cohort, LabelEncoding("binary", ("MALIGNANT", "Benign")))
    for before, after in zip(cohort.cases, turned.cases, strict=True):
        assert before.answer is not None and after.answer is not None
        assert after.answer.positive == (1 - before.answer.positive[0],)
    with pytest.raises(BadInput, match='has a class "benign"'):
        encoded_as(cohort, LabelEncoding("binary", ("cat", "malignant")))


@pytest.mark.parametrize("strategy", ["fedbn", "scaffold"])
def test_what_is_a_sites_own_is_kept_and_a_repeated_round_begins_as_it_did(
    cases: tuple[SiteCases, ...], tmp_path: Path, strategy: str
) -> None:
    changes = {"fit.optimiser": "sgd", "fit.momentum": 0.0} if strategy == "scaffold" else {}
    made = plan(changes, strategy=strategy)
    start = first_weights(made, ENCODING)
    common = np.zeros_like(start) if strategy == "scaffold" else None

    def asks(site: Site, *rounds: int) -> Any:
        proposal, _ = proposed(site, made)
        replies = [
            site.answer(m.ask_train(1, start, plan_hash=proposal.hash, number=n, control=common))
            for n in rounds
        ]
        return m.vector_of(replies[-1])

    whole = asks(site_of(cases[1], tmp_path / "a"), 1, 2, 3)
    interrupted = asks(site_of(cases[1], tmp_path / "b"), 1, 2)
    again = site_of(cases[1], tmp_path / "b")  # as after a new start, and with round 2 repeated
    assert np.array_equal(asks(again, 2), interrupted)
    assert np.array_equal(asks(again, 3), whole)
    forgetful = asks(site_of(cases[1], tmp_path / "c"), 3)
    assert not np.array_equal(forgetful, whole)
