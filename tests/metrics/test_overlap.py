"""Overlap, volumes and means over cases, with every empty mask accounted for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, jaccard_score

from hounsfield.core.errors import BadInput
from hounsfield.metrics.overlap import overlap
from hounsfield.metrics.segmentation import SegmentedCase, case_mean, case_median, segmentation_report
from hounsfield.metrics.surface import surface_agreement

masks = arrays(bool, (3, 4, 5))


def case(said, truth):
    options = {"spacing_mm": (2.0, 1.0, 1.0)}
    return SegmentedCase(
        overlap(said, truth, **options), surface_agreement(said, truth, tolerance_mm=1, **options)
    )


def cube(size, at=1):
    mask = np.zeros((8, 8, 8), bool)
    mask[at : at + size, at : at + size, at : at + size] = True
    return mask


def by_name(rows):
    return {row.name: row for row in rows}


@settings(max_examples=50, deadline=None)
@given(said=masks, truth=masks)
def test_dice_and_iou_equal_scikit_learn(said, truth):
    found = overlap(said, truth, spacing_mm=(2.0, 0.5, 4.0))
    if not (said.any() or truth.any()):
        assert found.dice is None and found.iou is None and "both masks are empty" in found.reason
        return
    assert found.dice == pytest.approx(f1_score(truth.ravel(), said.ravel()))
    assert found.iou == pytest.approx(jaccard_score(truth.ravel(), said.ravel()))
    assert found.volume_error_ml == pytest.approx((said.sum() - truth.sum()) * 4 / 1000)


def test_a_relative_volume_needs_a_reference():
    found = overlap(cube(2), np.zeros((8, 8, 8)), spacing_mm=(1, 1, 1))
    assert found.dice == found.iou == 0 and found.relative_volume_error is None
    assert "relative error of volume is not defined" in found.reason
    assert overlap(cube(3), cube(2), spacing_mm=(1, 1, 1)).relative_volume_error == pytest.approx(27 / 8 - 1)


def test_masks_of_numbers_and_of_booleans_are_alike():
    one = overlap(cube(2).astype(np.float32), cube(3).astype(np.uint8), spacing_mm=(1, 1, 1))
    assert one == overlap(cube(2), cube(3), spacing_mm=(1, 1, 1))


def test_the_report_counts_empty_masks_on_their_own():
    empty = np.zeros((8, 8, 8), bool)
    cases = [case(cube(3), cube(3))] * 6 + [case(cube(3), cube(2))] * 4
    cases += [case(empty, cube(3))] * 2 + [case(empty, empty)] * 7 + [case(cube(2), empty)]
    rows = by_name(segmentation_report(cases))
    assert rows["dice"].n == 13 and rows["hd95"].n == 10 and rows["relative_volume_error"].n == 12
    assert rows["dice"].value == pytest.approx((6 + 4 * 2 * 8 / 35) / 13)
    assert rows["absent_left_alone"].value == pytest.approx(7 / 8) and rows["absent_left_alone"].n == 8
    assert rows["present_found"].value == pytest.approx(10 / 12)
    assert rows["nsd"].low < rows["nsd"].value < rows["nsd"].high


def test_means_of_few_cases_are_refused():
    rows = by_name(segmentation_report([case(cube(3), cube(3))] * 4))
    assert rows["dice"].value is None and rows["dice"].reason == "n = 4: too few to print a number"


def test_copies_of_a_patients_scans_add_no_certainty():
    values = list(np.random.default_rng(0).beta(8, 2, 40))
    one = case_mean("dice", values, share=True)
    five = case_mean("dice", values * 5, share=True, patients=np.tile(np.arange(40), 5))
    assert five.high - five.low == pytest.approx(one.high - one.low)
    assert (
        case_median("hd95", values * 5, patients=np.tile(np.arange(40), 5)).low
        == case_median("hd95", values).low
    )


def test_the_median_lies_between_order_statistics():
    """Of 10 the 2nd and 9th hold it with 97.9 %, the 3rd and 8th with 89.1 %: 95 % lie in between."""
    row = case_median("hd95", [float(k) for k in range(1, 11)])
    part = (0.978516 - 0.95) / (0.978516 - 0.890625)
    part = 8 * part / (2 + 6 * part)
    assert row.value == 5.5 and (row.low, row.high) == pytest.approx((2 + part, 9 - part), abs=1e-4)
    assert "too few to bound a median" in case_median("hd95", [1.0, 2.0, 3.0, 4.0, 5.0]).reason


def test_a_perfect_mean_leaves_room_for_error():
    row = case_mean("dice", [1.0] * 20, share=True)
    assert row.value == row.high == 1 and row.low == pytest.approx(0.025 ** (1 / 20))


@pytest.mark.parametrize(
    ("said", "truth", "spacing", "words"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3)), (1, 1), "one shape"),
        (np.zeros((2, 2)), np.full((2, 2), 3), (1, 1), "labels == 3"),
        (np.zeros(4), np.zeros(4), (1,), r"\(K, J, I\) or \(J, I\)"),
        (np.zeros((2, 2)), np.zeros((2, 2)), (1, np.nan), "above 0"),
        (np.array([["a"]]), np.zeros((1, 1)), (1, 1), "expected zeros and ones"),
    ],
)
def test_wrong_masks_are_said_in_a_sentence(said, truth, spacing, words):
    with pytest.raises(BadInput, match=words):
        overlap(said, truth, spacing_mm=spacing)


def test_a_report_of_no_case_is_refused():
    with pytest.raises(BadInput, match="no case"):
        segmentation_report([])
