"""The preparations of an image are executed in the plan's order, and levels are measured at their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.plan import ORDER, Input, Plan
from hounsfield.core.plan_sections import Preparation
from hounsfield.io.pixel_store import PixelStore, write_pixels
from hounsfield.steps.preparations import before_normalise, prepare_one, refuse_unfit
from hounsfield.steps.prepare import with_landmarks
from hounsfield.transforms.foreground import crop_foreground
from hounsfield.transforms.landmarks import learn_landmarks
from hounsfield.transforms.normalise import apply_levels
from hounsfield.transforms.resize import resize


def _film(seed: int = 0) -> NDArray[np.uint16]:
    """A body in the middle of black air (1, 1, 60, 80)."""
    image = np.zeros((1, 1, 60, 80), np.uint16)
    image[..., 20:40, 30:60] = np.random.default_rng(seed).integers(2000, 3000, (20, 30))
    return image


def _seen(image: NDArray[Any], spacing: tuple[float, ...] = (), **plan: Any) -> NDArray[np.float32]:
    stored, levels = prepare_one(image, spacing, Input(**plan), bits=16)
    return apply_levels(stored[None], np.array([levels], np.float32))[0]


def test_every_preparation_of_the_contract_is_known() -> None:
    assert set(ORDER) == set(get_args(Preparation))
    size = (1, 8, 8)
    for first in ORDER:
        order = (first, *(n for n in ORDER if n != first))
        assert prepare_one(_film(), (), Input(size=size, order=order), bits=16)[0].shape == (1, *size)


def test_levels_are_measured_where_normalise_stands() -> None:
    last = _seen(_film(), size=(1, 30, 40), crop_foreground=True)
    assert abs(last.mean()) < 1e-3 and abs(last.std() - 1) < 1e-3
    order = ("normalise", "crop", "resample", "pad", "resize", "channels")
    first = _seen(_film(), size=(1, 30, 40), crop_foreground=True, order=order)
    whole = _film().astype(float)
    body = (crop_foreground(_film()).astype(float) - whole.mean()) / whole.std()
    assert first.mean() == pytest.approx(body.mean(), abs=0.05)  # the body is bright against the whole


def test_what_comes_after_normalise_acts_on_the_stored_integers() -> None:
    order = ("normalise", "crop", "resample", "pad", "resize", "channels")
    stored, levels = prepare_one(_film(), (), Input(size=(1, 15, 20), channels=2, order=order), bits=16)
    np.testing.assert_array_equal(stored, np.repeat(resize(_film(), (1, 15, 20)), 2, 0))
    assert levels[0] == pytest.approx(1 / _film().std())


def test_crop_before_padding_is_not_padding_before_crop() -> None:
    plan = {"size": (1, 32, 32), "fit": "pad", "crop_foreground": True, "normalise": "unit"}
    usual = prepare_one(_film(), (), Input(**plan), bits=16)[0]
    swapped = ("pad", "crop", "resample", "resize", "channels", "normalise")
    other = prepare_one(_film(), (), Input(**plan, order=swapped), bits=16)[0]
    assert np.ptp(usual[0, 0, 0]) == 0 and np.ptp(other[0, 0, 5]) > 0  # a padded row, a row of the body


def test_spacing_follows_a_resize_that_comes_before_resampling() -> None:
    ramp = np.broadcast_to(np.arange(40, dtype=np.uint16), (1, 1, 40, 40)).copy()
    order = ("resize", "resample", "crop", "pad", "channels", "normalise")
    plan = Input(size=(1, 20, 20), spacing_mm=(1.0, 2.0, 2.0), order=order)
    # the resize to 20×20 makes pixels of 2 mm, so that nothing is left to resample
    assert before_normalise(ramp, (1.0, 1.0, 1.0), plan).shape == (1, 1, 20, 20)


def test_a_volume_is_resampled_along_its_slices_without_aliasing() -> None:
    volume = np.zeros((1, 60, 12, 12), np.uint16)
    volume[:, ::2] = 1000  # every other slice is bright
    plan = Input(size=(15, 12, 12), spacing_mm=(4.0, 1.0, 1.0), interpolation="linear", normalise="unit")
    stored = prepare_one(volume, (1.0, 1.0, 1.0), plan, bits=16)[0]
    assert stored.shape == (1, 15, 12, 12) and np.abs(stored[:, 1:-1].astype(int) - 500).max() < 40


def test_a_2d_image_has_no_slices_to_resample() -> None:
    plan = Input(size=(1, 10, 10), spacing_mm=(1.0, 2.0, 2.0), normalise="unit")
    assert prepare_one(np.ones((1, 1, 20, 20), np.uint8), (6.0, 1.0, 1.0), plan, bits=8)[0].shape[1] == 1


def test_a_spacing_that_fills_the_memory_is_refused() -> None:
    plan = Input(size=(8, 8, 8), spacing_mm=(0.001, 0.001, 0.001))
    with pytest.raises(BadInput, match="ask for a coarser spacing"):
        prepare_one(np.ones((1, 20, 20, 20), np.uint8), (1.0, 1.0, 1.0), plan, bits=8)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("how", ["area", "linear", "cubic"])
def test_integers_keep_their_depth(dtype: type, how: str) -> None:
    image = np.random.default_rng(0).integers(0, 250, (1, 1, 40, 40)).astype(dtype)
    for normalise in ("zscore", "unit", "percentile"):
        plan = Input(size=(1, 16, 16), fit="pad", interpolation=how, normalise=normalise)
        assert prepare_one(image, (), plan, bits=16)[0].dtype == dtype


@pytest.mark.parametrize("have, want", [(2, 1), (3, 2), (4, 3), (2, 3)])
def test_channels_that_do_not_fit_are_refused(have: int, want: int) -> None:
    with pytest.raises(BadInput, match=f"image of {have} channels cannot be brought to {want}"):
        prepare_one(np.ones((have, 1, 8, 8), np.uint8), (), Input(size=(1, 8, 8), channels=want), bits=8)


def _scanned(folder: Path, n: int = 6) -> tuple[list[Case], PixelStore]:
    images = [_film(k) * (k + 1) for k in range(n)]
    store = write_pixels(folder, ((f"i{k}", x, ()) for k, x in enumerate(images)), state="s")
    series = [Series(f"i{k}", (f"{k}",), "raster", (1, 60, 80), bits=16) for k in range(n)]
    return [Case(s.id, s.id, (s,)) for s in series], store


def test_landmarks_are_learned_from_the_images_given_and_say_so(tmp_path: Path) -> None:
    cases, store = _scanned(tmp_path)
    plan = Plan().changed({"input.normalise": "histogram", "input.size": [1, 30, 40]})
    learned = with_landmarks(plan, cases[:4], store)
    wanted = learn_landmarks(resize(store.image(s.id), (1, 30, 40)) for s in cases[:4])
    assert learned.input.landmarks == wanted and "4 development images" in learned.reasons["input.landmarks"]
    assert with_landmarks(learned, cases, store) is learned
    assert Plan.from_json(learned.to_json()) == learned


def test_a_plan_that_needs_no_landmarks_is_left_alone(tmp_path: Path) -> None:
    cases, store = _scanned(tmp_path)
    assert with_landmarks(Plan(), cases, store).input.landmarks == ()


def test_images_of_different_gain_look_alike_to_the_network(tmp_path: Path) -> None:
    cases, store = _scanned(tmp_path)
    plan = with_landmarks(Plan().changed({"input.normalise": "histogram"}), cases, store)
    middles = []
    for s in cases:
        stored, levels = prepare_one(store.image(s.id), (), plan.input, bits=16)
        seen = apply_levels(stored[None], np.array([levels], np.float32))
        middles.append(np.median(seen[seen > 0]))
    assert np.ptp(middles) < 0.06


def test_a_fundus_photograph_is_centred_and_its_light_evened() -> None:
    j, i = np.mgrid[:120, :160]
    disc = np.hypot(j - 50, i - 90) < 40
    light = np.array([200, 110, 60])[:, None, None] * (1 - 0.4 * (i - 90) / 80) * disc
    image = np.clip(light, 0, 255).astype(np.uint8)[:, None]
    plan = Input(size=(1, 80, 80), channels=3, normalise="unit", fundus="centred")
    centred, _ = prepare_one(image, (), plan, bits=8)
    rows, columns = np.nonzero(centred[0, 0] > 20)
    assert (rows.mean(), columns.mean()) == pytest.approx((39.5, 39.5), abs=1.0)
    evened, _ = prepare_one(image, (), plan.model_copy(update={"fundus": "evened"}), bits=8)
    assert np.abs(evened[:, 0, 30:50, 20:60].astype(int) - 128).max() < 12
    with pytest.raises(BadInput, match="would not end at"):
        late = ("pad", "resize", "crop", "resample", "channels", "normalise")
        refuse_unfit([], plan.model_copy(update={"order": late}), None)  # type: ignore[arg-type]


def test_plans_from_before_fundus_keep_their_hash() -> None:
    raw = Plan().model_dump(mode="json")
    del raw["input"]["fundus"]
    assert Plan.checked(raw).digest() == Plan().digest()
    assert Plan().changed({"input.fundus": "centred"}).digest() != Plan().digest()
