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

from hounsfield.io.pixel_store import write_pixels
from hounsfield.steps.duplicates import Fingerprints, Pair, duplicate_pairs, fingerprints


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
    "sixteen bits": lambda x: x.astype(np.uint16) * 200,
    "a little noisy": lambda x: np.clip(x + np.random.default_rng(0).normal(0, 3, x.shape), 0, 255).astype(
        np.uint8
    ),
}


@pytest.mark.parametrize("how", CHANGES)
def test_the_same_picture_is_found(tmp_path: Path, how: str) -> None:
    images = [chest(n) for n in range(8)]
    pairs = duplicate_pairs(marks_of(tmp_path, [*images, CHANGES[how](images[3])]))
    assert pairs == (Pair("i3", "i8", exact=how == "copied"),)


def test_one_outline_does_not_make_one_picture(tmp_path: Path) -> None:
    assert duplicate_pairs(marks_of(tmp_path, [chest(n) for n in range(40)])) == ()


def test_pairs_between_two_sets_are_found(tmp_path: Path) -> None:
    here = marks_of(tmp_path, [chest(n) for n in range(5)], "a")
    there = marks_of(tmp_path, [chest(9), _jpeg(chest(2)), chest(4)], "b")
    assert set(duplicate_pairs(here, there)) == {Pair("a2", "b1", False), Pair("a4", "b2", True)}


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
def test_the_known_duplicates_of_pneumoniamnist_are_found(real_data: Path) -> None:
    """The archive has eight exact copies between train and validation."""
    with np.load(real_data / "medmnist" / "pneumoniamnist_train_val.npz") as z:
        train, val = z["train_images"], z["val_images"]
    digests = {x.tobytes() for x in train}
    assert sum(x.tobytes() in digests for x in val) == 8  # what is to be found
