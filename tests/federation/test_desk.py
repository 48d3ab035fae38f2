"""The coordinator's folder: orders, approvals and what is said of them, without any server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Federation, Plan
from hounsfield.federation.audit_log import NAME, check, entries
from hounsfield.federation.desk import Order, Run, Status, leave_order, run_folder, take_order
from hounsfield.federation.party_folder import alone, is_held
from phantoms import hu

KEY = "sha256:" + "ab" * 32


def test_an_order_is_taken_once_and_only_a_serving_coordinator_is_given_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="begin hu federate serve"):
        leave_order(tmp_path, Order("run", "one"))
    with alone(tmp_path):
        assert is_held(tmp_path)
        leave_order(tmp_path, Order("run", "one"))
        with pytest.raises(BadInput, match="has not taken the last order"):
            leave_order(tmp_path, Order("run", "two"))
        assert take_order(tmp_path) == Order("run", "one")
        assert take_order(tmp_path) is None
    assert not is_held(tmp_path)


def test_a_damaged_order_is_no_order(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text("{")
    assert take_order(tmp_path) is None
    assert not (tmp_path / "order.json").exists()


def test_one_process_holds_a_folder(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(BadInput, match="another process"), alone(tmp_path):
        pass


def test_the_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert Status.read(tmp_path) == Status()
    status = Status("h", 1, "t", ({"name": "a"},), (), Run("one", "running", "round 1", 3))
    status.write(tmp_path)
    assert Status.read(tmp_path) == status
    (tmp_path / "status.json").write_text("[]")
    with pytest.raises(BadInput, match="damaged"):
        Status.read(tmp_path)


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 61])
def test_a_run_cannot_lie_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="odd characters"):
        run_folder(tmp_path, name)


def test_hu_federate_approves_revokes_and_writes_it_down(tmp_path: Path) -> None:
    folder = ("--folder", tmp_path)
    assert "north may come in" in hu("federate", "approve", KEY, "--name", "north", *folder).out
    assert "north is shut out" in hu("federate", "approve", KEY, "--revoke", *folder).out
    said = hu("federate", "approve", "sha256:12", *folder)
    assert (said.code, "64 hexadecimal digits" in said.said) == (3, True)
    assert [e["what"] for e in entries(tmp_path / NAME)] == ["approved", "revoked"]
    assert check(tmp_path / NAME).holds


def test_hu_federate_run_and_resume_say_what_is_missing(tmp_path: Path) -> None:
    folder, plan = ("--folder", tmp_path / "c"), tmp_path / "plan.json"
    plan.write_text(Plan().to_json())
    for words, expected in (
        (("run", tmp_path / "none.json"), "PLAN is not a file"),
        (("run", plan), "set federation.strategy"),
        (("run", plan, "federation.strategy=fedavg"), "no coordinator serves this folder"),
        (("resume",), "no such run"),
    ):
        said = hu("federate", *words, *folder)
        assert said.code == 3 and expected in said.said, said
    with alone(tmp_path / "c"):
        Status(run=Run("one", "running", "", 1)).write(tmp_path / "c")
        said = hu("federate", "run", plan, "federation.strategy=fedavg", *folder)
        assert said.code == 3 and "a run is going on" in said.said
        Status(run=Run("one", "finished", "", 1)).write(tmp_path / "c")
        said = hu("federate", "run", plan, "federation.strategy=fedavg", "--detach", "--name", "two", *folder)
        assert said.code == 0, said
    assert take_order(tmp_path / "c") == Order("run", "two")
    kept = Plan.from_json((tmp_path / "c" / "runs" / "two" / "plan.json").read_text())
    assert kept.federation == Federation(strategy="fedavg")


def test_hu_federate_status_says_who_is_there(tmp_path: Path) -> None:
    site = {"name": "north", "fingerprint": KEY, "state": "there"}
    Status("h", 9092, "t", (site,), ({"fingerprint": "sha256:" + "cd" * 32, "seen": "t"},)).write(tmp_path)
    assert "no coordinator serves" in hu("federate", "status", "--folder", tmp_path).out
    with alone(tmp_path):
        said = hu("federate", "status", "--folder", tmp_path).out
        assert "north" in said and "there" in said and "asks to be let in" in said
        assert json.loads(hu("federate", "status", "--folder", tmp_path, "--json").out)["served"] is True


def test_hu_site_init_makes_a_key_and_prints_its_fingerprint(tmp_path: Path) -> None:
    from hounsfield.federation.keys import fingerprint, load_key, make_authority

    make_authority(tmp_path, ("example.org",))
    words = ("site", "init", "--ca", tmp_path / "ca.crt", "--folder", tmp_path / "site", "--server")
    for server in ("example.org", "example.org:0", "https://example.org:9092", ":9092", "a:b"):
        assert "not HOST:PORT" in hu(*words, server).said
    said = hu(*words, "example.org:9092")
    assert said.code == 0 and fingerprint(load_key(tmp_path / "site").public_key()) in said.out
    assert "already" in hu(*words, "example.org:9092").said
    assert "no site's key" in hu("site", "start", "--data", tmp_path, "--folder", tmp_path / "no").said
