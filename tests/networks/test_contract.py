"""What every registered network must do: one of each family, and small ones of timm for the costly tests."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Network
from hounsfield.explainers import EXPLAINERS
from hounsfield.networks import NETWORKS, build
from hounsfield.networks.classifier import Classifier
from hounsfield.networks.families import FAMILIES
from hounsfield.networks.freeze import set_trainable
from hounsfield.networks.stages import frozen_prefix
from hounsfield.networks.weights import load_weights, save_weights

torch.set_num_threads(1)

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
FLAT = [
    *(name for name in NETWORKS.names if name not in FAMILIES),
    pytest.param("timm:test_resnet", marks=needs_timm),
    pytest.param("timm:test_efficientnet", marks=needs_timm),
]

ONE_OF_EACH = [
    "vgg16",
    "resnet18",
    "inception_v3",
    "densenet121",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_tiny",
]
"""A small network of every family that bears a plain name."""


@pytest.fixture(scope="module", params=ONE_OF_EACH)
def family(request: pytest.FixtureRequest) -> tuple[str, Classifier]:
    """A network at the smallest size of its family, for two channels, with a frozen backbone."""
    pytest.importorskip("timm", reason="timm is not installed")
    name, side = request.param, max(FAMILIES[request.param].least, 32)
    if name == "vgg16":
        return name, narrow_vgg16(side)
    wanted = Network(name=name, trainable_layers=0)
    return name, build(wanted, channels=2, outputs=3, size=(1, side, side), seed=0).eval()


def narrow_vgg16(side: int) -> Classifier:
    """VGG16 with an eighth of its channels; whole, it takes half a gigabyte."""
    from hounsfield.networks.backbones import Backbone
    from hounsfield.networks.torchvision_ops import import_timm

    import_timm()
    from timm.models.vgg import VGG, cfgs

    widths = [w if w == "M" else w // 8 for w in cfgs["vgg16"]]
    torch.manual_seed(0)
    network = Backbone(VGG(widths, num_classes=3, in_chans=2, mlp_ratio=0.01))
    network.input_shape = (2, side, side)
    set_trainable(network, 0)
    return network.eval()


def made(name: str, *, channels: int = 1, outputs: int = 1, seed: int = 0, slices: int = 1) -> Classifier:
    side = 32 if name == "article-c" or name.startswith("timm:") else 28
    size = (slices, side, side) if slices == 1 else (slices, 16, 16)
    return build(
        Network(name=name, width=8, depth=2), channels=channels, outputs=outputs, size=size, seed=seed
    )


def images(name: str, *, channels: int = 1, n: int = 2, seed: int = 0) -> torch.Tensor:
    side = 32 if name == "article-c" or name.startswith("timm:") else 28
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FLAT)
def test_logits_have_one_row_an_image_and_one_column_an_output(name: str, channels: int) -> None:
    network = made(name, channels=channels, outputs=3).eval()
    with torch.no_grad():
        logits = network(images(name, channels=channels))
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", FLAT)
def test_forward_is_the_head_of_the_features(name: str) -> None:
    network = made(name, outputs=2).eval()
    x = images(name)
    with torch.no_grad():
        feature_map = network.features(x)
        assert feature_map.ndim == 4
        torch.testing.assert_close(network.head(feature_map), network(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", FLAT)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = made(name), made(name), made(name, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    apart = [not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)]
    assert all(same)
    assert any(apart)


@pytest.mark.parametrize("name", FLAT)
def test_steps_of_training_lower_the_loss_on_separable_images(name: str) -> None:
    torch.manual_seed(0)
    network = made(name).train()
    x = images(name, n=8) * 0.2
    y = torch.tensor([0.0, 1.0] * 4)
    x[y == 1, :, :14, :14] += 2.0
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-4 if name == "article-c" else 3e-3)
    losses = []
    for _ in range(8 if name == "article-c" else 15):
        loss = functional.binary_cross_entropy_with_logits(network(x)[:, 0], y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", FLAT)
def test_a_saved_state_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    network, other = made(name).eval(), made(name, seed=1).eval()
    x = images(name)
    save_weights(network, tmp_path / "member.safetensors")
    load_weights(other, tmp_path / "member.safetensors")
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in network.state_dict().items())
    with torch.no_grad():
        assert torch.equal(network(x), other(x))
    assert [p.name for p in tmp_path.iterdir()] == ["member.safetensors"]


@pytest.mark.parametrize("name", FLAT)
def test_gradcam_covers_the_image_with_finite_values(name: str) -> None:
    x = images(name)
    maps = EXPLAINERS["gradcam"](made(name, outputs=2), x, output=1)
    assert maps.shape == (2, *x.shape[2:])
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    assert maps.max() <= 1


@pytest.mark.parametrize("name", FLAT)
def test_channels_last_gives_the_same_logits(name: str) -> None:
    network, x = made(name).eval(), images(name, channels=1)
    with torch.no_grad():
        plain = network(x)
        swapped = network.to(memory_format=torch.channels_last)(
            x.contiguous(memory_format=torch.channels_last)
        )
    torch.testing.assert_close(swapped, plain, rtol=1e-3, atol=1e-4)


def test_a_family_is_its_links_and_its_two_halves(family: tuple[str, Classifier]) -> None:
    _, network = family
    x = torch.randn(2, *network.input_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits, step = network(x), x
        assert logits.shape == (2, 3)
        assert torch.isfinite(logits).all()
        assert torch.equal(network.head(network.features(x)), logits)
        for link in network.links():
            step = link.apply(step)
        assert torch.equal(step, logits)
        split = frozen_prefix(network)
        assert split is not None and split.depth >= len(network.links()) - 2
        torch.testing.assert_close(split.rest(split.prefix(x)), logits)
    owned = [id(p) for link in network.links() for p in link.learned()]
    assert sorted(owned) == sorted(id(p) for p in network.parameters())
    learning = {n.rpartition(".")[0] for n, p in network.named_parameters() if p.requires_grad}
    assert learning <= {"model.fc", "model.classifier", "model.head", "model.head.fc"}
    assert len(learning) == 1


def test_the_least_size_of_a_family_is_the_least_that_passes(family: tuple[str, Classifier]) -> None:
    name, network = family
    least = FAMILIES[name].least
    if name.startswith("vit"):
        least = 16  # one patch; the network itself was made for its size
    elif least == 1:
        with torch.no_grad():
            assert network(torch.zeros(1, 2, 1, 1)).shape == (1, 3)
        return
    else:
        with torch.no_grad():
            assert network(torch.zeros(1, 2, least, least)).shape == (1, 3)
            with pytest.raises((RuntimeError, ValueError)):
                network(torch.zeros(1, 2, least, least - 1))
    with pytest.raises(BadInput, match=f"expected at least {least} x {least}; enlarge"):
        build(Network(name=name), channels=1, outputs=1, size=(1, least, least - 1))


@pytest.mark.parametrize("name", ["article-a", "article-b", "article-c", "inception_v3", "vit_tiny"])
def test_a_network_for_images_refuses_volumes(name: str) -> None:
    with pytest.raises(BadInput, match="2D images only"):
        build(Network(name=name), channels=1, outputs=1, size=(16, 80, 80))


@pytest.mark.parametrize(
    ("name", "meant"),
    [("compat", "compact"), ("resnet81", "resnet18"), ("VGG-16", "vgg16"), ("incpetion_v3", "inception_v3"),
     ("densenet_121", "densenet121"), ("efficient_net_b0", "efficientnet_b0"), ("vit-small", "vit_small")],
)  # fmt: skip
def test_an_unknown_name_suggests_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(BadInput, match=f'did you mean "{meant}"'):
        build(Network(name=name), channels=1, outputs=1, size=(1, 28, 28))


@pytest.mark.parametrize("fault", [{"trainable_layers": -2}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_impossible_numbers_are_refused(fault: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="correct the plan"):
        build(Network.model_validate({"name": "article-a", **fault}), channels=1, outputs=1, size=(1, 28, 28))


@pytest.mark.parametrize("size", [(28, 28), (0, 28, 28)])
def test_a_size_that_is_none_is_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(BadInput, match="expected a size"):
        build(Network(), channels=1, outputs=1, size=size)


@pytest.mark.parametrize("name", ["article-a", "compact", "plain", "article-c"])
def test_a_network_knows_the_shape_that_it_was_built_for(name: str) -> None:
    assert made(name, channels=2).input_shape == (2, *images(name).shape[2:])
    if name in ("compact", "plain"):
        assert made(name, slices=5).input_shape == (1, 5, 16, 16)


@pytest.mark.parametrize("name", ["compact", "plain", "article-a", "article-b"])
def test_only_a_pretrained_family_takes_pretrained_weights(name: str) -> None:
    with pytest.raises(BadInput, match="no pretrained weights"):
        build(Network(name=name, weights="pretrained"), channels=1, outputs=1, size=(1, 28, 28))


def test_the_packages_import_no_torch() -> None:
    code = "import hounsfield.networks, hounsfield.explainers, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
