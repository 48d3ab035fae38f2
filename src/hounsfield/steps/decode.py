"""Decode every image once into a memory-mapped store, and refuse images that nobody could learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.io.catalogue import read_volume
from hounsfield.io.pixel_store import PixelStore, write_pixels
from hounsfield.io.source import Source

__all__ = ["LARGEST_SIDE", "decode"]

LARGEST_SIDE = 1024
"""Images are kept at most this large (2D, pixels); volumes at most a quarter of it along each axis."""

Decoded = tuple[str, NDArray[Any], tuple[float, ...]]


def decode(
    index: Index,
    series: Sequence[Series],
    folder: Path,
    *,
    largest_side: int = LARGEST_SIDE,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> PixelStore:
    """The pixels of `series` as a store in `folder`; a whole store of the same source is used again.

    Raises BadInput where images cannot be decoded, hold NaN, or are constant, and names how many.
    """
    state = _state(index, series, largest_side)
    store = PixelStore.open(folder, state)
    if store is not None:
        return store
    faults: list[str] = []

    def images() -> Iterator[Decoded]:
        pending = iter(series)
        done = 0
        with Source(index.source) as source, ThreadPoolExecutor(max(1, threads)) as pool:

            def one(s: Series) -> tuple[Series, NDArray[Any] | None, tuple[float, ...], str]:
                return s, *_decoded(source, s, largest_side)

            while batch := list(islice(pending, 8 * max(1, threads))):
                for s, data, spacing, fault in pool.map(one, batch):
                    done += 1
                    if data is None:
                        faults.append(fault)
                    else:
                        yield s.id, data, spacing
                if progress:
                    progress(done, len(series))
        if faults:
            raise BadInput(_sentence(faults, len(series)))

    return write_pixels(folder, images(), state=state)


def _decoded(
    source: Source, series: Series, largest_side: int
) -> tuple[NDArray[Any] | None, tuple[float, ...], str]:
    from hounsfield.transforms.resize import resize

    try:
        volume = read_volume(source, series)
    except BadInput as error:
        return None, (), str(error)
    data = volume.data
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        return None, (), f"image {series.id} holds NaN or infinite values"
    if data.min() == data.max():
        return None, (), f"image {series.id} is constant (every pixel has the same value)"
    limit = largest_side if volume.is_flat else largest_side // 4
    k, j, i = data.shape[1:]
    shrink = max(1.0, max(j, i) / limit, 1.0 if volume.is_flat else k / limit)
    spacing = volume.spacing_mm if volume.spacing_known else ()
    if shrink > 1.0:
        size = (k if volume.is_flat else max(1, round(k / shrink)), round(j / shrink), round(i / shrink))
        data = resize(data, size, interpolation="area")
        spacing = tuple(m * a / b for m, a, b in zip(spacing, (k, j, i), size, strict=False))
    return data, spacing, ""


def _sentence(faults: list[str], n: int) -> str:
    return (
        f"{len(faults)} of {n} images cannot be used; the first: {faults[0]}; expected readable, "
        "finite, varying pixels; correct or remove them (`hu scan SOURCE --out index.parquet` tells which "
        "file an image id is)"
    )


def _state(index: Index, series: Sequence[Series], largest_side: int) -> str:
    """A hash of what is to be decoded: files with size and time of change, not their content."""
    root = Path(index.source)
    digest = hashlib.sha256(f"v1 {largest_side}".encode())
    seen: dict[str, str] = {}
    for s in series:
        digest.update(f"{s.id}{s.position}".encode())
        for name in s.files:
            if name not in seen:
                outer = name.split("::")[0]
                path = root / outer if root.is_dir() else root
                found = path.stat() if path.exists() else None
                seen[name] = f"{name}{found.st_size if found else 0}{found.st_mtime_ns if found else 0}"
                digest.update(seen[name].encode())
    return digest.hexdigest()
