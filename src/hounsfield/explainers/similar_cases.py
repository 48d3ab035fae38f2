"""Cases that a network holds for alike: neighbours in its pooled features."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hounsfield.core.errors import BadInput
from hounsfield.explainers.contract import at_once, evaluating

__all__ = ["nearest", "pooled_features"]


def pooled_features(network: nn.Module, images: Tensor) -> NDArray[np.float32]:
    """A row (N, F) an image: the last feature map, averaged over its places or tokens.

    Raises BadInput where the network has no features.

    >>> class Plain(nn.Module):
    ...     def features(self, x): return x
    >>> pooled_features(Plain(), torch.ones(1, 4, 2, 2)).tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """
    if not callable(getattr(network, "features", None)):
        raise BadInput(
            f'similar cases were asked of a network "{type(network).__name__}" without features; expected a '
            "network of features and head; leave them out"
        )
    with evaluating(network, images) as given, torch.no_grad():
        rows = []
        for some in given.split(at_once(given[0])):
            maps = network.features(some)  # type: ignore[operator]
            # (N, F, j, i) has its channels second, tokens (N, T, F) have them last
            rows.append(maps.flatten(2).mean(2) if maps.ndim == images.ndim else maps.mean(1))
        pooled: NDArray[np.float32] = torch.nan_to_num(torch.cat(rows).float()).cpu().numpy()
    return pooled


def nearest(
    features: NDArray[np.float32], known: NDArray[np.float32], allowed: NDArray[np.bool_], *, count: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The rows of `known` (M, F) most alike to each row of `features` (N, F), and their cosines, (N, count).

    Features are taken about the mean of the known ones, since what all images share tells none apart. Only
    what `allowed` (N, M) marks is taken; where fewer are allowed than `count`, the rows are -1.

    >>> known = np.array([[1, 0], [-1, 0], [0.9, 0], [-0.9, 0]], np.float32)
    >>> rows, cosine = nearest(known[:1], known, np.array([[False, True, True, True]]), count=2)
    >>> rows.tolist(), cosine.round(2).tolist()
    ([[2, 1]], [[1.0, -1.0]])
    """
    centre = known.mean(0) if len(known) else np.zeros(features.shape[1], np.float32)
    cosine = np.where(allowed, _unit(features - centre) @ _unit(known - centre).T, -np.inf)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(cosine, order, 1)
    if order.shape[1] < count:
        wide = ((0, 0), (0, count - order.shape[1]))
        order, best = np.pad(order, wide), np.pad(best, wide, constant_values=-np.inf)
    rows = np.where(np.isfinite(best), order, -1)
    return rows, np.where(np.isfinite(best), best, 0).astype(np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-12), np.float32)
