"""How likely a nodule is malignant by the Brock model: a published formula, no network.

McWilliams et al., N Engl J Med 2013;369:910, full model with spiculation, made on nodules of a first
screening scan. What CT and header do not say (family history, emphysema, spiculation) is taken as absent, so
that the probability is a lower bound for patients who have any of them.
"""

from __future__ import annotations

import math
from typing import Literal

from hounsfield.steps.nodules.measure import NoduleMeasures

__all__ = ["brock_probability"]

_AGE, _FEMALE, _SIZE, _UPPER, _COUNT = 0.0287, 0.6011, -5.3854, 0.6581, -0.0824
_KIND = {"solid": 0.0, "part-solid": 0.377, "ground-glass": -0.1276}
_CONSTANT = -6.7892
_SIZE_CENTRE, _AGE_CENTRE, _COUNT_CENTRE = 1.58113883, 62.0, 4.0


def brock_probability(
    nodule: NoduleMeasures, *, age: float, sex: Literal["F", "M"], third: str, count: int
) -> float:
    """The probability, 0 to 1, of a nodule in a person of this age in years among `count` nodules.

    `third` is where it lies in its lung; the upper third stands for the upper lobe.

    >>> of = NoduleMeasures((0, 0, 0), 268.0, 8.0, 8.0, 8.0, 20.0, 270.0, "solid", 8.0, False, 1.0)
    >>> round(brock_probability(of, age=62, sex="F", third="upper", count=1), 3)
    0.058
    """
    size = max(nodule.long_axis_mm, 1.0)
    odds = (
        _CONSTANT
        + _AGE * (age - _AGE_CENTRE)
        + (_FEMALE if sex == "F" else 0.0)
        + _SIZE * ((size / 10.0) ** -0.5 - _SIZE_CENTRE)
        + _KIND[nodule.density]
        + (_UPPER if third == "upper" else 0.0)
        + _COUNT * (count - _COUNT_CENTRE)
    )
    return 1.0 / (1.0 + math.exp(-odds))
