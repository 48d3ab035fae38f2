"""Outline cases with every member of a model, tidied as its validation cases chose, on their own grids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.model import Model
from hounsfield.io.source import Source
from hounsfield.steps.compute import available_cores, computing, pick_device
from hounsfield.steps.regions.members import networks_of, require_channels
from hounsfield.steps.regions.to_grid import Native, gridded, native_case
from hounsfield.steps.segmentation.clean import cleaned

__all__ = ["outlined_cases", "tidied"]


def outlined_cases(
    model: Model,
    source: Source,
    cases: Sequence[Case],
    *,
    resample_masks: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Case, Native, NDArray[np.uint8]]]:
    """Each case as it lies in its files, with the labels (K, J, I) that the model gives it.

    Raises BadInput where a case cannot be brought to the plan's grid, or has other channels.
    """
    from hounsfield.steps.segmentation.outline import outlined_grid

    plan, device = model.plan, pick_device(model.plan.device)
    networks = networks_of(model)
    for done, case in enumerate(cases, 1):
        native = native_case(
            source, case, plan.segmentation.structures,
            ignore=plan.segmentation.ignore, resample_masks=resample_masks,
        )  # fmt: skip
        require_channels(native, model, case.id)
        with computing(plan.threads or available_cores()):
            labels = outlined_grid(networks, gridded(native, plan.grid), plan, device)
        yield case, native, tidied(labels, native, model)
        if progress:
            progress(done, len(cases))


def tidied(labels: NDArray[np.uint8], native: Native, model: Model) -> NDArray[np.uint8]:
    """Labels tidied as the model says, and nothing outside the field of view where one is given."""
    if model.cleaning is not None:
        labels = cleaned(labels, model.cleaning, spacing_mm=native.spacing_mm or (1.0, 1.0, 1.0)).astype(
            np.uint8
        )
    return labels if native.within is None else np.where(native.within, labels, 0).astype(np.uint8)
