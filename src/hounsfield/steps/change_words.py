"""What was drawn for an image, in a few words: "turned 7°, mirrored, gamma 1.2"."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["words_of"]

Word = Callable[[Any], str]


def words_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The changes of a `Draw.record` that can be seen, what moves the image first; never empty.

    A change that is not known here is named as in the record.

    >>> words_of({"rotation_deg": 7.2, "flipped_left_right": True, "shift_width": 0.05, "gamma": 0.18})
    ('turned 7°', 'mirrored', 'moved 5% right', 'gamma 1.2')
    """
    said = []
    for name, word in _WORDS.items():
        text = _moved(record) if name == "shift" else word(record[name]) if name in record else ""
        said += [text] if text else []
    said += [name for name in record if name not in _WORDS and name not in _SHIFTS]
    return tuple(said) or ("hardly changed" if record else "unchanged",)


def _degrees(verb: str) -> Word:
    def said(value: float | Sequence[float]) -> str:
        angles = value if isinstance(value, Sequence) else (value,)
        turned = [_plain(a, 0) for a in angles]
        return f"{verb} " + "/".join(f"{a}°" for a in turned) if set(turned) != {"0"} else ""

    return said


def _amount(noun: str, digits: int = 2) -> Word:
    return lambda value: f"{noun} {text}" if (text := _plain(value, digits)) != "0" else ""


def _word(noun: str) -> Word:
    return lambda value: noun if value else ""


def _plain(value: float, digits: int) -> str:
    """Without a trailing zero, and without a zero that has a sign.

    >>> _plain(-0.04, 1), _plain(1.20, 2)
    ('0', '1.2')
    """
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _share(value: float) -> str:
    """A part of the image in percent.

    >>> _share(0.053), _share(-0.002)
    ('5%', 'below 1%')
    """
    return f"{100 * abs(value):.0f}%" if abs(value) >= 0.005 else "below 1%"


def _moved(record: Mapping[str, Any]) -> str:
    parts = [
        f"{_share(record[name])} {ways[record[name] > 0]}"
        for name, ways in _SHIFTS.items()
        if abs(record.get(name, 0.0)) >= 0.005
    ]
    return "moved " + " ".join(parts) if parts else ""


_SHIFTS = {
    "shift_width": ("left", "right"),
    "shift_height": ("up", "down"),
    "shift_slices": ("to the first slice", "to the last slice"),
}
_WORDS: dict[str, Word] = {
    "rotation_deg": _degrees("turned"),
    "tilt_deg": _degrees("tilted"),
    "shear_deg": _degrees("sheared"),
    "zoom": lambda v: f"zoom {_plain(1 + v, 2)}",
    "flipped_left_right": _word("mirrored"),
    "flipped_up_down": _word("upside down"),
    "flipped_slices": _word("head to feet"),
    "transposed": _word("axes exchanged"),
    "shift": _moved,
    "elastic": lambda v: f"bent {_share(v)}",
    "gamma": lambda v: f"gamma {_plain(math.exp(v), 2)}",
    "contrast": lambda v: f"contrast {_plain(1 + v, 2)}",
    "brightness": lambda v: f"{'brighter' if v > 0 else 'darker'} {_plain(abs(v), 2)}",
    "noise": _amount("noise"),
    "blur": _amount("blur", 1),
    "sharpness": lambda v: f"{'sharper' if v > 0 else 'softer'} {_plain(abs(v), 2)}",
    "bias_field": _amount("shading"),
    "low_resolution": lambda v: f"coarser {_plain(v, 1)}",
    "motion": lambda v: f"motion {_share(math.hypot(*v))}",
    "ghosting": _amount("ghosts"),
    "cutout": _word("a box cut out"),
}
