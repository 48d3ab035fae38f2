"""From values to grey: window and level, the VOI lookup table, and the named windows of CT (PS3.3 C.11.2).

Everything here gives brightness from 0 (black) to 1 (white) in float64; what a display makes of it is
the display's affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput

__all__ = ["FUNCTIONS", "PRESETS", "Window", "looked_up", "preset", "spread", "windowed", "written"]

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_SAMPLES = 4_000_000  # of a large volume, that many values are enough for a percentile


@dataclass(frozen=True, slots=True)
class Window:
    """A window's centre and width in the values' own unit, and its function of PS3.3 C.11.2.1.3.

    Raises BadInput for a width that the function does not allow: LINEAR needs at least 1, the others
    more than 0.

    >>> Window(40, 400)
    Window(centre=40, width=400, function='LINEAR')
    """

    centre: float
    width: float
    function: str = "LINEAR"

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise BadInput(
                f'the window function "{self.function[:16]}" is not known; expected {", ".join(FUNCTIONS)}'
            )
        least = 1 if self.function == "LINEAR" else 0
        fits = self.width >= 1 if least else self.width > 0
        if not fits or not np.isfinite((self.centre, self.width)).all():
            bound = "of at least 1" if least else "above 0"
            raise BadInput(
                f"a window of centre {self.centre:g} and width {self.width:g} was given; "
                f"expected finite numbers and a width {bound}"
            )


# In Hounsfield units. Lung, brain, soft tissue and mediastinum: W. Herring, Learning Radiology, and the
# default windows of the common viewers (3D Slicer, OHIF), which agree to within a few units; bone: 400/1800
# as in Radiopaedia's table of CT window settings.
PRESETS = {
    "lung": Window(-600, 1500),
    "bone": Window(400, 1800),
    "brain": Window(40, 80),
    "soft-tissue": Window(40, 400),
    "mediastinum": Window(40, 350),
}


def windowed(values: NDArray[Any], window: Window) -> NDArray[np.float64]:
    """Brightness 0…1 of values of any shape, by the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3.

    LINEAR centres on centre - 0.5 and spans width - 1, so that a width of 256 about 128 shows 0…255
    unchanged; width 1 is a threshold. LINEAR_EXACT and SIGMOID take centre and width as they are.

    >>> windowed(np.array([-1024, -160, 39.5, 240, 3000]), Window(40, 400)).tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    >>> (windowed(np.array([0, 1, 255]), Window(128, 256)) * 255).round(9).tolist()
    [0.0, 1.0, 255.0]
    """
    x = np.asarray(values, np.float64)
    c, w = float(window.centre), float(window.width)
    if window.function == "SIGMOID":
        # 1 / (1 + exp(-4 (x - c) / w)), with tanh because exp overflows far outside the window
        return 0.5 + 0.5 * np.tanh(2.0 * (x - c) / w)
    if window.function == "LINEAR_EXACT":
        return np.clip((x - c) / w + 0.5, 0.0, 1.0)
    if w == 1:
        return (x > c - 0.5).astype(np.float64)
    return np.clip((x - (c - 0.5)) / (w - 1) + 0.5, 0.0, 1.0)


def looked_up(
    values: NDArray[Any], table: NDArray[Any], *, first: int, bits: int | None = None
) -> NDArray[np.float64]:
    """Brightness 0…1 through a VOI lookup table whose first entry belongs to the value `first`.

    Values below `first` take the first entry, values beyond the end the last (PS3.3 C.11.2.1.1).
    `bits` is the depth that the descriptor states; None measures the table's own largest entry.

    >>> looked_up(np.array([-5, 10, 11, 99]), np.array([0, 51, 255]), first=10, bits=8).tolist()
    [0.0, 0.0, 0.2, 1.0]
    """
    if not table.size:
        raise BadInput("an empty lookup table was given; expected at least one entry")
    white = float((1 << bits) - 1 if bits else max(int(table.max()), 1))
    whole = values if values.dtype.kind in "iu" else np.rint(values)
    place = np.clip(whole.astype(np.int64) - first, 0, table.size - 1)
    return np.clip(np.asarray(table, np.float64)[place] / white, 0.0, 1.0)


def spread(values: NDArray[Any], *, low: float = 0.0, high: float = 100.0) -> Window:
    """The window from one percentile of the values to another; 0 and 100 are their least and largest.

    A volume of more than four million values is sampled evenly. Values all alike lie in the middle.

    >>> spread(np.arange(101.0), low=10, high=90)
    Window(centre=50.0, width=80.0, function='LINEAR_EXACT')
    """
    flat = np.asarray(values).reshape(-1)
    if not flat.size:
        return Window(0.5, 1.0, "LINEAR_EXACT")
    if (low, high) == (0.0, 100.0):
        least, largest = float(flat.min()), float(flat.max())
    else:
        flat = flat[:: -(-flat.size // _SAMPLES)]
        least, largest = (float(v) for v in np.percentile(flat.astype(np.float64), (low, high)))
        if least == largest:  # almost all values are alike: show the few that are not
            return spread(values)
    return Window((least + largest) / 2, largest - least or 1.0, "LINEAR_EXACT")


def preset(name: str) -> Window:
    """A named window in Hounsfield units. Raises BadInput, listing the names, for any other.

    >>> preset("Soft tissue")
    Window(centre=40, width=400, function='LINEAR')
    """
    asked = name.strip().casefold().replace(" ", "-").replace("_", "-")
    if asked not in PRESETS:
        raise BadInput(f'the window "{name[:20]}" is not known; expected one of {", ".join(PRESETS)}')
    return PRESETS[asked]


def written(text: str) -> Window | None:
    """The window that "centre/width" states, None for a text of another form.

    >>> written("-600/1500"), written("lung")
    (Window(centre=-600.0, width=1500.0, function='LINEAR'), None)
    """
    centre, slash, width = text.partition("/")
    try:
        numbers = float(centre), float(width)
    except ValueError:
        return None
    return Window(*numbers) if slash else None
