"""A quarter of a minute of mutated DICOM files without a failure; the supervisor would have seen one.

FUZZ_SECONDS sets another time; `make fuzz` runs the same program for an hour.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fuzz_dicom import options, replay, run
from fuzz_mutations import MUTATORS, fields_of, mutated
from fuzz_reading import PLANTED, read_all
from fuzz_seeds import seeds

SECONDS = float(os.environ.get("FUZZ_SECONDS", "15"))


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    report = run(options(["--seconds", str(SECONDS), "--out", str(tmp_path), "--seed", "3"]))
    assert not report.failures, report.text()
    assert report.mutations > 200 * min(1.0, SECONDS / 60), report.text()
    assert report.outcomes["read"] and len(report.outcomes) > 10


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_found_kept_and_survived(tmp_path: Path, planted: str) -> None:
    words = ["--seconds", "60", "--most", "5", "--hang-seconds", "1.5", "--out", str(tmp_path)]
    report = run(options([*words, "--made-only", "--plant", planted]))
    kept = tmp_path / f"{planted}-0-3"
    failure = next(f for f in report.failures if f.kept == kept)
    assert failure.kind == planted and report.mutations >= 5
    assert (kept / "why.txt").read_text().startswith(failure.what)
    assert (kept / "0.dcm").read_bytes() == mutated(seeds(made_only=True), 0, 3)[0].content
    assert replay(kept)


def test_every_mutation_is_used_and_comes_again_from_its_number() -> None:
    found = seeds()
    told = [mutated(found, 0, n)[1] for n in range(400)]
    for edit in MUTATORS:
        assert any(edit.__name__ in what for what in told), edit.__name__
    assert [mutated(found, 0, n)[1] for n in range(20)] == told[:20]
    assert mutated(found, 1, 0)[1] != told[0]


def test_the_files_made_to_start_from_are_whole(tmp_path: Path) -> None:
    made = seeds(made_only=True)
    assert len(made) >= 15
    for n, seed in enumerate(made):
        for k, content in enumerate((seed.content, *seed.beside)):
            path = tmp_path / str(n) / f"{k}.dcm"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        if "HTJ2K" not in seed.name:
            assert read_all(tmp_path / str(n)) == ["drawn", "read"], seed.name
        if "1.2.1.99" not in seed.name:
            assert {0x00280010, 0x7FE00010} <= {f.tag for f in fields_of(seed.content)}, seed.name
