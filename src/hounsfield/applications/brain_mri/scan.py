"""One person at one visit in one scanner: the image, the truth on its own grid, and the true volumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from hounsfield.applications.brain_mri.atrophy import loss_after, moved
from hounsfield.applications.brain_mri.cohort import Patient
from hounsfield.applications.brain_mri.lesions import lesions_at
from hounsfield.applications.brain_mri.scanners import GRAINS, Scanner, image_of, values_of
from hounsfield.applications.brain_mri.scene import Scene, View, measured, scene_of, seen
from hounsfield.applications.brain_mri.shapes import Floats
from hounsfield.applications.brain_mri.tissue import BRAIN, GREY, WHITE

__all__ = ["Truth", "Visit", "percentage_change", "take_visit", "take_visits", "true_volumes"]

Doubles = npt.NDArray[np.float64]
_AXES = {  # directions of a row (i), a column (j) and the slices (k) in the patient
    "sagittal": [[0, 1, 0], [0, 0, -1], [-1, 0, 0]],
    "axial": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "coronal": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
}
_MIDDLE = np.array([0.0, 10.0, -1.0])  # of the field of view, from the head's origin, in LPS mm
_FIELD_MM = 208.0  # the width that a cube of any matrix sees at least
_TURN_DEGREES, _SHIFT_MM = 8.0, 12.0


@dataclass(frozen=True)
class Truth:
    """True volumes in ml, of the head and not of the image. `brain_ml`: grey and white matter without CSF."""

    brain_ml: float
    grey_ml: float
    white_ml: float
    csf_ml: float
    ventricles_ml: float
    hippocampus_left_ml: float
    hippocampus_right_ml: float
    lesion_ml: float


@dataclass(frozen=True)
class Visit:
    """Image and labels (K, J, I); parts of CSF, grey, white and lesion (4, K, J, I); affine to LPS mm.

    Labels are FreeSurfer's numbers (`tissue.LABELS`). `head_to_lps` takes the place of a point in the head
    to LPS mm, as far as the gradients are straight; where they are not, the image shows it elsewhere.
    """

    image: npt.NDArray[np.uint16]
    labels: npt.NDArray[np.uint8]
    parts: Floats
    affine: Doubles
    head_to_lps: Doubles
    truth: Truth
    years: float
    day: date
    age: float
    scanner: Scanner
    rescan: bool


def percentage_change(first: Truth, second: Truth) -> float:
    """The percentage brain volume change from one visit to another; negative for a loss.

    >>> one = Truth(1000.0, 600.0, 400.0, 300.0, 30.0, 3.0, 3.0, 0.0)
    >>> from dataclasses import replace
    >>> round(percentage_change(one, replace(one, brain_ml=990.0)), 6)
    -1.0
    """
    return 100.0 * (second.brain_ml / first.brain_ml - 1.0)


def scene_at(patient: Patient, years: float) -> Scene:
    """The head so many years after the first visit."""
    loss = loss_after(patient.role.course, years)
    return scene_of(
        patient.head,
        patient.brain,
        move=moved(patient.brain, loss) if years > 0 else None,
        lesions=lesions_at(patient.lesions, years),
        recede_mm=loss.cortex_mm,
    )


def true_volumes(patient: Patient, scene: Scene, *, step_mm: float = 1.25, side: int = 0) -> Truth:
    """The volumes of a head, summed over a grid of that step (see `scene.measured`).

    At the default a change of 2 % is right to about 0.01 %.
    """
    found = measured(scene, step_mm=step_mm, side=side)
    ml = float(np.prod(patient.scale)) / 1000.0
    total = {name: float(both.sum()) * ml for name, both in found.items()}
    left, right = (float(v) * ml for v in found["hippocampus"])
    return Truth(
        brain_ml=sum(total[name] for name in BRAIN),
        grey_ml=sum(total[name] for name in GREY),
        white_ml=sum(total[name] for name in WHITE),
        csf_ml=total["csf"] + total["ventricle"],
        ventricles_ml=total["ventricle"],
        hippocampus_left_ml=left,
        hippocampus_right_ml=right,
        lesion_ml=total["lesion"],
    )


def take_visit(patient: Patient, number: int, *, seed: int, matrix: int | None = None) -> Visit:
    """The visit of that number, from 0; `seed` fixes how the patient lay, the coil and the noise.

    `matrix` asks for a cube of so many voxels a side instead of the scanner's own matrix: of 1 mm where they
    cover 208 mm, else larger.

    >>> from hounsfield.applications.brain_mri.cohort import sample_patient
    >>> patient = sample_patient(seed=0, annual_loss=0.02, years=(0.0, 1.0))
    >>> first, second = (take_visit(patient, n, seed=0, matrix=32) for n in (0, 1))
    >>> first.image.shape, -3 < percentage_change(first.truth, second.truth) < -1
    ((32, 32, 32), True)
    """
    scene = scene_at(patient, patient.role.appointments[number].years)
    return _acquired(patient, number, scene, true_volumes(patient, scene), seed=seed, matrix=matrix)


def take_visits(patient: Patient, *, seed: int, matrix: int | None = None) -> Iterator[Visit]:
    """All visits in their order; a rescan sees the very head of the scan before it."""
    scene: Scene | None = None
    truth: Truth | None = None
    for number, appointment in enumerate(patient.role.appointments):
        if scene is None or truth is None or not appointment.rescan:
            scene = scene_at(patient, appointment.years)
            truth = true_volumes(patient, scene)
        yield _acquired(patient, number, scene, truth, seed=seed, matrix=matrix)


def _acquired(
    patient: Patient, number: int, scene: Scene, truth: Truth, *, seed: int, matrix: int | None
) -> Visit:
    role = patient.role
    appointment = role.appointments[number]
    scanner = appointment.scanner
    rng = np.random.default_rng([seed, 23, role.number, number])
    turn, place = _pose(rng)
    affine, shape = _grid(rng, scanner, place, matrix)
    scale = np.array(patient.scale)
    to_head = np.diag([1.0, -1.0, 1.0]) @ np.diag(1.0 / scale) @ turn.T
    view = View(affine[:3], np.array(scanner.distortion), np.column_stack([to_head, -to_head @ place]))
    age = role.age + appointment.years
    voxels = seen(scene, view, shape, values=values_of(scanner, age=age), grains=GRAINS)
    head_to_lps = np.eye(4)
    head_to_lps[:3, :3], head_to_lps[:3, 3] = turn, place
    return Visit(
        image=image_of(voxels.intensity, scanner, rng),
        labels=voxels.labels,
        parts=voxels.parts,
        affine=affine,
        head_to_lps=head_to_lps,
        truth=truth,
        years=appointment.years,
        day=role.first + timedelta(days=round(appointment.years * 365.25)),
        age=age,
        scanner=scanner,
        rescan=appointment.rescan,
    )


def _pose(rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    axis = rng.standard_normal(3)
    angle = np.radians(rng.uniform(0, _TURN_DEGREES)) / np.linalg.norm(axis)
    way = rng.standard_normal(3)
    place = way / np.linalg.norm(way) * rng.uniform(0, _SHIFT_MM)
    turn: Doubles = Rotation.from_rotvec(axis * angle).as_matrix()
    return turn, place


def _grid(
    rng: np.random.Generator, scanner: Scanner, place: Doubles, matrix: int | None
) -> tuple[Doubles, tuple[int, int, int]]:
    # The field of view is laid about the head, to some millimetres; its axes stand straight in the scanner.
    shape = scanner.matrix if matrix is None else (matrix, matrix, matrix)
    voxel = scanner.voxel_mm if matrix is None else max(1.0, _FIELD_MM / matrix)
    affine = np.eye(4)
    affine[:3, :3] = np.array(_AXES[scanner.plane], float).T * voxel
    middle = np.round(place + _MIDDLE + rng.uniform(-2.0, 2.0, 3), 1)
    half = (np.array(shape[::-1]) - 1) / 2
    affine[:3, 3] = np.round(middle - affine[:3, :3] @ half, 4)
    return affine, shape
