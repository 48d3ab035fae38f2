"""Logistic regression by Newton's method, and the covariance of its coefficients between patients."""

from __future__ import annotations

import numpy as np

from hounsfield.metrics.patients import BoolArray, FloatArray, Patients

__all__ = ["fit_logistic", "robust_covariance"]

_STEPS = 100


def fit_logistic(
    design: FloatArray, targets: FloatArray | BoolArray, *, offset: FloatArray | float = 0.0
) -> FloatArray | None:
    """The coefficients (K,) of the most likely logistic regression, or None where none is finite.

    `design` is (N, K); `targets` (N,) are answers, or probabilities between 0 and 1; `offset` (N,) is a part
    of the logit that is held.

    >>> design = np.stack([np.ones(8), [0, 0, 0, 0, 1, 1, 1, 1]], axis=1)
    >>> fit_logistic(design, np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)).round(4).tolist()
    [-1.0986, 2.1972]
    """
    fit = np.zeros(design.shape[1])
    wanted = targets.astype(np.float64)
    for _ in range(_STEPS):
        p = _probabilities(design, fit, offset)
        hessian = design.T @ (design * (p * (1 - p))[:, None])
        if np.linalg.cond(hessian) > 1e13:
            return None
        step = np.linalg.solve(hessian, design.T @ (p - wanted))
        fit = fit - step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < 1e-9:
            return fit
    return None


def robust_covariance(
    design: FloatArray,
    targets: FloatArray | BoolArray,
    fit: FloatArray,
    patients: Patients,
    *,
    offset: FloatArray | float = 0.0,
) -> FloatArray:
    """The sandwich covariance (K, K) of coefficients, with patients as clusters (Liang & Zeger 1986).

    Each case's residual is over 1 - its leverage (HC3: MacKinnon & White, J Econometrics 1985;29:305), since
    few cases pull the fit to themselves and look nearer to it than they are.

    >>> design = np.ones((8, 1))
    >>> answers = np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)
    >>> robust_covariance(design, answers, np.zeros(1), Patients.of(None, cases=8)).round(4).tolist()
    [[0.5714]]
    """
    p = _probabilities(design, fit, offset)
    bread = np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]))
    leverage = np.einsum("ni,ij,nj->n", design, bread, design) * p * (1 - p)
    residual = (targets.astype(np.float64) - p) / np.maximum(1 - leverage, 1e-3)
    scores = patients.sums(design * residual[:, None])
    count = patients.count
    return np.asarray(bread @ (scores.T @ scores) @ bread * (count - 1) / count)


def _probabilities(design: FloatArray, fit: FloatArray, offset: FloatArray | float) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(offset + design @ fit, -500, 500))))
