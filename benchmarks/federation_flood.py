"""How an approved site fares beside a flood of half-open TLS connections: how many tries are served.

The coordinator's server runs here; the flood is another process that connects, says hello and no more, from
the site's own address or from others (127.0.1.0/24). Each try of the site is a connection of its own, whose
parts take `--latency` seconds each, with a fifth of a second between tries.

    python benchmarks/federation_flood.py --rate 1000 --addresses 1
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "federation"))

from serving import Serving, serving
from test_door import _pull, _signed

from hounsfield.federation.keys import fingerprint, make_key

HELD, SITE = 800, "127.0.0.1"


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--rate", type=float, default=1000.0, help="half-open connections a second")
    given.add_argument(
        "--addresses", type=int, default=1, help="1: the site's own; else so many others, to 250"
    )
    given.add_argument("--latency", type=float, default=0.05, help="seconds there and back")
    given.add_argument("--seconds", type=float, default=20.0)
    given.add_argument("--flood", type=int, default=0, help=argparse.SUPPRESS)
    asked = given.parse_args()
    if asked.flood:
        _flood(asked)
        return
    with tempfile.TemporaryDirectory() as place, serving(Path(place)) as served:
        key = make_key(Path(place) / "site")
        served.approved.approve(fingerprint(key.public_key()), "north")
        trust = ssl.create_default_context(cafile=str(Path(place) / "ca.crt"))
        print(json.dumps(_measured(served, key, trust, asked), indent=1))


def _measured(served: Serving, key: Any, trust: ssl.SSLContext, asked: argparse.Namespace) -> dict[str, Any]:
    words = [sys.executable, __file__, "--flood", str(served.port)]
    words += [f"--{name}={getattr(asked, name)}" for name in ("rate", "addresses", "seconds")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as flood:
        time.sleep(1.0)
        tries = []
        while flood.poll() is None:
            began = time.monotonic()
            tries.append((_try(served.port, key, trust, asked.latency), time.monotonic() - began))
            time.sleep(0.2)
        assert flood.stdout is not None
        rate = float(flood.stdout.read())
    times = [seconds for is_served, seconds in tries if is_served]
    return {
        "half-open connections a second": round(rate),
        "tries": len(tries),
        "served": len(times),
        "median seconds of those served": round(median(times), 3) if times else None,
    }


def _try(port: int, key: Any, trust: ssl.SSLContext, latency: float) -> bool:
    """One fresh connection with one request; whether it was answered as a site's."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    spoken = trust.wrap_bio(into, out, server_hostname=SITE)
    request = _signed(key, _pull(key))
    lines = [f"POST {request['url']} HTTP/1.1", f"host: {SITE}", f"content-length: {len(request['content'])}"]
    lines += [f"{name}: {value}" for name, value in request["headers"].items()]
    try:
        with socket.create_connection((SITE, port), timeout=3, source_address=(SITE, 0)) as line:
            _until_done(spoken.do_handshake, line, into, out, latency)
            spoken.write("\r\n".join([*lines, "", ""]).encode() + request["content"])
            answer: bytes = _until_done(lambda: spoken.read(100), line, into, out, latency)
    except OSError:
        return False
    return answer.startswith(b"HTTP/1.1 200")


def _until_done(
    step: Any, line: socket.socket, into: ssl.MemoryBIO, out: ssl.MemoryBIO, latency: float
) -> Any:
    """What `step` returns, once what it waits for has come; OSError where the connection ended before."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            line.sendall(out.read())
            time.sleep(latency)
            came = line.recv(65536)
            if not came:
                raise ConnectionError("it was ended") from None
            into.write(came)
        finally:
            if out.pending:
                line.sendall(out.read())


def _flood(asked: argparse.Namespace) -> None:
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(into, out, server_hostname=SITE).do_handshake()
    except ssl.SSLWantReadError:
        hello = out.read()
    held: list[socket.socket] = []
    began, n = time.monotonic(), 0
    while (spent := time.monotonic() - began) < asked.seconds:
        if n >= spent * asked.rate:
            time.sleep(0.001)
            continue
        source = SITE if asked.addresses == 1 else f"127.0.1.{1 + n % asked.addresses}"
        n += 1
        try:
            held.append(socket.create_connection((SITE, asked.flood), timeout=1, source_address=(source, 0)))
            held[-1].sendall(hello)
        except OSError:
            pass  # the coordinator has closed it
        if len(held) > HELD:
            held.pop(0).close()
    print(n / asked.seconds)


if __name__ == "__main__":
    main()
