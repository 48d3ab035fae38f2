"""The article's three plans train from class folders of PNGs and from a DICOM folder, as one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hounsfield.core.plan import Plan
from phantoms import folder_of, hu, write_class_folders, write_dicom_study

SHORT = ("fit.epochs=1", "fit.batch_size=6", "validation.folds=2", "threads=1", "device=cpu")


@pytest.fixture(scope="module")
def sources() -> dict[str, tuple[str, ...]]:
    home = folder_of("article")
    pictures = write_class_folders(home / "png", each=9)
    study, labels = write_dicom_study(home / "dicom", patients=18, images=1)
    return {
        "png": (str(pictures), "--one-image-per-patient"),
        "dicom": (str(study), "--labels", str(labels), "--target", "finding"),
    }


# each plan from one kind of source every time, from the other in the long form
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("article-a", "dicom"),
        ("article-b", "png"),
        ("article-c", "png"),
        pytest.param("article-a", "png", marks=pytest.mark.slow),
        pytest.param("article-b", "dicom", marks=pytest.mark.slow),
        pytest.param("article-c", "dicom", marks=pytest.mark.slow),
    ],
)
def test_a_plan_of_the_article_trains(
    tmp_path: Path, sources: dict[str, tuple[str, ...]], name: str, kind: str
) -> None:
    words = [*sources[kind], "--plan", name, "--out", str(tmp_path / "run"), "--json", *SHORT]
    if name == "article-c":
        # ImageNet weights come from a hub, which no test asks; small images, since VGG16 is slow to explain
        words += ["network.weights=", "input.size=[1,64,64]"]
    ended = hu("train", *words)
    assert ended.code == 0, ended.err
    kept = Plan.from_json((tmp_path / "run" / "plan.json").read_text())
    assert kept.network.name == kept.name == name
    assert kept.input.channels == (1 if name == "article-a" else 3)
    assert json.loads(ended.out)["n"] == 4 or kind == "dicom"
    assert (tmp_path / "run" / "model" / "member-0.onnx").is_file()
    assert (tmp_path / "run" / "report.html").is_file()
