"""Bring every image to the plan's input once, as memory-mapped integers with their levels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Input
from hounsfield.io.files import whole_file, write_text
from hounsfield.io.pixel_store import PixelStore
from hounsfield.transforms.normalise import Levels, apply_levels, levels_of
from hounsfield.transforms.resize import crop_foreground, pad_to_aspect, resize

__all__ = ["Prepared", "prepare", "prepare_one"]


@dataclass(frozen=True)
class Prepared:
    """Images (N, C, K, J, I) in the order of `ids`, memory-mapped, and `levels` (N, 4)."""

    ids: tuple[str, ...]
    images: NDArray[Any]
    levels: NDArray[np.float32]

    def batch(self, rows: NDArray[np.int64] | Sequence[int]) -> NDArray[np.float32]:
        """Normalised images: (n, C, H, W) where there is one slice, else (n, C, K, J, I)."""
        pick = np.asarray(rows, np.int64)
        out = apply_levels(self.images[pick], self.levels[pick])
        return out[:, :, 0] if out.shape[2] == 1 else out

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each case id."""
        where = {case_id: row for row, case_id in enumerate(self.ids)}
        return np.array([where[case_id] for case_id in ids], np.int64)

    @classmethod
    def open(cls, folder: Path) -> Prepared | None:
        """The prepared images in `folder` if they are whole."""
        table = folder / "prepared.json"
        if not table.is_file():
            return None
        raw = json.loads(table.read_text())
        images = np.load(folder / "prepared.npy", mmap_mode="r", allow_pickle=False)
        levels = np.load(folder / "levels.npy", allow_pickle=False)
        return cls(tuple(raw["ids"]), images, levels)


def prepare(
    cases: Sequence[Case],
    plan: Input,
    store: PixelStore,
    folder: Path,
    *,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Crop, resample, fit and resize each case's image as the plan says; used again if unchanged."""
    state = hashlib.sha256(
        (store.state + plan.model_dump_json() + "".join(c.id for c in cases)).encode()
    ).hexdigest()
    table = folder / "prepared.json"
    if table.is_file() and json.loads(table.read_text())["state"] == state:
        found = Prepared.open(folder)
        if found is not None:
            return found
    table.unlink(missing_ok=True)
    _refuse_mixed(cases, plan)
    shape = (len(cases), plan.channels, *plan.size)
    dtype = np.result_type(*{store.rows[c.images[0].id].dtype for c in cases})
    levels = np.empty((len(cases), 4), np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "prepared.npy") as temporary:
        images = _mapped(temporary, dtype, shape)

        def one(row: int) -> None:
            series = cases[row].images[0]
            images[row], levels[row] = prepare_one(
                store.image(series.id), store.rows[series.id].spacing_mm, plan, bits=series.bits
            )

        with ThreadPoolExecutor(max(1, threads)) as pool:
            for done, _ in enumerate(pool.map(one, range(len(cases)), chunksize=8), 1):
                if progress and (done % 32 == 0 or done == len(cases)):
                    progress(done, len(cases))
        images.flush()
    with whole_file(folder / "levels.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, levels, allow_pickle=False)
    write_text(table, json.dumps({"state": state, "ids": [c.id for c in cases]}))
    found = Prepared.open(folder)
    assert found is not None
    return found


def prepare_one(
    data: NDArray[Any], spacing_mm: tuple[float, ...], plan: Input, *, bits: int
) -> tuple[NDArray[Any], Levels]:
    """One decoded image (C, K, J, I) at the plan's size and channels, and its levels."""
    fitted = _fitted(data, spacing_mm, plan)
    return fitted, levels_of(fitted, plan, bits=bits)


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[Any]]:
    """A mapped array whose disk space is taken first: a full disk is then an error, not a dead process."""
    images = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return images


def _fitted(data: NDArray[Any], spacing_mm: tuple[float, ...], plan: Input) -> NDArray[Any]:
    if plan.crop_foreground:
        data = crop_foreground(data)
    if plan.spacing_mm and spacing_mm:
        size = tuple(
            max(1, round(n * have / want))
            for n, have, want in zip(data.shape[1:], spacing_mm, plan.spacing_mm, strict=True)
        )
        data = resize(data, (size[0], size[1], size[2]), interpolation=plan.interpolation)
    if plan.fit == "pad":
        data = pad_to_aspect(data, plan.size)
    data = resize(data, plan.size, interpolation=plan.interpolation)
    return _channels(data, plan.channels)


def _channels(data: NDArray[Any], channels: int) -> NDArray[Any]:
    if data.shape[0] == channels:
        return data
    if data.shape[0] == 1:
        return np.repeat(data, channels, 0)
    if channels == 1 and data.shape[0] == 3:
        weights = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601
        grey = np.tensordot(weights, data.astype(np.float64), 1)[None]
        return np.rint(grey).astype(data.dtype) if data.dtype.kind in "iu" else grey.astype(data.dtype)
    raise BadInput(
        f"an image of {data.shape[0]} channels cannot be brought to {channels}; expected 1 or 3 channels"
    )


def _refuse_mixed(cases: Sequence[Case], plan: Input) -> None:
    flat = sum(c.images[0].is_flat for c in cases)
    if plan.size[0] == 1 and flat < len(cases):
        raise BadInput(
            f"{len(cases) - flat} of {len(cases)} images are volumes, but the plan's input.size has one "
            "slice; give 2D images and volumes separately, or set input.size to three numbers"
        )
    if plan.size[0] > 1 and flat:
        raise BadInput(
            f"{flat} of {len(cases)} images are 2D, but the plan's input.size has {plan.size[0]} slices; "
            "expected volumes; give 2D images and volumes separately"
        )
