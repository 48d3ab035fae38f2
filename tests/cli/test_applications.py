"""`--application` and `hu follow` on the command line: what is refused, in a sentence, with nothing left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.volume import Volume
from hounsfield.io.nifti_write import write_nifti
from phantoms import hu


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    folder = tmp_path / "scans" / "one"
    folder.mkdir(parents=True)
    for visit in (1, 2):
        data = np.full((1, 8, 9, 10), 40 * visit, np.int16)
        write_nifti(folder / f"visit{visit}_T1.nii.gz", Volume(data, np.eye(4), (), True))
    return tmp_path / "scans"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--application", "mamography"), 3, 'did you mean "mammography"'),
        (("--application", "mammography"), 3, "measures no visits"),
        (("--application", "nodule"), 3, "give marks with --marks, or a model that finds them with --model"),
        ((), 2, "--application"),
    ],
)
def test_what_cannot_be_followed_is_one_sentence(
    volumes: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = hu("follow", str(volumes), *words, "--out", str(tmp_path / "run"))
    assert done.code == code and said in done.err
    assert not (tmp_path / "run").exists()


def test_volumes_are_refused_by_an_application_of_pictures(volumes: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,malignant\nvisit1_T1.nii.gz,0\nvisit2_T1.nii.gz,1\n")
    done = hu(
        "train", str(volumes), "--application", "mammography", "--labels", str(labels), "--out",
        str(tmp_path / "run"),
    )  # fmt: skip
    assert done.code == 3
    assert "2 of 2 images are of volumes of slices; the application mammography expects" in done.err
    assert not (tmp_path / "run").exists()


def test_an_application_that_detects_refuses_another_task(volumes: Path, tmp_path: Path) -> None:
    done = hu(
        "train", str(volumes), "--application", "nodule", "--task", "segmentation", "--out",
        str(tmp_path / "run"),
    )  # fmt: skip
    assert done.code == 3 and "which is a detection; leave --task out" in done.err
