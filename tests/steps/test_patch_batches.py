"""The patches of an epoch: the same whoever makes them and when, as often on what is marked as asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.plan import Augment, Fit, Grid, Network, Plan, Segmentation, Validation
from hounsfield.io.pixel_store import write_pixels
from hounsfield.steps.group import Group
from hounsfield.steps.job import Job
from hounsfield.steps.prepare import Prepared
from hounsfield.steps.regions.batches import PatchBatches
from hounsfield.steps.regions.grid_store import GridRow, GridStore, Placed
from hounsfield.steps.segmentation.learning import Segmenting

Three = tuple[int, int, int]
CHANGES = Augment(
    rotation_deg=30, zoom=0.2, flip_left_right=True, elastic=0.05, noise=0.2, brightness=0.2, blur=1.0,
    gamma=0.3, intensity_chance=0.5,
)  # fmt: skip


def _store(folder: Path, shapes: list[Three], *, annotated: tuple[int, ...] | None = None) -> GridStore:
    """Cases whose every voxel holds a number of its own, with one voxel of label 2 and a few of label 1."""
    rows, parts = {}, []
    for n, shape in enumerate(shapes):
        rng = np.random.default_rng(n)
        image = (rng.permutation(np.prod(shape)).reshape(1, *shape) % 30000).astype(np.int16)
        labels = np.zeros(shape, np.uint8)
        labels[tuple(np.array(shape) // 2)] = 1
        labels[-1, -1, -1] = 2
        parts += [(f"case{n}", image, ()), (f"case{n}|labels", labels[None], ())]
        counted = {}
        for label in (0, 1, 2):
            where = np.argwhere(labels == label)
            counted[label] = len(where)
            parts.append((f"case{n}|{label}", where[:4000].astype(np.int16)[None, None], ()))
        place = Placed(shape, (0, 0, 0), shape, shape, (), ())
        rows[f"case{n}"] = GridRow(place, ((0.001, -1.0, -np.inf, np.inf),), True, annotated, counted)
    return GridStore(folder, write_pixels(folder, parts, state="x"), rows)


def _job(
    folder: Path, shapes: list[Three], patch: Three, *, size: int = 4, augment: Augment | None = None,
    foreground: float = 0.34, annotated: tuple[int, ...] | None = None, steps: int = 6,
) -> Job:  # fmt: skip
    plan = Plan(
        task="segmentation",
        grid=Grid(patch=patch, window=patch, steps=steps, foreground=foreground),
        segmentation=Segmentation(structures=("a", "b")),
        network=Network(name="unet", width=4, depth=2),
        augment=augment or Augment(),
        fit=Fit(batch_size=size),
        validation=Validation(folds=2, members=2),
        device="cpu",
    )
    n = len(shapes)
    return Job(
        folder, plan, LabelEncoding("multilabel", ("a", "b")), Prepared.nothing(), np.arange(n),
        np.zeros(n, np.int64), np.arange(n) % 2, grid=_store(folder, shapes, annotated=annotated),
        cases=tuple(f"case{k}" for k in range(n)),
    )  # fmt: skip


def _batches(job: Job, **more: Any) -> PatchBatches:
    made = Segmenting(job, 0, torch.device("cpu"), Group())
    return PatchBatches(job, 0, made, torch.device("cpu"), **more)


def _whole(batches: PatchBatches, number: int, *, pieces: int = 1) -> list[tuple[NDArray[Any], ...]]:
    """All batches of an epoch as arrays (images, labels, annotated)."""
    epoch, made = batches.epoch(number), []
    for step in range(batches.steps):
        held = list(batches.pieces(epoch, step, (0, batches.size), pieces))
        assert held[0].start == 0 and held[-1].stop == batches.size
        made.append(
            tuple(
                torch.cat(parts).numpy()
                for parts in ([p.images for p in held], *[[p.wanted[k] for p in held] for k in (0, 1)])
            )
        )
    return made


VOLUMES: list[Three] = [(10, 20, 18), (12, 16, 24), (9, 22, 20), (14, 18, 18)]
PICTURES: list[Three] = [(1, 40, 36), (1, 30, 50), (1, 44, 32), (1, 36, 36)]


@pytest.mark.parametrize(("shapes", "patch"), [(VOLUMES, (8, 12, 12)), (PICTURES, (1, 24, 24))])
def test_an_epoch_is_the_same_again_in_pieces_and_on_threads(
    tmp_path: Path, shapes: list[Three], patch: Three
) -> None:
    job = _job(tmp_path, shapes, patch, augment=CHANGES)
    first = _whole(_batches(job), 3)
    for again in (
        _whole(_batches(job), 3),
        _whole(_batches(job), 3, pieces=2),
        _whole(_batches(job, threads=3), 3, pieces=4),
    ):
        for one, two in zip(first, again, strict=True):
            assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))
    other = _whole(_batches(job), 4)
    assert not np.array_equal(first[0][0], other[0][0])
    assert first[0][0].shape == ((4, 1, *patch[1:]) if patch[0] == 1 else (4, 1, *patch))


def test_a_share_of_a_batch_is_that_part_of_the_whole(tmp_path: Path) -> None:
    """As several processes divide it."""
    batches = _batches(_job(tmp_path, PICTURES, (1, 24, 24), augment=CHANGES))
    epoch = batches.epoch(1)
    (whole,) = batches.pieces(epoch, 2, (0, 4), 1)
    (first,), (second,) = batches.pieces(epoch, 2, (0, 1), 1), batches.pieces(epoch, 2, (1, 4), 1)
    assert torch.equal(torch.cat([first.images, second.images]), whole.images)
    assert (second.start, second.stop) == (1, 4)


def test_without_changes_a_patch_is_a_slice_of_its_case(tmp_path: Path) -> None:
    job = _job(tmp_path, VOLUMES, (8, 12, 12))
    batches = _batches(job)
    epoch = batches.epoch(0)
    for step in range(batches.steps):
        (piece,) = batches.pieces(epoch, step, (0, 4), 1)
        for n in range(4):
            row = step * 4 + n
            case = job.cases[int(epoch.who[row])]
            assert int(epoch.who[row]) % 2 == 1  # of the training folds of member 0
            at = tuple(slice(int(a), int(a) + p) for a, p in zip(epoch.corner[row], (8, 12, 12), strict=True))
            assert job.grid is not None
            expected = job.grid.image(case)[0][at] * np.float32(0.001) - np.float32(1)
            assert np.allclose(piece.images[n, 0], expected, atol=1e-6)
            assert np.array_equal(piece.wanted[0][n], job.grid.labels(case)[at])  # type: ignore[index]


@pytest.mark.parametrize(
    ("size", "foreground", "least"), [(4, 0.34, 1), (4, 0.5, 2), (3, 1.0, 3), (2, 0.34, 1)]
)
def test_so_many_patches_of_each_batch_hold_something_marked(
    tmp_path: Path, size: int, foreground: float, least: int
) -> None:
    shapes: list[Three] = [(1, 200, 200)] * 4
    job = _job(tmp_path, shapes, (1, 24, 24), size=size, foreground=foreground, steps=20)
    seen = set()
    for _, labels, _ in _whole(_batches(job), 0):
        marked = [(x > 0).any() for x in labels]
        assert all(marked[:least])
        seen |= set(labels[:least].ravel().tolist())
    assert {1, 2} <= seen  # each structure is looked at


def test_without_a_foreground_share_patches_lie_anywhere(tmp_path: Path) -> None:
    job = _job(tmp_path, [(1, 200, 200)] * 4, (1, 24, 24), foreground=0.0, steps=40)
    epoch = _batches(job).epoch(0)
    assert epoch.corner[:, 1].min() < 20 and epoch.corner[:, 1].max() > 156
    assert epoch.corner.min() >= 0 and epoch.corner.max() <= 176 and (epoch.corner[:, 0] == 0).all()


def test_each_case_is_seen_as_often_as_the_others(tmp_path: Path) -> None:
    job = _job(tmp_path, [(1, 30, 30)] * 10, (1, 24, 24), steps=10)
    counts = np.bincount(_batches(job).epoch(0).who, minlength=10)
    assert counts.tolist() == [0, 8] * 5


def test_a_case_smaller_than_the_patch_is_shown_whole_and_nothing_is_learned_beyond_it(
    tmp_path: Path,
) -> None:
    job = _job(tmp_path, [(3, 10, 30)] * 4, (8, 16, 16))
    for images, labels, _ in _whole(_batches(job), 0):
        inside = labels != 255
        assert (inside.any((0, 2, 3)).sum(), inside.any((0, 1, 3)).sum()) == (3, 10)
        assert (inside.sum((1, 2, 3)) == 3 * 10 * 16).all() and np.isfinite(images).all()


def test_a_case_of_nothing_marked_is_looked_at_anywhere(tmp_path: Path) -> None:
    job = _job(tmp_path, [(1, 60, 60)] * 4, (1, 24, 24))
    assert job.grid is not None
    rows = {k: replace(r, foreground={0: 3600}) for k, r in job.grid.rows.items()}
    epoch = _batches(replace(job, grid=replace(job.grid, rows=rows))).epoch(0)
    assert len(np.unique(epoch.corner[:, 1])) > 5


def test_what_was_not_annotated_is_said(tmp_path: Path) -> None:
    job = _job(tmp_path, PICTURES, (1, 24, 24), annotated=(2,))
    _, _, told = _whole(_batches(job), 0)[0]
    assert told.tolist() == [[False, True]] * 4


def test_validation_patches_are_of_the_held_out_fold_unchanged_and_always_the_same(tmp_path: Path) -> None:
    job = _job(tmp_path, PICTURES, (1, 24, 24), augment=CHANGES)
    first, again = (_batches(job).validation_epoch(8) for _ in range(2))
    assert set((first.who % 2).tolist()) == {0} and np.array_equal(first.corner, again.corner)
    assert not first.changes.changes_values and np.array_equal(first.changes.matrix[0], np.eye(2, 3))
    assert np.bincount(first.who).tolist() == [4, 0, 4]
