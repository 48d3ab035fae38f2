"""A frame with two axes: data in, SVG out; colours are classes of the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

__all__ = ["Frame", "Numbers", "ticks"]

Numbers = Sequence[float | None]
MOST_POINTS = 600


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle that data are drawn in; `x` and `y` are the (low, high) ends of the axes.

    Sizes are SVG user units, which show as CSS pixels at full width.

    >>> Frame(x=(0, 1), y=(0, 1)).at(0, 0)
    (54.0, 316.0)
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 420.0
    height: float = 360.0
    left: float = 54.0
    right: float = 14.0
    top: float = 12.0
    bottom: float = 44.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The drawing's coordinates of a data point; points beyond an axis stay on its end."""
        across = self._share(x, self.x) * (self.width - self.left - self.right)
        up = self._share(y, self.y) * (self.height - self.top - self.bottom)
        return round(self.left + across, 1), round(self.height - self.bottom - up, 1)

    @staticmethod
    def _share(value: float, ends: tuple[float, float]) -> float:
        return min(max((value - ends[0]) / ((ends[1] - ends[0]) or 1.0), 0.0), 1.0)

    def line(self, xs: Numbers, ys: Numbers, css: str) -> Markup:
        """A line through the points; a missing value leaves a gap."""
        pieces = [self._path(run) for run in _runs(xs, ys)]
        return Markup('<path class="{}" d="{}"/>').format(css, Markup(" ".join(pieces)))

    def band(self, xs: Numbers, low: Numbers, high: Numbers, css: str) -> Markup:
        """The area between two lines."""
        there, back = _runs(xs, low), _runs(xs, high)
        if len(there) != 1 or len(back) != 1:
            return Markup("")
        outline = np.concatenate([there[0], back[0][::-1]])
        return Markup('<path class="{}" d="{}Z"/>').format(css, self._path(outline))

    def _path(self, points: NDArray[np.float64]) -> str:
        spots = [self.at(float(x), float(y)) for x, y in _thin(points)]
        kept = [spot for k, spot in enumerate(spots) if k == 0 or spot != spots[k - 1]]
        return "M" + "L".join(f"{x:g} {y:g}" for x, y in kept)

    def dot(self, x: float, y: float, css: str, radius: float = 3.5) -> Markup:
        """A filled circle."""
        cx, cy = self.at(x, y)
        return Markup('<circle class="{}" cx="{:g}" cy="{:g}" r="{:g}"/>').format(css, cx, cy, radius)

    def box(self, x: tuple[float, float], y: tuple[float, float], css: str) -> Markup:
        """A filled rectangle between two data corners."""
        (x0, y0), (x1, y1) = self.at(x[0], min(y)), self.at(x[1], max(y))
        return Markup('<rect class="{}" x="{:g}" y="{:g}" width="{:g}" height="{:g}"/>').format(
            css, x0, y1, max(round(x1 - x0 - 0.6, 1), 0.4), round(y0 - y1, 1)
        )

    def words(self, x: float, y: float, text: str, css: str = "tick", anchor: str = "start") -> Markup:
        """Text at a place of the drawing (not of the data)."""
        return Markup('<text class="{}" x="{:g}" y="{:g}" text-anchor="{}">{}</text>').format(
            css, x, y, anchor, text
        )

    def axes(
        self,
        x_name: str,
        y_name: str,
        x_ticks: Sequence[float] = (),
        y_ticks: Sequence[float] = (),
        x_labels: Sequence[str] = (),
        y_labels: Sequence[str] = (),
    ) -> Markup:
        """Grid, tick labels and axis titles; labels are words for the ticks of their axis."""
        low, high = self.height - self.bottom, self.top
        parts = [Markup("")]
        for k, value in enumerate(x_ticks or ticks(*self.x)):
            x, _ = self.at(value, self.y[0])
            parts.append(Markup('<path class="grid" d="M{:g} {:g}V{:g}"/>').format(x, low, high))
            parts.append(self.words(x, low + 17, x_labels[k] if x_labels else _tick(value), anchor="middle"))
        for k, value in enumerate(y_ticks or ticks(*self.y)):
            _, y = self.at(self.x[0], value)
            parts.append(
                Markup('<path class="grid" d="M{:g} {:g}H{:g}"/>').format(
                    self.left, y, self.width - self.right
                )
            )
            parts.append(
                self.words(self.left - 8, y + 4, y_labels[k] if y_labels else _tick(value), anchor="end")
            )
        middle = (self.left + self.width - self.right) / 2
        parts.append(self.words(middle, self.height - 6, x_name, "axis", "middle"))
        turned = Markup(
            '<text class="axis" transform="translate(13 {:g}) rotate(-90)" text-anchor="middle">{}</text>'
        )
        parts.append(turned.format((low + high) / 2, y_name))
        return Markup("").join(parts)

    def svg(self, parts: Sequence[Markup], description: str) -> Markup:
        """The whole drawing; `description` is what a screen reader says."""
        return Markup('<svg class="plot" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>').format(
            self.width, self.height, description, Markup("").join(parts)
        )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two ends.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(power * k for k in (1, 2, 5, 10) if span / (power * k) <= about + 0.5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _runs(xs: Numbers, ys: Numbers) -> list[NDArray[np.float64]]:
    points = np.array(list(zip(xs, ys, strict=False)), dtype=np.float64).reshape(-1, 2)
    known = np.isfinite(points).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    return [points[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _thin(points: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(points) <= MOST_POINTS:
        return points
    span = np.ptp(points, axis=0)
    steps = np.abs(np.diff(points, axis=0)) / np.where(span > 0, span, 1.0)
    along = np.concatenate([[0.0], np.cumsum(steps.sum(axis=1))])
    wanted = np.linspace(0.0, along[-1], MOST_POINTS)
    kept: NDArray[np.float64] = points[np.unique(np.searchsorted(along, wanted).clip(0, len(points) - 1))]
    return kept
