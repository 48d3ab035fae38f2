"""Two detections of the same cases: paired differences of CPM and sensitivity; else a refusal."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.core.errors import BadInput, GateRefused
from hounsfield.metrics.detection_matching import Marks
from hounsfield.metrics.froc import CPM_RATES, froc_curve, froc_report
from hounsfield.metrics.paired_froc import froc_differences
from hounsfield.steps.compare import compare, refuse_worse
from hounsfield.steps.detection.matched import matched
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.detection.write import write_found
from hounsfield.steps.kept_objects import kept_objects
from phantoms import hu
from steps.marked_cases import detected


def _run(folder: Path, table: Detected, **context: Any) -> Path:
    (folder / "private").mkdir(parents=True)
    write_found(table, folder / "predictions.csv")
    facts = {
        "task": "detection", "classes": list(table.classes), "evaluated_on": table.kind, "match": table.match,
        "match_iou": table.match_iou, "evaluated_digest": "d", **context,
    }  # fmt: skip
    (folder / "evidence.json").write_text(json.dumps({"title": "t", "context": facts}))
    with (folder / "private" / "cases.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["case", "patient", "files", "part", "fold"])
        rows.writerow(["learned-from", "x", "x", "development", "0"])
        rows.writerows((c, p, "x", "test", "") for c, p in zip(table.ids, table.patients, strict=True))
    return folder


def _without(table: Detected, share: float, *, seed: int = 3) -> Detected:
    """The same cases, with a share of the candidates not found."""
    keep = np.random.default_rng(seed).random(len(table.candidates)) >= share
    held = table.candidates
    fewer = replace(
        held, image=held.image[keep], score=held.score[keep], excluded=held.excluded[keep],
        **({"centre_mm": held.centre_mm[keep], "diameter_mm": held.diameter_mm[keep]}
           if hasattr(held, "centre_mm") else {"corners": held.corners[keep], "label": held.label[keep]}),
    )  # fmt: skip
    return replace(
        table, candidates=fewer, candidate_class=table.candidate_class[keep],
        candidate_mm=table.candidate_mm[keep],
    )  # fmt: skip


@pytest.mark.parametrize("boxes", [False, True])
def test_the_table_of_a_run_is_read_back_as_it_was(tmp_path: Path, boxes: bool) -> None:
    table = detected(30, classes=("a", "b"), boxes=boxes, match="overlap" if boxes else "centre")
    kept = kept_objects(_run(tmp_path / "run", table)).table
    assert (kept.ids, kept.patients, kept.classes, kept.match) == (
        table.ids, table.patients, table.classes, table.match,
    )  # fmt: skip
    one, other = matched(table).marks, matched(kept).marks
    assert np.array_equal(one.lesion_image, other.lesion_image)
    assert np.allclose(one.lesion_score, other.lesion_score, atol=1e-5)
    assert np.array_equal(one.false_image, other.false_image)


def test_images_without_an_object_count_and_folds_that_nobody_scored_do_not(tmp_path: Path) -> None:
    table = replace(detected(24, lesions=0.4), kind="cross-validation")
    run = _run(tmp_path / "run", table, members=2)
    with (run / "private" / "cases.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["case", "patient", "files", "part", "fold"])
        rows.writerows(
            (c, p, "x", "development", n % 2)
            for n, (c, p) in enumerate(zip(table.ids, table.patients, strict=True))
        )
        rows.writerow(["never-scored", "p99", "x", "development", 2])
    kept = kept_objects(run).table
    named = set(table.candidates.image.tolist()) | set(table.lesions.image.tolist())
    assert kept.ids == table.ids and len(named) < len(kept)


def test_rows_are_the_differences_of_both_curves(tmp_path: Path) -> None:
    table = detected(80, images=2)
    poor = _without(table, 0.3)
    found = compare(_run(tmp_path / "a", table), _run(tmp_path / "b", poor))
    assert found.n == 160 and found.n_patients == 80
    curves = [froc_curve(matched(t).marks, images=160).at(CPM_RATES) for t in (table, poor)]
    cpm = next(r for r in found.rows if r["metric"] == "froc_cpm")
    assert cpm["after"] == pytest.approx(curves[0].mean(), abs=1e-4)
    assert cpm["before"] == pytest.approx(curves[1].mean(), abs=1e-4)
    gap = cpm["difference"]
    assert gap["value"] == pytest.approx(curves[0].mean() - curves[1].mean(), abs=1e-4)
    assert gap["low"] > 0 and cpm["p_adjusted"] < 0.05 and gap["n_patients"] <= 80
    at_one = next(r for r in found.rows if r["label"] == "1 FP an image")
    assert at_one["difference"]["value"] == pytest.approx(curves[0][3] - curves[1][3], abs=1e-4)
    refuse_worse(found, 0.02)
    with pytest.raises(GateRefused, match="froc_cpm"):
        refuse_worse(compare(tmp_path / "b", tmp_path / "a"), 0.02)


def test_pairing_makes_the_interval_narrower_than_two_alone() -> None:
    table = detected(60)
    one, other = matched(table).marks, matched(_without(table, 0.15)).marks
    (paired, *_), *_ = froc_differences(one, other, images=60)
    alone = [froc_report(m, images=60)[0] for m in (one, other)]
    widths = [row.high - row.low for row in alone]
    gap = paired.difference
    assert gap.low is not None and gap.high is not None
    assert gap.high - gap.low < 0.8 * np.hypot(*widths)


def test_a_run_beside_itself_differs_by_nothing(tmp_path: Path) -> None:
    run = _run(tmp_path / "a", detected(40))
    rows = compare(run, run).rows
    told = [r["difference"] for r in rows if r["difference"]["value"] is not None]
    assert told and all((t["value"], t["low"], t["high"]) == (0, 0, 0) for t in told)


def test_the_interval_covers_no_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = []
    for study in range(150):
        table = detected(40, seed=study)
        marks = matched(table).marks
        swapped = marks.lesion_score.copy()
        other = Marks(swapped, marks.lesion_image, marks.false_score, marks.false_image, marks.kind)
        lost = [rng.random(len(swapped)) < 0.2 for _ in range(2)]
        pair = [
            replace(m, lesion_score=np.where(gone, -np.inf, m.lesion_score))
            for m, gone in zip((marks, other), lost, strict=True)
        ]
        (gap, *_), *_ = froc_differences(*pair, images=40, resamples=300, seed=study)
        assert gap.difference.low is not None and gap.difference.high is not None
        covered.append(gap.difference.low <= 0 <= gap.difference.high)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_runs_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    table = detected(30)
    one = _run(tmp_path / "one", table)
    refusals = {
        "other places": detected(30, seed=9),
        "not measured on the same cases": detected(20),
        "look for different things": replace(table, classes=("mass",)),
        "expected one rule": replace(table, match="overlap"),
        "other patients": replace(table, patients=("p0", "p0", *table.patients[2:])),
    }
    for said, other in refusals.items():
        with pytest.raises(BadInput, match=said):
            compare(one, _run(tmp_path / said.split()[-1] / said, other))
    (one / "predictions.csv").write_text("case,kind\n1,candidate\n")
    with pytest.raises(BadInput, match="evaluate it again"):
        compare(one, one)
    (one / "private" / "cases.csv").unlink()
    with pytest.raises(BadInput, match="private folder"):
        compare(one, one)


def test_the_command_prints_the_differences_and_closes_the_gate(tmp_path: Path) -> None:
    table = detected(60)
    a, b = _run(tmp_path / "a", table), _run(tmp_path / "b", _without(table, 0.4))
    told = hu("compare", str(a), str(b), "--json")
    assert told.code == 0 and {r["metric"] for r in json.loads(told.out)["rows"]} == {
        "froc_cpm", "froc_sensitivity",
    }  # fmt: skip
    assert hu("compare", str(b), str(a), "--not-worse", "0.02").code == 4
