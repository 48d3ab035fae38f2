"""Objects of masks that lie in files of their own: every connected component, or every label, is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.volume import Volume
from hounsfield.io.catalogue import everything_in, read_volume
from hounsfield.io.source import Source
from hounsfield.metrics.lesion_diameter import mask_diameter
from hounsfield.steps.detection.drawn import Drawn, Grids, Told, box_of_points
from hounsfield.steps.detection.image_names import ImageNames, require_some

__all__ = ["marks_of_masks", "object_of_mask", "pieces"]

Places = NDArray[np.intp]
_SAME = 0.02  # voxels by which two grids may differ


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """What of a mask is not 0: places (N, 3) and their labels (N,); its grid; the image it is of."""

    places: Places
    labels: NDArray[np.int64]
    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    spacing_mm: tuple[float, ...]
    series: Series


def marks_of_masks(path: Path, index: Index, *, classes: Sequence[str], plain: str) -> Told:
    """Objects of mask files (NIfTI, or pictures) whose names are those of images, with or without "_mask".

    A mask may bear the series UID as its name. With one class or none, labels above 1 anywhere say that each
    label is an object; else each connected component (touching by a corner) is. With several classes the
    labels 1, 2, … are the classes in their order, and components are the objects. A mask on another grid
    than its image is placed by its affine. Raises BadInput for masks that are no whole numbers, for labels
    that are no class, and where several masks are of one image.
    """
    found = everything_in(path)
    if Path(found.source) == Path(index.source):
        raise BadInput(
            "the masks and the images lie in one folder, so that nobody can tell which is which; expected "
            "the masks in a folder of their own; move them there"
        )
    pairs, missing = _paired(found, ImageNames(index))
    notes = require_some(len(pairs), missing, what="the folder of masks", index=index)
    with Source(found.source) as source:
        held = [_held(read_volume(source, mask), series) for mask, series in pairs]
    labelled = len(classes) < 2 and any(mask.labels.max(initial=0) > 1 for mask in held)
    with Grids(index) as grids:
        objects = [
            _placed(inside, name, mask, grids)
            for mask in held
            for name, inside in _objects(mask, classes, plain, labelled)
        ]
    images = frozenset(s.id for _, s in pairs)
    if without := len(index.series) - len(images):
        notes += (f"{without} image(s) have no mask and count as not marked",)
    rule = "label" if labelled else "connected component"
    return Told(tuple(objects), images, (*notes, f"every {rule} of a mask is an object"), tuple(classes))


def object_of_mask(
    inside: Places, name: str, series: str, *, spacing_mm: tuple[float, ...], flat: bool
) -> Drawn:
    """The object of voxels (N, 3) of an image: its box, and the largest diameter within a slice (RECIST).

    >>> inside = np.array([[1, 2, 2], [1, 2, 3]])
    >>> one = object_of_mask(inside, "nodule", "image-1", spacing_mm=(2, 1, 1), flat=False)
    >>> one.centre, one.size, one.diameter_mm
    ((1.0, 2.0, 2.5), (1.0, 1.0, 2.0), 2.0)
    """
    centre, size = box_of_points(inside.astype(np.float64), margin=(0.5, 0.5, 0.5))
    if flat:
        centre, size = (0.0, *centre[1:]), (1.0, *size[1:])
    return Drawn(series, name, centre, size, diameter_mm=_diameter(inside, spacing_mm))


def pieces(inside: Places) -> list[Places]:
    """The voxels (N, 3) parted into connected components; voxels that touch by a corner belong together.

    >>> [len(p) for p in pieces(np.array([[0, 0, 0], [0, 0, 1], [0, 0, 3]]))]
    [2, 1]
    """
    if not len(inside):
        return []
    first, cut = _cut(inside)
    labels, _ = ndimage.label(cut, structure=np.ones((3, 3, 3)))
    number = labels[tuple((inside - first).T)]
    return [inside[number == n] for n in range(1, int(number.max()) + 1)]


def _cut(inside: Places) -> tuple[Places, NDArray[np.bool_]]:
    """The first corner of voxels (N, 3), and a mask of the box around them."""
    first = inside.min(axis=0)
    cut = np.zeros(inside.max(axis=0) - first + 1, bool)
    cut[tuple((inside - first).T)] = True
    return first, cut


def _diameter(inside: Places, spacing_mm: tuple[float, ...]) -> float | None:
    return mask_diameter(_cut(inside)[1], spacing_mm=spacing_mm).long_mm if spacing_mm else None


def _paired(found: Index, names: ImageNames) -> tuple[list[tuple[Series, Series]], list[str]]:
    """Masks with their images, and the names of masks that are of none."""
    pairs: dict[str, tuple[Series, Series]] = {}
    missing: list[str] = []
    doubled = 0
    for mask in found.series:
        if mask.reader == "dicom":
            continue
        meant = names.meant_by_mask(mask.files[0])
        if len(meant) != 1:
            missing.append(mask.files[0])
            continue
        doubled += meant[0].id in pairs
        pairs[meant[0].id] = (mask, meant[0])
    if doubled:
        raise BadInput(
            f"{doubled} image(s) have more than one mask; expected one file an image, with a label for each "
            "object or class; put them together"
        )
    return list(pairs.values()), missing


def _held(volume: Volume, series: Series) -> _Held:
    data = np.asarray(volume.data)
    if len(data) != 1:
        raise BadInput(
            f"the mask of image {series.id} has {len(data)} channels; expected one, with a number for each "
            "object or class"
        )
    places = np.argwhere(data[0])
    values = data[0][tuple(places.T)]
    if values.dtype.kind == "f" and not (values == np.rint(values)).all():
        raise BadInput(
            f"the mask of image {series.id} holds fractions; expected whole numbers, 0 where nothing is; "
            "threshold it first"
        )
    labels = values.astype(np.int64)
    if labels.min(initial=1) < 0:
        raise BadInput(f"the mask of image {series.id} holds negative labels; expected 0, 1, 2 …; correct it")
    if (labels == 255).all():  # a picture of black and white
        labels = np.ones_like(labels)
    spacing = volume.spacing_mm if volume.spacing_known else ()
    return _Held(places, labels, volume.data.shape[1:], volume.affine, spacing, series)


def _objects(mask: _Held, classes: Sequence[str], plain: str, labelled: bool) -> list[tuple[str, Places]]:
    there = [int(n) for n in np.unique(mask.labels)]
    if len(classes) < 2:
        if labelled:
            return [(plain, mask.places[mask.labels == n]) for n in there]
        return [(plain, p) for p in pieces(mask.places)]
    unknown = [n for n in there if n > len(classes)]
    if unknown:
        raise BadInput(
            f"the mask of image {mask.series.id} holds the label {unknown[0]}; expected 1 to {len(classes)}, "
            f"one for each of {', '.join(classes)}; correct the mask or the classes"
        )
    return [(classes[n - 1], p) for n in there for p in pieces(mask.places[mask.labels == n])]


def _placed(inside: Places, name: str, mask: _Held, grids: Grids) -> Drawn:
    """The object in voxels of the image: as it stands where the grids are one, else by both affines."""
    series = mask.series
    same_shape = mask.shape == series.shape
    if not series.spacing_mm or not mask.spacing_mm:
        if not same_shape:
            mine, its = ("×".join(map(str, s)) for s in (mask.shape, series.shape))
            raise BadInput(
                f"the mask of image {series.id} has {mine} voxels (k×j×i) where the image has {its}, and no "
                "place in the patient; expected a mask on the image's own grid; resample it"
            )
        spacing = mask.spacing_mm or series.spacing_mm
        return object_of_mask(inside, name, series.id, spacing_mm=spacing, flat=series.is_flat)
    to_image = np.linalg.inv(grids.affine(series)) @ mask.affine
    if same_shape and np.abs(to_image - np.eye(4)).max() < _SAME:
        return object_of_mask(inside, name, series.id, spacing_mm=mask.spacing_mm, flat=series.is_flat)
    turn = to_image[:3, :3][::-1, ::-1]
    points = inside @ turn.T + to_image[:3, 3][::-1]
    centre, size = box_of_points(points, margin=np.abs(turn).sum(axis=1) / 2)
    return Drawn(series.id, name, centre, size, diameter_mm=_diameter(inside, mask.spacing_mm))
