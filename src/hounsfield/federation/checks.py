"""What the coordinator looks at before it joins answers: each that cannot be used is left out and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.plan import Federation
from hounsfield.federation.flower import Message
from hounsfield.federation.messages import metrics_of, refusal_of, vector_of

__all__ = ["Sound", "contrary_findings", "contrary_sites", "sound"]

Vector = NDArray[np.float32]

_WATCHED = 5
"""So many of the last rounds tell whether a site's labels contradict the others'."""

_MARGIN = 0.05
"""By this share of what the prevalences alone lose must the weights be worse there, and better elsewhere."""


@dataclass(frozen=True)
class Sound:
    """The answers that may be joined, in the order of their sites, and why others are not; `norms` are the
    lengths of the updates.
    """

    replies: tuple[Message, ...]
    left_out: dict[int, str]
    norms: dict[int, float]


def sound(replies: Sequence[Message], before: Vector, federation: Federation) -> Sound:
    """Judge each answer to a round that began from `before` (P,)."""
    kept, left_out, norms = [], {}, {}
    for reply in sorted(replies, key=lambda r: int(r.metadata.src_node_id)):
        node = int(reply.metadata.src_node_id)
        fault, norm = _fault(reply, before, federation)
        if fault:
            left_out[node] = fault
        else:
            kept.append(reply)
            norms[node] = norm
    return Sound(tuple(kept), left_out, norms)


def _fault(reply: Message, before: Vector, federation: Federation) -> tuple[str, float]:
    """What is wrong with an answer, "" for nothing; and the length of its update."""
    refusal = refusal_of(reply)
    if refusal is not None:
        return refusal.sentence, 0.0
    try:
        weights = vector_of(reply)
    except BadInput as error:
        return str(error), 0.0
    if weights.shape != before.shape:
        return f"it sent {weights.size} weights; expected {before.size}", 0.0
    if not np.isfinite(weights).all():
        return "its weights are not finite (NaN or infinite)", 0.0
    n = metrics_of(reply).get("num-examples", 0.0)
    if not n > 0:
        return f"it says that it learned from {n:g} cases; expected at least one", 0.0
    norm = float(np.linalg.norm(weights.astype(np.float64) - before))
    if 0 < federation.largest_update < norm:
        return (
            f"its update is {norm:.3g} long; federation.largest_update is {federation.largest_update:g}",
            norm,
        )
    return "", norm


def contrary_sites(history: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Sites at which the common weights do worse than knowing nothing, while they do better elsewhere.

    Labels that were exchanged at one site show so: the loss there, before it learns, stays above that of its
    prevalences alone. In at least half of the last rounds, with at least two other sites as witnesses.

    >>> bad, good = {"before": 0.9, "chance": 0.69}, {"before": 0.4, "chance": 0.69}
    >>> list(contrary_sites([{"losses": {"Kiel": bad, "Ulm": good, "Hamm": good}}] * 4))
    ['Kiel']
    """
    recent = [r["losses"] for r in history[-_WATCHED:] if r.get("losses")]
    seen: dict[str, list[tuple[float, float]]] = {}
    for losses in recent:
        for name, told in losses.items():
            others = [o["before"] - o["chance"] for other, o in losses.items() if other != name]
            if len(others) >= 2 and np.median(others) < -_MARGIN * told["chance"]:
                seen.setdefault(name, []).append((told["before"], told["chance"]))
    found = {}
    for name, told in seen.items():
        worse = [(b, c) for b, c in told if b > (1 + _MARGIN) * c]
        if len(told) >= 2 and 2 * len(worse) >= len(told):
            before, chance = np.mean(worse, 0)
            found[name] = (
                f"the common weights lose {before:.3f} there, more than its prevalences alone "
                f"({chance:.3f}), in {len(worse)} of the last {len(told)} rounds, and less elsewhere: are "
                "its labels exchanged?"
            )
    return found


def contrary_findings(history: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """The sites of `contrary_sites` as warnings of a report."""
    return tuple(
        Finding("site_contradicts_others", group=name, level="warning", note=why)
        for name, why in contrary_sites(history).items()
    )
