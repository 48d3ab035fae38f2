"""A site's way to the coordinator: requests go out to one host, over TLS, signed by the site's key.

The requests are Flower's (`FleetHttpClient`, its signatures, its messages in parts). Ours is what happens
when one fails: a coordinator that is away is waited for, and what waiting cannot mend is one sentence.
"""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hounsfield.core.errors import BadInput, GateRefused
from hounsfield.federation.approved import node_id_of
from hounsfield.federation.flower import Message, need
from hounsfield.federation.keys import fingerprint
from hounsfield.io.files import write_bytes

if TYPE_CHECKING:
    import httpx
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["LOG_HEAD", "Connection", "Request", "Turned", "clock_sentence"]

Answered = TypeVar("Answered")

BEAT_S, INTERVAL_S = 8.0, 30
"""A sign of life every 8 s; the coordinator takes a site for gone after twice 30 s without one."""

AHEAD_S, BEHIND_S = 5, 305
"""How far the site's clock may be before and behind the coordinator's: Flower's window for a signature."""

LOG_HEAD = "x-hounsfield-log-head"

_LONGEST_WAIT_S = 5.0

_GONE = frozenset({403, 500})
"""What a request is answered whose run is over, or which the coordinator that began anew knows nothing of."""


class Turned(GateRefused):
    """The coordinator does not accept this site's key (any more)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it went out: its path, the bytes of its body and their SHA-256."""

    path: str
    bytes: int
    sha256: str


class _Seen:
    """Notes every answer's body and tells the head of the site's log, as one of Flower's interceptors."""

    def __init__(self, log_head: Callable[[], str], keep: Path | None) -> None:
        self._log_head, self._keep = log_head, keep
        self.requests: list[Request] = []
        self._lock = threading.Lock()

    def intercept(self, context: Any, call_next: Callable[[Any], httpx.Response]) -> httpx.Response:
        body = context.request.content
        path = context.request.url.path
        if "/push-" not in path:  # says nothing of the site's data
            asked: httpx.Response = call_next(context)
            return asked
        if path.endswith("/push-messages"):
            context.request.headers[LOG_HEAD] = self._log_head()
        request = Request(path, len(body), hashlib.sha256(body).hexdigest())
        if self._keep is not None:
            write_bytes(self._keep / f"{request.sha256}.bin", body)
        with self._lock:
            self.requests.append(request)
        response: httpx.Response = call_next(context)
        return response

    def taken(self) -> tuple[Request, ...]:
        with self._lock:
            taken, self.requests = tuple(self.requests), []
        return taken


class Connection:
    """One site at one coordinator.

    `log_head` is the digest of the last line of the site's log: it is told with every answer, so that lines
    cannot be cut off unnoticed. `told` is given a sentence when the coordinator goes away or a person must
    act there; `stop` ends waiting. In the folder `keep`
    each answer lies as it left, a file a request, named by the SHA-256 that the log gives.
    """

    def __init__(
        self,
        server: str,
        ca: Path,
        key: EllipticCurvePrivateKey,
        *,
        told: Callable[[str], None],
        stop: threading.Event,
        log_head: Callable[[], str] = lambda: "",
        keep: Path | None = None,
    ) -> None:
        self._told, self._stop, self._said = told, stop, ""
        self._welcome, self._was_away = False, False
        self._public = need("flwr.supercore.primitives.asymmetric").public_key_to_bytes(key.public_key())
        self.fingerprint = fingerprint(key.public_key())
        self.node = node_id_of(self.fingerprint)
        self._seen = _Seen(log_head, keep)
        sign = need("flwr.supernode.node_auth_http_interceptor").NodeAuthHttpInterceptor
        version = need("flwr.supercore.interceptors.http.runtime_version").RuntimeVersionHttpInterceptor
        self._client = need("flwr.supernode.fleet_http_client").FleetHttpClient(
            f"https://{server}",
            interceptors=[version(component_name="SuperNode"), sign(key, key.public_key()), self._seen],
            verify=_trusting(ca),
        )
        self._client._client.follow_redirects = (
            False  # there is one host, and no other that it may send us to
        )
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def enter(self) -> None:
        """Be there for the coordinator; whatever was asked of this site before it began is asked again."""
        proto = need("flwr.proto.fleet_pb2")
        leaving = proto.DeactivateNodeRequest(node_id=self.node)
        coming = proto.ActivateNodeRequest(public_key=self._public, heartbeat_interval=INTERVAL_S)
        self._try(lambda: self._client.DeactivateNode(leaving), gone=frozenset({412}))  # it was not there
        self._try(lambda: self._client.ActivateNode(coming))
        self._welcome, self._was_away = True, False
        if self._beats.ident is None:
            self._beats.start()

    def receive(self) -> Message | None:
        """The next message, whole; None where there is none."""
        fleet = need("flwr.proto.fleet_pb2")
        node = self._node()
        if self._was_away:  # it may have begun anew, and know of no site
            self.enter()
        response = self._try(lambda: self._client.PullMessages(fleet.PullMessagesRequest(node=node)))
        if response is None or not response.messages_list:
            return None
        tree = response.message_object_trees[0]
        metadata = response.messages_list[0].metadata
        utils = need("flwr.supercore.inflatable.inflatable_utils")
        parts = need("flwr.supercore.inflatable.inflatable_object").iterate_object_tree(tree)
        try:
            contents = utils.pull_objects(
                [part.object_id for part in parts],
                lambda part: self._pull(metadata.run_id, part),
                max_concurrent_pulls=1,
            )
        except utils.ObjectPullError:  # taken back meanwhile: its time is over, or the site is asked anew
            return None
        self._confirm(metadata.run_id, metadata.message_id)
        message = cast("Message", utils.inflate_object_from_contents(metadata.message_id, contents))
        message.metadata.__dict__["_message_id"] = metadata.message_id
        return message

    def send(self, message: Message) -> tuple[bool, tuple[Request, ...]]:
        """Send an answer; whether it was still wanted, and the requests that carried it.

        What a coordinator does not want it has forgotten: the site then begins anew, to be asked again.
        """
        inflatable = need("flwr.supercore.inflatable.inflatable_object")
        bare = need("flwr.app.message").remove_content_from_message
        to_proto = need("flwr.common.serde").message_to_proto
        fleet = need("flwr.proto.fleet_pb2")
        self._seen.taken()
        with inflatable.no_object_id_recompute():
            message.metadata.__dict__["_message_id"] = message.object_id
            parts = inflatable.get_all_nested_objects(message)
            request = fleet.PushMessagesRequest(
                node=self._node(),
                messages_list=[to_proto(bare(message))],
                message_object_trees=[inflatable.get_object_tree(message)],
                clientapp_runtime_list=[0.0],
            )
            response = self._try(lambda: self._client.PushMessages(request), gone=_GONE)
            wanted = bool(response and response.objects_to_push)
            session = response.session_id if response else ""
            for part in response.objects_to_push if response else ():
                wanted = self._push(message.metadata.run_id, session, part, parts[part].deflate())
                if not wanted:
                    break
        carried = self._seen.taken()
        self._was_away = self._was_away or not wanted
        return wanted, carried

    def leave(self) -> None:
        """Say that the site goes; a coordinator that is away is not waited for."""
        proto = need("flwr.proto.fleet_pb2")
        self._stop.set()
        try:
            self._client.DeactivateNode(proto.DeactivateNodeRequest(node_id=self.node))
        except Exception:  # noqa: BLE001 - it will see by itself that the signs of life have ended
            pass
        finally:
            self._client.close()

    def _node(self) -> Any:
        return need("flwr.proto.node_pb2").Node(node_id=self.node)

    def _pull(self, run_id: int, part: str) -> bytes:
        proto = need("flwr.proto.message_pb2")
        utils = need("flwr.supercore.inflatable.inflatable_utils")
        request = proto.PullObjectRequest(node=self._node(), run_id=run_id, object_id=part)
        response = self._try(lambda: self._client.PullObject(request), gone=_GONE)
        if response is None or not response.object_found:
            raise utils.ObjectPullError(part, "it is not there any more")
        if not response.object_available:
            raise utils.ObjectUnavailableError(part)
        return bytes(response.object_content)

    def _push(self, run_id: int, session: str, part: str, content: bytes) -> bool:
        request = need("flwr.proto.message_pb2").PushObjectRequest(
            node=self._node(), run_id=run_id, object_id=part, object_content=content, session_id=session
        )
        response = self._try(lambda: self._client.PushObject(request), gone=_GONE)
        return bool(response and response.stored)

    def _confirm(self, run_id: int, number: str) -> None:
        request = need("flwr.proto.message_pb2").ConfirmMessageReceivedRequest(
            node=self._node(), run_id=run_id, message_object_id=number
        )
        self._try(lambda: self._client.ConfirmMessageReceived(request), gone=_GONE)

    def _beat(self) -> None:
        """Signs of life, while the site learns for longer than the coordinator would wait for one."""
        heartbeat = need("flwr.proto.heartbeat_pb2").SendNodeHeartbeatRequest
        while not self._stop.wait(BEAT_S):
            try:
                self._client.SendNodeHeartbeat(heartbeat(node=self._node(), heartbeat_interval=INTERVAL_S))
            except Exception:  # noqa: BLE001 - the next request of the site itself says what is wrong
                continue

    def _try(self, call: Callable[[], Answered], *, gone: frozenset[int] = frozenset()) -> Answered | None:
        """What a request is answered, waiting for a coordinator that is away.

        None where it answers one of the codes `gone`, and where the site is to stop. Raises BadInput or
        Turned where waiting does not help.
        """
        http = need("httpx")
        wait = 0.2
        while not self._stop.is_set():
            try:
                answered = call()
            except http.HTTPStatusError as error:
                if error.response.status_code in gone:
                    return None
                self._refused(error.response)
            except http.TransportError as error:
                self._away(error)
            else:
                self._said = ""
                return answered
            self._stop.wait(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT_S)
        return None

    def _away(self, error: httpx.TransportError) -> None:
        text = str(error).lower()
        self._was_away = True
        if ("certificate" in text or "ssl" in text) and "eof" not in text:  # an end is no fault of TLS
            raise BadInput(_tls_sentence(text)) from error
        self._say("the coordinator does not answer; this site goes on asking")

    def _refused(self, response: httpx.Response) -> None:
        """Raise what waiting cannot mend; otherwise say what is waited for."""
        detail = _detail(response)
        if response.status_code == 401 and detail == "not approved" and not self._welcome:
            self._say(
                f"this site's key is not approved yet; tell who runs the coordinator its fingerprint, "
                f"{self.fingerprint}; this site goes on asking"
            )
            return
        if response.status_code == 401 and detail in ("not approved", "revoked"):
            raise Turned(
                "the coordinator no longer accepts this site's key; ask who runs it why; if the key was "
                "lost, begin again with hu site init in a new folder"
            )
        if response.status_code == 401:
            apart = _seconds_apart(response)
            raise BadInput(
                clock_sentence(apart)
                if not -BEHIND_S < apart < AHEAD_S
                else "the coordinator did not accept this site's signature; make a new key with hu site init"
            )
        if response.status_code in (429, 500, 502, 503, 504):
            self._say("the coordinator is not ready; this site goes on asking")
            return
        raise BadInput(
            f"the coordinator answers {response.status_code}, which no coordinator of this version does; is "
            "HOST:PORT that of hu federate serve?"
        )

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._told(sentence)


def clock_sentence(seconds: float) -> str:
    """What to do about clocks that are apart; `seconds` is how far the site's is ahead.

    >>> clock_sentence(612.4)
    "this machine's clock is 612 s ahead of the coordinator's, so its signatures are refused; set both by NTP"
    """
    where = "ahead of" if seconds > 0 else "behind"
    return (
        f"this machine's clock is {abs(seconds):.0f} s {where} the coordinator's, so its signatures are "
        "refused; set both by NTP"
    )


def _seconds_apart(response: httpx.Response) -> float:
    """How far this machine's clock is ahead of the one that answered."""
    try:
        theirs = parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError):
        return 0.0
    return (_now() - theirs).total_seconds()


def _now() -> datetime:
    return datetime.now(UTC)


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json().get("detail", ""))
    except (ValueError, AttributeError):
        return ""


def _trusting(ca: Path) -> ssl.SSLContext:
    """A TLS context that trusts one authority and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise BadInput(
            "--ca is no certificate in PEM form; ask who runs the coordinator for its ca.crt"
        ) from error
    return context


def _tls_sentence(text: str) -> str:
    if "hostname mismatch" in text or "ip address mismatch" in text:
        return (
            "the coordinator's certificate is for another name than the HOST given; use the name that it was "
            "made for, or have it made again with hu federate serve --host"
        )
    if "expired" in text or "not yet valid" in text:
        return "the coordinator's certificate is not valid now; is this machine's clock right? else renew it"
    if "verify failed" in text or "unknown" in text:
        return (
            "who answers at HOST:PORT has no certificate of the authority in ca.crt; do not go on: ask who "
            "runs the coordinator for its ca.crt and compare"
        )
    return "no TLS connection came about at HOST:PORT; is it that of hu federate serve?"
