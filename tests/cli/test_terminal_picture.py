"""Pictures in a terminal: which way is chosen, and that each text decodes back to the pixels."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hounsfield.cli.terminal_picture import blocks, iterm2, kitty, sixel, terminal_picture, way_of

NOISE = np.random.default_rng(0).integers(0, 256, (70, 90, 3)).astype(np.uint8)
FEW = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [51, 102, 204], [255, 255, 255]], np.uint8)
FLAGS = FEW[np.random.default_rng(1).integers(0, 5, (13, 31))]


@pytest.mark.parametrize(
    "environment, way",
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app", "COLORTERM": "truecolor"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-sixel"}, "sixel"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "24bit"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1", "COLORTERM": "24bit"}, "24bit"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, "256"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, "none"),
        ({"TERM": "linux"}, "none"),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, "none"),
        ({}, "none"),
    ],
)
def test_the_environment_decides(environment: dict[str, str], way: str) -> None:
    assert way_of(environment, is_terminal=True) == way
    assert way_of(environment, is_terminal=False) == "none"


def test_nothing_is_written_where_nothing_can_be_shown() -> None:
    assert terminal_picture(NOISE, "none") == ""


def test_kitty_sends_the_pixels_in_chunks() -> None:
    text = kitty(NOISE)
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert len(parts) > 2 and parts[0][0] == "a=T,f=100,q=2,m=1" and parts[-1][0] == "m=0"
    assert all(len(content) <= 4096 for _, content in parts)
    assert np.array_equal(_decoded("".join(content for _, content in parts)), NOISE)


def test_iterm2_sends_the_pixels_and_their_size() -> None:
    found = re.fullmatch(r"\x1b\]1337;File=([^:]*):([^\x07]*)\x07\n", iterm2(NOISE))
    assert found and "inline=1" in found[1] and "width=90px;height=70px" in found[1]
    assert f"size={len(base64.b64decode(found[2]))}" in found[1]
    assert np.array_equal(_decoded(found[2]), NOISE)


def _decoded(content: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_sixels_decode_to_the_pixels() -> None:
    decoded = _from_sixels(sixel(FLAGS), FLAGS.shape)
    assert np.abs(decoded.astype(int) - FLAGS).max() <= 2  # colours are written in hundredths


def _from_sixels(text: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A small decoder of DEC's sixels, independent of the encoder."""
    found = re.fullmatch(r'\x1bP0;1;0q"1;1;(\d+);(\d+)(.*)\x1b\\\n', text, re.DOTALL)
    assert found and (int(found[2]), int(found[1])) == shape[:2]
    picture = np.zeros((*shape[:2], 3), np.uint8)
    colours: dict[int, list[int]] = {}
    x = y = chosen = 0
    for token in re.finditer(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)(.)|([$-])|([?-~])", found[3]):
        number, red, green, blue, count, repeated, move, one = token.groups()
        if number:
            chosen = int(number)
            if red:
                colours[chosen] = [round(int(c) * 2.55) for c in (red, green, blue)]
        elif move:
            x, y = 0, y + 6 * (move == "-")
        else:
            wide = int(count or 1)
            for row in range(6):
                if (ord(repeated or one) - 63) >> row & 1:
                    picture[y + row, x : x + wide] = colours[chosen]
            x += wide
    return picture


@pytest.mark.parametrize("height", [8, 7])
def test_half_blocks_decode_to_the_pixels(height: int) -> None:
    picture = NOISE[:height, :20]
    assert np.array_equal(_from_blocks(blocks(picture, true_colour=True), picture.shape), picture)


def test_half_blocks_of_256_colours_come_near() -> None:
    shown = _from_blocks(blocks(NOISE, true_colour=False), NOISE.shape)
    assert np.abs(shown.astype(int) - NOISE).max() <= 48  # half of the cube's widest step, 95
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(2, axis=0)
    steps = _from_blocks(blocks(grey, true_colour=False), grey.shape)
    assert np.abs(steps.astype(int) - grey).max() <= 8


def _from_blocks(text: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    picture = np.zeros((shape[0] + shape[0] % 2, shape[1], 3), np.uint8)
    for line_number, line in enumerate(text.splitlines()):
        above = below = [0, 0, 0]
        row: list[tuple[list[int], list[int]]] = []
        for token in re.finditer(r"\x1b\[(38|48);([\d;]+)m|\x1b\[49m|\x1b\[0m|(▀)", line):
            where, colour, block = token.groups()
            if where == "38":
                above = _rgb(colour)
            elif where == "48":
                below = _rgb(colour)
            elif block:
                row.append((above, below))
        picture[2 * line_number : 2 * line_number + 2] = np.array(row, np.uint8).transpose(1, 0, 2)
        assert len(row) == shape[1] and line.endswith("\x1b[0m")
    return picture[: shape[0]]


def _rgb(colour: str) -> list[int]:
    kind, *numbers = (int(n) for n in colour.split(";"))
    if kind == 2:
        return numbers
    n = numbers[0]
    if n >= 232:
        return [8 + 10 * (n - 232)] * 3
    steps = (0, 95, 135, 175, 215, 255)
    return [steps[(n - 16) // 36], steps[(n - 16) // 6 % 6], steps[(n - 16) % 6]]
