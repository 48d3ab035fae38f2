"""The account claims an item only where the evidence answers it, and invents none."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from hounsfield.core.evidence import Evidence, Finding
from hounsfield.steps.canonical import plain
from hounsfield.steps.standards import Account, Beside, Given, account, items, questions
from steps.report_examples import EXAMPLES, rich

STANDARDS = {
    "CLAIM", "TRIPOD+AI", "STARD-AI", "DECIDE-AI", "FUTURE-AI", "GMLP", "AI Act Annex IV", "ECLAIR",
    "Model Cards", "Datasheets", "CHAI model card", "Predetermined change control plan",
}  # fmt: skip


def _account(evidence: Evidence, **more: Any) -> Account:
    return account(plain(evidence), more.pop("answers", {}), Beside(**more))


def test_there_are_48_items_each_from_a_standard_and_with_somebody_to_answer() -> None:
    assert [item["number"] for item in items()] == list(range(1, 49))
    for item in items():
        assert item.get("tool") or item.get("person")
        assert item["standards"]
        for source in item["standards"]:
            assert any(source.startswith(name) for name in STANDARDS), source
    keys = Counter(q.id for _, _, q in questions("segmentation"))
    assert set(keys.values()) == {1} and all(re.fullmatch("[a-z_]+", key) for key in keys)


def test_numbers_from_memory_are_marked() -> None:
    marked = {item["number"] for item in items() if any(s.endswith("†") for s in item["standards"])}
    assert marked == {2, 13, 21, 25, 26, 27, 28, 32, 33, 34, 35, 38, 39, 41, 44}


def test_bare_evidence_answers_nothing() -> None:
    rows = _account(Evidence("Bare")).rows
    assert not [row.item for row in rows if row.present] and _account(Evidence("Bare")).by_tool == 0
    assert {row.state for row in rows} == {"waiting", "not answered"}


def test_a_person_is_never_answered_for_by_the_tool() -> None:
    told = _account(rich(), outcomes=["wrong"], covered=["model/model.json"], signed=True)
    assert all(row.person in ("", "waiting") for row in told.rows)
    assert len(told.waiting) == len(questions())


def test_an_answer_of_a_person_answers_its_part_only() -> None:
    given = {key: Given("yes", "A. Reader", "2026-03-14") for key in ("intended_use", "prevalence")}
    told = {row.number: row for row in _account(rich(), answers=given).rows}
    assert told[1].state == "answered" and told[1].asked[0].given == given["intended_use"]
    lacking = replace(rich(), metrics=())
    alone = {row.number: row for row in _account(lacking, answers=given).rows}
    assert alone[28].person == "answered" and alone[28].state in ("in part", "not answered")


def test_segmentation_does_not_apply_to_classification_and_says_why() -> None:
    row = next(r for r in _account(rich()).rows if r.number == 32)
    assert row.state == "does not apply" and "classification" in row.does_not_apply


@pytest.mark.parametrize("name", EXAMPLES)
def test_states_add_up(name: str) -> None:
    told = _account(EXAMPLES[name]())
    states = ("answered", "waiting", "in part", "not answered", "does not apply")
    assert sum(told.count(state) for state in states) == 48


CASES = [
    (30, "calibration_slope", "slope"), (12, "burnt_in_text", "scan of the pixels for burnt-in text"),
    (13, "missingness_by_site", "what is missing, by group"),
    (17, "likely_label_errors", "ranked list for review"),
    (18, "power_of_auroc", "precision and power at this n"), (36, "under_diagnosis_rate", "under-diagnosis"),
    (36, "overdiagnosis_gap", "over-diagnosis"), (40, "conformal_coverage", "coverage of the sets, by group"),
    (40, "out_of_distribution_auroc", "score against the training data"),
    (41, "explanation_randomisation", "parameter randomisation"),
    (41, "explanation_faithfulness", "localisation or faithfulness"),
    (22, "representation_by_sex", "divergence from the target population, metrics reweighted to it"),
    (38, "robustness_noise", "curves by noise, blur, contrast, resolution, dose or scanner gain"),
    (39, "worst_slice", "worst slices of the data"), (20, "near_duplicates", "near-duplicates"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "name", "part"), CASES)
def test_an_item_is_answered_when_its_finding_is_there(number: int, name: str, part: str) -> None:
    def present(finding: Finding) -> set[str]:
        row = _account(Evidence("One", metrics=(finding,))).rows[number - 1]
        return {link.what for link in row.present}

    assert part in present(Finding(name, value=0.9, low=0.8, high=0.95, n=100))
    assert part not in present(Finding(name, value=None, n=3, note="too few"))
    assert part not in present(Finding("auroc", value=0.9, n=100))


def test_separation_is_proved_only_by_checks_that_found_nothing() -> None:
    def present(level: str) -> set[str]:
        checks = (Finding("patient_identity"), Finding("patients_in_both_parts", value=1.0, level=level))
        return {link.what for link in _account(Evidence("One", audit=checks)).rows[18].present}

    assert present("info") == {"no patient in two parts"} and present("stop") == set()


def test_a_full_run_answers_at_least_28_items() -> None:
    whole = replace(rich(), tables={**rich().tables, "metric_fingerprint": [["binary", "auroc"]]})
    told = _account(whole, outcomes=["wrong", "right"], covered=["model/model.json"], signed=True)
    assert told.by_tool >= 28
