"""How many copies the duplicate search finds, how near strangers come to its limits, and how long it takes.

python benchmarks/duplicates.py SOURCE [SOURCE ...] [--images 1500] [--copies 40] [--time 10000]

Each source is any that `hu scan` reads; of volumes the search sees the mean along k. All images of a source
(up to `--images`) are compared with each other: whatever is found there and is no copy by the pixels is
printed, to be looked at. Up to `--copies` of them are then copied in every way of CHANGES. `--time` makes
that many different images out of a source and searches them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hounsfield.io.pixel_store import PixelStore, write_pixels
from hounsfield.steps.decode import decode
from hounsfield.steps.duplicates import Fingerprints, duplicate_pairs, fingerprints
from hounsfield.steps.same_picture.candidates import candidates
from hounsfield.steps.same_picture.confirmation import LAID_LIMIT, LIMIT, confirmed
from hounsfield.steps.same_picture.structure import common_of
from hounsfield.steps.scan import scan

Image = NDArray[Any]


def _bytes_of(x: Image) -> Image:
    x = x.astype(np.float32)
    return ((x - x.min()) / max(float(np.ptp(x)), 1e-6) * 255).astype(np.uint8)


def _jpeg(x: Image) -> Image:
    return cv2.imdecode(
        cv2.imencode(".jpg", _bytes_of(np.ascontiguousarray(x)), [1, 60])[1], cv2.IMREAD_GRAYSCALE
    )


def _cut(x: Image, top: float, bottom: float, left: float, right: float) -> Image:
    """The middle of an image; a small one is brought back to its size, as data sets of small images are."""
    j, i = x.shape
    part = x[int(j * top) : j - int(j * bottom), int(i * left) : i - int(i * right)]
    return cv2.resize(part.astype(np.float32), (i, j)) if max(j, i) <= 64 else part


def _window(x: Image) -> Image:
    low, high = np.percentile(x, (25, 90))
    return _bytes_of(np.clip(x, low, high))


CHANGES: dict[str, Callable[[Image], Image]] = {
    "JPEG quality 60": _jpeg,
    "70 % size": lambda x: cv2.resize(
        x.astype(np.float32), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA
    ),
    "gamma 0.7": lambda x: (_bytes_of(x) / 255.0) ** 0.7,
    "noise sd 5/255": lambda x: _bytes_of(x) + np.random.default_rng(0).normal(0, 5, x.shape),
    "brighter by 40 % and 20, cut off at white": lambda x: np.clip(_bytes_of(x) * 1.4 + 20.0, 0, 255),
    "window from the 25th to the 90th percentile": _window,
    "inverted": lambda x: 255 - _bytes_of(x),
    "mirrored left to right": lambda x: x[:, ::-1],
    "mirrored up to down": lambda x: x[::-1],
    "turned by 90°": np.rot90,
    "turned by 180°": lambda x: x[::-1, ::-1],
    "transposed": lambda x: x.T,
    "cropped 3 % a side": lambda x: _cut(x, 0.03, 0.03, 0.03, 0.03),
    "cropped 5 % a side": lambda x: _cut(x, 0.05, 0.05, 0.05, 0.05),
    "cropped 10 % on the left": lambda x: _cut(x, 0, 0, 0.1, 0),
    "cropped 8 % left and right": lambda x: _cut(x, 0, 0, 0.08, 0.08),
    "cropped 10 % a side": lambda x: _cut(x, 0.1, 0.1, 0.1, 0.1),
    "mirrored, cropped 5 %, JPEG": lambda x: _jpeg(_cut(x[:, ::-1], 0.05, 0.05, 0.05, 0.05)),
    "turned, brighter and cut off, JPEG": lambda x: _jpeg(
        np.clip(np.rot90(_bytes_of(x)) * 1.4 + 20.0, 0, 255)
    ),
}


def _stored(folder: Path, name: str, images: Sequence[Image]) -> Fingerprints:
    rows = ((f"{name}{k}", np.ascontiguousarray(x)[None, None], ()) for k, x in enumerate(images))
    store = write_pixels(folder / name, rows, state="x")
    return fingerprints(store, [f"{name}{k}" for k in range(len(images))])


def _strangers(marks: Fingerprints) -> str:
    """The agreement of the pairs nearest to the limits from below."""
    likely, common = candidates(marks.coarse), common_of(marks.fine)
    near = confirmed(marks.fine, marks.fine, likely, common, slack=0.4)
    direct = sorted((abs(c.agreement) for c in near if not c.laid and abs(c.agreement) < LIMIT), reverse=True)
    laid = sorted((abs(c.agreement) for c in near if c.laid and abs(c.agreement) < LAID_LIMIT), reverse=True)
    told = [", ".join(f"{v:.2f}" for v in some[:3]) or "none near" for some in (direct, laid)]
    return f"{len(likely)} pairs looked at; below the limits stay {told[0]} (as they are), {told[1]} (laid)"


def _measure(name: str, store: PixelStore, ids: list[str], copies: int, folder: Path) -> None:
    began = time.perf_counter()
    marks = fingerprints(store, ids)
    middle = time.perf_counter()
    pairs = duplicate_pairs(marks)
    ended = time.perf_counter()
    print(f"\n{name}: {len(ids)} images, {len(ids) * (len(ids) - 1) // 2} pairs")
    print(f"  fingerprints {middle - began:.1f} s, search {ended - middle:.1f} s; {_strangers(marks)}")
    print(f"  exact pairs: {sum(p.exact for p in pairs)}")
    near = [p for p in pairs if not p.exact]
    print(f"  near pairs: {len(near)} {dict(Counter(p.how or 'as it is' for p in near))}")
    for p in near[:5]:
        print(f"    {p.first} {p.second} {p.how}")
    chosen = np.random.default_rng(0).choice(len(ids), min(copies, len(ids)), replace=False)
    planes = [store.image(ids[k]).astype(np.float32).mean((0, 1)) for k in chosen]
    same = {(p.first, p.second) for p in pairs} | {(p.second, p.first) for p in pairs}
    for number, (how, change) in enumerate(CHANGES.items()):
        made = _stored(folder, f"c{number}-", [change(p) for p in planes])
        hits = duplicate_pairs(made, marks)
        true = {f"c{number}-{n}": ids[k] for n, k in enumerate(chosen)}
        found = {p.first for p in hits if true[p.first] == p.second}
        false = sum(true[p.first] != p.second and (true[p.first], p.second) not in same for p in hits)
        print(f"  {how:<44} found {len(found) / len(chosen):6.1%}   strangers {false}")


def _timed(name: str, store: PixelStore, ids: list[str], count: int, folder: Path) -> None:
    """`count` images: those of the source, and mixtures of two of them, so that all are different."""
    rng = np.random.default_rng(0)
    base = [_bytes_of(store.image(k).astype(np.float32).mean((0, 1))) for k in ids]
    side = base[0].shape[::-1]
    base = [cv2.resize(x, side) for x in base][:count]
    made = list(base)
    while len(made) < count:
        a, b = rng.integers(len(base), size=2)
        made.append(cv2.addWeighted(base[a], 0.5, np.ascontiguousarray(np.rot90(base[b], 2)), 0.5, 0))
    began, used = time.perf_counter(), time.process_time()
    marks = _stored(folder, "t", made)
    middle = time.perf_counter()
    duplicate_pairs(marks)
    print(
        f"\n{name}: {count} images of {side[0]}×{side[1]}: fingerprints {middle - began:.1f} s, search "
        f"{time.perf_counter() - middle:.1f} s; {time.process_time() - used:.1f} s of processor time"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--copies", type=int, default=40)
    parser.add_argument("--time", type=int, default=0)
    asked = parser.parse_args()
    for source in asked.sources:
        index = scan(source)
        series = list(index.series)[: asked.images]
        with tempfile.TemporaryDirectory() as scratch:
            store = decode(index, series, Path(scratch) / "decoded")
            ids = [s.id for s in series]
            if asked.time:
                _timed(Path(source).name, store, ids, asked.time, Path(scratch))
            else:
                _measure(Path(source).name, store, ids, asked.copies, Path(scratch))


if __name__ == "__main__":
    main()
