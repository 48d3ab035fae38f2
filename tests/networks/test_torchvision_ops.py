"""timm loads beside a torchvision that was built for another torch, and a matching pair is left alone."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from hounsfield.core.errors import MissingDependency
from hounsfield.networks import torchvision_ops
from hounsfield.networks.torchvision_ops import SCHEMAS, import_torchvision

FAKE_TORCHVISION = """
import torch
{before}
@torch.library.register_fake("torchvision::nms")
def fake_nms(dets, scores, iou_threshold):
    return dets.new_empty(0, dtype=torch.long)
runs = 1
"""
LOAD = """
import torch
from hounsfield.networks import torchvision_ops as ops
defined = []
define = torch.library.define
torch.library.define = lambda name, *rest: (defined.append(name), define(name, *rest))
ops.import_torchvision()
print(len(defined))
"""


def run(code: str, *, first_on_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    start = f"import sys; sys.path.insert(0, {str(first_on_path)!r})\n" if first_on_path else ""
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code)], capture_output=True, text=True, check=False
    )


def fake(folder: Path, *, before: str = "") -> Path:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(FAKE_TORCHVISION.format(before=before))
    return folder


def test_a_torchvision_without_its_operators_gets_all_of_them(tmp_path: Path) -> None:
    done = run(LOAD, first_on_path=fake(tmp_path))
    assert done.stdout.strip() == "13", done.stderr


def test_a_torchvision_with_its_operators_is_left_alone(tmp_path: Path) -> None:
    own = f'lib = torch.library.Library("torchvision", "DEF")\nlib.define("nms{SCHEMAS["nms"]}")'
    done = run(LOAD, first_on_path=fake(tmp_path, before=own))
    assert done.stdout.strip() == "0", done.stderr


def test_what_was_half_imported_is_imported_anew(tmp_path: Path) -> None:
    fake(tmp_path, before="from torchvision import extension")
    declared = "import torch\ndeclared = hasattr(torch.ops.torchvision, 'nms')\n"
    (tmp_path / "torchvision" / "extension.py").write_text(declared)
    done = run(LOAD + "import torchvision\nprint(torchvision.extension.declared)", first_on_path=tmp_path)
    assert done.stdout.split() == ["13", "True"], done.stderr


def test_another_fault_of_torchvision_is_not_hidden(tmp_path: Path) -> None:
    done = run(LOAD, first_on_path=fake(tmp_path, before="raise RuntimeError('another fault')"))
    assert done.returncode == 1
    assert "another fault" in done.stderr


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
def test_the_installed_timm_and_torchvision_load() -> None:
    done = run(
        """
        import torch
        from hounsfield.networks.torchvision_ops import import_timm, import_torchvision
        timm = import_timm()
        import torchvision.transforms.v2
        torchvision = import_torchvision()
        assert import_timm() is timm
        resize = torchvision.transforms.v2.Resize(4)
        print(timm.create_model("test_resnet", num_classes=2).eval()(torch.zeros(1, 3, 32, 32)).shape)
        print(resize(torch.zeros(3, 8, 8)).shape)
        """
    )
    assert done.stdout.splitlines() == ["torch.Size([1, 2])", "torch.Size([3, 4, 4])"], done.stderr


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
def test_the_signatures_are_those_of_the_installed_torchvision() -> None:
    import torch

    torchvision = import_torchvision()
    if torch.ops.torchvision.nms.default is not None and torchvision.extension._has_ops():
        for name, schema in SCHEMAS.items():
            ours = torch._C.parse_schema(f"torchvision::{name}{schema}")
            assert str(getattr(torch.ops.torchvision, name).default._schema) == str(ours)
    registered = torchvision._meta_registrations
    for name, schema in SCHEMAS.items():
        written = getattr(registered, f"meta_{name.lstrip('_')}")
        ours = torch._C.parse_schema(f"torchvision::{name}{schema}")
        assert len(inspect.signature(written).parameters) == len(ours.arguments), name


def test_an_absent_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependency, match=r'pip install "hounsfield\[timm\]"'):
        torchvision_ops.import_timm()
