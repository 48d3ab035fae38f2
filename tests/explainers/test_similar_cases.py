"""Pooled features and the neighbours in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Network
from hounsfield.explainers.similar_cases import nearest, pooled_features
from hounsfield.networks import build

torch.set_num_threads(1)


@pytest.mark.parametrize("size", [(1, 20, 20), (8, 16, 16)])
def test_features_are_the_mean_of_the_last_map(size: tuple[int, int, int]) -> None:
    network = build(Network(width=4, depth=2), channels=1, outputs=2, size=size, seed=0).eval()
    x = torch.randn(40, 1, *(size if size[0] > 1 else size[1:]), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = network.pooled(network.features(x)).numpy()  # type: ignore[operator]
    np.testing.assert_allclose(pooled_features(network, x), wanted, rtol=1e-4, atol=1e-6)


def test_tokens_are_averaged() -> None:
    class Tokens(nn.Module):
        def features(self, x: Tensor) -> Tensor:
            return x.flatten(2).transpose(1, 2)

    x = torch.arange(16.0).reshape(1, 2, 2, 4)
    np.testing.assert_allclose(pooled_features(Tokens(), x), [[3.5, 11.5]])


def test_a_network_without_features_is_refused() -> None:
    with pytest.raises(BadInput, match="without features"):
        pooled_features(nn.Linear(2, 2), torch.zeros(1, 1, 2, 2))


def test_neighbours_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    known, asked = (rng.normal(5, 1, (n, 6)).astype(np.float32) for n in (30, 7))
    allowed = rng.random((7, 30)) < 0.7
    rows, cosine = nearest(asked, known, allowed, count=4)
    centre = known.mean(0)
    for n in range(7):
        values = [
            np.dot(asked[n] - centre, k - centre)
            / np.linalg.norm(asked[n] - centre)
            / np.linalg.norm(k - centre)
            for k in known
        ]
        order = [k for k in np.argsort(values)[::-1] if allowed[n, k]][:4]
        assert rows[n].tolist() == order
        np.testing.assert_allclose(cosine[n], np.array(values)[order], atol=1e-5)


def test_fewer_neighbours_than_asked_are_marked() -> None:
    known = np.eye(3, dtype=np.float32)
    rows, _ = nearest(known[:1], known, np.array([[False, True, False]]), count=5)
    assert rows.tolist() == [[1, -1, -1, -1, -1]]
    assert (nearest(known[:1], known[:0], np.zeros((1, 0), bool), count=2)[0] == -1).all()
