"""Burnt-in marks are wiped out and put in, so that whether a model uses them can be measured."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, Label
from hounsfield.core.index import Series
from hounsfield.steps.audits.letters import letters_in
from hounsfield.steps.marks import mark_interventions

SIDE = 200


@dataclass
class Kept:
    """Images by name, as a store gives them."""

    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    def image(self, key: str) -> NDArray[np.uint8]:
        return self.images[key]


def marked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    out = image.copy()
    for left in (160, 170, 180):
        out[0, 0, 12:24, left : left + 6] = 250
    return out


def cohort(bearing: int, without: int = 12) -> tuple[tuple[Case, ...], Kept]:
    rng, kept, cases = np.random.default_rng(0), Kept(), []
    for k in range(bearing + without):
        image = rng.integers(10, 16, (1, 1, SIDE, SIDE)).astype(np.uint8)
        image[0, 0, 60:140, 60:140] += rng.integers(40, 60, (80, 80)).astype(np.uint8)
        name = f"case {k}"
        kept.images[name] = marked(image) if k < bearing else image
        series = Series(name, (name,), "raster", (1, SIDE, SIDE))
        cases.append(Case(name, f"patient {k}", (series,), Label((k % 2,))))
    return tuple(cases), kept


def count(image: NDArray[np.uint8]) -> int:
    return len(letters_in(image[0, 0].astype(np.float32)).found)


def test_marks_are_wiped_and_nothing_else_is_touched() -> None:
    cases, kept = cohort(12)
    removed, _ = mark_interventions(cases, kept)  # type: ignore[arg-type]
    before = kept.image("case 0")
    after = removed.change(before, cases[0])
    assert count(before) == 3 and after is not None and count(after) == 0
    np.testing.assert_array_equal(after[0, 0, 40:], before[0, 0, 40:])
    assert removed.change(kept.image("case 15"), cases[15]) is None


def test_marks_of_a_development_image_are_put_where_there_are_none() -> None:
    cases, kept = cohort(12)
    _, inserted = mark_interventions(cases, kept)  # type: ignore[arg-type]
    before = kept.image("case 15")
    after = inserted.change(before, cases[15])
    assert after is not None and count(after) >= 3 and after.dtype == before.dtype
    np.testing.assert_array_equal(after[0, 0, 40:], before[0, 0, 40:])
    assert inserted.change(kept.image("case 0"), cases[0]) is None
    small = before[..., ::2, ::2]
    assert inserted.change(small, cases[15]).shape == small.shape  # type: ignore[union-attr]


def test_marks_that_hardly_an_image_bears_are_not_suspected() -> None:
    cases, kept = cohort(3)
    assert mark_interventions(cases, kept) == ()  # type: ignore[arg-type]


def test_volumes_are_left_alone() -> None:
    cases, kept = cohort(12)
    removed, inserted = mark_interventions(cases, kept)  # type: ignore[arg-type]
    volume = np.repeat(kept.image("case 0"), 4, axis=1)
    assert removed.change(volume, cases[0]) is None and inserted.change(volume, cases[0]) is None
