"""The article's networks hold as many parameters as Keras's, layer by layer, and start as Keras's do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hounsfield.core.errors import BadInput, MissingDependency
from hounsfield.core.plan import Network
from hounsfield.networks import build
from hounsfield.networks.article import ArticleNet

torch.set_num_threads(1)


def parameters(name: str, *, channels: int, size: tuple[int, int, int], **options: int) -> tuple[int, int]:
    """(all, trainable) parameters, counted without allocating them."""
    with torch.device("meta"):
        network = build(Network(name=name, **options), channels=channels, outputs=1, size=size)
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns)


def conv(wide: int, wide_out: int) -> int:
    return (9 * wide + 1) * wide_out


def dense(wide: int, wide_out: int) -> int:
    return (wide + 1) * wide_out


def test_article_a_counts_as_keras() -> None:
    # 224 -2 222 /2 111 -2 109 /2 54
    by_layer = conv(1, 32) + conv(32, 64) + dense(54 * 54 * 64, 128) + dense(128, 1)
    assert by_layer == 23_906_945
    assert parameters("article-a", channels=1, size=(1, 224, 224)) == (by_layer, by_layer)


def test_article_b_counts_as_keras() -> None:
    # 150 -2 148 /2 74 -2 72 /2 36
    by_layer = conv(3, 32) + conv(32, 64) + dense(36 * 36 * 64, 64) + dense(64, 1)
    assert by_layer == 5_327_937
    assert parameters("article-b", channels=3, size=(1, 150, 150)) == (by_layer, by_layer)


def test_article_c_counts_as_keras_and_frees_block_five() -> None:
    vgg16_without_top = 14_714_688
    head = dense(4 * 4 * 512, 1024) + dense(1024, 1)
    total, trainable = parameters("article-c", channels=3, size=(1, 150, 150), trainable_layers=4)
    assert total == vgg16_without_top + head == 23_105_345
    assert trainable == 3 * conv(512, 512) + head == 15_470_081


def test_article_c_counts_a_pooling_as_a_layer() -> None:
    _, pool_only = parameters("article-c", channels=3, size=(1, 64, 64), trainable_layers=1)
    _, none = parameters("article-c", channels=3, size=(1, 64, 64), trainable_layers=0)
    _, last = parameters("article-c", channels=3, size=(1, 64, 64), trainable_layers=2)
    assert pool_only == none
    assert last - none == conv(512, 512)


@pytest.mark.parametrize("name", ["article-a", "article-b", "article-c"])
def test_kernels_are_glorot_uniform_and_biases_zero(name: str) -> None:
    network = build(Network(name=name), channels=3, outputs=1, size=(1, 32, 32), seed=0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            assert module.bias is not None
            assert not module.bias.any()
            field = module.weight[0, 0].numel() if module.weight.ndim > 2 else 1
            limit = (6 / (field * (module.weight.shape[0] + module.weight.shape[1]))) ** 0.5
            assert module.weight.abs().max() <= limit
            if module.weight.numel() > 2000:
                assert module.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.05)


@pytest.mark.parametrize(("name", "side"), [("article-a", 9), ("article-b", 9), ("article-c", 31)])
def test_an_image_too_small_for_the_poolings_is_refused(name: str, side: int) -> None:
    with pytest.raises(BadInput, match=r"enlarge input\.size"):
        build(Network(name=name), channels=1, outputs=1, size=(1, side, side))
    least = build(Network(name=name), channels=1, outputs=1, size=(1, side + 1, side + 1)).eval()
    with torch.no_grad():
        assert least(torch.zeros(1, 1, side + 1, side + 1)).shape == (1, 1)


def test_dropout_of_b_acts_in_training_only() -> None:
    network = build(Network(name="article-b"), channels=1, outputs=1, size=(1, 28, 28), seed=0)
    x = torch.randn(1, 1, 28, 28)
    with torch.no_grad():
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))


def test_article_c_starts_from_a_vgg16_file_and_sums_its_colours(tmp_path: Path) -> None:
    donor = build(Network(name="article-c"), channels=3, outputs=1, size=(1, 32, 32), seed=1)
    assert isinstance(donor, ArticleNet)
    tensors = {f"features.{k}": v for k, v in donor.backbone.state_dict().items()}
    save_file({**tensors, "pre_logits.fc1.bias": torch.zeros(2)}, tmp_path / "vgg16.safetensors")
    wanted = Network(name="article-c", weights=str(tmp_path / "vgg16.safetensors"))
    network = build(wanted, channels=1, outputs=1, size=(1, 32, 32), seed=0).eval()
    assert network.left_out
    grey = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        colour = donor.eval().features(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(network.features(grey), colour, rtol=1e-4, atol=1e-5)


def test_article_c_starts_from_one_of_its_own(tmp_path: Path) -> None:
    donor = build(Network(name="article-c"), channels=1, outputs=3, size=(1, 32, 32), seed=1)
    save_file(donor.state_dict(), tmp_path / "own.safetensors")
    wanted = Network(name="article-c", weights=str(tmp_path / "own.safetensors"))
    network = build(wanted, channels=1, outputs=1, size=(1, 32, 32), seed=0)
    assert network.left_out == ("classifier.5.weight", "classifier.5.bias")
    assert torch.equal(network.state_dict()["classifier.2.weight"], donor.state_dict()["classifier.2.weight"])


def test_article_c_says_which_file_to_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

    def absent(*_: object) -> str:
        raise hub.errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(hub, "hf_hub_download", absent)
    with pytest.raises(MissingDependency, match=r'"model\.safetensors" of timm/vgg16\.tv_in1k'):
        build(Network(name="article-c", weights="pretrained"), channels=3, outputs=1, size=(1, 32, 32))
