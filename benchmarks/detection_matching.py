"""How long matching takes beside plain Python loops of the same rules, with a look that both agree.

    python benchmarks/detection_matching.py [--scans 1000] [--candidates 300] [--turns 5]

LUNA16's rules on spheres and COCO's on boxes in space, at ten thresholds (the loop of COCO on a tenth of the
scans, scaled). Candidates come scan by scan and in no order of score, as detectors write them; the loops
have them in lists of their scan, while ours checks the arrays and finds the scans. Times are processor
time, the least of several turns; the first, which compiles, is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hounsfield.metrics.box_matching import match_boxes
from hounsfield.metrics.detection_matching import match_by_centre
from hounsfield.metrics.detection_objects import Boxes, Spheres
from hounsfield.metrics.detection_precision import COCO_THRESHOLDS, precision_report
from hounsfield.metrics.froc import froc_report


def _objects(scans: int, candidates: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Scans of 300 mm with 1.3 lesions and 4 excluded findings each, as in LUNA16."""
    rng = np.random.default_rng(seed)
    lesions = int(scans * 5.3)
    centre = rng.uniform(0, 300, (lesions, 3))
    image = rng.integers(0, scans, lesions)
    near = rng.integers(0, lesions, scans * 8)
    far = scans * (candidates - 8)
    seen = np.concatenate([image[near], rng.integers(0, scans, far)])
    order = np.argsort(seen, kind="stable")
    places = np.concatenate([centre[near] + rng.normal(0, 4, (len(near), 3)), rng.uniform(0, 300, (far, 3))])
    return {
        "lesion": centre,
        "diameter": rng.uniform(3, 30, lesions),
        "excluded": rng.random(lesions) < 4 / 5.3,
        "lesion_image": image,
        "candidate": places[order],
        "candidate_image": seen[order],
        "side": rng.uniform(3, 30, len(seen)),
        "score": np.concatenate([rng.random(len(near)), rng.random(far) ** 3])[order],
    }


def _cubes(centre: np.ndarray, side: np.ndarray) -> np.ndarray:
    return np.concatenate([centre - side[:, None] / 2, centre + side[:, None] / 2], axis=1)


def _naive_centres(scans: list[tuple[list[Any], list[Any]]]) -> tuple[list[float], list[float]]:
    """LUNA16's rules scan by scan; lists (x, y, z, score) and (x, y, z, diameter, excluded)."""
    best, false = [], []
    for candidates, lesions in scans:
        left = dict(enumerate(candidates))
        for x, y, z, diameter, excluded in sorted(lesions, key=lambda one: one[4]):
            hits = []
            for n, (a, b, c, score) in enumerate(candidates):
                if (a - x) ** 2 + (b - y) ** 2 + (c - z) ** 2 < (diameter / 2) ** 2:
                    hits.append(score)
                    left.pop(n, None)
            if not excluded:
                best.append(max(hits, default=float("-inf")))
        false += [one[3] for one in left.values()]
    return best, false


def _naive_overlap(one: list[float], two: list[float]) -> float:
    shared, size, other = 1.0, 1.0, 1.0
    for axis in range(3):
        side = min(one[axis + 3], two[axis + 3]) - max(one[axis], two[axis])
        if side <= 0:
            return 0.0
        shared *= side
        size *= one[axis + 3] - one[axis]
        other *= two[axis + 3] - two[axis]
    return shared / (size + other - shared)


def _naive_boxes(scans: list[tuple[list[Any], list[Any]]]) -> int:
    """COCO's greedy matching scan by scan; how many hits there are at all thresholds."""
    hits = 0
    for boxes, lesions in scans:
        boxes = sorted(boxes, key=lambda one: -one[1])
        overlaps = [[_naive_overlap(box, lesion) for lesion in lesions] for box, _ in boxes]
        for threshold in COCO_THRESHOLDS:
            free = [True] * len(lesions)
            for row in overlaps:
                best, at = threshold, -1
                for k, overlap in enumerate(row):
                    if free[k] and overlap >= best:
                        best, at = overlap, k
                if at >= 0:
                    free[at] = False
                    hits += 1
    return hits


def _least(function: Callable[[], Any], turns: int) -> tuple[Any, float]:
    times = []
    for _ in range(turns):
        start = time.process_time()
        found = function()
        times.append(time.process_time() - start)
    return found, min(times)


def _centres(data: dict[str, np.ndarray], scans: int, turns: int) -> None:
    lists: list[tuple[list[Any], list[Any]]] = [([], []) for _ in range(scans)]
    for centre, score, image in zip(data["candidate"], data["score"], data["candidate_image"], strict=True):
        lists[image][0].append((*centre.tolist(), float(score)))
    for row in zip(data["lesion"], data["diameter"], data["excluded"], data["lesion_image"], strict=True):
        lists[row[3]][1].append((*row[0].tolist(), float(row[1]), bool(row[2])))

    def ours() -> Any:
        candidates = Spheres.of(data["candidate"], 0.0, image=data["candidate_image"], score=data["score"])
        lesions = Spheres.of(
            data["lesion"], data["diameter"], image=data["lesion_image"], excluded=data["excluded"]
        )
        return match_by_centre(candidates, lesions)

    marks = ours()
    _, fast = _least(ours, turns)
    (best, false), slow = _least(lambda: _naive_centres(lists), 2)
    same = sorted(best) == sorted(marks.lesion_score.tolist())
    same &= sorted(false) == sorted(marks.false_score.tolist())
    froc_report(marks, images=scans, resamples=10)
    _, spent = _least(lambda: froc_report(marks, images=scans), 2)
    _told(f"centres, {len(data['score'])} candidates", slow, fast, same)
    print(f"FROC with 2,000 resamples of patients: {spent:.2f} s")


def _boxes(data: dict[str, np.ndarray], scans: int, turns: int) -> None:
    part = max(scans // 10, 1)
    found_corners, true_corners = (
        _cubes(data["candidate"], data["side"]),
        _cubes(data["lesion"], data["diameter"]),
    )

    def objects(below: int) -> tuple[Boxes, Boxes]:
        found, truth = data["candidate_image"] < below, data["lesion_image"] < below
        return (
            Boxes.of(found_corners[found], image=data["candidate_image"][found], score=data["score"][found]),
            Boxes.of(true_corners[truth], image=data["lesion_image"][truth]),
        )

    def ours() -> Any:
        found = Boxes.of(found_corners, image=data["candidate_image"], score=data["score"])
        truth = Boxes.of(true_corners, image=data["lesion_image"])
        return match_boxes(found, truth, thresholds=COCO_THRESHOLDS, max_detections=10**6)

    lists: list[tuple[list[Any], list[Any]]] = [([], []) for _ in range(part)]
    for box, score, image in zip(found_corners, data["score"], data["candidate_image"], strict=True):
        if image < part:
            lists[image][0].append((box.tolist(), float(score)))
    for box, image in zip(true_corners, data["lesion_image"], strict=True):
        if image < part:
            lists[image][1].append(box.tolist())
    found, truth = objects(part)
    matches = match_boxes(found, truth, thresholds=COCO_THRESHOLDS, max_detections=10**6)
    same_hits = int(np.count_nonzero(matches.status == 1))
    _, fast = _least(ours, turns)
    hits, slow = _least(lambda: _naive_boxes(lists), 1)
    _told(
        f"boxes in space, {len(data['score'])} at 10 thresholds", slow * scans / part, fast, hits == same_hits
    )
    found, truth = objects(scans)
    precision_report(found, truth, images=scans, resamples=2)
    _, spent = _least(lambda: precision_report(found, truth, images=scans), 1)
    print(f"mAP with 1,000 resamples of patients: {spent:.2f} s")


def _told(what: str, slow: float, fast: float, same: bool) -> None:
    agreed = "equal results" if same else "RESULTS DIFFER"
    print(f"{what}: loop {slow:.3f} s, ours {fast * 1000:.1f} ms, {slow / fast:.0f} times, {agreed}")
    if not same:
        raise SystemExit(1)


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--candidates", type=int, default=300)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    data = _objects(options.scans, options.candidates)
    _centres(data, options.scans, options.turns)
    _boxes(data, options.scans, options.turns)


if __name__ == "__main__":
    main()
