"""A signature holds for the files that were signed; it names what changed, what is missing and who signed."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Evidence
from hounsfield.steps.canonical import canonical
from hounsfield.steps.report import report
from hounsfield.steps.signature import PURPOSE, SIGNATURE, resealed, sign, verify
from hounsfield.steps.signing_key import own_fingerprint, own_key, wanted_fingerprint

FILES = (
    "evidence.json",
    "report.html",
    "plan.json",
    "predictions.csv",
    "model/model.json",
    "model/m.safetensors",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "hounsfield"


@pytest.fixture
def run(tmp_path: Path, home: Path) -> Path:
    folder = tmp_path / "run"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    sign(folder, own_key())
    return folder


def _other_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody else"))
    return own_key()


def test_what_was_signed_holds_and_names_its_signer(run: Path) -> None:
    verdict = verify(run)
    assert verdict.holds and verdict.is_own and set(verdict.intact) == set(FILES)
    assert verdict.signer == own_fingerprint() and verdict.time.endswith("Z")
    assert verify(run, key=verdict.signer).holds


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_named(run: Path, name: str) -> None:
    content = bytearray((run / name).read_bytes())
    content[3] ^= 1
    (run / name).write_bytes(content)
    verdict = verify(run)
    assert not verdict.holds and verdict.changed == (name,) and not verdict.missing


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    assert verify(run).missing == (name,) and not verify(run).holds


@pytest.mark.parametrize("key", ["time", "files", "fingerprint", "public_key", "signature", "algorithm"])
def test_a_change_of_the_statement_does_not_hold(run: Path, key: str) -> None:
    statement = json.loads((run / SIGNATURE).read_text())
    changed = {
        "time": "2001-01-01T00:00:00Z", "files": {"evidence.json": "0" * 64},
        "fingerprint": "sha256:" + "0" * 64,
        "public_key": base64.b64encode(bytes(32)).decode(), "signature": base64.b64encode(bytes(64)).decode(),
        "algorithm": "none",
    }  # fmt: skip
    (run / SIGNATURE).write_text(json.dumps({**statement, key: changed[key]}))
    assert verify(run).faults and not verify(run).holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "not json",
        '{"format": 1}',
        "[" * 100_000,
        '{"format": 2, "files": {}}',
        "\ud800",
    ],
)
def test_what_is_no_signature_does_not_hold(run: Path, text: str) -> None:
    (run / SIGNATURE).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert not verify(run).holds and verify(run).faults


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "model/../../x", "a\x1b[2Jb", ""])
def test_a_statement_about_files_elsewhere_is_refused(run: Path, name: str) -> None:
    statement = json.loads((run / SIGNATURE).read_text())
    statement["files"][name] = "0" * 64
    (run / SIGNATURE).write_text(json.dumps(statement))
    assert not verify(run).holds


def test_somebody_elses_signature_is_told_from_the_expected(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = own_fingerprint()
    (run / "predictions.csv").write_text("better numbers")
    (run / SIGNATURE).unlink()
    sign(run, _other_key(tmp_path, monkeypatch))
    assert verify(run).holds and not verify(run, key=mine).holds
    assert mine in verify(run, key=mine).faults[0] and verify(run).signer in verify(run, key=mine).faults[0]


def test_signing_again_keeps_who_signed_first_and_does_not_cover_up(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = verify(run)
    (run / "report.html").write_text("drawn again, with answers")
    sign(run, _other_key(tmp_path, monkeypatch))
    again = verify(run)
    assert again.holds and again.first == (first.signer, first.time) and again.signer != first.signer
    (run / "evidence.json").write_text("other numbers")
    sign(run, own_key())
    assert not verify(run).holds and "evidence.json" in verify(run).faults[0]


def test_a_file_that_is_left_out_when_signing_again_is_missed(run: Path) -> None:
    (run / "predictions.csv").unlink()
    sign(run, own_key())
    assert "predictions.csv" in verify(run).faults[0]


def test_a_step_that_writes_the_model_anew_keeps_the_run_signed(run: Path) -> None:
    with resealed(run, "model/model.json"):
        (run / "model" / "model.json").write_text("with ONNX forms")
        (run / "model" / "m.onnx").write_text("a form")
    verdict = verify(run)
    assert verdict.holds and verdict.rewritten == ("model/model.json",) and "model/m.onnx" in verdict.intact
    (run / "evidence.json").write_text("changed by a person")
    with resealed(run, "model/model.json"):
        (run / "model" / "model.json").write_text("again")
    assert set(verify(run).changed) == {"evidence.json", "model/model.json"}


def test_a_later_file_in_the_model_folder_is_named_but_breaks_nothing(run: Path) -> None:
    (run / "model" / "extra.onnx").write_text("exported by hand")
    assert verify(run).holds and verify(run).uncovered == ("model/extra.onnx",)


def test_private_files_may_stay_with_the_data_but_not_change(run: Path) -> None:
    (run / "private").mkdir()
    (run / "private" / "pictures.json").write_text("{}")
    sign(run, own_key())
    (run / "private" / "pictures.json").write_text("[]")
    assert verify(run).changed == ("private/pictures.json",)
    shutil.rmtree(run / "private")
    assert verify(run).holds and verify(run).apart == ("private/pictures.json",)


def test_a_run_without_a_signature_says_so(run: Path, tmp_path: Path) -> None:
    (run / SIGNATURE).unlink()
    with pytest.raises(BadInput, match="not signed"):
        verify(run)
    (run / "report.html").write_text('<p data-signed="sha256:00">')
    with pytest.raises(BadInput, match="missing, although the report says"):
        verify(run)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="finished run"):
        verify(tmp_path / "empty")


def test_openssl_finds_the_signature_right(run: Path, home: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    statement = json.loads((run / SIGNATURE).read_text())
    (tmp_path / "sig").write_bytes(base64.b64decode(statement.pop("signature")))
    (tmp_path / "said").write_bytes(PURPOSE + canonical(statement))
    command = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        str(home / "signing-key.pub.pem"),
        "-rawin",
    ]
    ended = subprocess.run(
        [*command, "-in", tmp_path / "said", "-sigfile", tmp_path / "sig"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout


def test_the_private_key_is_the_users_alone_and_never_in_a_run(run: Path, home: Path) -> None:
    secret = (home / "signing-key.pem").read_bytes()
    assert stat.S_IMODE((home / "signing-key.pem").stat().st_mode) == 0o600
    assert sorted(p.name for p in home.iterdir()) == ["signing-key.pem", "signing-key.pub.pem"]
    raw = own_key().private_bytes_raw()
    for path in (p for p in run.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert raw not in content and base64.b64encode(raw) not in content and secret not in content


def test_a_key_that_others_may_read_is_not_used(run: Path, home: Path, tmp_path: Path) -> None:
    (home / "signing-key.pem").chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        own_key()
    page = report(Evidence("Bare"), (), tmp_path / "other").read_text()
    assert "Not signed." in page and "chmod 600" in page and not (tmp_path / "other" / SIGNATURE).exists()


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_broken_key_leaves_the_report_unsigned_and_is_not_replaced(
    home: Path, tmp_path: Path, content: bytes
) -> None:
    home.mkdir(parents=True)
    (home / "signing-key.pem").write_bytes(content)
    (home / "signing-key.pem").chmod(0o600)
    page = report(Evidence("Bare"), (), tmp_path / "run").read_text()
    assert "Not signed." in page and (home / "signing-key.pem").read_bytes() == content


def test_a_home_that_cannot_be_written_leaves_the_report_unsigned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("where the folder should be")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    page = report(Evidence("Bare"), (), tmp_path / "run").read_text()
    assert "Not signed." in page and "not a directory" in page
    with pytest.raises(BadInput, match="not signed"):
        verify(tmp_path / "run")


def test_a_signature_that_cannot_be_written_does_not_fail_the_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run" / SIGNATURE).mkdir(parents=True)
    page = report(Evidence("Bare"), (), tmp_path / "run").read_text()
    assert "Not signed." in page and "sha256:" not in page


def test_who_begins_together_makes_one_key(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: own_key().private_bytes_raw(), range(16)))
    assert len(set(made)) == 1
    assert sorted(p.name for p in home.iterdir()) == ["signing-key.pem", "signing-key.pub.pem"]


def test_the_key_that_is_expected_may_be_named_in_several_ways(run: Path, home: Path, tmp_path: Path) -> None:
    mine = verify(run).signer
    spaced = mine.removeprefix("sha256:").upper()
    for given in (mine, mine.upper(), spaced, " ".join(spaced), str(home / "signing-key.pub.pem")):
        assert wanted_fingerprint(given) == mine


def test_a_private_key_is_refused_as_the_expected_one_and_not_shown(
    run: Path, home: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="private key") as told:
        wanted_fingerprint(str(home / "signing-key.pem"))
    assert (home / "signing-key.pem").read_text().splitlines()[1] not in str(told.value)
    (tmp_path / "text").write_text("hello")
    for given in (str(tmp_path / "text"), "sha256:1234", "somebody", ""):
        with pytest.raises(BadInput):
            wanted_fingerprint(given)
