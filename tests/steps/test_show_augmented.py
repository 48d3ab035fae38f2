"""What a plan does to an image is shown as it is done in training: same preparation, same draws."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_objects import SECRET, SECRETS, ct_stack
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Augment, Input, Plan
from hounsfield.steps.show_augmented import as_object, show_augmented
from phantoms import pictures, write_dicom, write_png

STILL = Plan(name="still", input=Input(size=(1, 40, 40), normalise="unit"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write_png(tmp_path / "p.png", pictures([1], side=40)[0])


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    assert pixels.ndim == 3 and (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def test_the_plain_image_is_what_the_network_sees(picture: Path) -> None:
    shown = show_augmented(picture, plan=STILL, count=2)
    assert np.array_equal(_grey(shown.plain), pictures([1], side=40)[0])
    assert all(np.array_equal(v.pixels, shown.plain) and v.label == "unchanged" for v in shown.versions)
    assert "this plan changes no image" in shown.notes


def test_a_mirrored_version_is_the_mirror_image(picture: Path) -> None:
    plan = STILL.model_copy(update={"augment": Augment(flip_left_right=True)})
    shown = show_augmented(picture, plan=plan, count=12, seed=1)
    assert {v.label for v in shown.versions} == {"mirrored", "unchanged"}
    for version in shown.versions:
        wanted = shown.plain[:, ::-1] if version.label == "mirrored" else shown.plain
        assert np.abs(version.pixels.astype(int) - wanted).max() <= 1
        assert dict(version.drawn) == ({"flipped_left_right": True} if version.label == "mirrored" else {})


def test_a_brighter_version_is_brighter_on_the_same_scale(picture: Path) -> None:
    plan = STILL.model_copy(update={"augment": Augment(brightness=0.8)})
    shown = show_augmented(picture, plan=plan, count=6)
    for version in shown.versions:
        brighter = version.pixels.mean() > shown.plain.mean()
        assert version.label.startswith("brighter" if brighter else "darker")


def test_the_seed_decides_and_is_the_plans_own(picture: Path) -> None:
    plan = STILL.changed({"augment.rotation_deg": 20, "seed": 5})
    made = [show_augmented(picture, plan=plan, count=3, seed=seed) for seed in (None, 5, 6)]
    labels = [[v.drawn for v in m.versions] for m in made]
    assert labels[0] == labels[1] != labels[2] and made[0].seed == 5


def test_without_a_plan_it_is_the_one_designed_for_the_modality(tmp_path: Path) -> None:
    image = pictures([1], side=64)[0]
    chest = write_dicom(tmp_path / "a" / "x.dcm", image, number=1, Modality="DX")
    breast = write_dicom(tmp_path / "b" / "x.dcm", image, number=1, Modality="MG")
    for path, mirrors in ((chest, False), (breast, True)):
        shown = show_augmented(path.parent, count=1)
        assert shown.plan.name == "designed" and shown.plan.augment.flip_left_right is mirrors
        assert shown.plan.input.crop_foreground is mirrors


def test_changes_replace_keys_of_the_designed_plan(picture: Path) -> None:
    shown = show_augmented(picture, count=1, changes={"augment.zoom": 0.4, "input.size": [1, 20, 30]})
    assert shown.plain.shape == (20, 30, 3) and "zoom 0.4" in shown.notes[0]
    with pytest.raises(BadInput, match=r"did you mean \"augment.zoom\""):
        show_augmented(picture, count=1, changes={"augment.zom": 0.4})


def test_of_a_volume_the_middle_slice_is_shown_and_no_name(tmp_path: Path) -> None:
    folder = tmp_path / f"{SECRET}_ANNA"
    ct_stack(folder, [float(5 * k) for k in range(9)])
    shown = show_augmented(folder, count=2)
    size = shown.plan.input.size
    assert size[0] > 1 and shown.plain.shape == (*size[1:], 3)
    assert f"slice {size[0] // 2 + 1} of {size[0]} of each" in shown.notes
    text = json.dumps(as_object(shown)) + shown.caption
    assert not [s for s in SECRETS if s in text]


def test_a_volume_is_changed_as_a_whole(tmp_path: Path) -> None:
    data = np.zeros((24, 24, 24), np.float32)
    data[8:16, 8:16, 13:20] = 100  # off the middle: only a move along the slices brings it there
    data += np.random.default_rng(0).random(data.shape).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "v.nii.gz")  # type: ignore[attr-defined, no-untyped-call]
    plan = Plan(input=Input(size=(24, 24, 24), normalise="unit"), augment=Augment(shift_slices=0.4))
    shown = show_augmented(tmp_path / "v.nii.gz", plan=plan, count=12)
    lit = [v.pixels.max() > 200 for v in shown.versions]
    back = ["to the first slice" in v.label for v in shown.versions]
    assert shown.plain.max() < 30 and any(lit) and not all(lit)
    assert all(b for a, b in zip(lit, back, strict=True) if a)


def test_colour_stays_colour(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (30, 30, 3)).astype(np.uint8)
    plan = Plan(input=Input(size=(1, 30, 30), channels=3, normalise="unit"))
    shown = show_augmented(write_png(tmp_path / "c.png", colour), plan=plan, count=1)
    assert np.abs(shown.plain.astype(int) - colour).max() <= 1


def test_histogram_landmarks_are_taken_from_the_image_for_want_of_others(picture: Path) -> None:
    shown = show_augmented(picture, count=1, changes={"input.normalise": "histogram"})
    assert len(shown.plan.input.landmarks) == 11 and any("landmarks" in n for n in shown.notes)


def test_a_plan_for_2d_images_is_refused_for_a_volume(tmp_path: Path) -> None:
    ct_stack(tmp_path / "ct", [float(5 * k) for k in range(9)])
    with pytest.raises(BadInput, match=r"volumes, but the plan's input.size has one slice"):
        show_augmented(tmp_path / "ct", plan=STILL, count=1)


def test_what_no_network_sees_is_refused(tmp_path: Path) -> None:
    ct_stack(tmp_path / "ct", [float(5 * k) for k in range(9)])
    one = sorted(p.name for p in (tmp_path / "ct").iterdir())[3]
    with pytest.raises(BadInput, match="one slice of a volume; expected an image"):
        show_augmented(tmp_path / "ct", image=one, count=1)


def test_the_grid_holds_all_and_keeps_its_bounds(picture: Path) -> None:
    plan = STILL.changed({"augment.rotation_deg": 20, "augment.gamma": 0.5})
    shown = show_augmented(picture, plan=plan, count=11)
    bare = shown.picture(bare=True, widest=300, tallest=200)
    assert bare.shape[0] <= 200 and bare.shape[1] <= 300
    assert shown.picture().shape[0] > bare.shape[0]


@pytest.mark.realdata
def test_a_chest_radiograph_is_shown_under_the_articles_plan(real_data: Path) -> None:
    from hounsfield.steps.article_plans import named_plan

    folder = real_data / "cxr_covid"
    if not folder.is_dir():
        pytest.skip("the chest radiographs are not here")
    shown = show_augmented(sorted(folder.glob("*.png"))[0], plan=named_plan("article-b"), count=3)
    assert shown.plain.shape == (150, 150, 3)
    assert all(np.abs(v.pixels.astype(int) - shown.plain).mean() > 2 for v in shown.versions)
