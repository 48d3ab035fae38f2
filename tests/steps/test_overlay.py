"""Masks and found objects over their image: one picture from every form, in the right place, or why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ct_mr_series import oblique, pattern, write_series
from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume
from hounsfield.io.dicom.seg_write import write_segmentation
from hounsfield.io.dicom.segment_volume import segmentation_volume
from hounsfield.io.nifti_write import write_nifti
from hounsfield.steps.results.cases import Located, Outlined
from hounsfield.steps.results.located import write_located
from hounsfield.steps.results.outlined import write_outlined
from hounsfield.steps.show import Shown, View, as_object, show
from hounsfield.tasks.detection import Candidates
from phantoms import hu

SHAPE = (6, 20, 24)
NAMES = ("liver", "left kidney")


def _labels() -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 4:12, 6:15] = 1
    labels[3, 14:18, 2:9] = 2
    return labels


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An oblique series numbered from its last slice, and what was written of places in it."""
    home = tmp_path_factory.mktemp("overlay")
    folder, out = home / "series", home / "out"
    write_series(folder, pattern(SHAPE), orientation=oblique(15, -20), descending=True)
    series = index_of(folder).series[0]
    with Source(folder) as source:
        volume = read_volume(source, series)
        case = Outlined("image-00001", series, volume.affine, True, _labels())
        write_outlined([case], source, out=out, structures=NAMES, write=("nifti", "seg", "labelmap", "csv"))
        centre, size = np.array([[3.0, 5, 6], [1, 15, 18], [4, 4, 4]]), np.full((3, 3), (1.5, 4, 4))
        found = Candidates(centre, size, np.array([0.6, 0.9, 0.1]), np.zeros(3, np.int64))
        located = Located("image-00001", series, volume.affine, True, found)
        write_located(
            [located], source, out=out, classes=("nodule",), shape="sphere", threshold=0.5, write=("csv",)
        )
    return folder, out


def _panels(shown: Shown) -> list[NDArray[np.uint8]]:
    assert shown.seen is not None, shown.why_not
    return [p.pixels for p in shown.seen.panels]


FORMS = {
    "nifti": "masks/image-00001.nii.gz",
    "binary": "segmentations/image-00001.dcm",
    "labelmap": "segmentations/image-00001_labelmap.dcm",
    "folder": "",
}


def test_every_form_of_a_mask_gives_one_picture(predicted: tuple[Path, Path]) -> None:
    folder, out = predicted
    drawn = [show(folder, overlay=out / place) for place in FORMS.values()]
    for shown in drawn[1:]:
        for one, other in zip(_panels(drawn[0]), _panels(shown), strict=True):
            assert np.array_equal(one, other)
    assert [o.text for o in drawn[0].outlines] == ["liver: 0.243 ml", "left kidney: 0.0315 ml"]
    assert [o["name"] for o in as_object(drawn[0])["overlay"]] == list(NAMES)
    assert [text for _, text in drawn[0].seen.legend] == [o.text for o in drawn[0].outlines]  # type: ignore[union-attr]


@pytest.mark.parametrize("tilt", [0.0, 12.0])
def test_a_segmentation_stands_where_its_image_does(tmp_path: Path, tilt: float) -> None:
    folder = tmp_path / "s"
    write_series(folder, pattern(SHAPE), orientation=oblique(25, 10), descending=True, tilt_deg=tilt)
    series = index_of(folder).series[0]
    with Source(folder) as source:
        affine = read_volume(source, series).affine
        write_segmentation(_labels(), {1: "liver", 2: "kidney"}, source, series, out=tmp_path / "seg.dcm")
    import pydicom

    volume, names = segmentation_volume(pydicom.dcmread(tmp_path / "seg.dcm"))
    assert names == {1: "liver", 2: "kidney"}
    there = np.argwhere(volume.data[0])[:, ::-1]
    places = there @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    voxels = (places - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    assert np.abs(voxels - np.rint(voxels)).max() < 1e-3
    found = np.zeros(SHAPE, np.uint8)
    found[tuple(np.rint(voxels[:, ::-1]).astype(int).T)] = volume.data[0][tuple(there[:, ::-1].T)]
    assert np.array_equal(found, _labels())


def _picture(folder: Path, size: tuple[int, int] = (1000, 1200)) -> Path:
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.full(size, 128, np.uint8)).save(folder / "image.png")
    return folder / "image.png"


def test_the_line_runs_along_the_inner_edge_in_its_colour(tmp_path: Path) -> None:
    mask = np.zeros((1000, 1200), np.uint8)
    mask[100:300, 500:900] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    shown = show(_picture(tmp_path / "s"), overlay=tmp_path / "mask.png")
    pixels = _panels(shown)[0]
    line = (pixels != 128).any(-1)
    assert set(map(tuple, pixels[line].tolist())) == {shown.outlines[0].colour}
    wanted = mask > 0
    wanted[102:298, 502:898] = False  # two pixels broad on a panel of this size
    assert np.array_equal(line, wanted)
    assert shown.outlines[0].text == "label 1: 80000 pixels"


def test_planes_run_through_what_is_outlined(predicted: tuple[Path, Path]) -> None:
    folder, out = predicted
    titles = [p.title for p in show(folder, overlay=out).seen.panels]  # type: ignore[union-attr]
    assert titles != [p.title for p in show(folder).seen.panels]  # type: ignore[union-attr]
    asked = show(folder, overlay=out, view=View(at=(0, 0, 0)))
    assert not any((np.ptp(p, axis=-1) > 0).any() for p in _panels(asked))  # grey alone: no line there
    assert any((np.ptp(p, axis=-1) > 0).any() for p in _panels(show(folder, overlay=out)))


def test_found_objects_are_drawn_best_first_and_only_the_called(predicted: tuple[Path, Path]) -> None:
    folder, out = predicted
    shown = show(folder, overlay=out / "detections.csv")
    assert [o.text for o in shown.outlines] == ["nodule 0.90, 3 mm", "nodule 0.60, 3 mm"]
    assert shown.seen is not None and "1 candidate below the threshold is not drawn" in shown.seen.notes
    colours = {tuple(c) for p in _panels(shown) for c in p.reshape(-1, 3).tolist()}
    assert shown.outlines[0].colour in colours
    assert shown.outlines[1].colour not in colours  # it does not lie in the planes of the best


def test_an_image_is_found_by_its_file_and_not_by_its_number(
    predicted: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, _ = predicted
    other = tmp_path / "predicted"
    (other / "private").mkdir(parents=True)
    (other / "masks").mkdir()
    files = "|".join(f"elsewhere/{p.name}" for p in sorted(folder.iterdir()))
    table = f"case,patient,files,part,fold\nimage-00001,p,elsewhere/9999.dcm,,\nimage-00002,q,{files},,\n"
    (other / "private" / "cases.csv").write_text(table)
    with Source(folder) as source:
        affine = read_volume(source, index_of(folder).series[0]).affine
    empty, full = np.zeros((1, *SHAPE), np.uint8), _labels()[None]
    write_nifti(other / "masks" / "image-00001.nii.gz", Volume(empty, affine, (), True))
    write_nifti(other / "masks" / "image-00002.nii.gz", Volume(full, affine, (), True))
    assert [o.voxels for o in show(folder, overlay=other).outlines] == [216, 28]
    (other / "private" / "cases.csv").write_text(table.replace("0000.dcm", "0100.dcm"))
    with pytest.raises(BadInput, match="holds no prediction of this image"):
        show(folder, overlay=other)


def test_another_grid_is_refused_with_its_distance_and_drawn_if_asked(
    predicted: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, _ = predicted
    with Source(folder) as source:
        affine = read_volume(source, index_of(folder).series[0]).affine.copy()
    affine[:3, 3] += 0.3 * affine[:3, 0]
    write_nifti(tmp_path / "moved.nii.gz", Volume(_labels()[None], affine, (), True))
    with pytest.raises(BadInput, match=r"another grid than the image: .*away.* --resample"):
        show(folder, overlay=tmp_path / "moved.nii.gz")
    shown = show(folder, overlay=tmp_path / "moved.nii.gz", resample=True)
    assert [o.voxels for o in shown.outlines] == [216, 28]
    assert any("was resampled onto the image's grid" in n for n in shown.seen.notes)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name, reason",
    [
        ("none.nii", "does not exist"),
        ("empty", "holds neither a mask of this image nor"),
        ("float.nii", "the overlay holds 0.5; expected whole labels"),
        ("size.nii", r"1×4×4 voxels .* and not 1×1000×1200; give the mask that was drawn on this image$"),
        ("table.csv", "no table of detections"),
        ("two", "holds neither a mask"),
    ],
)
def test_what_is_no_overlay_of_this_image_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    write_nifti(tmp_path / "two" / "a.nii", Volume(np.ones((1, 1, 4, 4), np.uint8), np.eye(4)))
    write_nifti(tmp_path / "float.nii", Volume(np.full((1, 1, 4, 4), 0.5, np.float32), np.eye(4)))
    write_nifti(tmp_path / "size.nii", Volume(np.ones((1, 1, 4, 4), np.uint8), np.eye(4)))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match=reason):
        show(_picture(tmp_path / "s"), overlay=tmp_path / name)


def test_the_command_names_colours_and_sizes(predicted: tuple[Path, Path], tmp_path: Path) -> None:
    folder, out = predicted
    ended = hu("show", folder, "--overlay", out, "--out", tmp_path / "p.png")
    assert ended.code == 0, ended.err
    assert "sky blue" in ended.out and "liver: 0.243 ml" in ended.out and (tmp_path / "p.png").is_file()
    said = json.loads(hu("show", folder, "--overlay", out, "--json").out)
    assert [(o["colour"], o["voxels"]) for o in said["overlay"]] == [("sky blue", 216), ("orange", 28)]
    assert hu("show", folder, "--resample").code == 2
    assert "leave out" in hu("show", folder, "--overlay", out, "--augment", "2").err
