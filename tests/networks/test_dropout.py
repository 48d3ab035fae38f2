"""Dropout drops the same parts of a batch, whoever computes it and in how many passes."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from hounsfield.core.plan import Network
from hounsfield.networks import build
from hounsfield.networks.dropout import BatchDropout, drop_input, set_rows, share_dropout

torch.set_num_threads(1)


class Twice(nn.Module):
    """One dropout that a pass comes by twice, and another."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.other = BatchDropout(0.5), BatchDropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.other(self.drop(self.drop(x) + 1) + 1)


@pytest.mark.parametrize("cuts", [(0, 8), (0, 4, 8), (0, 3, 5, 8), (0, 1, 8)])
@pytest.mark.parametrize("shape", [(8, 5), (8, 3, 4, 4)])
def test_passes_over_parts_equal_one_over_the_whole(cuts: tuple[int, ...], shape: tuple[int, ...]) -> None:
    x, network = torch.rand(shape), Twice().train()
    torch.manual_seed(1)
    set_rows(network, 8, 0, 8)
    whole = [network(x)]
    set_rows(network, 8, 0, 8)
    whole.append(network(x))
    after = torch.get_rng_state()
    torch.manual_seed(1)
    for step in range(2):
        parts = []
        for start, stop in pairwise(cuts):
            set_rows(network, 8, start, stop)
            parts.append(network(x[start:stop]))
        assert torch.equal(torch.cat(parts), whole[step])
    assert torch.equal(torch.get_rng_state(), after)
    assert not torch.equal(whole[0], whole[1])


def test_processes_equal_one() -> None:
    x, found = torch.rand(6, 4), []
    for rows in ((0, 6), (0, 2), (2, 6)):
        network = Twice().train()
        torch.manual_seed(7)
        steps = []
        for _ in range(3):
            set_rows(network, 6, *rows)
            steps.append(network(x[slice(*rows)]))
        found.append(torch.stack(steps))
    assert torch.equal(found[0], torch.cat(found[1:], 1))


def test_one_pass_is_that_of_torch() -> None:
    x, drop = torch.rand(6, 10), BatchDropout(0.3).train()
    torch.manual_seed(0)
    wanted = functional.dropout(x, 0.3)
    torch.manual_seed(0)
    assert torch.equal(drop(x), wanted)
    torch.manual_seed(0)
    set_rows(drop, 6, 0, 6)
    torch.testing.assert_close(drop(x), wanted)
    set_rows(drop, 0, 0, 0)
    torch.manual_seed(0)
    assert torch.equal(drop(x), wanted)


def test_evaluation_drops_nothing_and_draws_nothing() -> None:
    drop, x, before = BatchDropout(0.5).eval(), torch.rand(4, 4), torch.get_rng_state()
    set_rows(drop, 8, 0, 4)
    assert torch.equal(drop(x), x)
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_that_were_not_told_of_are_refused() -> None:
    drop = BatchDropout(0.5).train()
    set_rows(drop, 8, 0, 4)
    with pytest.raises(ValueError, match="call set_rows"):
        drop(torch.rand(5, 4))


def test_all_is_dropped_without_a_division_by_zero() -> None:
    drop = BatchDropout(1.0).train()
    set_rows(drop, 2, 0, 2)
    assert torch.equal(drop(torch.ones(2, 3)), torch.zeros(2, 3))


def test_every_dropout_of_a_network_is_shared_in_its_mode() -> None:
    network = nn.Sequential(
        nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.4), nn.Dropout(0.0)), nn.Dropout2d(0.5)
    )
    network[1].eval()
    assert share_dropout(network) == 1
    kinds = [type(m) for m in network.modules() if isinstance(m, nn.Dropout)]
    assert kinds == [BatchDropout, BatchDropout]
    assert not network[1][0].training and isinstance(network[2], nn.Dropout2d)


def test_a_layer_drops_its_input_under_its_old_names() -> None:
    layer = nn.Linear(4, 2)
    drop_input(layer, 0.5)
    assert list(layer.state_dict()) == ["weight", "bias"]
    x = torch.rand(3, 4)
    torch.manual_seed(0)
    wanted = functional.linear(functional.dropout(x, 0.5), layer.weight, layer.bias)
    torch.manual_seed(0)
    assert torch.equal(layer.train()(x), wanted)


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
@pytest.mark.parametrize(
    "name", ["timm:test_resnet", "timm:test_efficientnet", "timm:test_vit", "timm:test_convnext"]
)
def test_a_backbone_drops_before_its_classifier_and_the_same_in_parts(name: str) -> None:
    wanted = Network(name=name, dropout=0.5)
    network = build(wanted, channels=1, outputs=2, size=(1, 32, 32), seed=0).eval()
    drops = [m for m in network.modules() if isinstance(m, BatchDropout) and m.p > 0]
    assert [m.p for m in drops] == [0.5]
    x = torch.randn(4, 1, 32, 32)
    with torch.no_grad():
        features = network.features(x)
        drops[0].train()
        torch.manual_seed(0)
        set_rows(network, 4, 0, 4)
        whole = network.head(features)
        torch.manual_seed(0)
        parts = []
        for row in range(4):
            set_rows(network, 4, row, row + 1)
            parts.append(network.head(features[row : row + 1]))
        torch.testing.assert_close(torch.cat(parts), whole)
        assert not torch.allclose(whole, network.eval()(x))
    for module in network.modules():
        assert not isinstance(getattr(module, "drop_rate", None), float) or module.drop_rate == 0
