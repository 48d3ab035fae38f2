"""A network as ONNX: the same computation in a file that other programs read, with what its user must know.

torch has two exporters. The older traces: 0.1 to 3 s a network, needs no other package, and folds batch
normalisation; it goes first. The newer (`dynamo=True`) takes 2 to 35 s and the package onnxscript, and is
asked where the older fails (torch 2.13; measured on every network here).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hounsfield.core.errors import HounsfieldError, MissingDependency

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["INPUT", "OUTPUT", "to_onnx"]

INPUT, OUTPUT = "images", "logits"
_TRACED_OPSET, _EXPORTED_OPSET = 17, 18
_MOST_BYTES = 2_000_000_000
"""A protobuf message ends at 2 GiB."""


def to_onnx(network: nn.Module, shape: Sequence[int], *, facts: Mapping[str, str]) -> bytes:
    """The ONNX file of a network in evaluation mode, for any number of images of `shape` (C, [K,] J, I).

    Input "images" (n, C, [K,] J, I), output "logits" (n, outputs), both float32; `facts` become the file's
    metadata. The network is left as it was. Raises HounsfieldError where neither exporter can write it, and
    MissingDependency without the package onnx.

    >>> content = to_onnx(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2), facts={"classes": "a, b"})
    >>> b"images" in content and b"logits" in content
    True
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingDependency("writing ONNX needs the package onnx; pip install onnx") from error
    _refuse_large(network)
    training = network.training
    images = torch.zeros(2, *shape, device=next(network.parameters()).device)
    images[1] = 1.0
    try:
        model = _exported(network.eval(), images)
    finally:
        network.train(training)
    _plain(model)
    onnx.helper.set_model_props(model, dict(facts))
    model.producer_name, model.producer_version = "hounsfield", ""
    return bytes(model.SerializeToString())


def _refuse_large(network: nn.Module) -> None:
    size = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    if size > _MOST_BYTES:
        raise HounsfieldError(
            f"the network has {size / 1e9:.1f} GB of weights, more than the 2 GB that an ONNX file holds; it "
            "stays with torch"
        )


def _exported(network: nn.Module, images: Tensor) -> ModelProto:
    faults = []
    with warnings.catch_warnings(), _silent_log(), torch.no_grad(), _PoolingAsProducts():
        warnings.simplefilter("ignore")  # of torch about torch
        for exporter in (_traced, _newly_exported):
            try:
                return exporter(network, images)
            except Exception as error:  # noqa: BLE001 - exporters fail in many ways, and torch still predicts
                faults.append(" ".join(str(error).split())[:120] or type(error).__name__)
    raise HounsfieldError(f"the network cannot be written as ONNX ({'; '.join(faults)}); it stays with torch")


def _traced(network: nn.Module, images: Tensor) -> ModelProto:
    import onnx

    written = io.BytesIO()
    torch.onnx.export(
        network,
        (images,),
        written,  # type: ignore[arg-type]
        dynamo=False,
        opset_version=_TRACED_OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
    )
    return onnx.load_from_string(written.getvalue())


def _newly_exported(network: nn.Module, images: Tensor) -> ModelProto:
    made = torch.onnx.export(
        network,
        (images,),
        dynamo=True,
        opset_version=_EXPORTED_OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        external_data=False,
        verbose=False,
    )
    if made is None:
        raise HounsfieldError("torch returned no ONNX program")
    model: ModelProto = made.model_proto
    return model


class _PoolingAsProducts(TorchFunctionMode):
    """Writes adaptive average pooling as products with constant matrices where its cells differ in size.

    ONNX has no such pooling: a map of 4 x 4 goes to the 7 x 7 of VGG's head in no other way.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        axes = {functional.adaptive_avg_pool2d: 2, functional.adaptive_avg_pool3d: 3}.get(func)
        if axes is None:
            return func(*args, **(kwargs or {}))
        images, wanted = [*args, *(kwargs or {}).values()][:2]
        sizes = [int(n) for n in images.shape[-axes:]]
        given = [wanted] * axes if isinstance(wanted, int) else wanted
        cells = [size if cell is None else int(cell) for size, cell in zip(sizes, given, strict=True)]
        if all(size % cell == 0 for size, cell in zip(sizes, cells, strict=True)):
            return func(images, cells)
        for axis, size, cell in zip(range(-axes, 0), sizes, cells, strict=True):
            if size != cell:
                shares = _shares(size, cell).to(images.device)
                images = torch.matmul(images.transpose(axis, -1), shares).transpose(axis, -1)
        return images


def _shares(size: int, cells: int) -> Tensor:
    """The share (size, cells) that a voxel has in each cell, floor(c size / cells) to ceil((c + 1) size /
    cells).

    Made by numpy, so that the trace holds it as a constant.
    """
    made = np.zeros((size, cells), np.float32)
    for cell in range(cells):
        low, high = cell * size // cells, -(-(cell + 1) * size // cells)
        made[low:high, cell] = 1 / (high - low)
    return torch.from_numpy(made)


@contextmanager
def _silent_log() -> Iterator[None]:
    """Keep the tracing exporter from printing its graph to the standard output where it fails."""
    native: Any = torch._C
    name = "_jit_onnx_log"
    written = getattr(native, name, None)
    if written is None:
        yield
        return
    setattr(native, name, lambda *_: None)
    try:
        yield
    finally:
        setattr(native, name, written)


def _plain(model: ModelProto) -> None:
    """Remove the traces of whoever wrote it: file names and lines of code."""
    model.doc_string = ""
    del model.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
    model.graph.doc_string = ""
    if hasattr(model.graph, "metadata_props"):
        del model.graph.metadata_props[:]
