"""The brain MRI phantom: a seeded cohort over several visits written as DICOM series, the truth beside it.

`hu phantom atrophy --out DIR` writes it. The images are simulated; no patient was ever imaged.

A head is a set of continuous functions, and a visit evaluates them at the scanner's voxels: in its own pose,
with what was lost since the first visit, through gradients that are not quite straight. No image is made
from another by resampling. The true volumes are sums over the head itself, not over an image.

What it cannot show: the folds of anybody (sulci lie where a random field is zero; none has a name but the
longitudinal and the Sylvian fissure), layers of the cortex, veins, arteries, dura and choroid plexus, the
inner structure of nuclei and brainstem, tracts; motion, ghosts, ringing, wrap, metal, contrast medium; T2 or
FLAIR; a head seen only in part; asymmetric or focal loss other than of the hippocampi; strokes, tumours,
oedema; swelling by hydration or drugs. Tissue has one value a scanner, with a little grain, and loss follows
one smooth pattern with three amounts. So a score on it says that a method measures what it should where the
truth is known, and nothing of how it does in patients.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hounsfield.applications.brain_mri.cohort import Role, sample_anatomy, sample_roles
from hounsfield.applications.brain_mri.dicom_file import SeriesIdentity, series_files
from hounsfield.applications.brain_mri.scan import Truth, Visit, percentage_change, take_visits
from hounsfield.applications.phantom_files import NOTICE, require_fresh, stable_uid, write_whole
from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io.csv_text import table_of
from hounsfield.io.nifti_write import write_nifti

__all__ = ["COLUMNS", "FEWEST_MATRIX", "FEWEST_PATIENTS", "LABELS", "MOST_PATIENTS", "write_cohort"]

LABELS = "labels.csv"
FEWEST_PATIENTS, MOST_PATIENTS = 3, 9999
FEWEST_MATRIX, MOST_MATRIX = 16, 512
COLUMNS = (
    "patient_id",
    "study_uid",
    "series_uid",
    "folder",
    "mask",
    "lesion_mask",
    "visit",
    "date",
    "years",
    "rescan",
    "age",
    "sex",
    "site",
    "scanner",
    "field_tesla",
    "protocol",
    "diagnosis",
    "brain_ml",
    "grey_ml",
    "white_ml",
    "csf_ml",
    "ventricles_ml",
    "hippocampus_left_ml",
    "hippocampus_right_ml",
    "lesion_ml",
    "pbvc_from_first",
    "annual_pbvc",
)

Row = dict[str, str | int | float]
_LESION = 77


def write_cohort(
    out: Path,
    *,
    patients: int = 60,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    matrix: int | None = None,
) -> Path:
    """Write a cohort, one series a visit, into `out`; returns the path of `labels.csv`.

    `dicom/` holds the series, `masks/SERIES.nii.gz` the labels of each on its own grid, numbered as
    FreeSurfer numbers them, `lesions/SERIES.nii.gz` the lesions alone. `labels.csv` has a row a visit:
    volumes in ml, the percentage brain volume change since the first visit and that a year (empty on the day
    of the first). The same arguments write the same bytes on one kind of processor. `matrix` asks for cubes
    of so many voxels a side instead of the scanners' own. `progress` gets the patients done and their number.
    Raises BadInput for an impossible number or a folder in use.

    >>> write_cohort(Path("study"), patients=1)
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: 1 phantom patients: expected 3 to 9999, ...
    """
    require_fresh(
        out,
        patients=patients,
        fewest=FEWEST_PATIENTS,
        most=MOST_PATIENTS,
        why="each diagnosis has one",
        seed=seed,
    )
    if matrix is not None and not FEWEST_MATRIX <= matrix <= MOST_MATRIX:
        raise BadInput(
            f"a matrix of {matrix} voxels: expected {FEWEST_MATRIX} to {MOST_MATRIX};"
            " choose one in that range."
        )
    for folder in ("dicom", "masks", "lesions"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    root = f"phantom/brain-mri/{seed}/{patients}/{matrix or 'own'}"
    rows: list[Row] = []

    def write(role: Role) -> list[Row]:
        return _write_patient(out, role, root, seed, matrix)

    # Threads: the work is done in compiled code and transforms, which let go of the interpreter.
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        roles = sample_roles(patients=patients, seed=seed)
        for done, found in enumerate(pool.map(write, roles), start=1):
            rows += found
            if progress is not None:
                progress(done, patients)
    write_whole(out / "README.txt", _readme(patients=patients, seed=seed).encode())
    write_whole(out / LABELS, table_of(COLUMNS, rows).encode())
    return out / LABELS


def _write_patient(out: Path, role: Role, root: str, seed: int, matrix: int | None) -> list[Row]:
    patient = sample_anatomy(role, seed=seed)
    first: Truth | None = None
    rows = []
    for number, visit in enumerate(take_visits(patient, seed=seed, matrix=matrix), start=1):
        first = first or visit.truth
        identity = SeriesIdentity(
            root=root,
            visit=number,
            study_uid=stable_uid(root, role.number, visit.day.isoformat()),
            series_uid=stable_uid(root, role.number, number),
            # After repositioning nothing says where one scan lies in another, so a frame is a scan's own.
            frame_uid=stable_uid(root, role.number, number, "frame"),
        )
        rows.append(_write_visit(out, role, visit, identity, first))
    return rows


def _write_visit(out: Path, role: Role, visit: Visit, identity: SeriesIdentity, first: Truth) -> Row:
    name = visit.day.strftime("%Y%m%d") + ("-rescan" if visit.rescan else "")
    folder = Path("dicom") / f"PHANTOM-{role.number:04d}" / name
    (out / folder).parent.mkdir(parents=True, exist_ok=True)
    # Under its final name a series is whole, even if the run is cut short.
    unfinished = (out / folder).with_name(folder.name + ".part")
    unfinished.mkdir()
    for number, data in enumerate(series_files(visit, role=role, identity=identity), start=1):
        (unfinished / f"{number:04d}.dcm").write_bytes(data)
    unfinished.rename(out / folder)
    masks = [Path(kind) / f"{identity.series_uid}.nii.gz" for kind in ("masks", "lesions")]
    lesions = (visit.labels == _LESION).astype(np.uint8)
    for path, values in zip(masks, (visit.labels, lesions), strict=True):
        write_nifti(out / path, Volume(values[None], visit.affine, (), True))
    change = percentage_change(first, visit.truth)
    truth = visit.truth
    return {
        "patient_id": f"PHANTOM-{role.number:04d}",
        "study_uid": identity.study_uid,
        "series_uid": identity.series_uid,
        "folder": folder.as_posix(),
        "mask": masks[0].as_posix(),
        "lesion_mask": masks[1].as_posix(),
        "visit": identity.visit,
        "date": visit.day.isoformat(),
        "years": f"{visit.years:.4f}",
        "rescan": int(visit.rescan),
        "age": f"{visit.age:.2f}",
        "sex": role.sex,
        "site": visit.scanner.site,
        "scanner": visit.scanner.model,
        "field_tesla": visit.scanner.field_tesla,
        "protocol": visit.scanner.protocol,
        "diagnosis": role.diagnosis,
        "brain_ml": f"{truth.brain_ml:.4f}",
        "grey_ml": f"{truth.grey_ml:.4f}",
        "white_ml": f"{truth.white_ml:.4f}",
        "csf_ml": f"{truth.csf_ml:.4f}",
        "ventricles_ml": f"{truth.ventricles_ml:.4f}",
        "hippocampus_left_ml": f"{truth.hippocampus_left_ml:.5f}",
        "hippocampus_right_ml": f"{truth.hippocampus_right_ml:.5f}",
        "lesion_ml": f"{truth.lesion_ml:.5f}",
        "pbvc_from_first": f"{change:.5f}",
        "annual_pbvc": f"{change / visit.years:.5f}" if visit.years > 0 else "",
    }


def _readme(*, patients: int, seed: int) -> str:
    return (
        f"{NOTICE}\n\n"
        f"Simulated T1-weighted brain MRI of {patients} people who do not exist, seed {seed}.\n"
        f"{LABELS}: one row a visit: true volumes in ml, and the brain's true change of volume in per cent.\n"
        "masks: tissues and structures of each series on its own grid, numbered as FreeSurfer numbers them.\n"
        "lesions: the lesions of the white matter alone.\n"
        "Of no use for any clinical purpose.\n"
    )
