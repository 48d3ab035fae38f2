"""One random affine and two flips of 224 x 224 x 1: ours beside Keras, MONAI and albumentations."""

from __future__ import annotations

from typing import Any

from agreement import augmentation_checks
from measured import compared, prose, rate, table, times
from turns import Entry, Turns, alternate

TITLE = "One random affine and flips, 224×224×1"
SIDE = 224
GOALS = {"Keras ImageDataGenerator": (14, 25), "MONAI": (19, 30), "albumentations": (1.9, 3)}
PEERS = [
    Entry("Keras ImageDataGenerator", "keras_augment", "peers", {"side": SIDE}),
    Entry("MONAI", "monai_augment", "peers", {"size": [SIDE, SIDE]}),
    Entry("MONAI, no metadata", "monai_augment", "peers", {"size": [SIDE, SIDE], "metadata": False}),
    Entry("albumentations, float32", "albumentations_augment", "peers", {"side": SIDE, "dtype": "float32"}),
    Entry("albumentations, uint8", "albumentations_augment", "peers", {"side": SIDE, "dtype": "uint8"}),
]


def _ours(dtype: str, batch: int) -> Entry:
    call = "one a call" if batch == 1 else f"{batch} a call"
    given = {"size": [SIDE, SIDE], "dtype": dtype, "batch": batch}
    return Entry(f"ours, {dtype}, {call}", "ours_augment", "ours", given)


OURS = [_ours(dtype, batch) for dtype in ("uint8", "float32") for batch in (32, 1)]


def measure(how: Turns) -> dict[str, Any]:
    """Every contender in turn."""
    return alternate([*OURS, *PEERS], how)


def page(found: dict[str, Any]) -> list[str]:
    """Images a second, and each of ours over each peer."""
    head = ["", "images a second", *(f"{o.name} over it" for o in OURS)]
    lines = [[o.name, rate(found[o.name]), *[""] * len(OURS)] for o in OURS]
    for peer in PEERS:
        ratios = [compared(found[o.name], found[peer.name])[0] for o in OURS]
        lines.append([peer.name, rate(found[peer.name]), *map(times, ratios)])
    return [
        *prose(
            "Rotation to 20°, shear to 11.31°, shifts to .2, zoom .8 to 1.2, each flip in half of the "
            "images, border repeated, linear; the result is float32 in memory. Ours from uint8 is the "
            "pipeline's way (integers are kept until a batch is made); from float32 it is like for like "
            "with what is given float32. The draw is part of every call. MONAI has its identity grid "
            "cached; without metadata (`set_track_meta(False)`) it is faster. albumentations from uint8 is "
            "brought to float32 by numpy, as a network needs it."
        ),
        "",
        *table(head, lines),
        "",
        *augmentation_checks({e.name: found[e.name] for e in (*OURS, *PEERS)}),
    ]


def summary(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Ours as the pipeline runs it over each peer; albumentations from uint8 on both sides."""
    ours = found[OURS[0].name]
    peers = {"albumentations": "albumentations, uint8"}
    lines = []
    for name, (least, goal) in GOALS.items():
        ratio, spread = compared(ours, found[peers.get(name, name)])
        lines.append((TITLE, name, f"{least}×", f"{goal}×", times(ratio), spread))
    return lines
