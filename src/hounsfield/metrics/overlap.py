"""How far a predicted mask and the reference cover the same voxels: Dice, IoU and the error of volume.

The rule for empty masks: where both are empty, nothing overlaps nothing, and Dice and IoU are not defined
(the case then counts for whether an absent structure was left alone: `segmentation.segmentation_report`);
where only one is empty both are 0. A relative error of volume needs a reference that is not empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.metrics.masks import MaskPair, check_masks

__all__ = ["Overlap", "measure_overlap", "overlap"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Dice and IoU of two masks, or None with a `reason`; volumes in ml, errors as prediction - reference.

    For plane images the volume is that of a slice of 1 mm. `relative_volume_error` is a fraction of the
    reference.
    """

    dice: float | None
    iou: float | None
    volume_ml: float
    reference_ml: float
    relative_volume_error: float | None
    reason: str = ""

    @property
    def volume_error_ml(self) -> float:
        """By how much the predicted volume is too large."""
        return self.volume_ml - self.reference_ml


def overlap(prediction: npt.ArrayLike, reference: npt.ArrayLike, *, spacing_mm: Sequence[float]) -> Overlap:
    """Compare two masks of zeros and ones, (K, J, I) or (J, I), with voxels of `spacing_mm` in that order.

    Dice, Ecology 1945;26:297; Jaccard 1912. Raises BadInput for masks that differ in shape, or hold labels.

    >>> found = overlap([[1, 1, 0, 0]], [[0, 1, 1, 0]], spacing_mm=(1.0, 2.0))
    >>> found.dice, round(found.iou, 4), found.volume_error_ml
    (0.5, 0.3333, 0.0)
    """
    return measure_overlap(check_masks(prediction, reference, spacing_mm=spacing_mm))


def measure_overlap(pair: MaskPair) -> Overlap:
    """The same for masks that were checked before.

    >>> import numpy as np
    >>> empty = np.zeros((2, 2, 2), bool)
    >>> measure_overlap(check_masks(empty, empty, spacing_mm=(1, 1, 1))).reason
    'both masks are empty: their overlap is not defined'
    """
    said, truth = pair.cropped()
    n_said, n_truth = int(np.count_nonzero(said)), int(np.count_nonzero(truth))
    both = int(np.count_nonzero(said & truth))
    either = n_said + n_truth - both
    volumes = n_said * pair.voxel_ml, n_truth * pair.voxel_ml
    if not either:
        reason = "both masks are empty: their overlap is not defined"
        return Overlap(None, None, *volumes, None, reason)
    relative = n_said / n_truth - 1 if n_truth else None
    reason = "" if n_truth else "the reference is empty: a relative error of volume is not defined"
    return Overlap(2 * both / (n_said + n_truth), both / either, *volumes, relative, reason)
