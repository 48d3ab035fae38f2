"""A site in a secure sum: what it learned leaves masked, and its masks are opened only for the whole sum.

Of another site it gives a share of one of two secrets: of the site's own mask, if that site answered, or of
its mask key, if it is gone. Never both, once a sum, and only if more than half of the sites are there.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.federation.flower import Array, ArrayRecord, Message, MetricRecord
from hounsfield.federation.messages import (
    ARRAYS,
    METRICS,
    PROPOSE,
    TRAIN,
    WEIGHTS,
    Answer,
    Reason,
    config_of,
    metrics_of,
    refused,
    vector_of,
)
from hounsfield.federation.privacy.masks import Pair, agreed, opened, sealed, shares_of, stream, to_ring
from hounsfield.federation.privacy.secure_messages import (
    MASKED,
    SECURE,
    SHARES,
    UNMASK,
    blob,
    number,
    parts,
    said,
    secure_of,
    sites_in,
)
from hounsfield.federation.proposal import Proposal

__all__ = ["masked"]


@dataclass
class _Session:
    """What a site keeps from its training to the end of one sum."""

    session: bytes
    site: int
    change: NDArray[np.float64]
    n: int
    metrics: dict[str, float]
    mask: Pair = field(default_factory=Pair)
    share: Pair = field(default_factory=Pair)
    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    public: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    threshold: int = 0
    weight: float = 0.0
    scale: float = 0.0
    sent: bool = False
    held: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)


def masked(answer: Answer) -> Answer:
    """A site's answers, of which weights leave only under masks once its plan says so.

    It takes part in one sum at a time; a step that is out of order, or asked twice, is refused. An ask to
    train in the open under a plan with secure aggregation is refused as well.
    """
    return _Masked(answer)


class _Masked:
    def __init__(self, answer: Answer) -> None:
        self.answer, self.required = answer, False
        self.now: _Session | None = None
        self._steps = {SHARES: self._shares, MASKED: self._masked, UNMASK: self._unmask}

    def __call__(self, ask: Message) -> Message:
        kind = ask.metadata.message_type
        try:
            if kind in self._steps:
                return self._steps[kind](ask, self._current(ask))
            if kind == TRAIN and SECURE in ask.content.config_records:
                return self._trained(ask)
            if kind == TRAIN and self.required:
                raise BadInput("weights were asked for in the open; the accepted plan sums them in secret")
            reply = self.answer(ask)
            if kind == PROPOSE and not reply.has_error():
                accepted = Proposal.from_json(str(config_of(ask)["proposal"]))
                self.required = accepted.plan.federation.secure_aggregation
            return reply
        except BadInput as error:
            self.now = None
            return refused(ask, Reason.FAILED, str(error))

    def _current(self, ask: Message) -> _Session:
        if self.now is None or blob(secure_of(ask), "session") != self.now.session:
            raise BadInput("a secure sum goes on that was not begun here; expected its ask to train first")
        return self.now

    def _trained(self, ask: Message) -> Message:
        self.now = None
        reply = self.answer(ask)
        if reply.has_error():
            return reply
        change = vector_of(reply).astype(np.float64) - vector_of(ask)
        if not np.isfinite(change).all():
            raise BadInput("the weights are not finite (NaN or infinite); nothing was sent")
        metrics = metrics_of(reply)
        session, site = blob(secure_of(ask), "session"), int(ask.metadata.dst_node_id)
        now = self.now = _Session(session, site, change, int(metrics["num-examples"]), metrics)
        reach = math.ceil(math.log2(max(float(np.abs(change).max(initial=0.0)), 1e-9)))
        keys = {"mask-key": now.mask.public, "share-key": now.share.public}
        return said(ask, {**keys, "cases": now.n, "reach": reach})

    def _shares(self, ask: Message, now: _Session) -> Message:
        told = secure_of(ask)
        sites, threshold = sites_in(told, "sites"), int(number(told, "threshold"))
        masks, shares = (parts(told, name, len(sites)) for name in ("mask-keys", "share-keys"))
        heaviest, scale = int(number(told, "heaviest")), number(told, "scale")
        public = dict(zip(sites, zip(masks, shares, strict=True), strict=True))
        if now.public or public.get(now.site) != (now.mask.public, now.share.public):
            raise BadInput("a secure sum came with other keys than this site's, or twice; nothing was sent")
        distinct = len({*masks, *shares}) == 2 * len(sites) == 2 * len(public)
        if len(sites) < 2 or 2 * threshold <= len(sites) or not distinct or heaviest < now.n:
            raise BadInput("a secure sum would not hide this site's weights; nothing was sent")
        if float(np.abs(now.change).max(initial=0.0)) * scale * len(sites) > 2.0**31:
            raise BadInput("a secure sum has no room for this site's weights; nothing was sent")
        now.public, now.threshold, now.weight, now.scale = public, threshold, now.n / heaviest, scale
        seed = shares_of(now.seed, of=sites, threshold=threshold)
        secret = shares_of(now.mask.secret, of=sites, threshold=threshold)
        now.held[now.site] = (seed[now.site], secret[now.site])
        others = [s for s in sites if s != now.site]
        made = [sealed(_key(now, to, now.site), seed[to] + secret[to], _about(now.site, to)) for to in others]
        return said(ask, {"to": others, "sealed": made})

    def _masked(self, ask: Message, now: _Session) -> Message:
        told = secure_of(ask)
        if not now.public or now.sent:
            raise BadInput("masked weights were asked for out of order, or twice; nothing was sent")
        senders = sites_in(told, "from")
        for sender, packet in zip(senders, parts(told, "sealed", len(senders)), strict=True):
            plain = opened(_key(now, sender, sender), packet, _about(sender, now.site))
            now.held[sender] = plain[: len(plain) // 2], plain[len(plain) // 2 :]
        if len(now.held) < now.threshold:
            raise BadInput("too few sites are left to hide this site's weights; nothing was sent")
        vector = to_ring(now.change * now.weight, now.scale) + stream(now.seed, len(now.change))
        for other in set(now.held) - {now.site}:
            seed = agreed(now.mask.secret, now.public[other][0], b"mask" + now.session)
            mask = stream(seed, len(vector))
            vector = vector + mask if now.site < other else vector - mask
        now.sent = True
        reply = said(ask, {"session": now.session})
        reply.content[ARRAYS] = ArrayRecord({WEIGHTS: Array(vector)})
        reply.content[METRICS] = MetricRecord(dict(now.metrics))
        return reply

    def _unmask(self, ask: Message, now: _Session) -> Message:
        told = secure_of(ask)
        alive, gone = sites_in(told, "alive"), sites_in(told, "gone")
        whole = sorted(alive + gone) == sorted(now.held)
        if not now.sent or not whole or now.site in gone or len(alive) < now.threshold:
            raise BadInput("masks were asked for that would show a site's weights; nothing was sent")
        self.now = None  # nothing is opened twice
        shares = [now.held[s][0] for s in alive] + [now.held[s][1] for s in gone]
        return said(ask, {"of": alive + gone, "shares": shares})


def _key(now: _Session, other: int, sender: int) -> bytes:
    """The key of the one packet from `sender` that this site shares with another."""
    if other not in now.public:
        raise BadInput("a share of a secure sum came from a site that is not in it; nothing was sent")
    return agreed(now.share.secret, now.public[other][1], b"share" + now.session + _about(sender, 0))


def _about(sender: int, to: int) -> bytes:
    return sender.to_bytes(8, "little") + to.to_bytes(8, "little")
