"""Results by group: who differs, by how much, and that nothing is claimed where nothing differs."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.predictions import Predictions
from hounsfield.steps.evaluate_groups import by_group, columns_of

BINARY = LabelEncoding("binary", ("0", "1"), ("malignant",))


def cohort(n: int, *, seed: int, drop: float = 0.0, images: int = 1) -> tuple[Predictions, np.ndarray]:
    """Scores that are as good in every group, but for a loss of separation at site B."""
    rng = np.random.default_rng(seed)
    answers = rng.integers(0, 2, n).repeat(images)
    site = rng.choice(["A", "B", "C"], n).repeat(images)
    sex = rng.choice(["F", "M"], n).repeat(images)
    age = rng.choice(["40-49", "50-59", "60-69"], n).repeat(images)
    shift = 1.2 * answers * (1 - drop * (site == "B"))
    scores = 1 / (1 + np.exp(-(rng.normal(0, 1, n * images) + 2 * shift - 1.2)))
    ids = tuple(map(str, range(n * images)))
    patients = tuple(str(k) for k in np.arange(n).repeat(images))
    groups = {"site": tuple(site), "sex": tuple(sex), "age band": tuple(age)}
    p = Predictions(BINARY, ids, patients, scores[:, None], answers, groups)
    return p, (scores >= 0.5).astype(np.int64)


def test_a_site_where_the_model_fails_is_named_with_its_numbers() -> None:
    p, called = cohort(900, seed=0, drop=0.8)
    found = by_group(p, called)
    alarms = [f for f in found.findings if f.level == "warning"]
    assert {"sensitivity by site", "auroc by site"} <= {f.label for f in alarms}
    assert all("in B" in f.note for f in alarms if f.label in ("sensitivity by site", "auroc by site"))
    gaps = {row["group"]: row for row in found.tables["diagnosis_gaps"]}
    more = gaps["site=B"]["under-diagnosis gap"]
    assert more["low"] > 0.1 and gaps["site=B"]["under-diagnosis p"] < 0.05
    assert gaps["sex=F"]["under-diagnosis p"] == 1.0
    missed = np.mean(called[(p.answers == 1) & (np.array(p.groups["site"]) == "B")] == 0)
    assert gaps["site=B"]["under-diagnosis"]["value"] == pytest.approx(missed)
    marked = {row["group"] for row in found.tables["subgroup_differences"] if row["p_adjusted"] < 0.05}
    assert "site=B" in marked and not marked & {"sex=F", "sex=M"}


def test_where_nothing_differs_alarms_are_as_rare_as_promised() -> None:
    alarms = 0
    for seed in range(30):
        p, called = cohort(240, seed=100 + seed, images=1 + seed % 2)
        found = by_group(p, called, seed=seed)
        alarms += any(f.level == "warning" for f in found.findings)
    assert alarms <= 3  # of 30; more has a chance below 1 % at 2.5 %


def test_pairs_of_groups_are_compared_and_named_by_both() -> None:
    p, called = cohort(600, seed=3)
    found = by_group(p, called)
    groups = {f.group for f in found.findings}
    assert "sex=F & site=A" in groups
    one = next(f for f in found.findings if f.group == "sex=F & site=A" and f.name == "sensitivity")
    rows = (np.array(p.groups["sex"]) == "F") & (np.array(p.groups["site"]) == "A") & (p.answers == 1)
    assert one.value == pytest.approx(called[rows].mean()) and one.n == rows.sum()


def test_calls_and_not_a_threshold_decide() -> None:
    p, called = cohort(300, seed=4)
    found = by_group(p, 1 - called)
    one = next(f for f in found.findings if f.group == "sex=F" and f.name == "sensitivity")
    rows = (np.array(p.groups["sex"]) == "F") & (p.answers == 1)
    assert one.value == pytest.approx(1 - called[rows].mean())


def test_columns_with_too_many_values_are_left_out_and_said() -> None:
    p, _ = cohort(200, seed=5)
    wide = Predictions(
        p.encoding,
        p.ids,
        p.patients,
        p.scores,
        p.answers,
        {**p.groups, "postcode": tuple(map(str, range(200)))},
    )
    columns, said = columns_of(wide)
    assert "postcode" not in columns and "postcode (200 values)" in said[0]
    assert "sex × site" in columns


def test_a_group_of_one_case_has_a_reason_and_no_number() -> None:
    p, called = cohort(120, seed=6)
    groups = {"site": ("Z", *p.groups["site"][1:])}
    small = Predictions(p.encoding, p.ids, p.patients, p.scores, p.answers, groups)
    rows = [f for f in by_group(small, called).findings if f.group == "site=Z" and f.name != "heterogeneity"]
    assert rows and all(f.value is None and f.note for f in rows)


def test_several_classes_are_measured_each_against_the_rest() -> None:
    rng = np.random.default_rng(1)
    names = ("a", "b", "c")
    answers = rng.integers(0, 3, 300)
    scores = rng.dirichlet((1, 1, 1), 300) * 0.5 + 0.5 * np.eye(3)[answers]
    ids = tuple(map(str, range(300)))
    groups = {"sex": tuple(rng.choice(["F", "M"], 300))}
    p = Predictions(LabelEncoding("multiclass", names), ids, ids, scores, answers, groups)
    called = scores.argmax(1)
    found = by_group(p, called)
    one = next(f for f in found.findings if (f.group, f.label, f.name) == ("sex=F", "b", "sensitivity"))
    rows = (np.array(groups["sex"]) == "F") & (answers == 1)
    assert one.value == pytest.approx((called[rows] == 1).mean())
