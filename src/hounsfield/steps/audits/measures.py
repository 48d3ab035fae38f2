"""What is known of each image beside what it shows: its file, its border, and how it looks as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.index import Series
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.audits.letters import Letters, letters_in
from hounsfield.steps.compute import available_cores

__all__ = ["Measure", "Measures", "measured"]

WINDOW = 512
EVEN = 0.004
"""A row whose values differ by less than this share of the image's range is border: JPEG does not keep it
constant.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """A number per case (N,), NaN where unknown.

    `kind` is "file" (of the file, nothing of the patient), "frame" (what surrounds the image or is written on
    it) or "look" (brightness and the like, which disease may change too).
    """

    name: str
    words: str
    kind: str
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """Numbers and text columns of all cases, and the letters that stand in each image."""

    numbers: tuple[Measure, ...]
    columns: dict[str, list[str]]
    letters: tuple[Letters, ...]


LOOKS = {
    "brightness": "mean value",
    "contrast": "spread of the values",
    "sharpness": "sharpness",
    "noise": "noise",
    "black_share": "share of black",
    "white_share": "share of white",
    "left_right": "difference between left and right half",
    "up_down": "difference between upper and lower half",
}
FILES = {
    "rows": "number of rows",
    "columns": "number of columns",
    "slices": "number of slices",
    "aspect": "aspect",
    "bit_depth": "bit depth",
    "channels": "number of channels",
    "spacing": "pixel spacing",
    "slice_spacing": "slice spacing",
}
FRAMES = {"border": "share of constant border", "letters": "number of burnt-in letters or markers"}


def measured(cases: Sequence[Case], store: PixelStore) -> Measures:
    """Measures of the first image of each case."""
    with ThreadPoolExecutor(available_cores()) as pool:
        seen = list(pool.map(lambda c: _seen(store.image(c.images[0].id)), cases))
    series = [c.images[0] for c in cases]
    files = [_file_facts(s) for s in series]
    numbers = [Measure(n, words, "file", _column([f[n] for f in files])) for n, words in FILES.items()]
    numbers += [
        Measure(n, words, "look", _column([look[n] for look, _ in seen])) for n, words in LOOKS.items()
    ]
    frames = {
        "border": [look["border"] for look, _ in seen],
        "letters": [float(len(found.found)) for _, found in seen],
    }
    numbers += [Measure(n, words, "frame", _column(frames[n])) for n, words in FRAMES.items()]
    columns = {
        "file format": [_ending(s) for s in series],
        "colour model": [s.photometric for s in series],
        "year of the study": [s.study_date[:4] for s in series],
    }
    return Measures(tuple(numbers), columns, tuple(found for _, found in seen))


def _column(values: Sequence[float]) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def _file_facts(series: Series) -> dict[str, float]:
    k, j, i = series.shape
    spacing = series.spacing_mm if len(series.spacing_mm) == 3 else (np.nan,) * 3
    return {
        "rows": j, "columns": i, "slices": k, "aspect": j / i, "bit_depth": series.bits,
        "channels": series.channels, "spacing": spacing[1], "slice_spacing": spacing[0] if k > 1 else np.nan,
    }  # fmt: skip


def _ending(series: Series) -> str:
    name = series.files[0].rsplit("/", 1)[-1] if series.files else ""
    ending = name.rsplit(".", 1)[-1].casefold() if "." in name else ""
    return ending if ending.isalnum() and len(ending) <= 5 else "none"


def _seen(data: NDArray[Any]) -> tuple[dict[str, float], Letters]:
    """How an image (C, K, J, I) looks; of a volume its middle slice."""
    import cv2

    plane = np.ascontiguousarray(data[:, data.shape[1] // 2].astype(np.float32).mean(0))
    low, high = float(plane.min()), float(plane.max())
    spread = max(high - low, 1e-9)
    j, i = (max(0, (side - WINDOW) // 2) for side in plane.shape)
    part = np.ascontiguousarray(plane[j : j + WINDOW, i : i + WINDOW])
    deviation = max(float(part.std()), 1e-9)
    roughness = np.abs(cv2.Laplacian(part, -1))[::2, ::2]
    half_j, half_i = (side // 2 for side in plane.shape)
    found = {
        "brightness": float(plane.mean()),
        "contrast": float(plane.std()),
        "sharpness": float((part - cv2.GaussianBlur(part, (0, 0), 1.0)).std()) / deviation,
        "noise": float(np.median(roughness)) / deviation,
        "black_share": float((plane < low + 0.02 * spread).mean()),
        "white_share": float((plane > high - 0.02 * spread).mean()),
        "left_right": float(plane[:, :half_i].mean() - plane[:, -half_i:].mean()) / spread if half_i else 0.0,
        "up_down": float(plane[:half_j].mean() - plane[-half_j:].mean()) / spread if half_j else 0.0,
        "border": _border(plane, EVEN * spread),
    }
    flat = data.shape[1] == 1
    return found, letters_in(plane) if flat else Letters((), 0)


def _border(plane: NDArray[np.float32], even: float) -> float:
    """The share of the plane in outer rows and columns that hold one value each."""
    rows = np.flatnonzero(plane.max(1) - plane.min(1) > even)
    if not len(rows):
        return 1.0
    inner = plane[rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(inner.max(0) - inner.min(0) > even)
    if not len(columns):
        return 1.0
    return 1.0 - len(inner) * (int(columns[-1]) - int(columns[0]) + 1) / plane.size
