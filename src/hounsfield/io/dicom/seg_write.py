"""A mask written as a DICOM Segmentation over the series it was drawn on (PS3.3 A.51, A.90, C.8.20).

Written here and not through highdicom: the elements are the same, and the frames go to the disk as bytes
(`seg_frames`), which is several times faster (`benchmarks/seg_write.py`) and needs no further package.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io.dicom.confidential import legible
from hounsfield.io.dicom.seg_frames import Frame, decimal, frame_groups, labels_present, packed_bits
from hounsfield.io.dicom.source_grid import SourceGrid, grid_of, require_same_grid
from hounsfield.io.dicom.structures import Code, Structure, plain_name, structure_of
from hounsfield.io.files import whole_file
from hounsfield.io.source import Source

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Algorithm", "Form", "write_segmentation"]

Form = Literal["binary", "labelmap"]
_CLASSES = {"binary": "1.2.840.10008.5.1.4.1.1.66.4", "labelmap": "1.2.840.10008.5.1.4.1.1.66.7"}
_LARGEST = 65535  # a segment's number and a labelmap's pixel have 16 bits
_MOST_NAMED = 8
_COLOURS_LAB = (  # L 0…100, a and b: easily told apart, also with a red-green weakness
    (55.6, 53.6, 34.2), (70.4, -13.4, -36.4), (75.1, -37.4, 38.3), (79.6, 11.1, 67.5), (63.4, 38.6, -41.1),
    (77.7, -38.3, -2.8), (69.4, 46.0, -11.4), (67.8, -10.2, 41.2),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What drew the mask: name and version, and a number that tells this model from another.

    `serial` stands as the device's serial number, for instance the first figures of the weights' digest.
    """

    name: str = "hounsfield"
    version: str = ""
    serial: str = "0"


def write_segmentation(
    mask: NDArray[Any],
    names: Mapping[int, str | Structure],
    source: Source,
    series: Series,
    *,
    out: Path | str,
    affine: NDArray[np.float64] | None = None,
    form: Form = "binary",
    algorithm: Algorithm | None = None,
    series_number: int = 900,
) -> Path:
    """Write a mask on the grid of a DICOM series as a Segmentation, whole or not at all; gives `out` back.

    `mask` is (K, J, I), integers or booleans in the series' own geometry, 0 for none; `names` gives the name
    or the `Structure` of every label in it, and may name some that are not there: they are described, and no
    frame shows them. `affine` (voxel (i, j, k) to LPS mm), if given, must be that of the series.
    "binary" holds a frame for every structure and slice where it is, and numbers the segments 1, 2 … in the
    order of the labels; "labelmap" holds every slice once, and its values are the labels. Patient and study
    are those of the series; the UIDs are new. Nothing of file names or folders is written.

    Raises BadInput for a mask on another grid (and says how far), of floats, without any label, with labels
    that have no name; for one name given twice; for a series without DICOM files. Source: DICOM PS3.3 2024e.
    """
    grid = grid_of(source, series)
    given = np.asarray(mask)
    require_same_grid(grid, given.shape, affine, image=series.id)
    structures = _structures(names)
    stored = _labels_of(given)
    there = labels_present(stored)
    _require_named(np.flatnonzero(there.any(axis=0)).tolist(), structures)
    labels = list(structures)
    if form not in _CLASSES:
        raise BadInput(f'the form "{form}" was asked for; choose "binary" or "labelmap"')
    if form == "binary":
        held = [(n, label) for n, label in enumerate(labels, start=1) if label < there.shape[1]]
        frames = [Frame(int(k), n) for n, label in held for k in np.flatnonzero(there[:, label])]
    else:
        frames = [Frame(k) for k in range(len(stored))]
    made = _described(grid, form, structures, algorithm or Algorithm(), series_number)
    made.NumberOfFrames = len(frames)
    with whole_file(out) as unfinished, unfinished.open("wb") as file:
        _write_head(file, made)
        file.write(frame_groups(frames, grid))
        if form == "binary":
            size = -(-len(frames) * stored.shape[1] * stored.shape[2] // 8)
            _write_pixels(file, "OB", size, packed_bits(stored, frames, labels))
        else:
            kind = np.dtype(np.uint8 if max(labels) < 256 else "<u2")
            planes = (plane.astype(kind, copy=False).tobytes() for plane in stored)
            _write_pixels(file, "OB" if kind.itemsize == 1 else "OW", stored.size * kind.itemsize, planes)
    return Path(out)


def _structures(names: Mapping[int, str | Structure]) -> dict[int, Structure]:
    """Structures by label in the order of the labels, each label and each name once."""
    found: dict[int, Structure] = {}
    seen: dict[object, int] = {}
    for label in sorted(names):
        given = names[label]
        structure = structure_of(given) if isinstance(given, str) else given
        if not 1 <= label <= _LARGEST or not structure.name:
            raise BadInput(
                f'the label {label} is named "{structure.name[:64]}"; labels are 1 to {_LARGEST} (0 is the '
                "background and has no name), and each needs a name"
            )
        for same in _same_things(given, structure):
            if same in seen:
                raise BadInput(
                    f"the labels {seen[same]} and {label} both name one structure ({structure.kind.meaning}: "
                    f'"{structure.name[:64]}"); give the mask one label for it, or two names'
                )
            seen[same] = label
        found[label] = structure
    if not found:
        raise BadInput("no label has a name; give the name of every label in the mask")
    return found


def _same_things(given: str | Structure, structure: Structure) -> list[object]:
    """What no other label may be: its name, and, for a name that the table knows, what it means."""
    plain = plain_name(structure.name)
    things: list[object] = [plain]
    if isinstance(given, str) and structure.kind.value != structure.category.value:
        last = plain.split()[-1:]
        number = last[0] if last and last[0].isdigit() else ""
        things.append((structure.kind, structure.side, structure.site, number))
    return things


def _labels_of(mask: NDArray[Any]) -> NDArray[np.unsignedinteger]:
    """The mask as unsigned integers of 8 or 16 bits."""
    if mask.dtype.kind not in "bui":
        raise BadInput(
            f"the mask holds {mask.dtype} where whole labels are expected; "
            "threshold it, or round it to integers"
        )
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > _LARGEST:
        raise BadInput(f"the mask's labels run from {low} to {high}; expected 0 (none) to {_LARGEST}")
    if high == 0:
        raise BadInput(
            "the mask is empty: no voxel has a label, and a segmentation of nothing cannot be written"
        )
    return np.asarray(mask, np.uint8 if high < 256 else np.uint16)


def _require_named(labels: Sequence[int], structures: Mapping[int, Structure]) -> None:
    unnamed = [n for n in labels if n and n not in structures]
    if unnamed:
        shown = ", ".join(map(str, unnamed[:_MOST_NAMED])) + (" …" if len(unnamed) > _MOST_NAMED else "")
        raise BadInput(
            f"the mask holds labels without a name ({shown}); the named ones are "
            f"{', '.join(map(str, list(structures)[:_MOST_NAMED]))}: name all, or set the others to 0"
        )


def _described(
    grid: SourceGrid,
    form: Form,
    structures: Mapping[int, Structure],
    algorithm: Algorithm,
    series_number: int,
) -> Dataset:
    """The whole object but for what its frames are and their pixels."""
    from pydicom.uid import generate_uid

    made = grid.taken
    now = datetime.now()
    made.SOPClassUID, made.SOPInstanceUID = _CLASSES[form], generate_uid(prefix=None)
    made.Modality, made.SeriesInstanceUID = "SEG", generate_uid(prefix=None)
    made.SeriesNumber, made.InstanceNumber = series_number, 1
    made.SeriesDescription = f"Segmentation by {algorithm.name}"[:64]
    made.ContentDate, made.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.SeriesDate, made.SeriesTime = made.ContentDate, made.ContentTime
    made.Manufacturer, made.ManufacturerModelName = "Hounsfield", algorithm.name[:64]
    made.DeviceSerialNumber, made.SoftwareVersions = algorithm.serial[:64], _version(algorithm)
    made.ContentLabel, made.ContentDescription = "SEGMENTATION", "Drawn by a computer, not by a person"
    made.ContentCreatorName = ""
    _add_image(made, grid, form, max(structures))
    made.SegmentSequence = _segments(structures, algorithm, form)
    _add_geometry(made, grid, segments=form == "binary")
    _add_references(made, grid)
    return made


def _version(algorithm: Algorithm) -> str:
    return (algorithm.version or version("hounsfield"))[:64]


def _add_image(made: Dataset, grid: SourceGrid, form: Form, largest: int) -> None:
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = grid.shape[1:]
    bits = 1 if form == "binary" else 8 if largest < 256 else 16
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits, bits - 1, 0
    made.LossyImageCompression = made.get("LossyImageCompression") or "00"
    made.SegmentationType, made.SegmentsOverlap = form.upper(), "NO"
    if form == "labelmap":
        made.PixelPaddingValue = 0
        made["PixelPaddingValue"].VR = "US"


def _segments(structures: Mapping[int, Structure], algorithm: Algorithm, form: Form) -> list[Dataset]:
    from pydicom.uid import generate_uid

    made = []
    if form == "labelmap":  # the value 0 needs a description too (C.8.20.4)
        background = Code("125040", "Background", "DCM")
        made.append(_segment(0, Structure("Background", background, background), algorithm, ""))
    for n, (label, structure) in enumerate(structures.items(), start=1):
        number = n if form == "binary" else label
        item = _segment(number, structure, algorithm, generate_uid(prefix=None))
        lab = _COLOURS_LAB[(n - 1) % len(_COLOURS_LAB)]
        item.RecommendedDisplayCIELabValue = [
            round(lab[0] / 100 * 65535), *(round((v + 128) / 255 * 65535) for v in lab[1:])
        ]  # fmt: skip
        made.append(item)
    return made


def _segment(number: int, structure: Structure, algorithm: Algorithm, tracking_uid: str) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    label = legible(structure.name).replace("\\", "/")[:64]  # a backslash would part it into two values
    item.SegmentNumber, item.SegmentLabel = number, label
    item.SegmentAlgorithmType, item.SegmentAlgorithmName = "AUTOMATIC", algorithm.name[:64]
    item.SegmentedPropertyCategoryCodeSequence = [_coded(structure.category)]
    kind = _coded(structure.kind)
    if structure.side:
        kind.SegmentedPropertyTypeModifierCodeSequence = [_coded(structure.side)]
    item.SegmentedPropertyTypeCodeSequence = [kind]
    if structure.site:
        item.AnatomicRegionSequence = [_coded(structure.site)]
    if tracking_uid:
        item.TrackingID, item.TrackingUID = label, tracking_uid
        family = Dataset()
        family.AlgorithmFamilyCodeSequence = [_coded(Code("123110", "Artificial Intelligence", "DCM"))]
        family.AlgorithmName, family.AlgorithmVersion = algorithm.name[:64], _version(algorithm)
        item.SegmentationAlgorithmIdentificationSequence = [family]
    return item


def _coded(code: Code) -> Dataset:
    from pydicom.dataset import Dataset

    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = code.value, code.scheme, code.meaning
    return made


def _add_geometry(made: Dataset, grid: SourceGrid, *, segments: bool) -> None:
    """Shared functional groups and the dimensions by which the frames are ordered (C.7.6.16, C.7.6.17)."""
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    shared = Dataset()
    pointers = [(0x0062000B, 0x0062000A, "Segment")] if segments or grid.affine is None else []
    if grid.affine is not None:
        made.FrameOfReferenceUID, made.PositionReferenceIndicator = grid.frame_of_reference, ""
        between, rows, columns = grid.spacing_mm
        measures, orientation = Dataset(), Dataset()
        measures.PixelSpacing = [decimal(rows), decimal(columns)]
        # a voxel of the mask fills the step between slices; the source's slices may be thicker or thinner
        measures.SliceThickness = decimal(grid.thickness_mm or between)
        if grid.shape[0] > 1:
            measures.SpacingBetweenSlices = decimal(between)
        orientation.ImageOrientationPatient = [decimal(round(v, 12) + 0.0) for v in grid.orientation]
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
        pointers.append((0x00200032, 0x00209113, "Position"))
    else:
        made.PatientOrientation = ""  # type 2C of C.7.6.1, where no frame says how it lies
    made.SharedFunctionalGroupsSequence = [shared]
    organisation, organised = generate_uid(prefix=None), Dataset()
    organised.DimensionOrganizationUID = organisation
    made.DimensionOrganizationSequence = [organised]
    indices = []
    for pointer, group, label in pointers:
        index = Dataset()
        index.DimensionOrganizationUID, index.DimensionIndexPointer = organisation, pointer
        index.FunctionalGroupPointer, index.DimensionDescriptionLabel = group, label
        indices.append(index)
    made.DimensionIndexSequence = indices


def _add_references(made: Dataset, grid: SourceGrid) -> None:
    """Common instance reference (C.12.2): every image of the series that was segmented."""
    from pydicom.dataset import Dataset

    series, instances = Dataset(), []
    for class_uid, instance_uid in dict.fromkeys((r.class_uid, r.instance_uid) for r in grid.references):
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = class_uid, instance_uid
        instances.append(image)
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = grid.series_uid, instances
    made.ReferencedSeriesSequence = [series]


def _write_head(file: BinaryIO, made: Dataset) -> None:
    """Everything before the frames: they and the pixels have the highest tags, and follow as bytes."""
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(file, made, enforce_file_format=True)


def _write_pixels(file: BinaryIO, kind: str, size: int, parts: Any) -> None:
    """PixelData (7FE0,0010) of `size` bytes, padded to an even length. Raises BadInput beyond 4 GiB."""
    if size >= 0xFFFFFFFF:
        raise BadInput(
            f"the segmentation would hold {size / 2**30:.1f} GiB of pixels, and one object holds at most 4; "
            "write fewer structures in one object, or choose the other form"
        )
    file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, kind.encode(), 0, size + size % 2))
    for part in parts:
        file.write(part)
    file.write(b"\0" * (size % 2))
