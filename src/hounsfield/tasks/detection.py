"""Detection: what a network is asked for in every cell, its loss, and candidates from its answers.

A map has a cell for every `stride` voxels of an image: cell c lies over the voxels c * stride to (c + 1) *
stride - 1. Its channels are the logits of a centre for each class, then along each of D axes the logarithm of
the size in cells, then along each the way from the middle of the cell to the centre in cells. A target has
the same channels, with heat from 0 to 1 for logits, and two more (`targets_of`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.marked import Marked
from hounsfield.core.plan import Detection

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Candidates", "decoded", "detection_loss", "targets_of", "unmirrored"]

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
Map = TypeVar("Map", NDArray[Any], "Tensor")

_NARROWEST = 0.5  # cells: the standard deviation of the heat around a centre, at least
_TO_SIGMA = 1 / 6  # of an object's size
_PLACED_FROM = 0.5  # heat of a cell that learns size and place
_LEAST_SEEN = 0.5  # of an object that is cut by the border, to be asked for
_LARGEST_LOG = 8.0
_PLACE = 0.2  # of the loss of size and place, summed over axes: at 1 it hides the centres for an epoch


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """N objects that a network proposes in one image: `centre` and `size` (N, 3) along (k, j, i) in voxels.

    `score` (N,) runs from 0 to 1, `label` (N,) is the number of the class. The centre of the first voxel is
    (0, 0, 0); in a picture every k is 0 and every size along k is 1.
    """

    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    score: NDArray[np.float64]
    label: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.score)

    def take(self, rows: NDArray[Any]) -> Candidates:
        """Some of the candidates, by their places or as a mask."""
        return Candidates(self.centre[rows], self.size[rows], self.score[rows], self.label[rows])


def targets_of(marked: Sequence[Marked], *, shape: Shape, stride: Shape, classes: int) -> NDArray[np.float32]:
    """The target (classes + 2 D + 2, cells…) of a patch of `shape` voxels; D is 2 if shape[0] is 1, else 3.

    Coordinates of `marked` are voxels of the patch. Heat falls from an object's centre as a Gaussian whose
    deviation is a sixth of the size (half a cell at least); the cell that holds the centre has 1 (Law & Deng
    2018; Zhou 2019). The last two channels are 1 where the heat is learned at all, and 1 where size and place
    are. Heat is not learned on an excluded finding, nor on an object of which less than half lies in the
    patch or whose centre lies outside. Raises BadInput for a class or a size that cannot be.

    >>> nodule = Marked(0, (0, 9.5, 21), (1, 8, 4))
    >>> target = targets_of([nodule], shape=(1, 32, 32), stride=(1, 4, 4), classes=1)
    >>> target.shape, float(target[0, 2, 5]), [round(float(v), 3) for v in target[1:5, 2, 5]]
    ((7, 8, 8), 1.0, [0.693, 0.0, 0.0, -0.125])
    """
    cut = 1 if shape[0] == 1 else 0
    axes = 3 - cut
    extent, step = np.array(shape[cut:], np.float64), np.array(stride[cut:], np.float64)
    cells = tuple(-(-n // s) for n, s in zip(shape[cut:], stride[cut:], strict=True))
    target = np.zeros((classes + 2 * axes + 2, *cells), np.float32)
    learned, placed = target[-2], target[-1]
    learned[:] = 1
    strongest = np.zeros(cells, np.float32)
    for one in marked:
        centre, size = np.array(one.centre[cut:], np.float64), np.array(one.size[cut:], np.float64)
        _check(one, classes, size)
        if one.excluded or not _is_whole(centre, size, extent):
            learned[_cells_of(centre, size, step, cells)] = 0
            continue
        ways = _ways(centre, step, cells)
        heat = _heat(ways, size / step)
        at = tuple(np.clip(np.floor((centre + 0.5) / step), 0, np.array(cells) - 1).astype(int))
        heat[at] = 1
        np.maximum(target[one.label], heat, out=target[one.label])
        mine = (heat >= _PLACED_FROM) & (heat > strongest)
        strongest[mine] = heat[mine]
        placed[mine] = 1
        for axis in range(axes):
            target[classes + axis][mine] = math.log(size[axis] / step[axis])
            target[classes + axes + axis][mine] = np.broadcast_to(ways[axis], cells)[mine]
    learned[(target[:classes] == 1).any(axis=0)] = 1
    return target


def detection_loss(outputs: Tensor, targets: Tensor, plan: Detection) -> Tensor:
    """The mean over patches of the loss of maps (N, classes + 2 D, cells…) against targets: a number.

    Of every patch: focal loss of the centres, less the nearer a cell is to one (Law & Deng 2018, eq. 1), of
    the `plan.negatives` worst other cells for each centre, or as for one centre where there is none
    (Shrivastava 2016); and smooth L1 of size and place in the cells around centres. Both are divided by the
    number of centres or cells, so that the mean over a batch is the mean over its parts.

    >>> import torch
    >>> nodule = Marked(0, (0, 9.5, 9.5), (1, 8, 8))
    >>> wanted = torch.from_numpy(targets_of([nodule], shape=(1, 16, 16), stride=(1, 4, 4), classes=1))[None]
    >>> right = torch.cat([wanted[:, :1] * 40 - 20, wanted[:, 1:5]], 1)
    >>> plan = Detection(classes=("nodule",))
    >>> bool(detection_loss(right, wanted, plan) < 1e-3 < detection_loss(-right, wanted, plan))
    True
    """
    from torch.nn import functional

    places = targets.shape[1] - outputs.shape[1]
    axes = outputs.ndim - 2
    classes = outputs.shape[1] - 2 * axes
    if places != 2 or classes < 1 or outputs.shape[2:] != targets.shape[2:]:
        raise BadInput(
            f"maps of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)} were given; "
            "expected the same cells and two more channels in the targets; use targets_of and the network of "
            "one plan"
        )
    logits, heat = outputs[:, :classes].float(), targets[:, :classes].float()
    learned, placed = targets[:, -2:-1].float(), targets[:, -1:].float()
    yes, no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    is_centre = heat == 1
    found = (is_centre * (2 * no).exp() * -yes).flatten(1).sum(1)
    wrong = (~is_centre * learned * (1 - heat) ** 4 * (2 * yes).exp() * -no).flatten(1)
    centres = is_centre.flatten(1).sum(1)
    away = functional.smooth_l1_loss(
        outputs[:, classes:].float(), targets[:, classes:-2].float(), reduction="none", beta=0.1
    )
    cells = placed.flatten(1).sum(1).clamp(min=1)
    place = (away * placed).flatten(1).sum(1) / cells
    each = (found + _hardest(wrong, centres, plan.negatives)) / centres.clamp(min=1)
    return (each + _PLACE * place).mean()


def unmirrored(outputs: Map, axes: Sequence[int], *, classes: int) -> Map:
    """The map (classes + 2 D, cells…) of a mirrored image, its cells flipped back, as the image's own.

    `axes` (0 slices, 1 rows, 2 columns) are those along which the image was mirrored: ways to centres along
    them change sign. Sides must be divisible by the stride, since otherwise the cells would lie elsewhere.
    The map may be an array or a tensor, of pictures with or without an axis of slices.

    >>> unmirrored(np.arange(10.0).reshape(5, 1, 2), [2], classes=1)[:, 0].tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [-8.0, -9.0]]
    """
    dimensions = (len(outputs) - classes) // 2
    signs = np.ones((len(outputs), *(1,) * (outputs.ndim - 1)), np.float32)
    for axis in axes:
        signs[classes + dimensions + axis - (3 - dimensions)] = -1
    if isinstance(outputs, np.ndarray):
        return outputs * signs
    return outputs * outputs.new_tensor(signs)


def decoded(
    outputs: NDArray[Any], *, stride: Shape, classes: int, least_score: float = 0.01, most: int = 100
) -> Candidates:
    """The candidates of a map (classes + 2 D, cells…): cells that no neighbour of the same class surpasses.

    Those of a score of at least `least_score`, the `most` best of all classes, best first. The map of a
    picture may have an axis of one slice.

    >>> outputs = np.zeros((5, 4, 4), np.float32)
    >>> outputs[0] = -9.0
    >>> outputs[0, 1, 2], outputs[3:5, 1, 2] = 3.0, 0.25
    >>> found = decoded(outputs, stride=(1, 4, 4), classes=1)
    >>> found.centre.tolist(), found.size.tolist(), found.score.round(3).tolist()
    ([[0.0, 6.5, 10.5]], [[1.0, 4.0, 4.0]], [0.953])
    """
    from scipy.ndimage import maximum_filter

    if outputs.ndim == 4 and outputs.shape[1] == 1 and outputs.shape[0] == classes + 4:
        outputs = outputs[:, 0]
    axes = outputs.ndim - 1
    if outputs.shape[0] != classes + 2 * axes or axes not in (2, 3):
        raise BadInput(
            f"a map of shape {outputs.shape} was given for {classes} class(es); expected {classes} + 2 D "
            "channels over D = 2 or 3 axes; use the plan that the network was trained with"
        )
    logits = np.asarray(outputs[:classes], np.float32)
    least = math.log(least_score / (1 - least_score)) if least_score > 0 else -math.inf
    peaks = (maximum_filter(logits, size=(1, *(3,) * axes), mode="constant", cval=-np.inf) == logits) & (
        logits >= least
    )
    label, *cell = np.nonzero(peaks)
    height = logits[peaks].astype(np.float64)
    best = np.argsort(-height, kind="stable")[:most]
    at = tuple(c[best] for c in cell)
    step = np.array(stride[3 - axes :], np.float64)
    told = np.stack([row[at] for row in outputs[classes:]], axis=1).astype(np.float64)
    centre, size = np.zeros((len(best), 3)), np.ones((len(best), 3))
    middle = (np.stack(at, axis=1) + 0.5 + told[:, axes:]) * step - 0.5
    centre[:, 3 - axes :] = middle
    size[:, 3 - axes :] = np.exp(np.clip(told[:, :axes], -_LARGEST_LOG, _LARGEST_LOG)) * step
    score = 1 / (1 + np.exp(-np.clip(height[best], -60, 60)))
    return Candidates(centre, size, score, label[best].astype(np.int64))


def _hardest(wrong: Tensor, centres: Tensor, negatives: int) -> Tensor:
    """The sum (N,) of the largest losses of each row (N, cells): so many for each of its centres."""
    import torch

    wanted = centres.clamp(min=1) * negatives
    most = min(int(wanted.max()), wrong.shape[1])
    worst = wrong.topk(most, dim=1).values
    taken = torch.arange(most, device=wrong.device) < wanted[:, None]
    return (worst * taken).sum(1)


def _check(one: Marked, classes: int, size: NDArray[np.float64]) -> None:
    if not 0 <= one.label < classes or not (size > 0).all():
        raise BadInput(
            f"an object of class {one.label} and size {one.size} was given; expected a class from 0 to "
            f"{classes - 1} and sizes above 0; correct the annotations"
        )


def _is_whole(centre: NDArray[np.float64], size: NDArray[np.float64], extent: NDArray[np.float64]) -> bool:
    """True where the centre lies in the patch, and with it half of what a patch could hold of the object."""
    low, high = centre - size / 2 + 0.5, centre + size / 2 + 0.5
    if ((centre + 0.5 < 0) | (centre + 0.5 >= extent)).any():
        return False
    seen = np.minimum(high, extent) - np.maximum(low, 0)
    return bool((seen / np.minimum(size, extent)).prod() >= _LEAST_SEEN)


def _cells_of(
    centre: NDArray[np.float64], size: NDArray[np.float64], step: NDArray[np.float64], cells: tuple[int, ...]
) -> tuple[slice, ...]:
    low = np.clip(np.floor((centre - size / 2 + 0.5) / step), 0, cells).astype(int)
    high = np.clip(np.ceil((centre + size / 2 + 0.5) / step), 0, cells).astype(int)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def _ways(
    centre: NDArray[np.float64], step: NDArray[np.float64], cells: tuple[int, ...]
) -> list[NDArray[np.float64]]:
    """Along each axis, from the middles of the cells to the centre, in cells; shaped to broadcast."""
    ways = []
    for axis, n in enumerate(cells):
        way = (centre[axis] + 0.5) / step[axis] - 0.5 - np.arange(n)
        ways.append(way.reshape([-1 if a == axis else 1 for a in range(len(cells))]))
    return ways


def _heat(ways: Sequence[NDArray[np.float64]], size: NDArray[np.float64]) -> NDArray[np.float32]:
    heat: NDArray[np.float64] = np.ones(())
    for way, s in zip(ways, size, strict=True):
        heat = heat * np.exp(-0.5 * (way / max(_NARROWEST, s * _TO_SIGMA)) ** 2)
    # only the cell that holds the centre is one: elsewhere a centre on a cell's very middle stays below
    return np.minimum(heat, 1 - 1e-6).astype(np.float32)
