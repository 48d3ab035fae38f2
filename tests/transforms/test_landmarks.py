"""Histogram normalisation brings two scanners to one scale, as an independent implementation does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Input
from hounsfield.transforms.foreground import foreground_threshold
from hounsfield.transforms.landmarks import PERCENTAGES, image_landmarks, learn_landmarks, to_landmarks
from hounsfield.transforms.normalise import apply_levels, normalised


def _head(seed: int) -> NDArray[np.float64]:
    """An MR-like picture (1, 1, 96, 96) of three tissues in dark noise, in units of no scanner."""
    rng = np.random.default_rng(seed)
    j, i = np.indices((96, 96)) - 48 + rng.normal(0, 2, (2, 1, 1))
    radius = np.hypot(j / rng.uniform(0.9, 1.1), i)
    picture = np.select([radius < 14, radius < 26, radius < 38], [0.35, 0.6, 0.9], 0.0)
    picture += rng.normal(0, 0.04, picture.shape) * (picture > 0) + np.abs(
        rng.normal(0, 0.005, picture.shape)
    )
    return np.clip(picture, 0, None)[None, None]


def _first_scanner(picture: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.rint(900 * picture).astype(np.uint16)


def _second_scanner(picture: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.rint(31_000 * picture**0.7 + 400).astype(np.uint16)


def _learned_by_the_paper(images: list[NDArray[Any]]) -> NDArray[np.float64]:
    """The standard scale by the words of the paper: every image's landmarks on [0, 1], averaged."""
    scales = []
    for image in images:
        values = image[image > foreground_threshold(image)].astype(float)
        first, *_, last = marks = np.percentile(values, PERCENTAGES)
        scales.append((marks - first) / (last - first))
    return np.mean(scales, 0)


def _mapped_by_the_paper(image: NDArray[Any], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Segment by segment, each a straight line; the first and last go on."""
    x = image.astype(float)
    marks = np.percentile(x[image > foreground_threshold(image)], PERCENTAGES)
    slopes = np.diff(scale) / np.diff(marks)
    segment = np.clip(np.searchsorted(marks, x, side="right") - 1, 0, len(slopes) - 1)
    return scale[segment] + slopes[segment] * (x - marks[segment])


def _seen(image: NDArray[Any], landmarks: tuple[float, ...]) -> NDArray[np.float32]:
    stored, levels = normalised(image, Input(normalise="histogram", landmarks=landmarks), bits=16)
    assert stored.dtype == np.uint16 and stored.shape == image.shape
    return apply_levels(stored[None], np.array([levels], np.float32))[0]


def test_the_landmarks_are_those_of_the_paper() -> None:
    images = [_first_scanner(_head(n)) for n in range(6)]
    learned = learn_landmarks(images)
    np.testing.assert_allclose(learned, _learned_by_the_paper(images), atol=2e-6)
    assert learned[0] == 0 and learned[-1] == 1 and Input(landmarks=learned).landmarks == learned


def test_the_map_is_that_of_the_paper() -> None:
    learned = learn_landmarks([_first_scanner(_head(n)) for n in range(6)])
    image = _second_scanner(_head(11))
    wanted = np.clip(_mapped_by_the_paper(image, np.array(learned)), -1, 3)
    np.testing.assert_allclose(_seen(image, learned), wanted, atol=1e-4)


def _apart(one: NDArray[Any], two: NDArray[Any]) -> float:
    """The largest difference of a pixel between two scanners, each brought to mean 0 and spread 1."""
    a, b = ((x.astype(float) - x.mean()) / x.std() for x in (one, two))
    return float(np.abs(a - b).max())


def test_two_scanners_agree_afterwards() -> None:
    learned = learn_landmarks([_first_scanner(_head(n)) for n in range(8)])
    apart, before = [], []
    for n in range(20, 26):
        picture = _head(n)
        body = picture > 0.2
        one, two = (_seen(make(picture), learned)[body] for make in (_first_scanner, _second_scanner))
        apart.append(_apart(one, two))
        before.append(_apart(_first_scanner(picture)[body], _second_scanner(picture)[body]))
        other = _seen(_second_scanner(_head(n + 100)), learned)
        np.testing.assert_allclose(
            np.percentile(one, (10, 50, 90)),
            np.percentile(other[_head(n + 100) > 0.2], (10, 50, 90)),
            atol=0.06,
        )
    assert max(apart) < 0.09 and min(before) > 0.19  # a scale and an offset alone cannot do it


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([np.uint8, np.int16, np.uint16, np.float32]), st.booleans())
def test_order_is_kept_whatever_the_image(seed: int, kind: type, sparse: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.gamma(rng.uniform(0.2, 3), 40, (1, 1, 24, 24)) * (
        rng.random((24, 24)) < 0.2 if sparse else 1
    )
    image = np.clip(values, 0, 250).astype(kind)
    stored, (scale, offset) = to_landmarks(image, tuple(np.linspace(0, 1, 11)))
    order = np.argsort(image, axis=None, kind="stable")
    assert (np.diff(stored.ravel()[order].astype(int)) >= 0).all() and scale > 0 and np.isfinite(offset)


def test_constant_regions_and_images_are_safe() -> None:
    learned = learn_landmarks([_first_scanner(_head(0))])
    mask = np.zeros((1, 1, 20, 20), np.uint8)
    mask[..., 5:15, 5:15] = 1  # all landmarks coincide
    seen = _seen(mask, learned)
    assert set(np.unique(seen.round(4))) == {0.0, 1.0}
    most = _first_scanner(_head(1))
    most[most > 300] = 700  # most landmarks coincide
    assert np.isfinite(_seen(most, learned)).all()
    constant = _seen(np.full((1, 1, 4, 4), 9, np.int16), learned)
    assert np.isfinite(constant).all() and np.ptp(constant) == 0


def test_landmarks_rise_where_most_images_hold_one_value() -> None:
    image = _first_scanner(_head(1))
    image[image > 300] = 700
    learned = learn_landmarks([image])
    assert Input(normalise="histogram", landmarks=learned).landmarks == learned


def test_images_without_a_second_value_teach_nothing() -> None:
    with pytest.raises(BadInput, match=r"input\.normalise to zscore"):
        learn_landmarks([np.full((1, 1, 4, 4), 9, np.int16)])


def test_outliers_do_not_take_the_scale_of_the_rest() -> None:
    learned = learn_landmarks([_first_scanner(_head(n)) for n in range(3)])
    image = _first_scanner(_head(5))
    hot = image.copy()
    hot[0, 0, 48, 48] = 60_000
    assert _seen(hot, learned)[0, 0, 48, 48] == pytest.approx(3.0)
    rest = np.ones(image.shape, bool)
    rest[0, 0, 48, 48] = False
    np.testing.assert_allclose(_seen(hot, learned)[rest], _seen(image, learned)[rest], atol=0.02)


def test_a_plan_without_landmarks_is_refused() -> None:
    with pytest.raises(BadInput, match="holds no landmarks; expected the 11"):
        normalised(_first_scanner(_head(0)), Input(normalise="histogram"), bits=16)
    with pytest.raises(BadInput, match="holds 2 landmarks"):
        normalised(_first_scanner(_head(0)), Input(normalise="histogram", landmarks=(0.0, 1.0)), bits=16)


def test_background_is_not_measured() -> None:
    image = _first_scanner(_head(3))
    wide = np.zeros((1, 1, 300, 300), np.uint16)
    wide[..., 100:196, 100:196] = image
    np.testing.assert_allclose(image_landmarks(wide), image_landmarks(image), rtol=0.05)
