"""A picture in the terminal: which way a terminal can show one, and the text that does it.

No terminal is asked: an answer may never come, and would be read as keys. The environment decides.

| way    | environment                                                                               |
|--------|-------------------------------------------------------------------------------------------|
| kitty  | KITTY_WINDOW_ID, or TERM xterm-kitty or xterm-ghostty, or TERM_PROGRAM ghostty            |
| iterm2 | TERM_PROGRAM iTerm.app, WezTerm or mintty, or LC_TERMINAL iTerm2                          |
| sixel  | TERM foot, foot-extra, mlterm, contour, yaft-256color, or one with "sixel" in its name    |
| 24bit  | COLORTERM truecolor or 24bit                                                              |
| 256    | any other terminal with colours                                                           |
| none   | not a terminal, TERM empty, dumb, linux, vt100 …, or NO_COLOR set                         |

Within tmux and screen pictures do not pass, so blocks are drawn. Functions give text and write nothing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

__all__ = ["blocks", "iterm2", "kitty", "sixel", "terminal_picture", "way_of"]

_WITHOUT_COLOUR = ("dumb", "linux", "vt52", "vt100", "vt102", "vt220", "unknown")
_SIXEL = ("foot", "foot-extra", "mlterm", "contour", "contour-latest", "yaft-256color")
_CHUNK = 4096  # kitty takes base64 in pieces of at most this many letters
_STEPS = (0, 95, 135, 175, 215, 255)  # of the 6×6×6 cube among the 256 colours


def way_of(environment: Mapping[str, str], *, is_terminal: bool) -> str:
    """How this terminal can show a picture: kitty, iterm2, sixel, 24bit, 256 or none.

    >>> way_of({"TERM": "xterm-kitty"}, is_terminal=True), way_of({"TERM": "xterm-kitty"}, is_terminal=False)
    ('kitty', 'none')
    """
    term = environment.get("TERM", "")
    if not is_terminal or not term or term.startswith(_WITHOUT_COLOUR) or environment.get("NO_COLOR"):
        return "none"
    if not (environment.get("TMUX") or environment.get("STY") or term.startswith(("screen", "tmux"))):
        program = environment.get("TERM_PROGRAM", "")
        if program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2":
            return "iterm2"
        if (
            environment.get("KITTY_WINDOW_ID")
            or term in ("xterm-kitty", "xterm-ghostty")
            or program == "ghostty"
        ):
            return "kitty"
        if term in _SIXEL or "sixel" in term:
            return "sixel"
    return "24bit" if environment.get("COLORTERM") in ("truecolor", "24bit") else "256"


def terminal_picture(picture: Picture, way: str) -> str:
    """The picture (H, W, 3) as text for a way of `way_of`; "" for none."""
    if way == "none":
        return ""
    if way in ("24bit", "256"):
        return blocks(picture, true_colour=way == "24bit")
    return {"kitty": kitty, "iterm2": iterm2, "sixel": sixel}[way](picture)


def kitty(picture: Picture) -> str:
    """Kitty's graphics protocol: a PNG in base64, in chunks, answers suppressed (q=2)."""
    content = base64.standard_b64encode(_png(picture)).decode()
    chunks = [content[n : n + _CHUNK] for n in range(0, len(content), _CHUNK)]
    text = []
    for n, chunk in enumerate(chunks):
        control = "a=T,f=100,q=2," if n == 0 else ""
        text.append(f"\x1b_G{control}m={int(n < len(chunks) - 1)};{chunk}\x1b\\")
    return "".join(text) + "\n"


def iterm2(picture: Picture) -> str:
    """iTerm2's inline image: a PNG in base64 with its size in pixels."""
    content = _png(picture)
    height, width = picture.shape[:2]
    about = f"inline=1;size={len(content)};width={width}px;height={height}px;preserveAspectRatio=1"
    return f"\x1b]1337;File={about}:{base64.standard_b64encode(content).decode()}\x07\n"


def sixel(picture: Picture) -> str:
    """DEC's sixels: up to 256 colours, bands of six rows, each colour a run-length coded line."""
    import numpy as np
    from PIL import Image

    coded = Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE)
    colours = np.array(coded.getpalette() or [], np.int64).reshape(-1, 3)
    pixels = np.asarray(coded)
    height, width = pixels.shape
    text = [f'\x1bP0;1;0q"1;1;{width};{height}']
    for n in np.unique(pixels).tolist():
        red, green, blue = (round(int(c) * 100 / 255) for c in colours[n])
        text.append(f"#{n};2;{red};{green};{blue}")
    weights = 1 << np.arange(6)[:, None]
    for top in range(0, height, 6):
        band = pixels[top : top + 6]
        lines = []
        for n in np.unique(band).tolist():
            codes = ((band == n) * weights[: len(band)]).sum(0) + 63
            lines.append(f"#{n}{_run_length(codes.tolist())}")
        text.append("$".join(lines) + "-")
    return "".join(text) + "\x1b\\\n"


def _run_length(codes: list[int]) -> str:
    text, start = [], 0
    for n in range(1, len(codes) + 1):
        if n == len(codes) or codes[n] != codes[start]:
            count = n - start
            letter = chr(codes[start])
            text.append(f"!{count}{letter}" if count > 3 else letter * count)
            start = n
    return "".join(text)


def blocks(picture: Picture, *, true_colour: bool) -> str:
    """Half blocks: every letter two pixels, the upper one its colour, the lower one its ground.

    >>> import numpy as np
    >>> blocks(np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8), true_colour=True)
    '\\x1b[38;2;255;0;0m\\x1b[48;2;0;0;255m▀\\x1b[0m\\n'
    """
    lines = []
    for top in range(0, picture.shape[0], 2):
        upper = picture[top].tolist()
        lower = picture[top + 1].tolist() if top + 1 < picture.shape[0] else [None] * len(upper)
        line, before = [], ("", "")
        for above, below in zip(upper, lower, strict=True):
            colour = f"\x1b[38;{_colour(above, true_colour)}m"
            ground = f"\x1b[48;{_colour(below, true_colour)}m" if below else "\x1b[49m"
            line.append(colour if colour != before[0] else "")
            line.append(ground if ground != before[1] else "")
            line.append("▀")
            before = colour, ground
        lines.append("".join(line) + "\x1b[0m\n")
    return "".join(lines)


def _colour(rgb: list[int], true_colour: bool) -> str:
    if true_colour:
        return f"2;{rgb[0]};{rgb[1]};{rgb[2]}"
    return f"5;{_nearest_of_256(rgb)}"


def _nearest_of_256(rgb: list[int]) -> int:
    """The nearest of the cube (16 to 231) and the 24 greys (232 to 255).

    >>> _nearest_of_256([0, 0, 0]), _nearest_of_256([255, 0, 0]), _nearest_of_256([128, 128, 128])
    (16, 196, 244)
    """
    places = [min(range(6), key=lambda n: abs(_STEPS[n] - c)) for c in rgb]
    cube = [_STEPS[p] for p in places]
    grey = max(0, min(23, round((sum(rgb) / 3 - 8) / 10)))
    far = sum((c - v) ** 2 for c, v in zip(rgb, cube, strict=True))
    far_grey = sum((c - (8 + 10 * grey)) ** 2 for c in rgb)
    return 232 + grey if far_grey < far else 16 + 36 * places[0] + 6 * places[1] + places[2]


def _png(picture: Picture) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()
