"""Images like those of the training are rarely called unlike; others are; what is kept is numbers only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.model import Model, OperatingPoint
from hounsfield.core.plan import Input, Plan, Validation
from hounsfield.steps.image_measures import measures_of
from hounsfield.steps.oddness import Distance, Oddness, learn_oddness, shrunken
from hounsfield.steps.prepare import Prepared, prepare_one
from hounsfield.steps.typical import FILE, how_typical, with_typicality

Images = NDArray[np.uint8]


def test_shrinking_is_that_of_ledoit_and_wolf() -> None:
    from sklearn.covariance import ledoit_wolf

    rows = np.random.default_rng(0).normal(size=(60, 20)) * np.linspace(1, 3, 20)
    rows = rows - rows.mean(0)
    np.testing.assert_allclose(
        shrunken(rows, np.ones(60)), ledoit_wolf(rows, assume_centered=True)[0], atol=1e-4
    )


def test_a_distance_is_the_same_in_other_units() -> None:
    rng = np.random.default_rng(0)
    rows, units = rng.normal(size=(500, 4)), np.array([1.0, 10.0, 100.0, 0.5])
    new = rng.normal(size=(7, 4)) * 3
    one, other = Distance.of(rows, np.ones(500)), Distance.of(rows * units, np.ones(500))
    np.testing.assert_allclose(one.of_rows(new), other.of_rows(new * units), rtol=1e-6)


@pytest.mark.parametrize(("n", "least"), [(60, 0.005), (400, 0.03)])
def test_the_p_of_rows_like_the_known_is_uniform_and_with_few_not_too_low(n: int, least: float) -> None:
    low = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rows = {"a": rng.standard_t(4, size=(n, 6)), "b": rng.normal(size=(n, 8))}
        odd, _, _ = learn_oddness(rows, [str(k) for k in range(n)])
        p, _ = odd.p({"a": rng.standard_t(4, size=(50, 6)), "b": rng.normal(size=(50, 8))})
        low.append([(p <= 0.05).mean(), (p <= 0.5).mean()])
    at_5, at_50 = np.mean(low, axis=0)
    assert least < at_5 < 0.06 and 0.4 < at_50 < 0.55


def test_a_patient_with_many_rows_weighs_as_one() -> None:
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(100, 3))
    many = np.concatenate([plain, 30 + rng.normal(size=(50, 3))])  # one odd patient with fifty images
    patients = [str(k) for k in range(100)] + ["odd"] * 50
    odd, _, _ = learn_oddness({"a": many}, patients)
    assert odd.n_patients == 101
    p, _ = odd.p({"a": np.full((1, 3), 200.0)})
    assert p[0] == pytest.approx(1 / 102)


def test_what_was_learned_comes_back_from_arrays_in_any_order() -> None:
    rng = np.random.default_rng(0)
    rows = {"z": rng.normal(size=(80, 3)), "a": rng.normal(size=(80, 5))}
    odd, _, _ = learn_oddness(rows, [str(k) for k in range(80)])
    arrays = odd.arrays()
    again = Oddness.from_arrays({key: arrays[key] for key in sorted(arrays)})
    new = {"a": rng.normal(size=(9, 5)) * 2, "z": rng.normal(size=(9, 3)) * 2}
    for one, other in zip(odd.p(new), again.p(new), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_oddest_family_is_named() -> None:
    rng = np.random.default_rng(0)
    rows = {"a": rng.normal(size=(200, 3)), "b": rng.normal(size=(200, 3))}
    odd, _, own = learn_oddness(rows, [str(k) for k in range(200)])
    p, families = odd.p({"a": np.zeros((1, 3)), "b": np.full((1, 3), 9.0)})
    assert families == ["b"] and p[0] < 0.01 and len(own) == 200


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (3, 1, 40, 20), (1, 6, 12, 12), (1, 2, 9, 9)])
def test_measures_are_finite_even_of_a_constant_image(shape: tuple[int, ...]) -> None:
    for image in (np.zeros(shape, np.int16), np.random.default_rng(0).normal(size=shape)):
        found = measures_of(image)
        assert all(np.isfinite(values).all() for values in found.values())
        assert ("colours" in found) == (shape[0] > 1) and ("slices" in found) == (shape[1] > 1)


def _blobs(n: int, seed: int, side: int = 24) -> Images:
    """A bright disc on a dark ground, with noise: what the model is trained on."""
    rng = np.random.default_rng(seed)
    j, i = np.mgrid[:side, :side]
    made = []
    for _ in range(n):
        at, radius = rng.normal(side / 2, 1, 2), rng.uniform(5, 7)
        disc = ((j - at[0]) ** 2 + (i - at[1]) ** 2 < radius**2) * rng.uniform(90, 130)
        made.append(rng.uniform(30, 50) + disc + rng.normal(0, 8, (side, side)))
    return np.clip(made, 0, 255).astype(np.uint8)


def _prepared(images: Images, modality: str = "US") -> tuple[Prepared, list[Case]]:
    plan = Input(size=(1, 24, 24))
    made = [prepare_one(image[None, None], (), plan, bits=8) for image in images]
    ids = tuple(str(k) for k in range(len(made)))
    shape = (1, 24, 24)
    cases = [Case(i, i, (Series(i, (), "raster", shape, modality=modality),)) for i in ids]
    return Prepared(ids, np.stack([m[0] for m in made]), np.array([m[1] for m in made], np.float32)), cases


def _model(folder: Path, share: float = 0.01) -> Model:
    plan = Plan(input=Input(size=(1, 24, 24)), validation=Validation(unlike_share=share))
    return Model(folder, plan, LabelEncoding("binary", ("0", "1")), (), OperatingPoint((0.5,), "half", ""))


def test_images_of_another_kind_are_unlike_and_others_are_not(tmp_path: Path) -> None:
    model, own, words = with_typicality(_model(tmp_path), *_prepared(_blobs(200, 0)))
    assert model.typicality is not None and model.typicality.n_patients == 200
    assert np.isfinite(own).all() and (words != "").mean() <= 0.02
    like = _blobs(400, 1)
    p, unlike = how_typical(model, *_prepared(like))
    assert np.mean([bool(what) for what in unlike]) <= 0.03 and p.mean() > 0.4
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 24)).astype(np.uint8)
    for odd in (255 - like[:20], noise, np.roll(like[:20], 12, 2), like[:20] // 4 + 150):
        p, unlike = how_typical(model, *_prepared(odd))
        assert (p <= 0.01).mean() >= 0.9 and sum(map(bool, unlike)) >= 18


def test_nothing_but_numbers_without_identity_is_kept_and_little_of_it(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    prepared, cases = _prepared(_blobs(60, 0))
    with_typicality(_model(tmp_path), prepared, cases)
    assert [f.name for f in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_size < 2e6
    arrays = load_file(tmp_path / FILE)
    by_case = {name for name, values in arrays.items() if 60 in values.shape}
    assert by_case == {"known", "odd", "weight"}  # how odd a patient is, and nothing of how it looks


def test_a_modality_that_was_not_trained_on_is_unlike(tmp_path: Path) -> None:
    model, _, _ = with_typicality(_model(tmp_path), *_prepared(_blobs(60, 0)))
    _, unlike = how_typical(model, *_prepared(_blobs(3, 1), "CT"))
    assert unlike == ("modality CT, trained on US",) * 3
    _, unlike = how_typical(model, *_prepared(_blobs(3, 1), ""))
    assert not any(unlike)


def test_with_few_patients_one_in_all_of_them_may_be_called_unlike(tmp_path: Path) -> None:
    model, _, _ = with_typicality(_model(tmp_path), *_prepared(_blobs(49, 0)))
    assert model.typicality is not None and model.typicality.limit == pytest.approx(1 / 50)
    noise = np.random.default_rng(0).integers(0, 256, (3, 24, 24)).astype(np.uint8)
    assert all(how_typical(model, *_prepared(noise))[1])


@pytest.mark.parametrize(("n", "share", "why"), [(29, 0.01, "29 development patients"), (60, 0.0, "is 0")])
def test_where_it_cannot_be_told_it_says_so(tmp_path: Path, n: int, share: float, why: str) -> None:
    model, own, words = with_typicality(_model(tmp_path, share), *_prepared(_blobs(n, 0)))
    assert model.typicality is not None and why in model.typicality.note and not model.typicality.file
    assert np.isnan(own).all() and not any(words) and not list(tmp_path.iterdir())
    p, unlike = how_typical(model, *_prepared(_blobs(2, 1)))
    assert np.isnan(p).all() and unlike == ("", "")


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    model, _, _ = with_typicality(_model(tmp_path), *_prepared(_blobs(40, 0)))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-8] + b"\0" * 8)
    with pytest.raises(BadInput, match="changed since the training"):
        how_typical(model, *_prepared(_blobs(2, 1)))
    (tmp_path / FILE).unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        how_typical(model, *_prepared(_blobs(2, 1)))
