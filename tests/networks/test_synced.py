"""Two processes that share a batch normalise it as one process would that holds all of it."""

from __future__ import annotations

import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from hounsfield.networks.synced import HostSyncNorm, synced

torch.set_num_threads(1)
SCRIPT = Path(__file__).with_name("norm_process.py")
spec = util.spec_from_file_location("norm_process", SCRIPT)
assert spec is not None and spec.loader is not None
process = util.module_from_spec(spec)
spec.loader.exec_module(process)

Found = list[dict[str, dict[str, torch.Tensor]]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Found:
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    folder = tmp_path_factory.mktemp("synced")
    outs = [folder / f"{rank}.pt" for rank in (0, 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        patch.setenv("OMP_NUM_THREADS", "1")
        other = subprocess.Popen([sys.executable, str(SCRIPT), str(folder / "store"), "1", str(outs[1])])
        try:
            process.main(str(folder / "store"), 0, str(outs[0]))
            assert other.wait(120) == 0
        finally:
            other.kill()
    return [torch.load(out, weights_only=True) for out in outs]


@pytest.mark.parametrize("cut", list(process.CUTS))
@pytest.mark.parametrize("axes", [2, 3])
def test_two_processes_equal_one(two: Found, axes: int, cut: str) -> None:
    whole = process.run(process.network(axes), process.batch(axes))
    parts = [found[f"{axes} {cut}"] for found in two]
    for name, wanted in whole.items():
        halves = [part[name] for part in parts]
        if name in ("y", "dx"):
            found = torch.cat(halves)
        elif name.startswith("d "):
            found = halves[0] + halves[1]
        else:  # statistics are the same in both
            assert torch.equal(halves[0], halves[1])
            found = halves[0]
        torch.testing.assert_close(found, wanted, rtol=2e-4, atol=2e-4)


def test_alone_and_in_evaluation_it_is_the_normalisation_that_it_replaced() -> None:
    for mode in (True, False):
        plain, other = process.network(2).train(mode), synced(process.network(2).train(mode))
        assert list(other.state_dict()) == list(plain.state_dict())
        x = process.batch(2)
        torch.testing.assert_close(other(x), plain(x), rtol=0, atol=0)
        torch.testing.assert_close(other.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_parameters_modes_and_frozen_norms_are_kept() -> None:
    network = process.network(2)
    network[1].requires_grad_(False).eval()
    before = list(network.parameters())
    assert synced(network) is network
    assert all(a is b for a, b in zip(network.parameters(), before, strict=True))
    assert isinstance(network[1], HostSyncNorm) and not network[1].training and network[4].training
    assert not isinstance(network[0], nn.modules.batchnorm._BatchNorm)
