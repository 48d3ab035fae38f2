"""Segmentation from images with masks to a report, a model and results: each set is learned once."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ct_mr_series import write_series
from outlines import ball, draw_pictures, draw_volumes, quick_plan, save_nifti
from phantoms import Outcome, folder_of, hu

pytestmark = pytest.mark.xdist_group("segmentation")  # one process trains for all

SHAPE = (10, 20, 18)


@dataclass(frozen=True)
class Learned:
    """A run, where its images lie, and the JSON object of the command."""

    source: Path
    run: Path
    said: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, str]]:
        with (self.run / "predictions.csv").open() as stream:
            return list(csv.DictReader(stream))


def _train(source: Path, out: Path, plan: Path, *more: str | Path) -> Outcome:
    return hu("train", source, "--task", "segmentation", "--plan", plan, "--out", out, "--json", *more)


def _learned(home: Path, name: str, *more: str | Path) -> Learned:
    ended = _train(home / "set", home / name, home / "plan.json", *more)
    assert ended.code == 0, ended.err
    return Learned(home / "set", home / name, json.loads(ended.out))


def _weights(run: Path) -> list[bytes]:
    found = [p.read_bytes() for p in sorted((run / "model").glob("member-*.safetensors"))]
    assert len(found) == 2
    return found


@pytest.fixture(scope="session")
def pictures() -> Learned:
    """Pictures in colour without a test part: each is measured by the member that had not seen it."""
    home = folder_of("pictures")
    draw_pictures(home / "set", 12)
    (home / "plan.json").write_text(quick_plan(flat=True).model_dump_json())
    return _learned(home, "run", "--test-fraction", "0")


@pytest.fixture(scope="session")
def volumes() -> Learned:
    """Volumes of two structures with a test part."""
    home = folder_of("volumes")
    draw_volumes(home / "set", 12, shape=SHAPE)
    (home / "plan.json").write_text(quick_plan(flat=False).model_dump_json())
    return _learned(home, "run", "--test-fraction", "0.4")


def _complete(made: Learned) -> None:
    """What every run of segmentation leaves."""
    report = (made.run / "report.html").read_text()
    assert report.startswith("<!") and len(report) > 20_000 and "Dice" in report
    for name in ("plan.json", "evidence.json", "predictions.csv", "model/model.json", "private/cases.csv"):
        assert (made.run / name).is_file()
    assert not (made.run / "cache").exists() and not (made.run / "work").exists()
    json.loads(
        (made.run / "evidence.json").read_text(),
        parse_constant=lambda c: pytest.fail(f"evidence.json holds {c}"),
    )
    plan = json.loads((made.run / "plan.json").read_text())
    assert plan["task"] == "segmentation"
    for row in made.rows:
        assert 0 <= float(row["dice"]) <= 1 and 0 <= float(row["iou"]) <= float(row["dice"])
    for page in (report, (made.run / "evidence.json").read_text()):
        assert str(made.source.parent) not in page


def test_pictures_end_in_a_report_and_a_good_model(pictures: Learned) -> None:
    _complete(pictures)
    assert pictures.said["evaluated_on"] == "cross-validation" and pictures.said["n"] == 12
    dice = pictures.said["metrics"]["dice"]
    assert dice["value"] > 0.8 and dice["low"] < dice["value"] < dice["high"] and dice["n"] == 12
    rows = pictures.rows
    assert len(rows) == 12 and {r["structure"] for r in rows} == {"label 1"}
    assert np.mean([float(r["dice"]) for r in rows]) == pytest.approx(dice["value"], abs=1e-4)
    assert "hd95_pixel" in rows[0]


def test_volumes_end_in_a_report_and_a_model_of_two_structures(volumes: Learned) -> None:
    _complete(volumes)
    assert volumes.said["evaluated_on"] == "test" and volumes.said["n"] == 5
    rows = volumes.rows
    assert len(rows) == 10 and {r["structure"] for r in rows} == {"label 1", "label 2"}
    assert "hd95_mm" in rows[0] and all(0.05 < float(r["reference_ml"]) < 0.5 for r in rows)
    assert set(volumes.said["classes"]) == {"label 1", "label 2"}


def test_an_interrupted_run_goes_on_to_the_same_weights(
    pictures: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so does any run of the same seed."""
    from hounsfield.steps.segmentation.learning import Segmenting

    measured, calls = Segmenting.measured, []

    def killed(self: Segmenting, learner: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measured(self, learner)

    home, out = pictures.source.parent, pictures.source.parent / "resumed"
    with monkeypatch.context() as patched:
        patched.setattr(Segmenting, "measured", killed)
        ended = _train(home / "set", out, home / "plan.json", "--test-fraction", "0")
    assert ended.code == 130 and "--resume" in ended.said and not (out / "report.html").exists()
    again = _train(home / "set", out, home / "plan.json", "--test-fraction", "0")
    assert again.code == 3 and "go on with --resume" in again.said
    mask = home / "set" / "masks" / "03_mask.png"
    kept = mask.read_bytes()
    Image.fromarray(np.rot90(np.asarray(Image.open(mask)))).save(mask)
    other = _train(home / "set", out, home / "plan.json", "--test-fraction", "0", "--resume")
    assert other.code == 3 and "was begun with data" in other.said
    mask.write_bytes(kept)
    ended = _train(home / "set", out, home / "plan.json", "--test-fraction", "0", "--resume")
    assert ended.code == 0, ended.err
    assert _weights(out) == _weights(pictures.run)
    assert json.loads(ended.out)["metrics"] == pictures.said["metrics"]


def test_the_plan_of_a_run_serves_another(pictures: Learned) -> None:
    home = pictures.source.parent
    out = home / "again"
    few = ("fit.epochs=1", "grid.steps=2", "--test-fraction", "0")
    ended = _train(home / "set", out, pictures.run / "plan.json", *few)
    assert ended.code == 0, ended.err
    first, second = (json.loads((r / "plan.json").read_text()) for r in (pictures.run, out))
    assert first["network"] == second["network"] and second["grid"]["steps"] == 2
    assert first["grid"]["patch"] == second["grid"]["patch"]


def test_a_plan_of_other_structures_is_refused(pictures: Learned, volumes: Learned, tmp_path: Path) -> None:
    draw_volumes(tmp_path / "set", 6, shape=SHAPE, structures=3)
    ended = _train(tmp_path / "set", tmp_path / "run", volumes.run / "plan.json")
    assert ended.code == 3 and "label(s) 3" in ended.said and not (tmp_path / "run").exists()
    ended = _train(volumes.source, tmp_path / "run", pictures.run / "plan.json")
    assert ended.code == 3 and not (tmp_path / "run").exists(), ended.err
    ended = hu(
        "train",
        volumes.source,
        "--task",
        "detection",
        "--plan",
        volumes.run / "plan.json",
        "--out",
        tmp_path / "run",
    )
    assert ended.code == 3 and "segmentation" in ended.said and not (tmp_path / "run").exists()


def test_other_images_are_evaluated(pictures: Learned, tmp_path: Path) -> None:
    draw_pictures(tmp_path / "other", 11, seed=9)
    before = {p: p.read_bytes() for p in pictures.run.rglob("*") if p.is_file()}
    ended = hu("evaluate", pictures.run, tmp_path / "other", "--out", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert said["evaluated_on"] == "external" and said["n"] == 11 and said["metrics"]["dice"]["value"] > 0.8
    assert (tmp_path / "out" / "report.html").is_file()
    assert before == {p: p.read_bytes() for p in pictures.run.rglob("*") if p.is_file()}


def test_predicted_pictures_are_masks_of_the_same_size(pictures: Learned, tmp_path: Path) -> None:
    draw_pictures(tmp_path / "other", 3, seed=9, size=61)
    ended = hu("predict", pictures.run, tmp_path / "other" / "images", "--out", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["written"] == {"nifti": 3, "csv": 1}
    masks = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "out" / "masks").iterdir())]
    truth = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "other" / "masks").iterdir())]
    assert all(m.shape == (61, 61) and set(np.unique(m)) <= {0, 255} for m in masks)
    assert np.mean([_dice(a > 0, b > 0) for a, b in zip(masks, truth, strict=True)]) > 0.7


def _dice(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def test_predicted_volumes_lie_on_the_grid_of_their_image(volumes: Learned, tmp_path: Path) -> None:
    """Of another spacing than the plan's, and turned."""
    image, labels = _volume(0, shape=(10, 26, 22))
    affine = np.array([[0, -0.8, 0, 5], [0.9, 0, 0, -7], [0, 0, 1.3, 11], [0, 0, 0, 1]])
    given = nibabel.Nifti1Image(image.transpose(2, 1, 0), affine)
    nibabel.save(given, tmp_path / "one.nii.gz")
    ended = hu(
        "predict", volumes.run, tmp_path / "one.nii.gz", "--out", tmp_path / "out", "--write", "nifti,csv"
    )
    assert ended.code == 0, ended.err
    (path,) = (tmp_path / "out" / "masks").iterdir()
    made = nibabel.load(path)
    assert np.allclose(made.affine, affine, atol=1e-5) and made.shape == given.shape
    found = np.asarray(made.dataobj).transpose(2, 1, 0)
    assert set(np.unique(found)) <= {0, 1, 2} and _dice(found == 2, labels == 2) > 0.4
    assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "out").glob("*.csv"))


def test_a_file_whose_axes_run_elsewhere_is_outlined_alike(volumes: Learned, tmp_path: Path) -> None:
    image, _ = _volume(3)
    first = nibabel.Nifti1Image(image.transpose(2, 1, 0), np.diag([1.2, 1.0, 1.4, 1.0]))
    have = nibabel.orientations.io_orientation(first.affine)
    found = []
    for codes in ("RAS", "LPS", "SAR"):
        turn = nibabel.orientations.ornt_transform(have, nibabel.orientations.axcodes2ornt(codes))
        nibabel.save(first.as_reoriented(turn), tmp_path / f"{codes}.nii.gz")
        out = tmp_path / f"out-{codes}"
        ended = hu("predict", volumes.run, tmp_path / f"{codes}.nii.gz", "--out", out, "--write", "nifti")
        assert ended.code == 0, ended.err
        (path,) = (out / "masks").iterdir()
        made = nibabel.load(path)
        assert nibabel.aff2axcodes(made.affine) == tuple(codes)
        back = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt(codes), have)
        found.append(np.asarray(made.as_reoriented(back).dataobj))
    assert found[0].any() and all(np.array_equal(found[0], other) for other in found[1:])


def _volume(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """A volume like those that were learned, with its labels."""
    image, labels = np.random.default_rng(seed).normal(0, 20, shape), np.zeros(shape, np.uint8)
    for label in (1, 2):
        inside = ball(shape, np.array(shape) * ((label - 0.5) / 2, 0.5, 0.5), 4)
        labels[inside] = label
        image[inside] += 100.0 * label
    return image.astype(np.int16), labels


def test_predicted_dicom_is_read_back_by_highdicom(volumes: Learned, tmp_path: Path) -> None:
    hd = pytest.importorskip("highdicom", reason="highdicom is not installed")
    image, labels = _volume(3)
    write_series(tmp_path / "s", image, spacing_mm=(1.0, 1.0, 1.0))
    ended = hu(
        "predict", volumes.run, tmp_path / "s", "--out", tmp_path / "out", "--write", "nifti,seg,sr", "--json"
    )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["written"] == {"nifti": 1, "seg": 1, "sr": 1}
    (path,) = (tmp_path / "out" / "masks").iterdir()
    mask = np.asarray(nibabel.load(path).dataobj)[:, ::-1].transpose(2, 1, 0)  # rows from the top down again
    assert mask.shape == SHAPE and _dice(mask == 2, labels == 2) > 0.4
    (path,) = (tmp_path / "out" / "segmentations").iterdir()
    seg = hd.seg.segread(path)
    names = [seg.get_segment_description(n).segment_label for n in seg.segment_numbers]
    found = seg.get_volume(combine_segments=True).array
    counts = [int((found == n).sum()) for n in seg.segment_numbers]
    sizes = dict(zip(names, counts, strict=True))
    assert sizes == {f"label {n}": int((mask == n).sum()) for n in (1, 2)}
    (path,) = (tmp_path / "out" / "reports").iterdir()
    groups = hd.sr.srread(path).content.get_volumetric_roi_measurement_groups()
    assert [g.get_measurements()[0].value for g in groups] == pytest.approx([n for n in counts if n])  # mm³


def test_images_of_other_channels_are_refused(pictures: Learned, volumes: Learned, tmp_path: Path) -> None:
    for name, run, source in (
        ("a", pictures.run, volumes.source / "images"),
        ("b", volumes.run, pictures.source / "images"),
    ):
        ended = hu("predict", run, source, "--out", tmp_path / name)
        assert ended.code == 3 and not (tmp_path / name).exists(), ended.err
        assert "channel" in ended.said or "spacing" in ended.said
        ended = hu("evaluate", run, source.parent, "--out", tmp_path / name)
        assert ended.code == 3 and not (tmp_path / name).exists(), ended.err
    ended = hu("predict", volumes.run, volumes.source, "--out", tmp_path / "c", "--write", "sge")
    assert ended.code == 3 and "choose among nifti, seg" in ended.said and not (tmp_path / "c").exists()


def test_several_channels_and_regions_are_learned_and_predicted(tmp_path: Path) -> None:
    """nnU-Net's layout with named channels and overlapping regions; one case of it is predicted alone."""
    source = tmp_path / "set"
    for n in range(6):
        image, labels = _volume(n)
        for channel, share in ((0, 1), (1, -1)):
            save_nifti(source / f"imagesTr/c_{n:03}_000{channel}.nii.gz", share * image)
        save_nifti(source / f"labelsTr/c_{n:03}.nii.gz", labels)
    told = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "whole": [1, 2], "core": [2]}, "file_ending": ".nii.gz",
    }  # fmt: skip
    (source / "dataset.json").write_text(json.dumps(told))
    made = quick_plan(
        flat=False, grid__channels=["T1", "FLAIR"], grid__normalise=["zscore", "zscore"],
        grid__steps=3, fit__epochs=1,
        segmentation__regions=[[1, 2], [2]], segmentation__region_names=["whole", "core"],
    )  # fmt: skip
    (tmp_path / "plan.json").write_text(made.model_dump_json())
    ended = _train(source, tmp_path / "run", tmp_path / "plan.json", "--test-fraction", "0")
    assert ended.code == 0, ended.err
    with (tmp_path / "run" / "predictions.csv").open() as stream:
        assert {r["structure"] for r in csv.DictReader(stream)} == {"whole", "core"}
    for channel in (0, 1):
        (tmp_path / "one").mkdir(exist_ok=True)
        name = f"c_000_000{channel}.nii.gz"
        (tmp_path / "one" / name).write_bytes((source / "imagesTr" / name).read_bytes())
    ended = hu("predict", tmp_path / "run", tmp_path / "one", "--out", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["written"]["nifti"] == 1
    ended = hu("evaluate", tmp_path / "run", source, "--out", tmp_path / "measured", "--json")
    assert ended.code == 0, ended.err
