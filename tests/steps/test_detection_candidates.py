"""Candidates of several views become one list, in the image's voxels and in millimetres."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.marked import Marked
from hounsfield.metrics.detection_matching import match_by_centre
from hounsfield.metrics.detection_objects import Boxes, Spheres
from hounsfield.steps.detection.candidates import (
    candidate_objects,
    fused,
    in_voxels_of_image,
    lesion_objects,
    together,
)
from hounsfield.steps.regions.grid_store import Placed
from hounsfield.tasks.detection import Candidates


def some(*rows: tuple[float, float, float, float, float], label: int = 0) -> Candidates:
    """Candidates of (k, j, i, size, score)."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Candidates(
        table[:, :3], np.repeat(table[:, 3:4], 3, axis=1), table[:, 4], np.full(len(table), label, np.int64)
    )


def test_a_second_peak_on_one_object_costs_no_score() -> None:
    found = fused([some((5, 5, 5, 6, 0.9), (6, 5, 5, 6, 0.2), (20, 5, 5, 6, 0.4))], overlap=0.2)
    assert found.score.tolist() == pytest.approx([0.9, 0.4])
    assert found.centre[0].tolist() == [5, 5, 5]


def test_views_are_averaged_by_their_scores() -> None:
    found = fused([some((4, 8, 8, 6, 0.75)), some((6, 8, 8, 6, 0.25))])
    assert found.score.tolist() == pytest.approx([0.5])
    assert found.centre[0] == pytest.approx([4.5, 8, 8]) and found.size[0] == pytest.approx([6, 6, 6])


def test_what_few_views_saw_loses_score() -> None:
    seen = some((4, 8, 8, 6, 0.8))
    assert fused([seen, some(), some(), seen]).score.tolist() == pytest.approx([0.4])
    assert len(fused([some(), some()])) == 0
    assert len(fused([seen, some()], least_score=0.5)) == 0


def test_classes_do_not_meet_and_the_best_stay() -> None:
    both = together([(some((4, 8, 8, 6, 0.8)), (0, 0, 0)), (some((4, 8, 8, 6, 0.9), label=1), (0, 0, 0))])
    assert fused([both]).label.tolist() == [1, 0]
    assert fused([both], most=1).label.tolist() == [1]
    with pytest.raises(BadInput, match="no view"):
        fused([])


def test_windows_are_put_where_they_begin() -> None:
    whole = together([(some((1, 2, 3, 4, 0.5)), (0, 0, 0)), (some((1, 2, 3, 4, 0.6)), (8, 16, 24))])
    assert whole.centre.tolist() == [[1, 2, 3], [9, 18, 27]]
    assert len(together([])) == 0


def test_candidates_in_the_padding_are_left_out() -> None:
    place = Placed((8, 8, 8), (0, 0, 0), (8, 8, 8), (16, 8, 4), (), ())
    found = in_voxels_of_image(some((2, 2, 2, 4, 0.5), (30, 2, 2, 4, 0.9)), place)
    assert found.centre.tolist() == [[0.75, 2, 4.5]] and found.size.tolist() == [[2, 4, 8]]


def test_spheres_and_lesions_lie_on_each_other_in_mm() -> None:
    marked = [
        [],
        [Marked(0, (4, 8, 8), (3, 6, 6), "sphere", 6.0), Marked(0, (9, 9, 9), (2, 2, 2), excluded=True)],
    ]
    lesions = lesion_objects(marked, spacing_mm=[(1, 1, 1), (2, 1, 1)], shape="sphere")
    found = candidate_objects(
        [some((4, 8, 8, 3, 0.4)), some((4, 8, 9, 6, 0.8), (9, 9, 9, 2, 0.7))],
        spacing_mm=[(1, 1, 1), (2, 1, 1)], shape="sphere",
    )  # fmt: skip
    assert isinstance(lesions.placed, Spheres) and isinstance(found.placed, Spheres)
    assert lesions.placed.excluded.tolist() == [False, True]
    assert lesions.diameter_mm == pytest.approx([6.0, 2 * 2 ** (1 / 3)])
    assert found.placed.image.tolist() == [0, 1, 1]
    marks = match_by_centre(found.placed, lesions.placed)
    assert marks.lesion_score.tolist() == [0.8] and marks.false_score.tolist() == [0.4]


def test_boxes_keep_their_sides_and_measure_the_longer_one_in_the_plane() -> None:
    box = Marked(1, (4, 8, 8), (3, 4, 6))
    made = lesion_objects([[box]], spacing_mm=[(5, 0.5, 0.5)], shape="box")
    assert isinstance(made.placed, Boxes)
    assert made.placed.corners.tolist() == [[12.5, 3, 2.5, 27.5, 5, 5.5]]
    assert made.label.tolist() == [1] and made.diameter_mm.tolist() == [3]


def test_pictures_have_circles() -> None:
    made = lesion_objects(
        [[Marked(0, (0, 8, 8), (1, 4, 9))]], spacing_mm=[(1, 1, 1)], shape="sphere", flat=True
    )
    assert made.diameter_mm == pytest.approx([6])
    assert len(candidate_objects([], spacing_mm=[], shape="box").placed) == 0
    with pytest.raises(BadInput, match="2 spacings were given for 1 cases"):
        lesion_objects([[]], spacing_mm=[(1, 1, 1), (1, 1, 1)], shape="box")
