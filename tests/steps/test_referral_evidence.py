"""Referral is measured on cases that nothing was fitted on; broken promises and strange sites are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import expit

from hounsfield.core.case import LabelEncoding
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model, OperatingPoint, Referral, Typicality
from hounsfield.core.plan import Plan
from hounsfield.core.predictions import Predictions
from hounsfield.steps.refer import referrals_of
from hounsfield.steps.referral_evidence import ReferralEvidence, referral_findings

TWO = LabelEncoding("binary", ("no", "yes"))
MANY = LabelEncoding("multilabel", ("a", "b"))
LIKE = Typicality("typical.safetensors", "", 0.01, (), 300, 300)


def _shown(
    encoding: LabelEncoding, rule: Referral | None, *, odd: float = 0.0, n: int = 600
) -> tuple[Predictions, ReferralEvidence]:
    """Cases of two sites; a share `odd` of site B is unlike the training."""
    rng = np.random.default_rng(0)
    scores = expit(rng.normal(0, 3, (n, encoding.outputs)))
    answers = (rng.random(scores.shape) < scores).astype(np.int64)
    called = (scores >= 0.5).astype(np.int64)
    if encoding.kind == "binary":
        answers, called = answers[:, 0], called[:, 0]
    point = OperatingPoint((0.5,) * encoding.outputs, "half", "")
    model = Model(Path("m"), Plan(), encoding, (), point, referral=rule, typicality=LIKE)
    site = np.where(np.arange(n) % 2, "B", "A")
    strange = (site == "B") & (rng.random(n) < odd)
    told = referrals_of(
        model, scores, called, typicality=np.where(strange, 0.002, 0.5),
        unlike=["its tones" if s else "" for s in strange],
    )  # fmt: skip
    predictions = Predictions(
        encoding, tuple(map(str, range(n))), tuple(map(str, range(n))), scores, answers,
        {"site": tuple(site.tolist())}, "test", True, told,
    )  # fmt: skip
    return predictions, referral_findings(model, predictions, called)


def _one(found: ReferralEvidence, name: str, *, group: str = "", label: str = "") -> Finding:
    (finding,) = [f for f in found.findings if (f.name, f.group, f.label) == (name, group, label)]
    return finding


def test_the_numbers_are_those_of_the_cases() -> None:
    predictions, found = _shown(TWO, Referral(0.1, ((0.7, 0.7),)))
    told = predictions.referrals
    assert told is not None and predictions.answers is not None
    right = (predictions.scores[:, 0] >= 0.5) == predictions.answers
    assert _one(found, "referred_share").value == told.refer.mean()
    assert _one(found, "accuracy_when_not_referred").value == right[~told.refer].mean()
    assert _one(found, "accuracy_when_referred").value == right[told.refer].mean()
    held = told.sets[np.arange(600), predictions.answers]
    assert _one(found, "conformal_coverage").value == held.mean()
    yes = predictions.answers == 1
    assert _one(found, "conformal_coverage", label="yes").value == held[yes].mean()
    site = np.array(predictions.groups["site"]) == "B"
    sized = next(r["classes in a set"] for r in found.tables["coverage"] if r["cases"] == "site=B")
    assert sized["value"] == told.sets[site].sum(1).mean() and sized["n"] == 300
    assert all(f.low is not None and f.low <= (f.value or 0) for f in found.findings)
    assert _one(found, "accuracy_when_not_referred").value > _one(found, "accuracy_when_referred").value


def test_a_promise_that_is_broken_is_a_warning_and_one_that_is_kept_is_not() -> None:
    kept = _shown(TWO, Referral(0.1, ((0.7, 0.7),)))[1]
    broken = _shown(TWO, Referral(0.1, ((0.2, 0.7),)))[1]
    assert {f.level for f in kept.findings} == {"info"}
    assert _one(broken, "conformal_coverage", label="no").level == "warning"
    assert _one(broken, "conformal_coverage", label="yes").level == "info"


def test_a_site_whose_images_are_strange_is_named() -> None:
    found = _shown(TWO, Referral(0.1, ((0.7, 0.7),)), odd=0.3)[1]
    assert _one(found, "unlike_training_share", group="site=B").level == "warning"
    assert "its tones" in _one(found, "unlike_training_share", group="site=B").note
    assert _one(found, "unlike_training_share", group="site=A").level == "info"


def test_curves_and_tables_have_the_forms_that_the_report_draws() -> None:
    from hounsfield.steps.chapters.records import records
    from hounsfield.steps.chapters.trust import uncertainty

    found = _shown(TWO, Referral(0.1, ((0.7, 0.7),)))[1]
    chapter = uncertainty({"curves": found.curves, "tables": found.tables}, [])
    assert chapter is not None and chapter["curve"] is not None and chapter["names"] == ["model"]
    assert chapter["coverage"]["heads"][:2] == ["cases", "n"]
    assert [row[0]["value"] for row in chapter["coverage"]["first"]] == [
        "all",
        "no",
        "yes",
        "site=A",
        "site=B",
    ]
    reasons = records(found.tables["referral_reasons"])
    assert reasons is not None and reasons["heads"] == ["reason", "cases", "share"]


def test_each_finding_of_several_has_a_coverage_of_its_own() -> None:
    found = _shown(MANY, Referral(0.1, ((0.7, 0.7), (0.7, 0.7))))[1]
    assert {f.label for f in found.findings if f.name == "conformal_coverage"} == {"a", "b"}


def test_a_model_without_a_rule_measures_nothing_and_says_so() -> None:
    found = _shown(TWO, None)[1]
    assert found.findings == () and "keeps no rule" in found.untested[0]


def test_what_could_not_be_fitted_is_told() -> None:
    rule = Referral(0.1, ((0.7, 0.7),), notes=("too few",))
    predictions, found = _shown(TWO, rule)
    assert found.untested == ("Referral: too few.",)
    assert replace(predictions, referrals=None).take(np.array([1])).referrals is None
