"""Images made worse on purpose: each change does what it says, and what a model loses is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hounsfield.io.pixel_store import PixelRow
from hounsfield.metrics.discrimination import auroc
from hounsfield.steps.robustness import CHANGES, changed, robustness
from steps.spots import Spots, spots


@dataclass
class Kept:
    """The images of the spots as the step reads them from a store."""

    some: Spots

    def __post_init__(self) -> None:
        shape = self.some.prepared.images.shape[1:]
        row = PixelRow(0, shape, "uint8", (), 0, 255, "")
        self.rows = dict.fromkeys(self.some.prepared.ids, row)

    def image(self, key: str) -> NDArray[np.uint8]:
        return self.some.prepared.images[self.some.prepared.rows([key])[0]]


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Spots:
    return spots(tmp_path_factory.mktemp("spots"), n=60, known=0)


def test_every_change_leaves_the_unchanged_level_and_the_type_alone(some: Spots) -> None:
    image = some.prepared.images[3]
    for change in CHANGES.values():
        np.testing.assert_array_equal(changed(image, change, change.levels[0], seed=0), image)
        for level in change.levels[1:]:
            made = changed(image, change, level, seed=0)
            assert made.dtype == image.dtype and made.shape == image.shape
        assert (made != image).any(), change.name


def test_the_changes_are_what_they_are_called() -> None:
    rng = np.random.default_rng(0)
    image = (1000 + 200 * gaussian_filter(rng.normal(size=(1, 1, 128, 128)), (0, 0, 3, 3)) * 10).astype(
        np.int16
    )
    image += rng.normal(0, 5, image.shape).astype(np.int16)
    real = image.astype(np.float64)
    noisy = changed(image, CHANGES["noise"], 0.2, seed=0)
    assert (noisy - real).std() == pytest.approx(0.2 * real.std(), rel=0.05)
    dimmed = changed(image, CHANGES["dose"], 0.25, seed=0)
    assert (dimmed - real).std() == pytest.approx(5 * np.sqrt(3), rel=0.15)
    blurred = changed(image, CHANGES["blur"], 2.0, seed=0)
    np.testing.assert_allclose(blurred, gaussian_filter(real, (0, 0, 2.56, 2.56)), atol=1)
    flat = changed(image, CHANGES["contrast"], 0.5, seed=0)
    assert flat.mean() == pytest.approx(real.mean(), abs=1) and flat.std() == pytest.approx(
        real.std() / 2, rel=0.01
    )
    np.testing.assert_allclose(changed(image, CHANGES["gain"], 1.1, seed=0), np.rint(real * 1.1), atol=1)
    coarse = changed(image, CHANGES["resolution"], 4.0, seed=0).astype(float)
    step = [np.abs(np.diff(x, axis=-1)).mean() for x in (coarse, real)]
    assert step[0] < 0.8 * step[1]


def test_a_volume_keeps_its_slices_apart() -> None:
    volume = np.zeros((1, 4, 16, 16), np.float32)
    volume[0, 1] = 100.0
    for name in ("blur", "resolution"):
        made = changed(volume, CHANGES[name], CHANGES[name].levels[-1], seed=0)
        np.testing.assert_allclose(made[0, [0, 2, 3]], 0, atol=1e-4)


def test_what_is_lost_is_measured_against_the_same_cases(some: Spots) -> None:
    found = robustness(some.model, some.cases, Kept(some), seed=0)
    assert set(found.curves) == set(CHANGES)
    blur = found.curves["blur"]
    reference = auroc(
        some.predictions.scores[:, 0], some.predictions.answers, patients=some.predictions.patients
    )
    assert blur["reference"] == pytest.approx(reference.value) and blur["n"] == 60
    assert blur["value"][0] == pytest.approx(reference.value)
    told = {f.label: f for f in found.findings}
    coarse = found.curves["resolution"]
    fall = told["resolution"]
    assert fall.value == pytest.approx(coarse["value"][-1] - coarse["value"][0])
    assert fall.low <= fall.value <= fall.high and "patient" in fall.method


def test_of_many_cases_some_of_each_class_are_scored(some: Spots) -> None:
    found = robustness(some.model, some.cases, Kept(some), seed=0, most=30)
    assert found.curves["noise"]["n"] == 30


def test_cases_of_one_class_have_no_curve(some: Spots) -> None:
    one = tuple(c for c in some.cases if c.answer.positive == (0,))
    assert robustness(some.model, one, Kept(some), seed=0).curves == {}
