"""A process that decodes one codestream after another and can die without harm.

Run as a file by `isolated`; imports only what it needs, to start fast. Each request is a line of JSON
(decoder, length, most_bytes, threads) and the codestream; each answer a line of JSON (dtype and shape, or
error) and the values. Ends when its input ends or when the process that started it is gone.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
from pathlib import Path
from typing import Any, BinaryIO

_ALLOWED = ("jpeg2k", "jpegls")
_SPARE_BYTES = 256 << 20


def answer(request: dict[str, Any], codestream: bytes) -> tuple[dict[str, Any], bytes | memoryview]:
    """Decode within a limit of memory; the name of what went wrong instead of the values."""
    import imagecodecs
    import numpy as np

    _limit_memory(int(request["most_bytes"]))
    if request["decoder"] not in _ALLOWED:
        return {"error": "unknown decoder"}, b""
    decode = getattr(imagecodecs, f"{request['decoder']}_decode")
    options = {"numthreads": int(request["threads"])} if request["decoder"] == "jpeg2k" else {}
    try:
        values = np.ascontiguousarray(decode(codestream, **options))
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises, the next request is served
        return {"error": type(error).__name__}, b""
    return {"dtype": values.dtype.str, "shape": values.shape}, values.reshape(-1).view(np.uint8).data


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the input ends or the parent is gone."""
    parent = os.getppid()
    while _request_comes(parent):
        line = requests.readline()
        if not line:
            return
        request = json.loads(line)
        about, values = answer(request, requests.read(request["length"]))
        answers.write(json.dumps({**about, "length": len(values)}).encode() + b"\n")
        answers.write(values)
        answers.flush()


def _request_comes(parent: int) -> bool:
    while not select.select([0], [], [], 5.0)[0]:
        if os.getppid() != parent:
            return False
    return True


def _limit_memory(most_bytes: int) -> None:
    size = Path("/proc/self/statm")
    if not size.exists():  # not Linux: the length of the answer is still checked
        return
    now = int(size.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + most_bytes + _SPARE_BYTES, hard))


if __name__ == "__main__":
    import imagecodecs  # noqa: F401 - loaded once, before the first request

    serve(sys.stdin.buffer, sys.stdout.buffer)
