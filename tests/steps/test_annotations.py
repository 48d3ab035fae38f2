"""Marks from tables, COCO files and masks: where they lie, which images have none, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ct_mr_series import oblique, pattern, write_series
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume
from hounsfield.io.nifti_write import write_nifti
from hounsfield.steps.detection.annotations import Marks, read_marks
from phantoms import write_csv, write_png

LUNA = {"coordX": -20.0, "coordY": -34.0, "coordZ": 61.0, "diameter_mm": 3.0}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Two series of 8 x 20 x 24 voxels of 2 x 0.75 x 0.75 mm, one of them oblique."""
    folder = tmp_path_factory.mktemp("volumes")
    write_series(folder / "a", pattern((8, 20, 24)))
    write_series(folder / "b", pattern((8, 20, 24), salt=1), orientation=oblique(20, 30), series=2,
                 SeriesInstanceUID="1.2.826.0.1.3680043.8.498.7.2", StudyInstanceUID="1.2.3.4")  # fmt: skip
    return index_of(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("one", "two", "three"):
        write_png(folder / f"{name}.png", np.arange(600, dtype=np.uint8).reshape(20, 30))
    return index_of(folder)


def of(index: Index, name: str) -> str:
    """The id of the image whose file or series bears the name."""
    return next(s.id for s in index.series if name in s.files[0] or s.series.endswith(name))


def affine_of(index: Index, series_id: str) -> NDArray[np.float64]:
    series = next(s for s in index.series if s.id == series_id)
    with Source(index.source) as source:
        return read_volume(source, series).affine


def table(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    return write_csv(folder / "annotations.csv", list(rows))


def test_world_coordinates_become_voxels_of_an_oblique_series(volumes: Index, tmp_path: Path) -> None:
    rows, wanted = [], {}
    for series in volumes.series:
        affine = affine_of(volumes, series.id)
        x, y, z = (affine @ [12.25, 9.0, 3.5, 1])[:3]
        rows.append({"seriesuid": series.series, "coordX": x, "coordY": y, "coordZ": z, "diameter_mm": 3.0})
        wanted[series.id] = (3.5, 9.0, 12.25)
    marks = read_marks(table(tmp_path, rows), volumes)
    assert marks.classes == ("lesion",) and marks.count == 2
    for series_id, centre in wanted.items():
        one = marks.by_series[series_id][0]
        assert one.centre == pytest.approx(centre, abs=1e-4)
        assert one.size == pytest.approx((1.5, 4, 4)) and (one.shape, one.diameter_mm) == ("sphere", 3.0)


def test_the_affine_is_read_where_the_index_does_not_hold_it(volumes: Index, tmp_path: Path) -> None:
    bare = replace(volumes, series=tuple(replace(s, affine=(), digest="") for s in volumes.series))
    path = table(tmp_path, [{"seriesuid": volumes.series[0].series, **LUNA}])
    assert read_marks(path, bare).by_series == read_marks(path, volumes).by_series


def test_an_image_without_a_row_has_none_unless_others_are_said_to_have_none(
    volumes: Index, tmp_path: Path
) -> None:
    first, second = volumes.series
    row = {"seriesuid": first.series, **LUNA}
    marks = read_marks(table(tmp_path, [row]), volumes)
    assert marks.by_series[second.id] == () and "1 image(s) without a row" in marks.notes[0]
    empty = {"seriesuid": first.series, "coordX": "", "coordY": "", "coordZ": "", "diameter_mm": ""}
    assert read_marks(table(tmp_path, [empty]), volumes).by_series == {first.id: ()}


def test_classes_and_excluded_findings_are_told(volumes: Index, tmp_path: Path) -> None:
    uid = volumes.series[0].series
    rows = [
        {"seriesuid": uid, **LUNA, "class": "nodule", "excluded": 0},
        {"seriesuid": uid, **LUNA, "class": "mass", "excluded": "yes", "diameter_mm": -1},
    ]
    marks = read_marks(table(tmp_path, rows), volumes)
    assert marks.classes == ("mass", "nodule")
    nodule, mass = marks.by_series[volumes.series[0].id]
    assert (nodule.label, nodule.excluded, mass.label, mass.excluded) == (1, False, 0, True)
    assert mass.diameter_mm == 10
    given = read_marks(table(tmp_path, rows), volumes, classes=("nodule", "mass", "other"))
    assert (
        given.classes == ("nodule", "mass", "other") and given.by_series[volumes.series[0].id][0].label == 0
    )


def test_images_that_are_not_here_are_counted(volumes: Index, tmp_path: Path) -> None:
    rows = [{"seriesuid": volumes.series[0].series, **LUNA}, {"seriesuid": "1.2.3", **LUNA}]
    marks = read_marks(table(tmp_path, rows), volumes)
    assert marks.count == 1 and "1 image(s) that are not here" in " ".join(marks.notes)
    with pytest.raises(BadInput, match=r"names 1 image\(s\).*none is among the 2 images"):
        read_marks(table(tmp_path, rows[1:]), volumes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"coordX": 900.0}, r"1 of 1 objects lie outside their image, by up to 12.* voxels.*LPS"),
        ({"diameter_mm": 0}, r"1 of 1 objects have a size of 0 or less \(the smallest: 0 voxels\)"),
        ({"diameter_mm": -3}, "the smallest: -4 voxels"),
        ({"diameter_mm": "3,5"}, r"1 row\(s\).*other than a number in coordX"),
        ({"coordY": ""}, "other than a number"),
        ({"excluded": "perhaps"}, "other than 1 or 0"),
    ],
)
def test_rows_that_cannot_be_say_what_is_wrong(
    volumes: Index, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    row = {"seriesuid": volumes.series[0].series, **LUNA, **change}
    with pytest.raises(BadInput, match=said):
        read_marks(table(tmp_path, [row]), volumes)


def test_missing_columns_are_named(volumes: Index, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r'no column coordZ, diameter_mm.*did you mean "cordZ"'):
        read_marks(table(tmp_path, [{"seriesuid": "1", "coordX": 1, "coordY": 1, "cordZ": 1}]), volumes)
    with pytest.raises(BadInput, match="no column ymax, seriesuid"):
        read_marks(table(tmp_path, [{"id": "1", "xmin": 1, "ymin": 1, "xmax": 1}]), volumes)


def boxes(folder: Path, *rows: tuple[str, float, float, float, float, str]) -> Path:
    return table(
        folder, [dict(zip(("file", "xmin", "ymin", "xmax", "ymax", "class"), r, strict=True)) for r in rows]
    )


def test_pixel_boxes_are_half_open(pictures: Index, tmp_path: Path) -> None:
    path = boxes(tmp_path, ("one.png", 3, 4, 6, 9, "a"), ("sub/two.png", 0, 0, 30, 20, "a"))
    marks = read_marks(path, pictures)
    one, two = marks.by_series[of(pictures, "one")][0], marks.by_series[of(pictures, "two")][0]
    assert (one.centre, one.size) == ((0, 6, 4), (1, 5, 3))
    assert two.low == (-0.5, -0.5, -0.5) and two.high == (0.5, 19.5, 29.5)
    assert marks.by_series[of(pictures, "three")] == ()


def test_boxes_beyond_the_image_say_how_far(pictures: Index, tmp_path: Path) -> None:
    fine = boxes(tmp_path, ("one.png", -0.6, 4, 6, 9, "a"))
    assert read_marks(fine, pictures).count == 1
    far = boxes(tmp_path, ("one.png", 3, 4, 6, 9, "a"), ("two.png", 20, 4, 37.5, 9, "a"))
    with pytest.raises(BadInput, match=r"1 of 2 objects lie outside their image, by up to 6\.5 voxels"):
        read_marks(far, pictures)
    with pytest.raises(BadInput, match="upper corners above lower ones"):
        read_marks(boxes(tmp_path, ("one.png", 6, 4, 3, 9, "a")), pictures)


def test_volumes_need_boxes_in_space(volumes: Index, tmp_path: Path) -> None:
    row = {"series": volumes.series[0].series, "xmin": 2, "ymin": 3, "xmax": 6, "ymax": 8}
    with pytest.raises(BadInput, match="no zmin, zmax"):
        read_marks(table(tmp_path, [row]), volumes)
    one = read_marks(table(tmp_path, [{**row, "zmin": 1, "zmax": 3}]), volumes).by_series[
        volumes.series[0].id
    ][0]
    assert (one.centre, one.size) == ((1.5, 5, 3.5), (2, 5, 4))


@pytest.mark.parametrize(
    ("names", "classes", "said"),
    [
        (("Nodule", "nodule "), (), '"Nodule" and "nodule" are two names for one class'),
        (("lung_nodule", "Lung nodule"), (), "two names for one class"),
        (("Nodule",), ("nodule",), 'name "Nodule" where the classes say "nodule"'),
        (("nodul",), ("nodule", "mass"), 'name "nodul".*did you mean "nodule"'),
        (("a",), ("a", "A"), "two names for one class"),
        (("a",), ("a", ""), "has no name"),
    ],
)
def test_names_must_be_those_of_the_classes(
    pictures: Index, tmp_path: Path, names: Sequence[str], classes: Sequence[str], said: str
) -> None:
    path = boxes(tmp_path, *(("one.png", 1, 1, 4, 4, name) for name in names))
    with pytest.raises(BadInput, match=said):
        read_marks(path, pictures, classes=classes)


def coco(folder: Path, **parts: Any) -> Path:
    held: dict[str, Any] = {
        "images": [
            {"id": 7, "file_name": "one.png", "width": 30, "height": 20},
            {"id": 9, "file_name": "two.png"},
        ],
        "categories": [{"id": 3, "name": "mass"}, {"id": 1, "name": "calcification"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [3, 4, 6, 9]},
            {"image_id": 7, "category_id": 3, "bbox": [0.5, 0, 2, 2], "iscrowd": 1},
        ],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(held | parts))
    return path


def test_coco_boxes_categories_crowds_and_images_without_any(pictures: Index, tmp_path: Path) -> None:
    marks = read_marks(coco(tmp_path), pictures)
    assert marks.classes == ("mass", "calcification")
    assert set(marks.by_series) == {of(pictures, "one"), of(pictures, "two")}
    assert marks.by_series[of(pictures, "two")] == ()
    box, crowd = marks.by_series[of(pictures, "one")]
    assert (box.label, box.low, box.high) == (1, (-0.5, 3.5, 2.5), (0.5, 12.5, 8.5))
    assert crowd.excluded and not box.excluded


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"images": [{"id": 7, "file_name": "one.png", "width": 60, "height": 40}], "annotations": []},
         "1 of 1 images have another height"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}]}, "does not list"),
        ({"annotations": [{"image_id": 7, "bbox": [1, 1, 2, 2]}]}, "have no category_id"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 1, 2]}]}, "not a COCO file"),
        ({"categories": None}, "not a COCO file"),
        ({"images": [{"id": 7, "file_name": "x9.png"}], "annotations": []}, "none is among the 3 images"),
    ],
)  # fmt: skip
def test_broken_coco_files_say_what_is_wrong(
    pictures: Index, tmp_path: Path, parts: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        read_marks(coco(tmp_path, **parts), pictures)


def test_coco_does_not_fit_volumes(volumes: Index, tmp_path: Path) -> None:
    path = coco(tmp_path, images=[{"id": 7, "file_name": volumes.series[0].series}], annotations=[])
    with pytest.raises(BadInput, match=r"1 volume\(s\)"):
        read_marks(path, volumes)


def masks(
    index: Index,
    folder: Path,
    mask: NDArray[Any],
    *,
    which: int = 0,
    affine: NDArray[np.float64] | None = None,
    suffix: str = "_mask",
    classes: Sequence[str] = (),
) -> Marks:
    series = index.series[which]
    placed = affine_of(index, series.id) if affine is None else affine
    folder.mkdir(exist_ok=True)
    write_nifti(folder / f"{series.series}{suffix}.nii.gz", Volume(mask[None], placed, (), True))
    return read_marks(folder, index, classes=classes)


def balls() -> NDArray[np.uint8]:
    mask = np.zeros((8, 20, 24), np.uint8)
    mask[2:5, 4:8, 6:12] = 1
    mask[6, 15, 20] = 1
    return mask


def test_every_component_of_a_mask_is_an_object(volumes: Index, tmp_path: Path) -> None:
    marks = masks(volumes, tmp_path / "m", balls())
    large, small = marks.by_series[volumes.series[0].id]
    assert (large.centre, large.size) == ((3, 5.5, 8.5), (3, 4, 6))
    assert (small.centre, small.size, small.diameter_mm) == ((6, 15, 20), (1, 1, 1), 0.75)
    assert volumes.series[1].id not in marks.by_series and "1 image(s) have no mask" in " ".join(marks.notes)


def test_labels_are_objects_even_where_they_touch(volumes: Index, tmp_path: Path) -> None:
    mask = balls()
    mask[2:5, 4:8, 9:12] = 2
    sizes = [m.size for m in masks(volumes, tmp_path / "m", mask).by_series[volumes.series[0].id]]
    assert sorted(sizes) == [(3, 4, 3), (5, 12, 15)]


def test_labels_are_classes_where_there_are_several(volumes: Index, tmp_path: Path) -> None:
    mask = balls()
    mask[6, 15, 20] = 2
    marks = masks(volumes, tmp_path / "m", mask, classes=("nodule", "mass"))
    assert [m.label for m in marks.by_series[volumes.series[0].id]] == [0, 1]
    with pytest.raises(BadInput, match="the label 3; expected 1 to 2"):
        masks(volumes, tmp_path / "m", mask + (mask > 1), classes=("nodule", "mass"))


def test_a_mask_on_another_grid_is_placed_by_its_affine(volumes: Index, tmp_path: Path) -> None:
    wanted = masks(volumes, tmp_path / "m", balls(), which=1).by_series[volumes.series[1].id]
    fine = np.repeat(balls(), 2, axis=2)[:, :, ::-1]  # twice as fine along i, and turned about
    affine = affine_of(volumes, volumes.series[1].id).copy()
    half = affine[:3, 0] / 2
    affine[:3, 3] += half * (fine.shape[2] - 1) - half / 2
    affine[:3, 0] = -half
    found = masks(volumes, tmp_path / "n", fine, which=1, affine=affine).by_series[volumes.series[1].id]
    for one, other in zip(sorted(wanted, key=str), sorted(found, key=str), strict=True):
        assert other.centre == pytest.approx(one.centre, abs=1e-3)
        assert other.size == pytest.approx(one.size, abs=1e-3)


def test_a_mask_of_nothing_says_that_there_is_none(volumes: Index, tmp_path: Path) -> None:
    assert masks(volumes, tmp_path / "m", balls() * 0).by_series == {volumes.series[0].id: ()}


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (balls().astype(np.float32) * 0.5, "holds fractions"),
        (balls().astype(np.int16) * -1, "negative labels"),
    ],
)
def test_masks_that_are_no_labels_are_refused(
    volumes: Index, tmp_path: Path, mask: NDArray[Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        masks(volumes, tmp_path / "m", mask)


def test_masks_of_pictures_are_black_and_white(pictures: Index, tmp_path: Path) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[3:6, 10:20] = 255
    write_png(tmp_path / "one_mask.png", mask)
    one = read_marks(tmp_path, pictures).by_series[of(pictures, "one")][0]
    assert (one.centre, one.size, one.diameter_mm) == ((0, 4, 14.5), (1, 3, 10), None)
    write_png(tmp_path / "one_mask.png", mask[:10])
    with pytest.raises(BadInput, match=r"1×10×30 voxels.*1×20×30"):
        read_marks(tmp_path, pictures)


def test_two_masks_of_one_image_and_masks_among_images_are_refused(volumes: Index, tmp_path: Path) -> None:
    masks(volumes, tmp_path / "m", balls())
    with pytest.raises(BadInput, match="more than one mask"):
        masks(volumes, tmp_path / "m", balls(), suffix="")
    images = index_of(tmp_path / "m")
    with pytest.raises(BadInput, match="in one folder"):
        read_marks(tmp_path / "m", images)


def test_what_is_no_source_of_annotations_says_what_is_one(volumes: Index, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(BadInput, match=r"holds 1 file\(s\), none of them annotations; expected a COCO"):
        read_marks(tmp_path, volumes)
    table(tmp_path, [{"seriesuid": volumes.series[0].series, **LUNA}])
    assert read_marks(tmp_path, volumes).count == 1
