"""`hu convert`: files and table, one JSON object, exit codes, and no identity on the screen."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np

from ct_mr_series import NAME, NUMBER, pattern, write_series
from phantoms import hu, write_png


def test_a_folder_becomes_nifti_files_and_a_table(tmp_path: Path) -> None:
    write_series(tmp_path / "in", pattern((3, 4, 5)))
    ended = hu("convert", tmp_path / "in", "--out", tmp_path / "out")
    assert ended.code == 0 and "1 image" in ended.out and "convert" in ended.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["image-00001_CT.nii.gz", "index.csv"]
    assert nibabel.load(tmp_path / "out" / "image-00001_CT.nii.gz").shape == (5, 4, 3)


def test_json_is_one_object(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "series", pattern((3, 4, 5)))
    write_png(tmp_path / "in" / "a.png", np.arange(64, dtype=np.uint8).reshape(8, 8))
    (tmp_path / "in" / "b.txt").write_text("x")
    ended = hu("convert", tmp_path / "in", "--out", tmp_path / "out", "--no-compress", "--json")
    said = json.loads(ended.out)
    assert ended.code == 0 and len(said["written"]) == 2 and said["failed"] == {}
    assert said["without_geometry"] == 1 and said["refused"] == {"not an image that can be read (.txt)": 1}
    assert all((tmp_path / "out" / name).exists() and name.endswith(".nii") for name in said["written"])


def test_what_cannot_be_converted_ends_with_3(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    for words in (
        ["convert", tmp_path / "in", "--out", tmp_path / "out"],
        ["convert", tmp_path / "gone", "--out", tmp_path / "out"],
    ):
        ended = hu(*words)
        assert ended.code == 3 and ended.out == "" and "Traceback" not in ended.err
        assert not (tmp_path / "out").exists()


def test_a_missing_out_is_wrong_usage(tmp_path: Path) -> None:
    assert hu("convert", tmp_path).code == 2


def test_no_identity_on_the_screen(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "series", pattern((3, 4, 5)))
    (tmp_path / "in" / f"{NUMBER}.{NAME}").write_text("x")
    for more in ([], ["--json"]):
        ended = hu("convert", tmp_path / "in", "--out", tmp_path / f"out{len(more)}", *more)
        assert ended.code == 0
        for secret in (NAME, NUMBER):
            assert secret not in ended.out and secret not in ended.err
