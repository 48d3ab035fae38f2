"""Predicted masks written: as files beside the images, as DICOM objects that refer to them, as a table.

OUT/masks holds a NIfTI file for each case, or a PNG of label numbers (255 where there is one structure) for a
single image without a place in the patient. OUT/segmentations and OUT/reports hold DICOM objects of cases
that are DICOM, and OUT/measurements.csv a row for each structure of each case.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.seg_write import Algorithm, Form, write_segmentation
from hounsfield.io.dicom.sr_write import Measured, write_measurements
from hounsfield.io.dicom.structures import Structure, structure_of
from hounsfield.io.files import whole_file, write_text
from hounsfield.io.nifti_write import nifti_of, write_nifti
from hounsfield.io.source import Source
from hounsfield.steps.results.cases import Ledger, Outlined, Written, require_known
from hounsfield.steps.results.sizes import Size, sizes_of

__all__ = ["TABLE", "write_mask", "write_outlined"]

TABLE = "measurements.csv"
_COLUMNS = (
    "case", "structure", "label", "voxels", "volume_ml", "area_mm2", "largest_diameter_mm", "components",
)  # fmt: skip


def write_outlined(
    cases: Iterable[Outlined],
    source: Source,
    *,
    out: Path,
    structures: Sequence[str],
    write: Collection[str] = ("nifti", "csv"),
    site: str = "",
    algorithm: Algorithm | None = None,
) -> Written:
    """Write what `write` (of WRITES) asks for, case by case, each file whole or not at all.

    `structures` names the labels 1, 2, …, and `site` the organ that all lie in, if it is known. "seg" is a
    binary DICOM segmentation, "labelmap" one of label numbers; "sr", a report with the size of each
    structure, brings a segmentation with it, to which it refers. A case whose image is not DICOM, or in
    which nothing was outlined, has no DICOM result, and the notes say so. Raises BadInput for unknown kinds.
    """
    require_known(write)
    names = {n: structure_of(name, site=site) for n, name in enumerate(structures, start=1)}
    forms: list[Form] = [form for kind, form in _FORMS.items() if kind in write]
    if "sr" in write and not forms:
        forms = ["binary"]
    by, ledger, rows = algorithm or Algorithm(), Ledger(), list[Size]()
    for case in cases:
        if "nifti" in write:
            write_mask(case, out / "masks", single=len(structures) == 1)
            ledger.files["nifti"] += 1
        sizes = sizes_of(case, structures) if {"csv", "sr"} & set(write) else []
        rows += sizes
        if forms:
            try:
                _write_objects(case, source, out, forms, names, sizes if "sr" in write else [], by, ledger)
            except BadInput as error:
                ledger.missed(case, error)
    if "csv" in write:
        write_text(out / TABLE, _table(rows))
        ledger.files["csv"] += 1
    return ledger.told()


_FORMS: dict[str, Form] = {"seg": "binary", "labelmap": "labelmap"}


def write_mask(case: Outlined, folder: Path, *, single: bool = False) -> Path:
    """Write the labels on the image's grid as NIfTI, or as PNG for a single image of no known place.

    In a PNG a `single` structure is 255, otherwise a label is its number. Gives the file back.
    """
    if case.series.is_flat and not case.has_place:
        path = folder / f"{case.file_stem}.png"
        _write_png(case, path, single=single)
        return path
    path = folder / f"{case.file_stem}.nii.gz"
    volume = case.as_volume(case.labels.astype(np.uint8 if case.labels.max(initial=0) < 256 else np.uint16))
    if case.series.reader == "nifti":  # voxel by voxel as the image lies in its file
        write_nifti(path, nifti_of(volume, turned=False))
        return path
    if not case.has_place and np.linalg.det(case.affine[:3, :3]) > 0:
        # NIfTI rows run from the bottom up where an affine says so; one of no place would not be turned back
        upright = case.affine.copy()
        upright[:3, 1] *= -1
        volume = replace(volume, affine=upright)
    write_nifti(path, volume)
    return path


def _write_png(case: Outlined, path: Path, *, single: bool) -> None:
    from PIL import Image

    plane = case.labels[0]
    if single:
        picture = Image.fromarray(np.where(plane > 0, 255, 0).astype(np.uint8))
    elif plane.max(initial=0) < 256:
        picture = Image.fromarray(plane.astype(np.uint8))
    else:
        picture = Image.fromarray(plane.astype(np.uint16))
    with whole_file(path) as unfinished:
        picture.save(unfinished)


def _write_objects(
    case: Outlined,
    source: Source,
    out: Path,
    forms: Sequence[Form],
    names: dict[int, Structure],
    sizes: Sequence[Size],
    algorithm: Algorithm,
    ledger: Ledger,
) -> None:
    """The case's segmentation in each form, and its report, which refers to the first."""
    drawn = []
    for form in forms:
        path = out / "segmentations" / f"{case.file_stem}{'_labelmap' * (form == 'labelmap')}.dcm"
        drawn.append(
            write_segmentation(
                case.labels, names, source, case.series, out=path, form=form, algorithm=algorithm
            )
        )
        ledger.files["seg" if form == "binary" else "labelmap"] += 1
    measured = [_measured(size) for size in sizes if size.voxels]
    if measured:
        path = out / "reports" / f"{case.file_stem}.dcm"
        write_measurements(measured, drawn[0], source, case.series, out=path, algorithm=algorithm)
        ledger.files["sr"] += 1


def _measured(size: Size) -> Measured:
    flat = size.volume_mm3 is None
    return Measured(
        size.structure,
        size.volume_mm3,
        size.longest_diameter_mm,
        size.area_mm2 if flat else None,
        size.voxels if flat else None,
    )


def _table(rows: Sequence[Size]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for r in rows:
        ml = None if r.volume_mm3 is None else r.volume_mm3 / 1000
        shown = ["" if v is None else f"{v:.6g}" for v in (ml, r.area_mm2, r.longest_diameter_mm)]
        writer.writerow((r.case, r.structure, r.label, r.voxels, *shown, r.components))
    return text.getvalue()
