"""Which window an image is shown with, and why; and its values turned into a picture by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.display import Display, LookupTable
from hounsfield.steps.view import WrongView
from hounsfield.transforms.window import PRESETS, Window, looked_up, preset, spread, windowed, written

__all__ = ["Shade", "shade_for"]

_OVERLAY = (90, 220, 150)
_HEADS = {"HEAD", "BRAIN", "SKULL", "HEADNECK"}


@dataclass(frozen=True, slots=True, eq=False)
class Shade:
    """How values become brightness: a window or a lookup table (neither for colour), and in words why.

    `origin` is "header", "preset", "asked", "as stored", "percentiles", "full" or "colour".
    """

    name: str
    origin: str
    window: Window | None = None
    table: LookupTable | None = None
    inverted: bool = False
    padding: tuple[float, float] | None = None

    def picture(self, values: NDArray[Any], overlay: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
        """One slice (C, H, W) as (H, W, 3): padding black, overlays in green."""
        if self.origin == "colour":
            shown = np.moveaxis(_eight_bits(values), 0, -1)
        else:
            grey = self._brightness(values[0])
            grey = 1.0 - grey if self.inverted else grey
            if self.padding:
                grey[(values[0] >= self.padding[0]) & (values[0] <= self.padding[1])] = 0.0
            shown = np.repeat(np.rint(grey * 255).astype(np.uint8)[..., None], 3, axis=-1)
        if overlay is not None:
            shown = shown.copy()
            shown[overlay] = _OVERLAY
        return np.ascontiguousarray(shown)

    def _brightness(self, values: NDArray[Any]) -> NDArray[np.float64]:
        if self.table is not None:
            return looked_up(values, self.table.table, first=self.table.first, bits=self.table.bits)
        return windowed(values, self.window or spread(values))

    def as_object(self) -> dict[str, Any]:
        """The window for JSON."""
        numbers: dict[str, Any] = {"name": self.name, "from": self.origin, "inverted": self.inverted}
        if self.window is not None:
            numbers |= {
                "centre": self.window.centre,
                "width": self.window.width,
                "function": self.window.function,
            }
        return numbers


def shade_for(asked: str, values: NDArray[Any], display: Display) -> Shade:
    """The window asked for, else the header's first, else a fitting one: its name says which and why.

    `asked` is a preset's name, "centre/width", "full", the number or the explanation of one of the header's
    windows, or "". Raises WrongView where it names none of these, or Hounsfield units that are not there.
    """
    if values.shape[0] == 3:
        if asked not in ("", "full"):
            raise WrongView(
                f'the window "{asked[:20]}" was asked for an image in colour; windows are for grey values'
            )
        return Shade("colour as stored", "colour")
    sided = {"inverted": display.inverted, "padding": display.padding}
    found = _asked(asked, values, display) if asked else _from_header(display, 0)
    shade = found or _fitting(values, display)
    return Shade(shade.name, shade.origin, shade.window, shade.table, **sided)  # type: ignore[arg-type]


def _asked(asked: str, values: NDArray[Any], display: Display) -> Shade:
    try:
        window = written(asked)
    except BadInput as error:
        raise WrongView(str(error)) from error
    if window:
        return Shade(_said(window, display.unit), "asked", window)
    if asked.casefold() == "full":
        window = spread(_without_padding(values, display))
        return Shade(f"{_range(window)}, all values", "full", window)
    if asked.isdecimal() and (shade := _from_header(display, int(asked) - 1)):
        return shade
    names = [t.explanation for t in display.tables] + [w.explanation for w in display.windows]
    for n, name in enumerate(names):
        if name and name.casefold() == asked.casefold() and (shade := _from_header(display, n)):
            return shade
    key = asked.strip().casefold().replace(" ", "-").replace("_", "-")
    if key not in PRESETS:
        held = len(names)
        raise WrongView(
            f'the window "{asked[:20]}" is not known; expected {", ".join(PRESETS)}, full, centre/width'
            + (f", or 1 to {held} for the header's own" if held else "")
        )
    if not display.are_hu:
        raise WrongView(
            f"the {key} window is in Hounsfield units, which the values of this image are not "
            "by its header; give centre/width, e.g. --window 40/400"
        )
    window = preset(key)
    return Shade(f"{_said(window, 'HU')} ({key})", "preset", window)


def _from_header(display: Display, n: int) -> Shade | None:
    """The header's n-th lookup table or window (tables first), None where there is none that is valid."""
    held = len(display.tables) + len(display.windows)
    if not 0 <= n < held:
        return None
    of_all = f", {n + 1} of {held} in the header" if held > 1 else ", from the header"
    if n < len(display.tables):
        table = display.tables[n]
        said = f" ({table.explanation})" if table.explanation else ""
        return Shade(f"lookup table of {table.table.size} entries{said}{of_all}", "header", table=table)
    found = display.windows[n - len(display.tables)]
    try:
        window = Window(found.centre, found.width, found.function)
    except BadInput:
        return None
    said = f" ({found.explanation})" if found.explanation else ""
    return Shade(f"{_said(window, display.unit)}{said}{of_all}", "header", window)


def _fitting(values: NDArray[Any], display: Display) -> Shade:
    """Without a usable window in the header: a CT preset, the stored range of 8 bits, or percentiles."""
    why = "; the header's window cannot be used" if display.windows else ""
    if display.are_hu:
        key = "brain" if display.body_part.upper() in _HEADS else "soft-tissue"
        window = PRESETS[key]
        return Shade(f"{_said(window, 'HU')} ({key}{why or '; the header gives none'})", "preset", window)
    if display.stored_range:
        low, high = display.stored_range
        window = Window((low + high) / 2, high - low, "LINEAR_EXACT")
        return Shade(f"{_range(window)}, as stored{why}", "as stored", window)
    window = spread(_without_padding(values, display), low=0.5, high=99.5)
    unit = f" {display.unit}" if display.unit else ""
    return Shade(f"{_range(window)}{unit}, percentiles 0.5 to 99.5{why}", "percentiles", window)


def _without_padding(values: NDArray[Any], display: Display) -> NDArray[Any]:
    if not display.padding:
        return values
    kept = values[(values < display.padding[0]) | (values > display.padding[1])]
    return kept if kept.size else values


def _said(window: Window, unit: str) -> str:
    function = "" if window.function == "LINEAR" else f" {window.function.casefold().replace('_', ' ')}"
    known = f" {unit}" if unit and unit != "US" else ""
    return f"window {window.centre:g}/{window.width:g}{known}{function}"


def _range(window: Window) -> str:
    low, high = window.centre - window.width / 2, window.centre + window.width / 2
    return f"values {low:.5g} to {high:.5g}"


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        return np.rint((values - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    white = float(np.iinfo(values.dtype).max)
    return np.rint(np.clip(values.astype(np.float64) / white, 0, 1) * 255).astype(np.uint8)
