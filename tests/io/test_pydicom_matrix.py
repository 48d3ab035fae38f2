"""pydicom's own test files: no harm, equal pixels where pydicom decodes, a reason for each of the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
import pytest

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
LEAST_EQUAL = 88  # of 95 with pixels; pydicom itself decodes as many with its plug-ins

# Files whose pixels are refused, and why.
REASONS = {
    "MR_truncated.dcm": "holds 8130 bytes of pixel data where 8192 were expected",
    "badVR.dcm": r"do not follow the standard \(ValueError\)",
    "JPEG2000-embedded-sequence-delimiter.dcm": "JPEG 2000 frame whose size contradicts itself",
    "meta_missing_tsyntax.dcm": "without its number of rows and columns",
    "nested_priv_SQ.dcm": "without its number of rows and columns",
}
# Files that pydicom's permissive plug-ins do not decode; DCMTK's values agree with these digests.
ONLY_HERE = {"JPEG-lossy.dcm", "JPGExtended.dcm"}

_OURS = """
import hashlib, json, sys, warnings
import pydicom
from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.pixels import frames_of
warnings.simplefilter("ignore")
for name in sys.stdin.read().split("\\n"):
    found = {"file": name}
    try:
        dataset = pydicom.dcmread(name, force=True)
        kinds = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
        found["pixels"] = any(k in dataset for k in kinds)
    except Exception:  # not DICOM for pydicom either
        found["pixels"] = False
    if found["pixels"]:
        try:
            values = frames_of(dataset)
            digest = hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).hexdigest()
            found |= {"size": values.size, "kind": values.dtype.str[1:], "digest": digest}
        except BadInput as error:
            found["reason"] = str(error)
    print(json.dumps(found), flush=True)
"""

_TRUTH = """
import hashlib, json, sys, warnings
import pydicom
from pydicom.pixels.decoders.base import get_decoder
warnings.simplefilter("ignore")
import logging; logging.disable(logging.CRITICAL)
for name in sys.stdin.read().split("\\n"):
    found = {"file": name}
    print(json.dumps({"begun": name}), flush=True)
    try:
        dataset = pydicom.dcmread(name, force=True)
        values = get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset)[0]
        digest = hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).hexdigest()
        found |= {"size": values.size, "kind": values.dtype.str[1:], "digest": digest}
    except Exception as error:
        found["error"] = type(error).__name__
    print(json.dumps(found), flush=True)
"""


def _run(program: str, names: list[str]) -> tuple[int, list[dict[str, Any]]]:
    """Run over the files in a process of its own; its exit code and what it printed, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="\n".join(names),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def _truth(names: list[str]) -> dict[str, dict[str, Any]]:
    """What pydicom decodes; a file that kills its process is left out and the rest goes on."""
    found: dict[str, dict[str, Any]] = {}
    left = list(names)
    while left:
        code, lines = _run(_TRUTH, left)
        found |= {line["file"]: line for line in lines if "file" in line}
        if code == 0:
            break
        left = left[left.index(lines[-1]["begun"]) + 1 :]
    return found


@pytest.fixture(scope="module")
def names() -> list[str]:
    return sorted(str(p) for p in FILES.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def ours(names: list[str]) -> dict[str, dict[str, Any]]:
    code, lines = _run(_OURS, names)
    assert code == 0, f"the process ended with {code} after {lines[-1:]}"
    return {line["file"]: line for line in lines}


def test_every_file_is_answered(names: list[str], ours: dict[str, dict[str, Any]]) -> None:
    assert len(ours) == len(names) >= 150


def test_every_refused_file_has_its_own_reason(ours: dict[str, dict[str, Any]]) -> None:
    refused = {Path(n).name: line["reason"] for n, line in ours.items() if "reason" in line}
    assert refused.keys() == REASONS.keys()
    for name, pattern in REASONS.items():
        assert re.search(pattern, refused[name]), (name, refused[name])


def test_pixels_equal_those_of_pydicom(names: list[str], ours: dict[str, dict[str, Any]]) -> None:
    with_pixels = [n for n in names if ours[n]["pixels"]]
    truth = _truth(with_pixels)
    decoded = {n: line for n, line in truth.items() if "digest" in line}
    differing = [
        Path(n).name
        for n, line in decoded.items()
        if (line["size"], line["kind"], line["digest"])
        != tuple(ours[n].get(k) for k in ("size", "kind", "digest"))
    ]
    assert not differing
    only_here = {Path(n).name for n in with_pixels if "digest" in ours[n] and n not in decoded}
    assert only_here <= ONLY_HERE | {Path(n).name for n in with_pixels if n not in truth}
    equal = len(decoded)
    assert equal >= LEAST_EQUAL - len(only_here - ONLY_HERE), equal
