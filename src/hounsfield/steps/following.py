"""What an application that measures visits is given and gives: no model, each patient is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.clinical import Clinical
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.steps.visits import Patient

__all__ = ["Followed", "Follower", "Places", "each_followed"]

Measured = TypeVar("Measured")
Places = Callable[[Series, Volume], NDArray[np.float64]]
"""Where objects lie in an image: voxels (n, 3) along (k, j, i)."""


@dataclass(frozen=True)
class Followed:
    """What was measured: the application's chapter, a row a visit or interval for the table, and warnings.

    `refused` counts patients that could not be measured, by the reason in one sentence.
    """

    clinical: Clinical
    rows: tuple[Mapping[str, Any], ...]
    findings: tuple[Finding, ...] = ()
    refused: Mapping[str, int] | None = None


class Follower(Protocol):
    """Measures patients over their visits; `read` decodes an image when it is due.

    `places` says where objects lie, where marks or a model were given. A patient that cannot be measured is
    counted under the reason and leaves the others as they are.
    """

    def __call__(
        self,
        patients: Sequence[Patient],
        read: Callable[[Series], Volume],
        *,
        places: Places | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Followed: ...


def each_followed(
    patients: Sequence[Patient],
    measure: Callable[[Patient], Measured],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Measured], dict[str, int] | None]:
    """What is measured of each patient, in order; of those refused with BadInput, how often each sentence.

    >>> def measure(patient: Patient) -> str:
    ...     if len(patient.visits) < 2:
    ...         raise BadInput("one visit, expected two")
    ...     return patient.key
    >>> each_followed([Patient("a", ()), Patient("b", ())], measure)
    ([], {'one visit, expected two': 2})
    """
    found: list[Measured] = []
    refused: Counter[str] = Counter()
    for done, patient in enumerate(patients, start=1):
        try:
            found.append(measure(patient))
        except BadInput as error:
            refused[str(error)] += 1
        if progress is not None:
            progress(done, len(patients))
    return found, dict(refused) or None
