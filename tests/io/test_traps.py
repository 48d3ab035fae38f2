"""Every pitfall gives the right image or a refusal that names its fault: never a wrong one, never a crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume
from trap_corpus import PITFALLS, TRAPS, Image, Trap


def _scanned(folder: Path) -> Index:
    """The index of a folder, beside a picture that is always there."""
    (folder / "beside.pgm").write_bytes(b"P5 1 1 255 \0")
    return index_of(folder)


def _fits(expected: Image, series: Series, volume: Volume) -> bool:
    if volume.data.shape != expected.values.shape:
        return False
    away = np.abs(volume.data.astype(np.float64) - expected.values)
    if away.max() > expected.values_off_by:
        return False
    if expected.affine is None:
        return not volume.spacing_known and not series.spacing_mm
    corners = np.array([[i, j, k, 1] for k in (0, volume.data.shape[1] - 1) for j in (0, 2) for i in (0, 3)])
    off = (corners @ (volume.affine - expected.affine).T)[:, :3]
    return volume.spacing_known and float(np.abs(off).max()) <= expected.place_off_by_mm


@pytest.mark.parametrize("trap", TRAPS, ids=lambda t: f"{t.pitfall} {t.name}")
def test_a_trap_gives_the_truth_or_its_reason(trap: Trap, tmp_path: Path) -> None:
    truth = trap.build(tmp_path)
    index = _scanned(tmp_path)
    found = [s for s in index.series if s.reader == "dicom"]
    reasons = [r.reason for r in index.refused]
    said = {begin: sum(reason.startswith(begin) for reason in reasons) for begin in truth.refused}
    assert said == truth.refused and len(reasons) == sum(truth.refused.values())
    with Source(tmp_path) as source:
        if truth.unreadable:
            for series in found:
                with pytest.raises(BadInput, match=truth.unreadable):
                    read_volume(source, series)
            return
        assert len(found) == len(truth.images)
        left = [(s, read_volume(source, s)) for s in found]
    for expected in truth.images:
        same = [pair for pair in left if _fits(expected, *pair)]
        assert len(same) == 1, (expected, [(s.shape, v.affine) for s, v in left])
        series = same[0][0]
        assert expected.volume in (None, series.volume)
        assert expected.stack in (None, series.stack)
        assert expected.site in ("", series.site)


def test_every_pitfall_has_a_trap() -> None:
    assert {t.pitfall for t in TRAPS} == set(range(1, PITFALLS + 1))
    assert len({t.name for t in TRAPS}) == len(TRAPS)


@pytest.mark.parametrize("trap", TRAPS[::7], ids=lambda t: t.name)
def test_no_refusal_tells_who_the_patient_is(trap: Trap, tmp_path: Path) -> None:
    trap.build(tmp_path)
    for refused in _scanned(tmp_path).refused:
        assert "SECRET" not in refused.reason and "P1" not in refused.reason
