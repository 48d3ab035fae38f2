"""How much of the coordinator strangers may take, so that approved sites are served beside them.

A connection is a stranger's until a request on it was answered as a site's. Strangers have so many
connections at a time, and each address so many requests that are turned away; nothing here refuses a
connection that served a site. One in its handshake still counts as a stranger's and may be ended by newer
ones of its own address: a site connects again. A limit on all connections, as uvicorn's own, would refuse
sites: whoever comes first fills it. What is kept of addresses is bounded too.

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
    "MOST_ADDRESSES",
    "MOST_CONNECTIONS",
    "MOST_OF_ADDRESS",
    "PER_SECOND",
    "Listening",
    "Strangers",
    "place_of",
]

MOST_CONNECTIONS = 256
"""Connections of strangers that are open at a time. A newer one takes the place of the oldest one of the
address that has most.
"""

MOST_OF_ADDRESS = 64
"""Of them those of one address; a newer one takes the place of its oldest."""

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
        self._open: dict[str, OrderedDict[Peer, Counted]] = {}

    @property
    def connections(self) -> int:
        """Connections that are open and have not shown to be a site's."""
        return sum(len(those) for those in self._open.values())

    @property
    def addresses(self) -> int:
        """Addresses of which anything is remembered."""
        return len(self._left.keys() | self._open.keys())

    def may_be_turned_away(self, address: str) -> bool:
        """Count a request that is turned away; False where its address has had more of them than it may."""
        place, now = place_of(address), self._clock()
        left, seen = self._left.pop(place, (self._burst, now))
        left = min(self._burst, left + (now - seen) * PER_SECOND)
        self._left[place] = (max(0.0, left - 1.0), now)
        while len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
        return left >= 1.0

    def came(self, connection: Counted, peer: Peer) -> None:
        """A connection was taken: a stranger's, until `is_a_site`. One that is too many is closed."""
        those = self._open.setdefault(place_of(peer[0]), OrderedDict())
        those[peer] = connection
        if len(those) > MOST_OF_ADDRESS:
            self._close_oldest(those)
        elif self.connections > MOST_CONNECTIONS:
            self._close_oldest(max(self._open.values(), key=len))

    def is_a_site(self, peer: Peer | None) -> None:
        """A request on the connection from `peer` was answered as a site's: it counts no more."""
        if peer is not None:
            self._forget(peer)

    def went(self, peer: Peer) -> None:
        """A connection was closed."""
        self._forget(peer)

    def _close_oldest(self, those: OrderedDict[Peer, Counted]) -> None:
        peer, connection = next(iter(those.items()))
        self._forget(peer)
        with suppress(OSError):  # it may be gone already
            connection.shutdown(socket.SHUT_RDWR)

    def _forget(self, peer: Peer) -> None:
        place = place_of(peer[0])
        those = self._open.get(place)
        if those is not None and those.pop(peer, None) is not None and not those:
            del self._open[place]


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
        """The next connection and where it comes from."""
        plain, address = super().accept()
        connection, peer = Counted(fileno=plain.detach()), (str(address[0]), int(address[1]))
        connection.closed = lambda: self.strangers.went(peer)
        self.strangers.came(connection, peer)
        return connection, address


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
