"""What all tests share: where the openly licensed images lie, if they are there at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder named by HU_DATA, else shared/data beside the checkout; skips where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HU_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no real images here; set HU_DATA to their folder to run this test")
    return folder
