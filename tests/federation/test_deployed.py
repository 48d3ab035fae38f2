"""A coordinator and sites as processes: rounds over TLS, any of them killed, no other host called."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from federation.deployed import Federation, expected
from hounsfield.federation.audit_log import NAME, check, entries


@pytest.fixture
def place(tmp_path: Path) -> Iterator[list[Federation]]:
    """Federations to be ended with the test."""
    begun: list[Federation] = []
    yield begun
    for federation in begun:
        federation.end()


def test_rounds_survive_the_end_of_every_party_and_end_at_the_same_weights(
    tmp_path: Path, place: list[Federation]
) -> None:
    federation = Federation(tmp_path, sites=2, rounds={"rounds": 5}, seconds=0.3)
    place.append(federation)
    federation.begin_all()
    federation.order()
    federation.until(lambda: federation.checkpoint()["round"] >= 1)
    federation.kill("site-1")
    federation.begin("site-1")
    federation.until(lambda: federation.checkpoint()["round"] >= 2)
    done = federation.checkpoint()["round"]
    federation.kill("coordinator")
    assert federation.checkpoint()["round"] >= done
    federation.begin("coordinator")
    federation.until(lambda: federation.served and federation.status.run.state == "interrupted")
    federation.order("resume")
    federation.until(federation.finished)
    assert np.array_equal(np.array(federation.checkpoint()["vector"], np.float32), expected(2, 5))
    _nothing_left_but_what_was_listed(federation)


def test_no_party_calls_another_host(tmp_path: Path, place: list[Federation]) -> None:
    federation = Federation(tmp_path, sites=2, rounds={"rounds": 1}, connects=True)
    place.append(federation)
    federation.begin_all()
    federation.order()
    federation.until(federation.finished)
    federation.end()
    _only_the_coordinator_is_called(federation)


def _nothing_left_but_what_was_listed(federation: Federation) -> None:
    """Every log holds; what a site said that it would send is what the coordinator wrote that it got."""
    got = [e["details"] for e in entries(federation.coordinator / NAME) if e["what"] == "answered"]
    assert got
    for site in ("site-0", "site-1"):
        log = federation.place / site / NAME
        assert all("unfinished" in fault for fault in check(log).faults)
        said = {e["details"]["message"]: e["details"] for e in entries(log) if e["what"] == "will send"}
        heads = {e["hash"] for e in entries(log)}
        for answer in (a for a in got if a["site"] == site):
            items = [{k: v for k, v in i.items() if k != "value"} for i in said[answer["message"]]["items"]]
            assert items == answer["items"]
            assert answer["site_log_head"] in heads
    assert check(federation.coordinator / NAME).holds


def _only_the_coordinator_is_called(federation: Federation) -> None:
    """Each site connected to the coordinator's one port; the coordinator connected to nobody."""
    lines = [(federation.place / f"site-{n}.connects").read_text().splitlines() for n in range(2)]
    called = [{tuple(json.loads(line)) for line in of_site} for of_site in lines]
    assert called == [{("127.0.0.1", str(federation.port))}] * 2
    assert not (federation.place / "coordinator.connects").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(10))
def test_fifty_random_ends_of_any_process_change_nothing(
    tmp_path: Path, place: list[Federation], seed: int
) -> None:
    """Five ends in each of ten runs, at random moments, of a random process."""
    drawn = random.Random(seed)
    federation = Federation(tmp_path, sites=3, rounds={"rounds": 8}, seconds=0.2)
    place.append(federation)
    federation.begin_all()
    federation.order()
    for _ in range(5):
        name = drawn.choice(["coordinator", "site-0", "site-1", "site-2"])
        federation.until(lambda: federation.status.run.state in ("running", "finished"))
        wait = drawn.uniform(0, 2)
        before = federation.checkpoint()["round"]
        federation.until(_passed(wait))
        federation.kill(name)
        federation.begin(name)
        if name == "coordinator":
            assert federation.checkpoint()["round"] >= before
            federation.until(lambda: federation.served and not federation.status.run.on)
            if federation.status.run.state != "finished":
                federation.order("resume")
                federation.until(lambda: federation.status.run.state in ("running", "finished"))
    federation.until(federation.finished, seconds=200)
    assert np.array_equal(np.array(federation.checkpoint()["vector"], np.float32), expected(3, 8))


def _passed(seconds: float):  # type: ignore[no-untyped-def]
    import time

    ends = time.monotonic() + seconds
    return lambda: time.monotonic() >= ends


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_on_two_hosts_only_the_sites_open_connections_and_only_to_one_port(tmp_path: Path) -> None:
    """Seen on the cable itself, frame by frame."""
    apart = ["unshare", "--user", "--map-root-user", "--net"]
    if shutil.which("ip") is None or subprocess.run([*apart, "ip", "link"], capture_output=True).returncode:
        pytest.skip("this system does not let a user make network namespaces, or has no ip command")
    program = Path(__file__).with_name("two_hosts.py")
    found = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run(
        [*apart, sys.executable, program, tmp_path], capture_output=True, timeout=250, env=found
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    seen = json.loads(done.stdout)
    assert seen["opened"] == [["10.77.0.2", "10.77.0.1", seen["port"]]]
    assert seen["others"] == []
