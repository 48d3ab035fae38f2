"""The chest CT phantom: a seeded cohort written as DICOM series, with masks and the truth beside it.

`hu phantom chest-ct --out DIR` writes it, one visit a patient; `visits=2` adds the one months later. The
images are simulated; no patient was ever imaged.

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

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hounsfield.applications.chest_ct.cohort import Patient, Role, sample_anatomy, sample_roles
from hounsfield.applications.chest_ct.dicom_file import SeriesIdentity, series_files
from hounsfield.applications.chest_ct.scan import Scan, take_scan
from hounsfield.applications.chest_ct.scanners import SCANNERS
from hounsfield.applications.chest_ct.visits import Visit, visits_of
from hounsfield.applications.phantom_files import NOTICE, require_fresh, stable_uid, write_whole
from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io.csv_text import table_of
from hounsfield.io.nifti_write import write_nifti

__all__ = [
    "ANNOTATIONS",
    "FEWEST_PATIENTS",
    "LABELS",
    "LESION_COLUMNS",
    "MOST_PATIENTS",
    "SERIES_COLUMNS",
    "VISIT_LESION_COLUMNS",
    "VISIT_SERIES_COLUMNS",
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

VISIT_SERIES_COLUMNS = (*SERIES_COLUMNS, "visit", "date", "interval_days")
VISIT_LESION_COLUMNS = (
    *LESION_COLUMNS,
    "visit",
    "date",
    "nodule",
    "volume_mm3",
    "doubling_days",
    "fate",
)

Row = dict[str, str | int | float]


def write_cohort(
    out: Path,
    *,
    patients: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    visits: int = 1,
) -> Path:
    """Write a cohort, one series a patient and visit, into `out`; returns the path of `labels.csv`.

    `dicom/` holds the series, `masks/SERIES.nii.gz` the nodules of each on its own grid (label 1, 2, …; 0 is
    none). `annotations.csv` has a row a nodule, its first five columns those of LUNA16: series, centre in
    LPS mm, diameter (of a sphere of equal volume). `labels.csv` has a row a series, `malignant` 1 where a
    nodule of it is. The same arguments write the same bytes. `progress` gets the patients done and their
    number. Raises BadInput for an impossible number or a folder in use.

    With `visits` 2 every patient comes again after 90 to 270 days, and the tables have more columns: visit,
    date, in a row a nodule which of the patient's it is at both visits (`nodule`), its true volume, what
    becomes of it (`fate`: stable, grown, shrunk, gone, new) and its true volume doubling time in days
    (negative where it shrinks, empty where it is neither). The series of the first visit are those of one
    visit.

    >>> write_cohort(Path("study"), patients=1)
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: 1 phantom patients: expected 2 to 9999, ...
    """
    if visits not in (1, 2):
        raise BadInput(f"{visits} visits a patient: expected 1 or 2; choose one of them.")
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

    def write(role: Role) -> list[tuple[Row, list[Row]]]:
        return _write_patient(out, role, root, seed=seed, visits=visits)

    # Threads: the work is done in compiled code and transforms, which let go of the interpreter.
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        roles = sample_roles(patients=patients, seed=seed)
        for done, written in enumerate(pool.map(write, roles), start=1):
            for row, found in written:
                series.append(row)
                lesions += found
            if progress is not None:
                progress(done, patients)
    of_nodules, of_series = LESION_COLUMNS, SERIES_COLUMNS
    if visits == 2:
        of_nodules, of_series = VISIT_LESION_COLUMNS, VISIT_SERIES_COLUMNS
    write_whole(out / "README.txt", _readme(patients=patients, seed=seed, visits=visits).encode())
    write_whole(out / ANNOTATIONS, table_of(of_nodules, lesions).encode())
    write_whole(out / LABELS, table_of(of_series, series).encode())
    return out / LABELS


def _write_patient(
    out: Path, role: Role, root: str, *, seed: int, visits: int
) -> list[tuple[Row, list[Row]]]:
    patient = sample_anatomy(role, seed=seed)
    if visits == 1:
        return [_write_series(out, patient, 1, root, seed)]
    written = []
    for visit in visits_of(patient, seed=seed):
        row, lesions = _write_series(out, visit.patient, visit.number, root, seed)
        when: Row = {"visit": visit.number, "date": visit.patient.role.examined.isoformat()}
        truth = _courses(visit)
        lesions = [own | when | course for own, course in zip(lesions, truth, strict=True)]
        written.append((row | when | {"interval_days": visit.days}, lesions))
    return written


def _courses(visit: Visit) -> list[Row]:
    return [
        {
            "nodule": f"PHANTOM-{visit.patient.role.number:04d}-{course.number}",
            "volume_mm3": f"{math.pi / 6 * nodule.diameter_mm**3:.3f}",
            "doubling_days": "" if course.doubling_days is None else f"{course.doubling_days:.2f}",
            "fate": course.fate,
        }
        for nodule, course in zip(visit.patient.nodules, visit.followed, strict=True)
    ]


def _write_series(out: Path, patient: Patient, visit: int, root: str, seed: int) -> tuple[Row, list[Row]]:
    role = patient.role
    scanner = SCANNERS[role.site]
    scan = take_scan(patient, scanner, seed=seed, visit=visit)
    later = () if visit == 1 else (f"visit {visit}",)
    identity = SeriesIdentity(
        root=root,
        study_uid=stable_uid(root, role.number, *later),
        series_uid=stable_uid(root, role.number, visit),
        frame_uid=stable_uid(root, role.number, "frame", *later),
        visit=visit,
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


def _readme(*, patients: int, seed: int, visits: int) -> str:
    twice = "Each of them comes twice: column visit; nodule is the same at both.\n" if visits == 2 else ""
    return (
        f"{NOTICE}\n\n"
        f"Simulated chest CT of {patients} people who do not exist, seed {seed}.\n"
        f"{LABELS}: one row a series; malignant is 1 where a nodule of it is.\n"
        f"{ANNOTATIONS}: one row a nodule: centre in LPS mm, diameter, kind, malignant.\n"
        "masks: the nodules of each series on its own grid, numbered as in the table.\n"
        f"{twice}"
        "Of no use for any clinical purpose.\n"
    )
