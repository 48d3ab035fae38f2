"""The coordinator's server: the door over TLS on one port, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

from hounsfield.core.errors import BadInput
from hounsfield.federation.flower import need
from hounsfield.federation.keys import require_valid
from hounsfield.federation.strangers import HANDSHAKE_S, Listening, Strangers

__all__ = ["Server"]

_START_S = 30.0


class Server:
    """An ASGI application over TLS; `port` 0 takes a free one. Raises BadInput where it cannot be begun.

    `strangers` bounds the connections on which no site has spoken.
    """

    def __init__(
        self, app: Any, *, host: str, port: int, certificate: Path, key: Path, strangers: Strangers
    ) -> None:
        uvicorn = need("uvicorn")
        require_valid(certificate)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            plain = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            raise BadInput(
                f"port {port} of {host} cannot be opened ({(error.strerror or 'unknown').lower()}); end what "
                "has it, or name another --port or --host"
            ) from error
        self._socket = Listening.of(plain, strangers)
        try:
            config = uvicorn.Config(
                app,
                http=_protocol(strangers),
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                ssl_certfile=str(certificate),
                ssl_keyfile=str(key),
            )
            config.load()
        except (OSError, ssl.SSLError) as error:
            self._socket.close()
            raise BadInput(
                f"{certificate.name} and {key.name} do not belong together or cannot be read; name a "
                "certificate and its own key, both in PEM form"
            ) from error
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Begin to listen; returns when it does."""
        self._thread.start()
        ends = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > ends:
                raise BadInput("the server did not begin to listen; is the machine overloaded? try again")
            time.sleep(0.02)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(self._server.serve([self._socket]))

    def stop(self) -> None:
        """End, letting requests under way finish for a moment."""
        self._server.should_exit = True
        self._thread.join(timeout=2.0)
        self._server.force_exit = True
        self._thread.join(timeout=5.0)


class _Loop(asyncio.SelectorEventLoop):
    """asyncio's own, which takes connections by `Listening.accept`; a handshake has less than a minute."""

    async def create_server(self, *given: Any, **more: Any) -> asyncio.Server:
        return await super().create_server(*given, **more, ssl_handshake_timeout=HANDSHAKE_S)


def _protocol(strangers: Strangers) -> type[asyncio.Protocol]:
    """uvicorn's way of speaking HTTP, which says when a connection's handshake is done."""
    spoken: Any = need("uvicorn.protocols.http.auto").AutoHTTPProtocol

    class Greeted(spoken):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            peer = transport.get_extra_info("peername")
            strangers.shook_hands((str(peer[0]), int(peer[1])))
            super().connection_made(transport)

    return Greeted
