"""The U-Net: what it answers at which resolution, what its sides must be, and how it is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Network
from hounsfield.networks.unet import UNet, build_unet, norm_of
from hounsfield.networks.weights import load_weights, save_weights

FLAT = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2))
THICK = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))
THICK_KERNELS = ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))


def _built(size: tuple[int, int, int], *, seed: int | None = 0, deep: bool = True, **network: object) -> UNet:
    made = Network(name="unet", width=4, depth=4, **network)  # type: ignore[arg-type]
    return build_unet(made, channels=2, outputs=3, size=size, seed=seed, deep=deep)


@pytest.mark.parametrize(
    ("size", "strides", "kernels", "image"),
    [
        ((1, 32, 32), FLAT, (), (24, 40)),
        ((4, 32, 32), THICK, THICK_KERNELS, (8, 16, 24)),
        ((16, 16, 16), ((1, 1, 1), (2, 2, 2), (2, 2, 2)), (), (4, 8, 12)),
        ((16, 16, 16), (), (), (8, 16, 8)),
    ],
)
def test_every_voxel_has_an_answer(
    size: tuple[int, int, int], strides: object, kernels: object, image: tuple[int, ...]
) -> None:
    net = _built(size, strides=strides, kernels=kernels).eval()
    with torch.no_grad():
        found = net(torch.randn(2, 2, *image))
    assert isinstance(found, torch.Tensor) and found.shape == (2, 3, *image)


def test_kernels_and_strides_of_thick_slices_leave_them_alone() -> None:
    """With kernels and strides of 1 along k alone, no slice sees another, bar the statistics of the norms."""
    net = _built((4, 16, 16), strides=FLAT, kernels=((1, 3, 3),) * 4).eval()
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.GroupNorm):
            parent, _, own = name.rpartition(".")
            setattr(net.get_submodule(parent), own, nn.Identity())
    with torch.no_grad():
        images = torch.randn(1, 2, 4, 16, 16)
        changed = images.clone()
        changed[:, :, 3] += 5
        before, after = net(images), net(changed)
    assert torch.equal(before[:, :, :3], after[:, :, :3]) and not torch.allclose(
        before[:, :, 3], after[:, :, 3]
    )


def test_deep_answers_are_given_in_training_only() -> None:
    net = _built((4, 32, 32), strides=THICK, kernels=THICK_KERNELS)
    answers = net.train()(torch.randn(1, 2, 4, 32, 32))
    assert [tuple(a.shape) for a in answers] == [(1, 3, 4, 32, 32), (1, 3, 4, 16, 16)]
    assert isinstance(net.eval()(torch.randn(1, 2, 4, 32, 32)), torch.Tensor)
    alone = _built((4, 32, 32), strides=THICK, kernels=THICK_KERNELS, deep=False).train()
    assert isinstance(alone(torch.randn(1, 2, 4, 32, 32)), torch.Tensor)


def test_every_weight_learns_from_the_deep_answers() -> None:
    net = _built((1, 32, 32), strides=FLAT).train()
    sum(a.square().mean() for a in net(torch.randn(1, 2, 32, 32))).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())


def test_the_head_on_the_features_is_the_answer() -> None:
    net = _built((1, 32, 32), strides=FLAT).eval()
    images = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        assert torch.equal(net.head(net.features(images)), net(images))


def test_blocks_and_the_widest_stage_are_the_plans() -> None:
    net = _built((1, 32, 32), strides=FLAT, blocks=2, widest=8)
    assert [len(stage) for stage in net.encoder] == [1, 2, 2, 2]
    assert max(m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)) == 8


def test_a_patch_that_the_strides_do_not_divide_is_refused() -> None:
    with pytest.raises(BadInput, match=r"4×30×32 .* 4×8×8; correct grid\.patch or network\.strides"):
        _built((4, 30, 32), strides=THICK)


def test_usual_strides_divide_any_patch() -> None:
    for size in ((1, 48, 36), (5, 16, 18), (3, 3, 3), (16, 20, 7)):
        net = _built(size)
        cut = 1 if size[0] == 1 else 0
        assert all(n % d == 0 for n, d in zip(size[cut:], net.divisor, strict=True))


def test_weights_follow_the_seed_and_torchs_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (_built((1, 32, 32), seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_saved_weights_answer_the_same(tmp_path: Path) -> None:
    one, two = _built((1, 32, 32), seed=1).eval(), _built((1, 32, 32), seed=2).eval()
    save_weights(one, tmp_path / "member-0.safetensors")
    load_weights(two, tmp_path / "member-0.safetensors")
    images = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        assert torch.equal(one(images), two(images))
    wider = build_unet(Network(name="unet", width=8), channels=2, outputs=3, size=(1, 32, 32))
    with pytest.raises(BadInput, match="do not fit the network"):
        load_weights(wider, tmp_path / "member-0.safetensors")


@pytest.mark.parametrize("channels", [4, 6, 16, 24, 7, 1])
def test_norms_share_at_least_two_channels_where_they_can(channels: int) -> None:
    groups = norm_of(channels).num_groups
    assert channels % groups == 0 and (channels // groups >= 2 or groups == 1)
