"""Search cases with every member of a model, in each image's own voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from hounsfield.core.case import Case
from hounsfield.core.model import Model
from hounsfield.io.source import Source
from hounsfield.steps.compute import available_cores, computing, pick_device
from hounsfield.steps.regions.members import networks_of, require_channels
from hounsfield.steps.regions.to_grid import Native, gridded, native_case
from hounsfield.tasks.detection import Candidates

__all__ = ["located_cases"]


def located_cases(
    model: Model,
    source: Source,
    cases: Sequence[Case],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Case, Native, Candidates]]:
    """Each case as it lies in its files, with the candidates that the model finds there, best first.

    Raises BadInput where a case cannot be brought to the plan's grid, or has other channels.
    """
    from hounsfield.steps.detection.find import found_in

    plan, device = model.plan, pick_device(model.plan.device)
    networks = networks_of(model)
    for done, case in enumerate(cases, 1):
        native = native_case(source, case, ())
        require_channels(native, model, case.id)
        made = gridded(native, plan.grid)
        with computing(plan.threads or available_cores()):
            found = found_in(networks, made.data, made.levels, made.place, plan, device)
        yield case, native, found
        if progress:
            progress(done, len(cases))
