"""Neighbours are of other patients, bear confirmed answers, and come with how often they are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.case import Label, LabelEncoding
from hounsfield.steps.explain_similar import (
    NEIGHBOURS,
    Known,
    Neighbour,
    _vote,
    keep_known,
    kept_known,
    known_cases,
    similar,
)
from steps.spots import Spots, spots


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Spots:
    return spots(tmp_path_factory.mktemp("spots"), n=24, known=24)


def test_neighbours_of_a_spot_are_spots_and_their_worth_is_measured(some: Spots) -> None:
    maps = some.maps()
    known = known_cases(maps, 0, some.training, some.prepared)
    assert known.ids == tuple(c.id for c in some.training)
    near, finding = similar(maps, {0: known}, [2, 4])
    assert set(near) == {2, 4}
    assert [known.answer(n.row, some.model.encoding) for n in near[2]] == ["spot"] * NEIGHBOURS
    assert [known.answer(n.row, some.model.encoding) for n in near[4]] == ["clear"] * NEIGHBOURS
    assert near[2][0].cosine >= near[2][-1].cosine
    assert finding.value == 1.0 and finding.low is not None and 0.6 < finding.low < 1
    assert (finding.n, finding.n_patients) == (24, 12)
    assert "0.500" in finding.note


def test_no_neighbour_is_of_the_same_patient(some: Spots) -> None:
    maps = some.maps()
    mates = tuple(replace(c, patient=some.predictions.patients[k % 24]) for k, c in enumerate(some.training))
    known = known_cases(maps, 0, mates, some.prepared)
    near, _ = similar(maps, {0: known}, range(24))
    for row, neighbours in near.items():
        assert neighbours
        assert all(known.patients[n.row] != some.predictions.patients[row] for n in neighbours)


def test_cases_that_a_member_must_explain_are_not_its_training(some: Spots) -> None:
    maps = some.maps()
    assert not known_cases(maps, 0, some.cases[24:], some.prepared).ids
    without = tuple(replace(c, answer=None) for c in some.training)
    assert not known_cases(maps, 0, without, some.prepared).ids


def test_flipped_answers_make_neighbours_wrong(some: Spots) -> None:
    maps = some.maps()
    flipped = tuple(replace(c, answer=Label((1 - c.answer.positive[0],))) for c in some.training if c.answer)
    _, finding = similar(maps, {0: known_cases(maps, 0, flipped, some.prepared)}, [0])
    assert finding.value == 0.0


def test_the_nearest_decides_among_answers_as_common() -> None:
    answers = np.array([[0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]], np.uint8)
    known = Known(
        tuple("abcde"), tuple("abcde"), answers, np.zeros((5, 1), np.float32), np.zeros((5, 1, 1, 3))
    )
    neighbours = [Neighbour(k, 1.0) for k in range(5)]
    assert _vote(known, neighbours, several=False).tolist() == [0, 0, 1]
    assert _vote(known, neighbours[::-1], several=False).tolist() == [0, 0, 1]
    assert _vote(known, [neighbours[k] for k in (1, 0, 2, 3)], several=False).tolist() == [1, 0, 0]
    assert _vote(known, neighbours, several=True).tolist() == [0, 0, 0]
    assert known.answer(1, LabelEncoding("multiclass", ("x", "y", "z"))) == "x"


def test_what_is_kept_comes_back_for_these_weights_only(some: Spots, tmp_path: Path) -> None:
    made = spots(tmp_path, n=8, known=8)
    known = known_cases(made.maps(), 0, made.training, made.prepared)
    assert kept_known(made.model) is None
    private = made.model.directory.parent / "private"
    keep_known(known, made.model, private)
    back = kept_known(made.model)
    assert back is not None
    assert (back.ids, back.patients) == (known.ids, known.patients)
    np.testing.assert_array_equal(back.pictures, known.pictures)
    np.testing.assert_allclose(back.features, known.features, rtol=2e-3, atol=1e-4)
    assert private.stat().st_mode & 0o077 == 0
    weights = made.model.directory / "member-0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\x80?")
    assert kept_known(made.model) is None
