"""Every audit check keeps to its contract, its statistics agree with scipy, and it sees what it is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, TEST, Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.steps.audit import audit, worst_first
from hounsfield.steps.audits import CHECKS, Claim, Material, settled
from hounsfield.steps.audits.chance import counts_differ, holm, ranks_differ, tabled, unit_table
from hounsfield.steps.audits.contract import FAMILIES
from hounsfield.steps.audits.letters import letters_in
from hounsfield.steps.audits.quick_model import _components, crossed_scores, doubts
from hounsfield.steps.audits.targets import Targets, read_targets
from phantoms import hu, write_csv, write_dicom_study

TWO = LabelEncoding("binary", ("healthy", "ill"))


def cohort_of(n: int, *, seed: int = 0, test: int = 0, classes: LabelEncoding = TWO, **groups: Any) -> Cohort:
    """n patients of one case; each group is a function of (rng, number, answer)."""
    rng = np.random.default_rng(seed)
    k = len(classes.classes)
    cases = tuple(
        Case(f"c{i}", f"p{i}", (), Label((i % k,)), {g: f(rng, i, i % k) for g, f in groups.items()})
        for i in range(n)
    )
    part = {c.id: TEST if i < test else DEVELOPMENT for i, c in enumerate(cases)}
    return Cohort(cases, classes, part, {c.id: 0 for c in cases if part[c.id] == DEVELOPMENT})


def warned(findings: tuple[Finding, ...], name: str, group: str = "") -> list[Finding]:
    return [f for f in findings if f.name == name and f.level != "info" and group in f.group]


def coin(rng: np.random.Generator, i: int, answer: int) -> str:
    return str(rng.choice(["a", "b"]))


# --- the contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKS.names)
@pytest.mark.parametrize("n", [0, 1, 2, 60])
def test_a_check_claims_in_the_words_of_the_contract(name: str, n: int) -> None:
    """Whatever the cohort: no case, one case, groups of one, or many; twice the same."""
    cohort = cohort_of(n, site=lambda rng, i, a: f"s{i}", sex=coin)
    material = Material(cohort)
    claims = CHECKS[name](material)
    for claim in claims:
        finding = claim.finding
        assert finding.level in ("info", "warning", "stop") and finding.note and finding.n >= 0
        assert (claim.p is None) == (claim.family == "") and (claim.family in FAMILIES or not claim.family)
        assert finding.value is None or np.isfinite(finding.value)
        assert claim.p is None or 0 <= claim.p <= 1
        if finding.level != "info":
            assert ";" in finding.note or ":" in finding.note, "a warning says what to do"
    assert [c.finding for c in CHECKS[name](Material(cohort))] == [c.finding for c in claims]


def test_of_many_tests_only_what_chance_does_not_make_is_told() -> None:
    chances = np.random.default_rng(0).random(500)
    noise = [Claim(Finding(f"n{k}", level="warning"), float(p), "shift") for k, p in enumerate(chances)]
    found = settled([*noise, Claim(Finding("true", level="warning"), 1e-9, "shift")])
    assert [f.name for f in found] == ["true", "tests_made"] and "501 of whether the parts differ" in found[
        1
    ].note


def test_the_worst_stands_first() -> None:
    levels = [
        f.level
        for f in worst_first([Finding("a"), Finding("b", level="stop"), Finding("c", level="warning")])
    ]
    assert levels == ["stop", "warning", "info"]


# --- statistics ---------------------------------------------------------------------------------------------


def test_the_association_of_a_full_table_is_scipys_chi_square() -> None:
    table = np.array([[40, 10], [20, 30], [25, 25]])
    found = tabled(table)
    assert found.p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)
    assert found.n == 150


def test_a_sparse_table_is_judged_as_fisher_does() -> None:
    """Permuting patients over a 2×2 table is Fisher's exact test, up to how ties are counted."""
    for table in ([[7, 1], [2, 8]], [[3, 0], [9, 10]], [[6, 2], [1, 9]]):
        exact = stats.fisher_exact(table).pvalue
        assert tabled(np.array(table)).p == pytest.approx(exact, abs=0.012), table


def test_ranks_agree_with_scipy_and_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    classes = np.arange(80) % 2
    values = rng.normal(0, 1, 80) + 0.6 * classes
    found = ranks_differ(values, np.arange(80), classes)
    assert found.auroc == pytest.approx(roc_auc_score(classes, values))
    assert found.p == pytest.approx(stats.kruskal(values[classes == 0], values[classes == 1]).pvalue)
    assert (found.best, found.higher, found.n) == (1, True, 80)


def test_images_of_a_patient_count_once_a_class() -> None:
    patients, classes = np.repeat([0, 1, 2], 30), np.r_[np.zeros(30, int), np.ones(60, int)]
    values = ["a"] * 30 + ["b"] * 31 + ["a"] * 29
    assert unit_table(values, patients, classes)[2].tolist() == [[1, 1], [0, 1]]
    assert ranks_differ(np.arange(90.0), patients, classes).n == 0  # fewer than five patients a class


def test_a_disease_of_one_side_is_not_associated_with_that_side() -> None:
    """Both sides of everyone are imaged; of the ill the diseased side is left or right by chance."""
    rng = np.random.default_rng(3)
    patients, sides = np.repeat(np.arange(300), 2), ["L", "R"] * 300
    classes = np.zeros(600, int)
    ill = rng.choice(300, 120, replace=False)
    classes[2 * ill + rng.integers(2, size=120)] = 1
    table = unit_table(sides, patients, classes)[2]
    assert table.sum(0).tolist() == [300, 120] and tabled(table).p > 0.01


def test_counts_are_held_against_shares_as_scipy_does() -> None:
    counts, shares = np.array([30, 50, 20]), np.array([0.25, 0.5, 0.25])
    expected = stats.chisquare(counts, 100 * shares).pvalue
    assert counts_differ(counts, shares) == pytest.approx(expected)
    exact = stats.binomtest(1, 12, 0.3).pvalue  # fewer than five expected
    assert counts_differ(np.array([1, 11]), np.array([0.3, 0.7])) == pytest.approx(exact, abs=0.03)
    assert counts_differ(np.array([3, 1]), np.array([1.0, 0.0])) == 0.0


def test_holm_rises_and_stays_below_one() -> None:
    p = [0.5, 0.001, 0.02, 0.9]
    assert holm(p) == pytest.approx([1.0, 0.004, 0.06, 1.0]) and holm([]) == []


# --- groups -------------------------------------------------------------------------------------------------


def test_a_patient_spelled_in_two_ways_is_named_without_its_id() -> None:
    cohort = cohort_of(30)
    cases = list(cohort.cases)
    cases[1] = Case("c1", "P-007", (), Label((1,)))
    cases[2] = Case("c2", "p7", (), Label((0,)))
    found = audit(Cohort(tuple(cases), TWO, cohort.part, cohort.fold), ())
    (spelled,) = warned(found, "patient_spelled_twice")
    assert spelled.value == 1 and "007" not in spelled.note


def test_data_missing_in_one_class_are_named_and_data_missing_at_random_are_not() -> None:
    def by_class(rng: np.random.Generator, i: int, a: int) -> str:
        return "" if a and rng.random() < 0.5 else "F"

    def at_random(rng: np.random.Generator, i: int, a: int) -> str:
        return "" if rng.random() < 0.3 else "F"

    assert warned(audit(cohort_of(120, sex=by_class), ()), "missing_data_by_group", "sex by the answer")
    quiet = (audit(cohort_of(120, seed=k, sex=at_random), ()) for k in range(20))
    assert not any(warned(found, "missing_data_by_group") for found in quiet)


def test_classes_within_groups_are_told_with_n_and_small_groups_are_not() -> None:
    cohort = cohort_of(60, site=lambda rng, i, a: "small" if i < 3 else "big" if i % 3 else "mid")
    told = next(f for f in audit(cohort, ()) if f.name == "class_balance")
    assert "small too few (n = 3)" in told.note and "(n = 19)" in told.note


def test_a_site_of_one_class_is_named() -> None:
    cohort = cohort_of(100, site=lambda rng, i, a: "East" if a and i < 40 else coin(rng, i, a))
    (found,) = warned(audit(cohort, ()), "group_of_one_class")
    assert found.group == "site=East" and found.n == 20 and "ill" in found.note


def test_parts_that_differ_in_prevalence_or_scanner_are_named() -> None:
    cohort = cohort_of(
        200, test=80, scanner=lambda rng, i, a: "old" if i < 80 and rng.random() < 0.7 else "new"
    )
    assert warned(audit(cohort, ()), "shift_between_parts", "scanner")
    answers = tuple(
        Case(c.id, c.patient, (), Label((1,)) if i < 80 and i % 4 else c.answer)
        for i, c in enumerate(cohort_of(200, test=80).cases)
    )
    shifted = Cohort(answers, TWO, cohort.part, cohort.fold)
    (found,) = warned(audit(shifted, ()), "shift_between_parts", "class")
    assert "in test" in found.note and found.n == 200


def test_each_label_of_several_is_asked_by_itself() -> None:
    encoding = LabelEncoding("multilabel", ("mass", "cyst"))
    cases = tuple(
        Case(f"c{i}", f"p{i}", (), Label(tuple(k for k in (0, 1) if i >> k & 1)), {"site": "AB"[i & 1]})
        for i in range(80)
    )
    cohort = Cohort(cases, encoding, {c.id: DEVELOPMENT for c in cases}, {c.id: 0 for c in cases})
    found = warned(audit(cohort, ()), "site_label_association")
    assert [f.label for f in found] == ["mass"]


# --- the target table ---------------------------------------------------------------------------------------


def test_too_few_of_a_group_are_named_and_the_right_number_is_not() -> None:
    cohort = cohort_of(100, sex=lambda rng, i, a: "M" if i % 10 else "F")
    (found,) = warned(audit(cohort, (), targets=Targets({"sex": {"F": 0.5, "M": 0.5}})), "representation")
    assert found.value == pytest.approx(0.4) and "F 10% (target 50%)" in found.note
    assert not warned(audit(cohort, (), targets=Targets({"sex": {"F": 0.12, "M": 0.88}})), "representation")


BAD_TABLES = {
    "column,value,share\nsex,F,0.5\nsex,M,0.4\n": 'the shares of "sex" in t.csv add up to 0.900; expected 1',
    "column,value,share\nsex,F,half\nsex,M,0.5\n": 'line 2 of t.csv gives the share "half"',
    "column,value,share\nsex,F,0.5\nsex,F,0.5\n": "names sex=F twice",
    "group,value,share\nsex,F,1\n": "expected the header column,value,share",
    "column,value,share\n": "0 row",
    "column,value,share\nsex,F,1.5\n": "expected a fraction from 0 to 1",
}


@pytest.mark.parametrize("text", BAD_TABLES)
def test_a_wrong_target_table_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(BadInput) as caught:
        read_targets(tmp_path / "t.csv")
    assert BAD_TABLES[text] in str(caught.value) and "\n" not in str(caught.value)


def test_a_target_for_an_unknown_column_suggests_the_nearest() -> None:
    with pytest.raises(BadInput, match=r'names the column "gender", which is no group'):
        audit(cohort_of(30, sex=coin), (), targets=Targets({"gender": {"F": 0.5, "M": 0.5}}))
    with pytest.raises(BadInput, match=r"no\.csv does not exist"):
        read_targets("no.csv")


# --- pixels -------------------------------------------------------------------------------------------------


def _plain(side: int = 200) -> Any:
    rng = np.random.default_rng(0)
    grid = np.indices((side, side)) / side - 0.5
    return (60 * (np.hypot(*grid) < 0.42) + rng.normal(20, 2, (side, side))).astype(np.float32)


def _written(text: str, at: tuple[int, int]) -> Any:
    image = _plain().astype(np.uint8)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 240, 1)
    return image.astype(np.float32)


def test_letters_at_the_margin_are_seen_and_lines_of_text_anywhere() -> None:
    assert letters_in(_plain()).found == ()
    marker = letters_in(_written("L", (8, 20)))
    assert len(marker.found) == 1 and marker.in_lines == 0 and marker.found[0].top < 0.15
    assert letters_in(_written("DOE JANE", (60, 110))).in_lines >= 3


def test_a_bright_spot_within_the_body_is_no_letter() -> None:
    image = _plain()
    cv2.circle(image, (100, 100), 6, 240.0, -1)
    assert letters_in(image).found == ()


@pytest.mark.parametrize("side", [1, 5, 23, 24, 28])
def test_small_and_even_images_bear_no_letters(side: int) -> None:
    assert letters_in(np.zeros((side, side), np.float32)).found == ()
    assert letters_in(np.random.default_rng(0).normal(0, 1, (side, side)).astype(np.float32)).in_lines == 0


def test_flipped_labels_are_found_and_rank_first() -> None:
    """Two clouds eight spreads apart in 20 dimensions, 10 of 300 labels turned round."""
    rng = np.random.default_rng(0)
    truth = np.arange(300) % 2 == 1
    features = rng.normal(0, 1, (300, 20))
    features[truth, 0] += 8
    labels = truth.copy()
    labels[:10] = ~labels[:10]
    found = doubts(crossed_scores(features, labels, np.arange(300)), labels)
    assert found.countable and set(np.flatnonzero(found.suspected)) == set(range(10)) and found.expected < 0.3
    assert set(np.argsort(-found.margin)[:10]) == set(range(10))


def test_components_are_the_same_from_either_gram_matrix() -> None:
    """Against numpy's singular values, whichever way is the shorter."""
    rng = np.random.default_rng(0)
    for shape in ((30, 80), (200, 80)):
        table = rng.normal(0, 1, shape).astype(np.float32)
        found = _components(table, 12)
        left, values, _ = np.linalg.svd(table.astype(np.float64), full_matrices=False)
        assert np.abs(found) == pytest.approx(np.abs(left[:, :12] * values[:12]), abs=1e-3)


def test_overlapping_classes_are_not_counted_as_wrong_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2 == 1
    features = rng.normal(0, 1, (300, 20))
    features[labels, 0] += 1.0
    assert not doubts(crossed_scores(features, labels, np.arange(300)), labels).countable


def test_images_of_one_patient_do_not_teach_of_each_other() -> None:
    """Features that name the patient and nothing else: a split by image would tell the answer perfectly."""
    patients = np.repeat(np.arange(40), 5)
    answers = np.random.default_rng(0).permutation(np.arange(40) % 2)[patients] == 1
    features = np.eye(40)[patients] * 5
    scores = crossed_scores(features, answers, patients)
    assert abs(roc_auc_score(answers, scores) - 0.5) < 0.2


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_dicom_study(tmp_path_factory.mktemp("audited") / "study", patients=30)


def test_the_command_prints_the_worst_first_and_writes_what_it_found(
    study: tuple[Path, Path], tmp_path: Path
) -> None:
    source, labels = study
    targets = tmp_path / "targets.csv"
    targets.write_text("column,value,share\nsex,F,0.95\nsex,M,0.05\n")
    words = ("audit", source, "--labels", labels, "--target", "finding", "--targets", targets)
    ended = hu(*words, "--out", tmp_path / "out", "--json")
    said = json.loads(ended.out)
    assert ended.code == 0 and said == json.loads((tmp_path / "out" / "audit.json").read_text())
    levels = [f["level"] for f in said["findings"]]
    assert levels == sorted(levels, key=("stop", "warning", "info").index) and said["worst"] == "warning"
    assert any(f["name"] == "representation" and f["level"] == "warning" for f in said["findings"])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"audit.json", "private"}
    private = tmp_path / "out" / "private"
    assert {p.name for p in private.iterdir()} == {"cases.csv", "review.csv", "duplicates.csv"}
    assert private.stat().st_mode & 0o077 == 0
    printed = hu(*words).out
    assert (
        printed.index("to be looked into") < printed.index("for the record")
        and "representation (sex):" in printed
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("column,value,share\nsite,A,1\nsex,F,0.2\n", "add up to 0.200"),
        ("column,value,share\nrace,A,1\n", 'the column "race", which is no group'),
    ],
)
def test_a_wrong_target_table_ends_with_exit_code_3(
    study: tuple[Path, Path], tmp_path: Path, table: str, said: str
) -> None:
    (tmp_path / "t.csv").write_text(table)
    source, labels = study
    ended = hu("audit", source, "--labels", labels, "--target", "finding", "--targets", tmp_path / "t.csv")
    assert ended.code == 3 and said in ended.said


def test_labels_outside_the_classes_asked_for_are_refused(study: tuple[Path, Path]) -> None:
    source, labels = study
    ended = hu("audit", source, "--labels", labels, "--target", "finding", "--classes", "normal,tumour")
    assert ended.code == 3 and '"tumour"' in ended.said


def test_a_table_of_labels_of_one_case_each_is_refused(tmp_path: Path, study: tuple[Path, Path]) -> None:
    rows = [{"mrn": f"MRN{10000 + p}", "finding": f"f{p}"} for p in range(1, 30)]
    ended = hu("audit", study[0], "--labels", write_csv(tmp_path / "t.csv", rows), "--target", "finding")
    assert ended.code == 3 and "a class has fewer patients than the 5 folds" in ended.said
