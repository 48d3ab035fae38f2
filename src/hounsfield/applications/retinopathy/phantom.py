"""The retinopathy phantom: a seeded cohort of fundus photographs written as DICOM, the truth beside it.

`hu phantom retinopathy --out DIR` writes it. The photographs are simulated; no eye was ever photographed.

What it cannot show: other diseases (drusen, macular degeneration, glaucoma, occlusions, high myopia, scars,
laser burns, gliosis and detachment); macular oedema, which needs stereo or tomography; lesions and vessels
finer than about 25 micrometres; the retina beyond the posterior pole, so that the 4-2-1 rule is applied to
the quadrants of one photograph; more than one photograph an eye. Haemorrhages are darker and rounder than in
people, microaneurysms larger (60 to 110 micrometres), new vessels are fronds of one kind, and each lesion of
a grade can be seen, so that no reader would doubt as they do at the limits of grades. Colour depends on some
ten numbers a person. So a score on it says that a method works as built, and nothing of how it does in
patients.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hounsfield.applications.phantom_files import NOTICE, require_fresh, stable_uid, write_whole
from hounsfield.applications.retinopathy.cameras import CAMERAS
from hounsfield.applications.retinopathy.cohort import GRADES, Patient, Shot, sample_patients
from hounsfield.applications.retinopathy.dicom_file import Identity, dicom_bytes
from hounsfield.applications.retinopathy.lesions import KINDS
from hounsfield.applications.retinopathy.photograph import Photograph, take_photograph
from hounsfield.io.csv_text import table_of

__all__ = [
    "COLUMNS",
    "FEWEST_PATIENTS",
    "LABELS",
    "LESION_MASKS",
    "MOST_PATIENTS",
    "VESSEL_MASKS",
    "write_cohort",
]

LABELS = "labels.csv"
VESSEL_MASKS, LESION_MASKS = "vessel_masks", "lesion_masks"
FEWEST_PATIENTS, MOST_PATIENTS = 12, 9999
REFERABLE = 2
"""From moderate non-proliferative retinopathy a patient is referred (Gulshan et al., JAMA 2016;316:2402);
macular oedema, which refers too, is not simulated."""

COLUMNS = (
    "patient_id", "study_uid", "series_uid", "sop_instance_uid", "file", "eye", "grade", "grade_name",
    "referable", "gradable", "fault", "age", "sex", "site", "camera", "diabetes_years", "microaneurysms",
    "haemorrhages", "exudates", "cotton_wool_spots", "beaded_quadrants", "irma", "new_vessels",
    "preretinal", "vitreous", "fovea_row", "fovea_col", "disc_row", "disc_col",
)  # fmt: skip

Row = dict[str, str | int | float]


def write_cohort(
    out: Path,
    *,
    patients: int = 300,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write both eyes of each patient into `out`; returns the path of `labels.csv`, a row a photograph.

    `grade` is 0 to 4, `referable` 1 from grade 2, `gradable` 0 where `fault` spoils the photograph (the grade
    is then that of the eye, which nobody could tell). `vessel_masks/SERIES.png` holds 1 for arteries, 2 for
    veins, `lesion_masks/SERIES.png` the number of the kind in `lesions.KINDS` from 1. The same arguments
    write the same bytes. `progress` gets the patients done and their number. Raises BadInput for an
    impossible number or a folder in use.

    >>> write_cohort(Path("study"), patients=1)
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: 1 phantom patients: expected 12 to 9999, ...
    """
    require_fresh(
        out,
        patients=patients,
        fewest=FEWEST_PATIENTS,
        most=MOST_PATIENTS,
        why="each camera has some",
        seed=seed,
    )
    for folder in ("dicom", VESSEL_MASKS, LESION_MASKS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    root = f"phantom/retinopathy/{seed}/{patients}"
    rows: list[Row] = []

    def write(patient: Patient) -> list[Row]:
        return list(_write_patient(out, patient, root, seed))

    # Threads: the work is done in compiled code, which lets go of the interpreter.
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        cohort = sample_patients(patients=patients, seed=seed)
        for done, written in enumerate(pool.map(write, cohort), start=1):
            rows += written
            if progress is not None:
                progress(done, patients)
    write_whole(out / "README.txt", _readme(patients=patients, seed=seed).encode())
    write_whole(out / LABELS, table_of(COLUMNS, rows).encode())
    return out / LABELS


def _write_patient(out: Path, patient: Patient, root: str, seed: int) -> Iterator[Row]:
    folder = Path("dicom") / f"PHANTOM-{patient.number:04d}" / patient.examined.strftime("%Y%m%d")
    (out / folder).mkdir(parents=True, exist_ok=True)
    for number, shot in enumerate(patient.shots, start=1):
        identity = Identity(
            study_uid=stable_uid(root, patient.number),
            series_uid=stable_uid(root, patient.number, number),
            instance_uid=stable_uid(root, patient.number, number, 1),
            frame_uid=stable_uid(root, patient.number, "clock"),
            number=number,
        )
        photograph = take_photograph(
            shot.anatomy,
            CAMERAS[patient.site],
            grade=shot.grade,
            fault=shot.fault,
            seed=(seed, 23, patient.number, number),
        )
        file = folder / f"{number:04d}.dcm"
        write_whole(out / file, dicom_bytes(photograph, patient=patient, shot=shot, identity=identity))
        for where, mask in ((VESSEL_MASKS, photograph.vessels), (LESION_MASKS, photograph.lesions)):
            write_whole(out / where / f"{identity.series_uid}.png", _png(mask))
        yield _row(patient, shot, photograph, identity, file)


def _png(mask: npt.NDArray[np.uint8]) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_COMPRESSION, 4])[1])


def _row(patient: Patient, shot: Shot, photograph: Photograph, identity: Identity, file: Path) -> Row:
    lesion = photograph.lesion
    (fovea_col, fovea_row), (disc_col, disc_row) = photograph.field.pixels(
        np.array([(0.0, 0.0), shot.anatomy.disc_mm])
    )
    return {
        "patient_id": f"PHANTOM-{patient.number:04d}",
        "study_uid": identity.study_uid,
        "series_uid": identity.series_uid,
        "sop_instance_uid": identity.instance_uid,
        "file": file.as_posix(),
        "eye": shot.eye,
        "grade": shot.grade,
        "grade_name": GRADES[shot.grade],
        "referable": int(shot.grade >= REFERABLE),
        "gradable": int(not shot.fault),
        "fault": shot.fault,
        "age": patient.age,
        "sex": patient.sex,
        "site": patient.site,
        "camera": CAMERAS[patient.site].model,
        "diabetes_years": patient.diabetes_years,
        "microaneurysms": len(lesion.microaneurysms),
        "haemorrhages": len(lesion.haemorrhages),
        "exudates": len(lesion.exudates),
        "cotton_wool_spots": len(lesion.cotton_wool),
        "beaded_quadrants": len(lesion.beading),
        "irma": int(len(lesion.irma) > 0),
        "new_vessels": int(len(lesion.new_vessels) > 0),
        "preretinal": len(lesion.preretinal),
        "vitreous": int(lesion.vitreous > 0),
        "fovea_row": f"{fovea_row:.1f}",
        "fovea_col": f"{fovea_col:.1f}",
        "disc_row": f"{disc_row:.1f}",
        "disc_col": f"{disc_col:.1f}",
    }


def _readme(*, patients: int, seed: int) -> str:
    kinds = ", ".join(f"{number} {name}" for number, name in enumerate(KINDS, start=1))
    return (
        f"{NOTICE}\n\n"
        f"Simulated fundus photographs of {patients} people who do not exist, both eyes, seed {seed}.\n"
        f"{LABELS}: one row a photograph; grade 0 to 4 of the International Clinical scale.\n"
        f"{VESSEL_MASKS}: 1 artery, 2 vein, named by Series Instance UID.\n"
        f"{LESION_MASKS}: {kinds}.\n"
        "Of no use for any clinical purpose.\n"
    )
