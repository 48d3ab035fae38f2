"""What every registered network, and two of timm's, must do."""

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
from hounsfield.networks.weights import load_weights, save_weights

torch.set_num_threads(1)

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
FLAT = [
    *NETWORKS.names,
    pytest.param("timm:test_resnet", marks=needs_timm),
    pytest.param("timm:test_efficientnet", marks=needs_timm),
]


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


@pytest.mark.parametrize(
    "name", [n for n in NETWORKS.names if n not in ("compact", "plain")] + ["timm:resnet18"]
)
def test_a_network_for_images_refuses_volumes(name: str) -> None:
    with pytest.raises(BadInput, match="2D images only"):
        build(Network(name=name), channels=1, outputs=1, size=(16, 64, 64))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(BadInput, match='did you mean "compact"'):
        build(Network(name="compat"), channels=1, outputs=1, size=(1, 28, 28))


@pytest.mark.parametrize("size", [(28, 28), (0, 28, 28)])
def test_a_size_that_is_none_is_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(BadInput, match="expected a size"):
        build(Network(), channels=1, outputs=1, size=size)


@pytest.mark.parametrize("name", ["compact", "plain", "article-a", "article-b"])
def test_only_a_pretrained_family_takes_pretrained_weights(name: str) -> None:
    with pytest.raises(BadInput, match="no pretrained weights"):
        build(Network(name=name, weights="pretrained"), channels=1, outputs=1, size=(1, 28, 28))


def test_the_packages_import_no_torch() -> None:
    code = "import hounsfield.networks, hounsfield.explainers, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
