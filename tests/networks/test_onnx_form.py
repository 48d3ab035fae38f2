"""A network as ONNX: torch's logits for any number of images, quietly, without traces of whoever wrote it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from hounsfield.core import plan
from hounsfield.core.errors import HounsfieldError
from hounsfield.networks import build
from hounsfield.networks.onnx_form import to_onnx

NETWORKS = [
    ("plain", (1, 24, 20), 1),
    ("plain", (8, 12, 12), 1),
    ("compact", (1, 24, 24), 3),
    ("compact", (8, 12, 12), 2),
    ("article-a", (1, 20, 20), 1),
    ("article-b", (1, 20, 20), 3),
    ("resnet18", (1, 32, 32), 1),
    ("densenet121", (1, 32, 32), 1),
]


def scores(content: bytes, images: Tensor) -> np.ndarray[Any, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"images": images.numpy()})[0])


@pytest.mark.parametrize("name, size, channels", NETWORKS)
def test_it_gives_the_logits_of_torch_for_any_number_of_images(
    name: str, size: tuple[int, int, int], channels: int
) -> None:
    net = build(plan.Network(name=name, width=8), channels=channels, outputs=3, size=size, seed=0)
    shape = (channels, *(size[1:] if size[0] == 1 else size))
    content = to_onnx(net, shape, facts={})
    net.eval()
    for n in (1, 3):
        images = torch.randn(n, *shape, generator=torch.Generator().manual_seed(n))
        with torch.inference_mode():
            wanted = net(images).numpy()
        found = scores(content, images)
        assert found.shape == (n, 3) and np.abs(found - wanted).max() <= 1e-5 * max(1, np.abs(wanted).max())
    onnx.checker.check_model(onnx.load_from_string(content))


@pytest.mark.parametrize("side, cells", [(4, 7), (5, 3), (6, 3), (7, 7)])
def test_pooling_to_cells_of_different_sizes_is_written(side: int, cells: int) -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(cells), nn.Flatten(), nn.Linear(cells * cells, 2))
    images = torch.randn(3, 1, side, side + 1)
    with torch.no_grad():
        wanted = net(images).numpy()
    assert np.abs(scores(to_onnx(net, (1, side, side + 1), facts={}), images) - wanted).max() < 1e-5


def test_pooling_of_volumes_too() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool3d((2, 3, 1)), nn.Flatten(), nn.Linear(6, 2))
    images = torch.randn(2, 1, 5, 4, 6)
    with torch.no_grad():
        wanted = net(images).numpy()
    assert np.abs(scores(to_onnx(net, (1, 5, 4, 6), facts={}), images) - wanted).max() < 1e-5


def test_batch_normalisation_is_folded_away() -> None:
    net = build(plan.Network(width=4, depth=2), channels=1, outputs=1, size=(1, 16, 16), seed=0)
    kinds = {n.op_type for n in onnx.load_from_string(to_onnx(net, (1, 16, 16), facts={})).graph.node}
    assert "Conv" in kinds and "BatchNormalization" not in kinds


def test_the_network_is_left_as_it_was() -> None:
    net = build(plan.Network(width=4, depth=2), channels=1, outputs=1, size=(1, 16, 16), seed=0)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    to_onnx(net.train(), (1, 16, 16), facts={})
    assert net.training and all(bool((v == before[k]).all()) for k, v in net.state_dict().items())


def test_the_file_says_what_it_is_and_not_who_wrote_it() -> None:
    net = build(plan.Network(width=4, depth=2), channels=1, outputs=1, size=(1, 16, 16), seed=0)
    content = to_onnx(net, (1, 16, 16), facts={"classes": '["a", "b"]', "precision": "float"})
    model = onnx.load_from_string(content)
    assert {p.key: p.value for p in model.metadata_props} == {"classes": '["a", "b"]', "precision": "float"}
    assert bytes(Path(__file__).parent) not in content and b"site-packages" not in content
    (given,) = model.graph.input
    sides = [d.dim_value or d.dim_param for d in given.type.tensor_type.shape.dim]
    assert (given.name, sides) == ("images", ["n", 1, 16, 16])
    assert model.opset_import[0].version == 17


def test_it_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    net = build(plan.Network(width=4, depth=2), channels=1, outputs=1, size=(1, 16, 16), seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_onnx(net, (1, 16, 16), facts={})
    said = capfd.readouterr()
    assert said.out == "" and said.err == ""


class _Unwritable(nn.Module):
    """Asks for the values of its images, which no exporter can write."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x[:, 0]).real.sum(1, keepdim=True) * self.weight


def test_what_no_exporter_can_write_is_said_in_a_sentence_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hounsfield.networks import onnx_form

    def fail(*_: Any) -> Any:
        raise RuntimeError("step 3 of 3\nfailed")

    monkeypatch.setattr(onnx_form, "_newly_exported", fail)  # it takes seconds to say no
    with pytest.raises(
        HounsfieldError, match=r"cannot be written as ONNX \(.*; step 3 of 3 failed\); it stays"
    ):
        to_onnx(_Unwritable(), (1, 4, 4), facts={})
    assert capfd.readouterr().out == ""


def test_the_newer_exporter_steps_in(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    from hounsfield.networks import onnx_form

    def fail(*_: Any) -> Any:
        raise RuntimeError("an operator that tracing does not know")

    monkeypatch.setattr(onnx_form, "_traced", fail)
    net = build(plan.Network(name="article-b"), channels=1, outputs=2, size=(1, 16, 16), seed=0)
    images = torch.randn(3, 1, 16, 16)
    with torch.inference_mode():
        wanted = net.eval()(images).numpy()
    content = to_onnx(net, (1, 16, 16), facts={})
    assert np.abs(scores(content, images) - wanted).max() < 1e-5
    assert bytes(Path(onnx_form.__file__).parent) not in content


def test_a_network_beyond_the_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from hounsfield.networks import onnx_form

    monkeypatch.setattr(onnx_form, "_MOST_BYTES", 100)
    with pytest.raises(HounsfieldError, match=r"2 GB that an ONNX file holds"):
        to_onnx(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), (1, 8, 8), facts={})
