"""The measures of one simulated person's chest.

They are plain adult sizes chosen by hand, with a spread and a dependence on sex and age; a smooth
geometric model, not a segmentation of anybody.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

__all__ = ["Body", "Sex", "sample_body"]

Sex = Literal["F", "M"]


class Body(NamedTuple):
    """Measures in millimetres, densities in HU; `female` and `emphysema` are 0 or 1 and 0 to 1."""

    female: float
    age: float
    scale: float
    half_width: float
    half_depth: float
    apex: float
    dome_right: float
    dome_left: float
    fat: float
    muscle: float
    heart: float
    lung_hu: float
    gradient_hu: float
    emphysema: float
    spine_y: float
    fissure: float


def sample_body(rng: np.random.Generator, *, sex: Sex, age: int) -> Body:
    """A body of that sex and age; the same generator gives the same body.

    >>> body = sample_body(np.random.default_rng(0), sex="F", age=60)
    >>> 90 < body.half_width < 150 and body.dome_right > body.dome_left
    True
    """
    female = sex == "F"
    scale = float(np.clip(rng.normal(0.94 if female else 1.03, 0.05), 0.82, 1.15))
    half_width = scale * float(np.clip(rng.normal(126, 5), 114, 138))
    half_depth = scale * float(np.clip(rng.normal(84 + 0.12 * (age - 60), 6), 68, 100))
    apex = scale * float(np.clip(rng.normal(92, 6), 78, 106))
    dome = scale * float(np.clip(rng.normal(-88, 9), -108, -66))
    return Body(
        female=float(female),
        age=float(age),
        scale=scale,
        half_width=half_width,
        half_depth=half_depth,
        apex=apex,
        dome_right=dome,
        dome_left=dome - scale * float(rng.uniform(6, 16)),
        fat=float(np.clip(rng.gamma(4.0, 3.6 if female else 3.0), 4, 34)),
        muscle=scale * float(rng.uniform(6, 10) if female else rng.uniform(8, 14)),
        heart=scale * float(np.clip(rng.normal(1.0 + 0.003 * (age - 60), 0.06), 0.85, 1.2)),
        lung_hu=float(np.clip(rng.normal(-858 - 0.4 * (age - 60), 18), -905, -800)),
        gradient_hu=float(rng.uniform(20, 55)),
        emphysema=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.3 else 0.0,
        spine_y=half_depth * 0.72,
        fissure=scale * float(rng.normal(0, 6)),
    )
