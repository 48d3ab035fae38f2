"""A volume on another grid is where ITK puts it, keeps its labels, and stays as it is on its own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume
from hounsfield.transforms.onto_grid import onto_grid, same_place

ORDERS = ("nearest", "linear", "cubic")


def _affine(spacing_ijk: tuple[float, float, float], origin: tuple[float, ...], turn: NDArray[np.float64]):
    made = np.eye(4)
    made[:3, :3] = turn * np.array(spacing_ijk)
    made[:3, 3] = origin
    return made


def _turned(*degrees: float) -> NDArray[np.float64]:
    made = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        made = made @ turn
    return made


def _smooth(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=shape)
    return (1000 * gaussian_filter(noise, (0, 1, 1.5, 1.5))).astype(np.float32)


GRIDS = {
    "finer": ((20, 30, 28), _affine((0.71, 0.63, 1.1), (-3.03, 2.017, 1.07), np.eye(3))),
    "coarser and mirrored": ((6, 9, 7), _affine((2.1, 2.3, 4.0), (18.0, 1.0, 0.3), np.diag([-1.0, 1, 1]))),
    "other axes": ((22, 11, 25), _affine((1.0, 2.0, 0.9), (-2.0, -1.0, -4.0), np.eye(3)[:, [2, 0, 1]])),
    "oblique": ((14, 17, 19), _affine((0.9, 1.2, 1.7), (0.0, 1.0, 2.0), _turned(12.0, -7.0, 25.0))),
}  # fmt: skip
SOURCE = _affine((0.8, 1.3, 2.5), (-4.0, 3.0, -1.0), np.eye(3))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("order", ["nearest", "linear"])
def test_places_are_those_of_simpleitk(grid: str, order: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    data = _smooth((1, 9, 16, 22), 3)
    shape, affine = GRIDS[grid]

    def reference(matrix: NDArray[np.float64]) -> dict[str, list[float]]:
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        return {
            "spacing": spacing.tolist(),
            "origin": matrix[:3, 3].tolist(),
            "direction": (matrix[:3, :3] / spacing).ravel().tolist(),
        }

    image = sitk.GetImageFromArray(data[0])
    at = reference(SOURCE)
    image.SetSpacing(at["spacing"]), image.SetOrigin(at["origin"]), image.SetDirection(at["direction"])
    to = reference(affine)
    how = sitk.sitkLinear if order == "linear" else sitk.sitkNearestNeighbor
    wanted = sitk.Resample(
        image, shape[::-1], sitk.Transform(), how, to["origin"], to["spacing"], to["direction"], -1e4
    )
    found = onto_grid(Volume(data, SOURCE, (), True), shape, affine, order=order, outside=-1e4)[0]
    apart = np.abs(found - sitk.GetArrayFromImage(wanted))
    if order == "linear":
        assert apart.max() < 0.02  # of values up to hundreds: single precision
    else:  # a place amid two voxels may fall to either
        assert (apart > 0).mean() < 0.01
    assert (found > -1e4).mean() > 0.05


@pytest.mark.parametrize("grid", GRIDS)
def test_cubic_is_the_spline_of_scipy(grid: str) -> None:
    data = _smooth((2, 9, 16, 22), 4)
    shape, affine = GRIDS[grid]
    found = onto_grid(Volume(data, SOURCE, (), True), shape, affine, order="cubic", outside=0)
    index = np.indices(shape)[::-1].reshape(3, -1)
    at = (np.linalg.inv(SOURCE) @ affine @ np.vstack((index, np.ones(index.shape[1]))))[2::-1]
    within = ((at > 0) & (at < np.array([[8.0], [15.0], [21.0]]))).all(0)
    for channel, made in zip(data.astype(float), found, strict=True):
        wanted = map_coordinates(channel, at, order=3, mode="mirror")
        np.testing.assert_allclose(made.ravel()[within], wanted[within], atol=0.02)


@pytest.mark.parametrize("order", ORDERS)
def test_the_same_grid_gives_the_same_numbers(order: str) -> None:
    data = _smooth((1, 4, 5, 6), 5)
    rounded = SOURCE.astype(np.float32).astype(float)  # as NIfTI holds it
    assert np.array_equal(onto_grid(Volume(data, SOURCE, (), True), (4, 5, 6), rounded, order=order), data)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.uint16, np.int32, np.float64, ">i2"])
def test_labels_keep_their_values_in_any_direction(dtype: str) -> None:
    data = (np.indices((8, 9, 10)).sum(0) % 2)[None].astype(dtype)
    for shape, affine in GRIDS.values():
        found = onto_grid(Volume(data, SOURCE, (), True), shape, affine, order="nearest", outside=0)
        assert set(np.unique(found).tolist()) <= {0, 1}
        assert found.dtype == (np.uint8 if dtype is np.bool_ else np.dtype(dtype).newbyteorder("="))


@pytest.mark.parametrize("order", ORDERS)
def test_mirroring_and_turning_a_quarter_moves_voxels_and_changes_none(order: str) -> None:
    data = _smooth((1, 4, 5, 6), 6)
    turned = np.eye(4)[:, [1, 2, 0, 3]].copy()  # i runs along y, j along z, k along x
    turned[:, 1] *= -1
    turned[2, 3] = 3
    found = onto_grid(Volume(data, np.eye(4), (), True), (6, 4, 5), turned, order=order)
    np.testing.assert_allclose(found[0], data[0].transpose(2, 0, 1)[:, ::-1], rtol=1e-5, atol=1e-3)


def test_outside_is_the_least_value_unless_said() -> None:
    volume = Volume(np.array([[[[3, 7]]]], np.int16), np.eye(4))
    far = np.eye(4)
    far[0, 3] = 5
    assert onto_grid(volume, (1, 1, 2), far, order="linear").tolist() == [[[[3, 3]]]]
    assert onto_grid(volume, (1, 1, 2), far, order="nearest", outside=-9).tolist() == [[[[-9, -9]]]]
    with pytest.raises(BadInput, match=r"outside=0\.5 is no number of int16"):
        onto_grid(volume, (1, 1, 2), far, order="nearest", outside=0.5)


def test_one_slice_is_taken_whatever_its_thickness() -> None:
    picture = Volume(np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3), np.diag([1.0, 1, 8, 1]), (), True)
    assert same_place((1, 2, 3), picture.affine, np.diag([1.0, 1, 3, 1]))
    finer = onto_grid(picture, (1, 2, 5), np.diag([0.5, 1, 3, 1]), order="linear")
    assert finer[0, 0, 0].tolist() == [0, 0.5, 1, 1.5, 2]


def test_a_grid_without_a_way_back_is_refused() -> None:
    with pytest.raises(BadInput, match="a spacing of 0"):
        onto_grid(
            Volume(np.zeros((1, 2, 2, 2)), np.diag([1.0, 1, 0, 1])), (2, 2, 3), np.eye(4), order="linear"
        )
    with pytest.raises(BadInput, match='choose "linear"'):
        onto_grid(Volume(np.zeros((1, 2, 2, 2)), np.eye(4)), (2, 2, 3), np.eye(4), order="lanczos")


@pytest.mark.realdata
@pytest.mark.parametrize("other", ["PET", "MR_T1"])
def test_a_patients_pet_and_mr_come_onto_the_ct_as_by_simpleitk(real_data: Path, other: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    folder = real_data / "sts_petctmr" / "STS_003"
    if not folder.is_dir():
        pytest.skip("the sarcoma cohort is not among the real images here")
    moving, ct = (sitk.ReadImage(str(folder / f"{name}_image.nii.gz")) for name in (other, "CT"))
    affine = np.eye(4)
    affine[:3, :3] = np.array(ct.GetDirection()).reshape(3, 3) * np.array(ct.GetSpacing())
    affine[:3, 3] = ct.GetOrigin()
    path = folder / f"{other}_image.nii.gz"
    with Source(path) as source:
        volume = read_volume(source, index_of(path).series[0])
    for order, how in (("linear", sitk.sitkLinear), ("nearest", sitk.sitkNearestNeighbor)):
        wanted = sitk.GetArrayFromImage(
            sitk.Resample(moving, ct, sitk.Transform(), how, 0.0, sitk.sitkFloat32)
        )
        found = onto_grid(volume, wanted.shape, affine, order=order, outside=0)[0]
        assert np.abs(found - wanted).max() < 1e-6 * wanted.max()
