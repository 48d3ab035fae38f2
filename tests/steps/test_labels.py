"""Label tables join to images on patient, study, series, object or file, and never by guesswork."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.steps.labels import LabelTable, join_labels, read_labels


def _series(n: int, **more: Any) -> Series:
    given: dict[str, Any] = {
        "files": (f"deep/folder/scan_{n}.dcm",),
        "patient": f"PAT{n // 2}",
        "study": f"1.2.{n // 2}",
        "series": f"1.2.{n // 2}.{n}",
        "sop": f"9.9.{n}",
        **more,
    }
    return Series(f"id{n}", reader="dicom", shape=(1, 8, 8), **given)


def _index(*series: Series) -> Index:
    return Index("source", series or tuple(_series(n) for n in range(6)))


def _table(rows: list[tuple[str, str]], *columns: str) -> LabelTable:
    names = columns or ("key", "grade")
    return LabelTable("t.csv", names, tuple(dict(zip(names, r, strict=True)) for r in rows))


@pytest.mark.parametrize(
    "key, written",
    [
        ("patient", lambda s: s.patient),
        ("study", lambda s: s.study),
        ("series", lambda s: s.series),
        ("sop", lambda s: s.sop),
        ("file", lambda s: s.files[0]),
        ("file", lambda s: s.files[0].split("/")[-1]),
        ("file", lambda s: s.files[0].split("/")[-1][:-4]),
        ("file", lambda s: s.files[0].replace("/", "\\")),
        ("file", lambda s: s.files[0].replace(".dcm", ".png")),
    ],
)
def test_the_key_is_found_by_itself(key: str, written: Any) -> None:
    index = _index()
    rows = list(dict.fromkeys((written(s), f"grade of {written(s)}") for s in index.series))
    joined, column, found = join_labels(index, _table(rows))
    assert (column, found) == ("key", key)
    assert {k: row["key"] for k, row in joined.items()} == {s.id: written(s) for s in index.series}


def test_the_more_specific_key_wins() -> None:
    rows = [(f"PAT{n // 2}", f"scan_{n}", str(n)) for n in range(6)]
    joined, column, key = join_labels(_index(), _table(rows, "patient", "image", "grade"))  # type: ignore[arg-type]
    assert (column, key) == ("image", "file") and joined["id3"]["grade"] == "3"


def test_the_column_that_matches_most_wins_unless_one_is_named() -> None:
    rows = [(f"scan_{n}", f"PAT{n // 2}") for n in range(3)]
    table = _table(rows, "some", "who")
    rows_all = _table([("x", "PAT0"), ("y", "PAT1"), ("z", "PAT2")], "some", "who")
    assert join_labels(_index(), rows_all)[1] == "who"
    assert join_labels(_index(), table, on="SOME")[1:] == ("some", "file")


def test_images_that_two_differing_rows_claim_are_not_guessed() -> None:
    rows = [(f"PAT{n // 2}", str(n)) for n in range(6)]  # a row an image, told apart by nothing
    with pytest.raises(BadInput, match=r'"key" of t.csv matches the patient of 6 image\(s\).*--on'):
        join_labels(_index(), _table(rows))


def test_one_doubtful_row_does_not_cost_the_others() -> None:
    rows = [(f"scan_{n}", str(n)) for n in range(6)]
    joined, _, _ = join_labels(_index(), _table([rows[1], ("scan_1", "other"), *rows]))
    assert sorted(joined) == ["id0", "id2", "id3", "id4", "id5"]


def test_equal_rows_are_one() -> None:
    rows = [(f"scan_{n}", str(n)) for n in range(6)]
    assert len(join_labels(_index(), _table(rows + rows))[0]) == 6


def test_a_file_name_that_two_folders_share_names_neither() -> None:
    series = [_series(0, files=("a/1.png",)), _series(1, files=("b/1.png",)), _series(2, files=("b/2.png",))]
    by_name = _table([("1.png", "x"), ("2.png", "y")])
    assert list(join_labels(_index(*series), by_name)[0]) == ["id2"]
    by_path = _table([("a/1.png", "x"), ("b/1.png", "y"), ("b/2.png", "z")])
    assert {k: r["grade"] for k, r in join_labels(_index(*series), by_path)[0].items()} == {
        "id0": "x",
        "id1": "y",
        "id2": "z",
    }


def test_the_last_number_of_a_uid_is_no_file_ending() -> None:
    series = [_series(n, files=(f"1.2.840.{n}",), sop="", series="", study="", patient="") for n in range(2)]
    joined, _, _ = join_labels(_index(*series), _table([("1.2.840.0", "x"), ("1.2.840.77", "y")]))
    assert {k: r["grade"] for k, r in joined.items()} == {"id0": "x"}


def test_gzipped_volumes_are_found_by_their_name_without_both_endings() -> None:
    series = _series(0, files=("sub/brain_1.nii.gz",))
    assert join_labels(_index(series), _table([("brain_1", "x")]))[2] == "file"


def test_a_patient_is_found_without_the_issuer_of_the_id() -> None:
    series = [_series(n, patient=f"PAT{n}^^^CLINIC", sop="", study="", series="") for n in range(2)]
    assert len(join_labels(_index(*series), _table([("PAT0", "x"), ("PAT1", "y")]))[0]) == 2
    twins = [_series(n, patient=f"PAT0^^^{n}", sop="", study="", series="") for n in range(2)]
    with pytest.raises(BadInput, match="matches an image"):
        join_labels(_index(*twins), _table([("PAT0", "x")]))


def test_what_does_not_match_is_shown_by_its_pattern_only() -> None:
    with pytest.raises(BadInput) as caught:
        join_labels(_index(), _table([("MRN-4711", "secretvalue")]))
    said = str(caught.value)
    assert '"AAA-9999"' in said and '"AAA9"' in said and "key, grade" in said
    assert not any(word in said for word in ("4711", "PAT0", "scan_", "secretvalue"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "latin-1"])
def test_tables_are_read_as_spreadsheets_write_them(tmp_path: Path, delimiter: str, coding: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"id{delimiter}größe\r\na {delimiter} ä".encode(coding))
    table = read_labels(path)
    assert table.columns == ("id", "größe") and table.rows == ({"id": "a", "größe": "ä"},)


def test_quoted_cells_hold_commas(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('id,text\n1,"a, b"\n')
    assert read_labels(tmp_path / "t.csv").rows[0]["text"] == "a, b"


@pytest.mark.parametrize("content", [b"", b"id,label\n", b"only\n1\n2\n", b"PK\x03\x04\0\0\0\n\0,\0\n1,2\n"])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(BadInput, match=r"t\.csv"):
        read_labels(tmp_path / "t.csv")


def test_missing_files_and_columns_suggest_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,finding\n1,a\n")
    with pytest.raises(BadInput, match=r'did you mean "labels\.csv"'):
        read_labels(tmp_path / "lables.csv")
    with pytest.raises(BadInput, match='did you mean "finding"'):
        read_labels(tmp_path / "labels.csv").column("findings")


def _pictures(n: int, ending: str = ".png", **more: Any) -> Index:
    plain = {"patient": "", "study": "", "series": "", "sop": "", **more}
    return _index(*(_series(k, files=(f"x/{k}{ending}",), **plain) for k in range(1, n + 1)))


def test_whole_file_names_win_over_row_numbers_that_happen_to_match() -> None:
    """A table `index,file,label` whose index 1 … N are also the stems of the images."""
    rows = [(str(n), f"{9 - n}.png", f"grade {9 - n}") for n in range(1, 9)]
    table = LabelTable("t.csv", ("index", "file", "grade"), tuple(_row(r) for r in rows))
    joined, column, _ = join_labels(_pictures(8), table)
    assert column == "file" and {k: r["grade"] for k, r in joined.items()} == {
        f"id{n}": f"grade {n}" for n in range(1, 9)
    }
    fewer = LabelTable("t.csv", table.columns, table.rows[:6] + tuple(_row((r[0], "", "")) for r in rows[6:]))
    assert join_labels(_pictures(8), fewer)[1] == "file"


def _row(values: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("index", "file", "grade"), values, strict=True))


@pytest.mark.parametrize("first", [0, 1])
def test_two_columns_that_contradict_each_other_are_not_guessed_between(first: int) -> None:
    """Numbers without an ending: nothing tells which column names the images."""
    rows = tuple(_row((str(n - 1 + first), str(9 - n), f"grade {9 - n}")) for n in range(1, 9))
    table = LabelTable("t.csv", ("index", "file", "grade"), rows)
    with pytest.raises(BadInput, match=r'(?=.*"index")(?=.*"file").*different rows.*--on'):
        join_labels(_pictures(8), table)
    joined, column, _ = join_labels(_pictures(8), table, on="file")
    assert column == "file" and joined["id3"]["grade"] == "grade 3"


def test_two_columns_that_agree_are_both_right() -> None:
    rows = tuple(_row((str(n), str(n), f"grade {n}")) for n in range(1, 9))
    assert len(join_labels(_pictures(8), LabelTable("t.csv", ("index", "file", "grade"), rows))[0]) == 8


def test_the_target_is_never_taken_for_an_id() -> None:
    rows = [(f"scan {n}", str(n)) for n in range(1, 9)]
    with pytest.raises(BadInput, match=r"tried column\(s\) key \("):
        join_labels(_pictures(8), _table(rows), never=("grade",))
    with pytest.raises(BadInput, match=r"every column of t\.csv is a target or a group.*--on"):
        join_labels(_pictures(8), _table(rows), never=("grade", "key"))
    assert join_labels(_pictures(8), _table(rows), on="grade", never=("grade",))[1] == "grade"
