"""The chapters of applications: breasts and patients, grades and referable disease, images refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from hounsfield.applications.asked import as_application, named_application
from hounsfield.applications.mammography.breasts import breasts_of
from hounsfield.applications.mammography.clinical import PREVALENCE, screening
from hounsfield.applications.modality import accepts_only
from hounsfield.applications.retinopathy.clinical import grades_of, grading
from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.clinical import Clinical, Plot, PlotSeries
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.index import Index, Series
from hounsfield.core.predictions import Predictions
from hounsfield.steps.clinical import Asked, with_clinical
from hounsfield.steps.design import design
from hounsfield.steps.fingerprint import Fingerprint
from hounsfield.steps.gather import Question
from hounsfield.steps.report import report
from hounsfield.steps.study import Study


def exams(n: int, *, seed: int = 0, views: tuple[str, ...] = ("CC", "MLO")) -> tuple[Predictions, list[Case]]:
    """Both breasts of n women; a third of the women have a cancer in one; scores tell it with noise."""
    rng = np.random.default_rng(seed)
    rows, cases = [], []
    for woman in range(n):
        sick = rng.integers(2) if rng.random() < 1 / 3 else -1
        for side, name in enumerate("LR"):
            for view in views:
                answer = int(side == sick)
                odds = rng.normal(1.5 if answer else -1.0, 1.2)
                key = f"{woman}-{name}-{view}"
                image = Series(key, (key,), "dicom", (1, 8, 8), modality="MG", laterality=name, view=view)
                cases.append(Case(key, f"w{woman}", (image,), groups={"density": "abcd"[woman % 4]}))
                rows.append((1 / (1 + np.exp(-odds)), answer))
    table = Predictions(
        LabelEncoding("binary", ("benign", "malignant")), tuple(c.id for c in cases),
        tuple(c.patient for c in cases), np.array([[s] for s, _ in rows]), np.array([a for _, a in rows]),
        {"density": tuple(c.groups["density"] for c in cases)},
    )  # fmt: skip
    return table, cases


def asked(table: Predictions, cases: list[Case], threshold: float = 0.5) -> Asked:
    model = SimpleNamespace(operating_point=SimpleNamespace(values=(threshold,)))
    return Asked(table, tuple(cases), model, None)  # type: ignore[arg-type]


def of(told: Clinical, name: str, label: str = "", group: str = "") -> Finding:
    return next(f for f in told.findings if (f.name, f.label, f.group) == (name, label, group))


def test_a_breast_is_the_mean_of_its_views_and_a_patient_the_higher_breast() -> None:
    table, cases = exams(60)
    told = screening(asked(table, cases))
    odds = np.log(table.scores[:, 0] / (1 - table.scores[:, 0])).reshape(60, 2, 2).mean(2)
    truth = table.answers.reshape(60, 2, 2).max(2)  # type: ignore[union-attr]
    assert of(told, "auroc", "breast").value == pytest.approx(roc_auc_score(truth.ravel(), odds.ravel()))
    assert of(told, "auroc", "patient").value == pytest.approx(roc_auc_score(truth.max(1), odds.max(1)))
    assert of(told, "auroc", "breast").n == 120 and of(told, "auroc", "patient").n == 60
    assert of(told, "auroc", "breast", "density=a").n == 30


def test_rates_are_those_of_the_stated_prevalence() -> None:
    table, cases = exams(200)
    told = screening(asked(table, cases, 0.8))
    women = breasts_of(table, [c.images[0].laterality for c in cases]).patients()
    called, sick = women.score >= 0.8, women.answer > 0
    recall = PREVALENCE * called[sick].mean() + (1 - PREVALENCE) * called[~sick].mean()
    assert of(told, "recall_rate", "patient").value == pytest.approx(recall)
    detected = of(told, "cancer_detection_rate_per_1000", "patient")
    assert detected.value == pytest.approx(1000 * PREVALENCE * called[sick].mean())
    assert detected.low < detected.value < detected.high  # type: ignore[operator]


def test_a_missing_view_is_compared_on_the_same_breasts_and_sideless_images_are_named() -> None:
    table, cases = exams(120)
    told = screening(asked(table, cases))
    alone = of(told, "auroc_change_with_view_missing", "CC alone")
    assert alone.value < 0 and alone.n == 240  # type: ignore[operator]
    bare = [Case(c.id, c.patient, (Series(c.id, (c.id,), "dicom", (1, 8, 8)),)) for c in cases[:4]]
    told = screening(asked(table, [*bare, *cases[4:]]))
    assert of(told, "laterality_missing").value == 4 and "4 of 480" in of(told, "laterality_missing").note
    one_view, seen = exams(40, views=("MLO",))
    assert not [f for f in screening(asked(one_view, seen)).findings if "view_missing" in f.name]


def graded(n: int) -> tuple[Predictions, list[Case]]:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 5, n)
    odds = -((np.arange(5)[None] - truth[:, None] - rng.normal(0, 0.8, (n, 1))) ** 2)
    scores = np.exp(odds) / np.exp(odds).sum(1, keepdims=True)
    cases = [
        Case(str(k), f"p{k // 2}", (Series(str(k), (str(k),), "dicom", (1, 8, 8), laterality="RL"[k % 2]),))
        for k in range(n)
    ]
    table = Predictions(
        LabelEncoding("multiclass", tuple("01234")), tuple(c.id for c in cases),
        tuple(c.patient for c in cases), scores, truth, {"scanner": tuple("AB"[k % 2] for k in range(n))},
    )  # fmt: skip
    return table, cases


def test_grades_agree_as_scikit_learn_says_and_referable_disease_is_ranked() -> None:
    table, cases = graded(200)
    told = grading(asked(table, cases))
    grade, truth = grades_of(table.scores), table.answers
    expected = cohen_kappa_score(truth, grade, weights="quadratic")
    assert of(told, "quadratic_weighted_kappa").value == pytest.approx(expected)
    area = roc_auc_score(truth >= 2, table.scores[:, 2:].sum(1))  # type: ignore[operator]
    assert of(told, "auroc", "referable").value == pytest.approx(area)
    assert {f.group for f in told.findings} >= {"scanner=A", "scanner=B", "eye=R", "eye=L"}
    rows = next(iter(told.tables.values()))
    assert sum(int(v) for row in rows for k, v in row.items() if k != "reader") == 200


def test_images_of_another_modality_part_or_shape_are_refused_in_a_sentence() -> None:
    accepts = accepts_only("nodule", "chest CT", modalities=("CT",), flat=False, parts=("CHEST",))
    ankle = Series("a", ("a",), "dicom", (30, 8, 8), modality="CT", body_part="ANKLE")
    with pytest.raises(BadInput, match="1 of 1 images are of ANKLE; the application nodule expects chest CT"):
        accepts(Index("s", (ankle,), ()))
    with pytest.raises(BadInput, match="modality MR"):
        accepts(Index("s", (Series("a", ("a",), "dicom", (30, 8, 8), modality="MR"),), ()))
    with pytest.raises(BadInput, match="single pictures"):
        accepts(Index("s", (Series("a", ("a",), "raster", (1, 8, 8)),), ()))
    accepts(Index("s", (Series("a", ("a",), "nifti", (30, 8, 8)),), ()))


def test_an_application_fills_in_what_the_user_left_open() -> None:
    asked = Question(labels="grades.csv")
    study = Study("images", Path("run"), asked, changes={"fit.loss": "cross_entropy"})
    made = as_application(study, named_application("retinopathy"))
    assert not as_application(
        replace(study, question=Question()), named_application("retinopathy")
    ).question.target
    assert made.question.target == ("grade",) and made.changes["fit.loss"] == "cross_entropy"
    assert made.clinical is grading and made.application == "retinopathy"
    with pytest.raises(BadInput, match="leave --task out"):
        as_application(Study("images", Path("run"), task="segmentation"), named_application("mammography"))


def test_a_designed_plan_of_mammograms_looks_at_detail_and_a_plan_that_was_given_stays() -> None:
    own = named_application("mammography")
    made = as_application(Study("images", Path("run"), changes={"network.width": 8}), own)
    facts = Fingerprint(400, 100, (1, 3328, 2560), (1.3, 1.3), 1, 12, "MG", (1, 0.07, 0.07), 2.0, (0, 4095))
    yes_or_no = LabelEncoding("binary", ("0", "1"))
    plan = design(facts, yes_or_no, detail=made.detail).changed(made.changes)
    assert plan.input.size == (1, 512, 320) and plan.input.crop_foreground and plan.input.fit == "pad"
    assert plan.network.name == "attention" and plan.network.width == 8
    assert "attention" in plan.reasons["network.name"]
    small = design(replace(facts, size=(1, 28, 28)), yes_or_no, detail=made.detail)
    assert small.network.name == "plain" and small.input.size == (1, 28, 28)
    assert not as_application(Study("images", Path("run"), plan=plan), own).changes
    eyes = as_application(Study("images", Path("run")), named_application("retinopathy"))
    seen = replace(facts, size=(1, 1500, 1500), aspects=(1, 1), modality="OP")
    assert design(seen, yes_or_no, detail=eyes.detail).input.size == (1, 256, 256)


def test_the_chapter_stands_in_the_report_with_numbers_tables_and_plots(tmp_path: Path) -> None:
    told = Clinical(
        "Screening", "What it is.", (Finding("recall_rate", value=0.08, low=0.05, high=0.12, n=90),),
        {"Nodules": [{"place": "left upper lobe", "mm": 7.5}]},
        (Plot("Growth", "days", "ml", (PlotSeries("one", (0.0, 90.0), (1.0, 2.0)),)),),
        untested=("Something else.",),
    )  # fmt: skip
    report(with_clinical(Evidence("Example"), told), (), tmp_path, signed=False)
    page = (tmp_path / "report.html").read_text()
    for words in ('id="clinical"', "The clinical question", "Recall rate", "left upper lobe", "Growth", "ml"):
        assert words in page
    assert "Something else." in page
