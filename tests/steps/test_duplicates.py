"""The same picture is found after recompression, rescaling and brightening; likeness is not identity."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from hounsfield.io.pixel_store import write_pixels
from hounsfield.steps.duplicates import Fingerprints, Pair, duplicate_pairs, fingerprints
from hounsfield.steps.same_picture.looks import TURNS, edges_of, plane_of, turned, turned_edges


def chest(seed: int, side: int = 128) -> NDArray[np.uint8]:
    """A phantom: one outline for all, fine structure of its own."""
    rng = np.random.default_rng(seed)
    j, i = np.indices((side, side)) / side - 0.5
    body = 150.0 * (np.hypot(j, i * 1.2) < 0.45)
    lungs = 90.0 * ((np.hypot(j / 1.6, i - 0.17) < 0.12) | (np.hypot(j / 1.6, i + 0.17) < 0.12))
    vessels = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), 2.0) * 135
    return np.clip(body - lungs + vessels * (body > 0) + rng.normal(20, 2, (side, side)), 0, 255).astype(
        np.uint8
    )


def marks_of(folder: Path, images: Sequence[NDArray[Any]], name: str = "i") -> Fingerprints:
    rows = ((f"{name}{n}", x.reshape(1, 1, *x.shape), ()) for n, x in enumerate(images))
    store = write_pixels(folder / name, rows, state="s")
    return fingerprints(store, [f"{name}{n}" for n in range(len(images))])


def _jpeg(image: NDArray[np.uint8], quality: int = 60) -> NDArray[np.uint8]:
    stream = BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


CHANGES = {
    "copied": lambda x: x.copy(),
    "recompressed": _jpeg,
    "made smaller": lambda x: cv2.resize(x, (96, 96), interpolation=cv2.INTER_AREA),
    "made larger": lambda x: cv2.resize(x, (200, 180), interpolation=cv2.INTER_CUBIC),
    "brightened": lambda x: np.clip(x * 1.15 + 12, 0, 255).astype(np.uint8),
    "cut off at white": lambda x: np.clip(x * 1.4, 0, 255).astype(np.uint8),
    "sixteen bits": lambda x: x.astype(np.uint16) * 200,
    "a little noisy": lambda x: np.clip(x + np.random.default_rng(0).normal(0, 3, x.shape), 0, 255).astype(
        np.uint8
    ),
}
MOVES = {
    "mirrored left to right": lambda x: x[:, ::-1],
    "mirrored up to down": lambda x: x[::-1],
    "turned by 180°": lambda x: x[::-1, ::-1],
    "transposed": lambda x: x.T,
    "turned by 90° anticlockwise": lambda x: np.rot90(x, -1),
    "turned by 90° clockwise": np.rot90,
    "inverted": lambda x: 255 - x,
    "cropped": lambda x: x[5:-7, 6:-4],
    "mirrored left to right, cropped": lambda x: _jpeg(np.ascontiguousarray(x[6:-5, ::-1][:, 4:-7])),
}


@pytest.mark.parametrize("how", CHANGES)
def test_the_same_picture_is_found(tmp_path: Path, how: str) -> None:
    images = [chest(n) for n in range(8)]
    pairs = duplicate_pairs(marks_of(tmp_path, [*images, CHANGES[how](images[3])]))
    assert pairs == (Pair("i3", "i8", exact=how == "copied"),)


@pytest.mark.parametrize("how", MOVES)
def test_a_moved_copy_is_found_and_named(tmp_path: Path, how: str) -> None:
    """In words the second image is what must be moved to lie on the first."""
    images = [chest(n) for n in range(12)]
    pairs = duplicate_pairs(marks_of(tmp_path, [*images, MOVES[how](images[3])]))
    assert pairs == (Pair("i3", "i12", False, how),)


def test_the_edges_of_a_turned_image_need_no_second_look() -> None:
    plane = plane_of(chest(1))
    for turn in range(len(TURNS)):
        again = edges_of(turned(plane, turn))
        np.testing.assert_allclose(turned_edges(edges_of(plane)[None], turn)[0], again, atol=1e-4)


def test_a_window_of_a_deep_image_is_the_same_picture(tmp_path: Path) -> None:
    """A DICOM image of 12 bits, and the PNG of what a viewer showed of it."""
    deep = [chest(n).astype(np.uint16) * 12 + 300 for n in range(8)]
    shown = np.clip((deep[5].astype(np.float32) - 900) / 1900 * 255, 0, 255).astype(np.uint8)
    assert [p.first for p in duplicate_pairs(marks_of(tmp_path, [*deep, shown]))] == ["i5"]


def _volume(seed: int) -> NDArray[np.int16]:
    """An ellipsoid of tissue of its own, 24 slices."""
    noise = np.random.default_rng(seed).normal(0, 1, (24, 64, 64))
    tissue = gaussian_filter(noise, (1.5, 2, 2)) * 22
    k, j, i = (np.indices(noise.shape) + 0.5) / np.array(noise.shape)[:, None, None, None] - 0.5
    return ((100 + 45 * tissue) * (np.sqrt(k**2 + j**2 + i**2) < 0.47) * 5 - 100).astype(np.int16)


def _marks_of_volumes(folder: Path, images: Sequence[NDArray[Any]]) -> Fingerprints:
    shaped = (x[None] if x.ndim == 3 else x[None, None] for x in images)
    store = write_pixels(folder / "v", ((f"i{n}", x, ()) for n, x in enumerate(shaped)), state="s")
    return fingerprints(store, [f"i{n}" for n in range(len(images))])


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:, :, ::-1],
        lambda x: x[::-1],
        lambda x: (x[::2] * 0.5 + 77).astype(np.int16),
        lambda x: x[:, 3:-2, 2:-3],
    ],
    ids=["mirrored", "from feet to head", "fewer slices, other values", "cropped"],
)
def test_a_changed_copy_of_a_volume_is_found(tmp_path: Path, change: Any) -> None:
    volumes = [_volume(n) for n in range(7)]
    (pair,) = duplicate_pairs(_marks_of_volumes(tmp_path, [*volumes, change(volumes[2])]))
    assert (pair.first, pair.second, pair.exact) == ("i2", "i7", False)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_that_stands_elsewhere_as_a_picture_is_found(tmp_path: Path, axis: int) -> None:
    volumes, pictures = [_volume(n) for n in range(3)], [chest(50 + n) for n in range(6)]
    plane = volumes[1].take(9, axis).astype(np.float32)
    shown = ((plane - plane.min()) / np.ptp(plane) * 255).astype(np.uint8)
    pairs = duplicate_pairs(_marks_of_volumes(tmp_path, [*volumes, *pictures, shown]))
    assert [{p.first, p.second} for p in pairs] == [{"i1", "i9"}]
    assert "of a volume" in pairs[0].how


def test_two_images_alone_must_agree_very_well(tmp_path: Path) -> None:
    """Of so few nobody can say what they have in common: the outline makes no pair."""
    assert duplicate_pairs(marks_of(tmp_path, [chest(1), chest(2)])) == ()
    assert len(duplicate_pairs(marks_of(tmp_path, [chest(1), chest(1)[:, ::-1]], "b"))) == 1


def test_one_image_has_no_duplicate(tmp_path: Path) -> None:
    assert duplicate_pairs(marks_of(tmp_path, [chest(1)])) == ()


def test_one_outline_does_not_make_one_picture(tmp_path: Path) -> None:
    assert duplicate_pairs(marks_of(tmp_path, [chest(n) for n in range(40)])) == ()


def test_pairs_between_two_sets_are_found(tmp_path: Path) -> None:
    here = marks_of(tmp_path, [chest(n) for n in range(5)], "a")
    there = marks_of(tmp_path, [chest(9), _jpeg(chest(2)), chest(4)], "b")
    assert set(duplicate_pairs(here, there)) == {Pair("a2", "b1", False), Pair("a4", "b2", True)}


def test_a_mirrored_copy_in_another_set_is_found(tmp_path: Path) -> None:
    here, there = [chest(n) for n in range(6)], [chest(40 + n) for n in range(6)]
    there[2] = np.ascontiguousarray(here[4][:, ::-1])
    pairs = duplicate_pairs(marks_of(tmp_path, here, "a"), marks_of(tmp_path, there, "b"))
    assert pairs == (Pair("a4", "b2", False, "mirrored left to right"),)


def test_chosen_marks_keep_their_rows(tmp_path: Path) -> None:
    marks = marks_of(tmp_path, [chest(n) for n in range(4)]).chosen({"i3", "i1"})
    assert marks.ids == ("i1", "i3") and len(marks.fine) == len(marks.coarse) == len(marks.digests) == 2


def test_saved_marks_are_the_same_marks(tmp_path: Path) -> None:
    marks = marks_of(tmp_path, [chest(n) for n in range(3)])
    marks.save(tmp_path / "m.npz")
    again = Fingerprints.load(tmp_path / "m.npz")
    assert again.ids == marks.ids and again.digest() == marks.digest()
    assert [p.exact for p in duplicate_pairs(marks, again)] == [True] * 3


def test_the_digest_follows_every_pixel(tmp_path: Path) -> None:
    images = [chest(n) for n in range(3)]
    first = marks_of(tmp_path, images).digest()
    images[1][7, 7] ^= 1
    assert marks_of(tmp_path, images).digest() != first


@pytest.mark.realdata
def test_the_known_duplicates_of_pneumoniamnist_are_found(real_data: Path, tmp_path: Path) -> None:
    """The archive has eight exact copies between train and validation; no other is taken for one."""
    with np.load(real_data / "medmnist" / "pneumoniamnist_train_val.npz") as z:
        train, val = z["train_images"], z["val_images"]
    digests = {x.tobytes() for x in train}
    copies = {f"v{n}" for n, x in enumerate(val) if x.tobytes() in digests}
    assert len(copies) == 8
    held = {x.tobytes() for x in val}
    rows = [n for n, x in enumerate(train) if x.tobytes() in held or n < 400]
    pairs = duplicate_pairs(marks_of(tmp_path, train[rows], "t"), marks_of(tmp_path, val, "v"))
    assert {p.second for p in pairs} == copies and all(p.exact for p in pairs)


@pytest.mark.realdata
def test_chests_of_other_patients_are_other_pictures_and_a_cropped_mirror_image_is_none(
    real_data: Path, tmp_path: Path
) -> None:
    paths = sorted((real_data / "cxr_covid").glob("*.png"))[:80]
    images = [cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in paths]
    j, i = images[7].shape
    changed = _jpeg(np.ascontiguousarray(images[7][j // 20 :, ::-1][:, : -i // 20]))
    pairs = duplicate_pairs(marks_of(tmp_path, [*images, changed]))
    assert pairs == (Pair("i7", "i80", False, "mirrored left to right, cropped"),)


def test_two_volumes_that_agree_from_above_alone_are_two(tmp_path: Path) -> None:
    volumes = [_volume(n) for n in range(9)]
    other = volumes[3][np.random.default_rng(1).permutation(24)]  # the same mean along k, of another order
    assert duplicate_pairs(_marks_of_volumes(tmp_path / "a", [*volumes, other])) == ()
    few = [x[:12] for x in volumes]  # too few slices to be seen from the side
    pairs = duplicate_pairs(_marks_of_volumes(tmp_path / "b", [*few, few[3][::-1] + 5]))
    assert [(p.first, p.second) for p in pairs] == [("i3", "i9")]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.swapaxes(1, 2), lambda x: np.rot90(x, 1, (1, 2)), lambda x: np.rot90(x, -1, (1, 2)),
        lambda x: x[:, ::-1, ::-1], lambda x: x[::-1].swapaxes(1, 2)[:, :, ::-1], lambda x: x[2:],
    ],
    ids=["transposed", "anticlockwise", "clockwise", "half round", "upside down and turned", "fewer slices"],
)  # fmt: skip
def test_a_turned_copy_of_a_volume_agrees_from_its_sides(tmp_path: Path, change: Any) -> None:
    volumes = [_volume(n) for n in range(9)]
    (pair,) = duplicate_pairs(_marks_of_volumes(tmp_path, [*volumes, change(volumes[4])]))
    assert (pair.first, pair.second) == ("i4", "i9")


def test_saved_marks_of_volumes_are_the_same_marks(tmp_path: Path) -> None:
    marks = _marks_of_volumes(tmp_path, [_volume(n) for n in range(3)])
    marks.save(tmp_path / "marks.npz")
    read = Fingerprints.load(tmp_path / "marks.npz")
    assert np.array_equal(read.sides, marks.sides) and read.sides.any((1, 2, 3)).all()
    assert read.chosen({"i2"}).sides.shape == (1, *marks.sides.shape[1:])
