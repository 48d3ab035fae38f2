"""Joining that bears a broken or poisoned site: the trimmed mean (Yin 2018) and Krum (Blanchard 2017).

Both replace the answers by one that stands for them, so that any strategy takes its step from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Federation
from hounsfield.federation.flower import Array, ArrayRecord, Message, MetricRecord, RecordDict
from hounsfield.federation.messages import ARRAYS, METRICS, metrics_of, vector_of

__all__ = ["krum_chosen", "one_for_all", "require_enough_sites", "robust", "trimmed_mean"]

Vector = NDArray[np.float32]
Vectors = NDArray[np.float32]


def trimmed_mean(vectors: Vectors, *, distrusted: int) -> Vector:
    """Of (S, P) the mean (P,) of each column without its `distrusted` least and greatest.

    >>> trimmed_mean(np.array([[1], [2], [3], [99]], np.float32), distrusted=1).tolist()
    [2.5]
    """
    ordered = np.sort(vectors, 0)
    return np.asarray(ordered[distrusted : len(ordered) - distrusted].mean(0, dtype=np.float64), np.float32)


def krum_chosen(vectors: Vectors, *, distrusted: int) -> NDArray[np.int64]:
    """Of (S, P) the rows, S - `distrusted` of them, that lie nearest to their S - `distrusted` - 2 nearest
    others.

    >>> krum_chosen(np.array([[0], [0.1], [0.2], [0.3], [9]], np.float32), distrusted=1).tolist()
    [0, 1, 2, 3]
    """
    sites = len(vectors)
    square = ((vectors[:, None].astype(np.float64) - vectors[None]) ** 2).sum(2)
    nearest = np.sort(square, 1)[:, 1 : max(2, sites - distrusted - 1)]
    return np.sort(np.argsort(nearest.sum(1), kind="stable")[: sites - distrusted])


def require_enough_sites(federation: Federation, sites: int) -> None:
    """BadInput where so few sites cannot outvote the `distrusted` ones."""
    needed = {"trimmed_mean": 2 * federation.distrusted + 1, "krum": 2 * federation.distrusted + 3}
    least = needed.get(federation.robust, 1)
    if sites < least:
        raise BadInput(
            f"federation.robust={federation.robust} with federation.distrusted={federation.distrusted} needs "
            f"{least} sites, and {sites} take part; lower federation.distrusted, or choose another rule"
        )


def robust(replies: Sequence[Message], federation: Federation) -> list[Message]:
    """One answer that stands for all of them by the plan's rule; the answers themselves where it has none."""
    if federation.robust == "none":
        return list(replies)
    require_enough_sites(federation, len(replies))
    names = list(replies[0].content[ARRAYS])
    chosen = np.arange(len(replies))
    if federation.robust == "krum":
        chosen = krum_chosen(np.stack([vector_of(r) for r in replies]), distrusted=federation.distrusted)
    kept = [replies[i] for i in chosen.tolist()]
    size = np.array([metrics_of(r)["num-examples"] for r in kept])
    joined: dict[str, Vector] = {}
    for name in names:
        table = np.stack([vector_of(r, name) for r in kept])
        if federation.robust == "krum":
            joined[name] = np.asarray(np.average(table, 0, weights=size), np.float32)
        else:
            joined[name] = trimmed_mean(table, distrusted=federation.distrusted)
    return [one_for_all(replies, joined)]


def one_for_all(replies: Sequence[Message], joined: dict[str, Vector]) -> Message:
    """An answer in the form of the first that holds these vectors and the cases of all."""
    total = sum(metrics_of(r)["num-examples"] for r in replies)
    shared = set.intersection(*(set(metrics_of(r)) for r in replies)) - {"num-examples"}
    means = {
        key: sum(metrics_of(r)[key] * metrics_of(r)["num-examples"] for r in replies) / total
        for key in shared
    }
    content = RecordDict(
        {
            ARRAYS: ArrayRecord({name: Array(vector) for name, vector in joined.items()}),
            METRICS: MetricRecord({"num-examples": int(total), **means}),
        }
    )
    return Message(content, reply_to=replies[0])
