"""Can this fundus photograph be graded? A photograph that no reader could read is refused, with its reason.

Screening programmes ask of a photograph that the field is whole, evenly lit and sharp enough to see third
generation vessels (Fleming et al., Invest Ophthalmol Vis Sci 2006;47:1120; UK NHS Diabetic Eye Screening
Programme). Each of these is measured here on the circle of light brought to 256 pixels, so that a camera's
resolution does not matter. The limits were set between what was measured on photographs that can be graded
and on spoiled ones:

                              gradable: 210 simulated   20 of DRIVE     24 spoiled of each kind
brightness, median                      0.55 to 0.95    0.53 to 1       dark: 0.07 to 0.19
part that is white                      0 to 0.02       0 to 0.07       bright: 0.59 to 1
part that is black                      0 to 0.014      0               off centre: 0.15 to 0.46
part without detail                     0 to 0.006      0 to 0.12       eyelid: 0.13 to 0.38
    and the steepest coarse edge        0.05 to 0.23    0.05 to 0.10    eyelid: 0.11 to 0.19
fine beside coarse detail               0.67 to 1.16    0.88 to 1.19    blurred: 0.36 to 0.58

It does not see whether disc and macula lie where they should, nor haze that leaves vessels sharp.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.io.pixel_store import PixelStore
from hounsfield.transforms.field_of_view import FieldOfView, brightness, crop_to_field, field_of_view

__all__ = ["Gradability", "gradability", "gradable_cases"]

_SIDE = 256
_LEAST_SHOWN = 0.80  # of the circle: a sensor of 3 to 4 that holds the circle's width shows 0.86
_DARKEST, _BLACK, _MOST_BLACK = 0.25, 0.15, 0.06
_MOST_WHITE = 0.30
_LEAST_FINE = 0.63
_FLAT, _MOST_FLAT, _STEEP = 0.004, 0.125, 0.108
_TILE = 16


@dataclass(frozen=True, slots=True)
class Gradability:
    """Whether a photograph can be graded; if not, why in one sentence; and the `measures` of it."""

    gradable: bool
    reason: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)


def gradability(data: NDArray[Any]) -> Gradability:
    """Judge a photograph (C, 1, J, I) of three channels, red first, or of one.

    Raises BadInput for a volume or another number of channels.

    >>> dark = np.zeros((3, 1, 64, 64), np.uint8)
    >>> gradability(dark).reason
    'no circle of light stands out from a dark surround: not a fundus photograph, or nothing was lit'
    """
    if data.ndim != 4 or data.shape[0] not in (1, 3) or data.shape[1] != 1:
        raise BadInput(
            f"an image of {data.shape[0]} channel(s) and shape {data.shape[1:]} was given to the check of "
            "photographs; expected one 2D photograph in colour or grey; leave other images out"
        )
    found = field_of_view(data)
    if found is None:
        return Gradability(
            False,
            "no circle of light stands out from a dark surround: not a fundus photograph, or nothing was lit",
        )
    measures = _measures(data, found)
    reason = _reason(measures)
    return Gradability(not reason, reason, measures)


def gradable_cases(
    cases: Sequence[Case], store: PixelStore, *, progress: Callable[[int, int], None] | None = None
) -> tuple[tuple[Case, ...], dict[str, Gradability], Finding]:
    """The cases whose photograph can be graded, the judgement of each case by its id, and what to report.

    Raises BadInput where an image is no 2D photograph.
    """
    judged: dict[str, Gradability] = {}
    for done, case in enumerate(cases, start=1):
        judged[case.id] = gradability(store.image(case.images[0].id))
        if progress is not None:
            progress(done, len(cases))
    kept = tuple(c for c in cases if judged[c.id].gradable)
    return kept, judged, _finding(cases, judged)


def _finding(cases: Sequence[Case], judged: Mapping[str, Gradability]) -> Finding:
    refused = [c for c in cases if not judged[c.id].gradable]
    why = Counter(judged[c.id].reason.split(":")[0] for c in refused)
    said = "; ".join(f"{reason}: {count}" for reason, count in why.most_common())
    note = f"{len(refused)} of {len(cases)} photographs cannot be graded" + (
        f" ({said}); they are left out: photograph those eyes again, or refer them" if refused else ""
    )
    return Finding(
        "ungradable_photographs",
        value=float(len(refused)),
        n=len(cases),
        n_patients=len({c.patient for c in refused}),
        level="warning" if refused else "info",
        method="field of view, light, sharpness and cover measured on each photograph",
        note=note,
    )


def _reason(m: Mapping[str, float]) -> str:
    if m["shown"] < _LEAST_SHOWN:
        return f"the field of view is cut off: {m['shown']:.0%} of the circle lies in the photograph"
    if m["brightness"] < _DARKEST:
        return f"too dark: half of the field is below {m['brightness']:.0%} of white"
    if m["white"] > _MOST_WHITE:
        return f"overexposed: {m['white']:.0%} of the field is white"
    if m["black"] > _MOST_BLACK:
        return f"part of the field is not lit: {m['black']:.0%} of it is black"
    if m["flat"] > _MOST_FLAT and m["edge"] > _STEEP:
        return f"something covers the field, as a lid or lashes do: {m['flat']:.0%} of it shows no detail"
    if m["fine"] < _LEAST_FINE:
        return f"blurred: fine detail is {m['fine']:.2f} of coarse, at least {_LEAST_FINE} is wanted"
    return ""


def _measures(data: NDArray[Any], found: FieldOfView) -> dict[str, float]:
    import cv2

    cut = crop_to_field(data, found)
    size = (_SIDE, _SIDE)
    scale = _range(data)
    planes = [
        cv2.resize(cut[c, 0].astype(np.float32), size, interpolation=cv2.INTER_AREA) / scale
        for c in range(cut.shape[0])
    ]
    green = planes[len(planes) // 2]
    inside = _inside(found, data.shape[2:])
    top = np.maximum.reduce(planes)[inside]
    lit = float(np.percentile(top, 95))
    return {
        "shown": found.shown,
        "brightness": float(np.median(top)),
        "black": float(np.mean(top < _BLACK * lit)),
        "white": float(np.mean((planes[0] > 0.97)[inside] & (green > 0.70)[inside])),
        **_detail(green, inside),
    }


def _range(data: NDArray[Any]) -> np.float32:
    """What white is in stored values."""
    bright = brightness(data)
    return np.float32(float(data.max()) / max(float(bright.max()), 1e-6))


def _inside(found: FieldOfView, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels of the square that lie well inside the circle and in the photograph."""
    at = np.arange(_SIDE, dtype=np.float32) - (_SIDE - 1) / 2
    away = at * 2 * found.radius / _SIDE
    rows, columns = found.row + away, found.column + away
    round_in = at[:, None] ** 2 + at[None] ** 2 < (0.46 * _SIDE) ** 2
    framed: NDArray[np.bool_] = round_in & ((rows > 2) & (rows < shape[0] - 3))[:, None]
    framed &= ((columns > 2) & (columns < shape[1] - 3))[None]
    return framed


def _detail(green: NDArray[np.float32], inside: NDArray[np.bool_]) -> dict[str, float]:
    """Dark detail (vessels above all) of three sizes beside the light about it.

    "fine" is the strongest hundredth of the finest size beside that of the next, which defocus lowers and
    contrast does not change; "edge" that of the coarsest; "flat" the part of the field without any detail.
    """
    import cv2

    weight = inside.astype(np.float32)
    seen = green * weight

    def mean(spread: float) -> NDArray[np.float32]:
        size = int(_SIDE / (1 if spread < 4 else 2 if spread < 8 else 4))  # what is smooth needs few pixels
        small = [cv2.resize(a, (size, size), interpolation=cv2.INTER_AREA) for a in (seen, weight)]
        light, held = (cv2.GaussianBlur(a, (0, 0), spread * size / _SIDE) for a in small)
        smooth = cv2.resize(light / np.maximum(held, 1e-3), (_SIDE, _SIDE))
        return np.asarray(smooth, np.float32)

    about = mean(12.0) + 0.02
    smooth = [mean(s) for s in (1.0, 2.0, 4.0, 8.0)]
    bands = [(a - b) / about for a, b in pairwise(smooth)]
    fine, middle, coarse = (float(np.percentile(-b[inside], 99)) for b in bands)
    tiled = (bands[1] ** 2).reshape(_SIDE // _TILE, _TILE, _SIDE // _TILE, _TILE).mean((1, 3))
    whole = inside.reshape(_SIDE // _TILE, _TILE, _SIDE // _TILE, _TILE).mean((1, 3)) > 0.8
    flat = float(np.mean(np.sqrt(tiled[whole]) < _FLAT)) if whole.any() else 1.0
    return {"fine": fine / max(middle, 1e-6), "edge": coarse, "flat": flat}
