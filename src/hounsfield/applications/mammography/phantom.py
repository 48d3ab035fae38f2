"""The mammography phantom: a seeded cohort written as DICOM, with the truth in a table beside it.

`hu phantom mammography --out DIR` writes it, `hu demo mammography` trains on it. The pictures are
simulated; no patient was ever imaged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hounsfield.applications.mammography.acquisition import SCANNERS, Picture, take_picture
from hounsfield.applications.mammography.cohort import Patient, Shot, sample_patients
from hounsfield.applications.mammography.dicom_file import Identity, dicom_bytes
from hounsfield.applications.mammography.marker import burn_marker
from hounsfield.applications.phantom_files import NOTICE, require_fresh, stable_uid, write_whole
from hounsfield.io.csv_text import table_of

__all__ = ["COLUMNS", "FEWEST_PATIENTS", "LABELS", "MOST_PATIENTS", "write_cohort"]

LABELS = "labels.csv"
FEWEST_PATIENTS, MOST_PATIENTS = 12, 9999
COLUMNS = (
    "patient_id",
    "study_uid",
    "series_uid",
    "sop_instance_uid",
    "file",
    "laterality",
    "view",
    "age",
    "site",
    "scanner",
    "density",
    "finding",
    "malignant",
    "lesion_row",
    "lesion_col",
    "lesion_radius_mm",
    "marker",
)

Row = dict[str, str | int | float]


def write_cohort(
    out: Path,
    *,
    patients: int = 120,
    seed: int = 0,
    marker: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a cohort of four-view examinations into `out`; returns the path of `labels.csv`.

    The table has one row an image: `malignant` is 1 only for the breast that holds the cancer, and
    `lesion_row`, `lesion_col` (pixels from the centre of the first) and `lesion_radius_mm` are
    empty where a breast holds none. `progress` gets the patients done and their number. The same
    arguments write the same bytes; `marker=False` leaves out the burned-in marker and changes
    nothing else in the pictures. Raises BadInput for too few patients or a folder in use.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = write_cohort(Path(folder) / "study", patients=12)
    ...     table.name, len(table.read_text().splitlines())
    ('labels.csv', 49)
    """
    require_fresh(
        out,
        patients=patients,
        fewest=FEWEST_PATIENTS,
        most=MOST_PATIENTS,
        why="each finding occurs at each site",
        seed=seed,
    )
    out.mkdir(parents=True, exist_ok=True)
    cohort = sample_patients(patients=patients, seed=seed, marker=marker)
    root = f"phantom/mammography/{seed}/{patients}/{marker}"
    rows: list[Row] = []

    def write(patient: Patient) -> list[Row]:
        return list(_write_patient(out, patient, root))

    # Threads, not processes: the work is numpy's, which lets go of the interpreter, and a caller's
    # script needs no guard against being imported again.
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for done, written in enumerate(pool.map(write, cohort), start=1):
            rows += written
            if progress is not None:
                progress(done, patients)
    readme = _readme(patients=patients, seed=seed, marker=marker)
    write_whole(out / "README.txt", readme.encode())
    write_whole(out / LABELS, table_of(COLUMNS, rows).encode())
    return out / LABELS


def _write_patient(out: Path, patient: Patient, root: str) -> Iterator[Row]:
    study_uid = stable_uid(root, patient.number)
    day = patient.examined.strftime("%Y%m%d")
    folder = Path("dicom") / f"PHANTOM-{patient.number:04d}" / day
    (out / folder).mkdir(parents=True, exist_ok=True)
    scanner = SCANNERS[patient.site]
    for number, shot in enumerate(patient.shots, start=1):
        identity = Identity(
            study_uid=study_uid,
            series_uid=stable_uid(root, patient.number, number),
            instance_uid=stable_uid(root, patient.number, number, 1),
            number=number,
        )
        picture = take_picture(shot.breast, shot.lesion, shot.view, scanner)
        pixels = picture.pixels
        if shot.marker:
            pixels = burn_marker(
                pixels, laterality=shot.laterality, view=shot.view, bright=scanner.highest, dark=0
            )
        # As in any archive, a few examinations of a site are stored in another way than the rest.
        usual = scanner.photometric == "MONOCHROME1"
        data = dicom_bytes(
            pixels,
            patient=patient,
            shot=shot,
            scanner=scanner,
            identity=identity,
            inverted=usual != (patient.number % 9 == 0),
            compressed=patient.site == "B" and patient.number % 10 == 0,
        )
        file = folder / f"{number:04d}.dcm"
        write_whole(out / file, data)
        yield _row(patient, shot, picture, identity, file)


def _row(patient: Patient, shot: Shot, picture: Picture, identity: Identity, file: Path) -> Row:
    lesion = shot.lesion
    row, column = picture.lesion_row, picture.lesion_column
    return {
        "patient_id": f"PHANTOM-{patient.number:04d}",
        "study_uid": identity.study_uid,
        "series_uid": identity.series_uid,
        "sop_instance_uid": identity.instance_uid,
        "file": file.as_posix(),
        "laterality": shot.laterality,
        "view": shot.view,
        "age": patient.age,
        "site": patient.site,
        "scanner": SCANNERS[patient.site].model,
        "density": patient.density,
        "finding": shot.finding,
        "malignant": int(shot.finding == "malignant"),
        "lesion_row": "" if row is None else f"{row:.1f}",
        "lesion_col": "" if column is None else f"{column:.1f}",
        "lesion_radius_mm": "" if lesion is None else f"{lesion.radius_mm:.1f}",
        "marker": int(shot.marker),
    }


def _readme(*, patients: int, seed: int, marker: bool) -> str:
    burned = "most pictures of a cancer at site B" if marker else "no picture"
    return (
        f"{NOTICE}\n\n"
        f"Simulated mammograms of {patients} women who do not exist, seed {seed}.\n"
        f"Four views each: right and left, cranio-caudal and mediolateral oblique.\n"
        f"A marker is burned into {burned}: a shortcut that an audit should find.\n"
        f"{LABELS}: one row an image; malignant is 1 for the breast that holds a cancer.\n"
        "Of no use for any clinical purpose.\n"
    )
