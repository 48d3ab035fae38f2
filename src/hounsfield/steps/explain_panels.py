"""Pictures of maps, edits and neighbours as RGB panels, in colours that the colour-blind can read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIDE", "grey", "overlay", "signed", "window_of"]

SIDE = 224
Window = tuple[float, float]
_DARKER, _BRIGHTER = (33, 102, 172), (230, 97, 1)


def grey(
    image: NDArray[np.float32],
    heat: NDArray[np.float32] | None = None,
    *,
    window: Window | None = None,
    side: int = SIDE,
) -> NDArray[np.uint8]:
    """An image (C, J, I), or the slice of (C, K, J, I) where the map is strongest, as RGB (h, w, 3).

    `window` are the values shown black and white; without one they are the image's own (`window_of`). The
    longer side has `side` pixels.

    >>> grey(np.zeros((1, 4, 8), np.float32), side=16).shape
    (8, 16, 3)
    """
    import cv2

    plane = np.nan_to_num(_plane(image, heat))
    low, high = window or window_of(plane)
    shown = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    shown = np.repeat(shown[:1], 3, 0) if len(shown) < 3 else shown[:3]
    rgb = np.ascontiguousarray((shown * 255).astype(np.uint8).transpose(1, 2, 0))
    scale = side / max(rgb.shape[:2])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)


def window_of(image: NDArray[np.float32]) -> Window:
    """The values of an image that are shown black and white: its outermost half per cents.

    >>> window_of(np.arange(101, dtype=np.float32))
    (0.5, 99.5)
    """
    low, high = np.percentile(np.nan_to_num(image), (0.5, 99.5))
    return float(low), float(high)


def overlay(image: NDArray[np.float32], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map (J, I) or (K, J, I) in [0, 1] in colours laid over its image.

    >>> overlay(np.zeros((1, 8, 8), np.float32), np.ones((8, 8), np.float32)).shape
    (224, 224, 3)
    """
    import cv2

    base = grey(image, heat)
    plane = heat if heat.ndim == 2 else heat[_strongest(heat)]
    sized = np.clip(cv2.resize(plane, (base.shape[1], base.shape[0]), interpolation=cv2.INTER_LINEAR), 0, 1)
    level = (sized * 255).astype(np.uint8)
    colour = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    share = sized[..., None] * 0.65
    return np.asarray(base * (1 - share) + colour * share, np.uint8)


def signed(change: NDArray[np.float32], *, side: int = SIDE) -> NDArray[np.uint8]:
    """A change (C, J, I) of an image, darker in blue and brighter in orange on white; 0 is white.

    >>> signed(np.zeros((1, 4, 4), np.float32), side=8)[0, 0].tolist()
    [255, 255, 255]
    """
    import cv2

    plane = change.mean(0)
    most = float(np.abs(plane).max()) or 1.0
    share = (plane / most)[..., None].astype(np.float32)
    ends = np.where(share < 0, np.array(_DARKER, np.float32), np.array(_BRIGHTER, np.float32))
    rgb = (255 + np.abs(share) * (ends - 255)).astype(np.uint8)
    scale = side / max(rgb.shape[:2])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _plane(image: NDArray[np.float32], heat: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if image.ndim == 3:
        return image
    return image[:, image.shape[1] // 2 if heat is None or not heat.any() else _strongest(heat)]


def _strongest(heat: NDArray[np.float32]) -> int:
    return int(heat.reshape(heat.shape[0], -1).sum(1).argmax())
