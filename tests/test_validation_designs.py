"""`hu train` by site, nested, with mitigation, beside an earlier run; what cannot be is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from phantoms import TINY, folder_of, hu, write_table_study

QUICK = (*TINY, "export.onnx=false", "fit.epochs=1")


@pytest.fixture(scope="module")
def study() -> tuple[Path, Path]:
    """48 images of 32 patients of two sites, with their dates."""
    rows = [
        {
            "file": f"{p:02}_{k}.png", "patient": f"p{p}", "site": "AB"[p // 2 % 2], "sex": "FM"[p // 4 % 2],
            "finding": str(p // 8 % 2), "day": f"{2000 + p}-03-01",
        }
        for p in range(32)
        for k in range(1 + p % 2)
    ]  # fmt: skip
    return write_table_study(folder_of("designs") / "images", rows)


def _asked(study: tuple[Path, Path], *more: str) -> tuple[str, ...]:
    images, table = study
    asked = ("--labels", str(table), "--target", "finding", "--patient", "patient")
    return ("train", str(images), *asked, *QUICK, *more)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def by_site(study: tuple[Path, Path]) -> Path:
    out = study[0].parent / "by-site"
    words = [w for w in _asked(study) if not w.startswith("validation.")]
    ended = hu(*words, "validation.folds_by=site", "--out", out)
    assert ended.code == 0, ended.err
    return out


def test_each_site_is_scored_by_the_member_that_left_it_out(by_site: Path) -> None:
    plan = json.loads((by_site / "plan.json").read_text())
    assert (plan["validation"]["folds"], plan["validation"]["members"]) == (2, 2)
    assert plan["reasons"]["validation.folds"] == "a fold for each value of site"
    predicted = {row["case"]: row["site"] for row in _rows(by_site / "predictions.csv")}
    placed = {row["case"]: row["fold"] for row in _rows(by_site / "private" / "cases.csv")}
    assert len(predicted) == 48
    assert {(site, placed[case]) for case, site in predicted.items()} == {("A", "0"), ("B", "1")}


def test_nested_validation_with_mitigation_stands_beside_an_earlier_run(
    study: tuple[Path, Path], by_site: Path
) -> None:
    out = study[0].parent / "nested"
    ended = hu(
        *_asked(study), "validation.outer_folds=2", "mitigation.method=matched_resampling", "augment.mixup=0",
        "mitigation.by=sex", "mitigation.least_patients=2", "--before", by_site, "--out", out,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    evidence = json.loads((out / "evidence.json").read_text())
    told = {f["name"]: f["note"] for f in evidence["audit"]}
    assert told["nested_cross_validation"].startswith("nested cross-validation: each of 2 parts")
    assert told["mitigation"].startswith("matched_resampling by sex: sex=F 24, sex=M 24")
    assert len(_rows(out / "predictions.csv")) == 48 and not (out / "work").exists()
    compared = hu("compare", out, by_site, "--json")
    assert compared.code == 0, compared.err
    found = json.loads(compared.out)
    assert found["n"] == 48 and "did not learn from the same parts" in found["notes"][0]


@pytest.mark.parametrize(
    "more, said",
    [
        (("validation.folds_by=hospital",), 'no column "hospital"|hospital'),
        (("validation.folds_by=view",), "validation.folds_by=view makes 1 fold"),
        (("mitigation.method=reweighting",), "mitigation.by names no group column"),
        (("mitigation.by=sex", "mitigation.thresholds_per_group=true"), "a person must write it"),
        (("validation.outer_folds=2", "--test-fraction", "0.3"), "but a test part is there"),
        (("--split-by-date", "sex"), "are not all written in one known way"),
        (("--before", "nowhere"), '"nowhere" holds no predictions.csv'),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(
    study: tuple[Path, Path], more: tuple[str, ...], said: str
) -> None:
    out = study[0].parent / "refused"
    ended = hu(*_asked(study, *more), "--out", out)
    assert ended.code == 3
    assert any(part in ended.said for part in said.split("|")), ended.said
    assert not out.exists()
