"""Score images with a member, by ONNX Runtime or by torch, in every view that the plan asks for.

Views and batches are the same for both engines, and a case's views follow from its id, so that a case
scores the same whatever else is scored. torch is imported only where an engine needs it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import MissingDependency
from hounsfield.core.plan import Plan
from hounsfield.steps.compute import available_cores
from hounsfield.steps.prepare import Prepared

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Engine",
    "OnnxEngine",
    "TorchEngine",
    "images_at_once",
    "logits_of",
    "onnx_session",
    "views_of",
]

_CACHED_BYTES = 2**21
_MOST_ON_CPU, _MOST_ON_GPU = 32, 64


class Engine(Protocol):
    """Normalised images (n, C, J, I) or (n, C, K, J, I) to logits (n, outputs); `on_cpu` says where."""

    on_cpu: bool

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]: ...


class TorchEngine:
    """A network of torch, in evaluation mode, on the device where its weights lie."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval()
        self.device = next(network.parameters()).device
        self.on_cpu = self.device.type == "cpu"

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits in single precision."""
        import torch

        with torch.inference_mode():
            found = self.network(torch.from_numpy(np.ascontiguousarray(images)).to(self.device))
            return np.asarray(found.float().cpu().numpy(), np.float32)


class OnnxEngine:
    """A network as ONNX, given by the bytes of its file, in ONNX Runtime on `threads` cores.

    Raises MissingDependency where ONNX Runtime is not installed.
    """

    on_cpu = True

    def __init__(self, content: bytes, *, threads: int = 1) -> None:
        self._session = onnx_session(content, threads=threads)
        self._input = self._session.get_inputs()[0].name

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits in single precision."""
        return self.tensors(images, None)[0]

    def tensors(
        self, images: NDArray[np.float32], names: Sequence[str] | None
    ) -> tuple[NDArray[np.float32], ...]:
        """The named outputs of the file, or all of them."""
        given = {self._input: np.ascontiguousarray(images, np.float32)}
        wanted = None if names is None else list(names)
        return tuple(_thread().submit(self._session.run, wanted, given).result())


def logits_of(
    engine: Engine | nn.Module,
    prepared: Prepared,
    rows: NDArray[np.int64],
    plan: Plan,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Logits (n, outputs) of prepared images, the mean over their views (`plan.validation.test_time`).

    `engine` may be a network of torch itself. `progress` hears how many of the rows are done.
    """
    scorer: Any = engine if hasattr(engine, "logits") else TorchEngine(engine)  # type: ignore[arg-type]
    size = images_at_once(prepared, on_cpu=scorer.on_cpu)
    found = []
    for low in range(0, len(rows), size):
        some = rows[low : low + size]
        total, count = np.float32(0), 0
        for images in views_of(prepared, some, plan):
            total, count = total + scorer.logits(images), count + 1
        found.append(total / np.float32(count))
        if progress:
            progress(low + len(some), len(rows))
    return np.concatenate(found) if found else np.zeros((0, 1), np.float32)


def views_of(prepared: Prepared, rows: NDArray[np.int64], plan: Plan) -> Iterator[NDArray[np.float32]]:
    """The images (n, C, [K,] J, I) in each form in which they are scored: as they are, then the others.

    "flip" adds the mirror image, "augment" `test_time_views` draws of the plan's augmentation. A case's draws
    follow from the plan's seed and the case's id alone.
    """
    images = prepared.batch(rows)
    yield images
    if plan.validation.test_time == "flip":
        yield images[..., ::-1]
    elif plan.validation.test_time == "augment":
        drawn = [_drawn_views(prepared, int(row), plan) for row in rows]
        for view in range(plan.validation.test_time_views):
            yield np.stack([views[view] for views in drawn])


def images_at_once(prepared: Prepared, *, on_cpu: bool) -> int:
    """How many images pass together: on a CPU as many as its cache holds beside the first feature maps."""
    if not on_cpu:
        return _MOST_ON_GPU
    each = 4 * int(np.prod(prepared.images.shape[1:]))
    return int(np.clip(_CACHED_BYTES // max(1, each), 1, _MOST_ON_CPU))


def _drawn_views(prepared: Prepared, row: int, plan: Plan) -> NDArray[np.float32]:
    """The views (V, C, [K,] J, I) that augmentation draws for one case."""
    from hounsfield.transforms.augment import augmented
    from hounsfield.transforms.draw import draw

    count = plan.validation.test_time_views
    name = hashlib.sha256(prepared.ids[row].encode()).digest()
    rng = np.random.default_rng([plan.seed, int.from_bytes(name[:8], "little")])
    flat = prepared.images.shape[2] == 1
    shape = prepared.images.shape[3:] if flat else prepared.images.shape[2:]
    same = np.full(count, row)
    return augmented(
        prepared.images[same],
        prepared.levels[same],
        draw(plan.augment, count, shape, rng),
        standardise=plan.input.normalise == "zscore",
        threads=min(count, plan.threads or available_cores()),
    )


def onnx_session(content: bytes, *, threads: int = 1, optimised: Path | None = None) -> Any:
    """A session of ONNX Runtime on the CPU, to be called in this module's thread only.

    With `optimised` the network as the runtime simplifies it is written there, still fit for any processor.
    Raises MissingDependency where ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependency(
            "scoring an ONNX file needs onnxruntime, which is not installed; pip install onnxruntime"
        ) from error
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, threads)
    options.inter_op_num_threads = 1
    options.graph_optimization_level = levels.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors only: a warning is about the file, not for whoever scores
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if optimised is not None:
        options.graph_optimization_level = levels.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(optimised)
    make = onnxruntime.InferenceSession
    return _thread().submit(make, content, options, providers=["CPUExecutionProvider"]).result()


@lru_cache(maxsize=1)
def _thread() -> ThreadPoolExecutor:
    """The one thread in which ONNX Runtime is called.

    It switches denormal numbers off, once a process, for the thread that makes the first session: in a
    thread of its own that does not change anybody else's arithmetic.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="onnx")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_thread.cache_clear)
