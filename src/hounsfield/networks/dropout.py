"""Dropout whose mask belongs to the whole batch, however many passes or processes share it.

The mask is drawn for every row of the global batch from torch's default generator, and a pass takes the
rows that it holds. So gradients accumulated over micro-batches, or averaged over processes that start
from the same seed, are those of one pass over the whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["BatchDropout", "drop_input", "not_compiled", "set_rows", "share_dropout"]


class BatchDropout(nn.Dropout):
    """Dropout of images (N, …) with a mask drawn for all rows of the batch; as nn.Dropout without rows.

    >>> drop = BatchDropout(0.5)
    >>> whole = torch.ones(4, 3)
    >>> _ = torch.manual_seed(0); set_rows(drop, 4, 0, 4); together = drop(whole)
    >>> _ = torch.manual_seed(0); set_rows(drop, 4, 0, 2); first = drop(whole[:2])
    >>> set_rows(drop, 4, 2, 4); torch.equal(together, torch.cat([first, drop(whole[2:])]))
    True
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)
        self._rows: tuple[int, int, int] | None = None
        self._masks: list[Tensor] = []  # one for each time that a pass comes by
        self._passed = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or self._rows is None:
            return super().forward(x)
        mask: Tensor = self._mask(x)
        return x * mask

    def take_rows(self, rows: tuple[int, int, int] | None) -> None:
        """Hold rows start to stop of total, or None; a start no later than the last opens a new batch."""
        if rows is None or self._rows is None or rows[0] != self._rows[0] or rows[1] <= self._rows[1]:
            self._masks = []
        self._rows, self._passed = rows, 0

    def _mask(self, x: Tensor) -> Tensor:
        assert self._rows is not None
        total, start, stop = self._rows
        if len(x) != stop - start:
            raise ValueError(
                f"a dropout that was told of rows {start} to {stop} of {total} was given {len(x)} rows; "
                "call set_rows before each pass"
            )
        if self._passed == len(self._masks):
            kept = torch.empty(total, *x.shape[1:], device=x.device, dtype=torch.float32)
            self._masks.append(kept.bernoulli_(1 - self.p).mul_(1 / (1 - self.p) if self.p < 1 else 0.0))
        mask = self._masks[self._passed][start:stop].to(x.dtype)
        self._passed += 1
        return mask


def set_rows(network: nn.Module, total: int, start: int, stop: int) -> None:
    """Say before a pass in training that its images are rows `start` to `stop` of a batch of `total`.

    Passes over one batch take rising rows; where `start` does not rise (or `total` changes) a new batch
    begins and new masks are drawn. `total` 0 ends it: every dropout acts as nn.Dropout again. All
    processes must bring torch's default generator to the same state before a batch.
    """
    rows = (total, start, stop) if total else None
    for module in network.modules():
        if isinstance(module, BatchDropout):
            module.take_rows(rows)


def not_compiled(network: nn.Module) -> None:
    """Keep the drawing of masks out of a compiled network; call it before torch.compile, which it imports."""
    for module in network.modules():
        if isinstance(module, BatchDropout):
            module._mask = torch.compiler.disable(module._mask)  # type: ignore[method-assign]


def share_dropout(network: nn.Module) -> int:
    """Put a BatchDropout in the place of every nn.Dropout; how many there are that drop anything."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout:
                setattr(module, name, BatchDropout(child.p).train(child.training))
    return sum(isinstance(m, BatchDropout) and m.p > 0 for m in network.modules())


def drop_input(module: nn.Module, p: float) -> None:
    """Have a module drop parts of its input, without a change to the names of its parameters.

    >>> layer = nn.Linear(4, 1)
    >>> drop_input(layer, 0.5)
    >>> list(layer.state_dict())
    ['weight', 'bias']
    """
    module.add_module("drop", BatchDropout(p))
    module.register_forward_pre_hook(_drop_first)


def _drop_first(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    drop = module.get_submodule("drop")
    return (drop(given[0]), *given[1:])
