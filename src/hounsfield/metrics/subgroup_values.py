"""Every metric of every subgroup from its sums: of the cases as they are, or of 2,000 resamples at once.

Exact in every resample: the rates, F1, the Brier score and the calibration error, which are functions of
sums. One Newton step from the fit: the calibration slope and intercept. To first order, by each patient's
pull (the infinitesimal jackknife): AUROC and average precision. The tests hold the last two against a
bootstrap that makes everything anew.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hounsfield.metrics.patients import FloatArray
from hounsfield.metrics.subgroup_sums import COLUMNS, CellSums

Counts = FloatArray | npt.NDArray[np.float32]

__all__ = ["METRICS", "pulls_of", "resampled_metrics", "sample_metrics"]

METRICS = (
    "auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "npv",
    "f1", "brier", "ece", "calibration_slope", "calibration_intercept", "selection_rate", "prevalence",
    "false_negative_rate", "false_positive_rate",
)  # fmt: skip
"""What is measured. A false negative is an under-diagnosis, a false positive an over-diagnosis; the
selection rate is the share of cases that are called."""

_AT = {name: k for k, name in enumerate(COLUMNS)}
_FIRST_BIN = _AT["gap_0"]


def sample_metrics(sums: CellSums) -> dict[str, FloatArray]:
    """The metrics (G,) of the cases as they are; NaN where a metric is not defined.

    >>> from hounsfield.metrics.subgroup_sums import cell_sums
    >>> scores, positive = np.array([0.1, 0.8, 0.3, 0.9]), np.array([False, False, True, True])
    >>> who, cells = np.arange(4), np.zeros((1, 4), np.int32)
    >>> sums = cell_sums(scores, positive, scores > 0.5, cells, 1, who, 4, who)
    >>> {name: float(v[0]) for name, v in sample_metrics(sums).items() if name in ("auroc", "accuracy")}
    {'auroc': 0.75, 'accuracy': 0.5}
    """
    return _metrics(sums.by_block.sum(axis=0), sums)


def resampled_metrics(sums: CellSums, counts: Counts) -> tuple[dict[str, FloatArray], FloatArray]:
    """The metrics (B, G) of resamples that draw each block `counts` (B, M) times: one matrix product.

    Also the largest bias (G,) that the noise of the score bins can give the calibration error:
    sqrt(2 / pi) times the sum of their deviations.

    >>> from hounsfield.metrics.subgroup_sums import cell_sums
    >>> scores, positive = np.array([0.1, 0.8, 0.3, 0.9]), np.array([False, False, True, True])
    >>> who, cells = np.arange(4), np.zeros((1, 4), np.int32)
    >>> sums = cell_sums(scores, positive, scores > 0.5, cells, 1, who, 4, who)
    >>> resampled_metrics(sums, np.array([[2, 0, 0, 2], [0, 2, 2, 0]]))[0]["accuracy"].tolist()
    [[1.0], [0.0]]
    """
    blocks, cells, columns = sums.by_block.shape
    # Single precision holds whole numbers to 16 million exactly, and the rest to far below the noise.
    table = sums.by_block.reshape(blocks, cells * columns).astype(np.float32)
    totals = (np.asarray(counts, np.float32) @ table).reshape(len(counts), cells, columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps = totals[..., _FIRST_BIN:] / totals[..., :4].sum(axis=-1, keepdims=True)
    spread = np.sqrt((pulls_of(gaps.reshape(len(counts), -1)) ** 2).sum(axis=0))
    bias = math.sqrt(2 / math.pi) * spread.reshape(cells, -1).sum(axis=1)
    return _metrics(totals.astype(np.float64), sums), np.asarray(bias, np.float64)


def pulls_of(resampled: FloatArray) -> FloatArray:
    """Resamples (B, G) as deviations from their mean over sqrt(B - 1); undefined ones count as the mean.

    >>> pulls_of(np.array([[0.5], [1.0], [np.nan], [0.0]])).ravel().round(4).tolist()
    [0.0, 0.3536, 0.0, -0.3536]
    """
    finite = np.isfinite(resampled)
    count = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, resampled, 0.0).sum(axis=0) / count
    off = np.where(finite, resampled - mean, 0.0)
    return np.asarray(off / np.sqrt(np.maximum(count - 1, 1)))


def _metrics(totals: FloatArray, sums: CellSums) -> dict[str, FloatArray]:
    tp, fn, fp, tn, square = (totals[..., k] for k in range(5))
    found, clear, called = tp + fn, fp + tn, tp + fp
    n = found + clear
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = tp / found, tn / clear
        gaps = totals[..., _FIRST_BIN:]
        metrics = {
            "auroc": sums.auroc + totals[..., _AT["auroc_pull"]],
            "auprc": sums.auprc + totals[..., _AT["auprc_pull"]],
            "accuracy": (tp + tn) / n,
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "precision": tp / called,
            "npv": tn / (fn + tn),
            "f1": 2 * tp / (2 * tp + fn + fp),
            "brier": square / n,
            "ece": np.abs(gaps).sum(axis=-1) / n,
            **_one_step(totals, sums),
            "selection_rate": called / n,
            "prevalence": found / n,
            "false_negative_rate": fn / found,
            "false_positive_rate": fp / clear,
        }
    return {name: np.asarray(values) for name, values in metrics.items()}


def _one_step(totals: FloatArray, sums: CellSums) -> dict[str, FloatArray]:
    """Slope and intercept after one Newton step from the fit on all cases."""
    by_slope, by_constant = totals[..., _AT["slope_gradient"]], totals[..., _AT["constant_gradient"]]
    ss, sc, cc = (totals[..., _AT[f"{name}_hessian"]] for name in ("slope", "mixed", "constant"))
    step = (by_slope * cc - by_constant * sc) / (ss * cc - sc * sc)
    shift = totals[..., _AT["intercept_gradient"]] / totals[..., _AT["intercept_hessian"]]
    return {"calibration_slope": sums.slope - step, "calibration_intercept": sums.intercept - shift}
