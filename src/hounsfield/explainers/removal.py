"""Deletion and insertion: whether the pixels that a map names are those that the score hangs on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hounsfield.explainers.contract import at_once, evaluating

__all__ = ["BLUR", "SHARES", "blurred", "body_of", "order_of", "random_map", "removal_gap"]

SHARES = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""The shares of an image that are taken away or put in: a finding is small, so small shares count as much."""

BLUR = 0.1
"""What is taken away is replaced by the image blurred by a Gaussian of this share of its longest side."""

_DARK = 0.05


def removal_gap(
    network: nn.Module,
    image: Tensor,
    orders: Sequence[NDArray[np.intp]],
    score: Callable[[Tensor], Tensor],
) -> NDArray[np.float64]:
    """How much more an image's first pixels carry than its others, for each order of its pixels.

    `image` is (C, J, I) or (C, K, J, I), an order the flat places of its pixels, first to last, and `score`
    turns logits (n, outputs) into numbers (n,) in [0, 1]. Of each order the value is the mean, over `SHARES`,
    of the score with only its first pixels there less the score with just these taken away (insertion and
    deletion of Petsiuk, Das & Saenko 2018). What is not there is the image `blurred`: a body without its
    detail, not a shape that no scanner makes. The value lies in [-1, 1].

    >>> class Corner(nn.Module):
    ...     def forward(self, x): return x[:, :, 0, 0]
    >>> image = torch.zeros(1, 8, 8); image[0, 0, 0] = 1
    >>> orders = [np.arange(64), np.arange(64)[::-1]]
    >>> removal_gap(Corner(), image, orders, lambda logits: logits[:, 0]).round(1).tolist()
    [0.4, -0.4]
    """
    with evaluating(network, image[None]) as given, torch.no_grad():
        whole = given[0]
        empty = blurred(whole)
        count = int(np.prod(whole.shape[1:]))
        masks = np.zeros((len(orders) * len(SHARES), count), bool)
        for row, mask in enumerate(masks):
            order, share = orders[row // len(SHARES)], SHARES[row % len(SHARES)]
            mask[order[: max(1, round(share * count))]] = True
        shown = torch.from_numpy(masks).to(whole.device).view(-1, 1, *whole.shape[1:])
        gaps = [
            score(network(torch.where(some, whole, empty))) - score(network(torch.where(some, empty, whole)))
            for some in shown.split(at_once(whole))
        ]
    table = torch.cat(gaps).double().cpu().numpy().reshape(len(orders), len(SHARES))
    return np.asarray(table.mean(1), np.float64)


def blurred(image: Tensor) -> Tensor:
    """An image (C, …) without its detail, by `BLUR`; values that are not finite count as 0.

    >>> blurred(torch.ones(1, 4, 4)).mean()
    tensor(1.)
    """
    from scipy.ndimage import gaussian_filter

    sigma = (0.0, *(BLUR * max(image.shape[1:]),) * (image.ndim - 1))
    made = gaussian_filter(image.nan_to_num().float().cpu().numpy(), sigma, mode="nearest")
    return torch.from_numpy(np.asarray(made)).to(image)


def body_of(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where an image (C, …) is not background: more than a twentieth of its range above its least value.

    >>> int(body_of(np.array([[[0.0, 0.01, 0.5, 1.0]]], np.float32)).sum())
    2
    """
    grey = np.nan_to_num(image.mean(0))
    low, high = np.percentile(grey, (0, 99.5))
    body: NDArray[np.bool_] = grey > low + _DARK * (high - low)
    return body


def random_map(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A smooth random map (J, I) or (K, J, I) of an image (C, …), above 0 where the image is not background.

    Its blobs are a twentieth of the longest axis wide. The background comes last, since a map that only
    finds the body would otherwise pass for one that finds what is in it.

    >>> image = np.zeros((1, 8, 8), np.float32); image[:, 2:6, 2:6] = 1
    >>> made = random_map(image, np.random.default_rng(0))
    >>> bool((made > 0)[2:6, 2:6].all()), int((made > 0).sum())
    (True, 16)
    """
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal(image.shape[1:]), 0.05 * max(image.shape[1:]), mode="wrap")
    ranks = np.empty(field.size)
    ranks[field.argsort(axis=None)] = np.arange(1, field.size + 1) / field.size
    made: NDArray[np.float32] = np.where(body_of(image), ranks.reshape(field.shape), 0).astype(np.float32)
    return made


def order_of(heat: NDArray[np.float32], otherwise: NDArray[np.float32]) -> NDArray[np.intp]:
    """The places of a map from its largest value down; where it does not tell, as `otherwise` has them.

    >>> order_of(np.array([0.0, 1.0, 0.0], np.float32), np.array([0.1, 0.0, 0.3], np.float32)).tolist()
    [1, 2, 0]
    """
    return np.asarray(np.lexsort((-otherwise.ravel(), -heat.ravel())), np.intp)
