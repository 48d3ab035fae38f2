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


def test_a_scan_finds_the_images() -> None:
    assert len(hu.scan(trained().source).series) == 120
    with pytest.raises(hu.HounsfieldError, match="does not exist"):
        hu.scan("no-such-folder")
