"""What a plan does to one image: as the network sees it, and so many changed versions of it beside."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.plan import Augment, Plan
from hounsfield.io.source import Source
from hounsfield.steps.change_words import words_of
from hounsfield.steps.choose import chosen, rows_of
from hounsfield.steps.montage import Panel, Wording, composed
from hounsfield.transforms.measures import percentiles_of
from hounsfield.transforms.normalise import apply_levels
from hounsfield.transforms.window import Window, windowed

if TYPE_CHECKING:
    from hounsfield.io.pixel_store import PixelStore

__all__ = ["Augmented", "Version", "as_object", "show_augmented"]

_BOUNDED = ("unit", "percentile", "window")


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One changed image: pixels (H, W, 3), what was drawn for it, and that in a few words."""

    pixels: NDArray[np.uint8]
    drawn: Mapping[str, Any]
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Augmented:
    """An image as the network sees it, pixels (H, W, 3), and its versions; `image` is its id in the scan."""

    image: str
    plan: Plan
    seed: int
    plain: NDArray[np.uint8]
    versions: tuple[Version, ...]
    notes: tuple[str, ...] = ()

    @property
    def caption(self) -> str:
        """One line without identity: image, plan, size, normalisation, seed."""
        size = "×".join(map(str, self.plan.input.size))
        channels = self.plan.input.channels
        kind = f"{self.plan.input.normalise}, {channels} channel{'s' * (channels > 1)}"
        return f"{self.image}  ·  plan {self.plan.name}  ·  {size}, {kind}  ·  seed {self.seed}"

    def picture(self, *, bare: bool = False, widest: int = 1560, tallest: int = 1000) -> NDArray[np.uint8]:
        """All of them in a grid (H, W, 3), with wording or bare; the unchanged image comes first."""
        panels = [Panel(self.plain, title="as the network sees it")]
        panels += [Panel(v.pixels, title=f"{number}  {v.label}") for number, v in enumerate(self.versions, 1)]
        wording = None if bare else Wording((self.caption, *self.notes))
        return composed(panels, wording, widest=widest, tallest=tallest)


def show_augmented(
    path: Path | str,
    *,
    count: int = 8,
    image: str = "",
    plan: Plan | None = None,
    changes: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Augmented:
    """Change an image of a source `count` times as a plan does in training, in the way of the plan's `seed`.

    `image` names it by number, id or file name (the first without). Without a `plan` it is the one that
    `design` would choose for this image alone; `changes` replaces dotted keys. Of a volume the middle slice
    is shown. Raises BadInput where there is no image, or the plan does not fit it.

    >>> show_augmented("no-such-folder")
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: ...no-such-folder...
    """
    from hounsfield.steps.decode import decode
    from hounsfield.steps.preparations import prepare_one, refuse_unfit
    from hounsfield.steps.prepare import with_landmarks

    series = _series(path, image)
    with tempfile.TemporaryDirectory(prefix="hounsfield-") as scratch:
        store = decode(Index(str(path), (series,)), [series], Path(scratch), threads=1)
        plan = (plan or _designed(series, store)).changed(dict(changes or {}))
        case = Case(series.id, series.id, (series,))
        refuse_unfit([case], plan.input, store)
        learned = with_landmarks(plan, [case], store, threads=1)
        stored, levels = prepare_one(
            store.image(series.id), store.rows[series.id].spacing_mm, learned.input, bits=series.bits
        )
        notes = _notes(plan, learned)
        scales = np.array([levels], np.float32)
        seed = learned.seed if seed is None else seed
        return _drawn(series.id, learned, np.array(stored)[None], scales, count, seed, notes)


def _series(path: Path | str, image: str) -> Series:
    with Source(path) as source:
        row = chosen(rows_of(source), image)
    if row.series is None:
        why = f"it was refused ({row.reason})" if row.reason else "it is one slice of a volume"
        raise BadInput(
            f"the object asked for is no image that a network sees: {why}; expected an image of the scan; "
            "name another with --image"
        )
    return row.series


def _designed(series: Series, store: PixelStore) -> Plan:
    """The plan that follows from this image alone."""
    from hounsfield.steps.design import design
    from hounsfield.steps.fingerprint import Fingerprint

    row = store.rows[series.id]
    low, high = percentiles_of(store.image(series.id), (0.5, 99.5))
    aspect = row.shape[2] / row.shape[3]
    facts = Fingerprint(
        n=1, patients=1, size=row.shape[1:], aspects=(aspect, aspect), channels=3 if row.shape[0] == 3 else 1,
        bits=series.bits, modality=series.modality, spacing_mm=row.spacing_mm, imbalance=1.0,
        levels=(float(low), float(high)),
    )  # fmt: skip
    return design(facts, LabelEncoding("binary", ("0", "1")))


def _drawn(
    image: str,
    plan: Plan,
    stored: NDArray[Any],
    levels: NDArray[np.float32],
    count: int,
    seed: int,
    notes: tuple[str, ...],
) -> Augmented:
    from hounsfield.transforms.augment import augmented
    from hounsfield.transforms.draw import draw

    flat = plan.input.size[0] == 1
    shape = plan.input.size[1:] if flat else plan.input.size
    drawn = draw(plan.augment, count, shape, np.random.default_rng(seed))
    plain = _slice(apply_levels(stored, levels))
    window = Window(0.5, 1.0, "LINEAR_EXACT") if plan.input.normalise in _BOUNDED else _fitting(plain)
    versions = []
    for row in range(count):  # one at a time: of a volume only a slice is kept
        made = augmented(
            stored, levels, drawn.of([row]), standardise=plan.input.normalise == "zscore", threads=1
        )
        whole = made[:, :, None] if flat else made
        record = drawn.record(row)
        versions.append(Version(_pixels(_slice(whole), window), record, ", ".join(words_of(record))))
    return Augmented(image, plan, seed, _pixels(plain, window), tuple(versions), notes)


def _slice(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The middle slice (C, J, I) of the only image (1, C, K, J, I)."""
    return images[0, :, images.shape[2] // 2]


def _fitting(plain: NDArray[np.float32]) -> Window:
    """One window for all versions, so that a change of brightness is seen as one."""
    low, high = (float(v) for v in percentiles_of(plain, (0.5, 99.5)))
    return Window((low + high) / 2, (high - low) or 1.0, "LINEAR_EXACT")


def _pixels(values: NDArray[np.float32], window: Window) -> NDArray[np.uint8]:
    """(C, H, W) as (H, W, 3): three channels in colour, else the first."""
    shown = np.rint(windowed(values if len(values) == 3 else values[:1], window) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(np.broadcast_to(shown, (3, *shown.shape[1:])), 0, -1))


def _said(value: Any) -> str:
    return "on" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def _notes(given: Plan, learned: Plan) -> tuple[str, ...]:
    held, usual = given.augment, Augment()
    ranges = [
        f"{key} {_said(value)}" for key, value in held if value != getattr(usual, key) and key != "mixup"
    ]
    notes = ["augment: " + ", ".join(ranges) if ranges else "this plan changes no image"]
    if given.input.size[0] > 1:
        notes.append(f"slice {given.input.size[0] // 2 + 1} of {given.input.size[0]} of each")
    if held.mixup:
        notes.append(
            f"mixup {held.mixup:g} blends each with another image of its batch; it is not drawn here"
        )
    if learned is not given:
        notes.append("the landmarks of the histogram are those of this image, for want of others")
    return tuple(notes)


def as_object(shown: Augmented) -> dict[str, Any]:
    """What was drawn as one JSON object."""
    return {
        "image": shown.image,
        "caption": shown.caption,
        "plan": shown.plan.name,
        "seed": shown.seed,
        "input": shown.plan.input.model_dump(mode="json"),
        "augment": shown.plan.augment.model_dump(mode="json"),
        "versions": [{"label": v.label, "drawn": dict(v.drawn)} for v in shown.versions],
        "notes": list(shown.notes),
    }
