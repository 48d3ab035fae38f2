"""Matching of candidates to lesions, FROC and average precision, beside naive rules and pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.metrics.box_matching import box_iou, match_boxes, match_by_overlap
from hounsfield.metrics.detection_matching import FALSE, HIT, IGNORED, best_candidates, match_by_centre
from hounsfield.metrics.detection_objects import Boxes, Spheres
from hounsfield.metrics.detection_precision import (
    AREA_RANGES,
    COCO_THRESHOLDS,
    average_precisions,
    precision_report,
)
from hounsfield.metrics.froc import CPM_RATES, froc_curve, froc_report

SCANS = 30


def _nodules(seed: int, scans: int = SCANS) -> tuple[Spheres, Spheres]:
    """Crowded candidates with ties of score, lesions that overlap, excluded findings and unknown sizes."""
    rng = np.random.default_rng(seed)
    lesions = Spheres.of(
        rng.uniform(0, 60, (scans * 3, 3)),
        np.where(rng.random(scans * 3) < 0.1, -1.0, rng.uniform(4, 30, scans * 3)),
        image=rng.integers(0, scans, scans * 3),
        excluded=rng.random(scans * 3) < 0.4,
    )
    near = lesions.centre_mm[rng.integers(0, len(lesions), scans * 4)]
    image = lesions.image[rng.integers(0, len(lesions), scans * 4)]
    far = rng.uniform(0, 60, (scans * 20, 3))
    candidates = Spheres.of(
        np.concatenate([near + rng.normal(0, 3, near.shape), far]),
        0.0,
        image=np.concatenate([image, rng.integers(0, scans, len(far))]),
        score=rng.integers(0, 200, len(near) + len(far)) / 200,
    )
    return candidates, lesions


def _by_the_rules(candidates: Spheres, lesions: Spheres) -> tuple[list[float], list[float], list[int]]:
    """LUNA16's rules scan by scan in plain Python: lesions' best scores, false positives, kinds."""
    best, kind = [], [FALSE] * len(candidates)
    for on_excluded in (False, True):
        for k in range(len(lesions)):
            if bool(lesions.excluded[k]) != on_excluded:
                continue
            diameter = lesions.diameter_mm[k] if lesions.diameter_mm[k] >= 0 else 10.0
            hits = []
            for n in range(len(candidates)):
                distance = sum(
                    (a - b) ** 2 for a, b in zip(candidates.centre_mm[n], lesions.centre_mm[k], strict=True)
                )
                if candidates.image[n] == lesions.image[k] and distance < (diameter / 2) ** 2:
                    hits.append(n)
            if on_excluded:
                for n in hits:
                    kind[n] = kind[n] or IGNORED
            else:
                best.append(max((float(candidates.score[n]) for n in hits), default=-np.inf))
                for n in hits:
                    kind[n] = HIT
    return best, [float(candidates.score[n]) for n in range(len(candidates)) if kind[n] == FALSE], kind


def _sensitivity_at(rate: float, best: list[float], false: list[float], scans: int) -> float:
    """Sensitivity by linear interpolation between the two scores on either side of the rate."""
    x, y = 0.0, 0.0
    for score in sorted({s for s in [*best, *false] if s > -np.inf}, reverse=True):
        next_x = sum(one >= score for one in false) / scans
        next_y = sum(one >= score for one in best) / len(best)
        if next_x > rate:
            return y + (rate - x) / (next_x - x) * (next_y - y)
        x, y = next_x, next_y
    return y


@pytest.mark.parametrize("seed", range(4))
def test_centres_match_by_the_rules_of_luna16(seed: int) -> None:
    candidates, lesions = _nodules(seed)
    marks = match_by_centre(candidates, lesions)
    best, false, kind = _by_the_rules(candidates, lesions)
    assert marks.kind.tolist() == kind
    assert marks.lesion_score.tolist() == best
    assert marks.false_score.tolist() == false
    assert set(kind) == {FALSE, HIT, IGNORED}


def test_a_centre_on_the_edge_of_a_lesion_is_no_hit() -> None:
    lesion = Spheres.of([[0.0, 0.0, 0.0]], 8.0, image=[0])
    on_edge = Spheres.of([[4.0, 0.0, 0.0], [3.999, 0.0, 0.0]], 0.0, image=[0, 0])
    assert match_by_centre(on_edge, lesion).kind.tolist() == [FALSE, HIT]


def test_a_candidate_on_a_lesion_and_an_excluded_finding_is_a_hit() -> None:
    lesions = Spheres.of(np.zeros((2, 3)), [20.0, 8.0], image=[0, 0], excluded=[True, False])
    candidates = Spheres.of([[1.0, 0, 0], [6.0, 0, 0]], 0.0, image=[0, 0])
    assert match_by_centre(candidates, lesions).kind.tolist() == [HIT, IGNORED]


@pytest.mark.parametrize("seed", range(3))
def test_sensitivities_and_cpm_follow_the_rules_of_luna16(seed: int) -> None:
    candidates, lesions = _nodules(seed)
    marks = match_by_centre(candidates, lesions)
    best, false, _ = _by_the_rules(candidates, lesions)
    expected = [_sensitivity_at(rate, best, false, SCANS) for rate in CPM_RATES]
    rows = froc_report(marks, images=SCANS, resamples=20)
    assert rows[0].value == pytest.approx(np.mean(expected))
    assert [row.value for row in rows[1:8]] == pytest.approx(expected)
    assert froc_curve(marks, images=SCANS).at(CPM_RATES) == pytest.approx(expected)


def test_a_patient_counts_as_found_with_the_best_scored_lesion() -> None:
    candidates, lesions = _nodules(5)
    patients = np.arange(SCANS) // 2
    rows = froc_report(match_by_centre(candidates, lesions), images=SCANS, patients=patients, resamples=20)
    best, false, _ = _by_the_rules(candidates, lesions)
    owner = patients[lesions.image[~lesions.excluded]]
    by_patient = [max(b for b, o in zip(best, owner, strict=True) if o == one) for one in np.unique(owner)]
    found = {(row.name, row.group): row for row in rows}
    row = found["froc_sensitivity_by_patient", "1 FP an image"]
    assert row.value == pytest.approx(_sensitivity_at(1.0, by_patient, false, SCANS))
    assert row.n == len(by_patient)


def test_resamples_equal_a_report_on_repeated_scans() -> None:
    """What a resample gives is what the curve of the drawn scans, written out, gives."""
    from hounsfield.metrics.froc import _events, _sensitivities

    candidates, lesions = _nodules(7, scans=12)
    marks = match_by_centre(candidates, lesions)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(12, np.full(12, 1 / 12), size=5).astype(float)
    events = _events(
        marks.lesion_score, marks.lesion_image, marks.false_score, marks.false_image, np.arange(12)
    )
    held = np.bincount(marks.lesion_image, minlength=12).astype(float)
    rates = np.array(CPM_RATES)
    values = _sensitivities(events.hit, events.block, events.last, counts, np.ones(12), held, rates)
    for row, drawn in zip(values, counts.astype(int), strict=True):
        best = np.repeat(marks.lesion_score, drawn[marks.lesion_image]).tolist()
        false = np.repeat(marks.false_score, drawn[marks.false_image]).tolist()
        assert row == pytest.approx([_sensitivity_at(rate, best, false, 12) for rate in CPM_RATES])


def test_what_cannot_be_measured_is_refused_with_a_reason() -> None:
    candidates, lesions = _nodules(1)
    none = Spheres.of(np.zeros((0, 3)), np.zeros(0), image=[])
    rows = froc_report(match_by_centre(candidates, none), images=SCANS, resamples=20)
    assert all(row.refused and "n = 0" in row.reason for row in rows)
    with pytest.raises(BadInput, match="no lesion that counts"):
        froc_curve(match_by_centre(candidates, none), images=SCANS)
    one_patient = froc_report(match_by_centre(candidates, lesions), images=SCANS, patients=["a"] * SCANS)
    assert all(row.refused and "too few" in row.reason for row in one_patient)
    centres, image = lesions.centre_mm[:12], np.arange(12) % 6
    few = match_by_centre(
        Spheres.of(centres[:9], 0.0, image=image[:9], score=np.arange(9) / 9),
        Spheres.of(centres, 8.0, image=image),
    )
    rows = froc_report(few, images=6, resamples=20)
    assert "less than one in n = 6 images" in rows[0].reason
    assert not rows[3].refused


def test_a_silent_detector_has_a_sensitivity_of_zero_with_an_upper_bound() -> None:
    _, lesions = _nodules(1)
    silent = Spheres.of(np.zeros((0, 3)), np.zeros(0), image=[])
    row = froc_report(match_by_centre(silent, lesions), images=SCANS, resamples=20)[0]
    assert row.value == 0.0 and row.low == 0.0 and 0.05 < row.high < 0.3


def test_the_most_suspicious_candidates_of_a_scan_are_kept() -> None:
    candidates, _ = _nodules(2)
    kept = best_candidates(candidates, most=10)
    for scan in range(SCANS):
        scores = np.sort(candidates.score[candidates.image == scan])[::-1]
        expected = scores[scores > scores[10]] if len(scores) > 10 else scores
        assert sorted(candidates.score[kept & (candidates.image == scan)]) == sorted(expected)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda: Spheres.of([[0, 0]], [0.0], image=[0]), "diameter of 0 mm"),
        (lambda: Spheres.of([[0, np.nan]], [5.0], image=[0]), "not finite"),
        (lambda: Spheres.of([[0, 0]], [5.0], image=[0.5]), "one whole number"),
        (lambda: Spheres.of([[0, 0]], [5.0], image=[0], score=[1, 2]), "expected one for each"),
        (lambda: Spheres.of([[0, 0, 0]], [5.0], image=[0]), "both in the plane"),
    ],
)
def test_bad_spheres_are_named(fault, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInput, match=words):
        match_by_centre(Spheres.of([[1, 1]], 0.0, image=[0]), fault())


def _boxes(seed: int, *, axes: int = 2, classes: int = 3, images: int = 20) -> tuple[Boxes, Boxes]:
    rng = np.random.default_rng(seed)
    count = images * 4
    low = rng.integers(0, 400, (count, axes)) / 4
    corners = np.concatenate([low, low + rng.integers(8, 500, (count, axes)) / 4], axis=1)
    image, label = rng.integers(0, images, count), rng.integers(0, classes, count)
    truth = Boxes.of(corners, image=image, label=label, excluded=rng.random(count) < 0.1)
    again = rng.integers(0, count, count * 3)
    moved = corners[again] + rng.integers(-12, 13, (count * 3, 2 * axes)) / 4
    moved[:, axes:] = np.maximum(moved[:, axes:], moved[:, :axes] + 0.25)
    scores = rng.integers(0, 40, count * 3) / 40
    other = np.where(rng.random(count * 3) < 0.2, rng.integers(0, classes, count * 3), label[again])
    return Boxes.of(moved, image=image[again], label=other, score=scores), truth


def _pycocotools(found: Boxes, truth: Boxes, images: int, most: int) -> np.ndarray:
    """pycocotools' precisions (T, R, K, A) at `most` detections an image."""
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(boxes: Boxes) -> list[dict[str, object]]:
        return [
            {
                "id": n + 1,
                "image_id": int(boxes.image[n]),
                "category_id": int(boxes.label[n]),
                "bbox": [
                    *boxes.corners[n, :2].tolist(),
                    *(boxes.corners[n, 2:] - boxes.corners[n, :2]).tolist(),
                ],
                "area": float(boxes.sizes[n]),
                "iscrowd": int(boxes.excluded[n]),
                "score": float(boxes.score[n]),
            }
            for n in range(len(boxes))
        ]

    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": n} for n in range(images)],
        "categories": [{"id": n} for n in range(1 + int(truth.label.max()))],
        "annotations": rows(truth),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows(found)), "bbox")
        evaluation.params.maxDets = [1, 2, most]
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"][..., -1])


@pytest.mark.parametrize(("seed", "most"), [(0, 100), (1, 100), (2, 3)])
def test_average_precision_equals_pycocotools(seed: int, most: int) -> None:
    found, truth = _boxes(seed)
    theirs = _pycocotools(found, truth, 20, most)
    for a, sizes in enumerate(AREA_RANGES.values()):
        ours = average_precisions(found, truth, max_detections=most, sizes=sizes)
        measured = theirs[:, 0, :, a].T >= 0
        assert np.array_equal(np.isfinite(ours), measured)
        assert np.abs(ours - theirs[..., a].mean(axis=1).T)[measured].max() < 1e-12
    assert 0.05 < np.nanmean(average_precisions(found, truth)) < 0.95


def _greedy_by_hand(found: Boxes, truth: Boxes, threshold: float) -> list[int]:
    """Greedy matching without excluded boxes, for one threshold, in plain Python."""
    status = [0] * len(found)
    overlaps = box_iou(found.corners, truth.corners)
    free = [True] * len(truth)
    for n in sorted(range(len(found)), key=lambda k: -found.score[k]):
        best, at = threshold, -1
        for k in range(len(truth)):
            same = found.image[n] == truth.image[k] and found.label[n] == truth.label[k]
            if same and free[k] and overlaps[n, k] >= best:
                best, at = overlaps[n, k], k
        if at >= 0:
            free[at], status[n] = False, 1
    return status


def test_boxes_in_space_match_greedily_by_score() -> None:
    found, truth = _boxes(3, axes=3)
    truth = Boxes.of(truth.corners, image=truth.image, label=truth.label)
    matches = match_boxes(found, truth, thresholds=(0.25, 0.5), max_detections=1000)
    for t, threshold in enumerate((0.25, 0.5)):
        status = np.empty(len(found), int)
        status[matches.kept] = matches.status[t]
        assert status.tolist() == _greedy_by_hand(found, truth, threshold)
        assert 0 < status.sum() < len(truth)


def test_overlap_of_boxes_is_that_of_their_voxels() -> None:
    rng = np.random.default_rng(0)
    low = rng.integers(0, 8, (6, 3))
    corners = np.concatenate([low, low + rng.integers(1, 8, (6, 3))], axis=1)
    grids = []
    for one in corners:
        grid = np.zeros((16, 16, 16), bool)
        grid[one[0] : one[3], one[1] : one[4], one[2] : one[5]] = True
        grids.append(grid)
    expected = [[(a & b).sum() / (a | b).sum() for b in grids] for a in grids]
    assert box_iou(corners, corners) == pytest.approx(np.array(expected))


def test_marks_by_overlap_hit_each_lesion_once() -> None:
    found, truth = _boxes(4, classes=1)
    marks = match_by_overlap(found, truth, threshold=0.25)
    assert len(marks.lesion_score) == np.count_nonzero(~truth.excluded)
    assert np.count_nonzero(marks.lesion_score > -np.inf) == np.count_nonzero(marks.kind == HIT)


def test_precision_report_names_classes_and_refuses_small_ones() -> None:
    found, truth = _boxes(0)
    label = np.where(np.arange(len(truth)) < 4, 3, truth.label)
    truth = Boxes.of(truth.corners, image=truth.image, label=label)
    rows = precision_report(found, truth, images=20, patients=np.arange(20) // 2, resamples=100)
    every = average_precisions(found, truth)
    assert rows[0].value == pytest.approx(np.nanmean(every))
    assert rows[1].value == pytest.approx(every[:, 0].mean()) and rows[1].name == "ap50"
    assert rows[2].value == pytest.approx(every[:, COCO_THRESHOLDS.index(0.75)].mean())
    assert all(row.low < row.value < row.high for row in rows[:6])
    assert [row.group for row in rows[3::3]] == ["0", "1", "2", "3"]
    assert rows[-1].refused and "n = 4 reference boxes" in rows[-1].reason


def test_precision_of_detections_without_a_reference_is_refused() -> None:
    found, _ = _boxes(0)
    none = Boxes.of(np.zeros((0, 4)), image=[])
    assert all(row.refused for row in precision_report(found, none, images=20, resamples=20))
    assert np.isnan(average_precisions(found, none)).all()


def test_classes_with_far_numbers_match_alike() -> None:
    found, truth = _boxes(6)
    far_found = Boxes.of(found.corners, image=found.image, label=found.label * 10**9, score=found.score)
    far_truth = Boxes.of(truth.corners, image=truth.image, label=truth.label * 10**9, excluded=truth.excluded)
    near, far = match_boxes(found, truth), match_boxes(far_found, far_truth)
    assert np.array_equal(near.status, far.status) and np.array_equal(near.partner, far.partner)
