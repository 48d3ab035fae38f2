"""The coordinator's only door: eight of Flower's fleet paths, for approved keys; all else is not built.

Flower's own server answers on one port to nodes, to whoever starts runs and to its workers, and takes any
caller for the last two. Here those routes do not exist, and a request is turned away by its headers, before
its body is read, unless it bears an approved key. Flower's middleware then checks the key's signature.
"""

from __future__ import annotations

import binascii
import json
import threading
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hounsfield.federation.connection import LOG_HEAD
from hounsfield.federation.flower import need
from hounsfield.federation.keys import fingerprint
from hounsfield.federation.link import Link

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hounsfield.federation.approved import Approved

__all__ = ["LARGEST_REQUEST", "PATHS", "Door", "Knock", "fleet_app"]

PATHS = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "pull-object",
        "push-object",
        "confirm-message-received",
    )
)
"""What a site needs; registering, leaving for good, runs and code are not among it."""

LARGEST_REQUEST = 64 * 2**20
"""Bytes of one request; Flower cuts arrays into pieces of 5 MiB."""

_MOST_KNOCKS = 64

Scope = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Knock:
    """A key that asked to be let in and is not approved: its fingerprint and when it was last seen."""

    fingerprint: str
    seen: str


class Door:
    """Turns away what is no request of an approved site, as an ASGI application around Flower's.

    `told` hears of each key that nobody has approved, once. `log_heads` is what each site last said that its
    log ends with.
    """

    def __init__(self, app: Any, link: Link, approved: Approved, *, told: Callable[[Knock], None]) -> None:
        self._app, self._link, self._approved, self._told = app, link, approved, told
        self._knocks: dict[str, Knock] = {}
        self.log_heads: dict[int, str] = {}
        self._lock = threading.Lock()

    @property
    def knocks(self) -> tuple[Knock, ...]:
        """Keys that were turned away because nobody has approved them yet."""
        with self._lock:
            return tuple(
                k for k in self._knocks.values() if self._approved.standing(k.fingerprint) == "unknown"
            )

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass a request on, or answer it with why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _say(send, *refusal)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in PATHS:
            return 404, "Not Found"
        headers = {name.lower(): value for name, value in scope["headers"]}
        constants = need("flwr.supercore.constant")
        given = headers.get(constants.FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode(), b"")
        key = _key_of(given)
        if key is None:
            return 401, "a site's key is needed"
        standing = self._approved.standing(key[0])
        if standing == "revoked":
            return 401, "revoked"
        if standing == "unknown":
            self._knocked(key[0])
            return 401, "not approved"
        if not headers.get(b"content-length", b"").isdigit():
            return 411, "Length Required"
        if int(headers[b"content-length"]) > LARGEST_REQUEST:
            return 413, "Content Too Large"
        name = next(a.name for a in self._approved.all() if a.fingerprint == key[0])
        node = self._link.add(key[0], key[1], name)
        if head := headers.get(LOG_HEAD.encode()):
            self.log_heads[node] = head.decode("latin-1")[:64]
        return None

    def _knocked(self, fingerprint: str) -> None:
        knock = Knock(fingerprint, datetime.now(UTC).isoformat(timespec="seconds"))
        with self._lock:
            new = fingerprint not in self._knocks
            if new and len(self._knocks) >= _MOST_KNOCKS:
                return
            self._knocks[fingerprint] = knock
        if new:
            self._told(knock)


def fleet_app(link: Link) -> FastAPI:
    """Flower's fleet routes and nothing else: no control, no runtime, no health, no documentation."""
    fastapi = need("fastapi")
    middleware = need("starlette.middleware").Middleware
    base = need("starlette.middleware.base").BaseHTTPMiddleware
    app: FastAPI = fastapi.FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[
            middleware(base, dispatch=need("flwr.supercore.error").http_error_translator),
            middleware(need("flwr.supercore.protobuf.translation").ProtobufTranslationMiddleware),
            middleware(need("flwr.superlink.routers.fleet.node_auth").NodeAuthMiddleware),
        ],
    )
    app.state.linkstate_factory = link.factory
    app.state.enable_supernode_auth = True
    app.include_router(need("flwr.superlink.routers.fleet.router").router)
    return app


@lru_cache(maxsize=256)
def _key_of(given: bytes) -> tuple[str, bytes] | None:
    """Fingerprint and PEM of a public key as a header bears it; None where it is none."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if not 0 < len(given) < 2048:
        return None
    try:
        pem = b64decode(given, validate=True)
        key = load_pem_public_key(pem)
    except (binascii.Error, ValueError, TypeError):
        return None
    return (fingerprint(key), pem) if isinstance(key, EllipticCurvePublicKey) else None


async def _say(send: Any, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send(
        {"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]}
    )
    await send({"type": "http.response.body", "body": body})
