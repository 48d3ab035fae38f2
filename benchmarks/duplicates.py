"""How far true copies, and other patients' images, lie from the limits of the duplicate search.

    python benchmarks/duplicates.py SOURCE [SOURCE ...]

Each source is any that `hu scan` reads. Of every source, up to 60 images are copied in five ways, and all
images (up to 1,500) are compared with each other. Real duplicates show among the pairs above the limits.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.decode import decode
from hounsfield.steps.duplicates import COARSE_LIMIT, FINE_LIMIT, _looks
from hounsfield.steps.scan import scan


def _bytes_of(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float32)
    return ((x - x.min()) / max(float(np.ptp(x)), 1e-6) * 255).astype(np.uint8)


def _jpeg(x: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", _bytes_of(x), [1, 60])[1], cv2.IMREAD_GRAYSCALE)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG quality 60": _jpeg,
    "70 % size": lambda x: cv2.resize(
        x.astype(np.float32), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA
    ),
    "gamma 0.7": lambda x: (_bytes_of(x) / 255.0) ** 0.7,
    "noise sd 5/255": lambda x: _bytes_of(x) + np.random.default_rng(0).normal(0, 5, x.shape),
    "brighter by 30 %": lambda x: x.astype(np.float32) * 1.3 + 10,
}


def _measure(name: str, store: PixelStore, ids: list[str]) -> None:
    planes = [store.image(k).astype(np.float32).mean((0, 1)) for k in ids]
    looks = [_looks(p[None, None]) for p in planes]
    coarse, fine = (np.stack([look[k] for look in looks]) for k in (0, 1))
    above = np.argwhere(np.triu(coarse @ coarse.T, 1) > COARSE_LIMIT)
    agree = np.array([fine[i] @ fine[j] for i, j in above])
    print(f"\n{name}: {len(ids)} images; {len(above)} pairs above the coarse limit {COARSE_LIMIT}")
    if len(agree):
        cells = ", ".join(
            f"{q:.0%} {v:.3f}"
            for q, v in zip((0, 0.5, 0.9, 1), np.quantile(agree, (0, 0.5, 0.9, 1)), strict=True)
        )
        print(f"  their fine agreement: {cells}; above the limit {FINE_LIMIT}: {(agree > FINE_LIMIT).sum()}")
    chosen = np.random.default_rng(1).choice(len(ids), min(60, len(ids)), replace=False)
    for how, copy in COPIES.items():
        made = [_looks(np.asarray(copy(planes[k]))[None, None]) for k in chosen]
        c = np.array([look[0] @ coarse[k] for look, k in zip(made, chosen, strict=True)])
        f = np.array([look[1] @ fine[k] for look, k in zip(made, chosen, strict=True)])
        found = ((c > COARSE_LIMIT) & (f > FINE_LIMIT)).mean()
        print(f"  {how:<17} found {found:6.1%}   least coarse {c.min():.4f}   least fine {f.min():.3f}")


def main() -> None:
    for source in sys.argv[1:]:
        index = scan(source)
        flat = [s for s in index.series if s.is_flat][:1500]
        with tempfile.TemporaryDirectory() as scratch:
            store = decode(index, flat, Path(scratch))
            _measure(Path(source).name, store, [s.id for s in flat])


if __name__ == "__main__":
    main()
