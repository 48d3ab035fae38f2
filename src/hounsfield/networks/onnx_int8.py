"""An ONNX network in 8-bit integers: what of it is quantised, and how; the ranges are measured elsewhere.

Weights are signed, one scale a channel, in 7 of 8 bits; activations unsigned, one scale a tensor. A
processor with AVX2 but no VNNI adds two products of 8 bits in 16 and cuts off what overflows: with the
eighth bit a ResNet-18 fell from an accuracy of 0.96 to 0.80 and was no faster; signed activations take
twice as long there (measured).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from hounsfield.networks.onnx_form import OUTPUT

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["quantised", "quantised_tensors", "simplified", "with_outputs"]

_PRODUCTS = ("Conv", "Gemm", "MatMul", "Relu", "Clip")
_CARRIED = ("Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Flatten", "Reshape", "Transpose")
"""What stays in integers between products, where no layer normalisation asks for the exact sum."""

_UNFOLDED = "BatchNormalization"


def simplified(model: ModelProto) -> ModelProto:
    """The network with each batch normalisation that stands alone written as a convolution of single
    voxels.

    DenseNet normalises before it convolves, where nothing folds it away, and in integers only a convolution
    has a form: so written it takes 62 ms instead of 77. The shapes of all tensors are added.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(onnx.shape_inference.infer_shapes(model))
    axes = {v.name: len(v.type.tensor_type.shape.dim) for v in (*made.graph.value_info, *made.graph.input)}
    held = {t.name: t for t in made.graph.initializer}
    for number, node in enumerate(made.graph.node):
        wanted = node.op_type == _UNFOLDED and set(node.input[1:]) <= held.keys()
        if wanted and axes.get(node.input[0]) in (4, 5):
            _as_convolution(made, number, held, axes[node.input[0]] - 2)
    for number, node in enumerate(made.graph.node):
        node.name = node.name or f"{node.op_type}{number}"
    used = {name for node in made.graph.node for name in node.input}
    kept = [t for t in made.graph.initializer if t.name in used]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    return onnx.shape_inference.infer_shapes(made)


def quantised_tensors(model: ModelProto) -> tuple[str, ...]:
    """The float tensors whose ranges must be known: what goes into and comes out of the quantised
    operators.
    """
    import onnx

    constant = {t.name for t in model.graph.initializer}
    known = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    real = {v.name for v in known if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    names = [n for node in _quantised_nodes(model) for n in (*node.input, *node.output)]
    return tuple(n for n in dict.fromkeys(names) if n in real and n not in constant)


def with_outputs(model: ModelProto, names: tuple[str, ...]) -> bytes:
    """The file of a network that also gives these tensors."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    given = {o.name for o in made.graph.output}
    made.graph.output.extend(
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names if n not in given
    )
    return bytes(made.SerializeToString())


def quantised(
    model: ModelProto, ranges: Mapping[str, tuple[float, float]], *, facts: Mapping[str, str]
) -> bytes:
    """The file of a simplified network in 8-bit integers, by the range of each of `quantised_tensors`.

    The operator that gives the logits stays in single precision. `facts` become the file's metadata.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    bounds = {
        n: (np.asarray(low, np.float32), np.asarray(high, np.float32)) for n, (low, high) in ranges.items()
    }
    with _silent():
        quantiser: Any = QDQQuantizer(
            copy,
            True,  # a scale for each channel of a weight
            True,  # weights in 7 of the 8 bits
            QuantType.QInt8,
            QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, bounds),
            [node.name for node in _quantised_nodes(model)],
            [],
            list(_operators(model)),
            {"MatMulConstBOnly": True},
        )
        quantiser.quantize_model()
    made: ModelProto = quantiser.model.model
    del made.metadata_props[:]
    onnx.helper.set_model_props(made, dict(facts))
    made.producer_name = "hounsfield"
    return bytes(made.SerializeToString())


def _operators(model: ModelProto) -> tuple[str, ...]:
    sums = any(node.op_type in ("LayerNormalization", "Softmax") for node in model.graph.node)
    return _PRODUCTS if sums else (*_PRODUCTS, *_CARRIED)


def _quantised_nodes(model: ModelProto) -> list[NodeProto]:
    operators = _operators(model)
    return [n for n in model.graph.node if n.op_type in operators and OUTPUT not in n.output]


def _as_convolution(model: ModelProto, number: int, held: Mapping[str, Any], axes: int) -> None:
    import onnx

    node = model.graph.node[number]
    scale, shift, mean, variance = (onnx.numpy_helper.to_array(held[name]) for name in node.input[1:5])
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    weight = (scale / np.sqrt(variance + epsilon)).astype(np.float32)
    bias = (shift - mean * weight).astype(np.float32)
    names = (f"norm{number}.weight", f"norm{number}.bias")
    model.graph.initializer.extend(
        (
            onnx.numpy_helper.from_array(weight.reshape(-1, *[1] * (axes + 1)), names[0]),
            onnx.numpy_helper.from_array(bias, names[1]),
        )
    )
    made = onnx.helper.make_node(
        "Conv", [node.input[0], *names], [node.output[0]], name=f"norm{number}",
        kernel_shape=[1] * axes, group=len(weight),
    )  # fmt: skip
    node.CopyFrom(made)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the quantiser's advice to programmers off the terminal; it goes to the root of all loggers."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers  # the first warning adds one
