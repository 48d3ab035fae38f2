"""Losses of logits and targets, a number for each row: every row of a batch weighs the same.

So the mean over a batch is the mean over its parts, each weighed by its rows, however it is cut.
Targets may be soft: mixed (mixup) or smoothed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "COVERED", "attention_loss", "exclusive_loss", "independent_loss", "independent_terms", "ordinal_loss",
]  # fmt: skip

COVERED = 0.25
"""A place belongs to a finding that covers so much of it; where none does, the most covered one."""


def exclusive_loss(weights: Tensor, *, smooth: float, gamma: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy of the softmax, times (1 - p)^gamma for each class (focal loss, Lin 2017; 0: none).

    `weights` (C) multiply the term of each class; smoothing is torch's: a share of each class.

    >>> import torch
    >>> loss = exclusive_loss(torch.ones(3), smooth=0.0, gamma=0.0)
    >>> loss(torch.zeros(1, 3), torch.eye(3)[:1])
    tensor([1.0986])
    """
    from torch.nn import functional

    def rows(logits: Tensor, wanted: Tensor) -> Tensor:
        logits = logits.float()
        log_p = functional.log_softmax(logits, 1)
        if gamma > 0:
            log_p = log_p * (gamma * _log_of_the_others(logits)).exp()
        return -(_smoothed(wanted, smooth) * log_p * weights.to(logits.device)).sum(1)

    return rows


def independent_loss(
    positive: Tensor, negative: Tensor, *, smooth: float, gamma: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """Binary cross-entropy of the sigmoid of each output, its mean over outputs; focal with gamma above 0.

    A term is multiplied by (1 - p)^gamma, where p is the probability of what the term asks for. `positive`
    and `negative` (outputs) weigh rows with and without the finding; smoothing moves targets towards 1/2.

    >>> import torch
    >>> loss = independent_loss(torch.ones(1), torch.ones(1), smooth=0.0, gamma=2.0)
    >>> loss(torch.zeros(1, 1), torch.ones(1, 1))
    tensor([0.1733])
    """
    terms = independent_terms(positive, negative, smooth=smooth, gamma=gamma)
    return lambda logits, wanted: terms(logits, wanted).mean(1)


def independent_terms(
    positive: Tensor, negative: Tensor, *, smooth: float, gamma: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """`independent_loss` before its mean: a number for each row and output.

    >>> import torch
    >>> terms = independent_terms(torch.ones(2), torch.ones(2), smooth=0.0, gamma=0.0)
    >>> terms(torch.zeros(1, 2), torch.ones(1, 2))
    tensor([[0.6931, 0.6931]])
    """
    from torch.nn import functional

    def rows(logits: Tensor, wanted: Tensor) -> Tensor:
        logits = logits.float()
        weight = wanted * positive.to(logits.device) + (1 - wanted) * negative.to(logits.device)
        soft = wanted * (1 - smooth) + smooth / 2
        if gamma == 0:
            return functional.binary_cross_entropy_with_logits(logits, soft, weight=weight, reduction="none")
        log_yes, log_no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        yes, no = log_yes * (gamma * log_no).exp(), log_no * (gamma * log_yes).exp()
        return -(weight * (soft * yes + (1 - soft) * no))

    return rows


def ordinal_loss(weights: Tensor, *, smooth: float) -> Callable[[Tensor, Tensor], Tensor]:
    """For classes in rising order: the logarithmic score of P(y > k), summed over the cuts k.

    A forecast far from the answer loses at every cut between. Each term is a proper score of one event, so
    the sum is a proper score of the distribution; of two classes it is the cross-entropy (the logarithmic
    form of the ranked probability score, Epstein 1969; Tödter & Ahrens 2012). `weights` (C) weigh a
    row by its class; smoothing spreads the answer over the classes before they are summed.

    >>> import torch
    >>> loss = ordinal_loss(torch.ones(3), smooth=0.0)
    >>> loss(torch.log(torch.tensor([[.5, .25, .25]])), torch.eye(3)[2:])  # -log(.5) - log(.25)
    tensor([2.0794])
    """
    import torch
    from torch.nn import functional

    def rows(logits: Tensor, wanted: Tensor) -> Tensor:
        log_p = functional.log_softmax(logits.float(), 1)
        log_at_most = torch.logcumsumexp(log_p, 1)[:, :-1]
        log_above = torch.logcumsumexp(log_p.flip(1), 1).flip(1)[:, 1:]
        at_most = _smoothed(wanted, smooth).cumsum(1)[:, :-1]
        score = at_most * log_at_most + (1 - at_most) * log_above
        return -score.sum(1) * (wanted * weights.to(logits.device)).sum(1)

    return rows


def attention_loss(looked: Tensor, cover: Tensor) -> Tensor:
    """The negative logarithm (N,) of the attention that lies on marked places; 0 for an image without any.

    `looked` (N, …) are the logits of a softmax over all places, `cover` (N, …) how much of a place is marked,
    in [0, 1]: a place is a marked one from a quarter on, and the most covered one of an image always.

    >>> import torch
    >>> attention_loss(torch.zeros(2, 4), torch.tensor([[0.0, 1.0, 0.2, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    tensor([1.3863, 0.0000])
    """
    looked, cover = looked.flatten(1), cover.flatten(1)
    marked = cover >= cover.amax(1, keepdim=True).clamp(max=COVERED)  # all places of an image without marks
    return looked.logsumexp(1) - looked.masked_fill(~marked, -1e9).logsumexp(1)


def _smoothed(wanted: Tensor, smooth: float) -> Tensor:
    return wanted * (1 - smooth) + smooth / wanted.shape[1]


def _log_of_the_others(logits: Tensor) -> Tensor:
    """log(1 - p) of the softmax (N, C) from the other classes' logits, which does not cancel near p = 1."""
    import torch

    classes = logits.shape[1]
    others = ~torch.eye(classes, dtype=torch.bool, device=logits.device)
    rest = logits[:, None, :].masked_fill(~others, -torch.inf).logsumexp(2)
    return rest - logits.logsumexp(1, keepdim=True)
