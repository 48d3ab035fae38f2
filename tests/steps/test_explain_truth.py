"""Boxes and circles of a label table end where the network sees the finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.plan import Input
from hounsfield.io.pixel_store import PixelStore, write_pixels
from hounsfield.steps.explain_truth import prepared_mask, truth_of
from hounsfield.steps.gather import Question
from hounsfield.steps.prepare import prepare_one
from phantoms import write_csv

ROWS, COLUMNS = 90, 60


def body(top: int, left: int, height: int, width: int) -> np.ndarray:
    """A grey body off the middle of a black image, with a white rectangle in it."""
    image = np.zeros((1, 1, ROWS, COLUMNS), np.uint8)
    image[..., 10:80, 5:50] = 90
    image[..., top : top + height, left : left + width] = 255
    return image


def study(
    folder: Path, cells: dict[str, Any], **more: Any
) -> tuple[Question, Index, tuple[Case, ...], PixelStore]:
    image = body(30, 20, 12, 9)
    series = Series("a", ("a.png",), "raster", (1, ROWS, COLUMNS), **more)
    other = Series("b", ("b.png",), "raster", (1, ROWS, COLUMNS), **more)
    spacing = (1.0, 0.5, 0.5)
    store = write_pixels(folder / "store", [("a", image, spacing), ("b", image, spacing)], state="x")
    rows = [
        {"file": "a.png", "finding": 1, **cells},
        {"file": "b.png", "finding": 0, **dict.fromkeys(cells, "")},
    ]
    question = Question(labels=str(write_csv(folder / "labels.csv", rows)), target=("finding",))
    cases = (Case("case a", "p", (series,)), Case("case b", "q", (other,)))
    return question, Index("", (series, other)), cases, store


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


PLANS = [
    Input(size=(1, 45, 30)),
    Input(size=(1, 64, 64), fit="pad"),
    Input(size=(1, 50, 50), crop_foreground=True),
    Input(size=(1, 64, 48), crop_foreground=True, fit="pad"),
    Input(size=(1, 64, 48), spacing_mm=(1.0, 1.0, 0.8), crop_foreground=True),
]


@pytest.mark.parametrize("plan", PLANS)
def test_a_mask_goes_the_way_of_its_image(plan: Input) -> None:
    image = body(30, 20, 12, 9)
    mask = (image == 255)[0]
    shown, _ = prepare_one(image, (1.0, 0.5, 0.5), plan, bits=8)
    # where the prepared image is nearer to the rectangle's white than to the body's grey
    assert overlap(prepared_mask(image, mask, (1.0, 0.5, 0.5), plan)[0], shown[0, 0] > 150) > 0.75


@pytest.mark.parametrize(
    "cells",
    [
        {"x_min": 20, "y_min": 30, "x_max": 29, "y_max": 42},
        {"X": 20, "Y": 30, "Width": 9, "Height": 12},
    ],
)
def test_a_box_covers_its_pixels(tmp_path: Path, cells: dict[str, Any]) -> None:
    question, index, cases, store = study(tmp_path, cells)
    truth = truth_of(question, index, cases, store, Input(size=(1, ROWS, COLUMNS)))
    assert truth is not None
    np.testing.assert_array_equal(truth("case a"), body(30, 20, 12, 9)[0, 0] == 255)
    assert truth("case b") is None
    assert truth("a case of another study") is None


def test_a_circle_is_in_millimetres(tmp_path: Path) -> None:
    cells = {"lesion_row": 40, "lesion_col": 25, "lesion_radius_mm": 3}
    question, index, cases, store = study(tmp_path, cells)
    truth = truth_of(question, index, cases, store, Input(size=(1, ROWS, COLUMNS)))
    assert truth is not None
    mask = truth("case a")
    assert mask is not None
    rows, columns = np.nonzero(mask)
    assert (rows.mean(), columns.mean()) == pytest.approx((40, 25))
    assert mask.sum() == pytest.approx(np.pi * 6**2, rel=0.05)  # half a millimetre a pixel


def test_a_store_of_reduced_images_is_allowed_for(tmp_path: Path) -> None:
    question, index, cases, _ = study(tmp_path, {"x_min": 20, "y_min": 30, "x_max": 29, "y_max": 42})
    small = body(30, 20, 12, 9)[..., ::3, ::3]
    store = write_pixels(tmp_path / "small", [("a", small, ()), ("b", small, ())], state="x")
    truth = truth_of(question, index, cases, store, Input(size=(1, 30, 20)))
    assert truth is not None
    rows, columns = np.nonzero(truth("case a"))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 13, 7, 9)


def test_a_table_without_places_gives_no_truth(tmp_path: Path) -> None:
    question, index, cases, store = study(tmp_path, {"x_min": 20, "y_min": 30})
    assert truth_of(question, index, cases, store, Input()) is None
    assert truth_of(Question(), index, cases, store, Input()) is None


def test_a_place_that_is_no_number_is_refused(tmp_path: Path) -> None:
    question, index, cases, store = study(tmp_path, {"x_min": 20, "y_min": 30, "x_max": "far", "y_max": 42})
    truth = truth_of(question, index, cases, store, Input())
    assert truth is not None
    with pytest.raises(BadInput, match="not a number"):
        truth("case a")


def test_the_phantoms_lesions_lie_on_their_masks(tmp_path: Path) -> None:
    from hounsfield.applications.mammography.phantom import write_cohort
    from hounsfield.steps.decode import decode
    from hounsfield.steps.gather import gather
    from hounsfield.steps.scan import scan

    labels = write_cohort(tmp_path / "study", patients=12)
    question = Question(labels=str(labels), target=("malignant",), groups=("finding",), test_fraction=0)
    index = scan(str(tmp_path / "study"))
    cases = gather(index, question, split=False).cases
    store = decode(index, index.series, tmp_path / "cache", threads=1)
    plan = Input(size=(1, 480, 384))
    truth = truth_of(question, index, cases, store, plan)
    assert truth is not None
    masks = {c.id: truth(c.id) for c in cases}
    assert all((masks[c.id] is not None) == (c.groups["finding"] != "normal") for c in cases)
    brighter = []
    for case in cases:
        mask = masks[case.id]
        if mask is not None:
            series = case.images[0]
            shown, _ = prepare_one(
                store.image(series.id), store.rows[series.id].spacing_mm, plan, bits=series.bits
            )
            plane = shown[0, 0].astype(float)
            from scipy.ndimage import binary_dilation

            ring = binary_dilation(mask, iterations=15) & ~binary_dilation(mask, iterations=4)
            brighter.append(plane[mask].mean() > plane[ring].mean())
    assert len(brighter) >= 12 and np.mean(brighter) > 0.85
