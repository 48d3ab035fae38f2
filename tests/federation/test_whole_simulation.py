"""Whole simulations to their report: a robust rule beside the plain mean where one site is broken, and what a
budget of privacy cost.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hounsfield as hu
from federation.made_sites import plan
from federation.made_study import write_study
from hounsfield.core.errors import BadInput
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.discrimination import area

BROKEN = "Zwickau"
GOOD = ("Kiel", "Ulm", "Jena", "Trier")
QUICK = {"fit.learning_rate": 0.05, "fit.schedule": "constant", "network.depth": 2, "fit.batch_size": 16}


def at_good_sites(root: Path, out: Path, rule: str) -> float:
    """The AUROC of the federated model on the test cases of the good sites."""
    made = plan(QUICK, rounds=12, local_epochs=1, robust=rule)
    table = hu.federate(
        root, made, by="site", out=out, labels=root / "labels.csv", target="finding"
    ).predictions  # fmt: skip
    assert isinstance(table, Predictions) and table.answers is not None
    good = np.array([site != BROKEN for site in table.groups["site"]])
    return area(table.scores[good, 0], table.answers[good] > 0)


@pytest.mark.parametrize(
    "rule, good", [("trimmed_mean", GOOD[:3]), pytest.param("krum", GOOD, marks=pytest.mark.slow)]
)
def test_a_robust_rule_bears_a_large_site_of_exchanged_labels_and_the_report_names_it(
    tmp_path: Path, rule: str, good: tuple[str, ...]
) -> None:
    """The broken site has as many cases as the good ones together, and the plain mean follows it."""
    write_study(
        tmp_path / "study", sizes={**dict.fromkeys(good, 24), BROKEN: 24 * len(good)}, exchanged=BROKEN
    )
    plain = at_good_sites(tmp_path / "study", tmp_path / "plain", "none")
    found = at_good_sites(tmp_path / "study", tmp_path / "run", rule)
    assert plain < 0.4 and found > 0.9
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    named = [f for f in evidence["audit"] if f["name"] == "site_contradicts_others"]
    assert [f["group"] for f in named] == [BROKEN] and "exchanged" in named[0]["note"]
    assert "more than its prevalences alone" in (tmp_path / "run" / "report.html").read_text()


def test_the_report_says_what_a_budget_of_privacy_cost(tmp_path: Path) -> None:
    root = tmp_path / "study"
    table = write_study(root, sizes={"Kiel": 64, "Ulm": 60})
    made = plan({**QUICK, "fit.learning_rate": 0.02, "fit.batch_size": 8}, rounds=4, epsilon=2.0)
    run = hu.federate(
        root, made, by="site", out=tmp_path / "run", labels=table, target="finding", without_budget=True,
        question=hu.Question(test_fraction=0.5),
    )  # fmt: skip
    by_site = {(f.group, f.label): f.value for f in run.findings if f.name == "auroc" and f.label}
    change = {f.group: f for f in run.findings if f.name == "auroc_change_by_budget"}
    assert set(change) == {"site=Kiel", "site=Ulm", "all sites"}
    for group, told in change.items():
        assert told.value is not None and told.low <= told.value <= told.high
        less = by_site[group, "federated"] - by_site[group, "without budget"]
        assert told.value == pytest.approx(less, abs=1e-9)
    assert by_site["all sites", "without budget"] > 0.9 and change["all sites"].value < 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "without its budget of privacy, the AUROC over all test cases is changed by" in page
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())["tables"]["clinical"]
    (rows,) = [rows for title, rows in evidence.items() if "worst first" in title]
    assert all(row["federated less without budget"]["n"] > 20 for row in rows)
    card = json.loads((tmp_path / "run" / "model" / "model.json").read_text())["card"]
    assert "epsilon" in card["differential privacy"]


def test_an_arm_without_a_budget_needs_a_plan_that_has_one(tmp_path: Path) -> None:
    table = write_study(tmp_path / "study", sizes={"Kiel": 16, "Ulm": 16})
    with pytest.raises(BadInput, match=r"set one, e\.g\. federation\.epsilon=8"):
        hu.federate(
            tmp_path / "study", plan(), by="site", out=tmp_path / "run", labels=table, target="finding",
            without_budget=True,
        )  # fmt: skip
