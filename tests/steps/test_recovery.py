"""What goes wrong in training is named, taken back to the last good step, and gone on from."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hounsfield.core.errors import BadInput, HounsfieldError, Interrupted
from hounsfield.steps import member as module
from hounsfield.steps.compute import short_of_memory
from hounsfield.steps.group import Group
from hounsfield.steps.guard import Guard
from hounsfield.steps.learner import Learner
from hounsfield.steps.member import train_member
from hounsfield.steps.pieces import halved, pieces_of
from steps.jobs import EXACT, history, job, plan, weights


def _silent(facts: dict[str, Any]) -> None:
    del facts


def _failing_once(monkeypatch: pytest.MonkeyPatch, at: int, give: Any) -> None:
    """Let the `at`-th step of a run go wrong: `give` is returned, or raised if it is an error."""
    whole, count = Learner.step, [0]

    def step(self: Learner, *args: Any, **options: Any) -> float:
        count[0] += 1
        if count[0] == at:
            if isinstance(give, BaseException):
                raise give
            return float(give)
        return whole(self, *args, **options)

    monkeypatch.setattr(Learner, "step", step)


def test_a_loss_that_is_not_finite_is_named_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[dict[str, Any]] = []
    _failing_once(monkeypatch, 2, np.nan)
    made = job(tmp_path, plan(schedule="constant", learning_rate=0.01))
    train_member(made, 0, heard.append)
    epochs = history(made)
    assert len(epochs) == 4 and epochs[0]["events"] == [e["event"] for e in heard if "event" in e]
    assert "the loss is not finite at epoch 1, step 2: back to step 1" in epochs[0]["events"][0]
    assert [h["learning_rate"] for h in epochs] == [0.005] * 4
    assert all(np.isfinite(h["train_loss"]) for h in epochs)


def test_recovery_restores_weights_average_and_optimiser(tmp_path: Path) -> None:
    made = job(tmp_path, plan(learning_rate=0.05))
    training = module._Training(made, 0, _silent, module.ALONE, module.Stop())
    training._enter(0)
    drawn = training.batches.epoch(0)
    training._step(drawn, module.Place(), 0.05)
    training.guard.keep(training.learner, module.Place(0, 1))
    before = {k: v.clone() for k, v in training.learner.tensors().items()}
    training._step(drawn, module.Place(0, 1), 5.0)
    assert any(not torch.equal(before[k], v) for k, v in training.learner.tensors().items())
    assert training.guard.recover(training.learner, "x", 0.05) == module.Place(0, 1)
    after = training.learner.tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], v) for k, v in after.items())


def test_a_loss_that_runs_away_is_noticed_and_ordinary_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    calm, wild = Guard(), Guard()
    for k in range(400):
        assert calm.fault(0.7 + 0.4 * float(rng.random())) == ""
        faults = wild.fault(0.7 if k < 20 else 0.7 * 1.2 ** (k - 20))
        if faults:
            break
    assert "has risen" in faults and k < 60


def test_a_training_that_diverges_again_and_again_ends_with_advice(tmp_path: Path) -> None:
    bad = plan(learning_rate=1e30, optimiser="sgd", schedule="constant", weight_average=0.0)
    with pytest.raises(HounsfieldError, match=r"halved 3 times .* lower fit\.learning_rate"):
        train_member(job(tmp_path, bad), 0, _silent)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_batch_that_does_not_fit_is_halved_accumulated_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    _failing_once(monkeypatch, 1, error)
    made = job(tmp_path, plan())
    train_member(made, 0, _silent)
    assert "a batch of 8 did not fit into memory: 4 images at a time" in history(made)[0]["events"][0]


def test_other_errors_are_not_taken_for_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _failing_once(monkeypatch, 1, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        train_member(job(tmp_path, plan()), 0, _silent)
    assert not short_of_memory(RuntimeError("shapes differ"))
    assert short_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …"))


def test_little_memory_cuts_the_batch_before_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hounsfield.steps import pieces

    monkeypatch.setattr(pieces, "bytes_per_image", lambda *_: 1_000_000)
    monkeypatch.setattr(pieces, "free_memory", lambda _: 4_000_000)
    made = job(tmp_path, plan())
    learner = Learner(made, 0, lambda a, b: (a - b).mean(), torch.device("cpu"))
    count, said = pieces_of(made, learner, 8)
    assert count == 4 and "2 at a time" in said and "batch normalisation sees the smaller batches" in said
    monkeypatch.setattr(pieces, "free_memory", lambda _: 1_000_000)
    with pytest.raises(HounsfieldError, match="one image of 12×12 needs"):
        pieces_of(made, learner, 8)
    with pytest.raises(HounsfieldError, match="one image at a time"):
        halved(8, 8, made.plan)


def test_a_batch_must_have_an_image_for_each_process(tmp_path: Path) -> None:
    made = job(tmp_path, plan())
    learner = Learner(made, 0, lambda a, b: (a - b).mean(), torch.device("cpu"))
    learner.group = Group(rank=0, world=2)
    with pytest.raises(BadInput, match="for 2 processes"):
        pieces_of(made, learner, 1)
    assert pieces_of(made, learner, 2) == (1, "")


def test_pieces_of_a_batch_add_up_to_the_batch(tmp_path: Path) -> None:
    """Dropout, mixture and augmentation included; without batch normalisation, which sees the pieces."""
    network = {"network.name": "article-a", "augment.mixup": 0.3}
    fit = {"epochs": 2, "weight_average": 0.5, **EXACT}
    whole = job(tmp_path / "whole", plan(network, **fit))
    cut = job(tmp_path / "cut", plan({**network, "fit.micro_batch": 3}, **fit))
    for made in (whole, cut):
        train_member(made, 0, _silent)
    _assert_close(whole.member_folder(0), cut.member_folder(0))


def _assert_close(first: Path, second: Path, limit: float = 2e-4) -> None:
    from safetensors.numpy import load_file

    one, two = (load_file(f / "weights.safetensors") for f in (first, second))
    for name, values in one.items():
        spread = float(np.abs(values).max()) or 1.0
        assert float(np.abs(values - two[name]).max()) < limit * spread, name


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_signal_saves_at_the_very_step_and_the_run_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: signal.Signals, after: int
) -> None:
    made = plan({"network.dropout": 0.3})
    undisturbed = job(tmp_path / "whole", made)
    train_member(undisturbed, 0, _silent)
    whole, count = Learner.step, [0]

    def step(self: Learner, *args: Any, **options: Any) -> float:
        count[0] += 1
        if count[0] == after:
            os.kill(os.getpid(), kind)
        return whole(self, *args, **options)

    monkeypatch.setattr(Learner, "step", step)
    stopped = job(tmp_path / "stopped", made)
    with pytest.raises(
        Interrupted, match=rf"stopped by {kind.name}; member 0 is saved at epoch \d, step \d of 2"
    ):
        train_member(stopped, 0, _silent)
    assert count[0] == after
    train_member(stopped, 0, _silent)
    assert weights(stopped) == weights(undisturbed)
    assert count[0] == 8  # no step was made twice
