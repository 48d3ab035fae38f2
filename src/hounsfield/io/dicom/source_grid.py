"""What a result takes over from the images it was made of: their grid, their identity, references to them.

No pixel is read. Only what DICOM requires of every object of a study is taken of the patient and the study
(types 1 and 2 of PS3.3 C.7.1.1 and C.7.2.1), and what says that the identity was removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io.source import Source

if TYPE_CHECKING:
    import pyarrow as pa
    from pydicom.dataset import Dataset

__all__ = ["Reference", "SourceGrid", "grid_of", "require_same_grid"]

_PATIENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
_IF_THERE = (
    "IssuerOfPatientID", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
_SAME_MM = 0.01  # of a corner's place; slices of one stack stray no further (`geometry.tolerance_mm`)


@dataclass(frozen=True, slots=True)
class Reference:
    """The image that a slice lies in: class and instance UID, and its frame (from 1; 0 for all)."""

    class_uid: str
    instance_uid: str
    frame: int


@dataclass(frozen=True, slots=True, eq=False)
class SourceGrid:
    """The grid of a series and what its objects say of themselves.

    `shape` is (K, J, I); `affine` maps a voxel (i, j, k) to LPS mm and is None where the place in the
    patient is unknown; `positions_mm` (K, 3) are the first voxels' centres as the headers give them.
    `references` are one a slice. `taken` holds the elements of patient and study that go over.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64] | None
    positions_mm: NDArray[np.float64]
    thickness_mm: float
    references: tuple[Reference, ...]
    frame_of_reference: str
    series_uid: str
    modality: str
    taken: Dataset

    @property
    def orientation(self) -> list[float]:
        """The directions of rows and columns as ImageOrientationPatient has them."""
        assert self.affine is not None
        i, j = self.affine[:3, 0], self.affine[:3, 1]
        return [float(v) for v in (*(i / np.linalg.norm(i)), *(j / np.linalg.norm(j)))]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(k, j, i); k is the distance of the planes, also where they are sheared."""
        assert self.affine is not None
        i, j, k = self.affine[:3, :3].T
        normal = np.cross(i, j) / np.linalg.norm(np.cross(i, j))
        return abs(float(k @ normal)), float(np.linalg.norm(j)), float(np.linalg.norm(i))


def grid_of(source: Source, series: Series) -> SourceGrid:
    """The grid of a DICOM series that a scan found, from its headers alone.

    Raises BadInput for a series of another format, for one whose headers changed since the scan, for a
    mosaic (its slices are no images to refer to) and for frames without a place in the patient.
    """
    from hounsfield.io.dicom.datasets import dataset_of
    from hounsfield.io.dicom.header_table import header_table  # compiles: imported when used

    if series.reader != "dicom":
        raise BadInput(
            f"image {series.id}: is {series.reader}, and a DICOM result refers to DICOM images; "
            "write the result as NIfTI instead"
        )
    table = header_table(source, series.files)
    affine, frames = _placed(source, table, series)
    if affine is None and series.shape[0] > 1:
        raise BadInput(
            f"image {series.id}: its {series.shape[0]} frames have no place in the patient (position, "
            "frame of reference); a segmentation is written of single images and of volumes"
        )
    first = table.slice(0, 1).to_pylist()[0]
    held = dataset_of(source, series.files[0], before_pixels=True, keywords=(*_PATIENT, *_IF_THERE))
    return SourceGrid(
        shape=series.shape,
        affine=affine,
        positions_mm=_positions(table, affine, series.shape[0]),
        thickness_mm=float(first["slice_thickness"] or 0.0),
        references=_references(table, frames, series.shape[0]),
        frame_of_reference=first["frame_of_reference_uid"] or "",
        series_uid=first["series_instance_uid"] or "",
        modality=first["modality"] or "",
        taken=_taken(held),
    )


def require_same_grid(
    grid: SourceGrid, shape: tuple[int, ...], affine: NDArray[np.float64] | None, *, image: str
) -> None:
    """Raise BadInput where a mask's shape (K, J, I) or place is another than its image's, saying how far.

    An `affine` of None says that the mask was made on the image's own grid.
    """
    offer = "resample the mask to the image's grid (nearest neighbour), or give the image it was drawn on"
    if tuple(shape) != grid.shape:
        given, wanted = ("×".join(map(str, s)) for s in (shape, grid.shape))
        raise BadInput(f"the mask has {given} voxels (k×j×i) where image {image} has {wanted}; {offer}")
    if affine is None or grid.affine is None:
        return
    if np.shape(affine) != (4, 4) or not np.isfinite(affine).all():
        raise BadInput(
            "the mask's affine is no (4, 4) matrix of finite numbers; give voxel (i, j, k) to LPS mm"
        )
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.float64)
    corners[:, :3] *= np.array(grid.shape[::-1]) - 1
    apart = np.linalg.norm((corners @ (affine - grid.affine).T)[:, :3], axis=1)
    step = np.linalg.norm(affine[:3, :3] - grid.affine[:3, :3], axis=0)
    if max(apart.max(), step.max()) <= max(_SAME_MM, 0.01 * grid.spacing_mm[0]):
        return
    ours, theirs = (
        "×".join(f"{s:.4g}" for s in np.linalg.norm(a[:3, 2::-1], axis=0)) for a in (affine, grid.affine)
    )
    begins = float(np.linalg.norm(affine[:3, 3] - grid.affine[:3, 3]))
    raise BadInput(
        f"the mask lies elsewhere than image {image}: its spacing is {ours} mm (k×j×i) where the image's is "
        f"{theirs} mm, its first voxel lies {begins:.2f} mm and its farthest corner {apart.max():.2f} mm "
        f"from the image's; {offer}"
    )


def _placed(
    source: Source, table: pa.Table, series: Series
) -> tuple[NDArray[np.float64] | None, tuple[int, ...]]:
    """The affine and the frames, if the headers still make the image that the scan found."""
    from hounsfield.io.dicom.placed import digest_of
    from hounsfield.io.dicom.stacks import placed_images

    if series.digest and digest_of(table) == series.digest:
        return np.reshape(np.array(series.affine, np.float64), (4, 4)), series.frames
    _, found, refused = placed_images(source, table)
    everything = tuple(range(len(series.files)))
    same = [
        p for p in found if p.rows == everything and p.frames == series.frames and p.shape == series.shape
    ]
    if refused or len(same) != 1:
        raise BadInput(f"image {series.id}: its headers have changed since the scan; scan again")
    if same[0].tiles:
        raise BadInput(
            f"image {series.id}: is a mosaic, whose slices are no images that a result could refer to; "
            "convert it (hu convert) and write the result as NIfTI"
        )
    known = bool(same[0].spacing_mm) and _has_place(table, same[0].rows[0])
    return (same[0].affine if known else None), same[0].frames


def _has_place(table: pa.Table, row: int) -> bool:
    """True where the headers give a place in the patient and not only a spacing."""
    record = table.slice(row, 1).to_pylist()[0]
    enhanced = bool(record["flags"] & 1)
    return bool(record["frame_of_reference_uid"]) and bool(record["image_position_patient"] or enhanced)


def _positions(table: pa.Table, affine: NDArray[np.float64] | None, slices: int) -> NDArray[np.float64]:
    """Where each slice begins: as its header says to the last figure, else by the affine."""
    if affine is None:
        return np.zeros((slices, 3))
    written = table["image_position_patient"].to_pylist()
    by_affine = affine[:3, 3] + np.arange(slices)[:, None] * affine[:3, 2]
    if len(written) == slices and all(w is not None and len(w) == 3 for w in written):
        return np.array(written, np.float64)
    return np.asarray(by_affine, np.float64)


def _references(table: pa.Table, frames: tuple[int, ...], slices: int) -> tuple[Reference, ...]:
    columns = (table["sop_class_uid"], table["sop_instance_uid"])
    classes, objects = (["" if v is None else v for v in c.to_pylist()] for c in columns)
    if len(objects) == slices and not frames:
        multi = table["number_of_frames"].to_pylist()
        return tuple(
            Reference(c, o, 1 if (n or 1) > 1 else 0) for c, o, n in zip(classes, objects, multi, strict=True)
        )
    order = frames or tuple(range(slices))
    return tuple(Reference(classes[0], objects[0], n + 1) for n in order)


def _taken(held: Dataset) -> Dataset:
    """Patient and study as the source has them, in UTF-8 so that any name of a structure fits beside them."""
    from pydicom.dataset import Dataset

    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _PATIENT:
        value = held.get(keyword)
        setattr(made, keyword, "" if value is None else str(value))
    for keyword in _IF_THERE:
        if keyword in held and held.get(keyword) not in (None, ""):
            setattr(made, keyword, held.get(keyword))
    return made
