"""A short version of benchmarks/planted_faults.py: planted faults are caught, clean cohorts stay quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
CHOSEN = (
    "copy across parts, mirrored left to right",
    "slice of a volume as a picture",
    "burnt-in marker in one class",
    "eyes: laterality swapped in some",
    "some images upside down",
)


@pytest.fixture(scope="module")
def program() -> Iterator[ModuleType]:
    if not (BENCHMARKS / "planted_faults.py").is_file():
        pytest.skip("benchmarks/planted_faults.py is not part of this distribution")
    sys.path.insert(0, str(BENCHMARKS))
    yield import_module("planted_faults")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("name", CHOSEN)
def test_a_planted_fault_is_caught(program: ModuleType, name: str) -> None:
    fault = program.FAULTS[name]
    study = program.clean_study(7, n=fault.n or 90, parts=fault.parts, picture=fault.picture)
    assert program.caught(fault.plant(study), fault.names)


@pytest.mark.parametrize(("seed", "n", "side", "images"), [(2, 80, 96, 1), (3, 50, 48, 2)])
def test_a_clean_cohort_is_quiet(program: ModuleType, seed: int, n: int, side: int, images: int) -> None:
    study = program.clean_study(seed, n=n, side=side, images=images, parts=seed == 2)
    assert import_module("planted.cohorts").alarms(study) == ()


def test_at_least_thirty_kinds_of_fault_are_planted(program: ModuleType) -> None:
    assert len(program.FAULTS) >= 30
