"""Decoders that may kill or hang a process, run in one that may die.

A worker is started when first needed and kept; it is stopped and replaced if it dies or needs more than
`SECONDS_A_FRAME`, in proportion more for frames of more than four million values. Several threads get a
worker each, at most one a processor core. A forked child starts workers of its own. A worker ends when the
process that started it ends.

What runs where was decided by mutating small codestreams (half of the hits in their headers; sizes that
differ from the header already refused), deaths and hangs of more than 5 s counted:

    libjpeg-turbo 3.1.3   baseline, 12 bits: 52,000 mutations, 0 deaths, 0 hangs    in this process
    libjpeg-turbo 3.1.3   lossless:          52,000 mutations, 0 deaths, 0 hangs    in this process
    our RLE and JPEG-LS                      52,000 mutations each, 0 and 0         in this process
    OpenJPEG 2.5.4        JPEG 2000, HTJ2K:  92,000 mutations, 0 deaths, 0 hangs    here all the same
    CharLS 2.4.3          JPEG-LS:           2,000 mutations, 0 deaths, 30 hangs     here
    OpenJPH 0.26.3        HTJ2K:             12,000 mutations, 1 death, 9 hangs     not used
"""

from __future__ import annotations

import atexit
import json
import math
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.codecs.layout import CodecFault

__all__ = ["SECONDS_A_FRAME", "close_workers", "decode_apart"]

SECONDS_A_FRAME = 5.0
_USUAL_VALUES = 4_000_000
_START_SECONDS = 30.0
_CHUNK = 1 << 20
_LONGEST_LINE = 4096
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux


class _WorkerGone(Exception):
    """The worker died or did not answer in time."""


class _Worker:
    def __init__(self) -> None:
        program = Path(__file__).with_name("worker.py")
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                "OMP_NUM_THREADS": "1",
            },
        )
        assert self.process.stdin and self.process.stdout
        self.to, self.from_ = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.fresh = True
        self.left = b""
        os.set_blocking(self.to, False)
        _widen(self.to, self.from_)

    def ask(self, asked: dict[str, Any], codestream: bytes, seconds: float) -> NDArray[Any]:
        """Raises _WorkerGone, or CodecFault where the decoder refused the codestream."""
        deadline = time.monotonic() + seconds + (_START_SECONDS if self.fresh else 0)
        request = {**asked, "length": len(codestream)}
        self._send(json.dumps(request).encode() + b"\n" + codestream, deadline)
        about = json.loads(self._line(deadline))
        if "error" in about:
            self.fresh = False
            raise CodecFault(f"holds a damaged compressed frame ({about['error']}); send it again")
        if about["length"] > asked["most_bytes"]:
            raise _WorkerGone
        values = np.empty(about["length"], np.uint8)
        self._fill(memoryview(values), deadline)
        self.fresh = False
        dtype = np.dtype(about["dtype"])
        if dtype.kind not in "iu" or math.prod(about["shape"]) * dtype.itemsize != len(values):
            raise _WorkerGone
        return values.view(dtype).reshape(about["shape"])

    def stop(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                if pipe:
                    pipe.close()
        self.process.kill()
        self.process.wait()

    def _send(self, content: bytes, deadline: float) -> None:
        left = memoryview(content)
        while left:
            _wait(deadline, write=self.to)
            try:
                left = left[os.write(self.to, left[:_CHUNK]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise _WorkerGone from error

    def _read(self, most: int, deadline: float) -> bytes:
        _wait(deadline, read=self.from_)
        found = os.read(self.from_, most)
        if not found:
            raise _WorkerGone
        return found

    def _line(self, deadline: float) -> bytes:
        line = b""
        while b"\n" not in line:
            if len(line) > _LONGEST_LINE:
                raise _WorkerGone
            line += self._read(_LONGEST_LINE, deadline)
        line, _, self.left = line.partition(b"\n")
        return line

    def _fill(self, into: memoryview, deadline: float) -> None:
        done = len(self.left)
        if done > len(into):
            raise _WorkerGone
        into[:done] = self.left
        while done < len(into):
            _wait(deadline, read=self.from_)
            count = os.readv(self.from_, [into[done : done + _CHUNK]])
            if not count:
                raise _WorkerGone
            done += count


class _Pool:
    """The workers of this process: idle ones are taken before a new one is started."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.idle: list[_Worker] = []
        self.lock = threading.Lock()
        self.places = threading.Semaphore(max(1, os.cpu_count() or 1))

    def ask(self, asked: dict[str, Any], codestream: bytes, seconds: float) -> NDArray[Any]:
        with self.places:
            with self.lock:
                worker = self.idle.pop() if self.idle else None
            worker = worker or _Worker()
            healthy = False
            try:
                values = worker.ask(asked, codestream, seconds)
                healthy = True
                return values
            except CodecFault:
                healthy = True
                raise
            finally:
                if healthy:
                    with self.lock:
                        self.idle.append(worker)
                else:
                    worker.stop()

    def close(self) -> None:
        with self.lock:
            workers, self.idle = self.idle, []
        for worker in workers:
            worker.stop()


_pool = _Pool()


def decode_apart(
    decoder: str, codestream: bytes, *, most_bytes: int, values: int = 0, threads: int = 1
) -> NDArray[Any]:
    """Decode a frame of so many `values` in a worker that may hold `most_bytes` beside itself.

    The values come in the shape that the decoder gives them.

    Raises CodecFault where the codestream is damaged, kills its worker or takes too long.
    """
    try:
        seconds = SECONDS_A_FRAME * max(1.0, values / _USUAL_VALUES)
        asked = {"decoder": decoder, "most_bytes": most_bytes, "threads": threads}
        return _pool_of_this_process().ask(asked, codestream, seconds)
    except _WorkerGone as error:
        raise CodecFault(
            "holds a damaged compressed frame that its decoder could not survive; send it again"
        ) from error


def close_workers() -> None:
    """Stop the workers of this process; a later frame starts a new one."""
    if _pool.process == os.getpid():
        _pool.close()


def _pool_of_this_process() -> _Pool:
    global _pool
    if _pool.process != os.getpid():  # after a fork: the parent's pipes are not ours to use
        _pool = _Pool()
    return _pool


def _wait(deadline: float, *, read: int | None = None, write: int | None = None) -> None:
    poll = select.poll()
    if read is not None:
        poll.register(read, select.POLLIN)
    if write is not None:
        poll.register(write, select.POLLOUT)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise _WorkerGone


def _widen(*pipes: int) -> None:
    """Let a pipe hold a whole frame where the system allows it: fewer turns between the processes."""
    import fcntl

    for pipe in pipes:
        with suppress(OSError):
            fcntl.fcntl(pipe, _SET_PIPE_SIZE, _CHUNK)


atexit.register(close_workers)
