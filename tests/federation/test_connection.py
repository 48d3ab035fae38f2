"""A site's connection: what cannot be mended by waiting ends in one sentence, and the rest is waited for."""

from __future__ import annotations

import datetime
import hashlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federation.serving import serving
from hounsfield.core.errors import BadInput
from hounsfield.federation.approved import Approved
from hounsfield.federation.audit_log import AuditLog, check, entries
from hounsfield.federation.connection import Connection, Turned
from hounsfield.federation.door import Door
from hounsfield.federation.keys import make_authority, make_key
from hounsfield.federation.link import LOST, Link, LinkGrid
from hounsfield.federation.messages import answered_weights, ask_train, refusal_of, vector_of
from hounsfield.federation.node import Node


@dataclass
class Served:
    """A coordinator's door on this machine."""

    folder: Path
    approved: Approved
    link: Link
    door: Door
    port: int
    said: list[str] = field(default_factory=list)

    def site(self, name: str, *, ca: Path | None = None, host: str = "127.0.0.1", key: Any = None) -> Any:
        stop = threading.Event()
        key = key or make_key(self.folder / name)
        log = AuditLog(self.folder / name / "audit.jsonl")
        connection = Connection(
            f"{host}:{self.port}",
            ca or self.folder / "ca.crt",
            key,
            told=self.said.append,
            stop=stop,
            log_head=lambda: log.head,
            keep=self.folder / name / "sent",
        )
        return connection, stop, log


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("coordinator")
    with serving(folder) as made:
        yield Served(folder, made.approved, made.link, made.door, made.port)


def _approve(served: Served, connection: Connection, name: str) -> None:
    served.approved.approve(connection.fingerprint, name)


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "s ahead of"), (-400, "s behind")], ids=["ahead", "behind"]
)
def test_clocks_apart_are_named_with_the_difference(
    served: Served, monkeypatch: pytest.MonkeyPatch, seconds: int, words: str
) -> None:
    import flwr.supernode.node_auth_http_interceptor as signing

    from hounsfield.federation import connection as ours

    connection, *_ = served.site(f"clock{seconds}")
    _approve(served, connection, f"clock {abs(seconds)}")
    real, ours_now = signing.now, ours._now
    monkeypatch.setattr(signing, "now", lambda: real() + datetime.timedelta(seconds=seconds))
    monkeypatch.setattr(ours, "_now", lambda: ours_now() + datetime.timedelta(seconds=seconds))
    with pytest.raises(BadInput) as error:
        connection.enter()
    said = re.search(r"clock is (\d+) (s \w+)", str(error.value))
    assert said is not None and "NTP" in str(error.value)
    assert abs(int(said[1]) - abs(seconds)) <= 3 and words.startswith(said[2])


def test_another_authority_is_named(served: Served, tmp_path: Path) -> None:
    make_authority(tmp_path, ("127.0.0.1",))
    connection, *_ = served.site("wrong-ca", ca=tmp_path / "ca.crt")
    with pytest.raises(BadInput, match="no certificate of the authority"):
        connection.enter()


def test_another_name_than_the_certificates_is_named(served: Served) -> None:
    connection, *_ = served.site("wrong-name", host="localhost")
    with pytest.raises(BadInput, match="another name"):
        connection.enter()


def test_what_is_no_authority_is_named(served: Served, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("hello")
    with pytest.raises(BadInput, match="no certificate in PEM form"):
        served.site("no-ca", ca=tmp_path / "ca.crt")


def test_a_site_waits_for_its_approval_and_says_so_once(served: Served) -> None:
    connection, *_ = served.site("patient")
    entering = threading.Thread(target=connection.enter)
    entering.start()
    time.sleep(1.0)
    said = [s for s in served.said if connection.fingerprint in s]
    assert len(said) == 1 and "not approved yet" in said[0]
    _approve(served, connection, "patient")
    entering.join(timeout=20)
    assert connection.node in served.link.online()
    connection.leave()


def test_a_revoked_site_ends_with_a_sentence_and_its_answer_counts_as_lost(served: Served) -> None:
    connection, stop, log = served.site("revoked")
    _approve(served, connection, "to be revoked")
    ended: list[BaseException] = []

    def slow(message: Any) -> Any:
        served.approved.revoke(connection.fingerprint)
        served.link.remove(connection.fingerprint)
        return answered_weights(message, vector_of(message), {}, n=3)

    def serve() -> None:
        try:
            Node(connection, slow, log, stop=stop).serve()
        except Turned as error:
            ended.append(error)

    running = threading.Thread(target=serve)
    running.start()
    _until(lambda: connection.node in served.link.online())
    ask = ask_train(connection.node, np.zeros(9, np.float32), plan_hash="0", number=1)
    (answer,) = LinkGrid(served.link).send_and_receive([ask], timeout=30)
    assert answer.error.code == LOST and "was shut out" in refusal_of(answer).sentence
    running.join(timeout=20)
    assert len(ended) == 1 and "no longer accepts" in str(ended[0])
    assert entries(log.path)[-1]["details"]["why"] == str(ended[0])


def test_an_answer_comes_back_bit_for_bit_and_is_listed_as_it_left(served: Served) -> None:
    connection, stop, log = served.site("exact")
    _approve(served, connection, "exact")
    drawn = np.random.default_rng(3).normal(size=3_000_000).astype(np.float32)  # three of Flower's pieces

    def answer(message: Any) -> Any:
        return answered_weights(message, vector_of(message) * 2, {"loss": float("nan")}, n=7)

    running = threading.Thread(target=Node(connection, answer, log, stop=stop).serve)
    running.start()
    _until(lambda: connection.node in served.link.online())
    ask = ask_train(connection.node, drawn, plan_hash="0", number=1)
    (got,) = LinkGrid(served.link).send_and_receive([ask], timeout=60)
    assert np.array_equal(vector_of(got), drawn * 2)
    stop.set()
    running.join(timeout=20)
    assert check(log.path).holds
    said, sent = (next(e for e in entries(log.path) if e["what"] == what) for what in ("will send", "sent"))
    weights = next(item for item in said["details"]["items"] if item["name"] == "arrays/weights")
    assert weights["shape"] == [3_000_000]
    carried = sent["details"]["requests"]
    assert 12e6 <= sum(request["bytes"] for request in carried) <= 1.1 * 12e6
    for request in carried:
        kept = (served.folder / "exact" / "sent" / f"{request['sha256']}.bin").read_bytes()
        assert (len(kept), hashlib.sha256(kept).hexdigest()) == (request["bytes"], request["sha256"])
    values = {item["name"]: item.get("value") for item in said["details"]["items"]}
    assert (values["metrics/num-examples"], values["metrics/loss"]) == (7, "nan")
    _nothing_is_kept(served.link)


def test_a_site_that_does_not_answer_in_time_is_not_waited_for(served: Served) -> None:
    connection, *_ = served.site("late")
    _approve(served, connection, "late")
    connection.enter()
    ask = ask_train(connection.node, np.zeros(9, np.float32), plan_hash="0", number=1)
    began = time.monotonic()
    assert list(LinkGrid(served.link).send_and_receive([ask], timeout=0.5)) == []
    assert time.monotonic() - began < 5
    assert connection.receive() is None  # and its question was taken back
    connection.leave()


def test_a_site_that_goes_away_is_given_grace_and_then_counts_as_lost(served: Served) -> None:
    connection, *_ = served.site("gone")
    _approve(served, connection, "gone")
    connection.enter()
    connection.leave()
    ask = ask_train(connection.node, np.zeros(9, np.float32), plan_hash="0", number=1)
    (answer,) = LinkGrid(served.link, grace=0.3).send_and_receive([ask], timeout=30)
    assert answer.error.code == LOST and "went away" in refusal_of(answer).sentence


def _until(happened: Any) -> None:
    ends = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.02)


def _nothing_is_kept(link: Link) -> None:
    """After an answer was taken, neither it nor its question stays in memory."""
    state: Any = link.state
    assert not state.message_ins_store and not state.message_res_store
    assert not [kept for kept in state.object_store.store.values() if len(kept.content) > 1000]


def test_rounds_leave_out_and_name_a_site_of_nan_weights_and_one_that_never_answers(
    served: Served, tmp_path: Path
) -> None:
    from federation.made_sites import ENCODING, plan
    from hounsfield.federation.messages import PROPOSE, accepted
    from hounsfield.federation.proposal import Proposal
    from hounsfield.federation.rounds import Rounds

    def site(answer: Any) -> Any:
        def whole(message: Any) -> Any:
            if message.metadata.message_type == PROPOSE:
                return accepted(message, "", n=9)
            return answered_weights(message, answer(vector_of(message)), {}, n=9)

        return whole

    ended = threading.Event()
    answers = {
        "good": lambda w: w + 1,
        "better": lambda w: w + 2,
        "broken": lambda w: w * np.float32("nan"),
        "silent": lambda w: (ended.wait(60), w)[1],
    }
    nodes, names = [], {}
    for name, answer in answers.items():
        connection, stop, log = served.site(f"of rounds {name}")
        _approve(served, connection, name)
        names[connection.node] = name
        running = threading.Thread(target=Node(connection, site(answer), log, stop=stop).serve, daemon=True)
        running.start()
        nodes.append((running, stop))
    _until(lambda: set(names) <= set(served.link.online()))
    proposal = Proposal(plan(rounds=1, round_minutes=0.15), ENCODING)
    done = Rounds(LinkGrid(served.link), proposal, tmp_path, names=names).run(np.zeros(5, np.float32))
    (told,) = done.history
    assert np.array_equal(done.weights, np.full(5, 1.5, np.float32))
    assert list(told["left_out"]) == ["broken"] and "not finite" in told["left_out"]["broken"]
    assert told["late"] == ["silent"]
    ended.set()
    for running, stop in nodes:
        stop.set()
        running.join(timeout=20)


def test_a_site_that_ends_while_the_coordinator_is_away_ends_quietly(tmp_path: Path) -> None:
    make_authority(tmp_path, ("127.0.0.1",))
    stop = threading.Event()
    stop.set()
    connection = Connection(
        "127.0.0.1:1", tmp_path / "ca.crt", make_key(tmp_path / "site"), told=lambda _: None, stop=stop
    )
    connection.enter()
    connection.enter()  # as after a coordinator that was away, whose site has been told to end
    assert connection.receive() is None
