"""The coordinator's server: the door over TLS on one port, in a thread of its own."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

from hounsfield.core.errors import BadInput
from hounsfield.federation.flower import need
from hounsfield.federation.keys import require_valid
from hounsfield.federation.strangers import Listening, Strangers

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
                loop="asyncio",  # which takes connections by Listening.accept
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
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

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

    def stop(self) -> None:
        """End, letting requests under way finish for a moment."""
        self._server.should_exit = True
        self._thread.join(timeout=2.0)
        self._server.force_exit = True
        self._thread.join(timeout=5.0)
