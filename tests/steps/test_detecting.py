"""Detection from images with marks to a model with evidence: gathered, designed, learned, found, written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hounsfield.core.errors import BadInput
from hounsfield.core.marked import Marked
from hounsfield.core.plan import Detection, Fit, Grid, Network, Plan, Validation
from hounsfield.pipeline import evaluate_model
from hounsfield.pipeline import train as run_train
from hounsfield.pipeline.writing import outline_source
from hounsfield.steps.detection.design import design_detection
from hounsfield.steps.detection.gather import gather_marked, marks_beside
from hounsfield.steps.detection.learning import marks_under
from hounsfield.steps.gather import Question
from hounsfield.steps.regions.fingerprint import RegionFacts
from hounsfield.steps.scan import scan
from hounsfield.steps.segmentation.design import design_segmentation
from hounsfield.steps.study import Study
from outlines import save_nifti

SIZE = 64
QUICK = Plan(
    task="detection",
    grid=Grid(
        channels=("image",), normalise=("zscore",), patch=(1, SIZE, SIZE), window=(1, SIZE, SIZE), steps=30,
        foreground=0.5,
    ),
    detection=Detection(classes=("lesion",), shape="box", stride=(1, 4, 4), match="overlap"),
    network=Network(name="detector", width=8, depth=3),
    fit=Fit(
        epochs=6, batch_size=4, learning_rate=4e-3, choose="last", cache_frozen=False, gradient_clip=5.0,
        weight_average=0.9,
    ),
    validation=Validation(folds=2, members=1),
    threads=1,
)  # fmt: skip


def draw(folder: Path, n: int, *, seed: int = 0) -> None:
    """`n` grey pictures with one to three bright boxes, told in COCO's form; every fifth has none."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    images, boxes = [], []
    for case in range(n):
        picture = rng.normal(90, 12, (SIZE, SIZE))
        for _ in range(0 if case % 5 == 4 else int(rng.integers(1, 4))):
            width, height = rng.integers(7, 15, 2).tolist()
            left, top = (int(rng.integers(1, SIZE - s - 1)) for s in (width, height))
            picture[top : top + height, left : left + width] += 90
            boxes.append(
                {"id": len(boxes), "image_id": case, "category_id": 3, "bbox": [left, top, width, height]}
            )
        name = f"picture_{case:02}.png"
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / name)
        images.append({"id": case, "file_name": name, "width": SIZE, "height": SIZE})
    told = {"images": images, "annotations": boxes, "categories": [{"id": 3, "name": "lesion"}]}
    (folder / "annotations.json").write_text(json.dumps(told))


def place(row: dict[str, str], axis: str) -> float:
    """Where an object of predictions.csv lies along an axis."""
    return float(row[f"centre_{axis}_pixel"])


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("detection")
    draw(home / "images", 30)
    run_train(Study(source=str(home / "images"), out=home / "run", task="detection", plan=QUICK))
    return home


@pytest.mark.xdist_group("detecting")
def test_a_run_finds_what_was_marked_and_says_how_much_of_it(learned: Path) -> None:
    evidence = json.loads((learned / "run/evidence.json").read_text())
    found = {(f["name"], f["label"]): f for f in evidence["metrics"]}
    assert evidence["context"]["task"] == "detection"
    hits = found["lesion_sensitivity", ""]
    assert hits["value"] is None or hits["low"] <= hits["value"] <= hits["high"]
    assert "froc" in evidence["curves"]
    with (learned / "run/predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    lesions = [r for r in rows if r["kind"] == "lesion"]
    sure = [r for r in rows if r["kind"] == "candidate" and float(r["score"]) > 0.3]
    near = [
        any(c["case"] == r["case"] and all(abs(place(c, a) - place(r, a)) < 4 for a in "ji") for c in sure)
        for r in lesions
    ]
    assert np.mean(near) > 0.8 and len(sure) < 2 * len(lesions)


@pytest.mark.xdist_group("detecting")
def test_the_score_of_a_call_is_kept_with_the_model_and_used_on_other_images(learned: Path) -> None:
    model = json.loads((learned / "run/model/model.json").read_text())
    threshold = model["operating_point"]["values"][0]
    assert 0 < threshold < 1 and "false positive" in model["operating_point"]["rule"]
    draw(learned / "others", 12, seed=5)
    told = evaluate_model(Study(source=str(learned / "others"), out=learned / "evaluated"), learned / "run")
    assert told.evidence.context["evaluated_on"] == "external" and len(told.predictions) == 12


@pytest.mark.xdist_group("detecting")
def test_prediction_writes_every_candidate_and_says_which_are_called(learned: Path) -> None:
    from hounsfield.io.model_store import read_model

    draw(learned / "new", 4, seed=9)
    out = learned / "written"
    told = outline_source(read_model(learned / "run"), str(learned / "new"), out=out, write=("csv", "seg"))
    assert any("no outlines" in note for note in told.notes)
    with (out / "detections.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    threshold = read_model(learned / "run").operating_point.values[0]
    assert rows and {r["called"] for r in rows} <= {"0", "1", "yes", "no", "True", "False"}
    called = [r for r in rows if r["called"] in ("1", "yes", "True")]
    assert called and all(float(r["score"]) >= threshold - 1e-6 for r in called)


def test_marks_turn_and_grow_with_the_patch_that_shows_them() -> None:
    quarter = np.array(
        [[1.0, 0, 0, 0], [0, 0, -1, 20], [0, 1, 0, 0]]
    )  # patch (k, j, i) shows image (k, 20 - i, j)
    mark = Marked(0, (0, 12, 5), (1, 6, 2), "box")
    moved = marks_under([mark], quarter, (1, 32, 32))[0]
    assert moved.centre == (0, 5, 8) and moved.size == (1, 2, 6)
    half = np.array(
        [[1.0, 0, 0, 0], [0, 0.5, 0, 4], [0, 0, 0.5, 4]]
    )  # a patch that shows the image twice as large
    moved = marks_under([Marked(0, (0, 8, 8), (1, 4, 4))], half, (1, 32, 32))[0]
    assert moved.centre == (0, 8, 8) and moved.size == (1, 8, 8)
    assert not marks_under([Marked(0, (0, 60, 60), (1, 4, 4))], half, (1, 32, 32))


def facts(sizes: list[tuple[float, float, float]], **kind: object) -> RegionFacts:
    given = {
        "n": 20, "shapes": np.array([[200, 300, 300]] * 20), "spacings": np.array([[1.0, 0.7, 0.7]] * 20),
        "channels": ("image",), "kinds": ("ct",), "fixed": ((-900.0, 100.0, -400.0, 300.0),),
    } | kind  # fmt: skip
    return RegionFacts(**given, marked_mm=np.array(sizes).reshape(-1, 3))  # type: ignore[arg-type]


def test_the_grid_is_as_coarse_as_the_small_objects_allow() -> None:
    small = design_detection(facts([(3.0, 3.0, 3.0)] * 10), ("nodule",), shape="sphere")
    large = design_detection(facts([(20.0, 20.0, 20.0)] * 10), ("mass",), shape="sphere")
    assert small.grid.spacing_mm == (1.2, 1.2, 1.2) and large.grid.spacing_mm == (8.0, 8.0, 8.0)
    assert small.grid.normalise == ("fixed",) and small.detection.match == "centre"
    assert all(p % s == 0 for p, s in zip(small.grid.patch, small.detection.stride, strict=True))
    picture = design_detection(
        facts(
            [(1.0, 40.0, 60.0)] * 5,
            shapes=np.array([[1, 500, 400]] * 5),
            spacings=np.zeros((5, 0)),
            kinds=("picture",),
        ),
        ("mass",),
        shape="box",
    )
    assert (
        picture.grid.spacing_mm == () and picture.grid.patch[0] == 1 and picture.detection.stride == (1, 8, 8)
    )
    with pytest.raises(BadInput, match="no object is marked"):
        design_detection(facts([]), ("nodule",), shape="sphere")


def test_of_two_scanners_the_finer_one_gives_the_grid() -> None:
    two = facts(
        [(5.0, 5.0, 5.0)] * 10, spacings=np.array([[2.5, 1.9, 1.9], [1.0, 1.9, 1.9]] * 10)
    )  # fmt: skip
    assert design_detection(two, ("nodule",), shape="sphere").grid.spacing_mm == (2.0, 2.0, 2.0)


def test_a_designed_plan_is_read_again_from_its_file_and_blurs_nothing() -> None:
    for made in (
        design_detection(facts([(5.0, 5.0, 5.0)] * 9), ("nodule",), shape="sphere"),
        design_segmentation(facts([]), ("liver",)),
    ):
        assert Plan.from_json(made.to_json()) == made
    sharp = design_detection(facts([(5.0, 5.0, 5.0)] * 9), ("nodule",), shape="sphere").augment
    assert (sharp.rotation_deg, sharp.zoom, sharp.blur, sharp.low_resolution) == (0, 0, 0, 1)
    assert sharp.flip_slices and sharp.transpose and sharp.noise > 0


def test_volumes_are_gathered_with_spheres_in_world_coordinates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for case in range(6):
        save_nifti(
            tmp_path / f"images/scan_{case}.nii.gz",
            rng.normal(0, 9, (12, 14, 16)).astype(np.int16),
            spacing=(2, 1, 1),
        )
    rows = [
        f"scan_{case}.nii.gz,-5.0,-4.0,10.0,4.0" for case in range(5)
    ]  # LPS: x and y of NIfTI turned over
    (tmp_path / "nodules.csv").write_text("file,coordX,coordY,coordZ,diameter_mm\n" + "\n".join(rows) + "\n")
    index = scan(tmp_path)
    cohort, channels = gather_marked(index, Question(test_fraction=0.3))
    assert channels == ("image",) and len(cohort.cases) == 6
    marked = [c.marked for c in cohort.cases]
    assert sum(bool(m) for m in marked) == 5 and sum(m == () for m in marked) == 1
    first = next(m for m in marked if m)[0]
    assert first.centre == pytest.approx((5, 4, 5)) and first.size == pytest.approx((2, 4, 4))


def test_a_source_without_marks_is_refused_in_one_sentence(tmp_path: Path) -> None:
    save_nifti(tmp_path / "a.nii.gz", np.zeros((4, 4, 4), np.int16))
    with pytest.raises(BadInput, match="--marks"):
        marks_beside(str(tmp_path))
