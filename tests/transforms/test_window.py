"""Windows and lookup tables: the standard's formulas by hand, and pydicom's as a second opinion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi, apply_windowing

from hounsfield.core.errors import BadInput
from hounsfield.transforms.window import (
    FUNCTIONS,
    PRESETS,
    Window,
    looked_up,
    preset,
    spread,
    windowed,
    written,
)

VALUES = np.arange(-2000, 4001, dtype=np.int16)


def shown_by(window: Window) -> Dataset:
    made = Dataset()
    made.PhotometricInterpretation, made.PixelRepresentation = "MONOCHROME2", 1
    made.BitsStored = made.BitsAllocated = 16
    made.WindowCenter, made.WindowWidth = window.centre, window.width
    made.VOILUTFunction = window.function
    return made


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("centre, width", [(40, 400), (-600, 1500), (0.5, 2), (127.5, 255.25), (1000, 4000)])
def test_a_window_agrees_with_pydicom(centre: float, width: float, function: str) -> None:
    window = Window(centre, width, function)
    peer = np.asarray(apply_windowing(VALUES, shown_by(window)), np.float64)
    # pydicom spans the range of the stored values: -32768 to 32767
    assert np.abs((peer + 32768) / 65535 - windowed(VALUES, window)).max() < 1e-12


@pytest.mark.parametrize(
    "centre, width, value, expected",
    [
        # PS3.3 C.11.2.1.2.1, note: c = 2048, w = 4096 shows 0…4095 from black to white
        (2048, 4096, 0, 0.0),
        (2048, 4096, 4095, 1.0),
        (2048, 4096, 2047.5, 0.5),
        # c = 2048, w = 1: black up to 2047, white from 2048
        (2048, 1, 2047, 0.0),
        (2048, 1, 2048, 1.0),
        # c = 0, w = 100: black at -50 and below, white above 49
        (0, 100, -50, 0.0),
        (0, 100, 49, 1.0),
        (0, 100, -49, 1 / 99),
        # c = 0, w = 1: black at -1 (and -0.5), white at 0
        (0, 1, -0.5, 0.0),
        (0, 1, 0, 1.0),
    ],
)
def test_linear_at_the_edges_that_the_standard_names(
    centre: float, width: float, value: float, expected: float
) -> None:
    assert windowed(np.array([value]), Window(centre, width))[0] == pytest.approx(expected, abs=1e-15)


def test_linear_exact_ends_where_the_standard_says() -> None:
    # PS3.3 C.11.2.1.3.2: x <= c - w/2 is black, x > c + w/2 is white
    values = np.array([-200.0, -160.0, 40.0, 240.0, 300.0])
    assert windowed(values, Window(40, 400, "LINEAR_EXACT")).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_a_sigmoid_is_half_at_its_centre_and_does_not_overflow() -> None:
    values = np.array([-1e9, 40.0, 140.0, 1e9])
    shown = windowed(values, Window(40, 400, "SIGMOID"))
    assert shown.tolist() == pytest.approx([0.0, 0.5, 1 / (1 + np.exp(-1.0)), 1.0], abs=1e-15)


@pytest.mark.parametrize(
    "width, function", [(0, "LINEAR"), (0.5, "LINEAR"), (0, "SIGMOID"), (-1, "LINEAR_EXACT")]
)
def test_a_width_that_the_standard_forbids_is_refused(width: float, function: str) -> None:
    with pytest.raises(BadInput, match="width"):
        Window(40, width, function)


def test_a_window_that_is_no_number_and_an_unknown_function_are_refused() -> None:
    with pytest.raises(BadInput, match="finite"):
        Window(float("nan"), 10)
    with pytest.raises(BadInput, match="CUBIC"):
        Window(1, 10, "CUBIC")


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
def test_a_lookup_table_agrees_with_pydicom(kind: Any) -> None:
    table = (np.linspace(0, 1, 300) ** 2 * 4095).astype(np.uint16)
    item = Dataset()
    first = -100 if kind is np.int16 else 20
    item.add_new("LUTDescriptor", "SS" if kind is np.int16 else "US", [300, first, 12])
    item.add_new("LUTData", "US", table.tolist())
    made = Dataset()
    made.PhotometricInterpretation, made.PixelRepresentation = "MONOCHROME2", int(kind is np.int16)
    made.VOILUTSequence = [item]
    values = np.arange(0, 256).astype(kind) if kind is np.uint8 else np.arange(-500, 500).astype(kind)
    peer = np.asarray(apply_voi(values, made), np.float64)
    assert np.array_equal(looked_up(values, table, first=first, bits=12) * 4095, peer)


def test_an_empty_lookup_table_is_refused() -> None:
    with pytest.raises(BadInput, match="empty"):
        looked_up(np.zeros(3), np.zeros(0), first=0)


def test_percentiles_leave_out_the_few_that_are_far_off() -> None:
    values = np.r_[np.linspace(0, 100, 1000), 1e6]
    window = spread(values, low=0.5, high=99.5)
    assert windowed(values, window)[500] == pytest.approx(0.5, abs=0.01)


def test_values_all_alike_are_shown_in_the_middle() -> None:
    assert windowed(np.full(9, 7), spread(np.full(9, 7), low=0.5, high=99.5)).tolist() == [0.5] * 9


def test_a_few_pixels_on_an_even_ground_are_not_lost() -> None:
    values = np.zeros(10_000)
    values[:10] = 5
    assert windowed(values, spread(values, low=0.5, high=99.5)).max() == 1.0


def test_presets_are_named_as_people_write_them() -> None:
    assert preset("Soft tissue") == preset("soft_tissue") == PRESETS["soft-tissue"]
    with pytest.raises(BadInput, match="mediastinum"):
        preset("liver")


@pytest.mark.parametrize("text", ["40", "lung", "40/", "/400", "a/b", ""])
def test_what_is_not_centre_and_width_is_none(text: str) -> None:
    assert written(text) is None
