"""A volume of equal slices has the logits of the 2D network on one of them; thin stacks keep their slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hounsfield.core.errors import BadInput, MissingDependency
from hounsfield.core.plan import Network
from hounsfield.networks import build
from hounsfield.networks.classifier import Classifier
from hounsfield.networks.families import FAMILIES, VOLUME_NETWORKS
from hounsfield.networks.inflate import SHORTEST_HALVED, inflate, inflate_tensors
from hounsfield.networks.torchvision_ops import import_timm

torch.set_num_threads(1)
try:
    timm = import_timm()
except MissingDependency:
    pytest.skip("timm is not installed", allow_module_level=True)


def small_vgg() -> nn.Module:
    """VGG's own modules, few channels wide."""
    from timm.models.vgg import VGG

    return VGG([4, "M", 4, "M", 8, "M", 8, "M", 8, "M"], num_classes=2, in_chans=1, mlp_ratio=0.01)


def small_densenet() -> nn.Module:
    from timm.models.densenet import DenseNet

    return DenseNet(growth_rate=4, block_config=(2, 2, 2, 2), num_classes=2, in_chans=1)


SMALL: dict[str, Any] = {
    "vgg": small_vgg,
    "densenet": small_densenet,
    "resnet": lambda: timm.create_model("test_resnet", num_classes=2, in_chans=1),
    "resnet-d": lambda: timm.create_model("test_resnet", num_classes=2, in_chans=1, avg_down=True),
    "efficientnet": lambda: timm.create_model("test_efficientnet", num_classes=2, in_chans=1),
}


def lively(model: nn.Module) -> nn.Module:
    """Statistics and scales as after a training, so that no part of the network stands still."""
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.eval()


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    flat = lively(SMALL[name]())
    deep = inflate(SMALL[name](), name)
    deep.load_state_dict(inflate_tensors(flat.state_dict(), deep.state_dict()))
    return flat, deep.eval()


@pytest.mark.parametrize("slices", [2, 5, 6, 11, 24])
@pytest.mark.parametrize("name", SMALL)
def test_equal_slices_have_the_logits_of_one(name: str, slices: int) -> None:
    flat, deep = pair(name)
    x = torch.randn(2, 1, 40, 33)
    with torch.no_grad():
        wanted = flat(x)
        found = deep(x[:, :, None].expand(-1, -1, slices, -1, -1))
    assert wanted.std() > 0
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_neighbouring_slices_matter(name: str) -> None:
    _, deep = pair(name)
    x = torch.randn(1, 1, 8, 40, 40, requires_grad=True)
    mixed = x.detach()[:, :, [0, 2, 4, 6, 1, 3, 5, 7]]
    with torch.no_grad():
        assert not torch.allclose(deep(x), deep(mixed), rtol=1e-4, atol=1e-5)
    deep(x).sum().backward()
    assert x.grad is not None and (x.grad.abs().amax((0, 1, 3, 4)) > 0).all()


@pytest.mark.parametrize(
    ("slices", "left"), [(2, 2), (SHORTEST_HALVED - 1, SHORTEST_HALVED - 1), (6, 3), (7, 4), (11, 3), (24, 3)]
)
def test_an_axis_of_few_slices_is_not_halved(slices: int, left: int) -> None:
    _, deep = pair("resnet")
    with torch.no_grad():
        assert deep.forward_features(torch.zeros(1, 1, slices, 32, 32)).shape[2] == left


def test_a_short_axis_still_holds_every_slice_in_vgg() -> None:
    _, deep = pair("vgg")
    with torch.no_grad():
        assert deep.forward_features(torch.zeros(1, 1, 64, 64, 64)).shape[2:] == (4, 2, 2)


def test_drawn_kernels_spread_their_variance_over_the_slices() -> None:
    torch.manual_seed(0)
    flat = SMALL["resnet"]()
    torch.manual_seed(0)
    deep = inflate(SMALL["resnet"](), "resnet")
    kernels = zip(flat.named_parameters(), deep.named_parameters(), strict=True)
    for (name, two), (other, three) in kernels:
        assert name == other
        if three.ndim == 5 and three.shape[2] > 1 and three.numel() > 5000:
            assert float(three.detach().std()) == pytest.approx(float(two.detach().std()) / 3**0.5, rel=0.1)
            assert not torch.equal(three[:, :, 0], three[:, :, 1])


def volume(
    name: str = "timm:test_resnet", *, channels: int = 1, seed: int = 0, **options: object
) -> Classifier:
    wanted = Network.model_validate({"name": name, **options})
    return build(wanted, channels=channels, outputs=2, size=(8, 32, 32), seed=seed)


def test_a_file_of_the_2d_network_is_inflated_and_summed_over_colours(tmp_path: Path) -> None:
    donor = lively(timm.create_model("test_resnet", num_classes=2, in_chans=3))
    save_file(donor.state_dict(), tmp_path / "flat.safetensors")
    network = volume(weights=str(tmp_path / "flat.safetensors")).eval()
    assert network.left_out == ()
    grey = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        wanted = donor(grey.expand(-1, 3, -1, -1))
        found = network(grey[:, :, None].expand(-1, -1, 8, -1, -1))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_file_of_its_own_comes_back_bit_for_bit(tmp_path: Path) -> None:
    donor = volume(seed=3)
    save_file(donor.state_dict(), tmp_path / "deep.safetensors")
    network = volume(weights=str(tmp_path / "deep.safetensors"))
    assert all(torch.equal(v, donor.state_dict()[k]) for k, v in network.state_dict().items())


def test_a_file_of_volumes_does_not_fit_images(tmp_path: Path) -> None:
    save_file(volume().state_dict(), tmp_path / "deep.safetensors")
    wanted = Network(name="timm:test_resnet", weights=str(tmp_path / "deep.safetensors"))
    with pytest.raises(BadInput, match=r"of another shape conv1\.0\.weight"):
        build(wanted, channels=1, outputs=2, size=(1, 32, 32))


def test_an_inflated_network_trains_in_channels_last() -> None:
    network = volume().train().to(memory_format=torch.channels_last_3d)
    x = torch.randn(4, 1, 8, 32, 32).contiguous(memory_format=torch.channels_last_3d)
    network(x).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_table_says_which_families_take_volumes(name: str) -> None:
    with torch.device("meta"):
        if FAMILIES[name].volumes:
            network = build(Network(name=name), channels=2, outputs=1, size=(8, 32, 32))
            assert not any(
                isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.MaxPool2d) for m in network.modules()
            )
            assert {p.ndim for p in network.parameters()} <= {1, 2, 5}
        else:
            with pytest.raises(BadInput, match="cannot be carried"):
                inflate(timm.create_model(FAMILIES[name].timm), name)


@pytest.mark.parametrize(
    "name", ["article-c", "inception_v3", "vit_small", "timm:seresnet18", "timm:test_vit"]
)
def test_a_refusal_lists_the_networks_that_take_volumes(name: str) -> None:
    with pytest.raises(BadInput, match="2D images only") as caught:
        build(Network(name=name), channels=1, outputs=1, size=(16, 80, 80))
    assert all(other in str(caught.value) for other in VOLUME_NETWORKS)
