"""Hospitals as they would do it: the commands, each a process, over TLS, from images to a model."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.federation.audit_log import NAME, check, entries
from phantoms import pictures, write_png

PLAN = {
    "input": {"size": [1, 16, 16]},
    "network": {"name": "compact", "width": 8, "depth": 2},
    "fit": {"epochs": 2, "batch_size": 8, "learning_rate": 0.01},
    "federation": {
        "strategy": "fedavg",
        "rounds": 3,
        "smallest_sites": 2,
        "smallest_n": 5,
        "round_minutes": 5,
    },
    "device": "cpu",
    "threads": 1,
}
SIZES = {"north": 24, "south": 20, "east": 16, "west": 14}


class Hospital:
    """The commands, each in its own process; what was begun is ended by its process number."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.begun: dict[str, subprocess.Popen[bytes]] = {}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def hu(self, *words: str, fails: int = 0) -> str:
        done = subprocess.run(_words(*words), cwd=self.place, env=_env(), capture_output=True, timeout=200)
        assert done.returncode == fails, (words, done.stdout.decode(), done.stderr.decode())
        return done.stdout.decode() + done.stderr.decode()

    def begin(self, name: str, *words: str) -> None:
        with (self.place / f"{name}.out").open("ab") as out:
            self.begun[name] = subprocess.Popen(
                _words(*words), cwd=self.place, env=_env(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def said(self, name: str) -> str:
        return (self.place / f"{name}.out").read_text()

    def until(self, name: str, pattern: str, *, seconds: float = 240) -> re.Match[str]:
        ends = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.said(name)) if (self.place / f"{name}.out").exists() else None
            if found:
                return found
            over = self.begun[name].poll() is not None or time.monotonic() > ends
            assert not over, {p.name: p.read_text()[-2000:] for p in self.place.glob("*.out")}
            time.sleep(0.2)

    def end(self) -> None:
        for process in self.begun.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self.begun.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _words(*words: str) -> list[str]:
    return [sys.executable, "-m", "hounsfield.cli.main", *words]


def _env() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    made = Hospital(tmp_path)
    yield made
    made.end()


def _images(place: Path, n: int, seed: int) -> None:
    answers = [k % 2 for k in range(n)]
    for k, (answer, image) in enumerate(zip(answers, pictures(answers, seed=seed), strict=True)):
        write_png(place / ("benign", "malignant")[answer] / f"{k:03}.png", image)


def _joined(hospital: Hospital, name: str, n: int, seed: int, **policy: Any) -> None:
    """A site joins: init, telling its fingerprint, start."""
    _images(hospital.place / f"images-{name}", n, seed)
    ca = str(hospital.place / "coordinator" / "ca.crt")
    said = hospital.hu("site", "init", "--server", f"127.0.0.1:{hospital.port}", "--ca", ca, "--folder", name)
    (fingerprint,) = re.findall(r"sha256:[0-9a-f]{64}", said)
    if policy:
        (hospital.place / name / "policy.json").write_text(json.dumps(policy))
    hospital.hu("federate", "approve", fingerprint, "--name", name)
    hospital.begin(
        name,
        *("site", "start", "--data", f"images-{name}", "--folder", name, "--one-image-per-patient"),
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"secure_aggregation": True},
        {"secure_aggregation": True, "epsilon": 50.0, "delta": 1e-3},
    ],
    ids=["plain", "unseen", "unseen-and-private"],
)
def test_four_hospitals_train_a_model_and_no_image_leaves(hospital: Hospital, more: dict[str, Any]) -> None:
    plan = {**PLAN, "federation": {**PLAN["federation"], **more}}  # type: ignore[dict-item]
    (hospital.place / "plan.json").write_text(json.dumps(plan))
    port = str(hospital.port)
    hospital.begin("serve", "federate", "serve", "--host", "127.0.0.1", "--port", port)
    hospital.until("serve", r"listening on 127\.0\.0\.1")
    for seed, (name, n) in enumerate(SIZES.items()):
        _joined(hospital, name, n, seed)
    for name in SIZES:
        hospital.until(name, "connected; waiting")
    hospital.begin("run", "federate", "run", "plan.json", "--name", "first")
    for name in SIZES:
        digits = hospital.until(name, r"hu site accept ([0-9a-f]{16})")[1]
        hospital.hu("site", "accept", digits, "--folder", name)
    hospital.until("run", "finished: 3 rounds; 4 sites evaluated in counts")
    assert hospital.begun["run"].wait(timeout=20) == 0
    _the_model_can_be_used(hospital)
    _nothing_but_weights_and_counts_left(hospital)
    assert "run first: finished" in hospital.hu("federate", "status")
    run = hospital.place / "coordinator" / "runs" / "first"
    assert "Sites that learned together" in (run / "report.html").read_text()


def _the_model_can_be_used(hospital: Hospital) -> None:
    run = hospital.place / "coordinator" / "runs" / "first"
    _images(hospital.place / "new", 8, 99)
    hospital.hu("predict", str(run), "new", "--out", "scores")
    assert len((hospital.place / "scores" / "predictions.csv").read_text().splitlines()) == 9


def _nothing_but_weights_and_counts_left(hospital: Hospital) -> None:
    """Every site's log holds and lists only what such a plan may send: no array that could be images."""
    for name in SIZES:
        log = hospital.place / name / NAME
        assert check(log).holds
        assert f"audit log: {check(log).lines} lines" in hospital.hu("verify", name)
        left = [i for e in entries(log) if e["what"] == "will send" for i in e["details"]["items"]]
        left = [item for item in left if item["kind"] != "error"]
        assert {i["name"].split("/")[0] for i in left} <= {"arrays", "config", "metrics", "counts", "secagg"}
        pixels = [i for i in left if len(i["shape"]) > 1 and int(np.prod(i["shape"])) >= 16 * 16]
        assert not [i for i in pixels if not i["name"].startswith("counts/")]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hospital_that_does_not_want_a_plan_is_left_out_and_named(hospital: Hospital) -> None:
    (hospital.place / "plan.json").write_text(json.dumps(PLAN))
    hospital.begin("serve", "federate", "serve", "--host", "127.0.0.1", "--port", str(hospital.port))
    hospital.until("serve", r"listening on 127\.0\.0\.1")
    _joined(hospital, "north", 24, 0)
    _joined(hospital, "south", 20, 1, most_rounds=2)
    for name in ("north", "south"):
        hospital.until(name, "connected; waiting")
    hospital.begin("run", "federate", "run", "plan.json", "--name", "first")
    digits = hospital.until("north", r"hu site accept ([0-9a-f]{16})")[1]
    hospital.hu("site", "accept", digits, "--folder", "north")
    hospital.until("run", "south does not take part: this site takes part in 2 rounds at most")
    assert hospital.begun["run"].wait(timeout=60) == 4
    (hospital.place / "south" / "policy.json").write_text("{}")
    hospital.begun["south"].terminate()
    hospital.begun["south"].wait(timeout=20)
    words = ("--data", "images-south", "--folder", "south", "--one-image-per-patient", "--accept", digits)
    hospital.begin("south", "site", "start", *words)
    hospital.begin("resume", "federate", "resume")
    hospital.until("resume", "finished: 3 rounds; 2 sites evaluated in counts")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_through_killed_processes_ends_at_the_weights_of_an_undisturbed_one(hospital: Hospital) -> None:
    plan = {**PLAN, "federation": {**PLAN["federation"], "rounds": 6}}  # type: ignore[dict-item]
    (hospital.place / "plan.json").write_text(json.dumps(plan))
    words = ("federate", "serve", "--host", "127.0.0.1", "--port", str(hospital.port))
    hospital.begin("serve", *words)
    hospital.until("serve", r"listening on 127\.0\.0\.1")
    for seed, name in enumerate(("north", "south")):
        _joined(hospital, name, SIZES[name], seed)
        hospital.until(name, "connected; waiting")
    hospital.begin("first", "federate", "run", "plan.json", "--name", "first")
    for name in ("north", "south"):
        digits = hospital.until(name, r"hu site accept ([0-9a-f]{16})")[1]
        hospital.hu("site", "accept", digits, "--folder", name)
    hospital.until("first", "finished: 6 rounds")
    hospital.begin("second", "federate", "run", "plan.json", "--name", "second")
    hospital.until("second", "round 1 of 6")
    hospital.begun["north"].kill()
    hospital.begun["north"].wait()
    again = ("site", "start", "--data", "images-north", "--folder", "north", "--one-image-per-patient")
    hospital.begin("north", *again)
    hospital.until("second", "round 2 of 6")
    hospital.begun["serve"].kill()
    hospital.begun["serve"].wait()
    hospital.begin("serve", *words)
    hospital.until("serve", "run second is unfinished")
    hospital.begin("resume", "federate", "resume")
    hospital.until("resume", "finished: 6 rounds")
    first, second = (_weights(hospital, name) for name in ("first", "second"))
    assert np.array_equal(first, second)
    assert check(hospital.place / "coordinator" / NAME).holds


def _weights(hospital: Hospital, run: str) -> np.ndarray:
    from hounsfield.federation.kept_rounds import kept

    found = kept(hospital.place / "coordinator" / "runs" / run)
    assert found is not None and found.round == 6
    return found.weights
