"""The values of one image changed in place, by compiled loops that become vectors.

Every function takes an image (C, K, J, I) of normalised real numbers, contiguous. Logarithm, power and sine
are short polynomials (to some 1e-7), because a library's would be called number by number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import arithmetic

__all__ = [
    "LEAST_SPREAD",
    "cut_out",
    "filtered",
    "gaussian_kernel",
    "ghosted",
    "sharpened",
    "standardised",
    "toned",
    "toned_by_field",
]

_F = np.float32
_I = np.int32
_U = np.uint32
LEAST_SPREAD = 1e-3
# As constants: a logarithm that is computed in a loop keeps it from becoming vectors.
_LN, _MINUS_TWO_LN, _TWO_OVER_LN = _F(np.log(2)), _F(-2 * np.log(2)), _F(2 / np.log(2))
_CIRCLE = _F(2 * np.pi)
_AT_ONCE = 512  # numbers of noise that are made before they are added


@arithmetic
def toned(image: Any, gamma: float, contrast: float, brightness: float, noise: float, key: int) -> None:
    """Gamma about the image's own range, contrast about its mean, brightness and noise in its spreads."""
    flat = image.reshape(-1)
    if gamma != 1:
        _raise_to(flat, _F(gamma))
    if contrast == 1 and brightness == 0 and noise == 0:
        return
    mean, spread = _moments(flat)
    if contrast != 1 or brightness != 0:
        spread *= contrast
        factor, offset = _F(contrast), _F(mean - mean * contrast + brightness * spread)
        for i in range(len(flat)):
            flat[i] = flat[i] * factor + offset
    if noise != 0:
        _add_noise(flat, _F(noise * spread), _U(key))


@arithmetic
def standardised(image: Any) -> None:
    """Mean 0 and spread 1; a constant image becomes 0."""
    flat = image.reshape(-1)
    mean, spread = _moments(flat)
    factor = _F(1 / max(spread, LEAST_SPREAD))
    offset = _F(mean)
    for i in range(len(flat)):
        flat[i] = (flat[i] - offset) * factor


@arithmetic
def cut_out(image: Any, box: Any) -> None:
    """Voxels box[0] <= (k, j, i) < box[1] become the image's mean (DeVries 2017)."""
    mean = _F(_moments(image.reshape(-1))[0])
    for c in range(len(image)):
        for k in range(box[0, 0], box[1, 0]):
            for j in range(box[0, 1], box[1, 1]):
                for i in range(box[0, 2], box[1, 2]):
                    image[c, k, j, i] = mean


@arithmetic
def ghosted(image: Any, strength: float, distance: int, axis: int) -> None:
    """Two ghosts, `distance` voxels to either side along axis j (0) or i (1), each of the image's `strength`.

    As if the lines of k-space were weighted by 1 + 2 s (cos(2 pi k d / n) - 1), as breathing does: the mean
    stays, and what leaves the image on one side enters it on the other.
    """
    channels, depth, height, width = image.shape
    kept, ghost = _F(1 - 2 * strength), _F(strength)
    d = distance % (height if axis == 0 else width)
    held = np.empty((height, width), np.float32)
    round_about = np.empty(width + 2 * d, np.float32)
    for c in range(channels):
        for k in range(depth):
            _copy(image[c, k].reshape(-1), held.reshape(-1))
            for j in range(height):
                line, whole = image[c, k, j], held[j]
                if axis == 0:
                    _mix_three(line, kept, held[(j - d) % height], held[(j + d) % height], ghost)
                else:
                    _copy(whole[width - d :], round_about)
                    _copy(whole, round_about[d:])
                    _copy(whole[:d], round_about[d + width :])
                    _mix_three(line, kept, round_about, round_about[2 * d :], ghost)


@arithmetic
def toned_by_field(image: Any, pieces: Any) -> None:
    """A smooth factor about the image's least value; its log2 is a cubic (K, J, 4) along a row, 0 to 1."""
    least = _ends(image.reshape(-1))[0]
    width = image.shape[3]
    step = _F(1 / max(width - 1, 1))
    for c in range(image.shape[0]):
        for k in range(image.shape[1]):
            for j in range(image.shape[2]):
                line = image[c, k, j]
                p = pieces[k, j]
                zero, one, two, three = p[0], p[1], p[2], p[3]
                for i in range(width):
                    t = _F(_I(i)) * step
                    factor = _exp2(zero + t * (one + t * (two + t * three)))
                    line[i] = (line[i] - least) * factor + least


@arithmetic
def filtered(image: Any, kernel: Any) -> None:
    """A symmetric filter along every axis: the middle weight and those to one side; edges repeat."""
    channels, depth, height, width = image.shape
    if depth > 1:
        _filter_down(image.reshape(channels, depth, height * width), kernel)
    if height > 1:
        _filter_down(image.reshape(channels * depth, height, width), kernel)
    if width > 1:
        _filter_across(image.reshape(channels * depth * height, width), kernel)


def gaussian_kernel(sigma: float) -> NDArray[np.float32]:
    """The middle weight and those to one side, to four sigma.

    >>> gaussian_kernel(0.5).astype(float).round(3).tolist()
    [0.787, 0.106, 0.0]
    """
    weights = np.exp(-0.5 * (np.arange(int(4 * sigma + 0.5) + 1) / sigma) ** 2)
    return (weights / (2 * weights.sum() - weights[0])).astype(np.float32)


@arithmetic
def sharpened(image: Any, amount: float) -> None:
    """Add a share of the difference from the binomial blur [1, 4, 6, 4, 1] / 16, as [1, 2, 1] / 4 twice."""
    smooth = np.empty(image.shape, np.float32)
    _copy(image.reshape(-1), smooth.reshape(-1))
    kernel = np.empty(2, np.float32)
    kernel[0], kernel[1] = 0.5, 0.25
    filtered(smooth, kernel)
    filtered(smooth, kernel)
    share = _F(amount)
    flat, blurred = image.reshape(-1), smooth.reshape(-1)
    for i in range(len(flat)):
        flat[i] += share * (flat[i] - blurred[i])


@arithmetic
def _filter_down(planes: Any, kernel: Any) -> None:
    """Along axis 1 of (A, n, B)."""
    size, reach = planes.shape[1], len(kernel) - 1
    held = np.empty(planes.shape[1:], np.float32)
    for a in range(len(planes)):
        _copy(planes[a].reshape(-1), held.reshape(-1))
        for r in range(size):
            line, middle = planes[a, r], held[r]
            weight = kernel[0]
            for i in range(len(line)):
                line[i] = weight * middle[i]
            for t in range(1, reach + 1):
                before = r - t if r > t else 0
                after = r + t if r + t < size else size - 1
                _add_both(line, held[before], held[after], kernel[t])


@arithmetic
def _filter_across(lines: Any, kernel: Any) -> None:
    """Along axis 1 of (A, n)."""
    size, reach = lines.shape[1], len(kernel) - 1
    held = np.empty(size + 2 * reach, np.float32)
    for a in range(len(lines)):
        line = lines[a]
        _copy(line, held[reach:])
        for t in range(reach):
            held[t], held[reach + size + t] = line[0], line[size - 1]
        weight = kernel[0]
        for i in range(size):
            line[i] = weight * held[reach + i]
        for t in range(1, reach + 1):
            _add_both(line, held[reach - t :], held[reach + t :], kernel[t])


@arithmetic
def _copy(source: Any, into: Any) -> None:
    for i in range(len(source)):
        into[i] = source[i]


@arithmetic
def _add_both(line: Any, one: Any, other: Any, weight: float) -> None:
    for i in range(len(line)):
        line[i] += weight * (one[i] + other[i])


@arithmetic
def _mix_three(line: Any, kept: float, one: Any, other: Any, ghost: float) -> None:
    for i in range(len(line)):
        line[i] = kept * line[i] + ghost * (one[i] + other[i])


@arithmetic
def _raise_to(flat: Any, power: float) -> None:
    least, most = _ends(flat)
    spread = max(most - least, _F(1e-6))
    inverse = _F(1) / spread
    for i in range(len(flat)):
        share = min(max((flat[i] - least) * inverse, _F(0)), _F(1))
        raised = _exp2(power * _log2(share))
        flat[i] = (raised if share > _F(1e-30) else _F(0)) * spread + least


@arithmetic
def _add_noise(flat: Any, spread: float, key: int) -> None:
    """Normal noise: numbers 2 m and 2 m + 1 of the key make voxels m and m + half (Box 1958)."""
    half = (len(flat) + 1) // 2
    low, high = np.empty(_AT_ONCE, np.float32), np.empty(_AT_ONCE, np.float32)
    for start in range(0, half, _AT_ONCE):
        _normal(low, high, start, key)
        _add(flat[start:half], low, spread)
        _add(flat[half + start :], high, spread)


@arithmetic
def _add(line: Any, other: Any, share: float) -> None:
    """As far as both reach."""
    for i in range(min(len(line), len(other))):
        line[i] += share * other[i]


@arithmetic
def _normal(low: Any, high: Any, start: int, key: int) -> None:
    """Pairs of normal numbers from pair `start` on."""
    begin = _U(start)
    for i in range(len(low)):
        m = _U(_U(_U(_I(i)) + begin) * _U(2))
        above = _U(_mixed(_U(_mixed(m) + key)) >> _U(8))
        turn = _U(_mixed(_U(_mixed(_U(m + _U(1))) + key)) >> _U(8))
        share = (_F(_I(above)) + _F(1)) * _F(2.0**-24)
        far = np.sqrt(_MINUS_TWO_LN * _log2(share))
        cos, sin = _circle(_F(_I(turn)) * _F(2.0**-24))
        low[i], high[i] = far * cos, far * sin


@arithmetic
def _mixed(x: int) -> int:
    x = _U(_U(x ^ (x >> _U(16))) * _U(0x7FEB352D))
    x = _U(_U(x ^ (x >> _U(15))) * _U(0x846CA68B))
    return _U(x ^ (x >> _U(16)))


@arithmetic
def _circle(turn: float) -> tuple[float, float]:
    """Cosine and sine of 0 to 1 turns: a quarter is found, the rest is a short series."""
    quarter = _I(turn * _F(4) + _F(0.5))
    angle = (turn - _F(quarter) * _F(0.25)) * _CIRCLE
    square = angle * angle
    high = _F(1 / 120) + square * (_F(-1 / 5040) + square * _F(1 / 362880))
    sin = angle * (_F(1) + square * (_F(-1 / 6) + square * high))
    high = _F(1 / 24) + square * (_F(-1 / 720) + square * _F(1 / 40320))
    cos = _F(1) + square * (_F(-1 / 2) + square * high)
    odd, behind, below = quarter & _I(1), (quarter + _I(1)) & _I(2), quarter & _I(2)
    one, other = (sin, cos) if odd else (cos, sin)
    return (-one if behind else one), (-other if below else other)


@arithmetic
def _log2(x: float) -> float:
    """log2 of a normal number above 0: exponent, and the area tangent of the rest, sqrt(1/2) to sqrt(2)."""
    bits = _F(x).view(np.int32)
    exponent = _I(_I(bits - _I(0x3F3504F3)) >> _I(23))
    rest = _I(bits - _I(exponent << _I(23))).view(np.float32)
    s = (rest - _F(1)) / (rest + _F(1))
    square = s * s
    series = _F(1) + square * (_F(1 / 3) + square * (_F(1 / 5) + square * (_F(1 / 7) + square * _F(1 / 9))))
    return _F(exponent) + _TWO_OVER_LN * s * series


@arithmetic
def _exp2(x: float) -> float:
    x = min(max(x, _F(-126)), _F(126))
    whole = np.floor(x + _F(0.5))
    y = (x - whole) * _LN
    high = _F(1 / 6) + y * (_F(1 / 24) + y * (_F(1 / 120) + y * _F(1 / 720)))
    series = _F(1) + y * (_F(1) + y * (_F(0.5) + y * high))
    return series * _I((_I(whole) + _I(127)) << _I(23)).view(np.float32)


@arithmetic
def _ends(flat: Any) -> tuple[float, float]:
    least, most = flat[0], flat[0]
    for i in range(len(flat)):
        least = min(least, flat[i])
        most = max(most, flat[i])
    return least, most


@arithmetic
def _moments(flat: Any) -> tuple[float, float]:
    """Mean and standard deviation, in single precision a block, in double over the blocks."""
    total, block = 0.0, 4096
    for low in range(0, len(flat), block):
        part = flat[low : low + block]
        found = _F(0)
        for i in range(len(part)):
            found += part[i]
        total += found
    mean = total / len(flat)
    middle, squares = _F(mean), 0.0
    for low in range(0, len(flat), block):
        part = flat[low : low + block]
        found = _F(0)
        for i in range(len(part)):
            away = part[i] - middle
            found += away * away
        squares += found
    return mean, np.sqrt(squares / len(flat))
