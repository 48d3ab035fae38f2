"""What is drawn over an image: labels on its grid, from a mask, a segmentation or a hu predict."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io.catalogue import index_of, read_volume
from hounsfield.io.source import INSIDE, Source
from hounsfield.steps.choose import Row
from hounsfield.steps.regions.same_grid import grid_difference, in_order_of, labels_of_mask, voxels_coincide
from hounsfield.transforms.onto_grid import onto_grid

__all__ = ["Overlay", "overlay_of"]

_MEASUREMENTS, _DETECTIONS, _MASKS = "measurements.csv", "detections.csv", "masks"
_ROOM = 1.0  # voxels between a found object and the line around it


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Labels (K, J, I) on the grid of an image, what each one is, and what must be said about them.

    `are_objects` says that labels only mark places, a little larger than what was found there.
    """

    labels: NDArray[Any]
    names: Mapping[int, str]
    notes: tuple[str, ...] = ()
    are_objects: bool = False


def overlay_of(given: Path | str, image: Volume, row: Row, *, resample: bool = False) -> Overlay:
    """The labels that a file or folder holds for an image, which a source holds in `row`.

    `given` is a mask (NIfTI, a picture, an array), a DICOM segmentation, a detections.csv, or the folder that
    hu predict wrote. A mask on another grid is refused with how far it is off, or resampled (nearest
    voxel) with `resample`. Raises BadInput where there is nothing for this image.
    """
    path = Path(given)
    if not path.exists():
        raise BadInput(
            f'the overlay "{path.name}" does not exist; expected a mask (NIfTI, PNG), a DICOM segmentation, '
            "or the folder of a hu predict"
        )
    if path.is_dir():
        return _predicted(path, image, row, resample)
    if path.name.casefold().endswith(".csv"):
        return _detected(path, image, row.id)
    segmentation = _segmentation(path)
    if segmentation is not None:
        return _on_image(*segmentation, image, resample, sparse=True)
    return _mask(path, image, resample)


def _predicted(folder: Path, image: Volume, row: Row, resample: bool) -> Overlay:
    """What hu predict wrote for this image, found by its file where the private table is there."""
    case = _case_of(folder, row)
    for ending in (".nii.gz", ".png"):
        mask = folder / _MASKS / f"{case}{ending}"
        if mask.is_file():
            return _mask(mask, image, resample)
    for name in (f"{case}.dcm", f"{case}_labelmap.dcm"):
        drawn = folder / "segmentations" / name
        segmentation = _segmentation(drawn) if drawn.is_file() else None
        if segmentation is not None:
            return _on_image(*segmentation, image, resample, sparse=True)
    if (folder / _DETECTIONS).is_file():
        return _detected(folder / _DETECTIONS, image, case)
    raise BadInput(
        f'"{folder.name}" holds neither a mask of this image nor a {_DETECTIONS}; expected the --out of a '
        "hu predict of a model that segments or detects, on the source that holds this image"
    )


def _case_of(folder: Path, row: Row) -> str:
    """The id under which hu predict scored the image: by file name, else by the scan's own id."""
    table = folder / "private" / "cases.csv"
    if not table.is_file():
        return row.id
    with table.open(newline="") as stream:
        held = {r["case"]: _names(r["files"].split("|")) for r in csv.DictReader(stream)}
    mine = _names(row.files)
    fitting = [case for case, files in held.items() if files == mine]
    if len(fitting) > 1 and row.id in fitting:
        return row.id
    if len(fitting) != 1:
        how_many = "several predictions" if fitting else "no prediction"
        raise BadInput(
            f'"{folder.name}" holds {how_many} of this image; '
            "give the source that hu predict was given, and choose the image by --image"
        )
    return fitting[0]


def _names(files: Sequence[str]) -> frozenset[str]:
    return frozenset(PurePosixPath(f.rsplit(INSIDE, 1)[-1]).name for f in files)


def _mask(path: Path, image: Volume, resample: bool) -> Overlay:
    index = index_of(path)
    if len(index.series) != 1:
        raise BadInput(f"the overlay holds {len(index.series)} images; expected one mask")
    with Source(index.source) as source:
        mask = read_volume(source, index.series[0])
    labels = labels_of_mask(mask, what="the overlay")
    flat = Volume(labels[None], mask.affine, (), mask.spacing_known)
    return _on_image(flat, _named(path), image, resample, sparse=False)


def _named(path: Path) -> dict[int, str]:
    """The structures of a mask that hu predict wrote, from the table beside its folder."""
    table = path.parent.parent / _MEASUREMENTS
    if path.parent.name != _MASKS or not table.is_file():
        return {}
    with table.open(newline="") as stream:
        return {int(r["label"]): r["structure"] for r in csv.DictReader(stream)}


def _segmentation(path: Path) -> tuple[Volume, dict[int, str]] | None:
    """A DICOM segmentation's labels and names, None where the file is none."""
    from hounsfield.io.dicom.elements import faults
    from hounsfield.io.dicom.reader import DicomReader
    from hounsfield.io.dicom.segment_volume import segmentation_volume
    from hounsfield.io.dicom.segments import is_segmentation
    from hounsfield.io.reader import HEAD_BYTES
    from hounsfield.steps.choose import dataset_of

    with Source(path) as source:
        member = source.members[0] if source.members else ""
        if not member or not DicomReader().claims(member, source.head(member, HEAD_BYTES)):
            return None
        dataset = dataset_of(source, member)
    try:
        return segmentation_volume(dataset) if is_segmentation(dataset) else None
    except faults() as error:
        raise BadInput(
            f"the overlay is a segmentation that does not follow the standard ({type(error).__name__})"
        ) from error


def _on_image(
    mask: Volume, names: Mapping[int, str], image: Volume, resample: bool, *, sparse: bool
) -> Overlay:
    """The labels on the image's grid; a `sparse` mask may lack slices in which nothing is."""
    shape = image.data.shape[1], image.data.shape[2], image.data.shape[3]
    placed = image.spacing_known and mask.spacing_known
    mask = in_order_of(image, mask)
    apart = grid_difference(image, mask)
    if not apart:
        return _named_all(mask.data[0], names)
    if sparse and voxels_coincide(image, mask):
        labels = onto_grid(mask, shape, image.affine, order="nearest", outside=0)[0]
        return _named_all(labels, names)
    if not placed or not resample:
        offer = "give the mask that was drawn on this image"
        offer += ", or draw it all the same with --resample (nearest voxel)" if placed else ""
        raise BadInput(f"the overlay lies on another grid than the image: {apart}; {offer}")
    labels = onto_grid(mask, shape, image.affine, order="nearest", outside=0)[0]
    note = f"the overlay was resampled onto the image's grid (nearest voxel): {apart}"
    if mask.data.any() and not labels.any():
        note += "; nothing of it lies within the image"
    return _named_all(labels, names, note)


def _named_all(labels: NDArray[Any], names: Mapping[int, str], *notes: str) -> Overlay:
    there = [int(v) for v in np.unique(labels) if v]
    every = {n: names.get(n) or f"label {n}" for n in sorted({*names, *there})}
    return Overlay(labels, every, notes)


def _detected(table: Path, image: Volume, case: str) -> Overlay:
    """Found objects of a case as labels, the best last, so that it is seen whole where two overlap."""
    try:
        with table.open(newline="") as stream:
            rows = [r for r in csv.DictReader(stream) if r["case"] == case]
        called = sorted((r for r in rows if r["called"] == "1"), key=lambda r: -float(r["score"]))
        labels = np.zeros(image.data.shape[1:], np.uint8 if len(called) < 256 else np.uint16)
        names = {}
        for n, r in reversed(list(enumerate(called, start=1))):
            centre, size = ([float(r[p + a]) for a in "kji"] for p in ("", "size_"))
            _draw_object(labels, n, centre, size, ball=r["shape"] == "sphere")
            size_mm = f", {float(r['diameter_mm']):.3g} mm" if r["diameter_mm"] else ""
            names[n] = f"{r['class']} {float(r['score']):.2f}{size_mm}"
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{table.name} is no table of detections that hu predict wrote; give one") from error
    left = len(rows) - len(called)
    many = "s below the threshold are" if left != 1 else " below the threshold is"
    notes = [f"{left} candidate{many} not drawn"] if left else []
    if not rows:
        notes = [f"{table.name} holds nothing for {case}"]
    return Overlay(labels, dict(sorted(names.items())), tuple(notes), are_objects=True)


def _draw_object(
    labels: NDArray[Any], number: int, centre: Sequence[float], size: Sequence[float], *, ball: bool
) -> None:
    """Fill a ball or box a little larger than the object; of a flat image in the plane."""
    half = [s / 2 + _ROOM for s in size]
    if labels.shape[0] == 1:
        half[0] = 1.0
    low = [max(0, int(np.ceil(c - h))) for c, h in zip(centre, half, strict=True)]
    high = [min(n, int(np.floor(c + h)) + 1) for c, h, n in zip(centre, half, labels.shape, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return
    part = labels[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    if not ball:
        part[...] = number
        return
    axes = [(np.arange(a, b) - c) / h for a, b, c, h in zip(low, high, centre, half, strict=True)]
    distance = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2
    part[distance <= 1.0] = number
