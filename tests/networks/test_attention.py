"""Pooling by attention: it finds a small thing, its shares add up to the logit, and its map points there."""

from __future__ import annotations

import numpy as np
import torch

from hounsfield.explainers import EXPLAINERS
from hounsfield.networks.attention import AttentionNet

torch.set_num_threads(1)


def spotted(n: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Noise in 40 x 40, with a bright spot of 4 pixels in every other image; and where it lies."""
    images = rng.normal(0, 0.5, (n, 1, 40, 40)).astype(np.float32)
    places = rng.integers(4, 32, (n, 2))
    for k in range(0, n, 2):
        j, i = places[k]
        images[k, 0, j : j + 4, i : i + 4] += 3.0
    answers = torch.arange(n).remainder(2).eq(0).float()[:, None]
    return torch.from_numpy(images), answers, places


def learned() -> AttentionNet:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    net = AttentionNet(size=(40, 40), channels=1, outputs=1, width=8, depth=2)
    optimiser = torch.optim.AdamW(net.parameters(), 5e-3)
    for _ in range(50):
        images, answers, _ = spotted(12, rng)
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(net(images), answers).backward()
        optimiser.step()
    return net.eval()


def test_it_finds_a_small_thing_and_its_map_points_at_it() -> None:
    net = learned()
    images, answers, places = spotted(40, np.random.default_rng(1))
    with torch.inference_mode():
        right = ((net(images) > 0).float() == answers).float().mean()
    assert right > 0.9
    maps = EXPLAINERS["attention"](net, images[::2], output=0)
    best = np.array([np.unravel_index(m.argmax(), m.shape) for m in maps])
    inside = (np.abs(best - (places[::2] + 1.5)) <= 4).all(1)
    assert inside.mean() > 0.9


def test_every_place_counts_alike_before_anything_is_learned_and_shares_add_up() -> None:
    net = AttentionNet(size=(8, 32, 32), channels=2, outputs=3, width=4, depth=2).eval()
    maps = net.features(torch.randn(2, 2, 8, 32, 32))
    weights = net.attention(maps)
    assert torch.allclose(weights, torch.full_like(weights, 1 / weights.shape[1]))
    assert torch.allclose(net.shares(maps).sum(2) + net.classifier.bias, net.head(maps), atol=1e-5)
