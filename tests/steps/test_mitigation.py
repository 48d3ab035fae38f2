"""Mitigation balances groups as its papers say, refuses what is not defined, and helps where it should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Mitigation, Plan
from hounsfield.steps.balance import Balance, balance_of, balanced_order, reweighted
from hounsfield.steps.batches import Batches
from hounsfield.steps.job import Job, read_job, write_job
from hounsfield.steps.learner import network_of
from hounsfield.steps.member import train_member
from hounsfield.steps.mitigation import group_names, require_possible, training_groups
from hounsfield.tasks.classification import targets_of
from steps import jobs, shortcut

BINARY = LabelEncoding("binary", ("0", "1"))
MANY = LabelEncoding("multilabel", ("a", "b"))


def _cases(sites: str, answers: str, *, of_each: int = 1) -> tuple[Case, ...]:
    """A case for each letter of `sites` ("?" for nobody knows), `of_each` of a patient."""
    return tuple(
        Case(f"c{k}", f"p{k // of_each}", (), Label((int(a),)), {"site": s.strip("?")})
        for k, (s, a) in enumerate(zip(sites, answers, strict=True))
    )


def _balance(method: str, groups: list[int], answers: list[int], **more: Any) -> Balance:
    made = jobs.plan({"mitigation.by": "g", "mitigation.method": method, "augment.mixup": 0, **more})
    n = len(groups)
    job = Job(
        Path(), made, BINARY, None, np.arange(n), np.array(answers), np.ones(n, np.int64),  # type: ignore[arg-type]
        groups=np.array(groups), patients=np.arange(n),
    )  # fmt: skip
    found = balance_of(job, 0)
    assert found is not None
    return found


def test_weights_make_group_and_class_independent() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3, 500)
    answers = (rng.random(500) < np.array([0.1, 0.5, 0.9])[groups]).astype(np.int64)
    weight = reweighted(groups, answers, BINARY, np.arange(500))[:, 0].astype(float)
    table = np.zeros((3, 2))
    np.add.at(table, (groups, answers), weight)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    assert np.allclose(table, expected, rtol=1e-5)
    assert np.allclose(table.sum(0), np.bincount(answers), rtol=1e-5)  # the classes stay as frequent


def test_of_several_labels_each_has_weights_of_its_own() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 2, 200)
    answers = (rng.random((200, 2)) < np.where(groups == 0, 0.2, 0.7)[:, None]).astype(np.int64)
    weights = reweighted(groups, answers, MANY, np.arange(200))
    for c in range(2):
        alone = reweighted(groups, answers[:, c], BINARY, np.arange(200))[:, 0]
        assert np.allclose(weights[:, c], alone)


def test_an_epoch_of_matched_resampling_has_the_classes_as_often_in_every_group() -> None:
    groups, answers = [0] * 80 + [1] * 20, [1] * 60 + [0] * 20 + [1] * 2 + [0] * 18
    order = _balance("matched_resampling", groups, answers).order(np.random.default_rng(0))
    table = np.zeros((2, 2))
    np.add.at(table, (np.array(groups)[order], np.array(answers)[order]), 1)
    assert len(order) == 100 and np.abs(table - np.outer([80, 20], [38, 62]) / 100).max() <= 1


def test_a_patient_of_many_images_is_drawn_as_often_as_one_of_few() -> None:
    patients = np.array([0] * 18 + [1, 2])
    drawn = balanced_order(
        np.arange(20), np.zeros(20, np.int64), patients, np.ones(1), np.random.default_rng(0)
    )
    assert np.ptp(np.bincount(patients[drawn])) <= 1
    assert len(set(drawn.tolist())) == 9  # the seven draws of the first are seven different images


def test_group_dro_moves_as_algorithm_1_says() -> None:
    made = {"mitigation.step_size": 0.1, "mitigation.adjustment": 2.0}
    balance = _balance("group_dro", [0] * 6 + [1] * 4, [0, 1] * 5, **made)
    losses, seen = np.array([3.0, 0.5, 0.0, 1.0]), np.array([3.0, 1.0, 0.0, 2.0])
    counts = np.array([3, 3, 2, 2])
    expected = np.full(4, 0.25) * np.where(
        seen > 0, np.exp(0.1 * (losses / np.maximum(seen, 1) + 2 / np.sqrt(counts))), 1
    )
    balance.follow(losses, seen)
    assert np.allclose(balance.q.numpy(), expected / expected.sum())
    batch = np.arange(10)
    rows: NDArray[np.float64] = np.random.default_rng(0).random(10)
    weights = balance.weights(batch, batch)
    assert weights is not None
    means = np.array([rows[balance.cell == k].mean() for k in range(4)])
    assert np.isclose((weights[:, 0] * rows).mean(), balance.q.numpy() @ means, rtol=1e-5)


def test_unknown_is_a_group_of_its_own_and_intersections_are_named() -> None:
    table = {"sex": ("F", ""), "site": ("A", "A")}
    assert group_names(table, ("sex", "site"), cases=2) == ("sex=F, site=A", "sex not known, site=A")
    wanted = Mitigation(method="reweighting", by="site", least_patients=4)
    groups = training_groups(_cases("AAAA????", "01010101"), BINARY, wanted)
    assert groups.names == ("site not known", "site=A") and groups.code.tolist() == [1] * 4 + [0] * 4


def test_small_and_one_sided_groups_are_pooled_and_said() -> None:
    wanted = Mitigation(method="reweighting", by="site", least_patients=4)
    groups = training_groups(_cases("AAAAAABBBBCC", "010101111100"), BINARY, wanted)
    assert groups.names == ("site=A", "other groups")
    told = training_groups(_cases("AAAAAABBBBBBCDE", "010101010101010"), BINARY, wanted)
    assert "site=C has 1 patient(s), fewer than 4" in told.notes[0]


def test_groups_that_are_the_classes_are_refused() -> None:
    wanted = Mitigation(method="reweighting", by="site", least_patients=4)
    with pytest.raises(BadInput, match="where group and class go together"):
        training_groups(_cases("AAAAAABBBBBB", "000000111111"), BINARY, wanted)
    with pytest.raises(BadInput, match="into one group"):
        training_groups(_cases("AAAAAA", "010101"), BINARY, wanted)
    with pytest.raises(BadInput, match='"sites", which is no group column; did you mean "site"'):
        training_groups(_cases("AB", "01"), BINARY, Mitigation(method="reweighting", by="sites"))


@pytest.mark.parametrize(
    "changes, encoding, said",
    [
        ({"mitigation.method": "matched_resampling"}, MANY, "not defined for several labels"),
        ({"mitigation.method": "group_dro", "augment.mixup": 0.2}, BINARY, "set augment.mixup=0"),
    ],
)
def test_what_a_method_cannot_do_is_refused(
    changes: dict[str, Any], encoding: LabelEncoding, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        require_possible(Plan().changed({"mitigation.by": "site", **changes}), encoding)


def test_a_method_without_groups_is_refused() -> None:
    with pytest.raises(BadInput, match="names no group column"):
        Plan().changed({"mitigation.method": "group_dro"})


@pytest.mark.parametrize("method", ["reweighting", "matched_resampling", "group_dro"])
def test_an_interrupted_member_ends_at_the_same_weights(tmp_path: Path, method: str) -> None:
    mixup = 0.0 if method == "group_dro" else 0.2
    changes = {"mitigation.by": "g", "mitigation.method": method, "augment.mixup": mixup}
    groups = {"groups": np.arange(32) % 3 // 2, "patients": np.arange(32)}
    whole = jobs.job(tmp_path / "whole", jobs.plan(changes), **groups)
    train_member(whole, 0, lambda _: None)
    broken = jobs.job(tmp_path / "broken", jobs.plan(changes), **groups)

    def stop(facts: dict[str, Any]) -> None:
        if facts.get("epoch") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_member(broken, 0, stop)
    train_member(broken, 0, lambda _: None)
    assert jobs.weights(whole) == jobs.weights(broken)
    assert all(h["val_group_loss"] > 0 for h in jobs.history(whole))


def test_group_dro_is_the_same_in_pieces(tmp_path: Path) -> None:
    changes = {"mitigation.by": "g", "mitigation.method": "group_dro", "augment.mixup": 0.0}
    groups = {"groups": np.arange(32) % 3 // 2, "patients": np.arange(32)}
    losses = []
    for name, micro in (("whole", 0), ("pieces", 4)):
        made = jobs.plan({**changes, "network.dropout": 0.0}, micro_batch=micro)
        job = jobs.job(tmp_path / name, made, **groups)
        train_member(job, 0, lambda _: None)
        losses.append([h["train_loss"] for h in jobs.history(job)])
    assert np.isclose(losses[0][0], losses[1][0], rtol=0.05)


def test_a_job_read_from_its_files_knows_the_groups(tmp_path: Path) -> None:
    job = jobs.job(tmp_path / "work", jobs.plan(), groups=np.arange(32) % 2, patients=np.arange(32))
    (tmp_path / "cache").mkdir()
    write_job(job)
    with np.load(tmp_path / "work" / "rows.npz") as z:
        assert z["groups"].tolist() == (np.arange(32) % 2).tolist()
    with pytest.raises(Exception, match="prepared images of this run are gone"):
        read_job(tmp_path / "work")


@pytest.mark.parametrize("method", ["reweighting", "matched_resampling", "group_dro"])
def test_a_planted_shortcut_is_leaned_on_less(tmp_path: Path, method: str, plain: dict[str, float]) -> None:
    job, cases = shortcut.shortcut_job(
        tmp_path, shortcut.plan(method, epochs=8, seed=1), n=300, tested=200, seed=1
    )
    found = shortcut.judged(job, cases)
    assert found["auroc_a"] > plain["auroc_a"] + 0.05


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The same training without mitigation."""
    made = shortcut.plan("none", epochs=8, seed=1)
    return shortcut.judged(
        *shortcut.shortcut_job(tmp_path_factory.mktemp("none"), made, n=300, tested=200, seed=1)
    )


@pytest.mark.parametrize(
    "kind, method",
    [
        ("multiclass", "reweighting"),
        ("multiclass", "matched_resampling"),
        ("multiclass", "group_dro"),
        ("multilabel", "reweighting"),
        ("multilabel", "group_dro"),
    ],
)
def test_several_classes_and_labels_train_where_it_is_defined(tmp_path: Path, kind: str, method: str) -> None:
    changes = {"mitigation.by": "g", "mitigation.method": method, "augment.mixup": 0.0}
    loss = "cross_entropy" if kind == "multiclass" else "binary_cross_entropy"
    made = jobs.job(tmp_path, jobs.plan(changes, loss=loss, epochs=2), groups=np.arange(32) // 3 % 2,
                    patients=np.arange(32))  # fmt: skip
    several = np.stack([np.arange(32) % 2, np.arange(32) % 3 // 2], 1)
    answers = np.arange(32) % 3 if kind == "multiclass" else several
    names = ("a", "b", "c") if kind == "multiclass" else ("a", "b")
    job = replace(made, encoding=LabelEncoding(kind, names), answers=answers)
    train_member(job, 0, lambda _: None)
    assert all(np.isfinite(h["train_loss"]) and h["val_group_loss"] > 0 for h in jobs.history(job))


def test_the_training_loss_is_that_of_the_weighted_rows(tmp_path: Path) -> None:
    """One batch an epoch without augmentation: the loss is the weighted cross-entropy of fresh weights."""
    changes = {
        "mitigation.by": "g",
        "mitigation.method": "reweighting",
        "augment": {},
        "network.dropout": 0.0,
    }
    made = jobs.plan(changes, epochs=1, batch_size=64, class_weights=False, learning_rate=1e-9)
    groups = np.repeat([0, 0, 0, 1], 8)
    job = jobs.job(tmp_path, made, groups=groups, patients=np.arange(32))
    training, _ = job.parts(0)
    weight = reweighted(groups, job.answers, job.encoding, training)[training, 0]
    batches = Batches(job, 0, targets_of(job.answers, job.encoding), torch.device("cpu"))
    batches.balance = balance_of(job, 0)
    drawn = batches.epoch(0)
    (piece,) = batches.pieces(drawn, 0, (0, batches.size), 1)
    assert piece.weights is not None
    place = {int(case): k for k, case in enumerate(training)}
    assert np.allclose(piece.weights[:, 0], weight[[place[int(c)] for c in drawn.order]])
    network = network_of(job, 0).train()
    logits = network(piece.images)
    rows = torch.nn.functional.binary_cross_entropy_with_logits(logits, piece.wanted, reduction="none")
    expected = float((rows * piece.weights).mean().detach())
    train_member(job, 0, lambda _: None)
    assert np.isclose(jobs.history(job)[0]["train_loss"], expected, rtol=1e-4)
