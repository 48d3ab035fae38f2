"""The coordinator's door: what Flower's own server would answer to anybody does not exist here."""

from __future__ import annotations

import datetime
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hounsfield.federation.approved import Approved, node_id_of
from hounsfield.federation.door import LARGEST_REQUEST, PATHS, Door, fleet_app
from hounsfield.federation.keys import fingerprint, make_key
from hounsfield.federation.link import Link
from hounsfield.federation.strangers import Strangers


@pytest.fixture(scope="module")
def theirs() -> Any:
    """Flower's own server, as it is begun with keys for its nodes, and a way to ask it."""
    from flwr.superlink.main import create_app
    from starlette.testclient import TestClient

    app = create_app()
    app.state.enable_supernode_auth = True
    return app, TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[Any, Approved, Door, Path]]:
    from starlette.testclient import TestClient

    link, approved = Link(), Approved(tmp_path / "approved.json")
    made = Door(fleet_app(link), link, approved, told=lambda _: None, strangers=Strangers(burst=1000))
    yield TestClient(made, raise_server_exceptions=False), approved, made, tmp_path


PROTOBUF = "application/protobuf"


def _routes(app: Any) -> list[tuple[str, str]]:
    from fastapi.routing import APIRoute, iter_route_contexts

    found = []
    for context in iter_route_contexts(app.routes):
        route = context.route
        path = getattr(context, "path", None) or route.path
        methods = route.methods if isinstance(route, APIRoute) else getattr(route, "methods", None)
        found += [(method, path) for method in methods or ()]
    return found


def test_no_route_of_flowers_own_server_answers_without_an_approved_key(theirs: Any, door: Any) -> None:
    routes = _routes(theirs[0])
    assert {"/docs", "/openapi.json"} <= {path for _, path in routes}
    assert len([path for _, path in routes if path.startswith(("/v1/control", "/v1/runtime"))]) > 40
    for method, path in routes:
        answer = door[0].request(method, path.replace("{", "").replace("}", ""), content=b"")
        fleet = method == "POST" and path in PATHS
        assert answer.status_code == (401 if fleet else 404), (method, path)


def test_flowers_own_server_would_have_answered_so_the_test_can_fail(theirs: Any) -> None:
    from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest, RegisterNodeRequest
    from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes

    public = public_key_to_bytes(generate_key_pairs()[1])
    for path, request in (
        ("list-runs", ListRunsRequest()),
        ("list-nodes", ListNodesRequest()),
        ("register-node", RegisterNodeRequest(public_key=public)),
    ):
        headers = {"content-type": PROTOBUF}
        answer = theirs[1].post(f"/v1/control/{path}", content=request.SerializeToString(), headers=headers)
        assert answer.status_code == 200, (path, answer.text)
    assert theirs[1].get("/docs").status_code == 200


def _signed(
    key: Any, body: Any, *, path: str = "pull-messages", at: float = 0.0, by: Any = None
) -> dict[str, Any]:
    from flwr.supercore.date import now
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

    time = (now() + datetime.timedelta(seconds=at)).isoformat()
    headers = {
        "content-type": PROTOBUF,
        "flwr-public-key": b64encode(public_key_to_bytes(key.public_key())).decode(),
        "flwr-timestamp": time,
        "flwr-signature": b64encode(sign_message(by or key, time.encode())).decode(),
    }
    return {"url": f"/v1/fleet/{path}", "content": body.SerializeToString(), "headers": _named(headers)}


def _named(headers: dict[str, str]) -> dict[str, str]:
    """The headers by the names that this version of Flower gives them."""
    from flwr.common.constant import TIMESTAMP_HEADER
    from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER

    names = {
        "flwr-public-key": FLEET_HTTP_PUBLIC_KEY_HEADER,
        "flwr-timestamp": TIMESTAMP_HEADER,
        "flwr-signature": FLEET_HTTP_SIGNATURE_HEADER,
    }
    return {names.get(name, name): value for name, value in headers.items()}


def _pull(key: Any) -> Any:
    from flwr.proto.fleet_pb2 import PullMessagesRequest
    from flwr.proto.node_pb2 import Node

    return PullMessagesRequest(node=Node(node_id=node_id_of(fingerprint(key.public_key()))))


def test_a_key_is_let_in_when_it_is_approved_and_shut_out_when_it_is_revoked(door: Any) -> None:
    ask, approved, made, place = door
    key = make_key(place / "a")
    its = fingerprint(key.public_key())
    assert ask.post(**_signed(key, _pull(key))).json() == {"detail": "not approved"}
    assert [knock.fingerprint for knock in made.knocks] == [its]
    approved.approve(its, "north")
    assert ask.post(**_signed(key, _pull(key))).status_code == 200
    assert made.knocks == ()
    approved.revoke(its)
    answer = ask.post(**_signed(key, _pull(key)))
    assert (answer.status_code, answer.json()) == (401, {"detail": "revoked"})


def test_an_approved_key_proves_itself_and_speaks_for_itself_only(door: Any) -> None:
    ask, approved, _, place = door
    mine, other = make_key(place / "a"), make_key(place / "b")
    for key in (mine, other):
        approved.approve(fingerprint(key.public_key()))
        assert ask.post(**_signed(key, _pull(key))).status_code == 200
    assert ask.post(**_signed(mine, _pull(mine), by=other)).status_code == 401
    assert ask.post(**_signed(mine, _pull(other))).status_code == 401
    for seconds, allowed in ((4, True), (8, False), (-300, True), (-310, False)):
        answer = ask.post(**_signed(mine, _pull(mine), at=seconds))
        assert (answer.status_code == 200) is allowed, seconds


def test_an_approved_site_cannot_register_others_leave_for_good_or_fetch_code(door: Any) -> None:
    ask, approved, _, place = door
    key = make_key(place / "a")
    approved.approve(fingerprint(key.public_key()))
    for path in ("register-node", "unregister-node", "get-run", "get-fab"):
        assert ask.post(**_signed(key, _pull(key), path=path)).status_code == 404


def test_large_and_unmeasured_requests_are_turned_away_by_their_headers(door: Any) -> None:
    ask, approved, _, place = door
    key = make_key(place / "a")
    approved.approve(fingerprint(key.public_key()))
    request = _signed(key, _pull(key))
    headers = {**request["headers"], "content-length": str(LARGEST_REQUEST + 1)}
    assert ask.post(request["url"], content=request["content"], headers=headers).status_code == 413
    streamed = ask.post(request["url"], content=iter([request["content"]]), headers=request["headers"])
    assert streamed.status_code == 411


def test_what_is_no_key_is_turned_away(door: Any) -> None:
    from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER

    for given in ("", "x", b64encode(b"no key").decode(), "A" * 5000):
        answer = door[0].post("/v1/fleet/pull-messages", headers={FLEET_HTTP_PUBLIC_KEY_HEADER: given})
        assert answer.status_code == 401
