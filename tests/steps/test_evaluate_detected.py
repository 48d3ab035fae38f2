"""Found objects are counted as LUNA16 and COCO count them; groups and sizes are read at one threshold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from hounsfield.metrics.detection_matching import Marks, match_by_centre
from hounsfield.metrics.detection_objects import Boxes, Spheres
from hounsfield.metrics.froc import CPM_RATES, froc_curve
from hounsfield.steps.canonical import plain
from hounsfield.steps.chapters.trust import kept_gallery
from hounsfield.steps.detection.evaluate import evaluate_detected
from hounsfield.steps.detection.matched import marks_among, matched, score_for
from hounsfield.steps.detection.pictures import Shown, chosen_objects, detection_pictures
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.page import page_of
from hounsfield.steps.standards import account
from steps.marked_cases import detected
from steps.outlined import setting


def _found(evidence, name, label=""):
    return next(f for f in evidence.metrics if (f.name, f.label, f.group) == (name, label, ""))


def test_the_curve_is_that_of_luna16_where_there_is_one_class() -> None:
    table = detected(50)
    evidence = evaluate_detected(table, setting())
    marks = match_by_centre(table.candidates, table.lesions)
    at = froc_curve(marks, images=50).at(CPM_RATES)
    assert _found(evidence, "froc_cpm").value == pytest.approx(at.mean())
    assert _found(evidence, "froc_sensitivity", "1/8 FP an image").value == pytest.approx(at[0])
    curve = evidence.curves["froc"]["nodule"]
    assert [curve["sensitivity"][curve["fps"].index(r)] for r in CPM_RATES] == pytest.approx(at, abs=1e-4)
    assert all(
        a <= b <= c for a, b, c in zip(curve["low"], curve["sensitivity"], curve["high"], strict=True) if a
    )


def test_a_mark_of_another_class_finds_nothing() -> None:
    table = detected(40, classes=("nodule", "mass"))
    right = matched(table)
    turned = matched(replace(table, candidate_class=1 - table.candidate_class))
    assert (right.partner >= 0).sum() > 30 and (turned.partner >= 0).sum() == 0
    assert len(turned.false) == len(table.candidates)


@pytest.mark.parametrize(
    ("boxes", "match"), [(False, "centre"), (True, "overlap"), (True, "centre"), (False, "overlap")]
)
def test_the_partner_of_a_lesion_is_the_mark_whose_score_counts(boxes: bool, match: str) -> None:
    table = detected(40, classes=("nodule", "mass"), boxes=boxes, match=match, seed=3)
    found = matched(table)
    hit = found.partner >= 0
    assert np.array_equal(found.marks.lesion_score > -np.inf, hit) and hit.sum() > 20
    assert np.array_equal(table.candidates.score[found.partner[hit]], found.marks.lesion_score[hit])
    assert np.array_equal(table.lesions.image[found.lesions], found.marks.lesion_image)
    assert np.array_equal(table.candidates.image[found.partner[hit]], found.marks.lesion_image[hit])


def test_excluded_findings_count_neither_way() -> None:
    table = detected(30)
    lesions = replace(table.lesions, excluded=np.arange(len(table.lesions)) % 2 == 0)
    evidence = evaluate_detected(replace(table, lesions=lesions), setting())
    assert _found(evidence, "froc_cpm").n == (~lesions.excluded).sum()
    assert any(row["rule"] == "left out" for row in evidence.tables["measuring_rules"])
    assert len(matched(replace(table, lesions=lesions)).false) == len(matched(table).false)


@pytest.mark.parametrize("rate", [0.125, 0.5, 1.0, 3.0, 50.0])
def test_the_score_for_a_rate_is_the_lowest_that_keeps_it(rate: float) -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 12, 70) / 12  # many are equal
    lesion = np.where(rng.random(30) < 0.6, scores[40:], -np.inf)
    marks = Marks(lesion, rng.integers(0, 16, 30), scores[:40], rng.integers(0, 16, 40), np.zeros(0, np.int8))
    score = score_for(marks, images=16, rate=rate)
    curve = froc_curve(marks, images=16)
    at = int(np.flatnonzero(curve.false_positives <= rate + 1e-12)[-1])
    assert score == curve.threshold[at] and (marks.false_score >= score).sum() <= rate * 16


def test_one_threshold_holds_for_sizes_and_groups() -> None:
    table = detected(60, drop=0.3)
    found, evidence = matched(table), evaluate_detected(table, setting())
    score = score_for(found.marks, images=60, rate=1.0)
    hits = found.marks.lesion_score >= score
    whole = _found(evidence, "lesion_sensitivity")
    bands = [f for f in evidence.metrics if f.name == "lesion_sensitivity" and f.label]
    assert whole.value == pytest.approx(hits.mean()) and sum(f.n for f in bands) == len(hits)
    assert bands[0].value < bands[-1].value
    at_b = np.array(table.groups["site"])[found.marks.lesion_image] == "B"
    told = next(f for f in evidence.subgroups if (f.name, f.group) == ("lesion_sensitivity", "site=B"))
    assert told.value == pytest.approx(hits[at_b].mean()) and told.n == at_b.sum()
    gap = next(f for f in evidence.subgroups if (f.name, f.group) == ("under_diagnosis_gap", "site=B"))
    assert gap.value == pytest.approx(hits[~at_b].mean() - hits[at_b].mean())


def test_the_cpm_of_a_group_is_that_of_its_cases_alone() -> None:
    table = detected(60, images=2)
    rows = np.flatnonzero(np.array(table.groups["site"]) == "A")
    alone = froc_curve(marks_among(matched(table).marks, rows), images=len(rows)).at(CPM_RATES).mean()
    evidence = evaluate_detected(table, setting())
    told = next(f for f in evidence.subgroups if (f.name, f.group) == ("froc_cpm", "site=A"))
    assert told.value == pytest.approx(alone)


def test_a_site_where_more_is_missed_alarms_and_others_do_not() -> None:
    quiet = evaluate_detected(detected(80), setting())
    assert not [f for f in (*quiet.subgroups, *quiet.metrics, *quiet.audit) if f.level != "info"]
    loud = evaluate_detected(detected(90, drop=0.4), setting())
    alarms = [f.label for f in loud.subgroups if f.level == "warning"]
    assert "share of lesions found by site" in alarms and not any(a.endswith("by sex") for a in alarms)


def test_average_precision_is_cocos_and_has_an_interval_at_a_low_overlap_too() -> None:
    from hounsfield.metrics.detection_precision import average_precisions
    from hounsfield.steps.detection.matched import boxes_of

    table = detected(50, classes=("nodule", "mass"), boxes=True, match="overlap")
    evidence = evaluate_detected(table, setting())
    each = average_precisions(boxes_of(table, 0), boxes_of(table, 1), thresholds=(0.1, 0.5))
    for name, column in (("ap10", 0), ("ap50", 1)):
        f = _found(evidence, name)
        assert f.value == pytest.approx(each[:, column].mean()) and f.low < f.value < f.high
        assert _found(evidence, name, "mass").value == pytest.approx(each[1, column])
    assert {"map", "ap75"} <= {f.name for f in evidence.metrics}
    assert not {"map", "ap75"} & {f.name for f in evaluate_detected(detected(30), setting()).metrics}


def test_the_interval_at_a_low_overlap_agrees_with_that_of_coco() -> None:
    from hounsfield.steps.detection.measures import precision_findings

    table = detected(80, boxes=True, match="overlap")
    shrunk = replace(
        table, candidates=table.lesions, candidate_class=table.lesion_class, candidate_mm=table.lesion_mm
    )
    rng = np.random.default_rng(0)  # marks are right by more than half or not at all: both overlaps agree
    kept = rng.random(len(table.lesions)) < 0.7
    boxes = Boxes(
        *(getattr(shrunk.candidates, k)[kept] for k in ("corners", "image", "score", "excluded", "label"))
    )
    made = replace(
        shrunk, candidates=boxes, candidate_class=table.lesion_class[kept], candidate_mm=table.lesion_mm[kept]
    )
    found = {f.name: f for f in precision_findings(made, seed=0)}
    low, half = found["ap10"], found["ap50"]
    assert low.value == pytest.approx(half.value)
    assert (low.high - low.low) == pytest.approx(half.high - half.low, rel=0.15)


def test_diameters_are_compared_over_lesions_that_are_found() -> None:
    evidence = evaluate_detected(detected(80), setting())
    bias = _found(evidence, "diameter_error")
    assert bias.low < 1.0 < bias.high  # made 1 mm too large, with a spread of 1 mm
    assert _found(evidence, "diameter_limit", "upper").value == pytest.approx(1 + 1.96, abs=0.4)
    curve = evidence.curves["diameter_agreement"]["nodule"]
    assert curve["bias"] == pytest.approx(bias.value) and curve["n"] == bias.n


def test_what_was_missed_and_what_was_wrong_is_listed_without_identity() -> None:
    table = detected(60)
    evidence = evaluate_detected(table, setting())
    missed, wrong = evidence.tables["missed_lesions"], evidence.tables["false_positives"]
    sizes = [row["diameter (mm)"] for row in missed]
    assert sizes == sorted(sizes, reverse=True)
    assert [r["score"] for r in wrong] == sorted((r["score"] for r in wrong), reverse=True)
    assert not {"p1", "p2"} & set(json.dumps([missed, wrong]).replace('"', " ").split())


def test_no_lesion_at_all_is_said_and_not_an_error() -> None:
    evidence = evaluate_detected(detected(40, lesions=0.0), setting())
    assert _found(evidence, "froc_cpm").value is None and "froc" not in evidence.curves
    assert _found(evidence, "false_positives_per_image").value > 0
    nothing = Spheres.of(np.zeros((0, 3)), np.zeros(0), image=np.zeros(0, int))
    empty = np.zeros(0, np.int64)
    bare = Detected(
        ("nodule",),
        ("a", "b"),
        ("p", "q"),
        nothing,
        nothing,
        empty,
        empty,
        empty.astype(float),
        empty.astype(float),
    )
    page_of(plain(evaluate_detected(bare, setting())), kept_gallery(()))


def _glossary() -> set[str]:
    text = files("hounsfield.steps").joinpath("templates", "glossary.json").read_text("utf-8")
    return {key for key, term in json.loads(text).items() if "detection" in term.get("tasks", ["detection"])}


def _section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}"')[1].split("</section>")[0]


def _text(piece: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", piece).split())


def test_the_page_speaks_of_found_objects_and_of_no_classes_of_images() -> None:
    table = detected(90, classes=("nodule", "mass"), boxes=True, match="overlap", drop=0.4)
    evidence = evaluate_detected(table, setting())
    assert {f.name for f in (*evidence.audit, *evidence.metrics, *evidence.subgroups)} <= _glossary()
    page = page_of(plain(evidence), kept_gallery(())).html
    text = _text(page).replace("Confusion matrix, accuracy", "").replace("28 AUROC, average", "")
    for word in ("AUROC", "ROC curve", "Confusion matrix", "calibration of the prob", "None"):
        assert word not in text.replace("FROC curve", ""), word
    summary, performance = _text(_section(page, "summary")), _section(page, "performance")
    assert "marks each nodule, mass in an image" in summary and "CPM" in summary
    assert re.search(r"Of 100 lesions, \d+ would be found", summary)
    assert "Not measured" not in performance and performance.count('<svg class="plot"') == 2
    assert "Missed" in _section(page, "failures") and "Strongest false positives" in _section(
        page, "failures"
    )
    rows = {row.number: row for row in account(plain(evidence)).rows}
    assert (
        rows[27].state == "does not apply" and rows[29].tool == rows[32].tool == rows[45].tool == "answered"
    )


@pytest.mark.parametrize("boxes", [False, True])
def test_pictures_show_missed_wrong_and_found_with_the_marks_of_the_slice(boxes: bool) -> None:
    table = detected(40, boxes=boxes, drop=0.2)
    chosen = chosen_objects(table, each=(2, 2, 2))
    assert [c.kind for c in chosen] == ["missed"] * 2 + ["false_positive"] * 2 + ["found"] * 2
    image = np.random.default_rng(0).normal(size=(1, 80, 200, 200)).astype(np.float32)
    shown = [Shown(c, image, (2.5, 1.0, 1.0)) for c in chosen]
    reader, model = (86, 180, 233), (230, 159, 0)
    for one, picture in zip(chosen, detection_pictures(shown), strict=True):
        assert picture.kind == one.kind and picture.outcome == ("right" if one.kind == "found" else "wrong")
        assert len(picture.panels) == 3 and picture.case == one.id
        drawn = picture.panels[2][1]
        here = [(drawn == colour).all(axis=2).any() for colour in (reader, model)]
        assert here[0] == (one.kind != "false_positive") or here[0]
        assert here[1] or one.kind == "missed"


def test_pictures_of_planes_have_one_slice() -> None:
    centre = np.array([[30.0, 50.0]])
    one = np.zeros(1, np.int64)
    table = Detected(
        ("mass",), ("a",), ("p",), Boxes.of([[26, 46, 34, 54]], image=[0], score=[0.9]),
        Boxes.of([[25, 45, 35, 55]], image=[0]), one, one, np.array([8.0]), np.array([10.0]),
        "overlap", 0.5, "pixel",
    )  # fmt: skip
    (found,) = chosen_objects(table)
    (picture,) = detection_pictures([Shown(found, np.zeros((3, 1, 60, 100), np.uint8), (1.0, 1.0, 1.0))])
    assert (
        found.kind == "found" and found.mark.centre == (0.0, *centre[0]) and picture.panels[0][0] == "image"
    )
    assert (picture.panels[2][1] == (86, 180, 233)).all(axis=2).any()
