"""A run killed at any point goes on to the same weights, byte for byte; nothing else may be resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from phantoms import TINY, Outcome, folder_of, hu, write_npz

EPOCHS = 6
LONG = (*TINY, f"fit.epochs={EPOCHS}")


def _train(source: Path, out: Path, *more: str) -> Outcome:
    return hu("train", source, "--out", out, *LONG, *more)


def _weights(run: Path) -> list[bytes]:
    return [p.read_bytes() for p in sorted((run / "model").glob("member-*.safetensors"))]


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _killed(source: Path, out: Path, *more: str, when: Callable[[], bool]) -> None:
    """Start `hu train` in a process group of its own and kill the whole group as soon as `when` is true."""
    command = [
        sys.executable,
        "-m",
        "hounsfield.cli.main",
        "train",
        str(source),
        "--out",
        str(out),
        *LONG,
        *more,
    ]
    process = subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 120
        while not when():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def source() -> Path:
    return write_npz(folder_of("resume") / "s.npz", n=48, test=24)


@pytest.fixture(scope="module")
def whole(source: Path) -> list[bytes]:
    """The weights of a run that nobody disturbed."""
    out = source.parent / "whole"
    ended = _train(source, out)
    assert ended.code == 0, ended.err
    return _weights(out)


def _plain_rerun_says_resume(source: Path, out: Path) -> None:
    before = _tree(out)
    again = _train(source, out)
    assert again.code == 3 and "go on with --resume" in again.said and _tree(out) == before


@pytest.fixture(scope="module")
def killed(source: Path) -> Path:
    """A run that was killed while its first member was at work."""
    out = source.parent / "killed"
    _killed(source, out, when=(out / "work" / "member-0" / "checkpoint.safetensors").exists)
    assert not (out / "report.html").exists()
    return out


def test_an_interrupted_run_goes_on_to_the_same_weights_and_to_nothing_else(
    source: Path, whole: list[bytes], killed: Path
) -> None:
    _plain_rerun_says_resume(source, killed)
    before = _tree(killed)
    other = write_npz(source.parent / "other.npz", n=48, test=24, seed=5)  # the same answers, other pixels
    for wrong in (
        _train(other, killed, "--resume"),
        _train(write_npz(source.parent / "fewer.npz", n=40, test=24), killed, "--resume"),
        _train(source, killed, "--resume", "fit.learning_rate=0.5"),
        _train(source, killed, "--resume", "--plan", "article-a"),
    ):
        assert wrong.code == 3 and "--resume was given" in wrong.said and "was begun with" in wrong.said
        kept = {k: v for k, v in _tree(killed).items() if not k.startswith("cache")}
        assert kept == {k: v for k, v in before.items() if not k.startswith("cache")}
    ended = _train(source, killed, "--resume")
    assert ended.code == 0, ended.err
    assert _weights(killed) == whole
    assert not (killed / "work").exists() and not (killed / "cache").exists()
    finished = _train(source, killed, "--resume")
    assert finished.code == 3 and "is finished" in finished.said and _weights(killed) == whole


@pytest.mark.slow
def test_a_run_killed_before_it_began_can_be_given_either_way(source: Path, whole: list[bytes]) -> None:
    out = source.parent / "early"
    _killed(source, out, when=(out / "cache").exists)
    assert not (out / "state.json").exists()
    ended = _train(source, out, "--resume")
    assert ended.code == 0, ended.err
    assert _weights(out) == whole


def test_members_side_by_side_end_at_the_same_weights_and_die_with_their_parent(
    source: Path, whole: list[bytes]
) -> None:
    out = source.parent / "beside"
    marks = [out / "work" / f"member-{m}" / "checkpoint.safetensors" for m in (0, 1)]
    _killed_parent_only(source, out, marks)
    ended = _train(source, out, "--resume", "threads=2")
    assert ended.code == 0, ended.err
    assert _weights(out) == whole  # one thread each: the same as one after the other


def _killed_parent_only(source: Path, out: Path, marks: list[Path]) -> None:
    """Kill the parent alone; its members must end by themselves."""
    command = [
        sys.executable,
        "-m",
        "hounsfield.cli.main",
        "train",
        str(source),
        "--out",
        str(out),
        *LONG,
        "threads=2",
    ]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while not any(m.exists() for m in marks):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.001)
        members = _members(out)
        assert members
        process.kill()
        process.wait()
        while any(_alive(m) for m in members):
            assert time.monotonic() < deadline, "a member outlived its parent"
            time.sleep(0.01)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _members(out: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"hounsfield.steps.member" in words and str(out / "work").encode() in words:
                found.append(int(entry.name))
    return found


def _alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _begun(source: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "hounsfield", "train", str(source), "--out", str(out), *LONG, *more]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _waited(process: subprocess.Popen[str], when: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not when():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("threads", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_sigterm_saves_and_says_how_to_go_on(source: Path, whole: list[bytes], threads: str) -> None:
    out = source.parent / f"terminated-{threads}"
    process = _begun(source, out, f"threads={threads}")
    _waited(process, (out / "work" / "member-0" / "checkpoint.safetensors").exists)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "stopped by SIGTERM" in said.splitlines()[-1] and "--resume" in said.splitlines()[-1]
    assert not _members(out)
    ended = _train(source, out, "--resume", f"threads={threads}")
    assert ended.code == 0, ended.err
    assert _weights(out) == whole


def test_sigterm_before_anything_is_learned_leaves_nothing(source: Path) -> None:
    out = source.parent / "too-early"
    process = _begun(source, out)
    _waited(process, (out / "cache").exists)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130 and "interrupted" in said.splitlines()[-1]
    assert not out.exists() or (out / "state.json").exists()


def test_a_member_that_dies_is_started_again_and_ends_at_the_same_weights(
    source: Path, whole: list[bytes]
) -> None:
    out = source.parent / "died"
    process = _begun(source, out, "threads=2")
    marks = [out / "work" / f"member-{m}" / "checkpoint.safetensors" for m in (0, 1)]
    _waited(process, lambda: any(m.exists() for m in marks))
    for member in _members(out)[:1]:
        os.kill(member, signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "SIGKILL" in said and "started again from its last checkpoint" in said
    assert _weights(out) == whole


def test_there_must_be_something_to_resume(source: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    for out in (tmp_path / "nothing", tmp_path / "notes"):
        ended = _train(source, out, "--resume")
        assert ended.code == 3 and "holds no interrupted run" in ended.said
    assert not (tmp_path / "nothing").exists() and (tmp_path / "notes" / "a.txt").read_text() == "mine"


def test_a_run_that_fails_before_it_learned_leaves_nothing(source: Path, tmp_path: Path) -> None:
    ended = _train(
        write_npz(tmp_path / "three.npz", n=36, classes=3), tmp_path / "run", "fit.loss=binary_cross_entropy"
    )
    assert ended.code == 3 and "exclusive classes" in ended.said and not (tmp_path / "run").exists()
    (tmp_path / "empty").mkdir()
    assert _train(tmp_path / "three.npz", tmp_path / "empty", "network.name=compcat").code == 3
    assert (tmp_path / "empty").is_dir() and not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize("seed, same", [("0", True), ("3", False)])
def test_the_seed_decides_the_weights(
    source: Path, whole: list[bytes], tmp_path: Path, seed: str, same: bool
) -> None:
    ended = _train(source, tmp_path / "run", "--seed", seed)
    assert ended.code == 0 and (_weights(tmp_path / "run") == whole) is same


def test_a_live_run_is_not_disturbed_and_its_lock_dies_with_it(source: Path, tmp_path: Path) -> None:
    from hounsfield.core.errors import BadInput
    from hounsfield.steps.run_folder import MARKER, RunFolder

    out = tmp_path / "run"
    with RunFolder(out).opened(resume=False):
        (out / "state.json").write_text("{}")
        for resume in (["--resume"], []):
            ended = _train(source, out, *resume)
            assert ended.code == 3 and "another hu is at work" in ended.said
        assert (out / MARKER).is_file() and (out / "state.json").is_file()
    with pytest.raises(BadInput, match="go on with --resume"), RunFolder(out).opened(resume=False):
        pass
    with RunFolder(out).opened(resume=True):
        pass


def test_nothing_of_the_user_is_removed(source: Path, tmp_path: Path) -> None:
    """Neither a plan that lay in the folder, nor what was put there while a run that failed was at work."""
    from hounsfield.steps.run_folder import RunFolder

    out = tmp_path / "run"
    out.mkdir()
    (out / "plan.json").write_text("{}")
    ended = _train(source, out, "--plan", str(out / "plan.json"))
    assert ended.code == 3 and "is not empty" in ended.said
    assert [p.name for p in out.iterdir()] == ["plan.json"]
    (out / "plan.json").unlink()
    with pytest.raises(ValueError, match="fault"), RunFolder(out).opened(resume=False):
        (out / "cache").mkdir()
        (out / "thesis.txt").write_text("mine")
        raise ValueError("fault")
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match="fault"), RunFolder(tmp_path / "a" / "b").opened(resume=False):
        raise ValueError("fault")
    assert not (tmp_path / "a").exists()
