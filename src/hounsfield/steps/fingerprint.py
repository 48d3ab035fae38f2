"""What the data is like: the facts from which a plan is designed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput
from hounsfield.io.pixel_store import PixelStore
from hounsfield.metrics.discrimination import area

__all__ = ["Fingerprint", "fingerprint"]

SAMPLED = 200


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Numbers of the development cases: how many, how large, of what kind.

    `size` is the median (K, J, I); `spacing_mm` its median (k, j, i), empty if unknown; `aspects` the
    5th and 95th percentile of J / I; `imbalance` the largest class over the smallest;
    `sharpness_auroc` how well sharpness alone tells a class from the rest (at least .5); `levels` the
    0.5 and 99.5 percentile of sampled voxels.
    """

    n: int
    patients: int
    size: tuple[int, int, int]
    aspects: tuple[float, float]
    channels: int
    bits: int
    modality: str
    spacing_mm: tuple[float, ...]
    imbalance: float
    levels: tuple[float, float]
    sharpness_auroc: float = 0.5

    @property
    def is_flat(self) -> bool:
        return self.size[0] == 1


def fingerprint(cohort: Cohort, store: PixelStore, *, channels: int = 0) -> Fingerprint:
    """The facts of the development cases. Raises BadInput for mixed channel counts, unless `channels`
    says what to bring them to, and for a mixture of 2D images and volumes.
    """
    cases = cohort.development
    rows = [store.rows[c.images[0].id] for c in cases]
    seen = Counter(r.shape[0] for r in rows)
    if len(seen) > 1 and not channels:
        listed = " and ".join(f"{n} with {c} channel(s)" for c, n in seen.most_common())
        raise BadInput(
            f"the images differ in channels ({listed}); expected all alike; set input.channels=1 or "
            "input.channels=3 to bring them to one"
        )
    flat = [r.shape[1] == 1 for r in rows]
    if any(flat) and not all(flat):
        raise BadInput(
            f"{sum(flat)} images are 2D and {len(flat) - sum(flat)} are volumes; expected one kind; scan "
            "them separately"
        )
    size = np.median([r.shape[1:] for r in rows], 0).round().astype(int)
    aspects = np.percentile([r.shape[2] / r.shape[3] for r in rows], (5, 95))
    spacings = [r.spacing_mm for r in rows if len(r.spacing_mm) == 3]
    spacing = tuple(np.median(spacings, 0).round(4).tolist()) if len(spacings) == len(rows) else ()
    counts = [n for n in cohort.class_counts(cases).values() if n]
    modality = Counter(c.images[0].modality for c in cases).most_common(1)[0][0]
    return Fingerprint(
        n=len(cases),
        patients=len({c.patient for c in cases}),
        size=(int(size[0]), int(size[1]), int(size[2])),
        aspects=(float(aspects[0]), float(aspects[1])),
        channels=3 if (channels or max(seen)) == 3 else 1,
        bits=max(c.images[0].bits for c in cases),
        modality=modality,
        spacing_mm=spacing,
        imbalance=max(counts) / min(counts),
        levels=_levels(cohort, store),
        sharpness_auroc=_sharpness_auroc(cohort, store),
    )


def _sharpness_auroc(cohort: Cohort, store: PixelStore) -> float:
    """Sharpness is the share of an image's spread that a small blur takes away: a matter of the scanner."""
    import cv2

    values = []
    for case in cohort.development:
        data = store.image(case.images[0].id)
        plane = np.ascontiguousarray(data[0, data.shape[1] // 2], np.float32)
        values.append(
            float((plane - cv2.GaussianBlur(plane, (0, 0), 1.0)).std() / max(float(plane.std()), 1e-6))
        )
    sharpness, areas = np.array(values), [0.5]
    for k in range(len(cohort.encoding.classes)):
        inside = np.array([c.answer is not None and k in c.answer.positive for c in cohort.development])
        found = area(sharpness, inside)
        if found is not None:
            areas.append(max(found, 1 - found))
    return max(areas)


def _levels(cohort: Cohort, store: PixelStore) -> tuple[float, float]:
    cases = cohort.development
    step = max(1, len(cases) // SAMPLED)
    values = [
        np.asarray(store.image(c.images[0].id)).ravel()[:: 1 + store.image(c.images[0].id).size // 4096]
        for c in cases[::step]
    ]
    low, high = np.percentile(np.concatenate(values).astype(np.float64), (0.5, 99.5))
    return float(low), float(high)
