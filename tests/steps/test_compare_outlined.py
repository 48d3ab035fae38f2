"""Two segmentations of the same cases: each row is the paired number of its structure; else a refusal."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from hounsfield.core.errors import BadInput, GateRefused
from hounsfield.metrics.segmentation import SegmentedCase
from hounsfield.steps.compare import compare, refuse_worse, require_same_cases
from hounsfield.steps.segmentation.table import Segmented
from hounsfield.steps.segmentation.write import write_compared
from phantoms import hu
from steps.outlined import outlined


def _run(folder: Path, table: Segmented, **context: Any) -> Path:
    (folder / "private").mkdir(parents=True)
    write_compared(table, folder / "predictions.csv")
    facts = {
        "task": "segmentation", "structures": list(table.structures), "evaluated_on": table.kind,
        "tolerance": f"{table.tolerance:g} mm", "evaluated_digest": "d", **context,
    }  # fmt: skip
    (folder / "evidence.json").write_text(json.dumps({"title": "t", "context": facts}))
    with (folder / "private" / "cases.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["case", "patient", "files", "part", "fold"])
        rows.writerows((c, p, "x", "test", "") for c, p in zip(table.ids, table.patients, strict=True))
    return folder


def _worse(table: Segmented, by: float, *, seed: int = 1) -> Segmented:
    """The same cases, outlined a little worse in every case where the structure is."""
    rng = np.random.default_rng(seed)

    def made(case: SegmentedCase | None) -> SegmentedCase | None:
        if case is None or not case.overlap.reference_ml or case.overlap.dice is None:
            return case
        dice = float(np.clip(case.overlap.dice - by + rng.normal(0, 0.01), 0, 1))
        return replace(case, overlap=replace(case.overlap, dice=dice))

    return replace(table, cases={s: tuple(made(c) for c in held) for s, held in table.cases.items()})


def _row(found: Any, metric: str, label: str = "") -> dict[str, Any]:
    return next(r for r in found.rows if (r["metric"], r["label"], r["group"]) == (metric, label, ""))


def test_rows_are_the_paired_differences_of_each_structure_and_their_mean(tmp_path: Path) -> None:
    table = outlined(40)
    poor = _worse(table, 0.03)
    found = compare(_run(tmp_path / "a", table), _run(tmp_path / "b", poor))
    gaps = {}
    for s in table.structures:
        one, two = (np.array([c.overlap.dice for c in t.cases[s]], float) for t in (table, poor))
        known = stats.ttest_rel(one, two)
        row = _row(found, "dice", s)
        assert row["difference"]["value"] == pytest.approx((one - two).mean(), abs=1e-5)
        assert row["p"] == pytest.approx(known.pvalue, rel=1e-2) and row["p_adjusted"] >= row["p"]
        gaps[s] = (one - two).mean()
    mean = _row(found, "dice")
    assert mean["difference"]["value"] == pytest.approx(np.mean(list(gaps.values())), abs=1e-5)
    assert mean["difference"]["n"] == 40 == found.n and mean["difference"]["low"] > 0
    assert mean["after"] - mean["before"] == pytest.approx(mean["difference"]["value"])
    assert _row(found, "hd95")["difference"]["value"] == 0 and not found.notes


def test_cases_of_one_patient_are_one_cluster(tmp_path: Path) -> None:
    table = outlined(12, images=3)
    found = compare(_run(tmp_path / "a", table), _run(tmp_path / "b", _worse(table, 0.03)))
    row = _row(found, "dice")["difference"]
    assert (row["n"], row["n_patients"], found.n_patients) == (36, 12, 12)


def test_what_is_not_there_has_a_row_of_its_own(tmp_path: Path) -> None:
    table = outlined(60, absent=0.4)
    found = compare(_run(tmp_path / "a", table), _run(tmp_path / "b", _worse(table, 0.02)))
    gone = sum(not c.overlap.reference_ml for c in table.cases["posterior"])
    assert _row(found, "absent_left_alone", "posterior")["difference"]["n"] == gone > 10
    assert _row(found, "dice", "posterior")["difference"]["n"] == 60 - gone


def test_the_gate_asks_for_dice(tmp_path: Path) -> None:
    table = outlined(40)
    after, before = _run(tmp_path / "a", _worse(table, 0.03)), _run(tmp_path / "b", table)
    found = compare(after, before)
    refuse_worse(found, 0.1)
    with pytest.raises(GateRefused, match="dice"):
        refuse_worse(found, 0.02)
    assert hu("compare", after, before, "--not-worse", "0.02").code == 4
    assert hu("compare", after, before, "--not-worse", "0.1", "--json").code == 0


def test_a_single_structure_has_no_label(tmp_path: Path) -> None:
    table = outlined(20, structures=("vessel",))
    found = compare(_run(tmp_path / "a", table), _run(tmp_path / "b", table))
    assert {r["label"] for r in found.rows} == {""} and _row(found, "dice")["difference"]["value"] == 0


def test_what_is_not_the_same_is_refused_by_how_much(tmp_path: Path) -> None:
    table = outlined(20)
    one = _run(tmp_path / "one", table)
    with pytest.raises(BadInput, match="38 structures of cases are in both, 2 only in one"):
        compare(one, _run(tmp_path / "fewer", table.take(np.arange(19))))
    with pytest.raises(BadInput, match="40 of 40 outlines of the reader"):
        compare(one, _run(tmp_path / "drawn", replace(outlined(20, seed=4), patients=table.patients)))
    with pytest.raises(BadInput, match="other patients"):
        compare(one, _run(tmp_path / "owners", replace(table, patients=("p",) * 20)))
    with pytest.raises(BadInput, match="2 and 1, of which 0"):
        compare(one, _run(tmp_path / "named", outlined(20, structures=("vessel",))))
    far = _run(tmp_path / "tolerance", replace(table, tolerance=2.0))
    assert not [r for r in compare(one, far).rows if r["metric"] == "nsd"]
    (far / "private" / "cases.csv").unlink()
    with pytest.raises(BadInput, match="no private folder"):
        compare(one, far)


def test_runs_of_other_tasks_are_refused_in_a_sentence(tmp_path: Path) -> None:
    table = outlined(20)
    one = _run(tmp_path / "one", table)
    other = _run(tmp_path / "other", table, task="classification")
    with pytest.raises(BadInput, match="one is a run of segmentation and other one of classification"):
        compare(one, other)
    with pytest.raises(BadInput, match="expected one of classification"):
        require_same_cases(one, None)  # type: ignore[arg-type]
    (one / "predictions.csv").write_text("case,structure\n")
    with pytest.raises(BadInput, match="not what hounsfield wrote"):
        compare(one, one)
