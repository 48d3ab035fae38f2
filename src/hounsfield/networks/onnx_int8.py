"""An ONNX network in 8-bit integers: what of it is quantised, and how; the ranges are measured elsewhere.

Weights are signed, a scale a channel, in 7 of 8 bits; activations unsigned, a scale a tensor (Jacob 2018).
A processor with AVX2 but no VNNI adds two products of 8 bits in 16 and cuts off what overflows: with the
eighth bit a ResNet-18 fell from an accuracy of 0.96 to 0.80 and was no faster; signed activations take twice
as long there (measured). The form is ONNX's own, a pair QuantizeLinear and DequantizeLinear wherever numbers
are integers, which a runtime merges with the operators between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.networks.onnx_form import OUTPUT

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["quantised", "quantised_tensors", "simplified", "with_outputs"]

_WEIGHTED = ("Conv", "Gemm", "MatMul")
_CARRIED = ("Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool")
"""What stays in integers between products, where no layer normalisation asks for the exact sum."""

_CUTS = ("Relu", "Clip")
"""What the range of an unsigned integer does by itself."""

_WEIGHT_STEPS = 64
_MOST_BIAS = 2**30


def simplified(model: ModelProto) -> ModelProto:
    """The network with each batch normalisation that stands alone written as a convolution of single voxels.

    DenseNet normalises before it convolves, where nothing folds it away, and in integers only a convolution
    has a form: so written it takes 62 ms instead of 77. The shapes of all tensors are added.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(onnx.shape_inference.infer_shapes(model))
    axes = {v.name: len(v.type.tensor_type.shape.dim) for v in (*made.graph.value_info, *made.graph.input)}
    held = {t.name: t for t in made.graph.initializer}
    for number, node in enumerate(made.graph.node):
        alone = node.op_type == "BatchNormalization" and set(node.input[1:]) <= held.keys()
        if alone and axes.get(node.input[0]) in (4, 5):
            _as_convolution(made, number, held, axes[node.input[0]] - 2)
        node.name = f"{node.op_type}{number}"
    _drop_unused(made)
    return onnx.shape_inference.infer_shapes(made)


def quantised_tensors(model: ModelProto) -> tuple[str, ...]:
    """The tensors that become integers, in the order of the network: their ranges must be known."""
    import onnx

    constant = {t.name for t in model.graph.initializer}
    known = (*model.graph.value_info, *model.graph.input)
    real = {v.name for v in known if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    readers = _readers(model)
    inside = {n.name for n in _quantised_nodes(model)}
    names: list[str] = []
    for node in _quantised_nodes(model):
        names += [node.input[0]] if node.op_type in _WEIGHTED else node.input
        ahead = readers.get(node.output[0], [])
        if len(ahead) == 1 and ahead[0].op_type in _CUTS:
            node, ahead = ahead[0], readers.get(ahead[0].output[0], [])
        if node.op_type not in ("Gemm", "MatMul") or any(n.name in inside for n in ahead):
            names.append(node.output[0])
    return tuple(n for n in dict.fromkeys(names) if n in real and n not in constant and n != OUTPUT)


def with_outputs(model: ModelProto, names: tuple[str, ...]) -> bytes:
    """The file of a network that also gives these tensors."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.output.extend(
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names
    )
    return bytes(made.SerializeToString())


def quantised(
    model: ModelProto, ranges: Mapping[str, tuple[float, float]], *, facts: Mapping[str, str]
) -> bytes:
    """The file of a simplified network in 8-bit integers, by the range of each of `quantised_tensors`.

    The operator that gives the logits stays in single precision. `facts` become the file's metadata.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    steps = _steps(made, ranges)
    chosen = {n.name for n in _quantised_nodes(made)}
    nodes: list[NodeProto] = []
    for name in steps:
        if any(name == given.name for given in made.graph.input):
            nodes += _pair(made, name, *steps[name])
    for node in list(made.graph.node):
        if node.name in chosen and node.op_type in _WEIGHTED and node.input[0] in steps:
            nodes += _integer_weights(made, node, steps[node.input[0]][0])
        nodes.append(node)
        for name in node.output:
            if name in steps:
                nodes += _pair(made, name, *steps[name])
    for node in nodes:
        if node.op_type != "QuantizeLinear":
            node.input[:] = [_back(n) if n in steps else n for n in node.input]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    del made.graph.value_info[:], made.metadata_props[:]
    _drop_unused(made)
    onnx.helper.set_model_props(made, dict(facts))
    made.producer_name, made.producer_version = "hounsfield", ""
    return bytes(made.SerializeToString())


def _quantised_nodes(model: ModelProto) -> list[NodeProto]:
    """What is quantised: not what gives the logits, nor products of two activations (attention)."""
    sums = any(n.op_type in ("LayerNormalization", "Softmax") for n in model.graph.node)
    operators = _WEIGHTED if sums else (*_WEIGHTED, *_CARRIED)
    constant = {t.name for t in model.graph.initializer}
    return [
        n
        for n in model.graph.node
        if n.op_type in operators
        and OUTPUT not in n.output
        and (n.op_type not in _WEIGHTED or n.input[1] in constant)
        and (n.op_type != "Add" or not constant & set(n.input))
    ]


def _readers(model: ModelProto) -> dict[str, list[NodeProto]]:
    found: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def _steps(model: ModelProto, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, int]]:
    """Scale and zero point of each tensor; what a maximum is taken from keeps its own behind it."""
    same = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "MaxPool"}
    found: dict[str, tuple[float, int]] = {}
    for name in ranges:
        origin = name
        while origin in same and same[origin] in ranges:
            origin = same[origin]
        low, high = min(0.0, ranges[origin][0]), max(0.0, ranges[origin][1])
        scale = max((high - low) / 255, 1e-12)
        found[name] = (scale, int(np.clip(round(-low / scale), 0, 255)))
    return found


def _back(name: str) -> str:
    return f"{name}/real"


def _pair(model: ModelProto, name: str, scale: float, zero: int) -> list[NodeProto]:
    """The two operators that bring a tensor to integers and back."""
    import onnx

    numbers = (f"{name}/scale", f"{name}/zero")
    _hold(model, numbers[0], np.array(scale, np.float32))
    _hold(model, numbers[1], np.array(zero, np.uint8))
    make = onnx.helper.make_node
    return [
        make("QuantizeLinear", [name, *numbers], [f"{name}/whole"], name=f"{name}/quantise"),
        make("DequantizeLinear", [f"{name}/whole", *numbers], [_back(name)], name=f"{name}/dequantise"),
    ]


def _integer_weights(model: ModelProto, node: NodeProto, scale: float) -> list[NodeProto]:
    """Weights in 7 bits and the bias in 32, each with its way back.

    A bias has the scale of the input times that of the weights; where it is too large for that, the channel
    takes coarser weights.
    """
    import onnx

    held = {t.name: t for t in model.graph.initializer}
    weight = onnx.numpy_helper.to_array(held[node.input[1]]).astype(np.float64)
    turned = next((a.i for a in node.attribute if a.name == "transB"), 0)
    axis = 0 if node.op_type == "Conv" or turned else weight.ndim - 1
    around = tuple(a for a in range(weight.ndim) if a != axis)
    bias = None
    if len(node.input) > 2 and node.input[2] in held:
        bias = onnx.numpy_helper.to_array(held[node.input[2]]).astype(np.float64)
    scales = np.maximum(np.abs(weight).max(around) / _WEIGHT_STEPS, 1e-12)
    if bias is not None and bias.shape == scales.shape:
        scales = np.maximum(scales, np.abs(bias) / (scale * _MOST_BIAS))
    scales = scales.astype(np.float32).astype(np.float64)
    shape = [-1 if a == axis else 1 for a in range(weight.ndim)]
    whole = np.clip(np.rint(weight / scales.reshape(shape)), -_WEIGHT_STEPS, _WEIGHT_STEPS)
    made = [_constant(model, node, 1, whole.astype(np.int8), scales, axis)]
    if bias is not None and bias.shape == scales.shape:
        steps = np.rint(bias / (scale * scales)).astype(np.int32)
        made.append(_constant(model, node, 2, steps, np.float64(np.float32(scale)) * scales, 0))
    return made


def _constant(
    model: ModelProto, node: NodeProto, place: int, whole: NDArray[Any], scales: NDArray[Any], axis: int
) -> NodeProto:
    """Integers in the place of a constant input, and the operator that brings them back."""
    import onnx

    name = f"{node.name}/{'weight' if place == 1 else 'bias'}"
    _hold(model, f"{name}/whole", whole)
    _hold(model, f"{name}/scale", scales.astype(np.float32))
    _hold(model, f"{name}/zero", np.zeros(len(scales), whole.dtype))
    node.input[place] = _back(name)
    inputs = [f"{name}/whole", f"{name}/scale", f"{name}/zero"]
    return onnx.helper.make_node(
        "DequantizeLinear", inputs, [_back(name)], name=f"{name}/dequantise", axis=axis
    )


def _hold(model: ModelProto, name: str, values: NDArray[Any]) -> None:
    import onnx

    model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [t for t in model.graph.initializer if t.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _as_convolution(model: ModelProto, number: int, held: Mapping[str, Any], axes: int) -> None:
    import onnx

    node = model.graph.node[number]
    scale, shift, mean, variance = (onnx.numpy_helper.to_array(held[name]) for name in node.input[1:5])
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    weight = (scale / np.sqrt(variance + epsilon)).astype(np.float32)
    names = (f"norm{number}.weight", f"norm{number}.bias")
    _hold(model, names[0], weight.reshape(-1, *[1] * (axes + 1)))
    _hold(model, names[1], (shift - mean * weight).astype(np.float32))
    made = onnx.helper.make_node(
        "Conv", [node.input[0], *names], [node.output[0]], kernel_shape=[1] * axes, group=len(weight)
    )
    node.CopyFrom(made)
