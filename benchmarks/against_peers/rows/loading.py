"""An epoch over 512 x 512 PNGs, as float32 batches of 224 x 224: ours beside Keras's flow_from_directory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measured import compared, median_seconds, prose, rate, table, times
from pictures import pictures
from turns import Entry, Turns, alternate

TITLE = "Epoch over 512×512 PNGs after the first"
FILES, SIDE, BATCH = 128, 224, 32
OURS, KERAS = "ours, prepared once", "flow_from_directory"


def measure(how: Turns) -> dict[str, Any]:
    """An item is a batch."""
    with tempfile.TemporaryDirectory() as folder:
        size = _write(Path(folder))
        given = {"folder": folder, "side": SIDE}
        entries = [Entry(OURS, "ours_loading", "ours", given), Entry(KERAS, "keras_loading", "peers", given)]
        return {**alternate(entries, how), "bytes": size}


def _write(folder: Path) -> int:
    """Two class folders of grey PNGs; the mean size of a file."""
    images = np.rint(pictures(FILES, (512, 512)) * 255).astype(np.uint8)
    for k, image in enumerate(images):
        home = folder / ("normal", "ill")[k % 2]
        home.mkdir(exist_ok=True)
        cv2.imwrite(str(home / f"{k:04}.png"), image)
    return sum(p.stat().st_size for p in folder.rglob("*.png")) // FILES


def page(found: dict[str, Any]) -> list[str]:
    """Images a second, and what preparing them once costs."""
    ours, keras = found[OURS], found[KERAS]
    ratio, spread = compared(ours, keras)
    once = ours["facts"]["once"]
    epochs = once * BATCH / median_seconds(keras)
    means = zip(ours["facts"]["means"], keras["facts"]["means"], strict=True)
    apart = max(abs(a - b) for a, b in means)
    lines = [
        [OURS, rate(ours, per_item=BATCH), times(ratio), spread],
        [KERAS, rate(keras, per_item=BATCH), "", ""],
    ]
    return [
        *prose(
            f"{FILES} files of {found['bytes'] / 1e3:,.0f} kB in the page cache, to shuffled batches of "
            f"{BATCH} float32 images in [0, 1]. Ours decodes and shrinks each image once "
            "and maps the result into memory."
        ),
        "",
        *table(["", "images a second", "ratio", "of one turn"], lines),
        "",
        *prose(
            f"Scanning, decoding and preparing cost {once * 1e3:.1f} ms an image once, as much as "
            f"{epochs:.2f} epochs of {KERAS}. Checks. Shapes {ours['digest']['shape']} and "
            f"{keras['digest']['shape']}, {ours['digest']['dtype']} and {keras['digest']['dtype']}; with "
            'Keras told to weigh all pixels as ours does (`interpolation="bilinear"`), the mean of no image '
            f"differs by more than {apart:.1e}."
        ),
    ]


def summary(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The one ratio."""
    ratio, spread = compared(found[OURS], found[KERAS])
    return [(TITLE, KERAS, "30×", "50×", times(ratio), spread)]
