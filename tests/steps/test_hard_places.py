"""What a network took for an object is looked for in whole images, kept, and shown more often."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import Interrupted
from hounsfield.core.marked import Marked
from hounsfield.core.plan import Detection, Fit, Grid, Network, Plan, Validation
from hounsfield.io.pixel_store import write_pixels
from hounsfield.networks.detector import Detector
from hounsfield.steps.detection import hard_places as hard_places_module
from hounsfield.steps.detection.fit import search_cost, searched_in_time
from hounsfield.steps.detection.hard_places import hard_places, kept_places, places_before
from hounsfield.steps.detection.learning import Detecting
from hounsfield.steps.group import Group
from hounsfield.steps.job import Job
from hounsfield.steps.member import train_member
from hounsfield.steps.prepare import Prepared
from hounsfield.steps.regions.grid_store import GridRow, GridStore, Placed
from hounsfield.steps.regions.task import HardPlaces
from hounsfield.tasks.detection import Candidates

SHAPE = (1, 64, 64)
OBJECT, ALIKE = (0.0, 17.5, 17.5), (41, 45)  # in every case: what is marked, and what only looks like it


def _job(folder: Path, *, steps: int = 50) -> Job:
    plan = Plan(
        task="detection",
        grid=Grid(patch=(1, 32, 32), window=SHAPE, steps=steps, foreground=0.5),
        detection=Detection(classes=("a",), stride=(1, 4, 4), searched=(0.5,), hard=0.4),
        network=Network(name="detector", width=4, depth=2),
        fit=Fit(batch_size=4, epochs=4),
        validation=Validation(folds=2, members=1),
        device="cpu",
    )
    image = np.zeros((1, *SHAPE), np.float32)
    image[0, 0, 16:20, 16:20] = image[0, 0, 40:44, 44:48] = 1
    names = tuple(f"case{n}" for n in range(4))
    store = write_pixels(folder, [(name, image, ()) for name in names], state="x")
    placed = Placed(SHAPE, (0, 0, 0), SHAPE, SHAPE, (), ())
    row = GridRow(placed, ((1, 0, -np.inf, np.inf),), False, marked=(Marked(0, OBJECT, (1, 4, 4)),))
    return Job(
        folder, plan, LabelEncoding("multilabel", ("a",)), Prepared.nothing(), np.arange(4),
        np.zeros(4, np.int64), np.arange(4) % 2, grid=GridStore(folder, store, dict.fromkeys(names, row)),
        cases=names,
    )  # fmt: skip


def _go_on() -> None:
    """Nobody asked for the end."""


class Bright(Detector):
    """Takes every bright cell for an object."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.strides, self.stride = ((2, 2), (2, 2)), (4, 4)

    def forward(self, x: Tensor) -> Tensor:
        found = nn.functional.avg_pool2d(x, 4)
        return torch.cat([12 * found - 6, torch.zeros(len(x), 4, *found.shape[2:])], 1)


def test_a_search_finds_what_is_bright_and_not_marked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    found = hard_places(_job(tmp_path), Bright(), np.array([1, 3]), torch.device("cpu"), rng, _go_on)
    assert found.row.tolist() == [1, 3] and (found.score > 0.9).all()
    assert np.abs(found.centre - (0, 41.5, 45.5)).max() <= 2


def test_the_last_search_before_an_epoch_counts(tmp_path: Path) -> None:
    def places(n: int) -> HardPlaces:
        return HardPlaces(np.arange(n), np.zeros((n, 3)), np.ones(n))

    assert places_before(tmp_path, 5) is None
    kept_places(tmp_path, 3, places(2))
    kept_places(tmp_path, 10, places(5))
    assert places_before(tmp_path, 3) is None
    for epoch, count in ((4, 2), (10, 2), (11, 5)):
        known = places_before(tmp_path, epoch)
        assert known is not None and len(known) == count
    kept_places(tmp_path, 12, places(0))
    assert places_before(tmp_path, 13) is None


def test_the_more_mistaken_the_more_often_drawn() -> None:
    places = HardPlaces(np.array([4, 7]), np.array([[0.0, 1, 2], [0, 3, 4]]), np.array([0.3, 0.9]))
    rng = np.random.default_rng(1)
    drawn = [places.drawn(rng)[0] for _ in range(2000)]
    assert set(drawn) == {4, 7} and abs(np.mean(np.array(drawn) == 7) - 0.75) < 0.04


def test_patches_show_hard_places_from_the_search_on(tmp_path: Path) -> None:
    job = _job(tmp_path)
    task = Detecting(job, 0, torch.device("cpu"), Group())
    job.member_folder(0).mkdir(parents=True)

    class Learner:
        def judged(self) -> Any:
            return Bright()

    task.closed(Learner(), 0, _go_on)  # type: ignore[arg-type]
    assert task.hard(1) is None
    task.closed(Learner(), 1, _go_on)  # type: ignore[arg-type]
    assert task.hard(1) is None and task.hard(2) is not None

    def share(number: int, place: tuple[int, int]) -> float:
        middle = task.batches.epoch(number).corner[:, 1:] + 16
        return float(np.mean(np.abs(middle - place).max(1) <= 8))

    before, after = share(1, ALIKE), share(2, ALIKE)
    assert 0.3 < after - before < 0.5  # 0.4, and those at random that now stand elsewhere
    assert share(2, (18, 18)) > 0.4  # what is marked is shown as often as before
    again = replace(task.batches.epoch(2))
    assert np.array_equal(task.batches.epoch(2).corner, again.corner)


def test_a_run_stopped_during_a_search_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(folder: Path) -> bytes:
        return (folder / "member-0" / "weights.safetensors").read_bytes()

    whole = _job(tmp_path / "whole", steps=3)
    train_member(whole, 0, lambda _: None)
    stopped = _job(tmp_path / "stopped", steps=3)
    searched = hard_places_module.candidates_of
    left = [signal.SIGTERM]

    def stop_once(*asked: Any) -> Candidates:
        while left:
            os.kill(os.getpid(), left.pop())
        return searched(*asked)

    monkeypatch.setattr(hard_places_module, "candidates_of", stop_once)
    with pytest.raises(Interrupted, match="epoch 2, step 3 of 3"):
        train_member(stopped, 0, lambda _: None)
    train_member(stopped, 0, lambda _: None)
    assert weights(stopped.folder) == weights(whole.folder)


def test_no_more_images_are_searched_than_there_is_time_for(tmp_path: Path) -> None:
    plan = _job(tmp_path).plan
    cost = search_cost(plan)
    plenty = searched_in_time(plan, 1_000_000, ())
    assert plenty.detection.search_images == plan.detection.search_images and plenty.detection.searched
    some = searched_in_time(plan, 100, ())
    assert 4 <= some.detection.search_images < plan.detection.search_images
    assert search_cost(some) <= 0.15 * 100 + cost / plan.detection.search_images
    none = searched_in_time(plan, 10, ())
    assert none.detection.searched == () and "no time" in none.reasons["detection.searched"]
    assert searched_in_time(plan, 10, ("detection.searched",)) == plan
