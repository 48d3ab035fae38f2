"""The coordinator's only door: eight of Flower's fleet paths, for approved keys; all else is not built.

Flower's own server answers on one port to nodes, to whoever starts runs and to its workers, and takes any
caller for the last two. Here those routes do not exist, and a request is turned away by its headers, before
its body is read, unless it bears an approved key and that key's signature of the time. Flower's middleware
then checks the signature once more, and that the key speaks for its own site.
"""

from __future__ import annotations

import binascii
import json
import threading
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from hounsfield.federation.connection import LOG_HEAD
from hounsfield.federation.flower import need
from hounsfield.federation.keys import fingerprint
from hounsfield.federation.link import Link
from hounsfield.federation.strangers import Strangers

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

_TURNED_AWAY = {
    "nowhere": (404, "Not Found"),
    "no key": (401, "a site's key is needed"),
    "revoked": (401, "revoked"),
    "unknown": (401, "not approved"),
    "forged": (401, "no fresh signature by this key"),
}
"""What is answered, by what is wrong."""

Scope = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Knock:
    """A key that asked to be let in and is not approved: its fingerprint and when it was last seen."""

    fingerprint: str
    seen: str


class Door:
    """Turns away what is no request of an approved site, as an ASGI application around Flower's.

    `told` hears of each key that nobody has approved, once. `log_heads` is what each site last said that its
    log ends with. `strangers` counts what is turned away, by address, also what bears an approved key
    without its signature; nothing that an approved key has signed is refused for it.
    """

    def __init__(
        self,
        app: Any,
        link: Link,
        approved: Approved,
        *,
        told: Callable[[Knock], None],
        strangers: Strangers | None = None,
    ) -> None:
        self._app, self._link, self._approved, self._told = app, link, approved, told
        self.strangers = strangers or Strangers()
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
            await self._passed_on(scope, receive, send)
        elif scope["type"] == "http":
            await _say(send, *refusal)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _passed_on(self, scope: Scope, receive: Any, send: Any) -> None:
        """Let Flower's application answer, and note whether it took the request for a site's."""
        peer = scope.get("client")

        async def noted(message: Scope) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 200:
                    self.strangers.is_a_site(peer)
                elif message["status"] in (401, 404):
                    self.strangers.may_be_turned_away(_address(scope))
            await send(message)

        await self._app(scope, receive, noted)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why a request is not passed on; None where its key is approved."""
        standing, key = self._standing(scope)
        if standing == "approved":
            return self._unfit(scope, *key)
        if not self.strangers.may_be_turned_away(_address(scope)):
            return 429, "Too Many Requests"
        if standing == "unknown":
            self._knocked(key[0])
        return _TURNED_AWAY[standing]

    def _standing(self, scope: Scope) -> tuple[str, tuple[str, bytes]]:
        """Whether the key of a request may speak, its fingerprint and its PEM; else what is missing."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in PATHS:
            return "nowhere", ("", b"")
        headers = _headers(scope)
        key = _key_of(headers.get(_named("FLEET_HTTP_PUBLIC_KEY_HEADER"), b""))
        if key is None:
            return "no key", ("", b"")
        standing: str = self._approved.standing(key[0])
        if standing == "approved" and not _signed(headers, key[1]):
            standing = "forged"
        return standing, key

    def _unfit(self, scope: Scope, fingerprint: str, pem: bytes) -> tuple[int, str] | None:
        """Why a request with an approved key is not taken; None where it is."""
        headers = _headers(scope)
        if not headers.get(b"content-length", b"").isdigit():
            return 411, "Length Required"
        if int(headers[b"content-length"]) > LARGEST_REQUEST:
            return 413, "Content Too Large"
        name = next(a.name for a in self._approved.all() if a.fingerprint == fingerprint)
        node = self._link.add(fingerprint, pem, name)
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


def _headers(scope: Scope) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in scope["headers"]}


@cache
def _named(constant: str) -> bytes:
    """A header by Flower's name for it."""
    return str(getattr(need("flwr.supercore.constant"), constant)).lower().encode()


def _signed(headers: dict[bytes, bytes], pem: bytes) -> bool:
    """Whether a request bears the key's signature of a time that is near enough, as Flower asks for it."""
    constants, asymmetric = need("flwr.common.constant"), need("flwr.supercore.primitives.asymmetric")
    time = headers.get(constants.TIMESTAMP_HEADER.lower().encode(), b"")
    try:
        signature = b64decode(headers.get(_named("FLEET_HTTP_SIGNATURE_HEADER"), b""), validate=True)
        signed_at = datetime.fromisoformat(time.decode("ascii"))
        age = (datetime.now(UTC) - signed_at).total_seconds()
    except (ValueError, TypeError):
        return False
    ahead, behind = constants.SYSTEM_TIME_TOLERANCE, constants.TIMESTAMP_TOLERANCE
    return -ahead < age < behind + ahead and bool(
        asymmetric.verify_signature(asymmetric.bytes_to_public_key(pem), time, signature)
    )


def _address(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown", 0))[0])


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
