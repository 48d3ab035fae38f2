"""The chest CT phantom: a seeded cohort written as DICOM series, with masks and the truth beside it.

`hu phantom chest-ct --out DIR` writes it. The images are simulated; no patient was ever imaged.

In the plane there are 192 (site A) or 176 (site B) pixels over the whole body, about 1.8 to 2.4 mm each: fine
enough that a nodule of 3 mm still lifts a voxel well above the noise, coarse enough that a hundred series are
1.4 GB, are written in minutes and can be learned from without a GPU. Slices are 1.0 and 2.5 mm.

What it cannot show: detail below 2 mm (thin fissures, bronchiole walls, the texture inside nodules);
infection, effusion, scars, lymph nodes, contrast medium, motion, metal, streaks of the shoulders; arms (they
are up) and shoulder joints; lungs deformed by disease; nodules that pull at a fissure or the pleura. Anatomy
varies by some twenty numbers, far less than people do. So a score on it says that a method works as built,
and nothing of how it does in patients.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hounsfield.applications.chest_ct.cohort import Role, sample_anatomy, sample_roles
from hounsfield.applications.chest_ct.dicom_file import SeriesIdentity, series_files
from hounsfield.applications.chest_ct.scan import Scan, take_scan
from hounsfield.applications.chest_ct.scanners import SCANNERS
from hounsfield.applications.phantom_files import NOTICE, require_fresh, stable_uid, table_of, write_whole
from hounsfield.core.volume import Volume
from hounsfield.io.nifti_write import write_nifti

__all__ = [
    "ANNOTATIONS",
    "FEWEST_PATIENTS",
    "LABELS",
    "LESION_COLUMNS",
    "MOST_PATIENTS",
    "SERIES_COLUMNS",
    "write_cohort",
]

LABELS, ANNOTATIONS = "labels.csv", "annotations.csv"
FEWEST_PATIENTS, MOST_PATIENTS = 2, 9999
SERIES_COLUMNS = (
    "patient_id",
    "study_uid",
    "series_uid",
    "folder",
    "mask",
    "age",
    "sex",
    "site",
    "scanner",
    "kernel",
    "slice_mm",
    "pixel_mm",
    "nodules",
    "largest_mm",
    "malignant",
)
LESION_COLUMNS = (
    "seriesuid",
    "coordX",
    "coordY",
    "coordZ",
    "diameter_mm",
    "density",
    "contact",
    "spiculation",
    "malignant",
    "patient",
    "site",
    "scanner",
    "lobe",
    "solid_mm",
    "hu",
    "mask",
    "mask_label",
)

Row = dict[str, str | int | float]


def write_cohort(
    out: Path,
    *,
    patients: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a cohort, one series a patient, into `out`; returns the path of `labels.csv`.

    `dicom/` holds the series, `masks/SERIES.nii.gz` the nodules of each on its own grid (label 1, 2, …; 0 is
    none). `annotations.csv` has a row a nodule, its first five columns those of LUNA16: series, centre in
    LPS mm, diameter (of a sphere of equal volume). `labels.csv` has a row a series, `malignant` 1 where a
    nodule of it is. The same arguments write the same bytes. `progress` gets the patients done and their
    number. Raises BadInput for an impossible number or a folder in use.

    >>> write_cohort(Path("study"), patients=1)
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: 1 phantom patients: expected 2 to 9999, ...
    """
    require_fresh(
        out,
        patients=patients,
        fewest=FEWEST_PATIENTS,
        most=MOST_PATIENTS,
        why="each scanner has one",
        seed=seed,
    )
    for folder in ("dicom", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    root = f"phantom/chest-ct/{seed}/{patients}"
    series: list[Row] = []
    lesions: list[Row] = []

    def write(role: Role) -> tuple[Row, list[Row]]:
        return _write_patient(out, role, root, seed)

    # Threads: the work is done in compiled code and transforms, which let go of the interpreter.
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        roles = sample_roles(patients=patients, seed=seed)
        for done, (row, found) in enumerate(pool.map(write, roles), start=1):
            series.append(row)
            lesions += found
            if progress is not None:
                progress(done, patients)
    write_whole(out / "README.txt", _readme(patients=patients, seed=seed).encode())
    write_whole(out / ANNOTATIONS, table_of(LESION_COLUMNS, lesions).encode())
    write_whole(out / LABELS, table_of(SERIES_COLUMNS, series).encode())
    return out / LABELS


def _write_patient(out: Path, role: Role, root: str, seed: int) -> tuple[Row, list[Row]]:
    scanner = SCANNERS[role.site]
    scan = take_scan(sample_anatomy(role, seed=seed), scanner, seed=seed)
    identity = SeriesIdentity(
        root=root,
        study_uid=stable_uid(root, role.number),
        series_uid=stable_uid(root, role.number, 1),
        frame_uid=stable_uid(root, role.number, "frame"),
    )
    folder = Path("dicom") / f"PHANTOM-{role.number:04d}" / role.examined.strftime("%Y%m%d")
    (out / folder).parent.mkdir(parents=True, exist_ok=True)
    # Under its final name a series is whole, even if the run is cut short.
    unfinished = (out / folder).with_name(folder.name + ".part")
    unfinished.mkdir()
    files = series_files(scan, role=role, scanner=scanner, identity=identity)
    for number, data in enumerate(files, start=1):
        (unfinished / f"{number:04d}.dcm").write_bytes(data)
    unfinished.rename(out / folder)
    mask = Path("masks") / f"{identity.series_uid}.nii.gz"
    write_nifti(out / mask, Volume(scan.mask[None], scan.affine, (), True))
    row = _series_row(role, scan, identity, folder, mask)
    return row, _lesion_rows(role, scan, identity, mask)


def _series_row(role: Role, scan: Scan, identity: SeriesIdentity, folder: Path, mask: Path) -> Row:
    scanner = SCANNERS[role.site]
    return {
        "patient_id": f"PHANTOM-{role.number:04d}",
        "study_uid": identity.study_uid,
        "series_uid": identity.series_uid,
        "folder": folder.as_posix(),
        "mask": mask.as_posix(),
        "age": role.age,
        "sex": role.sex,
        "site": role.site,
        "scanner": scanner.model,
        "kernel": scanner.kernel.name,
        "slice_mm": scanner.slice_mm,
        "pixel_mm": f"{scan.affine[0, 0]:.4f}",
        "nodules": len(scan.nodules),
        "largest_mm": f"{max((n.diameter_mm for n in scan.nodules), default=0.0):.2f}",
        "malignant": int(any(n.malignant for n in scan.nodules)),
    }


def _lesion_rows(role: Role, scan: Scan, identity: SeriesIdentity, mask: Path) -> list[Row]:
    return [
        {
            "seriesuid": identity.series_uid,
            "coordX": f"{x:.3f}",
            "coordY": f"{y:.3f}",
            "coordZ": f"{z:.3f}",
            "diameter_mm": f"{nodule.diameter_mm:.3f}",
            "density": nodule.density,
            "contact": nodule.contact,
            "spiculation": nodule.spiculation,
            "malignant": int(nodule.malignant),
            "patient": f"PHANTOM-{role.number:04d}",
            "site": role.site,
            "scanner": SCANNERS[role.site].model,
            "lobe": nodule.lobe,
            "solid_mm": f"{nodule.solid_mm:.3f}",
            "hu": f"{nodule.hu:.0f}",
            "mask": mask.as_posix(),
            "mask_label": label,
        }
        for label, (nodule, (x, y, z)) in enumerate(zip(scan.nodules, scan.centres_mm, strict=True), start=1)
    ]


def _readme(*, patients: int, seed: int) -> str:
    return (
        f"{NOTICE}\n\n"
        f"Simulated chest CT of {patients} people who do not exist, seed {seed}.\n"
        f"{LABELS}: one row a series; malignant is 1 where a nodule of it is.\n"
        f"{ANNOTATIONS}: one row a nodule: centre in LPS mm, diameter, kind, malignant.\n"
        "masks: the nodules of each series on its own grid, numbered as in the table.\n"
        "Of no use for any clinical purpose.\n"
    )
