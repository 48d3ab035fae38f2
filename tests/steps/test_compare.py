"""Two runs on the same cases: paired numbers as the metrics give them; anything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import TEST, Cohort
from hounsfield.core.errors import BadInput, GateRefused
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.paired import auroc_difference, rate_difference
from hounsfield.steps.compare import (
    before_and_after,
    compare,
    refuse_worse,
    require_same_cases,
    write_comparison,
)
from hounsfield.steps.kept_predictions import kept_predictions
from hounsfield.steps.predict import write_predictions
from hounsfield.tasks.classification import predicted_classes
from phantoms import hu

BINARY = LabelEncoding("binary", ("0", "1"), ("nodule",))
N = 120


def _predictions(seed: int, *, skill: float, encoding: LabelEncoding = BINARY) -> Predictions:
    """Scores of 120 cases of 60 patients that rise with the answer; the answers are those of every seed."""
    rng, same = np.random.default_rng(seed), np.random.default_rng(0)
    if encoding.kind == "multilabel":
        answers = same.integers(0, 2, (N, len(encoding.classes)))
        logits = skill * (2 * answers - 1) + rng.normal(0, 1, answers.shape)
        scores = 1 / (1 + np.exp(-logits))
    elif encoding.kind == "multiclass":
        answers = same.integers(0, len(encoding.classes), N)
        logits = skill * np.eye(len(encoding.classes))[answers] + rng.normal(0, 1, (N, len(encoding.classes)))
        scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    else:
        answers = same.integers(0, 2, N)
        scores = (1 / (1 + np.exp(-skill * (2 * answers - 1) + rng.normal(0, 1, N))))[:, None]
    return Predictions(
        encoding,
        tuple(f"c{k}" for k in range(N)),
        tuple(f"p{k // 2}" for k in range(N)),
        scores,
        answers,
        {"site": tuple("AB"[k // 2 % 2] for k in range(N)), "ward": ("",) * N},
        "test",
    )


def _run(folder: Path, made: Predictions, **context: Any) -> Path:
    folder.mkdir()
    write_predictions(made, folder / "predictions.csv", thresholds=(0.5,) * made.encoding.outputs)
    facts = {
        "kind": made.encoding.kind, "classes": made.encoding.classes, "target": made.encoding.target,
        "evaluated_on": made.kind, "evaluated_digest": "d", **context,
    }  # fmt: skip
    (folder / "evidence.json").write_text(json.dumps({"title": "t", "context": facts}))
    return folder


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    made = _predictions(1, skill=1)
    kept = kept_predictions(_run(tmp_path / "a", made))
    assert np.allclose(kept.predictions.scores, made.scores, atol=1e-6)
    assert kept.predictions.groups == made.groups and kept.predictions.ids == made.ids
    assert (kept.called == predicted_classes(made.scores, BINARY, (0.5,))).all()


def test_every_row_is_the_paired_number_of_its_group(tmp_path: Path) -> None:
    good, poor = _predictions(1, skill=1.5), _predictions(2, skill=0.5)
    found = compare(_run(tmp_path / "after", good), _run(tmp_path / "before", poor))
    assert (found.n, found.n_patients, found.notes) == (N, 60, ())
    assert {r["group"] for r in found.rows} == {"", "site=A", "site=B"}
    inside = np.array(good.groups["site"]) == "A"
    row = next(r for r in found.rows if r["group"] == "site=A" and r["metric"] == "auroc")
    patients = np.array(good.patients)[inside]
    one, other = (p.scores[inside, 0].round(6) for p in (good, poor))
    expected = auroc_difference(one, other, good.answers[inside], patients=patients)  # type: ignore[index]
    assert np.isclose(row["difference"]["value"], expected.difference.value)
    assert np.isclose(row["difference"]["low"], expected.difference.low)
    assert np.isclose(row["after"] - row["before"], row["difference"]["value"])
    rate = next(r for r in found.rows if r["group"] == "" and r["metric"] == "sensitivity")
    calls = [predicted_classes(p.scores.round(6), BINARY, (0.5,)) for p in (good, poor)]
    wanted = rate_difference(*calls, good.answers, rate="sensitivity", patients=good.patients)  # type: ignore[arg-type, misc]
    assert np.isclose(rate["difference"]["value"], wanted.difference.value)
    assert np.isclose(rate["p"], wanted.p_value)


def test_p_values_are_corrected_over_the_whole_table(tmp_path: Path) -> None:
    good, poor = _predictions(1, skill=1.5), _predictions(2, skill=0.5)
    rows = compare(_run(tmp_path / "after", good), _run(tmp_path / "before", poor)).rows
    told = [r for r in rows if r["p"] is not None]
    least = min(told, key=lambda r: r["p"])
    assert np.isclose(least["p_adjusted"], min(1, len(told) * least["p"]))
    assert all(r["p_adjusted"] >= r["p"] for r in told)


def test_a_changed_model_passes_the_gate_only_where_it_is_shown_to_be_no_worse(tmp_path: Path) -> None:
    good, poor = _predictions(1, skill=1.5), _predictions(2, skill=0.5)
    a, b = _run(tmp_path / "a", good), _run(tmp_path / "b", poor)
    refuse_worse(compare(a, b), 0.02)
    with pytest.raises(GateRefused, match="is not shown to be worse by less than"):
        refuse_worse(compare(b, a), 0.02)
    same = compare(a, a)
    with pytest.raises(GateRefused, match="95 % CI"):  # 60 patients do not show it for so small a margin
        refuse_worse(same, 0.0001)
    ended = hu("compare", b, a, "--not-worse", "0.02")
    assert ended.code == 4 and "keep the earlier" in ended.err
    assert hu("compare", a, b, "--not-worse", "0.02").code == 0


def test_a_run_beside_itself_differs_in_nothing(tmp_path: Path) -> None:
    made = _predictions(1, skill=1)
    rows = compare(_run(tmp_path / "a", made), _run(tmp_path / "b", made)).rows
    assert all(r["difference"]["value"] == 0 for r in rows)
    assert all(r["p_adjusted"] == 1 for r in rows if r["p_adjusted"] is not None)


@pytest.mark.parametrize(
    "encoding, metrics",
    [
        (LabelEncoding("multiclass", ("a", "b", "c")), {"accuracy", "auroc", "brier"}),
        (
            LabelEncoding("multilabel", ("a", "b")),
            {"accuracy", "auroc", "brier", "sensitivity", "specificity"},
        ),
    ],
)
def test_several_classes_are_compared_each_by_itself(
    tmp_path: Path, encoding: LabelEncoding, metrics: set[str]
) -> None:
    after, before = _predictions(1, skill=1.5, encoding=encoding), _predictions(2, skill=1, encoding=encoding)
    rows = compare(_run(tmp_path / "a", after), _run(tmp_path / "b", before)).rows
    assert {r["metric"] for r in rows} == metrics
    assert {r["label"] for r in rows if r["metric"] == "auroc"} == set(encoding.classes)


def test_the_order_of_the_cases_does_not_matter(tmp_path: Path) -> None:
    good, poor = _predictions(1, skill=1.5), _predictions(2, skill=0.5)
    turned = poor.take(np.arange(N)[::-1].astype(np.int64))
    first = compare(_run(tmp_path / "a", good), _run(tmp_path / "b", poor)).rows
    assert compare(tmp_path / "a", _run(tmp_path / "c", turned)).rows == first


def test_groups_that_are_too_small_have_no_numbers(tmp_path: Path) -> None:
    made = replace(_predictions(1, skill=1), groups={"site": tuple("AB"[k > 2] for k in range(N))})
    rows = compare(_run(tmp_path / "a", made), _run(tmp_path / "b", made)).rows
    small = [r for r in rows if r["group"] == "site=A"]
    assert all(r["before"] is None and r["difference"]["note"] for r in small)


def test_what_is_not_the_same_is_refused_by_how_much(tmp_path: Path) -> None:
    made = _predictions(1, skill=1)
    after = _run(tmp_path / "after", made)
    fewer = _run(tmp_path / "fewer", made.take(np.arange(100)))
    with pytest.raises(BadInput, match="100 are in both, 20 only in after, 0 only in fewer"):
        compare(after, fewer)
    relabelled = np.where(np.arange(N) < 3, 1 - made.answers, made.answers)  # type: ignore[operator]
    with pytest.raises(BadInput, match="3 of 120 cases have another answer"):
        compare(after, _run(tmp_path / "labels", replace(made, answers=relabelled)))
    classes = LabelEncoding("binary", ("0", "2"), ("nodule",))
    with pytest.raises(BadInput, match="of which 1 bear the same name"):
        compare(after, _run(tmp_path / "classes", replace(made, encoding=classes)))
    alone = replace(made, patients=made.ids)
    with pytest.raises(BadInput, match=r"belong to other patients in alone \(120, not 60\)"):
        compare(after, _run(tmp_path / "alone", alone))
    with pytest.raises(BadInput, match='"none" holds no predictions'):
        compare(after, tmp_path / "none")


def test_other_pixels_in_the_same_places_are_refused(tmp_path: Path) -> None:
    made = _predictions(1, skill=1)
    for name, digest in (("a", "1"), ("b", "2")):
        (_run(tmp_path / name, made) / "private").mkdir()
        digests = np.array([digest] + ["x"] * (N - 1))
        np.savez(tmp_path / name / "private" / "fingerprints.npz", ids=np.array(made.ids), digests=digests)
    with pytest.raises(BadInput, match="1 of 120 images are not the same in b"):
        compare(tmp_path / "a", tmp_path / "b")


def test_other_folds_are_noted(tmp_path: Path) -> None:
    made = _predictions(1, skill=1)
    other = _run(tmp_path / "b", made, evaluated_digest="e")
    assert "did not learn from the same parts" in compare(_run(tmp_path / "a", made), other).notes[0]


def test_a_broken_table_is_refused(tmp_path: Path) -> None:
    run = _run(tmp_path / "a", _predictions(1, skill=1))
    text = (run / "predictions.csv").read_text()
    (run / "predictions.csv").write_text(text.replace("0.", "O.", 1))
    with pytest.raises(BadInput, match="not what hounsfield wrote"):
        kept_predictions(run)
    lines = text.splitlines()
    (run / "predictions.csv").write_text("\n".join([*lines, lines[-1]]))
    with pytest.raises(BadInput, match="holds a case twice"):
        kept_predictions(run)


def test_a_run_is_held_to_its_cohort_before_it_learns(tmp_path: Path) -> None:
    before = _run(tmp_path / "before", _predictions(1, skill=1))
    cases = tuple(Case(f"c{k}", f"p{k // 2}", (), Label((0,))) for k in range(N))
    require_same_cases(before, Cohort(cases, BINARY, {c.id: TEST for c in cases}, {}))
    with pytest.raises(BadInput, match="20 only in before"):
        require_same_cases(before, Cohort(cases[:100], BINARY, {c.id: TEST for c in cases[:100]}, {}))


def test_rows_for_the_report_are_those_of_the_command(tmp_path: Path) -> None:
    good, poor = _predictions(1, skill=1.5), _predictions(2, skill=0.5)
    before = _run(tmp_path / "before", poor)
    rows = before_and_after(good, predicted_classes(good.scores, BINARY, (0.5,)), before)
    found = compare(_run(tmp_path / "after", good), before).rows
    assert [(r["group"], r["metric"]) for r in rows] == [(r["group"], r["metric"]) for r in found]
    for one, other in zip(rows, found, strict=True):
        assert one["difference"] == pytest.approx(other["difference"])
        assert one["p_adjusted"] == pytest.approx(other["p_adjusted"])


def test_the_command_prints_and_writes_what_it_found(tmp_path: Path) -> None:
    good, poor = _predictions(1, skill=1.5), _predictions(2, skill=0.5)
    after, before = _run(tmp_path / "after", good), _run(tmp_path / "before", poor)
    ended = hu("compare", after, before, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "site=A" in ended.out and "auroc" in ended.out
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["n"] == N and len(content["rows"]) == 15
    assert hu("compare", after, before, "--out", tmp_path / "out").code == 3
    assert json.loads(hu("compare", after, before, "--json").out)["n_patients"] == 60
    with pytest.raises(BadInput, match="already"):
        write_comparison(compare(after, before), tmp_path / "out")
