"""A case on the plan's grid and back: places, labels, channels of other grids, levels, and their store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.marked import Marked
from hounsfield.core.plan import Grid, Plan, Segmentation
from hounsfield.io.source import Source
from hounsfield.steps.regions.grid_store import GridStore, Placed
from hounsfield.steps.regions.prepare import grid_folder, prepare_grid
from hounsfield.steps.regions.to_grid import Native, gridded, marks_on_grid, native_case
from hounsfield.steps.scan import scan
from hounsfield.steps.segmentation.outline import to_native_labels
from outlines import ball, save_nifti

Three = tuple[int, int, int]
SHAPE: Three = (18, 30, 24)


def _native(
    data: NDArray[Any], *, spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    labels: NDArray[np.uint8] | None = None, within: NDArray[np.bool_] | None = None,
) -> Native:  # fmt: skip
    return Native(data, np.diag([*(spacing[::-1] or (1.0,) * 3), 1.0]), spacing, labels, within)


def _noise(shape: Three = SHAPE, channels: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(100, 20, (channels, *shape)).astype(np.float32)


def _case(
    folder: Path, *, images: tuple[str, ...] = ("image",), masks: tuple[tuple[str, str], ...] = ()
) -> tuple[Case, Any]:
    """A case of files in the folder, by their names without ending."""
    index = scan(str(folder))
    by_name = {s.id.removesuffix(".nii.gz").rsplit("/", 1)[-1]: s for s in index.series}
    by_name |= {Path(s.files[0]).name.removesuffix(".nii.gz"): s for s in index.series}
    return Case(
        "case 1", "p", tuple(by_name[n] for n in images), masks=tuple((n, by_name[m]) for n, m in masks)
    ), Source(index.source)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.8), (0.5, 1.7, 1.1)])
def test_places_go_to_the_grid_and_back(spacing: tuple[float, ...]) -> None:
    data = _noise()
    data[:, :4] = data[:, :, :, 20:] = data.min()  # is cut away
    place = gridded(_native(data, spacing=spacing), Grid(spacing_mm=(1.0, 1.0, 1.0))).place
    assert place.low == (4, 0, 0) and place.high == (18, 30, 20)
    for at in [(4.0, 0.0, 0.0), (9.3, 17.2, 8.9), (17.0, 29.0, 19.0)]:
        assert np.allclose(place.to_native(place.from_native(at)), at)
    assert np.allclose(place.to_native((-0.5, -0.5, -0.5)), (3.5, -0.5, -0.5))
    assert np.allclose(place.to_native(np.array(place.shape) - 0.5), (17.5, 29.5, 19.5))


def _stored_as(native: Native, codes: str) -> Native:
    """The same volume in a file whose columns, rows and slices run to `codes`, by nibabel."""
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    made = []
    for part in (native.data[0], native.labels):
        image = nibabel.Nifti1Image(np.asarray(part).transpose(2, 1, 0), to_ras @ native.affine)
        want = nibabel.orientations.axcodes2ornt(codes)
        have = nibabel.orientations.io_orientation(image.affine)
        made.append(image.as_reoriented(nibabel.orientations.ornt_transform(have, want)))
    affine = to_ras @ made[0].affine
    i, j, k = (float(np.linalg.norm(affine[:3, a])) for a in range(3))
    data, labels = (np.asarray(m.dataobj).transpose(2, 1, 0) for m in made)
    return Native(data[None], affine, (k, j, i), labels, None)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LAS", "PIR", "SRA", "AIL"])
def test_the_same_anatomy_is_shown_alike_however_its_file_runs(codes: str) -> None:
    data = _noise()
    data[:, :3] = data[:, :, 25:] = data.min()  # is cut away
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:9, 3:20, 11:14] = 1
    first = _native(data, spacing=(2.0, 1.0, 0.7), labels=labels)
    plan = Grid(spacing_mm=(1.5, 1.0, 1.0), orientation="LPS")
    wanted, stored = gridded(first, plan), _stored_as(first, codes)
    assert codes == "LPS" or stored.shape != SHAPE or not np.array_equal(stored.data, data)
    found = gridded(stored, plan)
    assert np.allclose(found.data, wanted.data, atol=1e-3) and np.array_equal(found.labels, wanted.labels)
    assert found.place.shape == wanted.place.shape and np.allclose(found.place.spacing, wanted.place.spacing)
    # What is found there lies in the file's own order: labels, places and sizes.
    place, whole = found.place, Plan(segmentation=Segmentation(structures=("a",)), grid=plan)
    shares = np.stack([found.labels == n for n in range(2)]).astype(np.float32)
    import torch

    back = to_native_labels(torch.from_numpy(shares), place, whole)
    assert back.shape == stored.shape
    assert 2 * (back & stored.labels).sum() / (back.sum() + stored.labels.sum()) > 0.9
    centre = np.argwhere(stored.labels).mean(0)
    mark = Marked(0, tuple(centre), tuple(np.ptp(np.argwhere(stored.labels), 0) + 1.0))  # type: ignore[arg-type]
    (moved,) = marks_on_grid([mark], place)
    assert np.allclose(place.to_native(moved.centre), centre)
    assert np.allclose(place.size_to_native(moved.size), mark.size)
    at = np.argwhere(found.labels)
    assert np.allclose(moved.centre, at.mean(0), atol=0.5)
    assert np.allclose(moved.size, np.ptp(at, 0) + 1, atol=1.6)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.7, 0.7), (0.6, 1.2, 0.9)])
def test_labels_go_to_the_grid_and_back_where_they_were(spacing: tuple[float, ...]) -> None:
    shape = tuple(round(30 / s) for s in spacing)
    at = np.stack(np.indices(shape), -1) * spacing
    labels = np.zeros(shape, np.uint8)
    labels[((at - (15, 11, 11)) ** 2).sum(-1) < 6**2] = 1
    labels[((at - (15, 21, 21)) ** 2).sum(-1) < 5**2] = 2
    made = gridded(_native(_noise(shape), spacing=spacing, labels=labels), Grid(spacing_mm=(1.0, 1.0, 1.0)))  # type: ignore[arg-type]
    assert made.labels is not None and made.data.shape[1:] == made.labels.shape == (30, 30, 30)
    plan = Plan(segmentation=Segmentation(structures=("a", "b")), grid=Grid(spacing_mm=(1.0, 1.0, 1.0)))
    shares = np.stack([made.labels == n for n in range(3)]).astype(np.float32)
    import torch

    back = to_native_labels(torch.from_numpy(shares), made.place, plan)
    for label in (1, 2):
        volume = (made.labels == label).sum() / ((labels == label).sum() * np.prod(spacing))
        assert volume == pytest.approx(1, abs=0.06)
        centres = [np.argwhere(x == label).mean(0) for x in (labels, back)]
        assert np.abs(centres[0] - centres[1]).max() < 0.5  # a voxel of the image
        assert (
            2
            * ((back == label) & (labels == label)).sum()
            / ((back == label).sum() + (labels == label).sum())
            > 0.88
        )


def test_the_grid_of_the_image_itself_changes_nothing() -> None:
    labels = np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint8)
    data = _noise()
    for grid, spacing in ((Grid(spacing_mm=(1.0, 1.0, 1.0)), (1.0, 1.0, 1.0)), (Grid(), ())):
        made = gridded(_native(data, labels=labels, spacing=spacing), grid)
        assert np.array_equal(made.data, data) and np.array_equal(made.labels, labels)  # type: ignore[arg-type]


def test_labels_that_do_not_count_stay_so_on_the_grid() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[:, :10] = 255
    made = gridded(
        _native(_noise((20, 20, 20)), labels=labels, spacing=(2.0,) * 3), Grid(spacing_mm=(1.0,) * 3)
    )
    assert made.labels is not None and set(np.unique(made.labels)) == {0, 255}
    assert (made.labels == 255).mean() == pytest.approx(0.5, abs=0.03)


def test_marks_follow_their_image() -> None:
    place = Placed((10, 40, 40), (0, 10, 0), (10, 40, 40), (20, 15, 20), (2.0, 1.0, 1.0), ())
    (mark,) = marks_on_grid((Marked(0, (4.5, 24.5, 9.5), (3.0, 8.0, 8.0)),), place)
    assert mark.centre == (9.5, 7.0, 4.5) and mark.size == (6.0, 4.0, 4.0)


def test_an_image_without_a_spacing_cannot_be_brought_to_one() -> None:
    with pytest.raises(BadInput, match="does not say its own; leave it empty"):
        gridded(_native(_noise(), spacing=()), Grid(spacing_mm=(1.0, 1.0, 1.0)))


def test_a_grid_of_too_many_voxels_is_refused() -> None:
    with pytest.raises(BadInput, match=r"makes an image of .* voxels; .*coarser"):
        gridded(_native(_noise()), Grid(spacing_mm=(0.01, 0.01, 0.01)))


def test_an_image_of_other_channels_than_the_plans_is_refused() -> None:
    with pytest.raises(BadInput, match=r"3 channel.* 1 \(image\)"):
        gridded(_native(_noise(channels=3)), Grid())


@pytest.mark.parametrize("kind", ["zscore", "percentile", "unit", "fixed"])
def test_levels_bring_numbers_where_the_plan_says(kind: Any) -> None:
    data = _noise()
    data[0, :, :15] = 0.0  # the background is not the image's own foreground
    fixed = ((80.0, 120.0, 100.0, 10.0),) if kind == "fixed" else ()
    ((scale, offset, low, high),) = gridded(_native(data), Grid(normalise=(kind,), fixed=fixed)).levels
    seen = np.clip(data[0, :, 15:] * scale + offset, low, high)
    if kind == "zscore":
        assert seen.mean() == pytest.approx(0, abs=0.02) and seen.std() == pytest.approx(1, abs=0.02)
    elif kind == "fixed":
        assert (seen.min(), seen.max()) == pytest.approx((-2, 2)) and abs(seen.mean()) < 0.05
    else:
        assert seen.min() == 0 and seen.max() == 1
        ends = np.percentile(data[0, :, 15:], (0.5, 99.5)) * scale + offset
        assert np.allclose(ends, (0, 1), atol=0.02)


def test_levels_are_measured_inside_the_field_of_view() -> None:
    data = _noise((1, 40, 40))
    within = np.zeros((1, 40, 40), bool)
    within[:, :20] = True
    data[:, ~within] = 10_000.0
    (level,) = gridded(_native(data, within=within, spacing=()), Grid(normalise=("zscore",))).levels
    assert (data[0][within] * level[0] + level[1]).mean() == pytest.approx(0, abs=0.05)


def test_an_image_of_one_number_has_finite_levels() -> None:
    for kind in ("zscore", "percentile", "unit"):
        made = gridded(_native(np.full((1, *SHAPE), 7, np.int16)), Grid(normalise=(kind,)))  # type: ignore[arg-type]
        assert np.isfinite(made.levels).all() and made.data.shape[1:] == SHAPE


def test_a_channel_of_another_grid_is_brought_to_the_first(tmp_path: Path) -> None:
    inside = ball(SHAPE, np.array([8, 14, 12]), 5)
    save_nifti(tmp_path / "image.nii.gz", inside.astype(np.int16) * 100)
    fine = np.repeat(np.repeat(np.repeat(inside, 2, 0), 2, 1), 2, 2).astype(np.int16) * 50
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = -0.25
    nibabel.save(nibabel.Nifti1Image(fine.transpose(2, 1, 0), affine), tmp_path / "pet.nii.gz")
    case, source = _case(tmp_path, images=("image", "pet"))
    with source:
        made = native_case(source, case, ())
    assert made.data.shape == (2, *SHAPE) and made.data.dtype == np.float32
    assert np.corrcoef(made.data[0].ravel(), made.data[1].ravel())[0, 1] > 0.95


def test_channels_that_do_not_show_the_same_place_are_refused(tmp_path: Path) -> None:
    save_nifti(tmp_path / "image.nii.gz", _noise()[0])
    save_nifti(tmp_path / "pet.nii.gz", _noise()[0], shift=20.0)
    case, source = _case(tmp_path, images=("image", "pet"))
    with source, pytest.raises(BadInput, match=r"case 1: channel 2 shows \d+% .*--channels"):
        native_case(source, case, ())


def test_a_mask_in_another_order_of_voxels_is_turned(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 3:9, 4:20] = 1
    save_nifti(tmp_path / "image.nii.gz", _noise()[0])
    flipped = labels[:, ::-1].transpose(1, 2, 0)  # (J reversed, I, K) as NIfTI's first, second, third axis
    affine = np.zeros((4, 4))
    affine[1, 0], affine[0, 1], affine[2, 2], affine[3, 3] = -1, 1, 1, 1
    affine[1, 3] = SHAPE[1] - 1
    nibabel.save(nibabel.Nifti1Image(flipped, affine), tmp_path / "mask.nii.gz")
    case, source = _case(tmp_path, masks=(("", "mask"),))
    with source:
        made = native_case(source, case, ("a",))
    assert np.array_equal(made.labels, labels)  # type: ignore[arg-type]


def test_a_mask_of_another_grid_says_how_far_and_is_resampled_on_demand(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:9, 5:15, 5:15] = 1
    save_nifti(tmp_path / "image.nii.gz", _noise()[0])
    save_nifti(tmp_path / "mask.nii.gz", labels, shift=2.0)
    case, source = _case(tmp_path, masks=(("", "mask"),))
    with source:
        with pytest.raises(BadInput, match=r"case 1: .*lies 2\.00 mm away; .*--resample-masks"):
            native_case(source, case, ("a",))
        made = native_case(source, case, ("a",), resample_masks=True)
    assert made.labels is not None and np.array_equal(made.labels[:, :, 2:], labels[:, :, :-2])


def test_a_file_a_structure_and_the_label_to_ignore(tmp_path: Path) -> None:
    one, two = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    one[2:6], two[8:12], two[13] = 1, 1, 1
    save_nifti(tmp_path / "image.nii.gz", _noise()[0])
    save_nifti(tmp_path / "spleen.nii.gz", one)
    save_nifti(tmp_path / "liver.nii.gz", two)
    save_nifti(tmp_path / "map.nii.gz", one + 9 * two)
    case, source = _case(tmp_path, masks=(("spleen", "spleen"), ("liver", "liver")))
    with source:
        made = native_case(source, case, ("liver", "spleen"))
    assert np.array_equal(made.labels, 2 * one + two)  # type: ignore[arg-type]
    case, source = _case(tmp_path, masks=(("", "map"),))
    with source:
        made = native_case(source, case, ("a",), ignore=9)
    assert np.array_equal(made.labels, one + 255 * two)  # type: ignore[arg-type]


def test_structures_that_lie_on_one_another_are_refused_by_name(tmp_path: Path) -> None:
    one, two = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    one[2:6], two[4:8] = 1, 1
    save_nifti(tmp_path / "image.nii.gz", _noise()[0])
    save_nifti(tmp_path / "spleen.nii.gz", one)
    save_nifti(tmp_path / "liver.nii.gz", two)
    case, source = _case(tmp_path, masks=(("liver", "liver"), ("spleen", "spleen")))
    shared = int((one & two).sum())
    with source, pytest.raises(BadInput, match=f'case 1: the mask of "spleen" shares {shared} of its voxels'):
        native_case(source, case, ("liver", "spleen"))


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    data = _noise()[0]
    data[0, 0, 0] = np.nan
    save_nifti(tmp_path / "image.nii.gz", data)
    case, source = _case(tmp_path)
    with source, pytest.raises(BadInput):
        native_case(source, case, ())


def test_the_store_gives_back_what_was_put_in_and_is_used_again(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 4:20, 4:20], labels[10, 10, 10] = 1, 2
    save_nifti(tmp_path / "s" / "image.nii.gz", _noise()[0].astype(np.int16))
    save_nifti(tmp_path / "s" / "mask.nii.gz", labels)
    case, source = _case(tmp_path / "s", masks=(("", "mask"),))
    source.__exit__(None, None, None)
    plan = Plan(segmentation=Segmentation(structures=("a", "b")), grid=Grid(spacing_mm=(1.0, 1.0, 1.0)))
    asked = [(tmp_path / "s").as_posix(), [case], plan, tmp_path / "cache"]
    store = prepare_grid(*asked, state="1")  # type: ignore[arg-type]
    again = prepare_grid(*asked, state="1")  # type: ignore[arg-type]
    opened = GridStore.open(grid_folder(tmp_path / "cache"))
    assert opened is not None
    for held in (store, again, opened):
        assert np.array_equal(held.image("case 1")[0], _noise()[0].astype(np.int16))
        assert np.array_equal(held.labels("case 1"), labels)  # type: ignore[arg-type]
        assert held.some_voxels("case 1", 2).tolist() == [[10, 10, 10]]
        assert held.rows["case 1"] == store.rows["case 1"]
        assert held.rows["case 1"].foreground == {0: labels.size - 1025, 1: 1024, 2: 1}
    before = (grid_folder(tmp_path / "cache") / "pixels.bin").stat().st_mtime_ns
    prepare_grid(*asked, state="1")  # type: ignore[arg-type]
    assert (grid_folder(tmp_path / "cache") / "pixels.bin").stat().st_mtime_ns == before
    prepare_grid(*asked, state="2")  # type: ignore[arg-type]
    assert (grid_folder(tmp_path / "cache") / "pixels.bin").stat().st_mtime_ns != before
    assert GridStore.open(grid_folder(tmp_path / "cache"), "other") is None
