"""A member killed after any epoch goes on to the same weights, byte for byte."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput, HounsfieldError
from hounsfield.core.plan import Augment, Fit, Input, Network, Plan, Validation
from hounsfield.steps.compute import computing, pick_device
from hounsfield.steps.job import Job, read_job, write_job
from hounsfield.steps.member import train_member
from hounsfield.steps.prepare import Prepared
from hounsfield.transforms.normalise import levels_of
from phantoms import pictures

EPOCHS = 4


def _plan(**fit: Any) -> Plan:
    return Plan(
        input=Input(size=(1, 12, 12)),
        augment=Augment(rotation_deg=10, noise=0.1, mixup=0.2),
        network=Network(width=4, depth=2, dropout=0.2),
        fit=Fit(
            **{
                "epochs": EPOCHS,
                "batch_size": 8,
                "loss": "binary_cross_entropy",
                "weight_average": 0.9,
                **fit,
            }
        ),
        validation=Validation(folds=2, members=2),
        device="cpu",
    )


def _job(folder: Path, plan: Plan) -> Job:
    answers = np.arange(32) % 2
    images = pictures(answers.tolist(), side=12)[:, None, None]
    levels = np.array([levels_of(x, plan.input, bits=8) for x in images], np.float32)
    prepared = Prepared(tuple(map(str, range(32))), images, levels)
    folder.mkdir(parents=True, exist_ok=True)
    return Job(
        folder,
        plan,
        LabelEncoding("binary", ("a", "b")),
        prepared,
        np.arange(32),
        answers,
        np.arange(32) // 2 % 2,
    )


def _weights(job: Job, number: int = 0) -> bytes:
    return (job.member_folder(number) / "weights.safetensors").read_bytes()


def _trained(folder: Path, plan: Plan, number: int = 0) -> bytes:
    job = _job(folder, plan)
    train_member(job, number, lambda _: None)
    return _weights(job, number)


def _killed_after(job: Job, epoch: int) -> None:
    def report(facts: dict[str, Any]) -> None:
        if facts.get("epoch") == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=train_member, args=(job, 0, report))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    "fit",
    [
        {},
        {"optimiser": "sgd", "choose": "last"},
        {"optimiser": "rmsprop", "weight_average": 0.0, "schedule": "cosine"},
        {"learning_rate": 0.3, "patience": 1},
    ],
)
def test_a_member_killed_after_any_epoch_ends_at_the_same_weights(
    tmp_path: Path, fit: dict[str, Any]
) -> None:
    plan = _plan(**fit)
    wanted = _trained(tmp_path / "whole", plan)
    for epoch in range(EPOCHS):
        job = _job(tmp_path / f"killed-{epoch}", plan)
        reached = len(_history(tmp_path / "whole"))
        if epoch < reached:
            _killed_after(job, epoch)
        train_member(job, 0, lambda _: None)
        assert _weights(job) == wanted
        assert len(_history(job.folder)) == reached


def _history(folder: Path) -> list[dict[str, Any]]:
    import json

    found = json.loads((folder / "member-0" / "history.json").read_text())
    assert isinstance(found, list)
    return found


def test_the_seed_and_the_member_decide_the_weights(tmp_path: Path) -> None:
    plan = _plan(epochs=1)
    first = _trained(tmp_path / "a", plan)
    assert _trained(tmp_path / "b", plan) == first
    assert _trained(tmp_path / "c", plan.model_copy(update={"seed": 1})) != first
    assert _trained(tmp_path / "d", plan, number=2) != first  # the same fold, another start


def test_a_finished_member_is_not_trained_again(tmp_path: Path) -> None:
    job = _job(tmp_path, _plan(epochs=1))
    train_member(job, 0, lambda _: None)
    before = (job.member_folder(0) / "weights.safetensors").stat().st_mtime_ns
    train_member(job, 0, lambda _: None)
    assert (job.member_folder(0) / "weights.safetensors").stat().st_mtime_ns == before
    assert not (job.member_folder(0) / "checkpoint.safetensors").exists()


def test_a_member_never_learns_from_the_fold_that_validates_it(tmp_path: Path) -> None:
    plan = _plan(epochs=1, choose="last")
    first = _job(tmp_path / "a", plan)
    spoilt = np.where(first.fold == 0, 1 - first.answers, first.answers)
    second = replace(_job(tmp_path / "b", plan), answers=spoilt)
    for job in (first, second):
        train_member(job, 0, lambda _: None)
    assert _weights(first) == _weights(second)
    with np.load(first.member_folder(0) / "validation.npz") as z:
        assert first.fold[z["rows"]].tolist() == [0] * 16 and z["logits"].shape == (16, 1)


def test_it_learns(tmp_path: Path) -> None:
    plan = _plan(epochs=12, learning_rate=0.01).changed({"augment": {}})
    job = _job(tmp_path, plan)
    train_member(job, 0, lambda _: None)
    assert _history(tmp_path)[-1]["val_auroc"] > 0.9


def test_a_diverging_loss_is_an_error_with_advice(tmp_path: Path) -> None:
    plan = _plan(learning_rate=1e30, optimiser="sgd", schedule="constant", weight_average=0.0)
    with pytest.raises(HounsfieldError, match=r"lower fit\.learning_rate"):
        train_member(_job(tmp_path, plan), 0, lambda _: None)


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = _job(tmp_path / "work", _plan())
    write_job(job)
    cache = tmp_path / "cache"
    cache.mkdir()
    np.save(cache / "prepared.npy", job.prepared.images)
    np.save(cache / "levels.npy", job.prepared.levels)
    (cache / "prepared.json").write_text('{"ids": [' + ",".join(f'"{n}"' for n in range(32)) + "]}")
    again = read_job(tmp_path / "work")
    assert (again.plan, again.encoding, again.threads) == (job.plan, job.encoding, job.threads)
    assert again.fold.tolist() == job.fold.tolist() and again.answers.tolist() == job.answers.tolist()


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(BadInput, match='device "tpu"'):
        pick_device("tpu")


def test_training_leaves_the_process_as_it_found_it() -> None:
    tiny = torch.tensor([1e-40])
    before = torch.get_num_threads()
    with computing(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    assert float((tiny * 1.0)[0]) > 0
