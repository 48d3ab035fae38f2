"""timm's models: names, freezing, and weights that are read without pickle or say what to bring."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from hounsfield.core.errors import BadInput, MissingDependency
from hounsfield.core.plan import Network
from hounsfield.explainers import EXPLAINERS
from hounsfield.networks import build
from hounsfield.networks.article import VGG16_HUB_ID, ArticleNet
from hounsfield.networks.backbones import Backbone
from hounsfield.networks.families import FAMILIES
from hounsfield.networks.timm_weights import start_backbone
from hounsfield.networks.torchvision_ops import import_timm

torch.set_num_threads(1)
try:
    timm = import_timm()
except MissingDependency:
    pytest.skip("timm is not installed", allow_module_level=True)

SIZE = (1, 32, 32)
SMALL = "timm:test_resnet"


def backbone(
    name: str = SMALL, *, channels: int = 3, outputs: int = 1, seed: int = 0, **options: object
) -> Backbone:
    wanted = Network.model_validate({"name": name, **options})
    network = build(wanted, channels=channels, outputs=outputs, size=SIZE, seed=seed)
    assert isinstance(network, Backbone)
    return network


def donor_file(folder: Path, *, channels: int = 3, classes: int = 10) -> tuple[nn.Module, str]:
    torch.manual_seed(5)
    donor = timm.create_model("test_resnet", in_chans=channels, num_classes=classes).eval()
    path = folder / "donor.safetensors"
    save_file(donor.state_dict(), path)
    return donor, str(path)


@pytest.mark.parametrize("name", ["resnet_18", "vit_tiny_patch16_225"])
def test_an_unknown_name_suggests_one_of_timm(name: str) -> None:
    with pytest.raises(BadInput, match="did you mean"):
        backbone(f"timm:{name}")


@pytest.mark.parametrize(
    "name", ["hf-hub:timm/resnet18.a1_in1k", "local-dir:/tmp", "", "resnet18.no_such_tag"]
)
def test_a_name_that_is_no_plain_model_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        backbone(f"timm:{name}")


def test_a_size_that_the_model_cannot_take_is_refused_with_the_least() -> None:
    with pytest.raises(BadInput, match=r"expected at least 32 x 32; change input\.size"):
        build(Network(name="timm:test_convnext"), channels=1, outputs=1, size=(1, 40, 31))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_plain_name_is_a_model_of_timm_with_weights_on_its_hub(name: str) -> None:
    config = timm.get_pretrained_cfg(FAMILIES[name].timm)
    assert config.hf_hub_id and config.fixed_input_size == name.startswith("vit")
    with torch.device("meta"):
        state = timm.create_model(FAMILIES[name].timm).state_dict()
    assert state[f"{config.first_conv}.weight"].shape[1] == 3
    assert f"{config.classifier}.weight" in state


@pytest.mark.parametrize("size", [(1, 32, 48), (1, 33, 40), (1, 20, 100)])
def test_a_transformer_takes_sizes_other_than_its_own_and_pads_to_whole_patches(
    size: tuple[int, int, int],
) -> None:
    network = build(Network(name="timm:test_vit"), channels=1, outputs=2, size=size, seed=0).eval()
    rows, columns = (-(-n // 16) for n in size[1:])
    x = torch.randn(2, 1, *size[1:])
    edge = x.clone().requires_grad_()
    network(edge)[:, 0].sum().backward()
    assert edge.grad is not None and edge.grad[..., -1, -1].all()  # nothing is cut off
    with torch.no_grad():
        tokens = network.features(x)
        assert tokens.shape[1] == rows * columns + 1
        padded = functional.pad(x, (0, 16 * columns - size[2], 0, 16 * rows - size[1]))
        torch.testing.assert_close(network.features(padded), tokens)


@pytest.mark.parametrize("own", [True, False])
def test_positions_are_interpolated_to_the_image(tmp_path: Path, own: bool) -> None:
    torch.manual_seed(1)
    donor = timm.create_model("test_vit", in_chans=3, num_classes=2)
    side = int(donor.patch_embed.grid_size[0])
    state = {f"model.{k}" if own else k: v for k, v in donor.state_dict().items()}
    save_file(state, tmp_path / "vit.safetensors")
    wanted = Network(name="timm:test_vit", weights=str(tmp_path / "vit.safetensors"))
    network = build(wanted, channels=1, outputs=2, size=(1, 64, 112), seed=0)
    assert isinstance(network, Backbone)
    grid = donor.pos_embed[:, 1:].detach().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    oracle = functional.interpolate(grid, (4, 7), mode="bicubic", antialias=True, align_corners=False)
    found = network.model.pos_embed.detach()
    torch.testing.assert_close(found[:, :1], donor.pos_embed[:, :1].detach())
    torch.testing.assert_close(found[:, 1:], oracle.flatten(2).transpose(1, 2))


def test_its_own_positions_come_back_though_another_grid_has_as_many(tmp_path: Path) -> None:
    donor = build(Network(name="timm:test_vit"), channels=1, outputs=5, size=(1, 64, 400), seed=1)
    assert donor.get_parameter("model.pos_embed").shape[1] == 10 * 10 + 1  # as the model's own 160 x 160
    save_file(donor.state_dict(), tmp_path / "own.safetensors")
    wanted = Network(name="timm:test_vit", weights=str(tmp_path / "own.safetensors"))
    network = build(wanted, channels=1, outputs=2, size=(1, 64, 400), seed=0)
    assert torch.equal(network.get_parameter("model.pos_embed"), donor.get_parameter("model.pos_embed"))


def test_the_second_classifier_of_inceptions_weights_is_passed_over(tmp_path: Path) -> None:
    config = timm.get_pretrained_cfg("inception_v3")
    with torch.device("meta"):
        taker = timm.create_model("inception_v3", num_classes=2, in_chans=1)
    taker = taker.to_empty(device="cpu")
    state = {k: torch.full_like(v, i + 1) for i, (k, v) in enumerate(taker.state_dict().items())}
    path = tmp_path / "inception.safetensors"
    save_file({**state, "AuxLogits.fc.weight": torch.zeros(1000, 768)}, path)
    assert start_backbone(taker, config, str(path)) == ()
    assert all(torch.equal(v, state[k]) for k, v in taker.state_dict().items())


@pytest.mark.parametrize(
    ("name", "channels"),
    [(f"test_{n}", c) for n in ("resnet", "efficientnet", "convnext", "vit") for c in (1, 2, 4)]
    + [("densenet121", 2)],
)
def test_a_grey_image_in_any_number_of_channels_gives_what_its_colours_gave(
    tmp_path: Path, name: str, channels: int
) -> None:
    torch.manual_seed(2)
    size = {"img_size": (32, 32)} if name == "test_vit" else {}
    donor = timm.create_model(name, in_chans=3, num_classes=2, **size).eval()
    save_file(donor.state_dict(), tmp_path / "colour.safetensors")
    wanted = Network(name=f"timm:{name}", weights=str(tmp_path / "colour.safetensors"))
    network = build(wanted, channels=channels, outputs=2, size=SIZE, seed=0).eval()
    assert network.left_out == ()
    grey = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        wanted_logits = donor(grey.expand(-1, 3, -1, -1))
        found = network(grey.expand(-1, channels, -1, -1))
    torch.testing.assert_close(found, wanted_logits, rtol=1e-4, atol=1e-5)


def test_a_frozen_backbone_keeps_its_statistics_and_learns_only_in_the_head() -> None:
    network = backbone(trainable_layers=0).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    loss = network(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
    torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1).step()
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"model.fc.weight", "model.fc.bias"}


def test_the_last_layers_learn_with_their_normalisation() -> None:
    network = backbone(trainable_layers=2).train()
    learning = [name for name, p in network.named_parameters() if p.requires_grad]
    owners = {name.rpartition(".")[0] for name in learning} - {"model.fc"}
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(owners) == 2
    assert norms[-1].training
    assert not norms[0].training


def test_everything_learns_by_default() -> None:
    network = backbone().train()
    assert all(p.requires_grad for p in network.parameters())
    assert all(m.training for m in network.modules())


def test_a_local_file_fills_the_backbone_and_states_that_the_head_was_left_out(tmp_path: Path) -> None:
    donor, path = donor_file(tmp_path)
    network = backbone(weights=path).eval()
    assert network.left_out == ("fc.weight", "fc.bias")
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network.features(x), donor.forward_features(x))  # type: ignore[operator]


def test_a_head_of_the_same_shape_is_kept(tmp_path: Path) -> None:
    donor, path = donor_file(tmp_path, classes=2)
    network = backbone(weights=path, outputs=2).eval()
    assert network.left_out == ()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(x), donor(x))


def test_one_channel_sums_the_colours_of_the_first_convolution(tmp_path: Path) -> None:
    donor, path = donor_file(tmp_path)
    network = backbone(weights=path, channels=1).eval()
    grey = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        colour = donor.forward_features(grey.expand(-1, 3, -1, -1))  # type: ignore[operator]
        torch.testing.assert_close(network.features(grey), colour, rtol=1e-4, atol=1e-5)


def test_a_file_of_another_model_is_refused_with_examples(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"blocks.0.attn.weight": torch.zeros(2)}, path)
    with pytest.raises(BadInput, match=r"missing conv1.* unexpected blocks\.0\.attn\.weight"):
        backbone(weights=str(path))


def test_its_own_saved_state_is_a_start_too(tmp_path: Path) -> None:
    donor = backbone(seed=3)
    path = tmp_path / "own.safetensors"
    save_file(donor.state_dict(), path)
    network = backbone(weights=str(path), seed=0)
    assert all(torch.equal(v, donor.state_dict()[k]) for k, v in network.state_dict().items())


def test_pretrained_reads_the_safetensors_file_of_timms_hub_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    donor, path = donor_file(tmp_path)
    asked: list[tuple[str, str]] = []

    def download(hub_id: str, name: str) -> str:
        asked.append((hub_id, name))
        return path

    monkeypatch.setattr(hub, "hf_hub_download", download)
    network = backbone(weights="pretrained").eval()
    assert asked == [(timm.get_pretrained_cfg("test_resnet").hf_hub_id, "model.safetensors")]
    assert torch.equal(network.state_dict()["model.conv1.0.weight"], donor.state_dict()["conv1.0.weight"])


def test_absent_pretrained_weights_name_the_file_the_repository_and_the_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

    def absent(*_: object) -> str:
        raise hub.errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(hub, "hf_hub_download", absent)
    with pytest.raises(MissingDependency) as caught:
        backbone("timm:resnet18", weights="pretrained")
    for part in ("model.safetensors", "timm/resnet18.a1_in1k", "network.weights=", "models--timm--resnet18"):
        assert part in str(caught.value)


def test_random_weights_ask_nothing_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

    def refuse(*_: object, **__: object) -> str:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    backbone()


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    fired = tmp_path / "fired"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (fired,))  # type: ignore[return-value]

    path = tmp_path / "weights.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BadInput, match="not a whole safetensors file"):
        backbone(weights=str(path))
    assert not fired.exists()


def test_a_windowed_transformer_gives_a_map_with_its_channels_first() -> None:
    network = backbone("timm:swin_tiny_patch4_window7_224").eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        feature_map = network.features(x)
        assert feature_map.shape == (1, 768, 1, 1)
        torch.testing.assert_close(network(x), network.model(x))


def test_a_plain_transformer_scores_but_gradcam_refuses_it() -> None:
    network = backbone("timm:test_vit").eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(x), network.model(x))
    with pytest.raises(BadInput, match='use the explainer "occlusion"'):
        EXPLAINERS["gradcam"](network, x, output=0)


def test_the_vgg16_of_article_c_is_timms() -> None:
    assert timm.get_pretrained_cfg("vgg16").hf_hub_id == VGG16_HUB_ID
    with torch.device("meta"):
        theirs = timm.create_model("vgg16").features.state_dict()
        ours = build(Network(name="article-c"), channels=3, outputs=1, size=(1, 150, 150))
    assert isinstance(ours, ArticleNet)
    assert {k: v.shape for k, v in ours.backbone.state_dict().items()} == {
        k: v.shape for k, v in theirs.items()
    }
