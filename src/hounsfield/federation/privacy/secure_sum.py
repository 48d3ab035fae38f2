"""A mean of weights of which the coordinator sees no part: sites mask their vectors, and the masks cancel.

Bonawitz 2017 (SecAgg+, Bell 2020, with every site a neighbour of every other), in the four messages of
`secure_messages` over any Grid. `secure_mean(grid, asks, timeout)` stands where answers are gathered,
`masked(answer)` around a site's answers.

Of a site the coordinator gets shares of one of its two secrets, never of both, and only if more than half of
the sites send them; with either secret alone the other mask stays on. Two groups of sites that are told two
stories are of no use: each would have to be more than half. What is not hidden: how many cases, the loss, the
power of two above the largest change, the sum itself; and everything from a coordinator that hands out keys
of its own in the sites' names.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import HounsfieldError
from hounsfield.federation.flower import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Grid,
    Message,
    MetricRecord,
    RecordDict,
)
from hounsfield.federation.messages import ARRAYS, METRICS, WEIGHTS, vector_of
from hounsfield.federation.privacy.masked_site import masked
from hounsfield.federation.privacy.masks import Ring, agreed, from_ring, joined, scale_of, stream
from hounsfield.federation.privacy.secure_messages import (
    FEWEST,
    MASKED,
    SECURE,
    SHARES,
    UNMASK,
    Value,
    asked,
    blob,
    number,
    packed,
    parts,
    secure_of,
    sites_in,
    threshold_of,
)

__all__ = ["masked", "secure_mean"]

_DID = {SHARES: "sent shares", MASKED: "sent weights", UNMASK: "opened masks"}


def secure_mean(grid: Grid, asks: Sequence[Message], timeout: float) -> tuple[Message, list[Message]]:
    """The mean of the answers to asks to train, weighed by their cases, and each site's answer without it.

    The first answer bears the mean as "weights" and the sum of the cases. Of the second, masked vectors with
    the sites' metrics, or refusals, a site that dropped out has none. Each of the four messages may take
    `timeout` seconds. Raises HounsfieldError where fewer sites than the threshold come to the end.
    """
    if len(asks) < FEWEST:
        raise HounsfieldError(
            f"{len(asks)} sites take part in a secure sum; expected at least {FEWEST}, since of two each "
            "knows the other's weights from the mean; wait for another, or set "
            "federation.secure_aggregation=false"
        )
    return _Sum(grid, asks, timeout).run()


class _Sum:
    """One sum, at the coordinator."""

    def __init__(self, grid: Grid, asks: Sequence[Message], timeout: float) -> None:
        self.grid, self.timeout = grid, timeout
        self.asks = {int(ask.metadata.dst_node_id): ask for ask in asks}
        self.session = secrets.token_bytes(16)
        self.threshold = threshold_of(len(asks))
        self.answers: dict[int, Message] = {}

    def run(self) -> tuple[Message, list[Message]]:
        keys = self._trained()
        cases = {site: int(number(keys[site], "cases")) for site in keys}
        heaviest, reach = max(cases.values()), max(number(k, "reach") for k in keys.values())
        scale = scale_of(2.0**reach, sites=len(keys))
        masks = {site: blob(keys[site], "mask-key") for site in keys}
        begun: dict[str, Value] = {
            "sites": list(keys), "threshold": self.threshold, "heaviest": heaviest, "scale": scale,
            "mask-keys": list(masks.values()), "share-keys": [blob(k, "share-key") for k in keys.values()],
        }  # fmt: skip
        shared = self._asked(SHARES, dict.fromkeys(keys, begun))
        given = self._asked(MASKED, _forwarded(shared))
        gone = [site for site in shared if site not in given]
        told: dict[str, Value] = {"alive": list(given), "gone": gone}
        opened = self._asked(UNMASK, dict.fromkeys(given, told))
        total = self._unmasked(list(given), gone, masks, opened)
        n = sum(cases[site] for site in given)
        before = vector_of(next(iter(self.asks.values()))).astype(np.float64)
        mean = before + from_ring(total, scale) * (heaviest / n)
        return self._one(mean.astype(np.float32), n), list(self.answers.values())

    def _trained(self) -> dict[int, ConfigRecord]:
        """Have the sites train; the keys of those that did."""
        for ask in self.asks.values():
            ask.content[SECURE] = packed({"session": self.session})
        keys = {}
        for reply in self.grid.send_and_receive(list(self.asks.values()), timeout=self.timeout):
            site = int(reply.metadata.src_node_id)
            if reply.has_error():
                self.answers[site] = reply
            else:
                keys[site] = secure_of(reply)
        self._enough(keys, "trained")
        return dict(sorted(keys.items()))

    def _asked(self, kind: str, told: Mapping[int, Mapping[str, Value]]) -> dict[int, ConfigRecord]:
        """What the sites answer to a message of the sum; those that refuse or are silent drop out."""
        asks = [asked(self.asks[s], kind, {"session": self.session, **told[s]}) for s in told]
        found = {}
        for reply in self.grid.send_and_receive(asks, timeout=self.timeout):
            site = int(reply.metadata.src_node_id)
            if kind == MASKED or (reply.has_error() and kind != UNMASK):
                self.answers[site] = reply
            if not reply.has_error():
                found[site] = secure_of(reply)
        self._enough(found, _DID[kind])
        return dict(sorted(found.items()))

    def _unmasked(
        self,
        alive: Sequence[int],
        gone: Sequence[int],
        masks: Mapping[int, bytes],
        opened: Mapping[int, ConfigRecord],
    ) -> Ring:
        """The sum of the vectors of the sites `alive`, with every mask taken off."""
        held: dict[int, dict[int, bytes]] = {site: {} for site in (*alive, *gone)}
        for holder, record in opened.items():
            owners = sites_in(record, "of")
            for owner, share in zip(owners, parts(record, "shares", len(owners)), strict=True):
                held[owner][holder] = share
        secret = {owner: joined(shares) for owner, shares in held.items()}
        vectors = {site: self.answers[site].content.array_records[ARRAYS][WEIGHTS].numpy() for site in alive}
        if len({v.shape for v in vectors.values()}) > 1 or any(
            v.dtype != np.uint32 for v in vectors.values()
        ):
            raise HounsfieldError("masked vectors of two kinds came; expected the same version at all sites")
        size = len(next(iter(vectors.values())))
        total: Ring = np.zeros(size, np.uint32)
        for site in alive:
            total = total + vectors[site] - stream(secret[site], size)
        for lost in gone:
            for site in alive:
                mask = stream(agreed(secret[lost], masks[site], b"mask" + self.session), size)
                total = total - mask if site < lost else total + mask
        return total

    def _one(self, mean: NDArray[np.float32], n: int) -> Message:
        content = RecordDict()
        content[ARRAYS] = ArrayRecord({WEIGHTS: Array(mean)})
        content[METRICS] = MetricRecord({"num-examples": n})
        return Message(content, reply_to=next(iter(self.asks.values())))

    def _enough(self, found: Iterable[int], did: str) -> None:
        count = len(list(found))
        if count < self.threshold:
            why = "; ".join(str(a.error.reason) for a in self.answers.values() if a.has_error())
            raise HounsfieldError(
                f"{count} of {len(self.asks)} sites {did} in the secure sum; expected at least "
                f"{self.threshold}, or nothing can be unmasked ({why or 'the others did not answer'}); "
                "mend that, and go on with resume"
            )


def _forwarded(shared: Mapping[int, ConfigRecord]) -> dict[int, dict[str, Value]]:
    """The shares sealed for each site, of those that sent any."""
    packets = {}
    for sender, record in shared.items():
        to = sites_in(record, "to")
        packets[sender] = dict(zip(to, parts(record, "sealed", len(to)), strict=True))
    found: dict[int, dict[str, Value]] = {}
    for site in shared:
        senders = [other for other in shared if other != site]
        found[site] = {"from": senders, "sealed": [packets[sender][site] for sender in senders]}
    return found
