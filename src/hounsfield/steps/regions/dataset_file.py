"""What a dataset.json beside the images says: names of labels and channels, as Decathlon or nnU-Net do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hounsfield.core.errors import BadInput
from hounsfield.io.source import Source

__all__ = ["Described", "described"]


@dataclass(frozen=True, slots=True)
class Described:
    """Names of the labels 1, 2, … and of the channels 0, 1, …; the label to be ignored; regions of labels.

    All are empty where no file says them; `regions` are (name, labels) pairs where labels are given as lists.
    """

    structures: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    ignore: int = -1
    regions: tuple[tuple[str, tuple[int, ...]], ...] = ()


def described(source: Source) -> Described:
    """What dataset.json in the source says. Raises BadInput where it is not of either form."""
    names = [m for m in source.members if m.rsplit("/", 1)[-1] == "dataset.json"]
    if len(names) != 1:
        return Described()
    try:
        raw = json.loads(source.read_bytes(names[0]))
        channels = raw.get("channel_names") or raw.get("modality") or {}
        named = [str(channels[key]) for key in sorted(channels, key=int)]
        return _labels(raw.get("labels") or {}, tuple(named))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadInput(
            "dataset.json cannot be read as Decathlon's or nnU-Net's; expected labels and channel_names as "
            "objects; correct it or remove it"
        ) from error


def _labels(labels: dict[str, Any], channels: tuple[str, ...]) -> Described:
    """Decathlon maps "1" to a name, nnU-Net a name to 1, or to a list of labels for a region."""
    if labels and all(str(key).isdigit() for key in labels):
        labels = {str(name): int(key) for key, name in labels.items()}
    single = {
        n: int(v) for n, v in labels.items() if not isinstance(v, list) and n != "ignore" and int(v) > 0
    }
    regions = tuple((n, tuple(int(x) for x in v)) for n, v in labels.items() if isinstance(v, list))
    most = max([*single.values(), *(x for _, held in regions for x in held)], default=0)
    by_number = {number: name for name, number in single.items()}
    structures = tuple(by_number.get(n, f"label {n}") for n in range(1, most + 1))
    ignore = labels.get("ignore", -1)
    return Described(structures, channels, int(ignore), regions)
