"""How much of the coordinator strangers may take, so that approved sites are served beside them.

A connection is a stranger's until a request on it was answered as a site's. Strangers have so many
connections in their handshake at a time, so many beyond it, and each address so many requests that are
turned away; nothing here refuses a connection that served a site. A handshake that has begun has a moment in
which no other one of its address ends it, and no more are begun than places become free: so a flood costs so
many handshakes a second, not all of its own, and some come about, a site's among them, which tries again.
One that came about is ended by no other's handshake. A limit on all connections, as uvicorn's own, would
refuse sites: whoever comes first fills it. What is kept of addresses is bounded too.

A flood from thousands of machines is a matter for the firewall in front.
"""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any

__all__ = [
    "BURST",
    "GRACE_S",
    "HANDSHAKES_OF_ADDRESS",
    "HANDSHAKE_S",
    "MOST_ADDRESSES",
    "MOST_CONNECTIONS",
    "MOST_HANDSHAKES",
    "MOST_OF_ADDRESS",
    "PER_SECOND",
    "Listening",
    "Strangers",
    "place_of",
]

MOST_CONNECTIONS = 256
"""Connections of strangers that are open at a time, their handshake done. A newer one takes the place of the
oldest one of the address that has most.
"""

MOST_OF_ADDRESS = 64
"""Of them those of one address; a newer one takes the place of its oldest."""

MOST_HANDSHAKES = 128
"""Connections that are in their handshake at a time. A newer one is closed where none has had `GRACE_S`,
unless it takes the place of one of an address that has more.
"""

HANDSHAKES_OF_ADDRESS = 64
"""Of them those of one address."""

GRACE_S = 0.25
"""So many seconds a handshake has before a newer one of an address that has as many may take its place."""

HANDSHAKE_S = 10.0
"""A handshake that takes more seconds is ended."""

_AT_ONCE = 64
"""So many connections are closed in a row before the server looks after the others again."""

BURST = 30
"""So many requests of an address are turned away with 401 or 404 before it is told 429."""

PER_SECOND = 1.0
"""And so many a second from then on; a site that waits for its approval asks every five seconds."""

MOST_ADDRESSES = 4096
"""So many addresses are remembered; the one that was quiet for longest is forgotten first."""

Peer = tuple[str, int]


class Strangers:
    """The connections and requests of strangers, by their address; used by one thread, that of the server.

    >>> now = [0.0]
    >>> strangers = Strangers(clock=lambda: now[0])
    >>> [strangers.may_be_turned_away("192.0.2.7") for _ in range(BURST + 1)][-2:]
    [True, False]
    >>> now[0] += 1 / PER_SECOND
    >>> strangers.may_be_turned_away("192.0.2.7"), strangers.may_be_turned_away("192.0.2.7")
    (True, False)
    """

    def __init__(self, *, burst: float = BURST, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._clock = float(burst), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests that are left, and when
        self._shaking = _Crowd(MOST_HANDSHAKES, HANDSHAKES_OF_ADDRESS, clock=clock, grace_s=GRACE_S)
        self._silent = _Crowd(MOST_CONNECTIONS, MOST_OF_ADDRESS, clock=clock)

    @property
    def connections(self) -> int:
        """Connections that are open and have not shown to be a site's."""
        return len(self._shaking) + len(self._silent)

    @property
    def handshakes(self) -> int:
        """Those of them whose handshake is not done."""
        return len(self._shaking)

    @property
    def addresses(self) -> int:
        """Addresses of which anything is remembered."""
        return len(self._left.keys() | self._shaking.addresses | self._silent.addresses)

    def may_be_turned_away(self, address: str) -> bool:
        """Count a request that is turned away; False where its address has had more of them than it may."""
        place, now = place_of(address), self._clock()
        left, seen = self._left.pop(place, (self._burst, now))
        left = min(self._burst, left + (now - seen) * PER_SECOND)
        self._left[place] = (max(0.0, left - 1.0), now)
        while len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
        return left >= 1.0

    def may_begin(self, connection: Counted, peer: Peer) -> bool:
        """Whether the handshake of a connection that was taken may begin; False where it is one too many."""
        return self._shaking.add(connection, peer)

    def shook_hands(self, peer: Peer) -> None:
        """The handshake of the connection from `peer` is done: a stranger's, until `is_a_site`."""
        connection = self._shaking.pop(peer)
        if connection is not None:
            self._silent.add(connection, peer)

    def is_a_site(self, peer: Peer | None) -> None:
        """A request on the connection from `peer` was answered as a site's: it counts no more."""
        if peer is not None:
            self.went(peer)

    def went(self, peer: Peer) -> None:
        """A connection was closed."""
        self._shaking.pop(peer)
        self._silent.pop(peer)


class _Crowd:
    """Open connections by address: at most so many in all, and so many of one address.

    Where there are as many, a newer one takes the place of the oldest one: of its own address, or of the
    address that has most. One that has been here for less than `grace_s` keeps its place before those of
    addresses that have as many: the newer one is not taken.
    """

    def __init__(
        self, most: int, of_address: int, *, clock: Callable[[], float], grace_s: float = 0.0
    ) -> None:
        self._most, self._of_address, self._clock, self._grace_s = most, of_address, clock, grace_s
        self._open: dict[str, OrderedDict[Peer, tuple[Counted, float]]] = {}

    def __len__(self) -> int:
        return sum(len(those) for those in self._open.values())

    @property
    def addresses(self) -> set[str]:
        """Where they come from."""
        return set(self._open)

    def add(self, connection: Counted, peer: Peer) -> bool:
        """Take one in; False where there is no place for it."""
        place = place_of(peer[0])
        its = len(self._open.get(place, ()))
        if its >= self._of_address:
            room = self._ended_oldest(self._open[place], its)
        else:
            room = len(self) < self._most or self._ended_oldest(max(self._open.values(), key=len), its)
        if room:
            self._open.setdefault(place, OrderedDict())[peer] = connection, self._clock()
        return room

    def pop(self, peer: Peer) -> Counted | None:
        """Take one out; None where it is not among them."""
        place = place_of(peer[0])
        those = self._open.get(place, OrderedDict())
        if peer not in those:
            return None
        connection, _ = those.pop(peer)
        if not those:
            del self._open[place]
        return connection

    def _ended_oldest(self, those: OrderedDict[Peer, tuple[Counted, float]], its: int) -> bool:
        """Close the oldest of an address for a newer one whose address has `its`; False if it may stay."""
        peer, (connection, since) = next(iter(those.items()))
        if len(those) <= its + 1 and self._clock() - since < self._grace_s:
            return False
        self.pop(peer)
        with suppress(OSError):  # it may be gone already
            connection.shutdown(socket.SHUT_RDWR)
        return True


class Counted(socket.socket):
    """A connection that says when it is closed."""

    closed: Callable[[], None] | None = None

    def close(self) -> None:
        """Close it, and say so once."""
        closed, self.closed = self.closed, None
        super().close()
        if closed is not None:
            closed()


class Listening(socket.socket):
    """A listening socket whose connections are counted before TLS begins, since a stranger may stop there."""

    strangers: Strangers

    @classmethod
    def of(cls, plain: socket.socket, strangers: Strangers) -> Listening:
        """Take a listening socket over."""
        made = cls(fileno=plain.detach())
        made.strangers = strangers
        return made

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection whose handshake may begin, and where it comes from; others are closed."""
        for _ in range(_AT_ONCE):
            plain, address = super().accept()
            connection, peer = Counted(fileno=plain.detach()), (str(address[0]), int(address[1]))
            if self.strangers.may_begin(connection, peer):
                connection.closed = lambda peer=peer: self.strangers.went(peer)
                return connection, address
            connection.close()
        raise BlockingIOError  # the server is to serve meanwhile


def place_of(address: str) -> str:
    """What counts as one address: of IPv6 the network of 64 bits that one customer has.

    >>> place_of("192.0.2.7"), place_of("::ffff:192.0.2.7"), place_of("2001:db8:1:2:3::7")
    ('192.0.2.7', '192.0.2.7', '2001:db8:1:2::/64')
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
