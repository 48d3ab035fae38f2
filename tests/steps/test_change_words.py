"""Every change that can be drawn has a short word, and the word says which way."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from hounsfield.core.plan import Augment
from hounsfield.steps.change_words import words_of
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.draw import draw

ALL = Augment(
    rotation_deg=40, tilt_deg=20, shift_width=0.3, shift_height=0.3, shift_slices=0.3, shear_deg=20, zoom=0.3,
    flip_left_right=True, flip_up_down=True, flip_slices=True, elastic=0.05, brightness=0.5, contrast=0.5,
    gamma=0.5, noise=0.5, blur=2, sharpness=0.7, bias_field=0.4, low_resolution=3, motion=0.2, ghosting=0.5,
    artefact_chance=1, cutout=0.5, cutout_chance=1, transpose=True,
)  # fmt: skip


def test_every_change_of_a_volume_has_a_word() -> None:
    drawn = draw(ALL, 40, (16, 24, 24), np.random.default_rng(0))
    said = {word for row in range(40) for word in words_of(drawn.record(row))}
    assert not said & {f.name for f in fields(drawn)} and not any("_" in word for word in said)
    wanted = (
        "turned tilted sheared zoom mirrored upside head moved bent gamma contrast brighter darker noise "
        "blur sharper softer shading coarser motion ghosts a axes"
    )
    assert {word.split()[0] for word in said} == set(wanted.split())


def test_an_unknown_change_is_named_and_none_is_said() -> None:
    assert words_of({"folded": 2.0}) == ("folded",)
    assert words_of({}) == ("unchanged",)
    assert words_of({"rotation_deg": 0.1, "shift_width": 0.001}) == ("hardly changed",)


@pytest.mark.parametrize("seed", range(4))
def test_the_way_that_is_named_is_the_way_that_is_seen(seed: int) -> None:
    image = np.zeros((1, 1, 1, 65, 65), np.uint8)
    image[..., 28:37, 28:37] = 200
    drawn = draw(Augment(shift_width=0.3, shift_height=0.3, fill="constant"), 1, (65, 65), seed)
    seen = augmented(image, np.array([[1, 0, -np.inf, np.inf]]), drawn)[0, 0]
    j, i = (np.indices(seen.shape) * seen).sum((1, 2)) / seen.sum() - 32
    (said,) = words_of(drawn.record(0))
    assert ("right" in said) == (i > 0.5) and ("left" in said) == (i < -0.5)
    assert ("down" in said) == (j > 0.5) and ("up" in said) == (j < -0.5)
    assert f"{abs(i) / 65:.0%}" in said and f"{abs(j) / 65:.0%}" in said


def test_words_are_short() -> None:
    record = {
        "rotation_deg": -7.4,
        "flipped_left_right": True,
        "gamma": 0.18,
        "zoom": -0.1,
        "motion": [0.03, -0.04],
    }
    assert words_of(record) == ("turned -7°", "zoom 0.9", "mirrored", "gamma 1.2", "motion 5%")
