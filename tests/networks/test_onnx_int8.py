"""A network in 8-bit integers: what is quantised and what is not, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from hounsfield.core import plan
from hounsfield.networks import build
from hounsfield.networks.onnx_form import to_onnx
from hounsfield.networks.onnx_int8 import quantised, quantised_tensors, simplified, with_outputs


class _Dense(nn.Module):
    """Normalises before it convolves, as DenseNet does: nothing folds that away."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if flat else (nn.Conv3d, nn.BatchNorm3d)
        self.first, self.norm, self.second = conv(1, 4, 3, padding=1), norm(4), conv(4, 8, 3, padding=1)
        self.head = nn.Linear(8, 2)
        self.axes = (2, 3) if flat else (2, 3, 4)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr, operator]
            self.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.head((self.second(torch.relu(self.norm(torch.relu(y)))) + 0).mean(self.axes))


def run(
    content: bytes, images: NDArray[np.float32], names: list[str] | None = None, *, merged: bool = True
) -> list[NDArray[np.float32]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if not merged:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return list(session.run(names, {"images": images}))


def ranges(graph: onnx.ModelProto, images: NDArray[np.float32]) -> dict[str, tuple[float, float]]:
    names = quantised_tensors(graph)
    found = run(with_outputs(graph, names), images, list(names))
    return {n: (float(t.min()), float(t.max())) for n, t in zip(names, found, strict=True)}


@pytest.mark.parametrize("flat", [True, False])
def test_a_normalisation_that_stands_alone_becomes_a_convolution(flat: bool) -> None:
    shape = (1, 8, 8) if flat else (1, 4, 8, 8)
    torch.manual_seed(0)
    content = to_onnx(_Dense(flat), shape, facts={})
    images = np.random.default_rng(0).standard_normal((3, *shape), np.float32)
    graph = simplified(onnx.load_from_string(content))
    kinds = [n.op_type for n in graph.graph.node]
    assert "BatchNormalization" not in kinds and kinds.count("Conv") == 3
    onnx.checker.check_model(graph)
    assert np.abs(run(graph.SerializeToString(), images)[0] - run(content, images)[0]).max() < 1e-5


def test_weights_take_seven_bits_and_the_logits_none() -> None:
    net = build(plan.Network(width=32, depth=2), channels=1, outputs=3, size=(1, 16, 16), seed=0)
    images = np.random.default_rng(0).standard_normal((16, 1, 16, 16), np.float32)
    content = to_onnx(net, (1, 16, 16), facts={})
    graph = simplified(onnx.load_from_string(content))
    made = quantised(graph, ranges(graph, images), facts={"precision": "int8"})
    model = onnx.load_from_string(made)
    whole = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = [w for name, w in whole.items() if w.dtype == np.int8 and w.ndim == 4]
    assert len(weights) == sum(n.op_type == "Conv" for n in graph.graph.node)
    assert max(int(np.abs(w.astype(int)).max()) for w in weights) == 64
    last = next(n for n in model.graph.node if "logits" in n.output)
    assert last.op_type == "Gemm" and whole[last.input[1]].dtype == np.float32
    assert {p.key: p.value for p in model.metadata_props} == {"precision": "int8"}
    assert len(made) < len(content) / 3
    wanted, found = run(content, images)[0], run(made, images)[0]
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max() and (found != wanted).any()


def test_a_transformer_keeps_its_sums_and_attention_in_floats() -> None:
    net = build(plan.Network(name="vit_tiny"), channels=1, outputs=1, size=(1, 32, 32), seed=0)
    graph = simplified(onnx.load_from_string(to_onnx(net, (1, 32, 32), facts={})))
    images = np.random.default_rng(0).standard_normal((1, 1, 32, 32), np.float32)
    model = onnx.load_from_string(quantised(graph, ranges(graph, images), facts={}))
    makers = {o: n.op_type for n in model.graph.node for o in n.output}
    sums = [n for n in model.graph.node if n.op_type == "Add" and len(n.input) == 2]
    assert sums and "LayerNormalization" in makers.values() and "DequantizeLinear" in makers.values()
    softmax = [n for n in model.graph.node if n.op_type == "Softmax"]
    assert softmax and all(makers.get(n.input[0]) != "DequantizeLinear" for n in softmax)


def test_a_large_bias_still_fits_and_a_dead_channel_does_no_harm() -> None:
    """Weights of nothing, or a bias of a million weights: the sum of the channel stays what it was."""
    net = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    with torch.no_grad():
        net[0].weight[0], net[0].bias[0] = 0.0, 0.5
        net[0].weight[1], net[0].bias[1] = 1e-9, 0.7
        net[0].weight[2], net[0].bias[2] = 1.0, 0.1
    images = np.random.default_rng(0).standard_normal((8, 1, 2, 2), np.float32)
    content = to_onnx(net, (1, 2, 2), facts={})
    graph = simplified(onnx.load_from_string(content))
    found = run(quantised(graph, ranges(graph, images), facts={}), images)[0]
    assert np.abs(found - run(content, images)[0]).max() < 0.02


def test_merged_integers_give_what_each_operator_alone_gives() -> None:
    """The kernels of the runtime, which may cut off sums, beside the same graph computed literally."""
    net = build(plan.Network(width=16, depth=3), channels=1, outputs=3, size=(1, 24, 24), seed=0)
    images = np.random.default_rng(0).standard_normal((4, 1, 24, 24), np.float32)
    graph = simplified(onnx.load_from_string(to_onnx(net, (1, 24, 24), facts={})))
    made = quantised(graph, ranges(graph, images), facts={})
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
    literal = run(made, images, merged=False)[0]
    assert np.abs(run(made, images)[0] - literal).max() < 0.02 * literal.std()


def test_the_range_behind_a_maximum_is_that_before_it() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 1)
    )
    graph = simplified(onnx.load_from_string(to_onnx(net, (1, 10, 10), facts={})))
    images = np.random.default_rng(0).standard_normal((4, 1, 10, 10), np.float32)
    model = onnx.load_from_string(quantised(graph, ranges(graph, images), facts={}))
    whole = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    pool = next(n for n in model.graph.node if n.op_type == "MaxPool")
    before, after = pool.input[0].removesuffix("/real"), pool.output[0]
    assert whole[f"{before}/scale"] == whole[f"{after}/scale"]
    relu = next(n for n in model.graph.node if n.op_type == "Relu")
    assert f"{relu.input[0]}/scale" not in whole and whole[f"{relu.output[0]}/zero"] == 0
