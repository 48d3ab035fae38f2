"""Maps of the cases of one table of predictions, by any explainer: what is asked of each, made once, kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.steps.compute import available_cores, pick_device
from hounsfield.steps.prepare import Prepared

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["TITLES", "Asked", "Maps", "title_of"]

T = TypeVar("T")
R = TypeVar("R")

TITLES = {
    "attention": "Attention",
    "gradcam": "Grad-CAM",
    "integrated_gradients": "Integrated gradients",
    "occlusion": "Occlusion",
}


def title_of(method: str) -> str:
    """The name of an explainer as it is printed.

    >>> title_of("gradcam"), title_of("my_map")
    ('Grad-CAM', 'My map')
    """
    return TITLES.get(method, method.replace("_", " ").capitalize())


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a map: what, in the case of this row, speaks for (or against) this logit."""

    row: int
    output: int
    towards: Literal["positive", "negative"] = "positive"


class Maps:
    """The images and networks of a model's predictions, and maps of them.

    `member_of` names the member that explains a row: one that did not learn from it. Networks are loaded
    when they are first asked for.
    """

    def __init__(
        self,
        model: Model,
        prepared: Prepared,
        predictions: Predictions,
        called: NDArray[np.int64],
        member_of: Callable[[int], int],
    ) -> None:
        self.model, self.prepared, self.predictions = model, prepared, predictions
        self.called, self.member_of = called, member_of
        self.threads = model.plan.threads or available_cores()
        self._networks: dict[int, nn.Module] = {}
        self._kept: dict[tuple[str, Asked], NDArray[np.float32]] = {}

    @property
    def is_flat(self) -> bool:
        """Whether the cases are images, not volumes."""
        return bool(self.prepared.images.shape[2] == 1)

    def network(self, member: int) -> nn.Module:
        """A member's network, ready to score, on the plan's device."""
        if member not in self._networks:
            from hounsfield.steps.predict import load_member

            made = load_member(self.model, self.model.members[member])
            self._networks[member] = made.to(pick_device(self.model.plan.device))
        return self._networks[member]

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        return self.prepared.rows(self.predictions.ids)

    def images(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """The normalised images (n, C, J, I) or (n, C, K, J, I) of some rows."""
        return self.prepared.batch(self._place[list(rows)])

    def said(self, row: int) -> Asked:
        """What was called in this row, as the logit that made it so."""
        kind = self.predictions.encoding.kind
        if kind == "binary":
            return Asked(row, 0, "positive" if self.called[row] == 1 else "negative")
        if kind == "multiclass":
            return Asked(row, int(self.called[row]))
        return Asked(row, int(self.predictions.scores[row].argmax()))

    def of(
        self, method: str, asked: Sequence[Asked], *, network: nn.Module | None = None
    ) -> list[NDArray[np.float32]]:
        """The map of each question, in its order; of a `network` that is given instead of the row's own.

        Raises BadInput where the explainer cannot explain this kind of network.
        """
        found = (
            {}
            if network is not None
            else {a: self._kept[method, a] for a in asked if (method, a) in self._kept}
        )
        groups: dict[tuple[int, int, str], list[Asked]] = {}
        for a in dict.fromkeys(asked):
            if a not in found:
                groups.setdefault((self.member_of(a.row), a.output, a.towards), []).append(a)
        for (member, _, _), some in groups.items():
            maps = self._made(method, some, self.network(member) if network is None else network)
            found.update(zip(some, maps, strict=True))
        if network is None:
            self._kept.update({(method, a): found[a] for a in asked})
        return [found[a] for a in asked]

    def _made(self, method: str, asked: Sequence[Asked], network: nn.Module) -> list[NDArray[np.float32]]:
        import torch

        from hounsfield.explainers import EXPLAINERS

        explainer, first = EXPLAINERS[method], asked[0]

        def some_maps(some: Sequence[Asked]) -> list[NDArray[np.float32]]:
            images = torch.from_numpy(self.images([a.row for a in some]))
            return list(explainer(network, images, output=first.output, towards=first.towards))

        size = int(np.clip(len(asked) // (2 * self.threads), 1, 8))
        parts = [asked[low : low + size] for low in range(0, len(asked), size)]
        return [heat for part in self.each(some_maps, parts) for heat in part]

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """What `work` gives for each item, in order, done side by side: torch then needs one thread each.

        A small network has too little to do for two threads in one of its layers.
        """
        if self.threads < 2 or len(items) < 2 or pick_device(self.model.plan.device).type != "cpu":
            return [work(item) for item in items]
        import torch

        with ThreadPoolExecutor(self.threads, initializer=torch.set_flush_denormal, initargs=(True,)) as pool:
            return list(pool.map(work, items))

    def probability(self, asked: Asked) -> Callable[[Tensor], Tensor]:
        """Turns logits (n, outputs) into the calibrated probability (n,) of what is asked."""
        from hounsfield.tasks.calibrated_tensor import calibrated_tensor

        calibration, encoding = self.model.calibration, self.model.encoding
        turned = encoding.kind != "multiclass" and asked.towards != "positive"

        def probability(logits: Tensor) -> Tensor:
            found = calibrated_tensor(logits, encoding, calibration)[:, asked.output]
            return 1 - found if turned else found

        return probability

    def margin(self, row: int) -> Callable[[Tensor], Tensor]:
        """Turns logits (n, outputs) into how far (n,) they lie on the called side; 0 or less is across."""
        from hounsfield.tasks.calibrated_tensor import logit_of

        encoding, calibration = self.model.encoding, self.model.calibration
        output = self.said(row).output
        if encoding.kind == "multiclass":

            def to_next(logits: Tensor) -> Tensor:
                others = [k for k in range(logits.shape[1]) if k != output]
                return logits[:, output] - logits[:, others].amax(1)

            return to_next
        threshold = float(np.clip(self.model.operating_point.values[output], 1e-6, 1 - 1e-6))
        limit = logit_of(threshold, calibration, output)
        scale = (calibration.outputs[output] if calibration.outputs else calibration).temperature
        sign = 1.0 if bool(np.atleast_1d(self.called[row])[output]) else -1.0

        def to_threshold(logits: Tensor) -> Tensor:
            return sign * (logits[:, output].float() - limit) / scale

        return to_threshold
