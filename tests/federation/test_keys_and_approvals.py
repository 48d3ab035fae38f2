"""Keys, certificates and approvals in their folders."""

from __future__ import annotations

import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hounsfield.core.errors import BadInput
from hounsfield.federation.approved import Approved, node_id_of
from hounsfield.federation.coordinator import SiteNames
from hounsfield.federation.keys import fingerprint, load_key, make_authority, make_key, require_valid


def test_a_sites_key_is_its_owners_alone_and_is_found_again(tmp_path: Path) -> None:
    made = make_key(tmp_path)
    assert stat.S_IMODE((tmp_path / "site.key").stat().st_mode) == 0o600
    assert fingerprint(load_key(tmp_path).public_key()) == fingerprint(made.public_key())
    with pytest.raises(BadInput, match="already"):
        make_key(tmp_path)
    (tmp_path / "site.key").chmod(0o644)
    with pytest.raises(BadInput, match="may be read by others"):
        load_key(tmp_path)


def test_a_fingerprint_is_what_openssl_says_of_the_public_key(tmp_path: Path) -> None:
    made = make_key(tmp_path)
    der = ["openssl", "pkey", "-pubin", "-in", str(tmp_path / "site.pub"), "-outform", "DER"]
    try:
        raw = subprocess.run(der, check=True, capture_output=True).stdout
    except FileNotFoundError:
        pytest.skip("no openssl here")
    said = subprocess.run(["openssl", "sha256", "-r"], input=raw, check=True, capture_output=True).stdout
    assert fingerprint(made.public_key()) == f"sha256:{said.split()[0].decode()}"


def test_what_is_no_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="hu site init"):
        load_key(tmp_path)
    (tmp_path / "site.key").write_text("hello")
    (tmp_path / "site.key").chmod(0o600)
    with pytest.raises(BadInput, match="no key of hu site init"):
        load_key(tmp_path)


def test_a_certificate_that_holds_no_more_or_not_yet_is_named(tmp_path: Path) -> None:
    make_authority(tmp_path, ("example.org", "192.0.2.1"))
    path, now = tmp_path / "server.crt", datetime.now(UTC)
    assert require_valid(path) == 824
    with pytest.raises(BadInput, match="expired 5 days ago"):
        require_valid(path, now=now + timedelta(days=830))
    with pytest.raises(BadInput, match="only from later on"):
        require_valid(path, now=now - timedelta(days=1))
    with pytest.raises(BadInput, match="no certificate"):
        require_valid(tmp_path / "server.key")
    kept = path.read_bytes()
    make_authority(tmp_path, ("other.org",))
    assert path.read_bytes() == kept


def test_approvals_are_seen_by_another_process_and_may_be_taken_back(tmp_path: Path) -> None:
    one, two = Approved(tmp_path / "approved.json"), Approved(tmp_path / "approved.json")
    key = "sha256:" + "ab" * 32
    assert one.standing(key) == two.standing(key) == "unknown"
    one.approve(key.upper(), "north")
    assert two.standing(key) == "approved"
    two.revoke(key)
    assert one.standing(key) == "revoked"
    one.approve(key, "north")
    assert two.standing(key) == "approved"


@pytest.mark.parametrize("given", ["", "sha256:12", "ab" * 33, "zz" * 32, "md5:" + "ab" * 32])
def test_what_is_no_fingerprint_is_named(tmp_path: Path, given: str) -> None:
    with pytest.raises(BadInput, match="64 hexadecimal digits"):
        Approved(tmp_path / "approved.json").approve(given)


def test_two_sites_do_not_share_a_name_and_names_are_plain(tmp_path: Path) -> None:
    sites = Approved(tmp_path / "approved.json")
    sites.approve("ab" * 32, "north")
    with pytest.raises(BadInput, match="already called"):
        sites.approve("cd" * 32, "north")
    with pytest.raises(BadInput, match="may not have"):
        sites.approve("cd" * 32, "a/../b")
    with pytest.raises(BadInput, match="no site with this fingerprint"):
        sites.revoke("ef" * 32)


def test_sites_are_named_as_they_are_approved_now(tmp_path: Path) -> None:
    sites = Approved(tmp_path / "approved.json")
    names = SiteNames(sites)
    assert dict(names) == {}
    for digits, name in (("ab", "north"), ("cd", "south")):
        sites.approve(digits * 32, name)
    north, south = (node_id_of(f"sha256:{digits * 32}") for digits in ("ab", "cd"))
    assert dict(names) == {north: "north", south: "south"}
    sites.revoke("ab" * 32)
    assert list(names) == [south] and len(names) == 1 and names[north] == "north"


def test_a_sites_number_follows_from_its_key_alone() -> None:
    numbers = {node_id_of(f"sha256:{n:064x}") for n in range(1000)}
    assert len(numbers) == 1000 and all(1 < n < 2**63 for n in numbers)
