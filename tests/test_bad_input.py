"""What cannot be used ends with exit code 3 and one sentence: what was given, what was expected, what to do.

Nothing is left behind, and no identity is printed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from phantoms import (
    NUMBER,
    TINY,
    Outcome,
    hu,
    pictures,
    trained,
    write_class_folders,
    write_csv,
    write_dicom,
    write_dicom_study,
    write_npz,
    write_png,
    write_table_study,
)


def _refused(ended: Outcome, *words: str, out: Path | None = None) -> str:
    """The sentence of a refusal, checked for what every refusal must be."""
    assert ended.code == 3, (ended.code, ended.err)
    sentences = [line for line in ended.err.splitlines() if line.startswith("hu: ")]
    assert sentences == [ended.said] and ended.out == ""
    assert "Traceback" not in ended.err and not re.search(r"\w+Error\b", ended.said)
    for word in words:
        assert word in ended.said
    assert out is None or not out.exists()
    return ended.said


def _train(source: Path, tmp_path: Path, *more: str | Path) -> tuple[Outcome, Path]:
    out = tmp_path / "run"
    return hu("train", source, "--out", out, *TINY, *more), out


def _table(tmp_path: Path, **columns: Any) -> tuple[Path, Path]:
    rows = [
        {"file": f"{k}.png", "finding": "ab"[k % 2], **{c: v(k) for c, v in columns.items()}}
        for k in range(20)
    ]
    return write_table_study(tmp_path / "s", rows)


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    ended, out = _train(tmp_path / "s", tmp_path)
    _refused(ended, "holds no file", "choose one with images", out=out)


def test_a_folder_of_text(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for n in range(3):
        (tmp_path / "s" / f"{n}.txt").write_text("no image")
    ended, out = _train(tmp_path / "s", tmp_path)
    _refused(ended, "3 files", ".txt: 3", "choose a folder with images", out=out)


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    write_npz(tmp_path / "study.npz")
    ended, out = _train(tmp_path / "stduy.npz", tmp_path)
    _refused(ended, 'did you mean "study.npz"', out=out)


def test_ids_that_match_nothing_are_shown_by_pattern_without_identity(tmp_path: Path) -> None:
    source, _ = write_dicom_study(tmp_path / "s", patients=4)
    labels = write_csv(tmp_path / "t.csv", [{"who": f"PX-{k:03}", "finding": "ab"[k % 2]} for k in range(4)])
    ended, out = _train(source, tmp_path, "--labels", labels, "--target", "finding")
    said = _refused(ended, "column(s) who", '"AA-999"', 'patient like "AAA99999"', "--on", out=out)
    assert NUMBER not in said and "PX-" not in said and "SECRET" not in said


def test_a_label_column_that_is_not_there(tmp_path: Path) -> None:
    source, labels = _table(tmp_path)
    ended, out = _train(source, tmp_path, "--labels", labels, "--target", "findings")
    _refused(ended, 'no column "findings"', 'did you mean "finding"', out=out)


def test_a_table_without_a_target_and_a_target_without_a_table(tmp_path: Path) -> None:
    source, labels = _table(tmp_path)
    ended, out = _train(source, tmp_path, "--labels", labels)
    _refused(ended, "without --target", "file, finding", out=out)
    ended, out = _train(source, tmp_path, "--target", "finding")
    _refused(ended, "--target finding was given without --labels", out=out)


def test_images_without_any_label(tmp_path: Path) -> None:
    source, _ = _table(tmp_path)
    ended, out = _train(source, tmp_path)
    _refused(ended, "no image has a label", "--labels CSV", out=out)


def test_one_class_only(tmp_path: Path) -> None:
    source, labels = _table(tmp_path, same=lambda k: "x")
    ended, out = _train(source, tmp_path, "--labels", labels, "--target", "same")
    _refused(ended, "one class only", "check the target column", out=out)


def test_a_class_with_fewer_cases_than_folds(tmp_path: Path) -> None:
    source, labels = _table(tmp_path, grade=lambda k: "rare" if k == 0 else "xy"[k % 2])
    ended, out = _train(source, tmp_path, "--labels", labels, "--target", "grade")
    _refused(ended, "fewer patients than the 2 folds", '"rare" 1', '--classes "x,y"', "--positive", out=out)


def test_images_of_different_channel_counts(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "s", each=6)
    for n in range(4):
        write_png(
            source / "benign" / f"colour{n}.png",
            np.random.default_rng(n).integers(0, 255, (16, 16, 3)).astype(np.uint8),
        )
    ended, out = _train(source, tmp_path)
    _refused(ended, "differ in channels", "with 3 channel(s)", "input.channels=1", out=out)
    assert hu("train", source, "--out", out, *TINY, "input.channels=1").code == 0


def _write(kind: str, folder: Path, pixels: np.ndarray, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "tiff":
        write_png(folder / f"{name}.tif", pixels.astype(np.float32))
    elif kind == "nifti":
        volume = np.repeat(pixels.astype(np.float32)[..., None], 8, 2)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / f"{name}.nii.gz")


@pytest.mark.parametrize("kind", ["npz", "tiff", "nifti"])
@pytest.mark.parametrize("fault, words", [(np.nan, "not numbers (NaN or infinite)"), (None, "constant")])
def test_images_that_hold_no_picture(tmp_path: Path, kind: str, fault: float | None, words: str) -> None:
    answers = [k % 2 for k in range(12)]
    images = pictures(answers).astype(np.float32)
    images[3] = 5.0 if fault is None else images[3]
    images[3, 2, 2] = 5.0 if fault is None else fault
    source = tmp_path / "s"
    if kind == "npz":
        source = tmp_path / "s.npz"
        np.savez(source, train_images=images, train_labels=np.array(answers))
    else:
        for n, image in enumerate(images):
            _write(kind, source / "ab"[answers[n]], image, str(n))
    ended, out = _train(source, tmp_path)
    _refused(ended, "1 of 12 images cannot be used", words, "hu scan", out=out)


def test_a_truncated_dicom_is_refused_with_its_reason(tmp_path: Path) -> None:
    source, labels = write_dicom_study(tmp_path / "s", patients=6)
    victim = next(source.rglob("*.dcm"))
    victim.write_bytes(victim.read_bytes()[:-200])
    listed = hu("scan", source, "--json")
    assert listed.code == 0 and '"images": 11' in listed.out and "bytes" in listed.out
    for path in source.rglob("*.dcm"):
        path.write_bytes(path.read_bytes()[:-200])
    ended, out = _train(source, tmp_path, "--labels", labels, "--target", "finding")
    said = _refused(ended, "none a readable image", "send it again", out=out)
    assert NUMBER not in said and "SECRET" not in said


def _tiny_disk(folder: Path, *, size: str, more: str = "") -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}{more}", "hounsfield-test", str(folder)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here; run as root to test it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    yield from _tiny_disk(tmp_path / "disk", size="64k")


@pytest.fixture
def closed_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that is read-only."""
    yield from _tiny_disk(tmp_path / "closed", size="64k", more=",ro")


def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    source = write_npz(tmp_path / "s.npz", n=60, side=64)
    ended = hu("train", source, "--out", small_disk / "run", *TINY)
    _refused(ended, "full", "free space or choose another --out", out=small_disk / "run")


def test_a_read_only_disk(tmp_path: Path, closed_disk: Path) -> None:
    ended = hu("train", write_npz(tmp_path / "s.npz"), "--out", closed_disk / "run", *TINY)
    _refused(ended, "read-only", "choose another --out", out=closed_disk / "run")


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    """RLIMIT_FSIZE is what an ordinary user can set where no disk can be mounted."""
    source = write_npz(tmp_path / "s.npz", n=60, side=64)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536));"
        "from hounsfield.cli.main import main; main()"
    )
    words = ["train", str(source), "--out", str(tmp_path / "run")]
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    _refused(Outcome(ended.returncode, ended.stdout, ended.stderr), "full", out=tmp_path / "run")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_the_disk_may_fail_at_the_last_step_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.replace

    def broken(a: Any, b: Any) -> None:
        if str(b).endswith("predictions.csv"):
            raise OSError(number, os.strerror(number), str(b))
        real(a, b)

    monkeypatch.setattr(os, "replace", broken)
    source = write_npz(tmp_path / "s.npz")
    ended, out = _train(source, tmp_path)
    _refused(ended, "choose another --out")
    assert not (out / "predictions.csv").exists()
    monkeypatch.undo()
    assert hu("train", source, "--out", out, *TINY, "--resume").code == 0


def test_an_output_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    ended = hu("train", write_npz(tmp_path / "s.npz"), "--out", tmp_path / "file" / "run", *TINY)
    _refused(ended, "choose another --out")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_output_that_is_not_empty(tmp_path: Path) -> None:
    out = tmp_path / "run"
    (out / "cache").mkdir(parents=True)
    (out / "cache" / "thesis.txt").write_text("mine")
    for command in (("train", write_npz(tmp_path / "s.npz")), ("evaluate", trained().run, trained().source)):
        ended = hu(*command, "--out", out)
        _refused(ended, 'output folder "run" is not empty', "choose another --out")
    assert [p.name for p in out.rglob("*")] == ["cache", "thesis.txt"]


@pytest.mark.parametrize(
    "change, words",
    [
        ("fit.epoch=3", ('unknown plan key "fit.epoch"', 'did you mean "fit.epochs"')),
        ("fit.epochs=many", ("\"fit.epochs\" is 'many'", "integer")),
        ("fit.epochs=0", ('"fit.epochs" is 0', "greater than or equal to 1")),
        ("validation.folds=abc", ("\"validation.folds\" is 'abc'",)),
        ("fit.learning_rate=NaN", ('"fit.learning_rate" is nan',)),
        ("fit.optimiser=adamm", ("\"fit.optimiser\" is 'adamm'", "'adamw'")),
        ("input.size=[1,16]", ("input.size",)),
        ("input.size=[1,0,16]", ("input.size",)),
        ("input.normalise=window", ("input.window", "e.g. input.window=[40,400]")),
        ("input.spacing_mm=[1,1]", ("input.spacing_mm", "three lengths")),
        ("network.name=compcat", ('did you mean "compact"',)),
        ("device=tpu", ('device "tpu"', "device=cpu")),
        ("augment.zoom=1.5", ("augment.zoom",)),
        ("seed=-1", ("seed",)),
        ("epochs", ("KEY=VALUE", "fit.epochs=20")),
    ],
)
def test_plan_changes_that_cannot_be(tmp_path: Path, change: str, words: tuple[str, ...]) -> None:
    ended, out = _train(write_npz(tmp_path / "s.npz"), tmp_path, change)
    _refused(ended, *words, out=out)


@pytest.mark.parametrize(
    "text, words",
    [
        ('{"fit": {"epochz": 3}}', ('"fit.epochz" is unknown', 'did you mean "fit.epochs"')),
        ('{"nonsense": 1}', ('"nonsense" is unknown',)),
        ("{not json", ("not JSON", "line 1")),
        ("[1]", ("not a JSON object",)),
    ],
)
def test_a_plan_file_that_cannot_be(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    (tmp_path / "plan.json").write_text(text)
    ended, out = _train(write_npz(tmp_path / "s.npz"), tmp_path, "--plan", tmp_path / "plan.json")
    _refused(ended, *words, out=out)


def test_plans_that_are_not_there(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "s.npz")
    ended, out = _train(source, tmp_path, "--plan", "article-z")
    _refused(ended, 'no plan is named "article-z"', 'did you mean "article-', out=out)
    ended, out = _train(source, tmp_path, "--plan", tmp_path / "missing.json")
    _refused(ended, '"missing.json" does not exist', out=out)


def _spoilt(tmp_path: Path) -> Path:
    shutil.copytree(trained().run, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: (m / "model.json").write_text("{"),
        lambda m: (m / "model.json").write_bytes(b"\xff\xfe\0binary"),
        lambda m: (m / "model.json").write_text("[]"),
        lambda m: (m / "model.json").write_text("{}"),
        lambda m: (m / "model.json").unlink(),
        lambda m: (m / "plan.json").unlink(),
        lambda m: (m / "plan.json").write_text('{"secret_key": 1}'),
        lambda m: (m / "member-1.safetensors").unlink(),
        lambda m: (m / "member-1.safetensors").write_bytes((m / "member-1.safetensors").read_bytes()[:-9]),
        lambda m: (m / "member-1.safetensors").write_bytes(b"cos\nsystem\n(S'true'\ntR."),
        lambda m: (m / "model.json").write_text(
            (m / "model.json").read_text().replace("member-1.s", "../../member-1.s")
        ),
    ],
)
def test_a_model_that_was_changed_or_cut(tmp_path: Path, spoil: Any) -> None:
    run = _spoilt(tmp_path)
    spoil(run / "model")
    words = ("--labels", trained().labels, "--target", "finding")
    _refused(hu("evaluate", run, trained().source, *words, "--out", tmp_path / "out"), out=tmp_path / "out")
    _refused(hu("predict", run, trained().source, "--out", tmp_path / "out"), out=tmp_path / "out")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    ended = hu("predict", tmp_path, trained().source, "--out", tmp_path / "out")
    _refused(ended, "holds no model", "finished hu train", out=tmp_path / "out")


def test_other_labels_than_the_model_knows(tmp_path: Path) -> None:
    labels = tmp_path / "t.csv"
    labels.write_text(trained().labels.read_text().replace("cancer", "sarcoma"))
    words = ("--labels", labels, "--target", "finding")
    ended = hu("evaluate", trained().run, trained().source, *words, "--out", tmp_path / "out")
    _refused(ended, '"sarcoma" is not among the classes', out=tmp_path / "out")


def test_volumes_for_a_model_of_images(tmp_path: Path) -> None:
    for n in range(2):
        _write("nifti", tmp_path / "s", pictures([n])[0], str(n))
    ended = hu("predict", trained().run, tmp_path / "s", "--out", tmp_path / "out")
    _refused(ended, "2 of 2 images are volumes", out=tmp_path / "out")


def test_images_too_small_to_see_anything(tmp_path: Path) -> None:
    ended, out = _train(write_npz(tmp_path / "s.npz", side=6), tmp_path)
    _refused(ended, "6×6 pixels", "at least 8×8", out=out)


def test_a_series_whose_slices_share_a_position_does_not_stop_the_others(tmp_path: Path) -> None:
    for n in range(3):
        write_dicom(
            tmp_path / "s" / f"{n}.dcm",
            pictures([0], seed=n)[0],
            number=n,
            SeriesInstanceUID="1.2.3",
            Modality="CT",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            ImagePositionPatient=[0, 0, min(n, 1)],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[1, 1],
        )
    write_png(tmp_path / "s" / "a.png", pictures([1])[0])
    listed = hu("scan", tmp_path / "s")
    assert listed.code == 0 and "refused" in listed.out
