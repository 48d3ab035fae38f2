"""A patient of ellipsoids over visits: what changed is known, and what is wrong with a scan is said."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.steps.brain import course as course_module
from hounsfield.steps.brain import extract
from hounsfield.steps.brain.course import BrainCourse, measure_patient
from hounsfield.steps.brain.differences import boundary_shift
from hounsfield.steps.brain.error_bar import SEEN
from hounsfield.steps.brain.halfway import brought_halfway, lay
from hounsfield.steps.brain.lesions_change import lesions_change
from hounsfield.steps.brain.scan import BrainVisit
from hounsfield.steps.brain.visit import Measured, measure_visit
from steps.brain.made_head import GREY, made_image, visit_of

FIRST, SECOND = date(2020, 1, 1), date(2021, 1, 1)
SHRUNK = 0.99
Bools = NDArray[np.bool_]


@pytest.fixture(scope="module")
def measured() -> tuple[Measured, Measured]:
    """A head, and the same a year later: turned, its brain 1 % smaller along every axis."""
    later = made_image(seed=2, turn_degrees=(4, -3, 5), shift_mm=(5, -4, 3), brain=SHRUNK)
    first, second = (measure_visit(visit_of(image), step_mm=2.0) for image in (made_image(seed=1), later))
    return first, second


@pytest.fixture(scope="module")
def course(measured: tuple[Measured, Measured]) -> BrainCourse:
    visits = [visit_of(m.image, day) for m, day in zip(measured[::-1], (SECOND, FIRST), strict=True)]
    known = {id(m.image): m for m in measured}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course_module, "measure_visit", lambda visit, **_: known[id(visit.t1)])
        return measure_patient(visits, step_mm=2.0)


def test_volumes_are_those_of_the_ellipsoids(course: BrainCourse) -> None:
    brain = 4 / 3 * np.pi * float(np.prod(GREY)) / 1000
    assert course.visits[0].volumes.brain_ml == pytest.approx(brain, rel=0.05)


def test_loss_of_brain_is_found_within_its_interval(course: BrainCourse) -> None:
    change = course.changes[0]
    # Nothing is hidden in clefts here: all of the change is seen, and more than it is told.
    truth = 100 * (SHRUNK**3 - 1)
    assert change.brain.low < truth / SEEN < change.brain.high
    assert abs(SEEN * change.brain.percent - truth) < 0.4
    assert change.per_year is not None
    assert change.per_year.percent == pytest.approx(change.brain.percent, rel=0.02)


def test_swapped_images_negate_the_change(measured: tuple[Measured, Measured], course: BrainCourse) -> None:
    laid = lay(measured[1], measured[0])
    back = boundary_shift(brought_halfway(measured[1], measured[0], laid, step_mm=2.0))
    assert back.brain == pytest.approx(-SEEN * course.changes[0].log_ratio, abs=2e-4)


def test_pictures_are_small_and_in_colour(course: BrainCourse) -> None:
    for picture in (*course.visits[0].pictures, course.changes[0].picture):
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.shape[2] == 3
        assert picture.pixels.max() > 100


def test_visits_in_swapped_order_are_put_right_and_said(course: BrainCourse) -> None:
    assert [v.day for v in course.visits] == [FIRST, SECOND]
    assert any("another order" in f for f in course.findings)


def test_a_part_of_the_brain_that_one_visit_lost_is_found_by_the_other(
    measured: tuple[Measured, Measured], course: BrainCourse
) -> None:
    first, second = measured
    lost = extract.brain_hull(second.head.data, second.head.step_mm)
    share = np.cumsum(lost.sum((1, 2))) / lost.sum()
    lost[share < 0.2] = False  # the lowest fifth
    made: list[tuple[bool, Measured]] = []

    def measure(visit: BrainVisit, *, step_mm: float, also: Bools | None = None) -> Measured:
        if visit.t1 is first.image:
            return first
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(extract, "brain_hull", lambda data, step_mm: lost)
            made.append((also is not None, measure_visit(visit, step_mm=step_mm, also=also)))
        return made[-1][1]

    visits = [visit_of(m.image, day) for m, day in zip(measured, (FIRST, SECOND), strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course_module, "measure_visit", measure)
        again = measure_patient(visits, step_mm=2.0, pictures=False)
    assert [helped for helped, _ in made] == [False, True]
    assert made[0][1].volumes.brain_ml < 0.9 * second.volumes.brain_ml
    assert again.changes[0].brain.percent == pytest.approx(course.changes[0].brain.percent, abs=0.3)
    assert again.visits[1].volumes.brain_ml == pytest.approx(second.volumes.brain_ml, rel=0.01)
    assert "Visit 2: a part of the brain was found with the help of another visit" in " ".join(again.findings)


def test_what_is_wrong_with_one_scan_is_said() -> None:
    whole = made_image(seed=3)
    cut = Volume(whole.data[:, : whole.data.shape[1] - 22], whole.affine, (), True)
    found = measure_patient([visit_of(cut, FIRST, contrast=True)], step_mm=2.0, pictures=False)
    assert found.changes == ()
    said = " ".join(found.findings)
    assert "top of the head is missing" in said
    assert "contrast agent" in said
    assert "change needs two" in said
    assert "brain_ml" in found.visits[0].unsafe[0].measures


def test_what_is_no_head_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 900, (1, 40, 40, 40)).astype(np.uint16)
    with pytest.raises(BadInput, match="brain"):
        measure_patient([visit_of(Volume(noise, np.diag([3.0, 3, 3, 1]), (), True))], step_mm=2.0)
    with pytest.raises(BadInput, match="no visit"):
        measure_patient([])


def test_a_new_lesion_is_found_and_an_old_one_is_not() -> None:
    old, new = (25, 20, 20, 5.0), (-28, -10, 15, 5.0)
    first = made_image(seed=4, spots=(old,))
    later = made_image(seed=6, shift_mm=(2, 1, -2), spots=(old, new))
    found = lesions_change(first, later, contrast="t1", step_mm=2.0)
    largest = max(found.lesions, key=lambda one: one.volume_mm3)
    assert largest.kind == "new"
    assert np.linalg.norm(np.array(largest.middle_mm) - (-26, -9, 13)) < 3.0
    for one in found.lesions:
        assert np.linalg.norm(np.array(one.middle_mm) - (27, 21, 18)) > 10.0
