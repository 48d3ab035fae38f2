"""Pretraining without labels moves the weights, and stays only where a member validates better with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from hounsfield.steps import pretrain as module
from hounsfield.steps.learner import network_of
from hounsfield.steps.pretrain import kept_if_better, pretrain, vicreg
from hounsfield.steps.trial import Trial
from steps.jobs import job, plan


def test_the_loss_is_that_of_the_paper() -> None:
    """Invariance, variance and covariance, each by itself from its formula in numpy."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(32, 6)), 0.5 * rng.normal(size=(32, 6))
    alike = ((a - b) ** 2).mean()
    spread = sum(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean() for z in (a, b)) / 2
    own = 0.0
    for z in (a, b):
        c = np.cov(z.T)
        own += (c**2).sum() - (np.diag(c) ** 2).sum()
    wanted = 25 * alike + 25 * spread + own / 6
    assert float(vicreg(torch.from_numpy(a), torch.from_numpy(b))) == pytest.approx(wanted, rel=1e-9)


def test_collapsed_features_are_dear() -> None:
    same = torch.ones(16, 4)
    free = torch.randn(16, 4, generator=torch.Generator().manual_seed(0)) * 2
    assert float(vicreg(same, same)) > float(vicreg(free, free))


def test_pretraining_lowers_its_loss_and_is_made_once(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    made = job(
        tmp_path, plan({"pretrain.epochs": 8, "pretrain.batch_size": 16, "pretrain.projection": 16}), n=64
    )
    path = pretrain(made, made.prepared, progress=heard.append)
    losses = [h["pretrain_loss"] for h in heard]
    assert len(losses) == 8 and min(losses[-2:]) < losses[0]
    before, after = network_of(made, 0).state_dict(), load_file(path)
    assert before.keys() == after.keys()
    assert any(not np.array_equal(v.numpy(), after[k]) for k, v in before.items() if "body" in k)
    assert np.array_equal(before["classifier.weight"].numpy(), after["classifier.weight"])
    assert pretrain(made, made.prepared) == path and len(heard) == 8


@pytest.mark.parametrize("gain, kept", [(0.3, True), (-0.3, False)])
def test_it_is_kept_only_if_it_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float, kept: bool
) -> None:
    losses = np.linspace(0.5, 0.9, 40)

    def tried(job: Any, plan: Any, name: str, say: Any, *, start: Path | None = None) -> Trial:
        folder = job.folder / name
        (folder / "member-0").mkdir(parents=True)
        (folder / "member-0" / "history.json").write_text(name)
        return Trial(losses - (gain if start else 0.0), np.arange(40), folder)

    monkeypatch.setattr(module, "tried", tried)
    made = job(tmp_path, plan(), n=80)
    found = kept_if_better(made, tmp_path / "w.safetensors", [f"p{k // 2}" for k in range(80)], n=500)
    assert (found.start is not None) is kept
    assert found.finding.value == pytest.approx(gain) and (found.finding.n, found.finding.n_patients) == (
        40,
        20,
    )
    assert found.finding.low is not None and found.finding.low <= gain <= (found.finding.high or 0)
    member = (made.member_folder(0) / "history.json").read_text()  # the winner is the first member already
    assert member == ("trial-pretrained" if kept else "trial-random")
    assert not list(tmp_path.glob("trial-*"))
