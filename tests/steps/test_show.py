"""Looking at images: the right one is chosen, shown as the header wants, the right way round, or why not."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_objects import (
    SC,
    SECRETS,
    ct_slice,
    ct_stack,
    image,
    item,
    plain,
    report,
    saved,
)  # fmt: skip
from hounsfield.core.errors import BadInput
from hounsfield.steps.montage import Wording, composed, png_bytes
from hounsfield.steps.show import Shown, View, as_object, show

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def grey(shown: Shown, panel: int = 0) -> NDArray[np.uint8]:
    assert shown.seen is not None, shown.why_not
    pixels = shown.seen.panels[panel].pixels
    return pixels[..., 0]


def name(shown: Shown) -> str:
    assert shown.seen is not None and shown.seen.shade is not None
    return shown.seen.shade.name


def one(tmp_path: Path, made: Dataset, view: View | None = None, **asked: Any) -> Shown:
    return show(saved(made, tmp_path / "one.dcm"), view=view, **asked)


def test_a_window_of_the_header_is_used(tmp_path: Path) -> None:
    shown = one(tmp_path, image(RAMP, WindowCenter=128, WindowWidth=256, Modality="MR"))
    assert np.array_equal(grey(shown), RAMP) and name(shown) == "window 128/256, from the header"


def test_several_windows_are_chosen_by_number_or_explanation(tmp_path: Path) -> None:
    made = image(
        RAMP, Modality="MR", WindowCenter=[128, 10], WindowWidth=[256, 1],
        WindowCenterWidthExplanation=["WIDE", "THIN"],
    )  # fmt: skip
    assert "1 of 2" in name(one(tmp_path, made))
    for asked in ("2", "thin"):
        shown = one(tmp_path, made, View(window=asked))
        assert np.array_equal(grey(shown), np.where(RAMP > 9.5, 255, 0))


def test_a_lookup_table_goes_before_a_window(tmp_path: Path) -> None:
    lookup = item(LUTExplanation="REVERSED")
    lookup.add_new("LUTDescriptor", "US", [256, 0, 8])
    lookup.add_new("LUTData", "US", list(range(255, -1, -1)))
    made = image(RAMP, Modality="MR", WindowCenter=128, WindowWidth=256, VOILUTSequence=Sequence([lookup]))
    shown = one(tmp_path, made)
    assert np.array_equal(grey(shown), 255 - RAMP) and "REVERSED" in name(shown)
    assert np.array_equal(grey(one(tmp_path, made, View(window="2"))), RAMP)


def test_monochrome1_is_windowed_as_stored_and_then_inverted(tmp_path: Path) -> None:
    made = image(
        RAMP, Modality="CR", PhotometricInterpretation="MONOCHROME1", WindowCenter=64, WindowWidth=128
    )
    expected = 255 - np.rint(np.clip((RAMP - 63.5) / 127 + 0.5, 0, 1) * 255)
    assert np.array_equal(grey(one(tmp_path, made)), expected)


def test_inverse_and_monochrome1_together_invert_once(tmp_path: Path) -> None:
    made = image(RAMP, Modality="DX", WindowCenter=128, WindowWidth=256, PresentationLUTShape="INVERSE")
    assert np.array_equal(grey(one(tmp_path, made)), 255 - RAMP)
    made.PhotometricInterpretation = "MONOCHROME1"
    assert np.array_equal(grey(one(tmp_path, made)), 255 - RAMP)


def test_ct_in_monochrome1_keeps_its_units_and_is_inverted(tmp_path: Path) -> None:
    values = np.array([[-160, 40, 240, 1000]])
    made = ct_slice(values, 0, 1, PhotometricInterpretation="MONOCHROME1")
    assert grey(one(tmp_path, made)).tolist() == [[255, 127, 0, 0]]


def test_a_volume_in_monochrome1_is_inverted_once(tmp_path: Path) -> None:
    for n in range(6):
        made = image(
            np.full((8, 8), 10, np.uint8), number=n + 1, Modality="MR", WindowCenter=128, WindowWidth=256,
            PhotometricInterpretation="MONOCHROME1", PixelSpacing=[1, 1], ImagePositionPatient=[0, 0, n],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )  # fmt: skip
        saved(made, tmp_path / "s" / f"{n}.dcm")
    assert set(grey(show(tmp_path / "s")).ravel().tolist()) == {245}


def test_padding_is_black_also_where_the_image_is_inverted(tmp_path: Path) -> None:
    made = image(
        RAMP, Modality="CR", PhotometricInterpretation="MONOCHROME1", WindowCenter=128, WindowWidth=256
    )
    made.add_new("PixelPaddingValue", "US", 0)
    made.add_new("PixelPaddingRangeLimit", "US", 8)
    shown = grey(one(tmp_path, made))
    assert shown[0, :3].tolist() == [0, 0, 0] and shown[0, 3] == 255 - 12


def test_padding_of_ct_is_compared_after_the_rescale(tmp_path: Path) -> None:
    made = ct_slice(np.array([[-1024, 1000, -100, 40]]), 0, 1)
    made.add_new("PixelPaddingValue", "US", 2024)
    assert grey(one(tmp_path, made)).tolist() == [[0, 0, 38, 128]]


def test_a_preset_needs_hounsfield_units(tmp_path: Path) -> None:
    made = ct_slice(np.array([[-1350, -600, 150, 40]]), 0, 1)
    made.PixelData = (np.array([[0, 424, 1174, 1064]], np.uint16)).tobytes()
    assert grey(one(tmp_path, made, View(window="lung")))[0, 1:3].tolist() == [128, 255]
    for wrong in (
        image(RAMP, Modality="MR"),
        ct_slice(np.zeros((2, 2)), 0, 1, RescaleType="US"),
        ct_slice(np.zeros((2, 2)), 0, 1, RescaleSlope=None, RescaleIntercept=None),
        ct_slice(np.zeros((2, 2)), 0, 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    ):
        with pytest.raises(BadInput, match="Hounsfield"):
            one(tmp_path, wrong, View(window="lung"))


def test_ct_without_a_window_says_which_preset_it_got(tmp_path: Path) -> None:
    assert "soft-tissue; the header gives none" in name(one(tmp_path, ct_slice(RAMP, 0, 1)))
    assert "brain" in name(one(tmp_path, ct_slice(RAMP, 0, 1, BodyPartExamined="HEAD")))


def test_a_window_of_no_width_is_not_used_and_said(tmp_path: Path) -> None:
    made = image(RAMP.astype(np.uint16), Modality="MR", WindowCenter=10, WindowWidth=0)
    assert "percentiles" in name(one(tmp_path, made)) and "cannot be used" in name(one(tmp_path, made))


@pytest.mark.parametrize("asked", ["liver", "40-400", "3"])
def test_an_unknown_window_is_refused(tmp_path: Path, asked: str) -> None:
    with pytest.raises(BadInput, match="mediastinum"):
        one(tmp_path, image(RAMP, Modality="MR"), View(window=asked))


def test_centre_and_width_can_be_given_and_all_values(tmp_path: Path) -> None:
    made = image(RAMP, Modality="MR")
    assert np.array_equal(grey(one(tmp_path, made, View(window="10/1"))), np.where(RAMP > 9.5, 255, 0))
    full = grey(one(tmp_path, made, View(window="full")))
    assert (full.min(), full.max()) == (0, 255)


def test_windows_of_frames_are_their_own(tmp_path: Path) -> None:
    made = image(np.stack([RAMP, RAMP]), "1.2.840.10008.5.1.4.1.1.4.1", Modality="MR", PixelSpacing=None)
    made.PerFrameFunctionalGroupsSequence = Sequence(
        [item(FrameVOILUTSequence=[item(WindowCenter=c, WindowWidth=w)]) for c, w in ((128, 256), (10, 1))]
    )
    shown = one(tmp_path, made)
    assert np.array_equal(grey(shown, 0), RAMP)
    assert np.array_equal(grey(shown, 1), np.where(RAMP > 9.5, 255, 0))


def test_colour_is_shown_as_stored_and_takes_no_window(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    made = image(pixels, SC, Modality="US")
    shown = one(tmp_path, made)
    assert shown.seen is not None and np.array_equal(shown.seen.panels[0].pixels, pixels)
    with pytest.raises(BadInput, match="colour"):
        one(tmp_path, made, View(window="40/400"))


def test_an_overlay_is_drawn_and_told(tmp_path: Path) -> None:
    made = image(RAMP, Modality="MR")
    mask = np.zeros((8, 8), np.uint8)
    mask[1, 2] = 1
    made.add_new(0x60000010, "US", 8)
    made.add_new(0x60000011, "US", 8)
    made.add_new(0x60000040, "CS", "G")
    made.add_new(0x60000050, "SS", [2, 1])  # one row further down
    made.add_new(0x60000100, "US", 1)
    made.add_new(0x60003000, "OW", np.packbits(mask.ravel(), bitorder="little").tobytes())
    shown = one(tmp_path, made)
    assert shown.seen is not None and "overlay" in shown.seen.notes[0]
    pixels = shown.seen.panels[0].pixels.astype(int)
    coloured = np.argwhere(pixels[..., 0] != pixels[..., 1])
    assert coloured.tolist() == [[2, 2]]


def test_frames_become_a_grid_of_at_most_sixteen_and_one_can_be_chosen(tmp_path: Path) -> None:
    frames = np.stack([np.full((4, 5), n, np.uint8) for n in range(40)])
    made = image(frames, SC, Modality="US")
    shown = one(tmp_path, made)
    assert shown.seen is not None and len(shown.seen.panels) == 16
    assert [p.title for p in shown.seen.panels][:2] == ["frame 1/40", "frame 4/40"]
    assert grey(shown, 15)[0, 0] == 39
    assert grey(one(tmp_path, made, View(frame=8))).tolist() == [[7] * 5] * 4
    with pytest.raises(BadInput, match="holds 40"):
        one(tmp_path, made, View(frame=41))


def test_three_planes_in_the_right_shape_and_the_right_way_round(tmp_path: Path) -> None:
    volume = np.zeros((6, 8, 12))
    volume[5, 0, 11] = 1000  # head, front, left
    for n in range(6):
        saved(ct_slice(volume[n], 5.0 * n, n + 1), tmp_path / "s" / f"{n}.dcm")
    shown = show(tmp_path / "s", view=View(at=(11, 0, 5), window="full"))
    assert shown.seen is not None
    axial, coronal, sagittal = shown.seen.panels
    assert [p.pixels.shape[:2] for p in (axial, coronal, sagittal)] == [(8, 12), (6, 12), (6, 8)]
    assert [p.pixel_size for p in (axial, coronal, sagittal)] == [(2, 1), (5, 1), (5, 2)]
    bright = [np.argwhere(p.pixels[..., 0] == 255).tolist() for p in (axial, coronal, sagittal)]
    assert bright == [[[0, 11]], [[0, 11]], [[0, 0]]]
    assert [p.letters for p in (axial, coronal)] == [("R", "L", "A", "P"), ("R", "L", "H", "F")]
    assert sagittal.letters == ("A", "P", "H", "F")
    height, width = shown.picture(bare=True).shape[:2]
    assert width / height == pytest.approx((12 + 12 + 16) / 30, rel=0.02)


def test_a_voxel_outside_is_refused(tmp_path: Path) -> None:
    ct_stack(tmp_path / "s", [0.0, 5, 10, 15, 20])
    with pytest.raises(BadInput, match="12×8×5"):
        show(tmp_path / "s", view=View(at=(12, 0, 0)))


def test_a_plane_of_a_flat_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="coronal"):
        one(tmp_path, image(RAMP, Modality="MR"), View(plane="coronal"))


def test_the_table_lists_images_and_refused_objects(tmp_path: Path) -> None:
    ct_stack(tmp_path / "s", [0.0, 5, 10, 15, 20])
    saved(report(), tmp_path / "report.dcm")
    (tmp_path / "notes.txt").write_text("x")
    shown = show(tmp_path)
    assert [(r.number, r.id, r.kind) for r in shown.rows] == [
        (1, "image-00001", "CT"),
        (2, "object-00001", "SR"),
    ]
    assert shown.row.number == 1
    for asked in ("2", "object-00001", "report.dcm"):
        assert show(tmp_path, image=asked).tree[0].name == "Imaging Measurement Report"
    alone = show(tmp_path, image="slice03.dcm", view=View(window="30/1"))
    assert alone.caption.startswith("CT Image  ·  8×12") and set(grey(alone).ravel()) == {255}
    with pytest.raises(BadInput, match="from 1 to 2"):
        show(tmp_path, image="7")


def test_a_zip_is_looked_into(tmp_path: Path) -> None:
    ct_stack(tmp_path / "s", [0.0, 5, 10, 15, 20])
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for file in sorted((tmp_path / "s").iterdir()):
            archive.write(file, file.name)
    shown = show(tmp_path / "s.zip")
    assert shown.seen is not None and len(shown.seen.panels) == 3


@pytest.mark.parametrize(
    "heights, fault", [([0.0, 5, 10, 20, 25, 30], "gap"), ([0.0, 5, 5, 10, 15], "position")]
)
def test_a_refused_stack_is_shown_slice_by_slice_with_its_fault(
    tmp_path: Path, heights: list[float], fault: str
) -> None:
    ct_stack(tmp_path / "s", heights)
    shown = show(tmp_path / "s", view=View(window="30/1"))
    assert shown.seen is not None and fault in shown.faults[0]
    assert len(shown.rows) == 1 and len(shown.seen.panels) == len(heights)
    assert [bool(p.pixels[0, 0, 0]) for p in shown.seen.panels] == [n >= 3 for n in range(len(heights))]
    taller = shown.picture().shape[0]
    assert taller > composed(shown.seen.panels, Wording((shown.caption,))).shape[0]


def test_a_damaged_neighbour_does_not_matter_and_is_described(tmp_path: Path) -> None:
    saved(image(RAMP, Modality="MR"), tmp_path / "good.dcm")
    made = image(np.zeros((8, 8), np.uint16), SC, 5, Modality="OT")
    made.PixelData = made.PixelData[:20]
    saved(made, tmp_path / "short.dcm")
    assert show(tmp_path).seen is not None
    shown = show(tmp_path, image="short.dcm")
    assert shown.seen is None and "20 bytes" in shown.why_not and "Pixels" in shown.header.groups
    with pytest.raises(BadInput, match="20 bytes"):
        shown.picture()


def test_pixels_that_are_not_square_keep_their_shape(tmp_path: Path) -> None:
    shown = one(tmp_path, image(RAMP, Modality="US", PixelAspectRatio=[2, 1]))
    height, width = shown.picture(bare=True).shape[:2]
    assert height == 2 * width


def test_an_object_without_pixels_says_so(tmp_path: Path) -> None:
    shown = one(tmp_path, plain("1.2.840.10008.5.1.4.1.1.481.5", Modality="RTPLAN"))
    assert shown.seen is None and shown.why_not == "it holds no pixels (RT Plan)"


def test_no_identity_in_what_is_shown_or_written(tmp_path: Path) -> None:
    folder = tmp_path / SECRETS[0]
    ct_stack(folder / SECRETS[1], [0.0, 5, 10, 15, 20])
    saved(report(), folder / f"{SECRETS[0]}.dcm")
    for asked in ("1", "2"):
        said = repr(as_object(show(folder, image=asked)))
        assert not [s for s in SECRETS if s in said]
    shown = show(folder)
    content = png_bytes(shown.picture())
    assert not any(s.encode() in content for s in SECRETS) and not Image.open(io.BytesIO(content)).info


def test_nifti_picture_and_array_are_shown(tmp_path: Path) -> None:
    data = np.zeros((5, 6, 7), np.float32)
    data[4, 0, 6] = 9  # right, back, head in RAS+
    nibabel.save(nibabel.Nifti1Image(data, np.diag([1.0, 2, 3, 1])), tmp_path / "v.nii.gz")  # type: ignore[attr-defined, no-untyped-call]
    shown = show(tmp_path / "v.nii.gz", view=View(at=(4, 0, 6), window="full"))
    assert shown.seen is not None
    bright = [np.argwhere(p.pixels[..., 0] == 255).tolist() for p in shown.seen.panels]
    assert bright == [[[5, 0]], [[0, 0]], [[0, 5]]]
    with pytest.raises(BadInput, match="Hounsfield"):
        show(tmp_path / "v.nii.gz", view=View(window="lung"))
    Image.fromarray(RAMP).save(tmp_path / "p.png")
    assert np.array_equal(grey(show(tmp_path / "p.png")), RAMP)
    np.savez(tmp_path / "a.npz", train_images=np.stack([RAMP, 255 - RAMP]), train_labels=np.array([[0], [1]]))
    assert np.array_equal(grey(show(tmp_path / "a.npz", image="train_1")), 255 - RAMP)


def test_what_is_no_image_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(BadInput, match="none a readable image"):
        show(tmp_path)


@pytest.mark.realdata
def test_every_real_object_is_drawn_or_says_why_not(real_data: Path) -> None:
    files = [f for f in sorted((real_data / "dicom").rglob("*")) if f.suffix in (".dcm", ".seg")]
    drawn = 0
    for file in files:
        try:
            shown = show(file)
        except BadInput as error:
            assert "not DICOM" in str(error) or "it is not" in str(error), file.name
            continue
        json.dumps(as_object(shown), allow_nan=False)
        assert shown.seen is not None or shown.tree or len(shown.why_not) > 10, file.name
        if shown.seen is not None:
            drawn += 1
            picture = shown.picture(bare=True, widest=80, tallest=60)
            assert picture.shape[0] <= 60 and picture.shape[1] <= 80, file.name
    assert drawn > 0.9 * len(files)
