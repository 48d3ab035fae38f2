"""A flood of strangers is bounded and forgotten, and does not lock out an approved site, even beside them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from federation.serving import serving
from federation.test_door import _pull, _signed
from hounsfield.federation.door import Door
from hounsfield.federation.keys import fingerprint, make_key
from hounsfield.federation.strangers import (
    BURST,
    GRACE_S,
    HANDSHAKES_OF_ADDRESS,
    MOST_ADDRESSES,
    MOST_CONNECTIONS,
    MOST_HANDSHAKES,
    MOST_OF_ADDRESS,
    PER_SECOND,
    Strangers,
)


@dataclass(frozen=True)
class Served:
    """A coordinator's server, an approved key and the authority to trust."""

    door: Door
    port: int
    key: Any
    trust: ssl.SSLContext

    def client(self, address: str = "127.0.0.1") -> httpx.Client:
        """One that connects again where its connection was ended in its handshake, as a site does."""
        again = httpx.HTTPTransport(verify=self.trust, retries=8, local_address=address)
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", transport=again, timeout=30)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as made:
        key = make_key(tmp_path / "a")
        made.approved.approve(fingerprint(key.public_key()), "north")
        trust = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        yield Served(made.door, made.port, key, trust)


def test_an_approved_site_is_served_through_a_flood_from_its_own_address(served: Served) -> None:
    """Connections that say nothing, and requests that are turned away as fast as they go."""
    idle: list[socket.socket] = []
    codes: list[int] = []
    ended = threading.Event()

    def silent() -> None:
        while not ended.is_set() and len(idle) < 3 * MOST_OF_ADDRESS:
            idle.append(socket.create_connection(("127.0.0.1", served.port), timeout=30))

    def asks() -> None:
        while not ended.is_set():
            with served.client() as client:
                for path in ("/v1/control/list-runs", "/v1/fleet/pull-messages"):
                    if not ended.is_set():
                        codes.append(client.post(path, content=b"").status_code)

    flood = [threading.Thread(target=work, daemon=True) for work in (silent, asks, asks)]
    for thread in flood:
        thread.start()
    answered = []
    with served.client() as kept:
        for _ in range(12):
            answered.append(kept.post(**_signed(served.key, _pull(served.key))).status_code)
        flood[0].join(timeout=60)
        while codes.count(429) < 5:
            answered.append(kept.post(**_signed(served.key, _pull(served.key))).status_code)
        with served.client() as fresh:
            answered.append(fresh.post(**_signed(served.key, _pull(served.key))).status_code)
    ended.set()
    for thread in flood:
        thread.join(timeout=30)
    assert set(answered) == {200}
    assert set(codes) == {401, 404, 429} and len(codes) - codes.count(429) >= BURST
    assert len(idle) == 3 * MOST_OF_ADDRESS
    assert _closed(idle) >= 2 * MOST_OF_ADDRESS and served.door.strangers.connections <= MOST_OF_ADDRESS
    for one in idle:
        one.close()


def _closed(connections: list[socket.socket]) -> int:
    """How many the server has closed; the last ones it still keeps say nothing."""
    found = 0
    for one in connections:
        one.settimeout(0.02)
        try:
            found += one.recv(1) == b""
        except TimeoutError:
            continue
        except OSError:
            found += 1
    return found


def test_a_sites_connection_counts_no_more_and_a_closed_one_is_forgotten(served: Served) -> None:
    strangers = served.door.strangers
    with served.client() as client:
        assert client.post(**_signed(served.key, _pull(served.key))).status_code == 200
        assert strangers.connections == 0
        forged = _signed(served.key, _pull(served.key), by=make_key_like(served.key))
        assert client.post(**forged).status_code == 401
        assert client.post(**_signed(served.key, _pull(served.key))).status_code == 200
    with socket.create_connection(("127.0.0.1", served.port)):
        _until(lambda: strangers.connections == 1)
    _until(lambda: strangers.connections == 0)


def test_forged_signatures_under_a_known_key_are_bounded_and_its_owner_is_served(served: Served) -> None:
    """From the owner's own address, as behind a common proxy, and from another one."""

    def forged(**when: float) -> int:
        return attacker.post(**_signed(served.key, _pull(served.key), by=thief, **when)).status_code

    def genuine() -> list[int]:
        return [site.post(**_signed(served.key, _pull(served.key))).status_code for site in (near, far)]

    thief = make_key_like(served.key)
    with served.client() as attacker, served.client() as near, served.client("127.0.0.2") as far:
        assert genuine() == [200, 200]
        codes = [forged() for _ in range(BURST + 20)]
        assert codes[:BURST] == [401] * BURST and codes.count(429) > 10
        assert genuine() == [200, 200]
        old = _signed(served.key, _pull(served.key), at=-400)
        assert attacker.post(**old).status_code == 429  # its own signature, but of no time that is near
        assert far.post(**old).status_code == 401  # which another address is told at first
        assert genuine() == [200, 200]


def test_a_forged_signature_is_turned_away_before_its_body_is_read(served: Served) -> None:
    request = _signed(served.key, _pull(served.key), by=make_key_like(served.key))
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=30) as plain,
        served.trust.wrap_socket(plain, server_hostname="127.0.0.1") as asks,
    ):
        asks.sendall(_raw(request, b"", length=60_000_000))
        assert asks.recv(100).startswith(b"HTTP/1.1 401")


def _raw(request: dict[str, Any], body: bytes, *, length: int = -1) -> bytes:
    """A request as it goes over the wire, whose body may be announced and not sent."""
    lines = [f"POST {request['url']} HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in request["headers"].items()]
    lines += [f"content-length: {len(body) if length < 0 else length}", "", ""]
    return "\r\n".join(lines).encode() + body


def make_key_like(key: Any) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key

    return generate_private_key(key.curve)


def _until(happened: Any) -> None:
    for _ in range(600):
        if happened():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it did not happen in 30 s")


class Line:
    """A connection that notes whether it was cut."""

    def __init__(self) -> None:
        self.cut = False

    def shutdown(self, _: int) -> None:
        self.cut = True


def test_the_busiest_address_gives_way_and_a_quiet_one_keeps_its_connection() -> None:
    strangers, quiet = Strangers(), Line()
    _shaken(strangers, quiet, "192.0.2.1", 1)
    lines = [Line() for _ in range(3 * MOST_CONNECTIONS)]
    for k, line in enumerate(lines):
        _shaken(strangers, line, f"198.51.100.{k % 20}", k)
        assert strangers.connections <= MOST_CONNECTIONS
    assert not quiet.cut and not lines[-1].cut and lines[0].cut
    alone = [Line() for _ in range(MOST_OF_ADDRESS + 5)]
    other = Strangers()
    for k, line in enumerate(alone):
        _shaken(other, line, f"2001:db8::{k:x}", k)
    assert [line.cut for line in alone] == [True] * 5 + [False] * MOST_OF_ADDRESS


def _shaken(strangers: Strangers, line: Line, address: str, port: int) -> None:
    """One whose handshake is done at once."""
    assert strangers.may_begin(line, (address, port))  # type: ignore[arg-type]
    strangers.shook_hands((address, port))


def test_a_handshake_has_its_moment_and_a_quiet_address_need_not_wait() -> None:
    now = [0.0]
    strangers = Strangers(clock=lambda: now[0])
    lines = [Line() for _ in range(2 * HANDSHAKES_OF_ADDRESS)]

    def begun(line: Line, address: str, port: int) -> bool:
        return strangers.may_begin(line, (address, port))  # type: ignore[arg-type]

    begin = [begun(line, "192.0.2.1", k) for k, line in enumerate(lines)]
    assert begin == [True] * HANDSHAKES_OF_ADDRESS + [False] * HANDSHAKES_OF_ADDRESS
    assert not any(line.cut for line in lines)
    for k in range(MOST_HANDSHAKES - 4):  # at last in places of the busiest address, and nobody waits
        assert begun(Line(), f"198.51.100.{k % 50}", k) and strangers.handshakes <= MOST_HANDSHAKES
    assert lines[0].cut and not lines[HANDSHAKES_OF_ADDRESS - 1].cut
    assert not begun(Line(), "198.51.100.1", 9999)  # nobody has more than this one
    assert begun(Line(), "203.0.113.1", 1)
    now[0] += GRACE_S
    assert begun(Line(), "198.51.100.1", 9999)


def test_a_flood_of_half_open_connections_ends_no_handshake_that_came_about(served: Served) -> None:
    """They are from the site's own address; a site at another one is served at its first try."""
    with ExitStack() as open_ones:
        plain = open_ones.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=30))
        site = open_ones.enter_context(served.trust.wrap_socket(plain, server_hostname="127.0.0.1"))
        _until(lambda: (served.door.strangers.connections, served.door.strangers.handshakes) == (1, 0))
        for _ in range(3 * MOST_OF_ADDRESS):
            open_ones.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=30))
        _until(lambda: served.door.strangers.handshakes > HANDSHAKES_OF_ADDRESS // 2)
        assert served.door.strangers.handshakes <= HANDSHAKES_OF_ADDRESS
        request = _signed(served.key, _pull(served.key))
        site.sendall(_raw(request, request["content"]))
        assert site.recv(100).startswith(b"HTTP/1.1 200")
        other = httpx.HTTPTransport(verify=served.trust, local_address="127.0.0.2")
        with httpx.Client(base_url=f"https://127.0.0.1:{served.port}", transport=other, timeout=30) as far:
            assert far.post(**_signed(served.key, _pull(served.key))).status_code == 200


def test_a_handshake_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hounsfield.federation.server.HANDSHAKE_S", 0.3)
    with serving(tmp_path) as made, socket.create_connection(("127.0.0.1", made.port), timeout=20) as silent:
        assert silent.recv(1) == b""
        _until(lambda: made.door.strangers.connections == 0)


def test_what_is_remembered_of_addresses_is_bounded_and_recovers() -> None:
    now = [0.0]
    strangers = Strangers(clock=lambda: now[0])
    for _ in range(BURST):
        assert strangers.may_be_turned_away("192.0.2.1")
    assert not strangers.may_be_turned_away("192.0.2.1") and strangers.may_be_turned_away("192.0.2.2")
    now[0] += 2 / PER_SECOND
    assert [strangers.may_be_turned_away("192.0.2.1") for _ in range(3)] == [True, True, False]
    for k in range(3 * MOST_ADDRESSES):
        strangers.may_be_turned_away(f"10.{k >> 16}.{k >> 8 & 255}.{k & 255}")
        assert k % 1000 or strangers.addresses <= MOST_ADDRESSES
