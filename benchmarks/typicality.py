"""How well images unlike those of the training are told, and how often like ones are called so.

python benchmarks/typicality.py NAME=SOURCE [NAME=SOURCE ...] [--other NAME=SOURCE ...] [--images 600]
    [--splits 5] [--share 0.01]

Each source is any that `hu scan` reads; of a volume its middle slice is taken. Of each but `--other` a
quarter of the patients is held out, the others are learned, `--splits` times. Rows: images of the other
sources, and the held-out images changed as CHANGES says. Columns: the AUROC of the p of held-out images
against it, and the share called unlike at `--share`. The first row is the share of held-out images that are
called unlike.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.model import Model, OperatingPoint
from hounsfield.core.plan import Input, Plan, Validation
from hounsfield.io.catalogue import read_volume
from hounsfield.io.source import Source
from hounsfield.metrics.discrimination import auroc
from hounsfield.steps.prepare import Prepared, prepare_one
from hounsfield.steps.scan import scan
from hounsfield.steps.typical import how_typical, with_typicality

Image = NDArray[Any]
SIDE = 144


def _like(image: Image, values: NDArray[np.float32]) -> Image:
    if image.dtype.kind not in "iu":
        return values.astype(image.dtype)
    info = np.iinfo(image.dtype)
    return np.clip(np.rint(values), info.min, info.max).astype(image.dtype)


def _noisy(image: Image, amount: float) -> Image:
    rng = np.random.default_rng(image.size + int(image.astype(np.int64).sum() % 1009))
    return _like(image, image + rng.normal(0, amount * image.std(), image.shape).astype(np.float32))


def _planes(image: Image, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Image:
    made = [[change(np.ascontiguousarray(p, np.float32)) for p in channel] for channel in image]
    return _like(image, np.array(made))


def _cropped(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    j, i = plane.shape
    part = plane[j // 4 : j - j // 4, i // 4 : i - i // 4]
    return cv2.resize(part, (i, j), interpolation=cv2.INTER_LINEAR)


def _shifted(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    made = np.full_like(plane, plane.min())
    step = plane.shape[1] // 4
    made[:, step:] = plane[:, :-step]
    return made


def _pure_noise(image: Image) -> Image:
    return _like(
        image, np.random.default_rng(int(image.sum() % 997)).permutation(image.ravel()).reshape(image.shape)
    )


CHANGES: dict[str, Callable[[Image], Image]] = {
    "values turned over": lambda x: _like(x, float(x.max()) + float(x.min()) - x.astype(np.float32)),
    "its pixels shuffled": _pure_noise,
    "nearly blank": lambda x: _like(
        x, float(x.mean()) + (np.arange(x.size) % 97 == 0).reshape(x.shape) * 1.0
    ),
    "noise of 0.25 sd": lambda x: _noisy(x, 0.25),
    "noise of 0.5 sd": lambda x: _noisy(x, 0.5),
    "blurred, sigma 1.5": lambda x: _planes(x, lambda p: cv2.GaussianBlur(p, (0, 0), 1.5)),
    "gain 0.5": lambda x: _like(x, 0.5 * x.astype(np.float32)),
    "gain 1.5": lambda x: _like(x, 1.5 * x.astype(np.float32)),
    "gamma 2": lambda x: _like(x, float(x.max()) * (x.astype(np.float32) / max(float(x.max()), 1e-6)) ** 2),
    "middle half, enlarged": lambda x: _planes(x, _cropped),
    "moved by a quarter": lambda x: _planes(x, _shifted),
    "upside down": lambda x: np.ascontiguousarray(x[:, :, ::-1]),
    "turned by 90 degrees": lambda x: np.ascontiguousarray(np.rot90(x, 1, (2, 3))),
    "mirrored": lambda x: np.ascontiguousarray(x[..., ::-1]),
}


def read(source: str, most: int) -> list[tuple[Series, Image]]:
    """Up to so many images of a source, evenly taken: the middle slice (C, 1, J, I) of each."""
    index = scan(source)
    chosen = index.series[:: max(1, -(-len(index.series) // most))]
    found = []
    with Source(index.source) as opened:
        for series in chosen:
            try:
                data = read_volume(opened, series).data
            except BadInput:
                continue
            plane = data[:, data.shape[1] // 2][:, None]
            if plane.shape[0] in (1, 3) and min(plane.shape[2:]) >= 16 and plane.max() > plane.min():
                found.append((series, np.ascontiguousarray(plane)))
    return found


def prepared(images: Sequence[Image], plan: Input) -> tuple[Prepared, list[Case]]:
    """Images as the plan wants them, each of a patient of its own until it is said otherwise."""
    made = [prepare_one(image, (), plan, bits=16) for image in images]
    ids = tuple(f"{k}" for k in range(len(made)))
    stored = np.stack([image.astype(np.float32) for image, _ in made])
    levels = np.array([levels for _, levels in made], np.float32)
    cases = [Case(i, i, (Series(id=i, files=(), reader="raster", shape=(1, *plan.size[1:])),)) for i in ids]
    return Prepared(ids, stored, levels), cases


def patients_of(series: Sequence[Series], labels: str) -> list[str]:
    """The patient of each image: what the file says, the table, or each image its own."""
    table: dict[str, str] = {}
    if labels and Path(labels).is_file():
        import csv

        with Path(labels).open(newline="") as stream:
            table = {row["file"]: row["patientid"] for row in csv.DictReader(stream)}
    return [table.get(Path(s.files[0]).name, s.patient or s.id) for s in series]


def tried(
    name: str, sets: dict[str, list[tuple[Series, Image]]], sources: dict[str, str], asked: Any
) -> None:
    """Print the table of one source as the training set."""
    own = sets[name]
    who = np.array(patients_of([s for s, _ in own], str(Path(sources[name]) / "labels.csv")))
    small = max(own[0][1].shape[2:]) <= 40
    size = own[0][1].shape[2:] if small else (SIDE, SIDE)
    plan = Input(size=(1, *size), fit="stretch" if small else "pad")
    everyone = np.unique(who)
    rows: dict[str, list[tuple[float, float]]] = {}
    false, count, seconds = [], 0, []
    for split in range(asked.splits):
        held = np.random.default_rng(split).permutation(everyone)[: len(everyone) // 4]
        out = np.isin(who, held)
        learned, cases = prepared([i for (_, i), o in zip(own, out, strict=True) if not o], plan)
        cases = [Case(c.id, p, c.images) for c, p in zip(cases, who[~out], strict=True)]
        with tempfile.TemporaryDirectory() as scratch:
            model = Model(
                Path(scratch), Plan(input=plan, validation=Validation(unlike_share=asked.share)),
                LabelEncoding("binary", ("0", "1")), (), OperatingPoint((0.5,), "half", ""),
            )  # fmt: skip
            began = time.perf_counter()
            model, _, _ = with_typicality(model, learned, cases)
            seconds.append(time.perf_counter() - began)
            if model.typicality is None or not model.typicality.file:
                print(f"\n{name}: {model.typicality.note if model.typicality else ''}")
                return

            def p_of(images: Sequence[Image], model: Model = model) -> NDArray[np.float64]:
                return how_typical(model, *prepared(images, plan))[0]

            like = [image for (_, image), o in zip(own, out, strict=True) if o]
            p = p_of(like)
            weight = (
                1 / np.unique(who[out], return_counts=True)[1][np.unique(who[out], return_inverse=True)[1]]
            )
            false.append(float(((p <= model.typicality.limit + 1e-9) * weight).sum() / weight.sum()))
            count += len(held)
            others = {f"set {k}": [i for _, i in v[:150]] for k, v in sets.items() if k != name}
            changed = {k: [change(i) for i in like] for k, change in CHANGES.items()}
            for key, images in {**others, **changed}.items():
                q = p_of(images)
                truth = np.repeat([0, 1], [len(p), len(q)])
                found = auroc(-np.concatenate([p, q]), truth).value
                rows.setdefault(key, []).append(
                    (found or np.nan, float((q <= model.typicality.limit + 1e-9).mean()))
                )
            size_kb = (Path(scratch) / model.typicality.file).stat().st_size / 1e3
    learned_from = f"{len(everyone) - len(everyone) // 4} patients, {int((~out).sum())} images learned"
    print(f"\n{name}: {learned_from} in {np.mean(seconds):.1f} s, {size_kb:.0f} kB; {asked.splits} splits")
    print(f"| {'held-out images called unlike':30} |       | {np.mean(false):.3f} | of {count} patients")
    for key, values in rows.items():
        area, share = np.mean(values, axis=0)
        print(f"| {key:30} | {area:.3f} | {share:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("sources", nargs="+", metavar="NAME=SOURCE")
    parser.add_argument(
        "--other", action="append", default=[], metavar="NAME=SOURCE", help="not learned from"
    )
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.01)
    asked = parser.parse_args()
    learned = dict(s.split("=", 1) for s in asked.sources)
    sources = learned | dict(s.split("=", 1) for s in asked.other)
    sets = {name: read(source, asked.images) for name, source in sources.items()}
    for name, found in sets.items():
        print(f"{name}: {len(found)} images")
    for name in learned:
        tried(name, {k: v for k, v in sets.items() if v}, sources, asked)


if __name__ == "__main__":
    main()
