"""Images and masks that cannot be used end with exit code 3 and one sentence, and leave nothing behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from outlines import ball, draw_pictures, draw_volumes, quick_plan, save_nifti
from phantoms import Outcome, hu

SHAPE = (10, 20, 18)
FAST = ("fit.epochs=1", "grid.steps=1", "validation.members=1", "--test-fraction", "0")


def _train(tmp_path: Path, *more: str | Path, flat: bool = False, **changes: Any) -> Outcome:
    (tmp_path / "plan.json").write_text(quick_plan(flat=flat, **changes).model_dump_json())
    return hu(
        "train", tmp_path / "set", "--task", "segmentation", "--plan", tmp_path / "plan.json",
        "--out", tmp_path / "run", *FAST, *more,
    )  # fmt: skip


def _refused(ended: Outcome, *words: str, out: Path) -> None:
    """One sentence with these words, exit code 3, and no folder."""
    assert ended.code == 3, (ended.code, ended.err[-2000:])
    sentences = [line for line in ended.err.splitlines() if line.startswith("hu: ")]
    assert sentences == [ended.said] and ended.out == ""
    assert "Traceback" not in ended.err and not re.search(r"\w+Error\b", ended.said)
    assert str(out.parent) not in ended.said
    for word in words:
        assert word in ended.said, ended.said
    assert not out.exists()


def _set(tmp_path: Path, n: int = 4) -> Path:
    draw_volumes(tmp_path / "set", n, shape=SHAPE)
    return tmp_path / "set"


def _labels(source: Path, number: int) -> NDArray[Any]:
    return np.asarray(nibabel.load(source / f"labels/case_{number:03}.nii.gz").dataobj).transpose(2, 1, 0)


def test_a_mask_of_another_grid_says_how_far_and_can_be_resampled(tmp_path: Path) -> None:
    source = _set(tmp_path)
    save_nifti(source / "labels/case_002.nii.gz", _labels(source, 2), shift=2.5)
    ended = _train(tmp_path)
    _refused(ended, "another grid than its image", "2.50 mm", "--resample-masks", out=tmp_path / "run")
    ended = _train(tmp_path, "--resample-masks")
    assert ended.code == 0, ended.err
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_mask_of_another_shape(tmp_path: Path) -> None:
    source = _set(tmp_path)
    save_nifti(source / "labels/case_001.nii.gz", _labels(source, 1)[:-1])
    _refused(_train(tmp_path), "9×20×18 voxels", "not 10×20×18", out=tmp_path / "run")


def test_labels_that_are_not_in_the_list(tmp_path: Path) -> None:
    _set(tmp_path)
    ended = hu(
        "train", tmp_path / "set", "--task", "segmentation", "--classes", "tumour", "--out", tmp_path / "run"
    )
    _refused(ended, "4 mask(s) hold the label(s) 2", '1 to 1: "tumour"', "--classes", out=tmp_path / "run")


def test_a_mask_between_whole_labels(tmp_path: Path) -> None:
    source = _set(tmp_path)
    save_nifti(source / "labels/case_003.nii.gz", _labels(source, 3).astype(np.float32) / 2)
    _refused(_train(tmp_path), "holds 0.5", "whole labels", "threshold", out=tmp_path / "run")


def test_an_image_without_a_mask_and_a_mask_of_nothing(tmp_path: Path) -> None:
    """The first is left out, the second is learned from, and both are said."""
    source = _set(tmp_path, 6)
    (source / "labels/case_000.nii.gz").unlink()
    save_nifti(source / "labels/case_001.nii.gz", np.zeros(SHAPE, np.uint8))
    ended = _train(tmp_path, "--json")
    assert ended.code == 0, ended.err
    assert "1 image(s) without a mask were left out" in ended.err
    assert "1 of 5 masks are empty" in ended.err
    said = json.loads(ended.out)
    assert said["n"] <= 5
    page = (tmp_path / "run" / "report.html").read_text()
    assert "without a mask were left out" in page


def test_no_mask_at_all(tmp_path: Path) -> None:
    source = _set(tmp_path)
    for path in (source / "labels").iterdir():
        path.unlink()
    _refused(_train(tmp_path), "none of 4 images has a mask", "--masks", out=tmp_path / "run")


def test_masks_of_nothing_only(tmp_path: Path) -> None:
    source = _set(tmp_path)
    for n in range(4):
        save_nifti(source / f"labels/case_{n:03}.nii.gz", np.zeros(SHAPE, np.uint8))
    _refused(_train(tmp_path), "masks of all 4 images are empty", out=tmp_path / "run")


def test_thick_slices_are_learned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for n in range(4):
        at = np.stack(np.indices((6, 32, 32)), -1) * (8.0, 1.0, 1.0)
        inside = ((at - (20, 16, 16)) ** 2).sum(-1) < 10**2
        image = (rng.normal(0, 20, (6, 32, 32)) + 100 * inside).astype(np.int16)
        save_nifti(tmp_path / f"set/images/{n}.nii.gz", image, spacing=(8, 1, 1))
        save_nifti(tmp_path / f"set/labels/{n}.nii.gz", inside.astype(np.uint8), spacing=(8, 1, 1))
    ended = hu(
        "train", tmp_path / "set", "--task", "segmentation", "--out", tmp_path / "run", "--budget", "0.01",
        "network.width=4", "device=cpu", "threads=1", "validation.folds=2", *FAST,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["grid"]["spacing_mm"] == [8.0, 1.0, 1.0] and plan["network"]["kernels"][0] == [1, 3, 3]
    assert plan["network"]["strides"][1] == [1, 2, 2] and plan["augment"]["tilt_deg"] == 0


def test_a_spacing_of_zero(tmp_path: Path) -> None:
    source = _set(tmp_path)
    for folder in ("images", "labels"):
        made = nibabel.load(source / f"{folder}/case_001.nii.gz")
        raw = nibabel.Nifti1Image(np.asarray(made.dataobj), None)
        raw.header["pixdim"][1:4] = (1, 1, 0)
        raw.header["sform_code"] = 2
        raw.header["srow_x"], raw.header["srow_y"], raw.header["srow_z"] = (
            (1, 0, 0, 0),
            (0, 1, 0, 0),
            (0, 0, 0, 0),
        )
        (source / f"{folder}/case_001.nii.gz").unlink()
        data = bytearray(raw.to_bytes())
        (source / f"{folder}/case_001.nii").write_bytes(bytes(data))
    ended = _train(tmp_path)
    if ended.code == 0:  # the reader refused it and said so
        assert "2 files refused" in ended.err and "flattens" in ended.err
    else:
        _refused(ended, "spacing", out=tmp_path / "run")


def test_two_names_of_one_structure(tmp_path: Path) -> None:
    for n in range(4):
        inside = ball(SHAPE, np.array([5, 10, 9]), 3).astype(np.uint8)
        save_nifti(tmp_path / f"set/s{n}/ct.nii.gz", (100 * inside).astype(np.int16))
        names = ("kidney_left", "left_kidney") if n % 2 else ("kidney_left", "liver")
        for name in names:
            save_nifti(tmp_path / f"set/s{n}/segmentations/{name}.nii.gz", inside)
    ended = _train(tmp_path)
    _refused(ended, '"kidney_left" and "left_kidney" are two names', "rename one", out=tmp_path / "run")
    for asked in ("kidney_left", "left_kidney"):  # its other half would be left out unseen
        ended = _train(tmp_path, "--classes", asked)
        _refused(ended, '"kidney_left" and "left_kidney" are two names', out=tmp_path / "run")


def test_channels_that_do_not_show_the_same_place(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(0, 20, SHAPE).astype(np.int16)
    for n in range(4):
        inside = ball(SHAPE, np.array([5, 10, 9]), 3).astype(np.uint8)
        save_nifti(tmp_path / f"set/imagesTr/c{n}_0000.nii.gz", image + n)
        save_nifti(tmp_path / f"set/imagesTr/c{n}_0001.nii.gz", image - n, shift=15.0 if n == 2 else 0.0)
        save_nifti(tmp_path / f"set/labelsTr/c{n}.nii.gz", inside)
    ended = _train(
        tmp_path, grid__channels=["0000", "0001"], grid__normalise=["zscore", "zscore"],
        segmentation__structures=["label 1"],
    )  # fmt: skip
    _refused(ended, "channel 2 shows", "--channels", out=tmp_path / "run")


def _planned(tmp_path: Path) -> Outcome:
    """Trained by a plan that is designed: the images are looked at first."""
    return hu(
        "train", tmp_path / "set", "--task", "segmentation", "--out", tmp_path / "run", "--budget", "0.01",
        "network.width=4", "device=cpu", "threads=1", "validation.folds=2", *FAST,
    )  # fmt: skip


@pytest.mark.parametrize("given", [False, True])
def test_pictures_and_volumes_mixed(tmp_path: Path, given: bool) -> None:
    source = _set(tmp_path)
    noise = np.random.default_rng(0).integers(0, 200, (20, 18))
    Image.fromarray(noise.astype(np.uint8)).save(source / "images/p.png")
    Image.fromarray(np.full((20, 18), 1, np.uint8)).save(source / "labels/p.png")
    ended = _train(tmp_path) if given else _planned(tmp_path)
    _refused(ended, "1 of 5 images are 2D", "separately", out=tmp_path / "run")


@pytest.mark.parametrize("given", [False, True])
def test_grey_and_colour_pictures_mixed(tmp_path: Path, given: bool) -> None:
    draw_pictures(tmp_path / "set", 5)
    grey = Image.open(tmp_path / "set/images/01.png").convert("L")
    grey.save(tmp_path / "set/images/01.png")
    ended = _train(tmp_path, flat=True) if given else _planned(tmp_path)
    _refused(ended, "1 and 3 channels", "separately", out=tmp_path / "run")


def test_masks_of_many_greys(tmp_path: Path) -> None:
    """Pictures given as their own masks."""
    draw_pictures(tmp_path / "set", 4)
    for n in range(4):
        Image.open(tmp_path / f"set/images/{n:02}.png").convert("L").save(
            tmp_path / f"set/masks/{n:02}_mask.png"
        )
    ended = _train(tmp_path, flat=True)
    assert ended.code == 3 and "label" in ended.said and not (tmp_path / "run").exists(), ended.err


def test_masks_of_colours(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "set", 4)
    Image.open(tmp_path / "set/images/02.png").save(tmp_path / "set/masks/02_mask.png")
    _refused(_train(tmp_path, flat=True), "channels that differ", out=tmp_path / "run")


def test_a_label_of_255_beside_others(tmp_path: Path) -> None:
    source = _set(tmp_path)
    labels = _labels(source, 0).copy()
    labels[0, 0, 0] = 255
    save_nifti(source / "labels/case_000.nii.gz", labels)
    ended = hu("train", source, "--task", "segmentation", "--out", tmp_path / "run")
    assert ended.code == 3 and "255" in ended.said and not (tmp_path / "run").exists(), ended.err


def test_two_masks_an_image_of_which_nothing_says_which_is_meant(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "set", 4)
    (tmp_path / "set/labels").mkdir()
    for n in range(4):
        mask = np.zeros((48, 48), np.uint8)
        mask[n : n + 20, 2:9] = 255
        Image.fromarray(mask).save(tmp_path / f"set/labels/{n:02}_mask.png")
    _refused(_train(tmp_path, flat=True), "4 image(s) have several masks", "--masks", out=tmp_path / "run")
    ended = _train(tmp_path, "--masks", "masks", flat=True)
    assert ended.code == 0, ended.err


def test_an_existing_folder_is_left_as_it_was(tmp_path: Path) -> None:
    source = _set(tmp_path)
    save_nifti(source / "labels/case_003.nii.gz", _labels(source, 3).astype(np.float32) / 2)
    (tmp_path / "run").mkdir()
    ended = _train(tmp_path)
    assert ended.code == 3 and list((tmp_path / "run").iterdir()) == []
    (tmp_path / "run" / "kept.txt").write_text("mine")
    ended = _train(tmp_path)
    assert ended.code == 3 and [p.name for p in (tmp_path / "run").iterdir()] == ["kept.txt"]
