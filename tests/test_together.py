"""Two processes of torchrun end at the weights of one, and a word from the first ends the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from phantoms import TINY, folder_of, hu, write_npz

# Everything that could tell processes apart: batch normalisation, dropout, mixture, average, clipping,
# uneven batch
SAME = (
    *TINY, "fit.batch_size=7", "network.name=plain", "network.dropout=0.4", "augment.mixup=0.2",
    "fit.optimiser=sgd",
    "fit.precision=float32",
    "fit.learning_rate=0.05",
    "fit.gradient_clip=1.0", "fit.weight_average=0.9", "fit.epochs=3", "validation.calibrate_on=augmented",
)  # fmt: skip


def torchrun(processes: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        "-m", "hounsfield", *map(str, words),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)


@pytest.fixture(scope="module")
def source() -> Path:
    return write_npz(folder_of("together") / "s.npz", n=44, test=24)


def test_two_processes_end_at_the_weights_of_one(source: Path) -> None:
    from safetensors.numpy import load_file

    alone, both = source.parent / "alone", source.parent / "both"
    assert hu("train", source, "--out", alone, *SAME).code == 0
    ended = torchrun(2, "train", source, "--out", both, *SAME)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "by 2 processes" in ended.stderr
    for name in ("member-0.safetensors", "member-1.safetensors"):
        one, two = load_file(alone / "model" / name), load_file(both / "model" / name)
        assert one.keys() == two.keys()
        for key, values in one.items():
            spread = max(float(np.abs(values).max()), 1e-3)
            assert float(np.abs(values - two[key]).max()) < 1e-4 * spread, key
    assert len(list(both.glob("report.html"))) == 1 and not (both / "work").exists()


def test_a_bad_input_ends_every_process(source: Path) -> None:
    ended = torchrun(2, "train", source.parent / "nothing-here", "--out", source.parent / "bad", *SAME)
    assert ended.returncode != 0 and "nothing-here" in ended.stderr
    assert not (source.parent / "bad").exists()


@pytest.mark.slow  # refused in this process too: tests/steps/test_recovery.py
def test_a_batch_smaller_than_the_group_is_refused(source: Path) -> None:
    ended = torchrun(2, "train", source, "--out", source.parent / "few", *SAME, "fit.batch_size=1")
    assert ended.returncode != 0 and "for 2 processes" in ended.stderr
