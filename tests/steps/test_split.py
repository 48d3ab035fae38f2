"""A patient, and a picture, stands on one side; classes are spread evenly; the seed decides."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, TEST, Cohort
from hounsfield.core.errors import BadInput, GateRefused
from hounsfield.core.index import Index, Series
from hounsfield.steps.gather import Question, gather, resplit
from hounsfield.steps.split import assign_folds, linked_units, stratified_bins

TWO = LabelEncoding("binary", ("a", "b"))


def _index(rows: list[tuple[str, str]], parts: list[str] | None = None) -> Index:
    """An image a row of (patient, label)."""
    series = tuple(
        Series(
            f"i{n}", (f"{n}.png",), "raster", (1, 8, 8), patient=p, label=a, part=parts[n] if parts else ""
        )
        for n, (p, a) in enumerate(rows)
    )
    return Index("source", series)


def _sides(cohort: Cohort) -> dict[str, set[tuple[str, int | None]]]:
    sides: dict[str, set[tuple[str, int | None]]] = {}
    for c in cohort.cases:
        sides.setdefault(c.patient, set()).add((cohort.part[c.id], cohort.fold.get(c.id)))
    return sides


@st.composite
def cohorts(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Patients with one to six images; a patient may hold both classes."""
    patients = draw(st.integers(24, 60))
    counts = draw(st.lists(st.integers(1, 6), min_size=patients, max_size=patients))
    mixed = draw(st.lists(st.booleans(), min_size=patients, max_size=patients))
    return [(f"p{p}", "ab"[(p + (k if mixed[p] else 0)) % 2]) for p, n in enumerate(counts) for k in range(n)]


@settings(max_examples=40, deadline=None)
@given(cohorts(), st.integers(0, 5), st.sampled_from([2, 3, 5]), st.data())
def test_no_patient_stands_on_two_sides(
    rows: list[tuple[str, str]], seed: int, folds: int, data: st.DataObject
) -> None:
    question = Question(seed=seed, folds=folds, test_fraction=0.25)
    cohort = gather(_index(rows), question)
    assert all(len(s) == 1 for s in _sides(cohort).values())
    assert set(cohort.fold.values()) == set(range(folds))
    assert set(cohort.fold) == {c.id for c in cohort.development}
    ids = st.sampled_from([c.id for c in cohort.cases])
    links = data.draw(st.lists(st.tuples(ids, ids), max_size=3))
    again = resplit(cohort, question, links)
    assert all(len(s) == 1 for s in _sides(again).values())
    for a, b in links:
        assert (again.part[a], again.fold.get(a)) == (again.part[b], again.fold.get(b))


@pytest.mark.parametrize("seed", range(5))
def test_every_part_holds_the_classes_in_their_shares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [(f"p{p}", "abc"[k]) for p, k in enumerate(rng.choice(3, 300, p=(0.7, 0.2, 0.1)))]
    cohort = gather(_index(rows), Question(seed=seed, folds=5))
    whole = cohort.class_counts()
    for share, cases in (
        (0.2, cohort.test),
        *((0.16, [c for c in cohort.development if cohort.fold[c.id] == f]) for f in range(5)),
    ):
        for name, n in cohort.class_counts(tuple(cases)).items():
            assert abs(n - share * whole[name]) <= 1.5


def test_large_patients_do_not_unbalance_the_parts() -> None:
    rng = np.random.default_rng(0)
    counts = np.zeros((80, 3))
    for u in range(80):
        n = 1 + rng.poisson(2) + 10 * (u % 20 == 0)
        counts[u, u % 2], counts[u, 2] = n, n
    bins = stratified_bins(counts, (0.8, 0.2), np.random.default_rng(1))
    assert counts[bins == 1].sum(0) / counts.sum(0) == pytest.approx([0.2] * 3, abs=0.02)


def test_many_findings_are_spread_each() -> None:
    rng = np.random.default_rng(0)
    encoding = LabelEncoding("multilabel", ("a", "b", "c"))
    cases = [
        Case(f"c{n}", f"p{n}", (), Label(tuple(np.flatnonzero(rng.random(3) < (0.5, 0.2, 0.08)).tolist())))
        for n in range(300)
    ]
    fold = assign_folds(cases, encoding, folds=3, seed=0)
    for k in range(3):
        held = Counter(fold[c.id] for c in cases if c.answer and k in c.answer.positive)
        assert max(held.values()) - min(held.values()) <= 2


def test_the_seed_decides_the_split() -> None:
    index = _index([(f"p{n}", "ab"[n % 2]) for n in range(60)])
    first, again, other = (gather(index, Question(seed=s)) for s in (1, 1, 2))
    assert first.part == again.part and first.fold == again.fold
    assert first.part != other.part and first.fold != other.fold


def test_a_given_split_is_kept_and_train_and_validation_are_pooled() -> None:
    parts = ["train"] * 20 + ["val"] * 10 + ["test"] * 10
    index = _index([(f"p{n}", "ab"[n % 2]) for n in range(40)], parts)
    cohort = gather(index, Question())
    assert [c.id for c in cohort.test] == [f"i{n}" for n in range(30, 40)]
    assert any("pooled" in note for note in cohort.notes)
    anew = gather(index, Question(resplit=True))
    assert {c.id for c in anew.test} != {c.id for c in cohort.test}


def test_a_given_split_without_a_test_part_is_cross_validated() -> None:
    index = _index([(f"p{n}", "ab"[n % 2]) for n in range(40)], ["train"] * 30 + ["val"] * 10)
    cohort = gather(index, Question())
    assert not cohort.test and any("cross-validation" in note for note in cohort.notes)


def test_a_given_split_with_a_patient_on_both_sides_is_refused_and_resplit_mends_it() -> None:
    rows = [(f"p{n}", "ab"[n % 2]) for n in range(30)] + [("p3", "b"), ("p4", "a")]
    index = _index(rows, ["train"] * 30 + ["test"] * 2)
    with pytest.raises(GateRefused, match=r"^2 patient\(s\).*--resplit"):
        gather(index, Question())
    assert all(len(s) == 1 for s in _sides(gather(index, Question(resplit=True))).values())


def test_a_cohort_with_one_patient_on_both_sides_cannot_be_made() -> None:
    cases = (Case("1", "p", ()), Case("2", "p", ()))
    with pytest.raises(BadInput, match="one patient stands in two parts"):
        Cohort(cases, TWO, {"1": DEVELOPMENT, "2": TEST}, {"1": 0})
    with pytest.raises(BadInput, match="one patient stands in two parts"):
        Cohort(cases, TWO, {"1": DEVELOPMENT, "2": DEVELOPMENT}, {"1": 0, "2": 1})


def test_a_class_with_fewer_patients_than_folds_is_refused_by_name() -> None:
    rows = [(f"p{n}", "ab"[n % 2]) for n in range(40)] + [("rare", "c")] * 9
    with pytest.raises(BadInput, match=r'"c" 1\); leave such classes out with --classes "a,b"'):
        gather(_index(rows), Question())


def test_without_a_test_part_every_case_develops() -> None:
    cohort = gather(_index([(f"p{n}", "ab"[n % 2]) for n in range(40)]), Question(test_fraction=0))
    assert not cohort.test and len(cohort.fold) == 40


def test_the_digest_tells_splits_answers_and_cases_apart() -> None:
    cohort = gather(_index([(f"p{n}", "ab"[n % 2]) for n in range(40)]), Question())
    first = cohort.cases[0]
    other_answer = replace(first, answer=Label((1 - first.answer.positive[0],)))  # type: ignore[union-attr]
    changed = [
        replace(cohort, cases=(other_answer, *cohort.cases[1:])),
        replace(cohort, cases=cohort.cases[1:]),
        replace(cohort, fold={k: (v + 1) % 5 for k, v in cohort.fold.items()}),
        replace(cohort, encoding=LabelEncoding("binary", ("b", "a"), cohort.encoding.target)),
    ]
    assert len({cohort.digest(), *(c.digest() for c in changed)}) == 5
    assert replace(cohort, cases=cohort.cases[::-1]).digest() == cohort.digest()


@st.composite
def linked_cohorts(draw: st.DrawFn) -> tuple[list[Case], LabelEncoding, list[tuple[str, str]], int]:
    """Patients of very unlike size, of one or two of up to three classes, and random duplicates."""
    classes, folds = draw(st.integers(2, 3)), draw(st.sampled_from([2, 3, 5]))
    patients = draw(
        st.lists(st.tuples(st.integers(0, classes - 1), st.sampled_from([1, 1, 2, 40])), min_size=2)
    )
    cases = [
        Case(f"{p}-{k}", f"p{p}", (), Label(((c + (k == 1)) % classes,)))
        for p, (c, n) in enumerate(patients)
        for k in range(n)
    ]
    ids = st.sampled_from([c.id for c in cases])
    links = draw(st.lists(st.tuples(ids, ids), max_size=30))
    return (
        cases,
        LabelEncoding("binary" if classes == 2 else "multiclass", tuple("abc"[:classes])),
        links,
        folds,
    )


@settings(max_examples=150, deadline=None)
@given(linked_cohorts(), st.integers(0, 3))
def test_no_fold_is_empty_and_every_class_stands_in_every_fold(
    drawn: tuple[list[Case], LabelEncoding, list[tuple[str, str]], int], seed: int
) -> None:
    """For any duplicates: a split with every class in every fold, or a refusal where there are too few."""
    cases, encoding, links, folds = drawn
    groups = Counter(
        k
        for unit in linked_units(cases, links)
        for k in {j for i in unit for j in cases[i].answer.positive}  # type: ignore[union-attr]
    )
    try:
        fold = assign_folds(cases, encoding, folds=folds, seed=seed, links=links)
    except BadInput as error:
        enough = all(groups[k] >= folds for k in range(len(encoding.classes)))
        assert not enough or "some hold several classes" in str(error)
        assert not (enough and encoding.kind == "binary")  # of two classes there always is a split
        return
    assert all(fold[a] == fold[b] for a, b in links)
    for k in range(len(encoding.classes)):
        assert {fold[c.id] for c in cases if c.answer and k in c.answer.positive} == set(range(folds))


def test_duplicates_that_leave_too_few_groups_are_counted() -> None:
    cases = [Case(f"c{n}", f"p{n}", (), Label((n % 2,))) for n in range(20)]
    links = [(f"c{n}", f"c{n + 2}") for n in (0, 2, 4, 6, 8, 10)]
    with pytest.raises(BadInput, match=r'fewer groups than the 5 folds \("a" 10 patients, 4 groups\)'):
        assign_folds(cases, TWO, folds=5, seed=0, links=links)


@pytest.mark.parametrize("seed", range(4))
def test_what_the_test_part_leaves_is_said_before_the_split(seed: int) -> None:
    rows = [(f"p{n}", "a") for n in range(40)] + [(f"q{n}", "b") for n in range(5)]
    with pytest.raises(BadInput, match=r'holding back 20% .* the 5 folds \("b" 5 patients, 4 left\)'):
        gather(_index(rows), Question(seed=seed))
    cohort = gather(_index([*rows, ("q5", "b")]), Question(seed=seed))
    assert cohort.class_counts(cohort.test)["b"] == 1


@pytest.mark.parametrize("seed", range(8))
def test_the_test_part_leaves_enough_whatever_the_size_of_patients(seed: int) -> None:
    """Of seven patients with 1 to 30 images each, the test part may be due three by images, not by folds."""
    rng = np.random.default_rng(seed)
    rows = [(f"{a}{p}", a) for a in "ab" for p in range(7) for _ in range(rng.choice([1, 1, 30]))]
    cohort = gather(_index(rows), Question(seed=seed, folds=5, test_fraction=0.4))
    assert all(cohort.class_counts(cohort.test).values())
    for f in range(5):
        assert all(
            cohort.class_counts(tuple(c for c in cohort.development if cohort.fold[c.id] == f)).values()
        )


def test_gaps_that_cannot_be_filled_are_refused() -> None:
    """Three groups that each hold two of three classes cannot be halved."""
    cases = [Case(f"{p}{k}", f"p{p}", (), Label(((p + k) % 3,))) for p in range(3) for k in (0, 1)]
    with pytest.raises(BadInput, match=r"3 groups .* missing in one of 2 parts"):
        assign_folds(cases, LabelEncoding("multiclass", ("a", "b", "c")), folds=2, seed=0)


def test_a_class_that_may_be_an_id_is_not_printed() -> None:
    cases = [Case(f"c{n}", f"p{n}", (), Label((n % 30,))) for n in range(32)]
    ids = LabelEncoding("multilabel", tuple(f"DOE-{n}" for n in range(30)))
    with pytest.raises(BadInput, match='"AAA-9" 2') as caught:
        assign_folds(cases, ids, folds=5, seed=0)
    assert "DOE" not in str(caught.value)
