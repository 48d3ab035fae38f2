"""Calibrated probabilities through which gradients flow, and the way back from a probability to a logit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration, Curve

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["calibrated_tensor", "logit_of"]


def calibrated_tensor(logits: Tensor, encoding: LabelEncoding, calibration: Calibration) -> Tensor:
    """`classification.probabilities` of a torch tensor (n, outputs).

    >>> import torch
    >>> encoding = LabelEncoding("binary", ("0", "1"))
    >>> calibrated_tensor(torch.zeros(1, 1), encoding, Calibration())
    tensor([[0.5000]])
    """
    import torch

    if calibration.outputs:
        alone = LabelEncoding("binary", ("absent", "present"))
        own = enumerate(calibration.outputs)
        return torch.cat([calibrated_tensor(logits[:, c, None], alone, one) for c, one in own], 1)
    values = logits.float()
    if calibration.curves:
        odds = _log_odds(values)
        read = torch.stack([_read_off(odds[:, c], curve) for c, curve in enumerate(calibration.curves)], 1)
        return read if read.shape[1] == 1 else read / read.sum(1, keepdim=True)
    scaled = values / calibration.temperature + calibration.bias
    if calibration.shifts:
        scaled = scaled + torch.tensor(calibration.shifts, device=scaled.device)
    return torch.softmax(scaled, 1) if encoding.kind == "multiclass" else torch.sigmoid(scaled)


def logit_of(probability: float, calibration: Calibration, output: int = 0) -> float:
    """The logit at which an output that stands alone reaches this calibrated probability, between 0 and 1.

    Of an isotonic curve that never does it is a logit beyond its end.

    >>> logit_of(0.5, Calibration("temperature and bias", 2.0, -1.0))
    2.0
    """
    own = calibration.outputs[output] if calibration.outputs else calibration
    if not own.curves:
        return float((np.log(probability / (1 - probability)) - own.bias) * own.temperature)
    x, y = own.curves[0]
    if probability <= y[0]:
        return x[0] - 1.0
    if probability > y[-1]:
        return x[-1] + 1.0
    after = next(k for k, reached in enumerate(y) if reached >= probability)
    share = (probability - y[after - 1]) / (y[after] - y[after - 1])
    return x[after - 1] + share * (x[after] - x[after - 1])


def _log_odds(values: Tensor) -> Tensor:
    """The logit of each output against the rest, (n, outputs)."""
    import torch

    if values.shape[1] == 1:
        return values
    count = values.shape[1]
    others = torch.stack(
        [torch.logsumexp(values[:, [k for k in range(count) if k != c]], 1) for c in range(count)], 1
    )
    return values - others


def _read_off(odds: Tensor, curve: Curve) -> Tensor:
    """A curve of rising points at these log odds (n,): linear between them, level beyond."""
    import torch

    x, y = (torch.tensor(side, dtype=odds.dtype, device=odds.device) for side in curve)
    if len(x) == 1:
        return y.expand(len(odds)) + 0 * odds
    held = odds.clamp(float(x[0]), float(x[-1]))
    after = torch.searchsorted(x, held.detach().contiguous()).clamp(1, len(x) - 1)
    width = (x[after] - x[after - 1]).clamp(min=1e-12)
    return y[after - 1] + (held - x[after - 1]) / width * (y[after] - y[after - 1])
