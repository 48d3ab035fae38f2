"""Which candidates hit which lesions, by LUNA16's rules: the centre of a candidate lies inside the lesion.

A lesion is hit when a candidate's centre lies nearer to its centre than its radius; of several hits the best
score counts and the others are forgotten; a candidate inside two lesions hits both. A candidate that hits no
lesion but lies on an excluded finding is ignored, and every other candidate is a false positive. A lesion
with a negative diameter, of unknown size, is taken as 10 mm (Setio et al., Med Image Anal 2017;42:1, and
the rules of the challenge's evaluation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.compiled import compiled
from hounsfield.core.errors import BadInput
from hounsfield.metrics.detection_objects import Spheres, check_one_space
from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray

__all__ = ["FALSE", "HIT", "IGNORED", "Marks", "best_candidates", "match_by_centre"]

FALSE, HIT, IGNORED = 0, 1, 2
_UNKNOWN_DIAMETER_MM = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """What a free-response curve is made of: lesions with their best score, and false positives.

    `lesion_score` (L,) is -inf for a lesion that no candidate hit; excluded findings are left out.
    `kind` (N,) says of each candidate whether it is FALSE, a HIT or IGNORED.
    """

    lesion_score: FloatArray
    lesion_image: IntArray
    false_score: FloatArray
    false_image: IntArray
    kind: npt.NDArray[np.int8]


def match_by_centre(candidates: Spheres, lesions: Spheres) -> Marks:
    """Match candidates to lesions by LUNA16's rules, with a time that grows with the candidates.

    Raises BadInput for a lesion with a diameter of 0.

    >>> lesions = Spheres.of([[0, 0, 0], [50, 0, 0]], [6.0, 8.0], image=[0, 0])
    >>> centres = [[1, 0, 0], [0, 1, 0], [9, 9, 9]]
    >>> candidates = Spheres.of(centres, 0.0, image=[0, 0, 0], score=[0.4, 0.7, 0.9])
    >>> marks = match_by_centre(candidates, lesions)
    >>> marks.lesion_score.tolist(), marks.false_score.tolist()
    ([0.7, -inf], [0.9])
    """
    check_one_space(candidates.centre_mm, lesions.centre_mm)
    flat = int(np.count_nonzero(lesions.diameter_mm == 0))
    if flat:
        raise BadInput(
            f"{flat} of {len(lesions)} lesions have a diameter of 0 mm; expected more. "
            "Give a negative diameter where the size is unknown: it is taken as 10 mm."
        )
    order = np.argsort(lesions.image, kind="stable")
    diameters = np.where(lesions.diameter_mm < 0, _UNKNOWN_DIAMETER_MM, lesions.diameter_mm)[order]
    images = 1 + max((int(one.image.max()) for one in (candidates, lesions) if len(one)), default=0)
    start = np.searchsorted(lesions.image[order], np.arange(images + 1)).astype(np.intp)
    kind, best = _match(
        candidates.centre_mm,
        candidates.score,
        candidates.image,
        lesions.centre_mm[order],
        (diameters / 2) ** 2,
        lesions.excluded[order],
        start,
    )
    counted = ~lesions.excluded
    scores = np.empty(len(lesions))
    scores[order] = best
    false = np.flatnonzero(kind == FALSE)
    return Marks(
        scores[counted],
        lesions.image[counted],
        candidates.score[false],
        candidates.image[false],
        kind,
    )


def best_candidates(candidates: Spheres, *, most: int) -> BoolArray:
    """Which candidates (N,) stay where an image may have `most`: LUNA16 keeps 100 a scan.

    In an image with more, only those that score above the first one left out stay.

    >>> crowd = Spheres.of(np.zeros((4, 3)), 0.0, image=[0, 0, 0, 1], score=[0.5, 0.9, 0.5, 0.1])
    >>> best_candidates(crowd, most=2).tolist()
    [False, True, False, True]
    """
    if most < 1:
        raise BadInput(f"{most} candidates an image were asked for; expected at least 1.")
    order = np.lexsort((-candidates.score, candidates.image))
    image, score = candidates.image[order], candidates.score[order]
    first = np.searchsorted(image, image)
    left_out = np.minimum(first + most, max(len(image) - 1, 0))
    crowded = (first + most < len(image)) & (image[left_out] == image)
    stays = np.empty(len(image), np.bool_)
    stays[order] = ~crowded | (score > score[left_out])
    return stays


@compiled
def _match(centre, score, image, lesion, squared_radius, excluded, start):  # type: ignore[no-untyped-def]
    """Lesions are in the order of images, those of image i from start[i] to start[i + 1]."""
    count, axes = centre.shape
    kind = np.zeros(count, np.int8)
    best = np.full(len(lesion), -np.inf)
    for n in range(count):
        on_excluded = False
        x = centre[n, 0]
        for k in range(start[image[n]], start[image[n] + 1]):
            distance = (x - lesion[k, 0]) ** 2
            if distance >= squared_radius[k]:
                continue
            for axis in range(1, axes):
                distance += (centre[n, axis] - lesion[k, axis]) ** 2
                if distance >= squared_radius[k]:
                    break
            if distance >= squared_radius[k]:
                continue
            if excluded[k]:
                on_excluded = True
                continue
            kind[n] = 1
            if score[n] > best[k]:
                best[k] = score[n]
        if on_excluded and kind[n] == 0:
            kind[n] = 2
    return kind, best
