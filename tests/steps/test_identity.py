"""Headers that name people are counted by attribute; no value is ever told."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hounsfield.steps.identity import identity_finding
from hounsfield.steps.scan import scan
from phantoms import write_dicom, write_npz

IMAGE = np.arange(64, dtype=np.uint16).reshape(8, 8)


def test_filled_attributes_are_counted_and_their_values_are_not_told(tmp_path: Path) -> None:
    for k in range(4):
        write_dicom(
            tmp_path / f"{k}.dcm", IMAGE, number=k, PatientID=f"P{k}", PatientName="Roe^Jane" * (k < 3),
            OperatorsName="Doe^Max",
        )  # fmt: skip
    (found,) = identity_finding(scan(str(tmp_path)))
    assert "OperatorsName in 4" in found.note and "PatientName in 3" in found.note
    assert found.level == "warning" and found.n == 4
    assert "Roe" not in str(found) and "Max" not in str(found)


def test_replaced_names_do_not_count(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", IMAGE, number=0, PatientID="P0", PatientName="P0")
    write_dicom(tmp_path / "b.dcm", IMAGE, number=1, PatientID="P1", PatientName="ANONYMIZED")
    (found,) = identity_finding(scan(str(tmp_path)))
    assert found.level == "info" and "none fills" in found.note


def test_files_without_headers_say_nothing(tmp_path: Path) -> None:
    assert identity_finding(scan(str(write_npz(tmp_path / "s.npz", n=12)))) == ()
