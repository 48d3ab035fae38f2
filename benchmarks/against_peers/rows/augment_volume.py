"""One random affine and three flips of 96³: ours beside MONAI and TorchIO, each with the border it can do."""

from __future__ import annotations

from typing import Any

from agreement import augmentation_checks
from measured import compared, prose, rate, table, times
from turns import Entry, Turns, alternate

TITLE = "One random affine and flips, 96³"
SIZE = [96, 96, 96]
MONAI = [
    Entry("MONAI", "monai_augment", "peers", {"size": SIZE}),
    Entry("MONAI, no metadata", "monai_augment", "peers", {"size": SIZE, "metadata": False}),
]
TORCHIO = [Entry("TorchIO", "torchio_augment", "peers", {"side": 96})]
GOALS = {"MONAI": (8, 15), "TorchIO": (5, 10)}


def _ours(dtype: str, batch: int, fill: str) -> Entry:
    call = "one a call" if batch == 1 else f"{batch} a call"
    border = "border repeated" if fill == "nearest" else "0 outside"
    given = {"size": SIZE, "dtype": dtype, "batch": batch, "fill": fill}
    return Entry(f"ours, {dtype}, {call}, {border}", "ours_augment", "ours", given)


OURS = {
    fill: [_ours("uint16", 4, fill), _ours("float32", 4, fill), _ours("float32", 1, fill)]
    for fill in ("nearest", "constant")
}


def measure(how: Turns) -> dict[str, Any]:
    """Every contender in turn."""
    return alternate([*OURS["nearest"], *MONAI, *OURS["constant"], *TORCHIO], how)


def page(found: dict[str, Any]) -> list[str]:
    """Volumes a second, and each of ours over the peers with the same border."""
    said = [
        *prose(
            "Rotation about each axis to 20°, shifts to .2, zoom .8 to 1.2, each flip in half of the "
            "volumes, linear, float32 out. TorchIO cannot repeat the border, so that ours fills with 0 "
            "against it. From uint16 is the pipeline's way; from float32 it is like for like."
        ),
        "",
    ]
    for fill, peers in (("nearest", MONAI), ("constant", TORCHIO)):
        ours = OURS[fill]
        lines = [[o.name, rate(found[o.name]), *[""] * len(peers)] for o in ours]
        for line in lines:
            line[2:] = [times(compared(found[line[0]], found[p.name])[0]) for p in peers]
        lines += [[p.name, rate(found[p.name]), *[""] * len(peers)] for p in peers]
        said += [*table(["", "volumes a second", *(f"over {p.name}" for p in peers)], lines), ""]
        said += [*augmentation_checks({e.name: found[e.name] for e in (*ours, *peers)}), ""]
    return said[:-1]


def summary(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Ours as the pipeline runs it, from uint16, over each peer."""
    lines = []
    for name, fill in (("MONAI", "nearest"), ("TorchIO", "constant")):
        ratio, spread = compared(found[OURS[fill][0].name], found[name])
        least, goal = GOALS[name]
        lines.append((TITLE, name, f"{least}×", f"{goal}×", times(ratio), spread))
    return lines
