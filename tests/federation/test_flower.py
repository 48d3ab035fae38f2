"""Flower is imported only where it is used, does not call home, and is named where it is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hounsfield.core.errors import MissingDependency


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", code]
    return subprocess.run(
        words, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    command = (
        "import sys; sys.modules['flwr'] = None\n"
        f"sys.argv = ['hu', 'federate', 'serve', '--name', 'example.org', '--folder', {str(tmp_path)!r}]\n"
        "from hounsfield.cli.main import main; main()"
    )
    done = _python(command)
    assert done.returncode == MissingDependency.exit_code
    assert done.stderr.strip() == "hu: hu federate needs the extra: pip install 'hounsfield[federated]'"


def test_calls_home_are_off_before_flower_is_imported_whatever_the_user_has_set() -> None:
    code = (
        "import sys, os, importlib.abc\n"
        "class Watch(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'flwr': print(os.environ['FLWR_TELEMETRY_ENABLED'], "
        "os.environ['FLWR_DISABLE_UPDATE_CHECK'], os.environ['RAY_USAGE_STATS_ENABLED'])\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import hounsfield.federation.messages\n"
    )
    done = _python(
        code, FLWR_TELEMETRY_ENABLED="1", FLWR_DISABLE_UPDATE_CHECK="0", RAY_USAGE_STATS_ENABLED="1"
    )
    assert done.stdout.split() == ["0", "1", "0"], done.stderr


@pytest.mark.parametrize("words", ["", "federate", "site"])
def test_help_imports_neither_flower_nor_torch(words: str) -> None:
    code = (
        f"import sys, contextlib, io; sys.argv = ['hu', *{words!r}.split(), '--help']\n"
        "from hounsfield.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): main()\n"
        "print([m for m in ('flwr', 'opacus', 'torch', 'fastapi', 'uvicorn') if m in sys.modules])\n"
    )
    done = _python(code)
    assert done.stdout.strip() == "[]", done.stderr
