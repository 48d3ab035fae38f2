"""Every kind of study runs the whole path, from images to a report; what is measured was not learned from."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from phantoms import (
    TINY,
    answers_of,
    hu,
    pictures,
    trained,
    write_class_folders,
    write_csv,
    write_dicom,
    write_npz,
    write_png,
)

SHORT = (*TINY, "fit.epochs=1")


def _run(source: Path, out: Path, *more: str | Path) -> dict[str, Any]:
    """Train to a report; the JSON object, checked for what every run must leave."""
    ended = hu("train", source, "--out", out, "--json", *SHORT, *more)
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    report = (out / "report.html").read_text()
    assert report.startswith("<!") and len(report) > 20_000
    for name in ("plan.json", "evidence.json", "predictions.csv", "model/model.json", "private/cases.csv"):
        assert (out / name).is_file()
    assert not (out / "cache").exists() and not (out / "work").exists()
    json.loads(
        (out / "evidence.json").read_text(), parse_constant=lambda c: pytest.fail(f"evidence.json holds {c}")
    )
    with (out / "predictions.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == said["n"]
    return said


def _model(out: Path) -> dict[str, Any]:
    found = json.loads((out / "model" / "model.json").read_text())
    assert isinstance(found, dict)
    return found


def test_three_classes(tmp_path: Path) -> None:
    said = _run(write_npz(tmp_path / "s.npz", n=45, test=36, classes=3), tmp_path / "run")
    assert _model(tmp_path / "run")["encoding"]["kind"] == "multiclass" and said["threshold"] == []
    assert set(said["classes"]) == {"0", "1", "2"} and said["n"] == 36
    assert said["metrics"]["auroc"]["n"] == 36


def test_many_findings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = (rng.random((60, 3)) < 0.4).astype(int)
    images = np.clip(pictures([0] * 60).astype(int) + 60 * table[:, :1, None], 0, 255).astype(np.uint8)
    np.savez(tmp_path / "s.npz", train_images=images, train_labels=table)
    said = _run(tmp_path / "s.npz", tmp_path / "run")
    assert _model(tmp_path / "run")["encoding"]["kind"] == "multilabel" and len(said["threshold"]) == 3
    assert said["evaluated_on"] == "cross-validation" and said["n"] == 60


def test_findings_in_columns_of_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [{"id": k, "mass": int(rng.random() < 0.5), "fluid": int(rng.random() < 0.4)} for k in range(40)]
    for row, image in zip(rows, pictures([r["mass"] for r in rows]), strict=True):
        write_png(tmp_path / "s" / f"{row['id']}.png", image)
    labels = write_csv(tmp_path / "t.csv", rows)
    _run(tmp_path / "s", tmp_path / "run", "--labels", labels, "--target", "mass", "--target", "fluid")
    assert _model(tmp_path / "run")["encoding"]["classes"] == ["mass", "fluid"]


def test_volumes_in_class_folders(tmp_path: Path) -> None:
    answers = answers_of(24)
    rng = np.random.default_rng(0)
    for k, a in enumerate(answers):
        volume = rng.normal(100, 30, (12, 14, 10)).astype(np.float32)
        volume[:6, :, :5] += 60 * a
        path = tmp_path / "s" / ("control", "patient")[a] / f"{k}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    _run(tmp_path / "s", tmp_path / "run", "fit.epochs=1", "--test-fraction", "0")
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["input"]["size"][0] > 1 and _model(tmp_path / "run")["encoding"]["classes"] == [
        "control",
        "patient",
    ]


def test_volumes_in_an_archive(tmp_path: Path) -> None:
    answers = answers_of(24)
    images = np.stack([pictures([a] * 9, side=12, seed=k) for k, a in enumerate(answers)])
    np.savez(tmp_path / "s.npz", train_images=images, train_labels=np.array(answers))
    _run(tmp_path / "s.npz", tmp_path / "run")


def test_colour_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k, a in enumerate(answers_of(30)):
        image = rng.integers(0, 160, (20, 16, 3)).astype(np.uint8)
        image[..., a] += 80
        write_png(tmp_path / "s" / "ab"[a] / f"{k}.png", image)
    _run(tmp_path / "s", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "plan.json").read_text())["input"]["channels"] == 3


def test_class_folders_below_train_and_test(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "data" / "train", each=14)
    for k, image in enumerate(pictures(answers_of(24), seed=8)):
        write_png(tmp_path / "data" / "test" / ("benign", "malignant")[k % 2] / f"t{k}.png", image)
    said = _run(tmp_path / "data", tmp_path / "run")
    assert said["n"] == 24 and said["evaluated_on"] == "test"


def test_one_class_against_the_rest(tmp_path: Path) -> None:
    said = _run(
        write_class_folders(tmp_path / "s", ("a", "b", "c"), each=12),
        tmp_path / "run",
        "--positive",
        "b",
        "--test-fraction",
        "0",
    )
    assert _model(tmp_path / "run")["encoding"]["classes"] == ["not b", "b"] and said["n"] == 36


def test_a_plan_of_one_run_serves_another(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "s.npz", n=40)
    plan = trained().run / "plan.json"
    ended = hu("train", source, "--out", tmp_path / "run", "--plan", plan, "fit.epochs=1", "--json")
    assert ended.code == 0, ended.err
    kept = json.loads((tmp_path / "run" / "plan.json").read_text())
    given = json.loads(plan.read_text())
    assert kept["network"] == given["network"] and kept["fit"]["epochs"] == 1
    assert kept["reasons"]["fit.epochs"] == "set by the user"


def test_every_choice_of_a_designed_plan_has_its_reason() -> None:
    plan = json.loads((trained().run / "plan.json").read_text())
    reasons = plan["reasons"]
    for key in (
        "input.size",
        "input.normalise",
        "fit.loss",
        "fit.epochs",
        "network.name",
        "validation.folds",
        "seed",
    ):
        assert reasons[key]
    assert reasons["fit.epochs"] == "set by the user"


def test_the_evidence_names_code_data_and_plan() -> None:
    evidence = json.loads((trained().run / "evidence.json").read_text())
    context = evidence["context"]
    assert context["plan_digest"] and context["data_digest"] and context["packages"]["torch"]
    assert context["target"] == ["finding"] and context["classes"] == ["normal", "cancer"]
    assert evidence["untested"]


def test_fewer_members_than_folds_score_only_what_they_did_not_learn_from(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "s.npz", n=60)
    said = _run(
        source, tmp_path / "run", "--test-fraction", "0", "validation.folds=3", "validation.members=2"
    )
    with (tmp_path / "run" / "private" / "cases.csv").open() as stream:
        fold = {r["case"]: r["fold"] for r in csv.DictReader(stream)}
    with (tmp_path / "run" / "predictions.csv").open() as stream:
        scored = [fold[r["case"]] for r in csv.DictReader(stream)]
    assert set(scored) == {"0", "1"} and said["n"] == 40


def test_members_beyond_the_folds_go_round_again(tmp_path: Path) -> None:
    _run(write_npz(tmp_path / "s.npz", n=30), tmp_path / "run", "validation.members=3")
    weights = sorted((tmp_path / "run" / "model").glob("member-*.safetensors"))
    assert len({p.read_bytes() for p in weights}) == 3


def test_the_test_part_has_no_say_in_the_model(tmp_path: Path) -> None:
    """Other test answers and pictures, the same training part: the same model."""
    source = write_npz(tmp_path / "a.npz", n=40, test=24)
    with np.load(source) as z:
        arrays = dict(z)
    arrays["test_images"] = arrays["test_images"][:, ::-1] // 2
    arrays["test_labels"] = 1 - arrays["test_labels"]
    np.savez(tmp_path / "b.npz", **arrays)
    found = []
    for name in ("a", "b"):
        _run(tmp_path / f"{name}.npz", tmp_path / name)
        model = _model(tmp_path / name)
        weights = [p.read_bytes() for p in sorted((tmp_path / name / "model").glob("member-*.safetensors"))]
        found.append((weights, model["operating_point"], model["calibration"]))
    assert found[0] == found[1]


def test_the_calls_kept_are_the_calls_measured(tmp_path: Path) -> None:
    """In cross-validation too, where each case is called by a threshold chosen without its fold."""
    said = _run(
        write_npz(tmp_path / "s.npz", n=48),
        tmp_path / "run",
        "--test-fraction",
        "0",
        "fit.learning_rate=0.01",
        "fit.epochs=3",
    )
    with (tmp_path / "run" / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    right = float(np.mean([r["called"] == r["answer"] for r in rows]))
    assert right == pytest.approx(said["metrics"]["accuracy"]["value"], abs=1e-9)


def _overlap(run: Path, source: Path, out: Path) -> dict[str, Any]:
    ended = hu("evaluate", run, source, "--out", out, "--json")
    assert ended.code == 0, ended.err
    audit = json.loads((out / "evidence.json").read_text())["audit"]
    assert all(f["value"] == 0 for f in audit if f["name"] in ("exact_duplicates", "near_duplicates"))
    return next(f for f in audit if f["name"] == "overlap_with_training")


def test_only_test_images_that_were_learned_from_are_an_overlap(tmp_path: Path) -> None:
    with np.load(write_npz(tmp_path / "s.npz", n=60, test=24)) as z:
        arrays = dict(z)
    learned = {k: v for k, v in arrays.items() if k.startswith("train")}
    learned |= {k.replace("train", "val"): v[40:] for k, v in learned.items()}
    learned |= {k: v[:40] for k, v in learned.items() if k.startswith("train")}
    np.savez(tmp_path / "learned.npz", **learned)
    _run(tmp_path / "learned.npz", tmp_path / "run")
    clean = _overlap(tmp_path / "run", tmp_path / "s.npz", tmp_path / "clean")
    assert (clean["value"], clean["n"], clean["level"]) == (0, 24, "info") and "0 patients" in clean["note"]
    arrays["test_images"][3] = arrays["train_images"][5]
    np.savez(tmp_path / "leaking.npz", **arrays)
    leaking = _overlap(tmp_path / "run", tmp_path / "leaking.npz", tmp_path / "leaking")
    assert (leaking["value"], leaking["level"]) == (1, "warning")
    assert leaking["note"].startswith("1 of 24 images (1 exactly) and 0 patients")


def test_images_of_the_test_part_were_not_learned_from(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "s.npz", n=40, test=24)
    _run(source, tmp_path / "run")
    assert _overlap(tmp_path / "run", source, tmp_path / "external")["value"] == 0


def test_a_plan_splits_as_it_did_in_its_run(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "s", each=20)

    def parts(name: str, *more: str | Path) -> dict[str, str]:
        _run(source, tmp_path / name, *more)
        with (tmp_path / name / "private" / "cases.csv").open() as stream:
            return {r["case"]: r["part"] + r["fold"] for r in csv.DictReader(stream)}

    first = parts("first", "--seed", "7")
    plan = ("--plan", tmp_path / "first" / "plan.json")
    assert parts("again", *plan) == first
    assert parts("other", *plan, "--seed", "0") != first
    assert json.loads((tmp_path / "other" / "plan.json").read_text())["seed"] == 0


def test_images_of_phantoms_alone_are_reported_as_phantoms(tmp_path: Path) -> None:
    rows = []
    for k, image in enumerate(pictures(answers_of(40))):
        write_dicom(tmp_path / "s" / f"{k}.dcm", image, number=k, PatientID=f"PHANTOM-{k:04d}")
        rows.append({"id": f"PHANTOM-{k:04d}", "finding": "ab"[k % 2]})
    words = ("--labels", write_csv(tmp_path / "t.csv", rows), "--target", "finding")
    said = _run(tmp_path / "s", tmp_path / "run", *words)
    assert said["phantom"] and _model(tmp_path / "run")["card"]["phantom"] == "yes"
    ended = hu("evaluate", tmp_path / "run", tmp_path / "s", *words, "--json")
    assert json.loads(ended.out)["phantom"] is True
    assert json.loads(trained().outcome.out)["phantom"] is False


def test_interventions_need_a_test_part(tmp_path: Path) -> None:
    from hounsfield.cli.options import changes_of
    from hounsfield.pipeline import train
    from hounsfield.steps.gather import Question
    from hounsfield.steps.intervene import Intervention
    from hounsfield.steps.study import Study

    run = train(
        Study(
            source=str(write_npz(tmp_path / "s.npz", n=30)),
            out=tmp_path / "run",
            question=Question(test_fraction=0),
            changes=changes_of(SHORT),
            interventions=(Intervention("turned", "the image is turned", lambda x, _: x[..., ::-1]),),
        )
    )
    assert run.evidence.interventions == ()
    assert any("turned" in line and "test part" in line for line in run.evidence.untested)


def test_where_a_weight_file_lay_stays_in_the_plan_of_the_run(tmp_path: Path) -> None:
    from hounsfield.core.case import LabelEncoding
    from hounsfield.core.model import Calibration, OperatingPoint
    from hounsfield.core.plan import Plan
    from hounsfield.io.model_store import write_model
    from hounsfield.steps.run_folder import RunFolder

    plan = Plan().changed({"network.weights": "/home/alice/x.safetensors"})
    folder = RunFolder(tmp_path)
    folder.keep_plan(plan)
    point, encoding = OperatingPoint((0.5,), "half", "folds"), LabelEncoding("binary", ("a", "b"))
    write_model(folder.model(plan, encoding, (), point, Calibration(), "digest"))
    assert "/home/alice/x.safetensors" in (tmp_path / "plan.json").read_text()
    for path in (tmp_path / "model").iterdir():
        assert "alice" not in path.read_text()
    assert '"x.safetensors"' in (tmp_path / "model" / "plan.json").read_text()


def test_marked_findings_teach_attention_and_those_of_the_test_part_are_not_shown(tmp_path: Path) -> None:
    rows = []
    for n, (answer, image) in enumerate(zip(answers_of(40), pictures(answers_of(40), side=32), strict=True)):
        write_png(tmp_path / "study" / f"{n}.png", image)
        box = dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), "")
        if n % 4 != 3:
            box = dict(zip(box, (4, 6, 12, 14), strict=True))
        rows.append({"file": f"{n}.png", "patient": n, "answer": answer, **box})
    table = write_csv(tmp_path / "labels.csv", rows)
    words = ("--labels", table, "--target", "answer", "network.name=attention")
    _run(tmp_path / "study", tmp_path / "run", *words)
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    (taught,) = [f for f in evidence["audit"] if f["name"] == "attention_taught"]
    with (tmp_path / "run" / "private" / "cases.csv").open() as stream:
        learned_from = [case for case in csv.DictReader(stream) if case["part"] != "test"]
    names = {Path(case["files"]).name for case in learned_from}
    marked = sum(bool(row["x_min"]) for row in rows if row["file"] in names)
    assert 0 < marked < len(names) == taught["n"] < len(rows)
    assert f"in {marked} of {len(names)} development images" in taught["note"]
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["fit"]["mark_weight"] == 1.0
    _run(tmp_path / "study", tmp_path / "off", *words, "fit.mark_weight=0")
    assert "attention_taught" not in (tmp_path / "off" / "evidence.json").read_text()
    learned = [(tmp_path / run / "model" / "member-0.safetensors").read_bytes() for run in ("run", "off")]
    assert learned[0] != learned[1]
