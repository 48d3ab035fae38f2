"""The audit finds what was planted, keeps quiet where nothing is, and stops an unsafe split."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, TEST, Cohort
from hounsfield.core.errors import GateRefused
from hounsfield.core.evidence import Finding
from hounsfield.core.progress import Silent
from hounsfield.pipeline import look
from hounsfield.steps.audit import association, audit, link_pairs, refuse_leakage
from hounsfield.steps.duplicates import Pair
from hounsfield.steps.gather import Question
from hounsfield.steps.study import Clock, Looked, Study
from phantoms import hu, pictures, write_csv, write_png

TWO = LabelEncoding("binary", ("a", "b"))


def _cohort(cases: list[Case], test: set[str] = frozenset()) -> Cohort:  # type: ignore[assignment]
    part = {c.id: TEST if c.id in test else DEVELOPMENT for c in cases}
    return Cohort(tuple(cases), TWO, part, {c.id: 0 for c in cases if c.id not in test})


def _cases(n: int, seed: int, **groups: Any) -> list[Case]:
    """Balanced answers; each group is a function from (rng, answer) to its value."""
    rng = np.random.default_rng(seed)
    return [
        Case(f"c{k}", f"p{k}", (), Label((k % 2,)), {g: f(rng, k % 2) for g, f in groups.items()})
        for k in range(n)
    ]


def _named(findings: tuple[Finding, ...], name: str) -> Finding:
    return next(f for f in findings if f.name == name)


def looked_at(source: Path, folder: Path, **asked: Any) -> Looked:
    changes = {"validation.folds": asked.pop("folds", 5)}
    study = Study(str(source), folder, Question(**asked), changes=changes)
    return look(study, folder / "cache", Clock(Silent()))


@pytest.mark.parametrize("n", [60, 300])
def test_a_site_that_gives_the_answer_away_is_named(n: int) -> None:
    cases = _cases(n, 0, site=lambda rng, a: "AB"[a] if rng.random() < 0.85 else "AB"[1 - a])
    found = _named(audit(_cohort(cases), ()), "site_label_association")
    assert found.level == "warning" and found.value == pytest.approx(0.7, abs=0.2) and found.n_patients == n


def test_independent_groups_raise_few_alarms() -> None:
    """The test's own 1 %, with room for chance: 4 of 400 cohorts are expected, 11 come once in 300 times."""
    alarms = 0
    for n, values in ((60, 2), (60, 12), (300, 5), (120, 40)):
        for seed in range(100):
            cases = _cases(n, seed, site=lambda rng, a, values=values: str(rng.integers(values)))
            alarms += any("association" in f.name for f in audit(_cohort(cases), ()))
    assert alarms < 11


def test_images_of_one_patient_do_not_count_as_many() -> None:
    case = _cases(1, 0, site=lambda rng, a: "A")[0]
    other = replace(_cases(2, 0, site=lambda rng, a: "B")[1], patient="q")
    many = [replace(case, id=f"x{k}") for k in range(50)] + [replace(other, id=f"y{k}") for k in range(50)]
    assert association(many, "site")[2] == 2


def test_a_perfect_association_is_one_and_none_is_nought() -> None:
    perfect = _cases(100, 0, site=lambda rng, a: "AB"[a])
    assert association(perfect, "site")[0] == pytest.approx(1, abs=0.01)
    assert association(_cases(100, 0, site=lambda rng, a: "A"), "site")[:2] == (0.0, 1.0)


def test_duplicates_with_different_answers_are_named() -> None:
    cases = _cases(30, 0)
    found = audit(_cohort(cases), [Pair("c0", "c1", True), Pair("c2", "c4", False)])
    assert _named(found, "exact_duplicates").value == 1 and _named(found, "near_duplicates").value == 1
    conflict = _named(found, "conflicting_labels")
    assert conflict.value == 1 and "c0 and c1" in conflict.note


def test_the_audit_does_not_claim_that_a_parted_pair_was_kept_together() -> None:
    cases = _cases(30, 0)
    together = _named(audit(_cohort(cases), [Pair("c0", "c2", False)]), "near_duplicates")
    parted = _named(audit(_cohort(cases, {"c2"}), [Pair("c0", "c2", False)]), "near_duplicates")
    assert "kept on one side" in together.note
    assert "1 of them stand in different parts" in parted.note


def test_unknown_patients_are_a_warning() -> None:
    cases = _cases(30, 0)
    assert _named(audit(_cohort(cases), ()), "patient_identity").level == "info"
    unknown = [replace(cases[0], patient_known=False), *cases[1:]]
    assert _named(audit(_cohort(unknown), ()), "patient_identity").level == "warning"


def test_a_picture_on_both_sides_stops_the_run() -> None:
    cases = _cases(30, 0)
    with pytest.raises(GateRefused, match=r"^1 image\(s\) of the test part .*--resplit"):
        refuse_leakage(_cohort(cases, {"c1"}), [Pair("c0", "c1", True)])
    refuse_leakage(_cohort(cases, {"c1"}), [Pair("c0", "c2", True)])


def test_near_duplicates_that_chain_the_cohort_do_not_end_in_a_dead_end() -> None:
    """Where all images are alike, a split of our own cannot part them: a warning, not a refusal."""
    cases = _cases(30, 0)
    chain = [Pair(f"c{k}", f"c{k + 1}", False) for k in range(29)] + [Pair("c0", "c2", True)]
    assert link_pairs(chain, cases) == [("c0", "c2")]
    refuse_leakage(_cohort(cases, {"c29"}), chain)
    given = [replace(c, given_part="test" if c.id == "c29" else "train") for c in cases]
    with pytest.raises(GateRefused):
        refuse_leakage(_cohort(given, {"c29"}), chain)


def _leaky(folder: Path) -> Path:
    """train/CLASS and test/CLASS; one test image is a JPEG of a training image."""
    answers = [k % 2 for k in range(24)]
    images = pictures(answers, side=32)
    for k, (a, image) in enumerate(zip(answers, images, strict=True)):
        write_png(folder / ("test" if k > 17 else "train") / "ab"[a] / f"{k}.png", image)
    write_png(folder / "test" / "a" / "copy.jpg", images[0], quality=70)
    return folder


def test_a_near_duplicate_across_the_given_split_ends_with_exit_code_4(tmp_path: Path) -> None:
    source = _leaky(tmp_path / "s")
    ended = hu("audit", source, "--json")
    assert ended.code == 4 and "1 image(s) of the test part" in ended.said
    trained = hu("train", source, "--out", tmp_path / "run")
    assert trained.code == 4 and not (tmp_path / "run").exists()
    assert hu("audit", source, "--resplit").code == 0


def test_duplicates_stay_together_after_splitting(tmp_path: Path) -> None:
    looked = looked_at(_leaky(tmp_path / "s"), tmp_path, resplit=True, folds=3)
    (pair,) = looked.pairs
    cohort = looked.cohort
    assert cohort.part[pair.first] == cohort.part[pair.second]
    assert cohort.fold.get(pair.first) == cohort.fold.get(pair.second)
    assert "kept on one side" in _named(looked.findings, "near_duplicates").note


def test_duplicates_within_the_training_part_share_a_fold_where_the_split_is_given(tmp_path: Path) -> None:
    source = _leaky(tmp_path / "s")
    (source / "test" / "a" / "copy.jpg").rename(source / "train" / "a" / "copy.jpg")
    for seed in range(4):
        looked = looked_at(source, tmp_path / str(seed), folds=3, seed=seed)
        (pair,) = looked.pairs
        assert looked.cohort.fold[pair.first] == looked.cohort.fold[pair.second]


def test_training_and_evaluation_look_at_pixels_and_at_the_target_table(tmp_path: Path) -> None:
    answers = [k % 2 for k in range(60)]
    rows = [
        {"file": f"{k}.png", "y": "ab"[a], "sex": "F" if k % 6 == 0 else "M"} for k, a in enumerate(answers)
    ]
    for row, image in zip(rows, pictures(answers, side=32), strict=True):
        write_png(tmp_path / "s" / row["file"], image)
    (tmp_path / "w.csv").write_text("column,value,share\nsex,F,0.5\nsex,M,0.5\n")
    labels = str(write_csv(tmp_path / "t.csv", rows))
    asked = {"labels": labels, "target": ("y",), "one_image_per_patient": True, "folds": 2}
    found = looked_at(tmp_path / "s", tmp_path, **asked, targets=str(tmp_path / "w.csv")).findings
    assert _named(found, "representation").level == "warning"
    assert {"label_review", "burnt_in_marks", "tests_made"} <= {f.name for f in found}
    words = ("--labels", labels, "--target", "y", "--targets", tmp_path / "no.csv", "--out", tmp_path / "run")
    ended = hu("train", tmp_path / "s", *words)
    assert ended.code == 3 and "no.csv does not exist" in ended.said and not (tmp_path / "run").exists()


@pytest.mark.realdata
def test_pneumoniamnist_shows_its_eight_copies(real_data: Path, tmp_path: Path) -> None:
    """Near the parts' copies, on a share of the archive that holds them all."""
    with np.load(real_data / "medmnist" / "pneumoniamnist_train_val.npz") as z:
        arrays = {k: z[k] for k in ("train_images", "train_labels", "val_images", "val_labels")}
    copies = {x.tobytes() for x in arrays["val_images"]}
    rows = [k for k, x in enumerate(arrays["train_images"]) if x.tobytes() in copies or k < 150]
    stream = io.BytesIO()
    kept = {k: v[rows] if k.startswith("train") else v for k, v in arrays.items()}
    np.savez(stream, **kept)
    (tmp_path / "p.npz").write_bytes(stream.getvalue())
    looked = looked_at(tmp_path / "p.npz", tmp_path)
    across = [p for p in looked.pairs if p.exact and p.first.split("_")[0] != p.second.split("_")[0]]
    assert len({p.second for p in across}) == 8
    assert f"({len(across)} of them exact)" in _named(looked.findings, "leakage_in_given_split").note
    assert all(looked.cohort.fold[p.first] == looked.cohort.fold[p.second] for p in across)


@pytest.mark.realdata
def test_covid_radiographs_are_refused_with_many_classes_and_warned_of_with_one(
    real_data: Path, tmp_path: Path
) -> None:
    source = real_data / "cxr_covid"
    words = ("--labels", source / "labels.csv", "--target", "finding")
    ended = hu("train", source, *words, "--out", tmp_path / "run")
    assert ended.code == 3 and '"ARDS"' in ended.said and "--positive CLASS" in ended.said
    assert not (tmp_path / "run").exists()
    looked = looked_at(
        source, tmp_path, labels=str(source / "labels.csv"), target=("finding",), positive="COVID-19"
    )
    assert looked.cohort.encoding.classes == ("not COVID-19", "COVID-19") and looked.cohort.patients_known
    sides: dict[str, set[tuple[str, int | None]]] = {}
    for c in looked.cohort.cases:
        sides.setdefault(c.patient, set()).add((looked.cohort.part[c.id], looked.cohort.fold.get(c.id)))
    assert len(sides) < len(looked.cohort.cases) and all(len(s) == 1 for s in sides.values())
    site = _named(looked.findings, "site_label_association")
    assert site.level == "warning" and "Hannover" in site.note and "balance it" in site.note


def test_a_table_names_what_it_lacks(tmp_path: Path) -> None:
    rows = [{"file": f"{k}.png", "y": "ab"[k % 2], "sex": "F" if k else ""} for k in range(20)]
    for row, image in zip(rows, pictures([k % 2 for k in range(20)]), strict=True):
        write_png(tmp_path / "s" / row["file"], image)
    looked = looked_at(
        tmp_path / "s", tmp_path, labels=str(write_csv(tmp_path / "t.csv", rows)), target=("y",), folds=2
    )
    assert "19 of 20 images name sex" in _named(looked.findings, "missing_sex").note
    assert _named(looked.findings, "missing_scanner").value == 20
