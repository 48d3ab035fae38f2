"""Can a picture be drawn from what a site sends? Gradients of each kind are inverted (Zhu 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from federation.attacks.victims import OFF, Protection, rows_lost
from federation.privacy.secure_sites import Dropping, asks, site
from hounsfield.federation.messages import ARRAYS, WEIGHTS, vector_of
from hounsfield.federation.privacy.private_step import PrivateStep
from hounsfield.federation.privacy.secure_sum import secure_mean
from hounsfield.steps.batches import Piece

SIDE = 8


def network() -> nn.Sequential:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.Sigmoid(), nn.Conv2d(6, 6, 3, padding=1), nn.Sigmoid(),
        nn.Flatten(), nn.Linear(6 * SIDE * SIDE, 1),
    )  # fmt: skip
    for p in net.parameters():
        nn.init.uniform_(p, -0.5, 0.5)
    return net


def picture(seed: int) -> Tensor:
    """A smooth picture in [0, 1]."""
    rng = np.random.default_rng(seed)
    j, i = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE), indexing="ij")
    centre = rng.uniform(-0.5, 0.5, 2)
    found = np.exp(-((j - centre[0]) ** 2 + (i - centre[1]) ** 2) / 0.2) + 0.3 * (i > 0.4)
    return torch.from_numpy((found / found.max()).astype(np.float32))[None, None]


def sent(net: nn.Module, image: Tensor, protection: Protection) -> list[Tensor]:
    """The gradient that a site with this one patient applies to its weights."""
    noise = 0.0 if math.isinf(protection.epsilon) else protection.noise(1.0, 1)
    with PrivateStep(net, rows_lost, clip=protection.clip, noise=noise, expected=1.0) as step:
        piece = Piece(image, torch.ones(1, 1), 0, 1, 1, who=np.zeros(1, np.int64))
        step.gradient([piece], np.random.default_rng(5))
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def drawn(net: nn.Module, gradient: Sequence[Tensor], *, tries: int = 60) -> Tensor:
    """The picture whose gradient is most like this one; the attacker knows the weights and the answer."""
    torch.manual_seed(0)
    guess = torch.full((1, 1, SIDE, SIDE), 0.5).add_(0.05 * torch.randn(1, 1, SIDE, SIDE)).requires_grad_()
    optimiser = torch.optim.LBFGS([guess], max_iter=tries, line_search_fn="strong_wolfe", history_size=50)
    parameters = list(net.parameters())
    scale = 1 / sum(float(g.square().sum()) for g in gradient)

    def closure() -> Tensor:
        optimiser.zero_grad()
        own = torch.autograd.grad(
            rows_lost(net(guess), torch.ones(1, 1)).sum(), parameters, create_graph=True
        )
        far = scale * sum(((a - b) ** 2).sum() for a, b in zip(own, gradient, strict=True))
        (guess.grad,) = torch.autograd.grad(far, [guess])
        return far.detach()

    optimiser.step(closure)
    return guess.detach().clamp(0, 1)


def likeness_db(found: Tensor, truth: Tensor) -> float:
    """Peak signal to noise in decibels."""
    return -10 * math.log10(max(float((found - truth).square().mean()), 1e-12))


def by_chance(truth: Tensor) -> float:
    """How like it another patient's picture is, at best of ten."""
    return max(likeness_db(picture(100 + n), truth) for n in range(10))


def unflat(net: nn.Module, vector: np.ndarray) -> list[Tensor]:
    sizes = [p.numel() for p in net.parameters()]
    parts = torch.split(torch.from_numpy(vector.astype(np.float32)), sizes)
    return [part.view(p.shape) for part, p in zip(parts, net.parameters(), strict=True)]


def flat(gradient: Sequence[Tensor]) -> np.ndarray:
    return torch.cat([g.flatten() for g in gradient]).numpy()


def test_a_patient_is_drawn_from_a_plain_gradient_and_not_from_a_private_one() -> None:
    net, image = network(), picture(0)
    assert likeness_db(drawn(net, sent(net, image, OFF), tries=120), image) > 30
    private = sent(net, image, Protection(epsilon=8.0, clip=1.0))
    assert likeness_db(drawn(net, private), image) < by_chance(image)


def test_a_patient_is_not_drawn_from_what_a_coordinator_sees_of_a_secure_sum() -> None:
    net, sites = network(), [1, 2, 3, 4]
    before = np.zeros(sum(p.numel() for p in net.parameters()), np.float32)
    images = {s: picture(s) for s in sites}
    after = {s: flat(sent(net, images[s], OFF)) for s in sites}
    grid = Dropping({s: site(after[s], 1) for s in sites}, {})
    one, replies = secure_mean(grid, asks(sites, before), 1.0)
    masked = next(r for r in replies if int(r.metadata.src_node_id) == 1)
    ring = masked.content.array_records[ARRAYS][WEIGHTS].numpy().view(np.int32)
    seen = ring / 2**31 * np.abs(after[1]).max()
    for view in (seen, vector_of(one)):
        assert likeness_db(drawn(net, unflat(net, view)), images[1]) < 20
    assert likeness_db(drawn(net, unflat(net, after[1]), tries=120), images[1]) > 30


@pytest.mark.slow
def test_no_patient_of_many_is_drawn_from_private_gradients() -> None:
    net = network()
    plain, private = [], []
    for seed in range(12):
        image = picture(seed)
        plain.append(likeness_db(drawn(net, sent(net, image, OFF), tries=300), image))
        budget = Protection(epsilon=8.0, clip=1.0)
        private.append(likeness_db(drawn(net, sent(net, image, budget), tries=300), image) - by_chance(image))
    assert np.median(plain) > 40 and max(private) < 0
