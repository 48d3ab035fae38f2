"""The command line: light to start, one JSON object, progress aside, exit codes, and no identity anywhere."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phantoms import NAME, NUMBER, TINY, Outcome, hu, trained, write_npz

NAMES = {
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "recall",
    "f1",
    "brier",
    "ece",
}
HEAVY = ("torch", "numpy", "pydicom", "cv2", "pyarrow", "PIL", "scipy", "pydantic", "rich", "matplotlib")


def _python(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['hu', '--help']\n"
        "from hounsfield.cli.main import main\n"
        "try: main()\nexcept SystemExit as e: assert not e.code\n"
        f"print('LOADED', [m for m in {HEAVY} if m in sys.modules])"
    )
    assert "LOADED []" in _python(code)


def test_the_package_itself_loads_nothing_heavy() -> None:
    assert _python(f"import sys, hounsfield; print([m for m in {HEAVY} if m in sys.modules])").strip() == "[]"


def test_help_of_every_command_loads_no_torch() -> None:
    from hounsfield.cli.main import COMMANDS

    code = (
        "import sys\nfrom hounsfield.cli.main import hu\n"
        f"for c in {sorted(COMMANDS)}: hu.main([c, '--help'], standalone_mode=False)\n"
        "print('LOADED', [m for m in ('torch', 'pydicom', 'cv2') if m in sys.modules])"
    )
    assert "LOADED []" in _python(code)


def test_every_command_says_what_it_does() -> None:
    shown = hu("--help")
    from hounsfield.cli.main import COMMANDS

    assert shown.code == 0 and all(name in shown.out for name in COMMANDS) and "Exit codes" in shown.out


@pytest.mark.parametrize(
    "words",
    [
        ["tarin"],
        ["train"],
        ["train", "x", "--nonsense"],
        ["train", "x", "--out", "y", "--seed", "-1"],
        ["train", "x", "--out", "y", "--test-fraction", "1"],
        ["train", "x", "--out", "y", "--budget", "0"],
    ],
)
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    ended = hu(*words)
    assert ended.code == 2 and ended.out == "" and "Traceback" not in ended.err
    if words == ["tarin"]:
        assert 'Did you mean "train"' in ended.err


@pytest.mark.parametrize(
    "raised, code",
    [
        (KeyboardInterrupt, 130),
        ("BadInput", 3),
        ("GateRefused", 4),
        ("MissingDependency", 5),
        ("HounsfieldError", 1),
    ],
)
def test_every_outcome_has_its_exit_code(monkeypatch: pytest.MonkeyPatch, raised: Any, code: int) -> None:
    from hounsfield.cli import main
    from hounsfield.core import errors

    kind = getattr(errors, raised) if isinstance(raised, str) else raised

    def fail(**_: object) -> None:
        raise kind("first line\n  second line")

    monkeypatch.setattr(main.hu, "main", fail)
    ended = hu("scan")
    assert ended.code == code and ended.out == ""
    assert len(ended.err.strip().splitlines()) == 1


def test_json_is_one_object_on_stdout_and_progress_is_on_stderr() -> None:
    run = trained()
    assert len(run.outcome.out.strip().splitlines()) == 1
    assert isinstance(json.loads(run.outcome.out), dict)
    for step in ("scan", "gather", "audit", "design", "fit", "report"):
        assert any(line.startswith(step) for line in run.outcome.err.splitlines())


def test_metrics_have_their_names_and_intervals() -> None:
    said = trained().said
    assert set(said["metrics"]) >= NAMES
    for name in NAMES:
        cell = said["metrics"][name]
        assert {"value", "low", "high", "n"} <= set(cell)
        assert cell["low"] <= cell["value"] <= cell["high"] and cell["n"] > 0
    assert said["n"] == 48 and said["n_patients"] == 24 and said["evaluated_on"] == "test"
    assert said["metrics"]["auroc"]["value"] > 0.7  # the phantom's square is easily seen
    assert 0 < said["threshold"][0] < 1 and Path(said["report"]).is_file()


def test_without_json_a_table_is_shown(tmp_path: Path) -> None:
    ended = hu(
        "train", write_npz(tmp_path / "s.npz", test=24), "--out", tmp_path / "run", *TINY, "fit.epochs=1"
    )
    assert ended.code == 0 and "auroc" in ended.out and "report: " in ended.out and "n = 24" in ended.out


def _external(tmp_path: Path) -> Outcome:
    words = ("--labels", trained().labels, "--target", "finding", "--out", tmp_path / "external")
    return hu("evaluate", trained().run, trained().source, *words, "--json")


def test_external_evaluation_says_the_same_kind_of_object_and_finds_the_overlap(tmp_path: Path) -> None:
    ended = _external(tmp_path)
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert set(said["metrics"]) >= NAMES and said["n"] == 120 and said["evaluated_on"] == "external"
    overlap = next(w for w in said["warnings"] if w["name"] == "overlap_with_training")
    assert overlap["note"].startswith("72 of 120 images (72 exactly) and 36 patients")
    assert (tmp_path / "external" / "report.html").is_file()


def test_evaluations_are_numbered_within_the_run(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(trained().run, tmp_path / "run")
    for number in ("1", "2"):
        ended = hu(
            "evaluate",
            tmp_path / "run",
            trained().source,
            "--labels",
            trained().labels,
            "--target",
            "finding",
        )
        assert ended.code == 0 and (tmp_path / "run" / "evaluations" / number / "report.html").is_file()


def test_nothing_is_written_into_a_model_that_is_given_away(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(trained().run / "model", tmp_path / "model")
    before = sorted(p.name for p in tmp_path.rglob("*"))
    ended = hu("evaluate", tmp_path / "model", trained().source)
    assert ended.code == 3 and "--out" in ended.said
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_an_evaluation_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(trained().run, tmp_path / "run")
    ended = hu("evaluate", tmp_path / "run", tmp_path / "nothing")
    assert ended.code == 3 and not (tmp_path / "run" / "evaluations").exists()


def test_two_evaluations_never_share_a_folder(tmp_path: Path) -> None:
    from hounsfield.steps.run_folder import evaluation_folder

    (tmp_path / "model").mkdir()
    with evaluation_folder(tmp_path) as one, evaluation_folder(tmp_path) as other:
        assert one != other and one.is_dir() and other.is_dir()


def test_predictions_are_those_of_the_run(tmp_path: Path) -> None:
    ended = hu("predict", trained().run, trained().source, "--out", tmp_path / "p", "--json")
    assert ended.code == 0 and json.loads(ended.out)["n"] == 120

    def scores(path: Path) -> dict[str, str]:
        with path.open() as stream:
            return {row["case"]: row["score cancer"] for row in csv.DictReader(stream)}

    known, anew = scores(trained().run / "predictions.csv"), scores(tmp_path / "p" / "predictions.csv")
    assert len(known) == 48 and all(abs(float(anew[c]) - float(s)) < 2e-6 for c, s in known.items())


def test_a_scan_lists_and_keeps_an_index(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    ended = hu("scan", trained().source, "--out", tmp_path / "index.parquet", "--json")
    said = json.loads(ended.out)
    assert (said["images"], said["patients"]) == (120, 60) and list(said["shapes"].values()) == [120]
    assert (said["files"], said["refused_files"], said["reused"]) == (120, 0, 0)
    rows = parquet.read_table(tmp_path / "index.parquet")
    assert rows.num_rows == 120 and NUMBER in rows["patient_id"].to_pylist()
    assert len(set(rows["image"].to_pylist())) == 120


def test_an_audit_lists_its_findings(tmp_path: Path) -> None:
    words = ("--labels", trained().labels, "--target", "finding")
    ended = hu("audit", trained().source, *words, "--json")
    names = {f["name"] for f in json.loads(ended.out)["findings"]}
    assert ended.code == 0 and {"patient_identity", "patients_in_both_parts", "exact_duplicates"} <= names
    assert "patient_identity:" in hu("audit", trained().source, *words).out


def _secrets(text: str) -> list[str]:
    wanted = (NAME, NAME.split("^")[0], NUMBER, "MRN100")
    return [w for w in wanted if w.casefold() in text.casefold()]


def test_no_identity_is_said_or_kept_outside_the_private_folder(tmp_path: Path) -> None:
    """Names and ids stand in headers, folders and file names of the shared run."""
    run = trained()
    external = _external(tmp_path)
    predicted = hu("predict", run.run, run.source, "--out", tmp_path / "p")
    audited = hu("audit", run.source, "--labels", run.labels, "--target", "finding")
    scanned = hu("scan", run.source)
    for ended in (run.outcome, external, predicted, audited, scanned):
        assert not _secrets(ended.out + ended.err)
    seen = 0
    for folder in (run.run, tmp_path / "external", tmp_path / "p"):
        for path in folder.rglob("*"):
            assert not _secrets(str(path.relative_to(folder)))
            if path.is_file() and "private" not in path.relative_to(folder).parts:
                assert not _secrets(path.read_bytes().decode("latin-1")), path.name
                seen += 1
    assert seen >= 14
    assert _secrets((run.run / "private" / "cases.csv").read_text())


def test_the_private_folder_is_closed_to_others() -> None:
    assert (trained().run / "private").stat().st_mode & 0o077 == 0


def test_cases_can_be_found_again_by_those_who_may(tmp_path: Path) -> None:
    with (trained().run / "private" / "cases.csv").open() as stream:
        rows = {r["case"]: r for r in csv.DictReader(stream)}
    with (trained().run / "predictions.csv").open() as stream:
        scored = list(csv.DictReader(stream))
    assert {r["case"] for r in scored} == {c for c, r in rows.items() if r["part"] == "test"}
    assert len({r["patient"] for r in scored}) == len({rows[r["case"]]["patient"] for r in scored})
    assert all((trained().source / r["files"]).is_file() for r in rows.values())
    development = [r for r in rows.values() if r["part"] == "development"]
    assert {r["fold"] for r in development} == {"0", "1"} and len(development) == 72


def test_the_answer_column_is_that_of_the_label_table() -> None:
    with trained().labels.open() as stream:
        truth = {r["mrn"]: r["finding"] for r in csv.DictReader(stream)}
    with (trained().run / "private" / "cases.csv").open() as stream:
        patient = {r["case"]: r["patient"] for r in csv.DictReader(stream)}
    with (trained().run / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert all(truth[patient[r["case"]]] == r["answer"] for r in rows)
    cut = trained().said["threshold"][0]
    for r in rows:
        if abs(float(r["score cancer"]) - cut) > 1e-5:
            assert r["called"] == ("cancer" if float(r["score cancer"]) > cut else "normal")
    right = np.mean([r["called"] == r["answer"] for r in rows])
    assert right == pytest.approx(trained().said["metrics"]["accuracy"]["value"])


@pytest.mark.parametrize("readable, words", [(False, "may not be read"), (True, "choose another --out")])
def test_a_refusal_of_the_system_says_what_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: bool, words: str
) -> None:
    import os

    from hounsfield.cli import main

    path = tmp_path / f"{NUMBER}.csv"
    path.touch()

    def fail(**_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(main.hu, "main", fail)
    monkeypatch.setattr(os, "access", lambda _, mode: readable or mode != os.R_OK)
    ended = hu("scan")
    assert ended.code == 3 and words in ended.said and not _secrets(ended.err)


def test_a_demo_that_fails_says_what_it_leaves(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    ended = hu("demo", "mammography", "network.name=nonsense", "--patients", "12", "--out", out)
    assert ended.code == 3 and (out / "study").is_dir() and "can be removed" in ended.err
    assert ended.said.startswith("hu: ")
