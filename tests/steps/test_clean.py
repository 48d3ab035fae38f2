"""What is tidied in a mask is what was said, and only what gained on validation patients is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, label

from hounsfield.core.errors import BadInput
from hounsfield.core.model import Cleaning
from hounsfield.io.model_store import read_model, write_model
from hounsfield.steps.segmentation.clean import choose_cleaning, cleaned

NOTHING = Cleaning((False,), (0.0,), (False,))


def _noise(shape: tuple[int, ...], seed: int, share: float = 0.3) -> NDArray[np.uint8]:
    return (np.random.default_rng(seed).random(shape) < share).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 40, 50), (12, 20, 25)])
def test_the_largest_component_is_what_scipy_finds_in_the_whole_image(shape: tuple[int, ...]) -> None:
    said = _noise(shape, 1, 0.12)
    numbered, _ = label(said, np.ones((3, 3, 3)))
    wanted = numbered == np.bincount(numbered.ravel())[1:].argmax() + 1
    found = cleaned(said, replace(NOTHING, largest_only=(True,)), spacing_mm=(1, 1, 1))
    assert np.array_equal(found, wanted) and found.dtype == np.uint8 and said.sum() > found.sum() > 1


def test_the_least_size_is_in_cubic_millimetres() -> None:
    said = np.array([[[1, 0, 1, 1, 0, 1, 1, 1]]], np.uint8)
    for least, kept in ((0, 6), (2, 6), (2.1, 5), (4, 5), (4.1, 3), (7, 0)):
        found = cleaned(said, replace(NOTHING, least_mm3=(least,)), spacing_mm=(4, 1, 0.5))  # 2 mm³ a voxel
        assert found.sum() == kept


@pytest.mark.parametrize("shape", [(1, 40, 50), (12, 20, 25)])
def test_holes_are_those_of_scipy(shape: tuple[int, ...]) -> None:
    said = _noise(shape, 2, 0.6)
    found = cleaned(said, replace(NOTHING, fill=(True,)), spacing_mm=(1, 1, 1))
    flat = shape[0] == 1
    wanted = binary_fill_holes(said[0] if flat else said)
    assert np.array_equal(found, wanted.reshape(shape)) and found.sum() > said.sum()


def test_another_structure_in_a_hole_stays() -> None:
    said = np.ones((1, 5, 5), np.uint8)
    said[0, 1:4, 1:4] = [[0, 0, 0], [0, 2, 0], [0, 0, 0]]
    both = Cleaning((False, False), (0.0, 0.0), (True, False))
    assert np.bincount(cleaned(said, both, spacing_mm=(1, 1, 1)).ravel()).tolist() == [0, 24, 1]
    dropped = Cleaning((False, False), (0.0, 2.0), (True, False))  # the piece goes first, and is filled then
    assert np.bincount(cleaned(said, dropped, spacing_mm=(1, 1, 1)).ravel()).tolist() == [0, 25]


def _cohort(n: int, *, islands: int = 0, hole: bool = False) -> tuple[list[NDArray[np.uint8]], ...]:
    """Blocks of 6×6×6 whose prediction misses a face, with `islands` of 1 to 3 false voxels, or a hole."""
    rng = np.random.default_rng(7)
    said, truth = [], []
    for _ in range(n):
        real = np.zeros((14, 24, 24), np.uint8)
        real[3:9, 4:10, 4:10] = 1
        drawn = real.copy()
        drawn[3] = 0
        if hole:
            drawn[5:7, 6:8, 6:8] = 0
        for _ in range(islands):
            j, i = rng.integers(14, 20, 2)
            drawn[12, j, i : i + rng.integers(1, 4)] = 1
        said.append(drawn)
        truth.append(real)
    return said, truth


def _chosen(said, truth, patients=None, **options) -> Cleaning:  # type: ignore[no-untyped-def]
    n = len(said)
    people = [str(i) for i in range(n)] if patients is None else patients
    spacings = [(2.0, 1.0, 1.0)] * n
    return choose_cleaning(said, truth, structures=["lesion"], spacings=spacings, patients=people, **options)


def test_false_pieces_are_dropped_where_one_component_is_right() -> None:
    chosen = _chosen(*_cohort(6, islands=3))
    assert chosen.largest_only == (True,)
    assert chosen.fill == (False,)
    assert "the largest component only" in chosen.notes[0] and "kept" in chosen.notes[0]


def test_the_least_size_is_chosen_where_there_are_two_lesions() -> None:
    said, truth = _cohort(6, islands=3)
    for mask in (*said, *truth):
        mask[3:7, 4:8, 14:18] = 1  # a second lesion of 64 voxels, 128 mm³
    chosen = _chosen(said, truth)
    assert chosen.largest_only == (False,)
    assert 2 < chosen.least_mm3[0] <= 128
    assert all(np.array_equal(cleaned(s, chosen, spacing_mm=(2, 1, 1)) > 0, (s > 0) & (t > 0))
               for s, t in zip(said, truth, strict=True))  # fmt: skip


def test_holes_are_filled_where_that_gains() -> None:
    chosen = _chosen(*_cohort(5, hole=True))
    assert chosen.fill == (True,) and chosen.largest_only == (False,) and chosen.least_mm3 == (0.0,)
    assert chosen.text(("lesion",)) == "lesion: holes filled"


def test_what_gains_nothing_is_left_out_and_said() -> None:
    chosen = _chosen(*_cohort(5))
    assert not chosen.changes and chosen.text(("lesion",)) == "none"
    assert len(chosen.notes) == 3
    assert "+0.0000 ± 0.0000 over 5 patients): left out" in chosen.notes[-1]


def test_one_lucky_case_does_not_decide() -> None:
    said, truth = _cohort(8)
    said[0][12, 15:20, 15:20] = 1
    assert not _chosen(said, truth).changes
    assert not _chosen(*_cohort(4, islands=3), patients=["one"] * 4).changes
    assert _chosen(*_cohort(4, islands=3), patients=["a", "a", "b", "c"]).changes


def test_a_false_finding_where_nothing_is_counts_as_a_loss() -> None:
    said, truth = _cohort(6, islands=2)
    for n in range(0, 6, 2):  # in half of the cases there is no lesion, and islands are predicted
        truth[n][:] = 0
        said[n][3:9, 4:10, 4:10] = 0
    chosen = _chosen(said, truth)
    assert chosen.least_mm3[0] > 2
    assert not cleaned(said[0], chosen, spacing_mm=(2, 1, 1)).any()


def test_voxels_to_ignore_and_structures_nobody_outlined_have_no_say() -> None:
    said, truth = _cohort(6, islands=3)
    for mask in truth:
        mask[12] = 255
    assert not _chosen(said, truth, ignore=255).changes
    said, truth = _cohort(6, islands=3)
    assert _chosen(said, truth, outlined=[(1,)] * 6).changes
    assert not _chosen(said, truth, outlined=[(2,)] * 6).changes


def test_masks_on_two_grids_are_refused() -> None:
    said, truth = _cohort(3)
    with pytest.raises(BadInput, match="validation case 2 "):
        _chosen([said[0], said[1][1:], said[2]], truth)


def test_a_model_keeps_its_cleaning(tmp_path: Path) -> None:
    from hounsfield.core.case import LabelEncoding
    from hounsfield.core.model import Model, OperatingPoint
    from hounsfield.core.plan import Plan, Segmentation

    (tmp_path / "w.safetensors").write_bytes(b"")
    names = ("anterior", "posterior")
    encoding = LabelEncoding("multilabel", names, ("structure",))
    plan = Plan(task="segmentation", segmentation=Segmentation(structures=names))
    made = Cleaning((True, False), (0.0, 12.5), (False, True), ("anterior: kept",))
    model = Model(tmp_path, plan, encoding, ("w.safetensors",), OperatingPoint((), "r", "v"), cleaning=made)
    write_model(model)
    assert read_model(tmp_path).cleaning == made
    assert "cleaning of masks: anterior: kept" in (tmp_path / "card.md").read_text()
    write_model(replace(model, cleaning=None))
    assert read_model(tmp_path).cleaning is None
    stored = (tmp_path / "model.json").read_text().replace('"cleaning": null,', "")
    (tmp_path / "model.json").write_text(stored)  # as an older version wrote it
    assert read_model(tmp_path).cleaning is None


def test_a_cleaning_says_as_much_of_each_structure() -> None:
    with pytest.raises(BadInput, match="another number of structures"):
        Cleaning((True,), (), (False,))
