"""Similar confirmed cases: the nearest training images in the network's own features, and their worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model
from hounsfield.io.files import whole_file
from hounsfield.io.model_store import digest_of
from hounsfield.metrics.measured import proportion
from hounsfield.metrics.patients import Patients
from hounsfield.steps.explain_maps import Maps
from hounsfield.steps.explain_panels import grey
from hounsfield.steps.prepare import Prepared

__all__ = ["NEIGHBOURS", "SHOWN", "Known", "Neighbour", "keep_known", "kept_known", "known_cases", "similar"]

NEIGHBOURS = 5
SHOWN = 3
MOST_KNOWN = 1000
"""Of more training cases so many are taken evenly; of more cases asked about so many are measured on."""

THUMBNAIL = 128
FILE = "similar.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Training cases as one member sees them: answers (M, classes) of 0 and 1, features (M, F), pictures.

    `patients` are the opaque keys of the cohort; `pictures` are (M, h, w, 3), small.
    """

    ids: tuple[str, ...]
    patients: tuple[str, ...]
    answers: NDArray[np.uint8]
    features: NDArray[np.float32]
    pictures: NDArray[np.uint8]

    def answer(self, row: int, encoding: LabelEncoding) -> str:
        """A case's confirmed answer in words."""
        return ", ".join(c for c, on in zip(encoding.classes, self.answers[row], strict=True) if on) or "none"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training case that is alike: its row among the known ones, and the cosine of the features."""

    row: int
    cosine: float


def known_cases(maps: Maps, member: int, training: Sequence[Case], prepared: Prepared) -> Known:
    """Training cases with an answer in the features of one member; none that it must explain.

    Raises BadInput where the network has no features.
    """
    explained = {case for row, case in enumerate(maps.predictions.ids) if maps.member_of(row) == member}
    usable = [c for c in training if c.answer is not None and c.id not in explained]
    chosen = usable[:: -(-len(usable) // MOST_KNOWN) or 1]
    rows = prepared.rows([c.id for c in chosen])
    features, pictures = [], []
    for low in range(0, len(rows), 32):
        images = prepared.batch(rows[low : low + 32])
        features.append(_features(maps, member, images))
        pictures += [grey(image, side=THUMBNAIL) for image in images]
    answers = np.zeros((len(chosen), len(maps.predictions.encoding.classes)), np.uint8)
    for row, case in enumerate(chosen):
        answers[row, list(case.answer.positive if case.answer else ())] = 1
    return Known(
        tuple(c.id for c in chosen),
        tuple(c.patient for c in chosen),
        answers,
        np.concatenate(features) if features else np.zeros((0, 1), np.float32),
        np.stack(pictures) if pictures else np.zeros((0, 1, 1, 3), np.uint8),
    )


def _features(maps: Maps, member: int, images: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    from hounsfield.explainers.similar_cases import pooled_features

    return pooled_features(maps.network(member), torch.from_numpy(images))


def similar(
    maps: Maps, known: dict[int, Known], rows: Sequence[int]
) -> tuple[dict[int, tuple[Neighbour, ...]], Finding]:
    """The nearest known cases of some rows, none of the same patient, and how often neighbours are right.

    `known` are the training cases by member. The finding is the share of all rows with an answer whose
    `NEIGHBOURS` nearest cases have the right answer as their commonest (of several as common, the nearest).
    """
    from hounsfield.explainers.similar_cases import nearest

    predictions = maps.predictions
    every = list(range(0, len(predictions), -(-len(predictions) // MOST_KNOWN) or 1))
    wanted = sorted({*every, *rows} if predictions.answers is not None else set(rows))
    found: dict[int, tuple[Neighbour, ...]] = {}
    for member, cases in known.items():
        some = [row for row in wanted if maps.member_of(row) == member]
        if not some or not cases.ids:
            continue
        parts = [
            _features(maps, member, maps.images(some[low : low + 32])) for low in range(0, len(some), 32)
        ]
        patients = np.array(cases.patients)
        other = np.array([patients != predictions.patients[row] for row in some])
        near, cosine = nearest(np.concatenate(parts), cases.features, other, count=NEIGHBOURS)
        for row, places, values in zip(some, near, cosine, strict=True):
            pairs = zip(places.tolist(), values.tolist(), strict=True)
            found[row] = tuple(Neighbour(place, value) for place, value in pairs if place >= 0)
    measured = [row for row in every if row in found] if predictions.answers is not None else []
    return {row: found[row] for row in rows if row in found}, _accuracy(maps, known, found, measured)


def _accuracy(
    maps: Maps, known: dict[int, Known], found: dict[int, tuple[Neighbour, ...]], rows: Sequence[int]
) -> Finding:
    """How often the neighbours' commonest answer is right, on cases of other patients than theirs."""
    name, label = "explanation_similar_cases", f"nearest {NEIGHBOURS} training cases"
    if not rows:
        return Finding(name, label=label, note="no case with an answer to measure neighbours on")
    answers, encoding = maps.predictions.answers, maps.predictions.encoding
    assert answers is not None
    table = answers if answers.ndim == 2 else np.eye(len(encoding.classes), dtype=np.int64)[answers]
    said = [_vote(known[maps.member_of(row)], found[row], several=answers.ndim == 2) for row in rows]
    right = np.array([np.array_equal(vote, table[row]) for row, vote in zip(rows, said, strict=True)])
    patients = Patients.of([maps.predictions.patients[row] for row in rows], cases=len(rows))
    share = proportion(right, np.ones(len(rows), bool), patients).estimate("accuracy")
    _, counts = np.unique(table[list(rows)], axis=0, return_counts=True)
    note = (
        "share of cases whose neighbours' commonest confirmed answer is right; always saying the commonest "
        f"answer is right in {counts.max() / len(rows):.3f}"
    )
    return Finding(
        name, label=label, value=share.value, low=share.low, high=share.high, n=len(rows),
        n_patients=patients.count, method=f"leave-patient-out neighbours; {share.method}",
        note=share.reason or note,
    )  # fmt: skip


def _vote(known: Known, neighbours: Sequence[Neighbour], *, several: bool) -> NDArray[np.int64]:
    """The commonest answer of neighbours, nearest first: one class, or each label by itself."""
    answers = known.answers[[n.row for n in neighbours]].astype(np.int64)
    if several:
        return np.asarray(2 * answers.sum(0) > len(answers), np.int64)
    counts = answers.sum(0)
    first = next(row for row in answers if counts[row.argmax()] == counts.max())
    return np.asarray(first, np.int64)


def keep_known(known: Known, model: Model, private: Path) -> None:
    """Write the known cases of the first member beside a run's private files, for `hu explain`."""
    private.mkdir(exist_ok=True)
    private.chmod(0o700)
    with whole_file(private / FILE) as unfinished, unfinished.open("wb") as stream:
        np.savez_compressed(
            stream,
            ids=np.array(known.ids),
            patients=np.array(known.patients),
            answers=known.answers,
            features=known.features.astype(np.float16),
            pictures=known.pictures,
            weights=np.array(digest_of(model.directory / model.members[0])),
        )


def kept_known(model: Model) -> Known | None:
    """The known cases that the run of a model has kept, None where they are not there or of other weights."""
    path = model.directory.parent / "private" / FILE
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as kept:
        if str(kept["weights"]) != digest_of(model.directory / model.members[0]):
            return None
        return Known(
            tuple(kept["ids"].tolist()),
            tuple(kept["patients"].tolist()),
            kept["answers"],
            kept["features"].astype(np.float32),
            kept["pictures"],
        )
