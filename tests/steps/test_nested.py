"""Nested cross-validation: what scores a patient has seen nothing of them, and finished parts stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, TEST, Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.plan import Plan
from hounsfield.steps.nested import nested, nested_finding, outer_parts
from hounsfield.steps.prepare import Prepared
from hounsfield.steps.validation_design import with_design
from hounsfield.transforms.normalise import levels_of
from phantoms import pictures
from steps import jobs

BINARY = LabelEncoding("binary", ("a", "b"))
N = 48


def _plan(**more: Any) -> Plan:
    return jobs.plan({"validation.outer_folds": 3, "threads": 1, **more}, epochs=2, class_weights=False)


def _study(plan: Plan, *, turned: tuple[int, ...] = ()) -> tuple[Cohort, Prepared]:
    """Two images of each of 24 patients; `turned` are cases whose answer is turned over."""
    answers = [k // 2 % 2 for k in range(N)]
    images = pictures(answers, side=12)[:, None, None]
    levels = np.array([levels_of(x, plan.input, bits=8) for x in images], np.float32)
    cases = tuple(
        Case(
            f"c{k}", f"p{k // 2}", (Series(f"c{k}", (f"c{k}",), "raster", (1, 12, 12)),),
            Label((1 - answers[k] if k in turned else answers[k],)), {"site": "AB"[k // 4 % 2]},
        )
        for k in range(N)
    )  # fmt: skip
    cohort = Cohort(cases, BINARY, {c.id: DEVELOPMENT for c in cases}, {c.id: 0 for c in cases})
    return cohort, Prepared(tuple(c.id for c in cases), images, levels)


def test_parts_hold_every_patient_once_and_inner_folds_only_the_others() -> None:
    cohort, _ = _study(_plan())
    parts = outer_parts(cohort, _plan(), links=[("c0", "c10")])
    assert sorted(c.id for p in parts for c in p.left_out) == sorted(c.id for c in cohort.cases)
    for part in parts:
        left, inside = {c.patient for c in part.left_out}, {c.patient for c in part.inner.cases}
        assert not left & inside and len(left | inside) == N // 2
        assert set(part.inner.fold.values()) == {0, 1}
        assert ("p0" in left) == ("p5" in left)  # linked as duplicates


def test_too_few_patients_for_all_parts_are_refused() -> None:
    cohort, _ = _study(_plan())
    with pytest.raises(BadInput, match="nested cross-validation in 13 parts"):
        outer_parts(cohort, _plan(**{"validation.outer_folds": 13}))


def test_a_test_part_beside_nested_validation_is_refused() -> None:
    cohort, _ = _study(_plan())
    part = {c.id: TEST if c.patient == "p0" else DEVELOPMENT for c in cohort.cases}
    held = replace(cohort, part=part, fold={c.id: 0 for c in cohort.cases if part[c.id] == DEVELOPMENT})
    with pytest.raises(BadInput, match="but a test part is there"):
        with_design(_plan(), held)


def test_a_patients_scores_and_calls_do_not_hang_on_their_own_answers(tmp_path: Path) -> None:
    plan = _plan(**{"validation.threshold_rule": "youden"})
    cohort, prepared = _study(plan)
    parts = outer_parts(cohort, plan)
    first, called = nested(cohort, parts, plan, prepared, tmp_path / "one" / "work")
    assert first.ids == tuple(c.id for c in cohort.development) and first.kind == "cross-validation"
    own = tuple(int(c.id[1:]) for c in parts[0].left_out)
    other, _ = _study(plan, turned=own)
    wrong = {c.id: c for c in other.cases}
    turned = tuple(
        replace(p, left_out=tuple(wrong[c.id] for c in p.left_out), inner=_relabelled(p.inner, wrong))
        for p in parts
    )
    second, again = nested(other, turned, plan, prepared, tmp_path / "two" / "work")
    rows = np.array(own)
    assert np.array_equal(first.scores[rows], second.scores[rows])
    assert np.array_equal(called[rows], again[rows])
    assert not np.array_equal(first.scores, second.scores)


def _relabelled(inner: Cohort, wrong: dict[str, Case]) -> Cohort:
    return replace(inner, cases=tuple(wrong[c.id] for c in inner.cases))


def test_finished_parts_are_not_trained_again(tmp_path: Path) -> None:
    plan = _plan()
    cohort, prepared = _study(plan)
    parts = outer_parts(cohort, plan)
    heard: list[int] = []

    def stop_in_the_second(k: int) -> Any:
        def hear(facts: dict[str, Any]) -> None:
            heard.append(k)
            if k == 1:
                raise KeyboardInterrupt

        return hear

    with pytest.raises(KeyboardInterrupt):
        nested(cohort, parts, plan, prepared, tmp_path / "work", progress=stop_in_the_second)
    weights = sorted((tmp_path / "work" / "outer-0").glob("member-*/weights.safetensors"))
    before = [(p.read_bytes(), p.stat().st_mtime_ns) for p in weights]
    whole, _ = nested(cohort, parts, plan, prepared, tmp_path / "work")
    assert [(p.read_bytes(), p.stat().st_mtime_ns) for p in weights] == before and len(before) == 2
    alone, _ = nested(cohort, parts, plan, prepared, tmp_path / "again" / "work")
    assert np.array_equal(whole.scores, alone.scores)


def test_what_was_chosen_outside_is_said() -> None:
    cohort, _ = _study(_plan())
    parts = outer_parts(cohort, _plan())
    plain = nested_finding(parts, _plan(), searched=False, pretrained=False)
    assert (plain.level, plain.n, plain.n_patients) == ("info", N, N // 2)
    told = nested_finding(parts, _plan(), searched=True, pretrained=True)
    assert "the search for the plan and the choice of the pretrained weights saw fold 0" in told.note
