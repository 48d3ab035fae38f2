"""A private step: one gradient a patient, cut, added, under noise; against gradients found one by one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Augment, Plan
from hounsfield.federation.privacy.patient_gradients import RowGradients
from hounsfield.federation.privacy.private_step import (
    PrivateDraws,
    PrivateStep,
    refuse_unprotected,
    secret_rng,
)
from hounsfield.networks.compact import CompactNet
from hounsfield.steps.batches import Piece


def terms(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits, wanted, reduction="none")


def network(seed: int = 0, size: tuple[int, ...] = (8, 8)) -> CompactNet:
    torch.manual_seed(seed)
    return CompactNet(size=size, channels=1, outputs=2, width=4, depth=2, norm="group")


def piece(images: torch.Tensor, wanted: torch.Tensor, who: list[int]) -> Piece:
    return Piece(images, wanted, 0, len(who), len(who), who=np.array(who))


def one_by_one(net: nn.Module, images: torch.Tensor, wanted: torch.Tensor, who: list[int]) -> torch.Tensor:
    """The gradient of each patient's mean loss, flat, by autograd and nothing else: (patients, P)."""
    found = []
    for name in sorted(set(who)):
        own = [n for n, w in enumerate(who) if w == name]
        net.zero_grad()
        cross_entropy(net(images[own]), wanted[own], reduction="none").mean(1).mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    net.zero_grad(set_to_none=True)
    return torch.stack(found)


def flat(net: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters()])


@pytest.mark.parametrize("size", [(8, 8), (6, 8, 8)])
@pytest.mark.parametrize("clip", [1e6, 0.05])
def test_the_gradient_is_the_sum_of_cut_gradients_of_patients(size: tuple[int, ...], clip: float) -> None:
    net, who = network(size=size), [3, 3, 5, 8, 8, 8]
    form = torch.channels_last if len(size) == 2 else torch.channels_last_3d
    images = torch.randn(6, 1, *size).contiguous(memory_format=form)
    wanted = torch.rand(6, 2)
    each = one_by_one(net, images, wanted, who)
    factor = (clip / each.norm(dim=1)).clamp(max=1.0)
    assert clip > 1 or bool((factor < 1).all())
    with PrivateStep(net, terms, clip=clip, noise=0.0, expected=2.5) as step:
        parts = [piece(images[:3], wanted[:3], who[:3]), piece(images[3:], wanted[3:], who[3:])]
        step.gradient(parts, np.random.default_rng(0))
    expected = (factor[:, None] * each).sum(0) / 2.5
    torch.testing.assert_close(flat(net), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten()],
        [nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.Flatten()],
        [nn.Conv2d(2, 3, 3, padding="same", dilation=2), nn.Flatten(), nn.LayerNorm(192)],
        [nn.Flatten(), nn.Linear(128, 3), nn.PReLU()],
        [nn.Conv2d(2, 60, 3, stride=2, padding=2, dilation=2), nn.Flatten()],
        [
            nn.Unflatten(2, (2, 4)),
            nn.Conv3d(2, 60, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            nn.Flatten(),
        ],
        [nn.Unflatten(2, (2, 4)), nn.Conv3d(2, 3, 2, dilation=(1, 2, 1)), nn.Flatten()],
    ],
)
def test_rows_of_every_layer_have_the_gradients_that_they_have_alone(layers: list[nn.Module]) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(*layers)
    images = torch.randn(3, 2, 8, 8)
    weigh = torch.randn_like(net(images))
    alone = []
    for n in range(3):
        net.zero_grad(set_to_none=True)
        (net(images[n : n + 1]) * weigh[n]).sum().backward()
        alone.append([p.grad.clone() for p in net.parameters()])
    net.zero_grad(set_to_none=True)
    rows = RowGradients(net)
    (net(images) * weigh).sum().backward()
    for m, found in enumerate(rows.taken()):
        torch.testing.assert_close(found, torch.stack([a[m] for a in alone]), rtol=1e-4, atol=1e-5)
    rows.close()


def test_one_patient_moves_the_gradient_by_no_more_than_the_clip() -> None:
    net, images, wanted = network(), torch.randn(5, 1, 8, 8) * 50, torch.rand(5, 2)
    found = []
    with PrivateStep(net, terms, clip=0.03, noise=0.0, expected=1.0) as step:
        for many in (5, 4):
            step.gradient([piece(images[:many], wanted[:many], list(range(many)))], np.random.default_rng(0))
            found.append(flat(net))
    assert 0.029 < float((found[0] - found[1]).norm()) <= 0.03 * (1 + 1e-4)


def test_noise_has_the_spread_that_was_accounted_for() -> None:
    net = network()
    with PrivateStep(net, terms, clip=0.5, noise=1.5, expected=4.0) as step:
        value = step.gradient([], np.random.default_rng(3))
    noise = flat(net)
    n = len(noise)
    assert np.isnan(value) and n > 500
    spread = 0.5 * 1.5 / 4
    assert abs(float(noise.mean())) < 5 * spread / n**0.5
    assert abs(float(noise.std()) / spread - 1) < 5 / (2 * n) ** 0.5


def test_a_gradient_that_is_not_finite_counts_for_nothing() -> None:
    net, images, wanted = network(), torch.randn(3, 1, 8, 8), torch.rand(3, 2)
    images[1, 0, 0, 0] = torch.inf
    with PrivateStep(net, terms, clip=0.3, noise=0.0, expected=1.0) as step:
        step.gradient([piece(images, wanted, [0, 1, 2])], np.random.default_rng(0))
        with_it = flat(net)
        step.gradient([piece(images[[0, 2]], wanted[[0, 2]], [0, 2])], np.random.default_rng(0))
    assert bool(torch.isfinite(with_it).all())
    torch.testing.assert_close(with_it, flat(net))


def test_a_network_is_left_as_it_was_found() -> None:
    net, images, wanted = network(), torch.randn(2, 1, 8, 8), torch.rand(2, 2)
    before = {k: set(vars(m)) for k, m in net.named_modules()}
    with PrivateStep(net, terms, clip=1.0, noise=0.0, expected=2.0) as step:
        step.gradient([piece(images, wanted, [0, 1])], np.random.default_rng(0))
    assert {k: set(vars(m)) for k, m in net.named_modules()} == before
    assert not any(hasattr(p, "grad_sample") for p in net.parameters())
    net.zero_grad()
    terms(net(images), wanted).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_batch_statistics_are_refused_unless_they_rest() -> None:
    net = CompactNet(size=(8, 8), channels=1, outputs=1, width=4, depth=2)
    with pytest.raises(BadInput, match=r"network\.norm=group"):
        PrivateStep(net, terms, clip=1.0, noise=1.0, expected=1.0)
    for p in net.body.parameters():
        p.requires_grad_(False)
    net.train()
    PrivateStep(net, terms, clip=1.0, noise=1.0, expected=1.0).rows.close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, "class_weights"),
        ({"fit.class_weights": False, "augment.mixup": 0.2}, "mixup"),
        ({"fit.class_weights": False, "pretrain.epochs": 2}, "pretrain"),
        (
            {"fit.class_weights": False, "mitigation.method": "reweighting", "mitigation.by": "sex"},
            "mitigation",
        ),
    ],
)
def test_plans_that_carry_a_patient_past_the_noise_are_refused(change: dict[str, object], named: str) -> None:
    plan = Plan.checked({"federation": {"strategy": "fedavg", "epsilon": 8}})
    with pytest.raises(BadInput, match=named):
        refuse_unprotected(plan.changed(change))
    refuse_unprotected(plan.changed({"fit.class_weights": False}))


def made_batches(cases: int, *, augment: Augment | None = None) -> SimpleNamespace:
    """What `Batches` gives, of images that hold their own number."""

    def pieces(epoch: object, step: int, share: tuple[int, int], count: int) -> object:
        rows = epoch.order[share[0] : share[1]]  # type: ignore[attr-defined]
        images = torch.from_numpy(rows.astype(np.float32))[:, None, None, None].expand(-1, 1, 2, 2)
        yield Piece(images, torch.zeros(len(rows), 1), *share, cases)

    plan = SimpleNamespace(augment=augment or Augment())
    return SimpleNamespace(training=100 + np.arange(cases), plan=plan, shape=(2, 2), pieces=pieces)


def test_every_patient_is_seen_by_a_coin_of_its_own_with_few_images() -> None:
    patients = np.repeat(np.arange(40), [1] * 20 + [6] * 20)
    draws = PrivateDraws(made_batches(140), patients, rate=0.3, most_images=2, most_rows=8)  # type: ignore[arg-type]
    assert draws.expected == pytest.approx(12)
    seen, sizes = np.zeros((400, 40)), []
    for n in range(400):
        who: list[int] = []
        for part in draws.pieces(np.random.default_rng(n)):
            rows = part.images[:, 0, 0, 0].numpy().astype(int) - 100
            assert part.who is not None and (patients[rows] == part.who).all() and len(rows) <= 8
            who += part.who.tolist()
        names, counts = np.unique(who, return_counts=True)
        assert counts.max() <= 2
        seen[n, names] = 1
        sizes.append(len(names))
    often = seen.mean(0)
    assert abs(often.mean() - 0.3) < 0.015 and often.min() > 0.2 and often.max() < 0.41
    assert abs(np.var(sizes) / (40 * 0.3 * 0.7) - 1) < 0.3  # binomial: not a fixed number a step
    assert abs(np.corrcoef(seen[:, 0], seen[:, 39])[0, 1]) < 0.2


def test_noise_cannot_be_repeated_without_the_secret_or_for_another_question() -> None:
    said = ("plan", 1, "weights", 0)
    first = secret_rng(b"a" * 32, *said).standard_normal(4)
    assert np.array_equal(first, secret_rng(b"a" * 32, *said).standard_normal(4))
    for other in (secret_rng(b"b" * 32, *said), secret_rng(b"a" * 32, "plan", 1, "other weights", 0)):
        assert not np.allclose(first, other.standard_normal(4))
    with pytest.raises(ValueError, match="32"):
        secret_rng(b"short", *said)
