"""The lungs in a chest CT, closed over what is dense in them; anything but a chest CT is refused.

Air below -400 HU that is not outside the body (Hu, Hoffman & Reinhardt, IEEE Trans Med Imaging 2001;20:490,
who find thresholds near it by iteration), without the windpipe and main bronchi, left and right told apart,
and closed by a ball so that vessels and nodules at the pleura lie inside. Pixels are averaged to about 3 mm
first: this finds where lungs are, not their exact edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume

__all__ = ["LEFT", "RIGHT", "Lungs", "find_lungs"]

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
RIGHT, LEFT = 1, 2
_AIR_HU, _WORK_MM, _CLOSING_MM, _MARGIN_MM = -400.0, 3.0, 16.0, 20.0
_LEAST_LITRES, _MOST_LITRES, _LEAST_HEIGHT_MM = 0.25, 7.0, 90.0  # of one lung
_WINDPIPE_CM2 = (0.4, 9.0)


@dataclass(frozen=True)
class Lungs:
    """Labels (K, J, I) of 0 outside, RIGHT and LEFT, on a coarse grid with its own affine to LPS mm.

    `depth_mm` is how deep a voxel lies inside the closed lungs, negative outside.
    """

    labels: NDArray[np.uint8]
    affine: Doubles
    depth_mm: Floats

    def depth_at(self, points_mm: Doubles) -> Doubles:
        """How deep points (n, 3) in LPS mm lie inside the lungs, in mm; negative outside."""
        places = self._places(points_mm)
        depth: Doubles = ndimage.map_coordinates(self.depth_mm, places, order=1, mode="nearest", output=float)
        return depth

    def side_at(self, point_mm: Doubles) -> str:
        """ "right" or "left": the lung that is nearest to a point."""
        held = np.argwhere(self.labels > 0)
        gaps = np.linalg.norm(self.points_of(held) - point_mm, axis=1)
        return "right" if self.labels[tuple(held[int(gaps.argmin())])] == RIGHT else "left"

    def third_at(self, point_mm: Doubles) -> str:
        """ "upper", "middle" or "lower": in which third of its lung's height a point lies."""
        label = RIGHT if self.side_at(point_mm) == "right" else LEFT
        heights = self.points_of(np.argwhere(self.labels == label))[:, 2]
        part = (float(point_mm[2]) - heights.min()) / max(float(np.ptp(heights)), 1e-9)
        return ("lower", "middle", "upper")[int(np.clip(part * 3, 0, 2))]

    def points_of(self, voxels: NDArray[np.integer]) -> Doubles:
        """Voxels (n, 3) as (k, j, i) in LPS mm."""
        points: Doubles = voxels[:, ::-1] @ self.affine[:3, :3].T + self.affine[:3, 3]
        return points

    @property
    def litres(self) -> tuple[float, float]:
        """The volumes of the right and of the left lung, in litres."""
        litre = abs(float(np.linalg.det(self.affine[:3, :3]))) / 1e6
        return int((self.labels == RIGHT).sum()) * litre, int((self.labels == LEFT).sum()) * litre

    def _places(self, points_mm: Doubles) -> Doubles:
        ijk = np.linalg.solve(self.affine[:3, :3], (points_mm - self.affine[:3, 3]).T)
        places: Doubles = ijk[::-1].astype(np.float64)
        return places


def find_lungs(volume: Volume, *, name: str = "this image") -> Lungs:
    """The lungs of a chest CT in HU.

    Raises BadInput, with `name` in it, for an image that is not a chest CT of both lungs: without known
    spacing, values that are not HU, no lungs, or lungs that are cut off or far too small or large.
    """
    if volume.is_flat or not volume.spacing_known:
        raise BadInput(_refusal(name, "has no slices at a known distance"))
    air, affine = _inner_air(volume, name)
    air, affine = _cropped(air, affine, name)
    air &= ~_windpipe(air, affine)
    labels = _sides(air, affine)
    spacing = _spacing(affine)
    for label in (RIGHT, LEFT):
        _require_lung(labels == label, spacing, name)
    closed, depth = _closed(labels, spacing)
    return Lungs(closed, affine, depth)


def _refusal(name: str, why: str) -> str:
    return (
        f"{name} {why}; expected a CT of the chest in Hounsfield units that shows both lungs."
        " Choose the chest series"
    )


def _spacing(affine: Doubles) -> Doubles:
    spacing: Doubles = np.linalg.norm(affine[:3, :3], axis=0)[::-1].astype(np.float64)
    return spacing


def _inner_air(volume: Volume, name: str) -> tuple[Mask, Doubles]:
    """Air that the body encloses in its slices, on the coarse grid, and that grid's affine."""
    hu = volume.data[0]
    low, high = np.percentile(hu[:: max(len(hu) // 24, 1), ::4, ::4], [0.5, 99.5])
    if low > -700 or high < -200:
        raise BadInput(
            _refusal(name, f"holds values from {low:.0f} to {high:.0f}, without air or without tissue")
        )
    coarse, affine = _averaged(hu, volume.affine)
    dark = coarse < _AIR_HU
    parts, count = ndimage.label(dark)
    edge = np.zeros(count + 1, np.bool_)
    for side in (parts[:, 0], parts[:, -1], parts[:, :, 0], parts[:, :, -1]):
        edge[np.unique(side)] = True
    edge[0] = True
    return ~edge[parts], affine


def _averaged(hu: NDArray[np.generic], affine: Doubles) -> tuple[Floats, Doubles]:
    """Means over blocks of voxels of about the working size, and the affine of their middles."""
    steps = np.maximum(np.rint(_WORK_MM / _spacing(affine)).astype(int), 1)
    sizes = np.array(hu.shape) // steps
    k, j, i = sizes * steps
    blocks = hu[:k, :j, :i].reshape(sizes[0], steps[0], sizes[1], steps[1], sizes[2], steps[2])
    out = np.array(affine, np.float64)
    out[:3, 3] += affine[:3, :3] @ ((steps[::-1] - 1) / 2)
    out[:3, :3] *= steps[::-1]
    return blocks.mean((1, 3, 5), dtype=np.float32), out


def _windpipe(air: Mask, affine: Doubles) -> Mask:
    """The windpipe and main bronchi: followed from the head down as small spots of air in the slices."""
    spacing = _spacing(affine)
    area = float(spacing[1] * spacing[2]) / 100.0  # cm2
    towards_head = affine[2, 2] > 0
    order = range(len(air) - 1, -1, -1) if towards_head else range(len(air))
    body = np.argwhere(air.any(0))
    middle = body.mean(0) if len(body) else np.zeros(2)
    out = np.zeros_like(air)
    before: Mask | None = None
    for k in order:
        parts, count = ndimage.label(air[k])
        small = np.bincount(parts.ravel(), minlength=count + 1) * area
        spots = np.flatnonzero((small > _WINDPIPE_CM2[0]) & (small < _WINDPIPE_CM2[1]))
        spots = spots[spots > 0]
        if before is None:
            centres = ndimage.center_of_mass(air[k], parts, spots) if len(spots) else []
            near = [
                n for n, c in zip(spots, centres, strict=True) if abs(c[1] - middle[1]) * spacing[2] < 25.0
            ]
            held = np.isin(parts, near[:1])
        else:
            held = np.isin(parts, [n for n in spots if before[parts == n].any()])
        if held.any():
            out[k], before = held, held
        elif before is not None:
            break
    # Only a tube that goes on for a while is one.
    return out if out.any((1, 2)).sum() * spacing[0] >= 15.0 else np.zeros_like(air)


def _sides(air: Mask, affine: Doubles) -> NDArray[np.uint8]:
    """Right and left: the two largest pieces, after thinning where they hang together."""
    spacing = _spacing(affine)
    litre = float(np.prod(spacing)) / 1e6
    labels = np.zeros(air.shape, np.uint8)
    depth = ndimage.distance_transform_edt(air, sampling=spacing)
    for thinned in (0.0, 2.6, 4.0, 6.0, 8.0):
        parts, count = ndimage.label(depth > thinned)
        sizes = np.bincount(parts.ravel(), minlength=count + 1).astype(float)
        sizes[0] = 0
        if count < 2:
            continue
        first, second = np.argsort(sizes)[::-1][:2]
        if sizes[second] * litre >= 0.5 * _LEAST_LITRES and sizes[second] > 0.12 * sizes[first]:
            break
    else:
        return labels
    pieces = np.where(parts == first, 1, np.where(parts == second, 2, 0))
    if thinned:
        nearest = ndimage.distance_transform_edt(
            pieces == 0, sampling=spacing, return_distances=False, return_indices=True
        )
        whole, _ = ndimage.label(air)
        kept = np.unique(whole[pieces > 0])
        pieces = np.where(np.isin(whole, kept[kept > 0]), pieces[tuple(nearest)], 0)
    across = [float((np.argwhere(pieces == n).mean(0)[::-1] @ affine[:3, :3].T)[0]) for n in (1, 2)]
    right, left = (1, 2) if across[0] < across[1] else (2, 1)  # x grows to the patient's left
    labels[pieces == right], labels[pieces == left] = RIGHT, LEFT
    return labels


def _require_lung(lung: Mask, spacing: Doubles, name: str) -> None:
    litres = int(lung.sum()) * float(np.prod(spacing)) / 1e6
    if litres == 0:
        raise BadInput(_refusal(name, "shows no two lungs"))
    height = float(lung.any((1, 2)).sum() * spacing[0])
    if not _LEAST_LITRES <= litres <= _MOST_LITRES or height < _LEAST_HEIGHT_MM:
        raise BadInput(_refusal(name, f"shows a lung of {litres:.2f} litres over {height:.0f} mm"))


def _cropped(air: Mask, affine: Doubles, name: str) -> tuple[Mask, Doubles]:
    """The box around the air inside the body, with a margin, and its affine."""
    margin = np.ceil(_MARGIN_MM / _spacing(affine)).astype(int)
    boxes = ndimage.find_objects(air.astype(np.uint8))
    if not boxes:
        raise BadInput(_refusal(name, "shows no two lungs"))
    box = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(boxes[0], margin, strict=True))
    out = np.array(affine)
    out[:3, 3] += affine[:3, :3] @ np.array([s.start for s in box][::-1], np.float64)
    return air[box], out


def _closed(labels: NDArray[np.uint8], spacing: Doubles) -> tuple[NDArray[np.uint8], Floats]:
    """Labels closed by a ball, and the depth inside; both lungs apart."""
    closed = np.zeros_like(labels)
    margin = np.ceil(2 * _CLOSING_MM / spacing).astype(int)
    for label in (RIGHT, LEFT):
        box = ndimage.find_objects((labels == label).astype(np.uint8))[0]
        wide = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(box, margin, strict=True))
        own = labels[wide] == label
        padded = np.pad(own, [(m, m) for m in margin], mode="edge")
        grown = ndimage.distance_transform_edt(~padded, sampling=spacing) <= _CLOSING_MM
        shrunk = ndimage.distance_transform_edt(grown, sampling=spacing) > _CLOSING_MM
        inner = shrunk[tuple(slice(m, -m) for m in margin)] | own
        closed[wide][inner & (closed[wide] == 0)] = label
    inside = closed > 0
    depth = ndimage.distance_transform_edt(inside, sampling=spacing) - ndimage.distance_transform_edt(
        ~inside, sampling=spacing
    )
    half = 0.5 * float(np.cbrt(np.prod(spacing)))  # the edge lies between two voxels
    return closed, np.where(inside, depth - half, depth + half).astype(np.float32)
