"""Attention that is taught by marked findings: masks move with their images, and the network looks there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hounsfield.core.plan import Plan
from hounsfield.networks.attention import AttentionNet
from hounsfield.networks.weights import load_weights
from hounsfield.steps.batches import Batches
from hounsfield.steps.job import Job, read_job, write_job
from hounsfield.steps.learner import Learner
from hounsfield.steps.member import train_member
from hounsfield.steps.prepare import Prepared, with_marks
from hounsfield.tasks.classification import loss_of, targets_of
from hounsfield.tasks.losses import attention_loss
from steps.jobs import job as job_of
from steps.jobs import plan as plan_of

SIDE, N = 40, 48
LEVELS = np.array([1 / 255, 0, 0, 1], np.float32)


def _plan(**changes: Any) -> Plan:
    usual = {
        "network.name": "attention",
        "network.width": 8,
        "input.size": (1, SIDE, SIDE),
        "augment.mixup": 0,
    }
    return plan_of({**usual, "fit.mark_weight": 1.0, "input.normalise": "unit", **changes})


def _masks(seed: int = 0) -> np.ndarray:
    """A square of 6 x 6 somewhere in each picture."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((N, SIDE, SIDE), bool)
    for mask, (j, i) in zip(masks, rng.integers(6, SIDE - 12, (N, 2)), strict=True):
        mask[j : j + 6, i : i + 6] = True
    return masks


def _job(folder: Path, plan: Plan, images: np.ndarray, masks: np.ndarray, known: np.ndarray) -> Job:
    """Images (N, SIDE, SIDE) of 8 bits with the masks of those that are `known` marked."""
    prepared = Prepared(tuple(map(str, range(N))), images[:, None, None], np.tile(LEVELS, (N, 1)))
    truth = {str(n): masks[n] for n in np.flatnonzero(known)}
    (folder / "cache").mkdir(parents=True, exist_ok=True)
    prepared = with_marks(prepared, truth.get, prepared.ids, folder / "cache")
    return replace(job_of(folder / "work", plan, n=N), prepared=prepared)


def _pieces(job: Job, count: int = 1) -> list[Any]:
    batches = Batches(job, 0, targets_of(job.answers, job.encoding), torch.device("cpu"))
    return list(batches.pieces(batches.epoch(0), 0, (0, batches.size), count))


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_masks_move_as_their_images_do(tmp_path: Path, mixup: float) -> None:
    masks = _masks()
    moves = {
        "augment.elastic": 0.05,
        "augment.zoom": 0.2,
        "augment.flip_left_right": True,
        "augment.shift_width": 0.2,
    }
    plan = _plan(**moves, **{"augment.noise": 0.0, "augment.mixup": mixup})
    job = _job(tmp_path, plan, np.where(masks, 255, 0).astype(np.uint8), masks, np.ones(N, bool))
    (piece,) = _pieces(job)
    assert piece.marks.shape == piece.images.shape
    assert piece.marks.amax() > 0.9
    if mixup:  # what shows in either picture of a mixture is marked
        assert torch.equal(piece.marks > 0, piece.images > 0)
    else:
        assert torch.allclose(piece.marks, piece.images, atol=1e-6)


def test_values_that_change_leave_masks_alone_and_images_without_marks_have_none(tmp_path: Path) -> None:
    masks = _masks()
    known = np.arange(N) % 3 == 0
    plan = _plan(
        **{"augment.noise": 0.5, "augment.gamma": 0.5, "augment.rotation_deg": 0, "augment.fill": "constant"}
    )
    job = _job(tmp_path, plan, np.full((N, SIDE, SIDE), 9, np.uint8), masks, known)
    (piece,) = _pieces(job)
    for mark, who in zip(piece.marks[:, 0], piece.who, strict=True):
        wanted = masks[who] if known[who] else np.zeros_like(masks[who])
        np.testing.assert_array_equal(mark.numpy() > 0.5, wanted)


def test_without_a_weight_or_marks_nothing_is_taught(tmp_path: Path) -> None:
    masks, blank = _masks(), np.zeros((N, SIDE, SIDE), np.uint8)
    nobody = _job(tmp_path / "a", _plan(), blank, masks, np.zeros(N, bool))
    off = _job(tmp_path / "b", _plan(**{"fit.mark_weight": 0.0}), blank, masks, np.ones(N, bool))
    other = _job(tmp_path / "c", _plan(**{"network.name": "compact"}), blank, masks, np.ones(N, bool))
    for job in (nobody, off, other):
        assert _learner(job).attends == 0
    assert nobody.prepared.marks is None
    assert _pieces(off)[0].marks is None


def _learner(job: Job) -> Learner:
    targets = targets_of(job.answers, job.encoding)
    return Learner(job, 0, loss_of(job.plan.fit, job.encoding, targets), torch.device("cpu"))


def test_a_batch_in_pieces_gives_the_same_gradients(tmp_path: Path) -> None:
    masks = _masks()
    images = np.random.default_rng(1).integers(0, 255, (N, SIDE, SIDE), np.uint8)
    plan = _plan(
        **{"network.norm": "group", "network.dropout": 0.0, "fit.optimiser": "sgd", "fit.momentum": 0}
    )
    job = _job(tmp_path, plan, images, masks, np.arange(N) % 3 == 0)
    found = []
    for count in (1, 4):
        learner = _learner(job)
        learner.enter_stage(None, cache=False, compile_it=False)
        learner.step(iter(_pieces(job, count)), count=count, rate=0.1, number=0, seed=0)
        found.append(learner.network.weight.weight.detach().clone())
    largest = float(found[0].abs().max())
    assert largest > 0
    torch.testing.assert_close(found[0], found[1], atol=0.01 * largest, rtol=0)


def test_a_finding_that_the_classes_hardly_give_away_is_looked_at(tmp_path: Path) -> None:
    """Every picture bears a bright square and many specks as bright: only the marks say which to look at."""
    masks, rng = _masks(), np.random.default_rng(2)
    images = rng.integers(0, 90, (N, SIDE, SIDE)).astype(np.uint8)
    images[rng.random(images.shape) < 0.05] = 230
    images[masks] = 200
    shares = {}
    for weight in (0.0, 1.0):
        changes = {
            "fit.mark_weight": weight,
            "fit.epochs": 20,
            "fit.learning_rate": 0.01,
            "network.dropout": 0.0,
        }
        job = _job(tmp_path / str(weight), _plan(**changes), images, masks, np.arange(N) % 2 == 0)
        train_member(job, 0, lambda _: None)
        net = AttentionNet(size=(SIDE, SIDE), channels=1, outputs=1, width=8, depth=2)
        load_weights(net, job.member_folder(0) / "weights.safetensors")
        unseen = job.parts(0)[1]
        batch = torch.from_numpy(job.prepared.batch(unseen))
        with torch.inference_mode():
            maps = net.eval().features(batch)
            looked = net.attention_logits(maps).view(len(batch), *maps.shape[2:])
            cover = torch.from_numpy(masks[unseen].astype(np.float32))[:, None]
            cover = torch.nn.functional.interpolate(cover, looked.shape[1:], mode="area")[:, 0]
            shares[weight] = float((-attention_loss(looked, cover)).exp().mean())
    assert shares[1.0] > 0.8 > 0.5 > shares[0.0]


def test_a_job_in_a_process_of_its_own_has_the_marks(tmp_path: Path) -> None:
    masks = _masks()
    job = _job(tmp_path, _plan(), np.zeros((N, SIDE, SIDE), np.uint8), masks, np.arange(N) < 5)
    cache = tmp_path / "cache"
    np.save(cache / "prepared.npy", job.prepared.images)
    np.save(cache / "levels.npy", job.prepared.levels)
    (cache / "prepared.json").write_text(json.dumps({"state": "", "ids": job.prepared.ids}))
    write_job(job)
    again = read_job(job.folder).prepared
    assert again.marks is not None and again.marked is not None
    np.testing.assert_array_equal(again.marked, [0, 1, 2, 3, 4] + [-1] * (N - 5))
    np.testing.assert_array_equal(again.marks[:, 0, 0] > 0, masks[:5])


def test_a_row_without_marks_gives_no_gradient() -> None:
    looked = torch.zeros(2, 3, 3, requires_grad=True)
    cover = torch.zeros(2, 3, 3)
    cover[1, 0, 0] = 0.1  # less than a quarter, but the most covered one
    attention_loss(looked, cover).sum().backward()
    assert looked.grad is not None and torch.isfinite(looked.grad).all()
    assert looked.grad[0].abs().max() == 0
    assert looked.grad[1, 0, 0] < 0 < looked.grad[1, 2, 2]
