"""Nodules followed through a patient's scans: a row each with growth, and patients who cannot be followed."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.applications.nodule.follow import follow_nodules
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.steps.nodules.malignancy import brock_probability
from hounsfield.steps.nodules.measure import NoduleMeasures
from hounsfield.steps.visits import Patient, Visit
from steps.nodules.chest import Ball, chest

pytestmark = pytest.mark.xdist_group("nodules")
BEFORE = (Ball((-65.0, 10.0, 20.0), 8.0), Ball((60.0, 20.0, 40.0), 9.0))
AFTER = (Ball((-65.0, 10.0, 20.0), 11.0), Ball((70.0, -25.0, -30.0), 7.0))


def visit(name: str, day: date | None, patient: str = "p1") -> Visit:
    image = Series(
        name, (name,), "dicom", (88, 96, 128), patient=patient, modality="CT", sex="F", age_years=60.0,
        spacing_mm=(2.5, 2.5, 2.5),
    )  # fmt: skip
    return Visit((image,), day, name)


def scans() -> dict[str, tuple[Volume, NDArray[np.float64]]]:
    return {"first": chest(BEFORE), "second": chest(AFTER, noise=1, moved=(3, -2, 4), turned_degrees=6.0)}


def test_growth_new_and_gone_nodules_are_listed_and_other_patients_are_counted() -> None:
    held = scans()

    def places(series: Series, volume: Volume) -> NDArray[np.float64]:
        inverse = np.linalg.inv(volume.affine)
        return (held[series.id][1] @ inverse[:3, :3].T + inverse[:3, 3])[:, ::-1]

    patients = (
        Patient("patient 1", (visit("first", date(2024, 1, 1)), visit("second", date(2024, 7, 1)))),
        Patient("patient 2", (visit("first", date(2024, 1, 1)),)),
        Patient("patient 3", (visit("first", None), visit("second", None))),
    )
    told = follow_nodules(patients, lambda s: held[s.id][0], places=places)
    by_change = {row["change"]: row for row in told.rows}
    assert set(by_change) == {"grown", "new", "gone"}
    true_days = 182 / (3 * np.log2(11 / 8))
    grown = by_change["grown"]
    assert grown["doubling_low_days"] < true_days < grown["doubling_high_days"]
    assert grown["number"] == 1 and grown["patient"] == "patient 1" and grown["visit"] == 2
    assert told.refused == {
        "one visit, expected two or more": 1, "a visit without a date, expected one for each": 1,
    }  # fmt: skip
    assert told.clinical.plots and "Nodules of patient 1" in told.clinical.tables


def test_nothing_that_says_where_nodules_lie_is_one_sentence() -> None:
    with pytest.raises(BadInput, match="give marks with --marks, or a model that finds them with --model"):
        follow_nodules((), lambda _: chest()[0])


def test_the_brock_probability_rises_with_size_age_and_an_upper_place() -> None:
    def of(size: float, density: str = "solid") -> NoduleMeasures:
        return NoduleMeasures(
            (0, 0, 0), 1.0, size, size, size, 0.0, 1.0, density, size, False, 1.0,  # type: ignore[arg-type]
        )  # fmt: skip

    def likely(
        one: NoduleMeasures, age: float = 62, sex: str = "F", third: str = "lower", n: int = 1
    ) -> float:
        return brock_probability(one, age=age, sex=sex, third=third, count=n)  # type: ignore[arg-type]

    assert likely(of(5)) < likely(of(8)) < likely(of(20))
    assert likely(of(8), age=50) < likely(of(8), age=75) and likely(of(8), sex="M") < likely(of(8))
    assert likely(of(8)) < likely(of(8), third="upper") and likely(of(8), n=6) < likely(of(8))
    assert likely(of(8, "ground-glass")) < likely(of(8)) < likely(of(8, "part-solid"))
