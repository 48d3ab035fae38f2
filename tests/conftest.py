"""What all tests share: the images at hand, a signing key that is nobody's own, and who runs which test."""

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what a module makes once run in one process, so that no second one makes it again."""
    for item in items:
        if item.get_closest_marker("xdist_group"):
            continue
        made = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009
        shared = [d.baseid for ds in made for d in ds if d.scope in ("module", "session")]
        own = [base for base in shared if base.endswith(".py")]
        if own:
            item.add_marker(pytest.mark.xdist_group(own[-1]))
