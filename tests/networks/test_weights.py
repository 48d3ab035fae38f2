"""A state file is whole or not there, exact, and refused in words when it does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hounsfield.core.errors import BadInput
from hounsfield.networks import weights
from hounsfield.networks.weights import load_weights, save_weights

torch.set_num_threads(1)


class Tied(nn.Module):
    """Two names for one tensor, and one that is not contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = nn.Linear(3, 3)
        self.b.weight = self.a.weight
        self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)
        self.register_buffer("count", torch.tensor(7))


def test_shared_and_turned_tensors_come_back(tmp_path: Path) -> None:
    donor, taker = Tied(), Tied()
    taker.get_buffer("turned").zero_()
    save_weights(donor, tmp_path / "tied.safetensors")
    load_weights(taker, tmp_path / "tied.safetensors")
    assert all(torch.equal(v, taker.state_dict()[k]) for k, v in donor.state_dict().items())
    assert taker.b.weight is taker.a.weight


@pytest.mark.parametrize("content", [b"", b"\x80\x04not", b"\xff" * 64])
def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"broken\.safetensors"):
        load_weights(nn.Linear(2, 1), path)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_weights(nn.Linear(20, 10), path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadInput, match="not a whole safetensors file"):
        load_weights(nn.Linear(20, 10), path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not there"):
        load_weights(nn.Linear(2, 1), tmp_path / "none.safetensors")


def test_another_network_is_refused_and_left_alone(tmp_path: Path) -> None:
    save_weights(nn.Linear(2, 1), tmp_path / "small.safetensors")
    taker = nn.Linear(3, 1)
    before = taker.weight.clone()
    with pytest.raises(BadInput, match=r"of another shape weight \(1, 2\) for \(1, 3\)"):
        load_weights(taker, tmp_path / "small.safetensors")
    assert torch.equal(taker.weight, before)


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "member.safetensors"
    save_weights(nn.Linear(2, 1), path)
    whole = path.read_bytes()

    def full(_: object, draft: Path, **__: object) -> None:
        draft.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        save_weights(nn.Linear(2, 1), path)
    assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["member.safetensors"]


def test_weights_are_on_the_disk_before_they_take_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "member.safetensors", []
    monkeypatch.setattr(weights.os, "fsync", lambda _: flushed.append(path.exists()))
    save_weights(nn.Linear(2, 1), path)
    assert flushed == [False, True]
