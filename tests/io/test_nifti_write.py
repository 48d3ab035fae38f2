"""A volume written as NIfTI: places, values and types survive, and codes tell what is known."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ct_mr_series import AXIAL, CORONAL, SAGITTAL, oblique, pattern, positions_of
from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume
from hounsfield.io.nifti_write import has_place, joined_nifti, nifti_of, same_grid, write_nifti


def volume_of(
    data: Any,
    *,
    orientation: tuple[float, ...] = AXIAL,
    spacing_mm: tuple[float, float, float] = (2.0, 0.7, 0.9),
    tilt_deg: float = 0.0,
    known: bool = True,
) -> Volume:
    """A volume in the patient, as the DICOM reader makes it of a stack."""
    data = data[None] if data.ndim == 3 else data
    k, j, i = spacing_mm
    positions = positions_of(2, orientation, step_mm=k, origin_mm=(-11.5, 20.25, -300.0), tilt_deg=tilt_deg)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = np.array(orientation[:3]) * i, np.array(orientation[3:]) * j
    affine[:3, 2], affine[:3, 3] = positions[1] - positions[0], positions[0]
    return Volume(data, affine, ("1.2.3",), known)


def read_back(path: Path) -> Volume:
    with Source(path) as source:
        return read_volume(source, index_of(path).series[0])


def by_place(volume: Volume) -> dict[tuple[float, ...], tuple[float, ...]]:
    """Every voxel's values by its place in LPS mm."""
    channels, *sides = volume.data.shape
    kji = np.indices(sides).reshape(3, -1)
    places = (volume.affine @ np.vstack([kji[::-1], np.ones(kji.shape[1])]))[:3].T.round(2) + 0.0
    values = volume.data.reshape(channels, -1).T
    return {tuple(p): tuple(v) for p, v in zip(places.tolist(), values.tolist(), strict=True)}


@pytest.mark.parametrize("tilt_deg", [0.0, 12.0])
@pytest.mark.parametrize(
    "plane", [AXIAL, SAGITTAL, CORONAL, oblique(25, -20), (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)]
)
def test_our_own_reader_finds_every_voxel_where_it_was(
    tmp_path: Path, plane: tuple[float, ...], tilt_deg: float
) -> None:
    before = volume_of(pattern((3, 4, 5)), orientation=plane, tilt_deg=tilt_deg)
    write_nifti(tmp_path / "a.nii.gz", before)
    after = read_back(tmp_path / "a.nii.gz")
    assert after.spacing_known and after.data.dtype == before.data.dtype
    assert by_place(after) == by_place(before)


@settings(max_examples=40, deadline=None)
@given(
    turn=st.tuples(*[st.floats(-180, 180)] * 2),
    spacing=st.tuples(*[st.floats(0.05, 20)] * 3),
    tilt=st.floats(-40, 40),
    sides=st.tuples(*[st.integers(1, 6)] * 3),
)
def test_every_corner_stays_where_it_was(
    turn: tuple[float, float], spacing: tuple[float, float, float], tilt: float, sides: tuple[int, int, int]
) -> None:
    before = volume_of(pattern(sides), orientation=oblique(*turn), spacing_mm=spacing, tilt_deg=tilt)
    image = nifti_of(before)
    k, j, i = sides
    for at in ((0, 0, 0), (i - 1, j - 1, k - 1), (i - 1, 0, 0), (0, 0, k - 1)):
        lps = before.affine @ (*at, 1)
        ras = image.affine @ (at[0], j - 1 - at[1], at[2], 1)
        np.testing.assert_allclose(ras[:3], lps[:3] * (-1, -1, 1), atol=1e-4)
        assert image.dataobj[at[0], j - 1 - at[1], at[2]] == before.data[0, at[2], at[1], at[0]]


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32])
def test_types_and_extreme_values_are_kept_without_a_slope(tmp_path: Path, kind: Any) -> None:
    values = np.zeros((2, 3, 4), kind)
    bounds = np.finfo(kind) if kind is np.float32 else np.iinfo(kind)
    values[0, 0, 0], values[1, 2, 3] = bounds.min, bounds.max
    write_nifti(tmp_path / "a.nii", volume_of(values))
    image = nibabel.load(tmp_path / "a.nii")
    assert image.get_data_dtype() == kind and (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    raw = nibabel.Nifti1Header.from_fileobj((tmp_path / "a.nii").open("rb"), check=False)
    assert (float(raw["scl_slope"]), float(raw["scl_inter"])) == (1, 0)
    np.testing.assert_array_equal(read_back(tmp_path / "a.nii").data[0, ::1, ::-1], values)


def test_types_that_nifti_has_no_code_for_become_the_next_wider() -> None:
    assert nifti_of(volume_of(np.ones((1, 2, 2), np.bool_))).get_data_dtype() == np.uint8
    assert nifti_of(volume_of(np.ones((1, 2, 2), np.float16))).get_data_dtype() == np.float32


def test_big_endian_values_are_the_same_values(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", volume_of(pattern((2, 3, 4)).astype(">i2")))
    np.testing.assert_array_equal(read_back(tmp_path / "a.nii").data[0, :, ::-1], pattern((2, 3, 4)))


def test_both_forms_have_the_scanners_code_and_lengths_are_millimetres() -> None:
    header = nifti_of(volume_of(pattern((2, 3, 4)), orientation=oblique(10, 20))).header
    assert int(header["qform_code"]) == int(header["sform_code"]) == 1
    assert header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(header["pixdim"][:4], [-1, 0.9, 0.7, 2.0], rtol=1e-6)
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)


def test_shear_stands_in_the_sform_alone() -> None:
    header = nifti_of(volume_of(pattern((2, 3, 4)), tilt_deg=10)).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    assert abs(header.get_sform()[1, 2]) == pytest.approx(2 * np.tan(np.radians(10)), rel=1e-5)


@pytest.mark.parametrize(
    "affine, known, pixdim",
    [
        (np.eye(4), False, [0, 0, 0]),
        (np.diag([0.2, 0.3, 1.0, 1.0]), False, [0.2, 0.3, 0]),
        (np.diag([0.2, 0.3, 4.0, 1.0]), True, [0.2, 0.3, 4.0]),
    ],
)
def test_an_unknown_place_is_never_invented(tmp_path: Path, affine: Any, known: bool, pixdim: Any) -> None:
    flat = Volume(pattern((1, 3, 4))[None], affine, ("1.2.3",), known)
    assert not has_place(flat)
    write_nifti(tmp_path / "a.nii", flat)
    raw = nibabel.Nifti1Header.from_fileobj((tmp_path / "a.nii").open("rb"), check=False)
    assert int(raw["sform_code"]) == int(raw["qform_code"]) == 0
    np.testing.assert_allclose(raw["pixdim"][1:4], pixdim, rtol=1e-6)
    after = read_back(tmp_path / "a.nii")
    assert after.spacing_known == known
    np.testing.assert_array_equal(after.data[..., ::-1, :], flat.data)


def test_eight_bit_colour_is_rgb24_and_other_channels_are_a_fourth_axis(tmp_path: Path) -> None:
    colour = volume_of(pattern((3, 2, 3, 4), np.uint8))
    write_nifti(tmp_path / "a.nii.gz", colour)
    assert nibabel.load(tmp_path / "a.nii.gz").get_data_dtype().names == ("R", "G", "B")
    assert by_place(read_back(tmp_path / "a.nii.gz")) == by_place(colour)
    deep = volume_of(pattern((3, 2, 3, 4), np.uint16))
    write_nifti(tmp_path / "b.nii.gz", deep)
    assert nibabel.load(tmp_path / "b.nii.gz").shape == (4, 3, 2, 3)
    assert by_place(read_back(tmp_path / "b.nii.gz")) == by_place(deep)


def test_a_left_handed_volume_is_stored_as_it_is() -> None:
    left = volume_of(pattern((2, 3, 4)), orientation=AXIAL)
    mirrored = Volume(left.data, left.affine @ np.diag([1.0, 1.0, -1.0, 1.0]), left.source, True)
    np.testing.assert_array_equal(nifti_of(mirrored).dataobj, left.data[0].transpose(2, 1, 0))


def test_joined_volumes_are_steps_of_one_file(tmp_path: Path) -> None:
    steps = [volume_of(pattern((2, 3, 4)) + n) for n in range(3)]
    write_nifti(tmp_path / "a.nii.gz", joined_nifti(steps, step_seconds=2.5))
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.shape == (4, 3, 2, 3) and float(image.header["pixdim"][4]) == 2.5
    for n, step in enumerate(steps):
        np.testing.assert_array_equal(np.asarray(image.dataobj)[..., n], nifti_of(step).dataobj)
    assert float(joined_nifti(steps).header["pixdim"][4]) == 0


def test_joined_values_of_different_types_are_all_kept() -> None:
    made = joined_nifti(
        [volume_of(np.full((1, 2, 2), v, k)) for v, k in ((60000, np.uint16), (-5, np.int16))]
    )
    assert made.get_data_dtype() == np.int32 and set(np.unique(made.dataobj)) == {60000, -5}


def test_volumes_that_lie_apart_are_not_joined() -> None:
    one = volume_of(pattern((2, 3, 4)))
    shifted = np.array(one.affine)
    shifted[0, 3] += 0.01
    assert same_grid(one, one) and not same_grid(one, Volume(one.data, shifted, one.source, True))
    with pytest.raises(BadInput, match="different grids"):
        joined_nifti([one, Volume(one.data, shifted, one.source, True)])


def test_a_side_too_long_for_nifti_is_named() -> None:
    with pytest.raises(BadInput, match="32767"):
        nifti_of(volume_of(np.zeros((1, 1, 32768), np.uint8)))


def test_the_file_depends_on_the_volume_alone(tmp_path: Path) -> None:
    volume = volume_of(pattern((2, 3, 4)))
    write_nifti(tmp_path / "a.nii.gz", volume)
    write_nifti(tmp_path / "another name.nii.gz", volume)
    first = (tmp_path / "a.nii.gz").read_bytes()
    assert first == (tmp_path / "another name.nii.gz").read_bytes()
    head = gzip.decompress(first)[:352]
    assert not any(head[148:252]) and not any(head[4:40]) and not any(head[328:344])  # every text field


def test_a_closed_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(BadInput, match="--out"):
        write_nifti(tmp_path / "a file" / "a.nii", volume_of(pattern((2, 3, 4))))
    assert [p.name for p in tmp_path.iterdir()] == ["a file"]
