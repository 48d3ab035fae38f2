"""What all tests share: where the openly licensed images lie, and a signing key that is nobody's own."""

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


@pytest.fixture(scope="session", autouse=True)
def _own_configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Runs are signed: with a key of these tests, so that none is made in the home of who runs them."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("configuration"))
