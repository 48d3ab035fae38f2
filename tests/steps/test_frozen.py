"""Frozen parts are computed once for each image, and training on them ends where training on images ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Plan
from hounsfield.steps import frozen
from hounsfield.steps.frozen import caches
from hounsfield.steps.learner import Learner
from hounsfield.steps.member import train_member
from steps.jobs import EXACT, history, job, plan

FROZEN = {
    "augment": {}, "network.name": "article-c", "network.trainable_layers": 4, "network.dropout": 0.5,
    "input.size": [1, 32, 32], "input.channels": 3, "fit.batch_size": 8, "fit.learning_rate": 1e-3,
}  # fmt: skip


def _silent(facts: dict[str, Any]) -> None:
    del facts


def _plan(**changes: Any) -> Plan:
    return plan(FROZEN | changes, epochs=2, weight_average=0.5, **EXACT)


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the images that pass through the first convolution."""
    seen: list[int] = []
    whole = torch.nn.Conv2d.forward

    def forward(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        if self.in_channels == 3:
            seen.append(len(x))
        return whole(self, x)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    return seen


def test_cached_features_end_at_the_same_weights_and_images_pass_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(tmp_path / "cached", _plan())
    seen = _counted(monkeypatch)
    train_member(made, 0, _silent)
    passed = sum(seen)
    seen.clear()
    naive = job(tmp_path / "naive", _plan(**{"fit.cache_frozen": False}))
    train_member(naive, 0, _silent)
    assert passed < sum(seen) - 32  # two epochs: each of 16 training and 16 validation images once less
    one, two = (load_file(j.member_folder(0) / "weights.safetensors") for j in (made, naive))
    for name, values in one.items():
        assert np.abs(values - two[name]).max() <= 1e-4 * max(1e-3, np.abs(values).max()), name
    assert [h["val_loss"] for h in history(made)] == pytest.approx(
        [h["val_loss"] for h in history(naive)], rel=1e-4
    )


def test_what_is_random_before_the_frozen_part_is_not_cached(tmp_path: Path) -> None:
    assert caches(job(tmp_path, _plan()), 1)
    assert not caches(job(tmp_path, _plan()), 2)
    for change in ({"augment.noise": 0.1}, {"augment.mixup": 0.2}, {"augment.flip_left_right": True}):
        assert not caches(job(tmp_path, _plan(**change)), 1)
    assert not caches(job(tmp_path, _plan(**{"fit.cache_frozen": False})), 1)


def test_a_disk_without_room_means_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "_SHARE_OF_DISK", 0.0)
    made = job(tmp_path, _plan())
    train_member(made, 0, _silent)
    assert not list(tmp_path.glob("features-*")) and len(history(made)) == 2


def test_layers_thaw_at_the_epochs_that_the_plan_names(tmp_path: Path) -> None:
    stages = _plan(**{"fit.unfreeze": [[0, 0], [1, -1]], "fit.choose": "last", "fit.weight_average": 0.0})
    made = job(tmp_path, stages)
    start = Learner(made, 0, lambda a, b: (a - b).mean(), torch.device("cpu")).network.state_dict()
    first = job(tmp_path / "first", stages.changed({"fit.epochs": 1}))
    train_member(first, 0, _silent)
    after_one = load_file(first.member_folder(0) / "weights.safetensors")
    train_member(made, 0, _silent)
    after_two = load_file(made.member_folder(0) / "weights.safetensors")
    moved = [
        {k for k, v in start.items() if not np.array_equal(v.numpy(), after[k])}
        for after in (after_one, after_two)
    ]
    assert moved[0] and all(k.startswith("classifier") for k in moved[0])
    assert {k for k in start if k.startswith("backbone")} <= moved[1]


def test_stages_of_thawing_must_rise() -> None:
    for wrong in ([[1, 0]], [[0, 0], [0, 2]], [[0, -2]]):
        with pytest.raises(BadInput, match=r"fit\.unfreeze"):
            _plan(**{"fit.unfreeze": wrong})
