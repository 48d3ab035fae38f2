"""Counterfactual edits of shown cases: a small synthetic change that turns the call over, and its size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.metrics.measured import proportion
from hounsfield.metrics.patients import Patients
from hounsfield.steps.explain_maps import Maps
from hounsfield.steps.explain_panels import grey, signed, window_of
from hounsfield.steps.explain_tests import mean_between_patients

if TYPE_CHECKING:
    from hounsfield.explainers.counterfactual import Edit

__all__ = ["Panels", "edited_cases"]

Panels = tuple[tuple[str, NDArray[np.uint8]], ...]


def edited_cases(
    maps: Maps, rows: Sequence[int], *, seed: int = 0, progress: Callable[[int], None] | None = None
) -> tuple[dict[int, tuple[str, Panels]], tuple[Finding, ...]]:
    """For each row (2D only) a sentence and the panels of its edit, and what was measured over them.

    A row that the member which explains it calls otherwise than the whole model is left out: its call cannot
    be turned over. Random edits of the same size and smoothness say whether the direction matters.
    """
    from hounsfield.explainers.counterfactual import DRAWS, MOST

    found = dict(zip(rows, maps.each(lambda row: _edit_of(maps, row, seed), rows), strict=True))
    if progress:
        progress(len(rows))
    shown: dict[int, tuple[str, Panels]] = {}
    for row, edit in found.items():
        if edit is not None and edit.crossed:
            text = (
                "synthetic, no patient: a smooth change of brightness by "
                f"{edit.size:.3f} standard deviations of the image turns the call over; "
                f"{edit.random} of {DRAWS} random changes as large do"
            )
            shown[row] = text, _panels(maps.images([row])[0], edit)
        elif edit is not None:
            shown[row] = f"no smooth change of up to {MOST:g} standard deviations turns the call over", ()
    return shown, _findings(maps, {row: edit for row, edit in found.items() if edit is not None})


def _edit_of(maps: Maps, row: int, seed: int) -> Edit | None:
    """The edit of one row, None where the member that explains it does not call it as the model does."""
    import torch

    from hounsfield.explainers.counterfactual import smooth_edits

    network, margin = maps.network(maps.member_of(row)), maps.margin(row)
    given = torch.from_numpy(maps.images([row]))
    with torch.no_grad():
        device = next(network.parameters()).device
        agrees = bool(margin(network(given.to(device)))[0] > 0)
    return smooth_edits(network, given, margin, seed=seed + row)[0] if agrees else None


def _panels(image: NDArray[np.float32], edit: Edit) -> Panels:
    window = window_of(image)
    return (
        ("image", grey(image, window=window)),
        ("synthetic: would be called otherwise", grey(edit.image, window=window)),
        (f"synthetic: the change, {edit.size:.3f} SD (blue darker, orange brighter)", signed(edit.change)),
    )


def _findings(maps: Maps, edits: Mapping[int, Edit]) -> tuple[Finding, ...]:
    """How many calls an edit turned over, how large it was, and how often chance would have done."""
    from hounsfield.explainers.counterfactual import DRAWS, MOST

    if not edits:
        return ()
    name, patients = "explanation_counterfactual", maps.predictions.patients
    crossed = np.array([edit.crossed for edit in edits.values()])
    owners = Patients.of([patients[row] for row in edits], cases=len(edits))
    share = proportion(crossed, np.ones(len(crossed), bool), owners).estimate("crossed")
    said = (
        "share of the shown cases (no sample) that a smooth synthetic change of at most "
        f"{MOST:g} standard deviations of the image turns over"
    )
    turned = Finding(
        name, label="turned over", value=share.value, low=share.low, high=share.high, n=len(edits),
        n_patients=owners.count, method=share.method, note=share.reason or said,
    )  # fmt: skip
    kept = {row: edit for row, edit in edits.items() if edit.crossed}
    owners_of_kept = [patients[row] for row in kept]
    size = mean_between_patients(
        name, np.array([edit.size for edit in kept.values()]), owners_of_kept, label="size", bounds=(0, MOST),
        note="mean size of that change, in standard deviations of the image",
    )  # fmt: skip
    random = mean_between_patients(
        name, np.array([edit.random / DRAWS for edit in kept.values()]), owners_of_kept, label="random",
        bounds=(0, 1), note="share of random changes as large and smooth that turn the call over too",
    )  # fmt: skip
    return turned, size, random
