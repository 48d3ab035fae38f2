"""Prepared images have the plan's size, channels and levels, and are made again only if something changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.plan import Input
from hounsfield.io.pixel_store import PixelStore, write_pixels
from hounsfield.steps import prepare as module
from hounsfield.steps.prepare import Prepared, prepare


def _study(
    folder: Path, images: list[NDArray[Any]], spacing: tuple[float, ...] = (), state: str = "s"
) -> tuple[tuple[Case, ...], PixelStore]:
    """Cases of images (C, K, J, I)."""
    store = write_pixels(folder, ((f"i{n}", x, spacing) for n, x in enumerate(images)), state=state)
    series = [
        Series(f"i{n}", (f"{n}",), "raster", x.shape[1:], x.shape[0], bits=8 * x.itemsize)
        for n, x in enumerate(images)
    ]
    return tuple(Case(s.id, s.id, (s,)) for s in series), store


def _random(*shape: int, dtype: type = np.uint16, n: int = 3) -> list[NDArray[Any]]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, 60_000 if dtype == np.uint16 else 255, shape).astype(dtype) for _ in range(n)]


def test_images_are_averaged_and_keep_their_sixteen_bits(tmp_path: Path) -> None:
    images = _random(1, 1, 32, 48)
    cases, store = _study(tmp_path, images)
    made = prepare(cases, Input(size=(1, 8, 12)), store, tmp_path)
    assert made.images.dtype == np.uint16 and made.images.shape == (3, 1, 1, 8, 12)
    for got, given in zip(made.images, images, strict=True):
        np.testing.assert_allclose(got[0, 0], given.reshape(8, 4, 12, 4).mean((1, 3)), atol=0.51)


def test_a_batch_is_normalised_by_image(tmp_path: Path) -> None:
    cases, store = _study(
        tmp_path, [x // d for d, x in zip((1, 10, 100), _random(1, 1, 16, 16), strict=True)]
    )
    made = prepare(cases, Input(size=(1, 16, 16)), store, tmp_path)
    batch = made.batch([2, 0])
    assert batch.shape == (2, 1, 16, 16) and batch.dtype == np.float32
    np.testing.assert_allclose(batch.mean((1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(batch.std((1, 2, 3)), 1, atol=1e-4)
    assert made.rows(["i2", "i0"]).tolist() == [2, 0]


def test_volumes_are_brought_to_the_plans_spacing_first(tmp_path: Path) -> None:
    cases, store = _study(tmp_path, _random(1, 10, 20, 20), (3.0, 1.0, 1.0))
    plan = Input(size=(8, 16, 16), spacing_mm=(3.0, 2.0, 2.0), fit="pad")
    made = prepare(cases, plan, store, tmp_path)
    assert made.images.shape == (3, 1, 8, 16, 16) and made.batch([0]).shape == (1, 1, 8, 16, 16)
    halved = cv2.resize(store.image("i0")[0, 0].astype(np.float32), (10, 10), interpolation=cv2.INTER_AREA)
    assert module.prepare_one(
        store.image("i0"), (3.0, 1.0, 1.0), Input(size=(10, 10, 10), spacing_mm=(3.0, 2.0, 2.0)), bits=16
    )[0][0, 0] == pytest.approx(halved, abs=0.51)


def test_colour_becomes_grey_by_luma_and_grey_becomes_three_alike(tmp_path: Path) -> None:
    colour = _random(3, 1, 8, 8, dtype=np.uint8)
    cases, store = _study(tmp_path / "a", colour)
    grey = prepare(cases, Input(size=(1, 8, 8)), store, tmp_path / "a").images[0, 0, 0]
    wanted = np.tensordot([0.299, 0.587, 0.114], colour[0][:, 0].astype(float), 1)
    np.testing.assert_allclose(grey, wanted, atol=0.51)
    cases, store = _study(tmp_path / "b", _random(1, 1, 8, 8))
    three = prepare(cases, Input(size=(1, 8, 8), channels=3), store, tmp_path / "b").images[0]
    assert (three == three[:1]).all() and len(three) == 3


def test_air_around_the_body_is_cut_off_if_asked(tmp_path: Path) -> None:
    image = np.full((1, 1, 40, 40), 3, np.uint16)
    image[..., 10:30, 0:20] = 900
    image[..., 2:6, 34:38] = 4000  # a marker in the air
    cases, store = _study(tmp_path, [image, image, image])
    whole = prepare(cases, Input(size=(1, 20, 20)), store, tmp_path).images[0]
    cut = prepare(cases, Input(size=(1, 20, 20), crop_foreground=True), store, tmp_path).images[0]
    assert (whole < 10).mean() > 0.5 and (cut == 900).all()


def test_prepared_images_are_used_again_until_plan_or_source_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = module.prepare_one
    monkeypatch.setattr(module, "prepare_one", lambda *a, **k: made.append(1) or real(*a, **k))
    cases, store = _study(tmp_path, _random(1, 1, 16, 16))
    plan = Input(size=(1, 8, 8))
    prepare(cases, plan, store, tmp_path)
    prepare(cases, plan, store, tmp_path)
    assert len(made) == 3
    prepare(cases, plan.model_copy(update={"normalise": "unit"}), store, tmp_path)
    assert len(made) == 6
    cases, store = _study(tmp_path, _random(1, 1, 16, 16), state="another")
    again = prepare(cases, plan, store, tmp_path)
    assert len(made) == 9
    opened = Prepared.open(tmp_path)
    assert opened is not None and (opened.images == again.images).all() and opened.ids == again.ids


def test_images_and_volumes_are_not_mixed(tmp_path: Path) -> None:
    cases, store = _study(tmp_path, _random(1, 1, 16, 16) + _random(1, 9, 16, 16, n=1))
    with pytest.raises(BadInput, match="1 of 4 images are volumes"):
        prepare(cases, Input(size=(1, 8, 8)), store, tmp_path)
    with pytest.raises(BadInput, match="3 of 4 images are 2D"):
        prepare(cases, Input(size=(8, 8, 8)), store, tmp_path)


def test_a_mixture_of_depths_keeps_every_value(tmp_path: Path) -> None:
    images = [np.full((1, 1, 8, 8), 65_000, np.uint16), np.full((1, 1, 8, 8), -900, np.int16)]
    cases, store = _study(tmp_path, images)
    made = prepare(cases, Input(size=(1, 8, 8)), store, tmp_path)
    assert made.images.dtype == np.int32 and made.images[:, 0, 0, 0, 0].tolist() == [65_000, -900]


def test_what_some_images_cannot_give_is_refused_before_any_work(tmp_path: Path) -> None:
    cases, store = _study(tmp_path, _random(1, 1, 16, 16) + _random(4, 1, 16, 16, n=2))
    with pytest.raises(BadInput, match=r"2 of 5 images have 4 channels, .*input\.channels=1; expected 1"):
        prepare(cases, Input(size=(1, 8, 8)), store, tmp_path)
    made = prepare(cases, Input(size=(1, 8, 8), channels=4), store, tmp_path)
    assert made.images.shape == (5, 4, 1, 8, 8)
    with pytest.raises(
        BadInput, match=r"spacing_mm asks for 1×0.5×0.5 mm, but 5 of 5 images do not say .*; leave it empty"
    ):
        prepare(cases, Input(size=(1, 8, 8), channels=4, spacing_mm=(1, 0.5, 0.5)), store, tmp_path)
    late = ("resize", "crop", "resample", "pad", "channels", "normalise")
    with pytest.raises(BadInput, match="puts crop after resize"):
        prepare(cases, Input(size=(1, 8, 8), channels=4, order=late, crop_foreground=True), store, tmp_path)
    with pytest.raises(BadInput, match="holds no landmarks"):
        prepare(cases, Input(size=(1, 8, 8), channels=4, normalise="histogram"), store, tmp_path)


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, store = _study(tmp_path, _random(1, 1, 16, 16))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with pytest.raises(BadInput, match="is full"):
        prepare(cases, Input(size=(1, 8, 8)), store, tmp_path)
    assert not any("prepared" in p.name for p in tmp_path.iterdir())
