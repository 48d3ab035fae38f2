"""Whether a new image is like the images that a model was trained on: learned, kept beside it, asked.

What is kept are means and covariances of plain measures (`image_measures`) and how odd each development
patient is among the others (`oddness`): numbers, no image and no identity. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.model import Model, Typicality
from hounsfield.io.files import whole_file
from hounsfield.io.model_store import digest_of
from hounsfield.steps.compute import available_cores
from hounsfield.steps.image_measures import FAMILIES, measures_of
from hounsfield.steps.oddness import Oddness, learn_oddness
from hounsfield.steps.prepare import Prepared

__all__ = ["FILE", "LEAST_PATIENTS", "how_typical", "with_typicality"]

Array = NDArray[np.float64]

FILE = "typical.safetensors"
LEAST_PATIENTS = 30
"""With fewer the oddest of them is no measure of what is odd."""

_MOST_LEARNED = 5000


def with_typicality(
    model: Model, prepared: Prepared, cases: Sequence[Case]
) -> tuple[Model, Array, NDArray[np.str_]]:
    """The model with how its development images look, written beside its weights.

    And of each case its p (N,) among the others, with what is odd about it (N,), as `how_typical` says them
    of new images. `validation.unlike_share` of the patients to come may be called unlike although they are
    like these; where there are fewer patients than it takes, one in all of them. With fewer than
    `LEAST_PATIENTS` nothing is kept, and the note says so.
    """
    share = model.plan.validation.unlike_share
    own, words = np.full(len(cases), np.nan), np.full(len(cases), "", "U80")
    count = len({c.patient for c in cases})
    if not share or count < LEAST_PATIENTS:
        note = f"{count} development patients are too few (expected {LEAST_PATIENTS} or more)"
        why = note if share else "the plan's validation.unlike_share is 0"
        none = Typicality(note=f"images unlike those of the training cannot be told: {why}")
        return replace(model, typicality=none), own, words
    step = -(-len(cases) // _MOST_LEARNED)
    taken = cases[::step]
    rows = _measured(prepared, taken)
    unit = max(float(np.median(rows["levels"][:, 1])), 1e-6)
    odd, p, oddest = learn_oddness(_scaled(rows, unit), [c.patient for c in taken])
    modalities = {c.images[0].modality for c in taken}
    found = Typicality(
        file=FILE,
        digest=_write(model, odd, unit),
        limit=max(share, 1 / (odd.n_patients + 1)),
        modalities=() if "" in modalities else tuple(sorted(modalities)),
        n=len(taken),
        n_patients=odd.n_patients,
    )
    own[::step] = p
    words[::step] = [_words(family, value, found) for family, value in zip(oddest, p, strict=True)]
    return replace(model, typicality=found), own, words


def _write(model: Model, odd: Oddness, unit: float) -> str:
    """The digest of the file that was written beside the weights."""
    from safetensors.numpy import save

    content = {name: np.ascontiguousarray(values, np.float64) for name, values in odd.arrays().items()}
    path = model.directory / FILE
    with whole_file(path) as unfinished:
        unfinished.write_bytes(save({**content, "unit": np.array([unit])}))
    return digest_of(path)


def how_typical(model: Model, prepared: Prepared, cases: Sequence[Case]) -> tuple[Array, tuple[str, ...]]:
    """p (N,) of each case's image, NaN where it cannot be told, and what is odd about it where it is unlike.

    p is the share of development patients, and this one, whose images are at least as odd. Raises BadInput
    where what was learned is not there or was changed.
    """
    kept = model.typicality
    if kept is None or not kept.file or not cases:
        return np.full(len(cases), np.nan), ("",) * len(cases)
    odd, unit = _read(model, kept)
    rows = _scaled(_measured(prepared, cases), unit)
    families = [f for f in rows if f in odd.distances.families]
    if len(families) < len(odd.distances.families):
        raise BadInput("the images have not the measures that the model knows; prepare them by its own plan")
    p, oddest = odd.p({f: rows[f] for f in odd.distances.families})
    words = tuple(
        _foreign(case, kept) or _words(family, value, kept)
        for case, family, value in zip(cases, oddest, p, strict=True)
    )
    return p, words


def _words(family: str, p: float, kept: Typicality) -> str:
    """What is odd about an image, "" where it is like the others."""
    return FAMILIES[family] if p <= kept.limit + 1e-9 else ""


def _foreign(case: Case, kept: Typicality) -> str:
    """What the file itself says that no training image did."""
    modality = case.images[0].modality
    if kept.modalities and modality and modality not in kept.modalities:
        return f"modality {modality}, trained on {', '.join(kept.modalities)}"
    return ""


def _read(model: Model, kept: Typicality) -> tuple[Oddness, float]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = model.directory / kept.file
    try:
        if digest_of(path) != kept.digest:
            raise BadInput(f"{kept.file} was changed since the training; copy the model's whole folder again")
        arrays = load_file(path)
        return Oddness.from_arrays(arrays), float(arrays["unit"][0])
    except (OSError, KeyError, SafetensorError) as error:
        raise BadInput(f"{kept.file} of the model cannot be read; copy its whole folder again") from error


def _measured(prepared: Prepared, cases: Sequence[Case]) -> dict[str, Array]:
    """Measures of each case's image: (N, D) a family."""
    rows = prepared.rows([c.id for c in cases])
    with ThreadPoolExecutor(available_cores()) as pool:
        found = list(pool.map(lambda row: measures_of(prepared.images[row]), rows.tolist(), chunksize=16))
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def _scaled(rows: dict[str, Array], unit: float) -> dict[str, Array]:
    """Levels in units of the usual spread of a development image, bent where they are many."""
    return {**rows, "levels": np.arcsinh(rows["levels"] / unit)}
