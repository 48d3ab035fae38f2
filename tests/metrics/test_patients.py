"""Clusters and their resampling."""

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.metrics.patients import MAX_BLOCKS, Patients, draw


def test_names_and_numbers_encode_alike_and_by_sorted_name():
    names = Patients.of(np.array(["b", "a", "b", "c"]), cases=4)
    listed = Patients.of(["b", "a", "b", "c"], cases=4)
    numbers = Patients.of([2, 1, 2, 3], cases=4)
    assert names.code.tolist() == listed.code.tolist() == numbers.code.tolist() == [1, 0, 1, 2]
    assert names.count == 3 and not names.distinct


def test_without_patients_every_case_stands_alone():
    alone = Patients.of(None, cases=4)
    assert alone.distinct and alone.count == 4


def test_sums_by_patient_equal_a_loop():
    rng = np.random.default_rng(0)
    names, values = rng.integers(0, 7, 50), rng.normal(size=(50, 3))
    expected = np.stack([values[names == k].sum(axis=0) for k in np.unique(names)])
    np.testing.assert_allclose(Patients.of(names, cases=50).sums(values), expected)


def test_distinct_patients_keep_their_sorted_place():
    assert Patients.of(["c", "a", "b"], cases=3).sums([3.0, 1.0, 2.0]).tolist() == [1.0, 2.0, 3.0]


def test_among_counts_patients_not_cases():
    owners = Patients.of([1, 1, 2, 3], cases=4)
    assert owners.among([True, True, False, True]) == 2


@pytest.mark.parametrize("patients", [["a", None], ["a", ""], [1.0, float("nan")]])
def test_a_missing_patient_is_refused(patients):
    with pytest.raises(BadInput, match="no patient"):
        Patients.of(patients, cases=2)


def test_a_wrong_number_of_patients_is_refused_without_naming_one():
    with pytest.raises(BadInput, match="2 patients were given for 3 cases") as caught:
        Patients.of(["DOE^JANE", "ROE^JOHN"], cases=3)
    assert "DOE" not in str(caught.value)


def test_a_table_of_patients_is_refused():
    with pytest.raises(BadInput, match="shape"):
        Patients.of([["a", "b"]], cases=1)


def test_each_resample_draws_as_many_patients_as_there_are():
    draws = draw(["a", "a", "b", "c", "c"], cases=5, resamples=200)
    assert draws.counts.shape == (200, 3)
    assert (draws.counts.sum(axis=1) == 3).all()


def test_counts_have_the_multinomial_mean_and_variance():
    counts = draw(None, cases=50, resamples=4000).counts
    assert counts.mean() == pytest.approx(1.0)
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.02)


def test_one_seed_gives_one_draw_and_a_generator_moves_on():
    once, again = (draw(None, cases=30, resamples=5, seed=3).counts for _ in range(2))
    np.testing.assert_array_equal(once, again)
    rng = np.random.default_rng(3)
    first, second = (draw(None, cases=30, resamples=5, seed=rng).counts for _ in range(2))
    np.testing.assert_array_equal(first, once)
    assert (first != second).any()


def test_totals_equal_repeating_each_patients_cases():
    rng = np.random.default_rng(1)
    names, columns = rng.integers(0, 6, 20), rng.normal(size=(20, 2))
    draws = draw(names, cases=20, resamples=4)
    for row, counts in zip(draws.totals(columns), draws.counts, strict=True):
        repeated = np.repeat(columns, counts[draws.block].astype(int), axis=0)
        np.testing.assert_allclose(row, repeated.sum(axis=0))


def test_many_patients_share_equal_blocks_and_keep_the_standard_error():
    rng = np.random.default_rng(2)
    n = 3 * MAX_BLOCKS
    values = rng.normal(size=n)
    draws = draw(None, cases=n, resamples=500)
    sizes = np.bincount(draws.block)
    assert len(sizes) == MAX_BLOCKS and sizes.min() == sizes.max() == 3
    spread = (draws.totals(values[:, None])[:, 0] / n).std(ddof=1)
    assert spread == pytest.approx(values.std(ddof=1) / np.sqrt(n), rel=0.1)


def test_blocks_never_split_a_patient():
    names = np.repeat(np.arange(2 * MAX_BLOCKS), 2)
    draws = draw(names, cases=len(names), resamples=2)
    assert (draws.block[::2] == draws.block[1::2]).all()


def test_one_resample_is_refused():
    with pytest.raises(BadInput, match="resamples"):
        draw(None, cases=5, resamples=1)
