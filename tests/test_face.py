"""What `import hounsfield as hu` offers: importable, documented, and the same runs as the command line."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import hounsfield as hu
from hounsfield.cli.options import changes_of
from hounsfield.core.errors import BadInput
from phantoms import TINY, trained, write_npz


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    assert sorted(hu.__all__) == dir(hu)
    for name in hu.__all__:
        found = getattr(hu, name)
        assert inspect.getdoc(found), name
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        hu.trian  # noqa: B018


def _modules() -> list[str]:
    return [
        m.name for m in pkgutil.walk_packages(hu.__path__, "hounsfield.") if not m.name.endswith("__main__")
    ]


@pytest.mark.parametrize("name", _modules())
def test_every_module_opens_with_its_idea_and_documents_what_it_offers(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__ and module.__doc__.strip()
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public), public
        found = getattr(module, public)
        if (inspect.isclass(found) or inspect.isfunction(found)) and found.__module__ == name:
            assert inspect.getdoc(found), public


def test_training_in_one_line(tmp_path: Path) -> None:
    changes = changes_of((*TINY, "fit.epochs=1"))
    run = hu.train(write_npz(tmp_path / "s.npz", n=40, test=24), out=tmp_path / "run", changes=changes)
    assert run.report.path.is_file() and run.folder == tmp_path / "run" and len(run.predictions) == 24
    auroc = run.metric("auroc")
    assert auroc.value is not None and auroc.n == 24
    with pytest.raises(BadInput, match='did you mean "auroc"'):
        run.metric("aurc")


def test_the_folds_of_the_plan_are_the_folds_of_the_split(tmp_path: Path) -> None:
    """Every development case validates once, whatever number of folds the changes ask for."""
    changes = changes_of((*TINY, "fit.epochs=1"))
    run = hu.train(
        write_npz(tmp_path / "s.npz", n=40),
        out=tmp_path / "run",
        changes=changes,
        question=hu.Question(test_fraction=0),
    )
    assert len(run.predictions) == 40
    assert run.model.operating_point.n == 40


def test_a_model_is_loaded_and_scores_again(tmp_path: Path) -> None:
    known = trained()
    model = hu.load_model(known.run)
    assert model.encoding.positive == "cancer"
    scored = hu.predict(known.run, known.source)
    assert len(scored) == 120 and scored.answers is None and np.isfinite(scored.scores).all()
    question = hu.Question(labels=str(known.labels), target=("finding",))
    run = hu.evaluate(known.run, known.source, out=tmp_path / "external", question=question)
    np.testing.assert_allclose(run.predictions.scores, scored.scores, atol=1e-6)


def test_seed_and_budget_reach_the_plan(tmp_path: Path) -> None:
    changes = changes_of((*TINY, "fit.epochs=1"))
    source = write_npz(tmp_path / "s.npz", n=40)
    run = hu.train(source, out=tmp_path / "run", changes=changes, seed=3, budget_minutes=2.5)
    assert (run.model.plan.seed, run.model.plan.budget_minutes) == (3, 2.5)


def test_an_evaluation_goes_into_the_run(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(trained().run, tmp_path / "run")
    run = hu.evaluate(tmp_path / "run", trained().source, labels=trained().labels, target="finding")
    assert run.folder == tmp_path / "run" / "evaluations" / "1" and run.report.path.is_file()


def _discs(folder: Path, *, n: int = 10) -> Path:
    """Pictures of a bright disc on noise, with its mask beside them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for k in range(n):
        at, radius = rng.uniform(14, 34, 2), rng.uniform(6, 10)
        disc = np.hypot(*(np.indices((48, 48)) - at[:, None, None])) < radius
        image = (rng.normal(90, 20, (48, 48)) + 90 * disc).clip(0, 255)
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{k}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / "masks" / f"{k}.png")
    return folder


def test_outlines_are_learned_measured_and_written_by_the_same_face(tmp_path: Path) -> None:
    source = _discs(tmp_path / "study")
    plan = hu.Plan.checked(
        {
            "task": "segmentation", "threads": 1, "device": "cpu",
            "grid": {"patch": [1, 48, 48], "window": [1, 48, 48], "steps": 20},
            "segmentation": {"structures": ["label 1"]},
            "network": {"name": "unet", "width": 4, "depth": 2},
            "fit": {"epochs": 2, "batch_size": 4, "learning_rate": 0.01},
            "validation": {"folds": 2, "members": 1},
        }
    )  # fmt: skip
    question = hu.Question(one_image_per_patient=True)
    run = hu.train(source, out=tmp_path / "run", plan=plan, question=question, masks="masks")
    assert run.report.path.is_file() and len(run.predictions) == 2
    assert run.metric("dice").n == 2 and run.model.plan.task == "segmentation"
    written = hu.predict(run.folder, source / "images", out=tmp_path / "out", write=("nifti",))
    assert written.files == {"nifti": 10} and len(list((tmp_path / "out" / "masks").iterdir())) == 10
    with pytest.raises(BadInput, match="name a new folder with out="):
        hu.predict(run.folder, source / "images")
    again = hu.evaluate(run.folder, source, out=tmp_path / "again", question=question)
    dice = again.metric("dice").value
    assert dice is not None and dice > 0.3, "the disc is brighter than all else"


def test_options_of_another_task_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="before was given for detection"):
        hu.train(tmp_path, task="detection", before="run")
    with pytest.raises(BadInput, match="a model that classifies"):
        hu.predict(trained().run, trained().source, write=("seg",))


def test_a_scan_finds_the_images() -> None:
    assert len(hu.scan(trained().source).series) == 120
    with pytest.raises(hu.HounsfieldError, match="does not exist"):
        hu.scan("no-such-folder")
