"""Suppression and fusion of boxes beside plain loops, and diameters beside closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.metrics.box_fusion import non_maximum_suppression, weighted_box_fusion
from hounsfield.metrics.box_matching import box_iou
from hounsfield.metrics.detection_objects import Boxes
from hounsfield.metrics.lesion_diameter import box_diameters_mm, mask_diameter


def _crowd(seed: int, axes: int) -> tuple[Boxes, np.ndarray]:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 20, (200, axes))
    corners = np.concatenate([low, low + rng.uniform(8, 16, (200, axes))], axis=1)
    image, label = rng.integers(0, 3, 200), rng.integers(0, 2, 200)
    boxes = Boxes.of(corners, image=image, label=label, score=rng.integers(1, 50, 200) / 50)
    return boxes, rng.integers(0, 3, 200)


def _iou(one: np.ndarray, two: np.ndarray) -> float:
    return float(box_iou(one[None], two[None])[0, 0])


@pytest.mark.parametrize("axes", [2, 3])
def test_suppression_equals_a_plain_loop(axes: int) -> None:
    boxes, _ = _crowd(0, axes)
    stays: list[int] = []
    for n in sorted(range(len(boxes)), key=lambda k: -boxes.score[k]):
        rivals = [k for k in stays if boxes.image[k] == boxes.image[n] and boxes.label[k] == boxes.label[n]]
        if all(_iou(boxes.corners[k], boxes.corners[n]) <= 0.3 for k in rivals):
            stays.append(n)
    assert non_maximum_suppression(boxes, threshold=0.3).tolist() == stays
    assert 10 < len(stays) < 150


def _fused_by_hand(boxes: Boxes, model: np.ndarray, weights: list[float]) -> list[tuple[float, ...]]:
    """The algorithm of section 3 of the paper, image by image and class by class."""
    found = []
    for image in range(3):
        for label in range(2):
            inside = [n for n in range(len(boxes)) if (boxes.image[n], boxes.label[n]) == (image, label)]
            inside.sort(key=lambda n: -boxes.score[n] * weights[model[n]])
            clusters: list[list[int]] = []
            fused: list[np.ndarray] = []
            for n in inside:
                overlaps = [_iou(one, boxes.corners[n]) for one in fused]
                at = int(np.argmax(overlaps)) if overlaps and max(overlaps) > 0.4 else len(clusters)
                if at == len(clusters):
                    clusters.append([])
                    fused.append(boxes.corners[n])
                clusters[at].append(n)
                pull = [boxes.score[k] * weights[model[k]] for k in clusters[at]]
                fused[at] = np.average(boxes.corners[clusters[at]], axis=0, weights=pull)
            for members, box in zip(clusters, fused, strict=True):
                held = [weights[model[k]] for k in members]
                mean = np.average(boxes.score[members], weights=held)
                score = mean * min(sum(held), sum(weights)) / sum(weights)
                found.append((image, label, *box.tolist(), float(score)))
    return sorted(found)


@pytest.mark.parametrize(
    ("axes", "weights"), [(2, [1.0, 1.0, 1.0]), (3, [1.0, 1.0, 1.0]), (3, [2.0, 1.0, 0.5])]
)
def test_fusion_equals_a_plain_loop(axes: int, weights: list[float]) -> None:
    boxes, model = _crowd(1, axes)
    fused = weighted_box_fusion(boxes, model=model, weights=weights, threshold=0.4)
    ours = sorted(
        (int(fused.image[n]), int(fused.label[n]), *fused.corners[n].tolist(), float(fused.score[n]))
        for n in range(len(fused))
    )
    theirs = _fused_by_hand(boxes, model, weights)
    assert len(ours) == len(theirs) < len(boxes)
    assert np.allclose(np.array(ours), np.array(theirs), atol=1e-9)


def test_a_box_that_one_of_three_models_saw_keeps_a_third_of_its_score() -> None:
    lone = Boxes.of([[0, 0, 4, 4]], image=[0], score=[0.9])
    assert weighted_box_fusion(lone, model=[0], weights=[1, 1, 1]).score == pytest.approx([0.3])


def test_nothing_fuses_to_nothing_and_faults_are_named() -> None:
    none = Boxes.of(np.zeros((0, 6)), image=[])
    assert len(weighted_box_fusion(none, model=[])) == 0
    assert len(non_maximum_suppression(none)) == 0
    one = Boxes.of([[0, 0, 4, 4]], image=[0])
    with pytest.raises(BadInput, match="one above 0 for each of the models"):
        weighted_box_fusion(one, model=[2], weights=[1, 1])
    with pytest.raises(BadInput, match="threshold"):
        non_maximum_suppression(one, threshold=1.5)


@pytest.mark.parametrize("turn", [0.0, 0.3, 1.1])
def test_diameters_of_an_ellipse_are_its_axes(turn: float) -> None:
    j, i = np.mgrid[0:200, 0:200] - 99.7
    along, across = j * math.cos(turn) + i * math.sin(turn), i * math.cos(turn) - j * math.sin(turn)
    mask = np.zeros((4, 200, 200), bool)
    mask[2] = (along / 60) ** 2 + (across / 35) ** 2 <= 1
    mask[1, 90:110, 90:110] = True
    found = mask_diameter(mask, spacing_mm=(3.0, 0.5, 0.5))
    assert found.slice == 2
    assert found.long_mm == pytest.approx(60, abs=0.5)
    assert found.short_mm == pytest.approx(35, abs=0.75)


def test_an_oblong_pixel_counts_its_own_length() -> None:
    assert mask_diameter([[1, 1, 1]], spacing_mm=(0.7, 2.0)).long_mm == 6.0
    assert mask_diameter([[1]] * 10, spacing_mm=(0.7, 2.0)).long_mm == pytest.approx(7.0)


def test_an_empty_mask_and_labels_have_no_diameter() -> None:
    with pytest.raises(BadInput, match="empty"):
        mask_diameter(np.zeros((2, 3, 3)), spacing_mm=(1, 1, 1))
    with pytest.raises(BadInput, match="zeros and ones"):
        mask_diameter(np.full((3, 3), 2), spacing_mm=(1, 1))
    with pytest.raises(BadInput, match="length above 0 mm"):
        box_diameters_mm(Boxes.of([[0, 0, 1, 1]], image=[0]), spacing_mm=(1.0, 0.0))
