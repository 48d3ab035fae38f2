"""The audit of what is hardly a cohort: it says what it can, and never fails."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Series
from hounsfield.io.pixel_store import PixelStore, write_pixels
from hounsfield.steps.audit import audit
from hounsfield.steps.audits.review import review_list, write_review
from hounsfield.steps.duplicates import Fingerprints, Pair, duplicate_pairs, fingerprints

TWO = LabelEncoding("binary", ("healthy", "ill"))
Image = NDArray[Any]
Draw = Callable[[np.random.Generator, int], Image]


def _noise(rng: np.random.Generator, number: int) -> Image:
    return rng.integers(0, 200, (32, 32)).astype(np.uint8)


def _bright_if_odd(rng: np.random.Generator, number: int) -> Image:
    """A light ramp down, and a bright square where the number is odd."""
    image = rng.normal(60, 6, (32, 32)) + np.linspace(0, 60, 32)[:, None]
    image[10:18, 10:18] += 90 * (number % 2)
    return np.clip(image, 0, 255).astype(np.uint8)


def _stored(folder: Path, n: int, draw: Draw, answer: Callable[[int], int], **groups: Any) -> tuple[Any, ...]:
    """A cohort of n patients with pixels, its store and its fingerprints."""
    rng = np.random.default_rng(0)
    images = [draw(rng, k) for k in range(n)]
    series = [Series(f"i{k}", (f"images/{k}.png",), "raster", (1, *x.shape)) for k, x in enumerate(images)]
    cases = tuple(
        Case(s.id, f"p{k}", (s,), Label((answer(k),)), {g: f(k) for g, f in groups.items()})
        for k, s in enumerate(series)
    )
    pixels = ((s.id, x[None, None], ()) for s, x in zip(series, images, strict=True))
    store = write_pixels(folder, pixels, state="x")
    folds = {c.id: k % 5 for k, c in enumerate(cases)}
    cohort = Cohort(cases, TWO, {c.id: DEVELOPMENT for c in cases}, folds)
    return cohort, store, fingerprints(store, [c.id for c in cases])


def _audited(cohort: Cohort, store: PixelStore, marks: Fingerprints) -> tuple[Finding, ...]:
    return audit(cohort, duplicate_pairs(marks), store=store, marks=marks)


def _warned(findings: tuple[Finding, ...]) -> list[str]:
    return [f.name for f in findings if f.level != "info"]


@pytest.mark.parametrize("n", [1, 2, 3, 12])
def test_a_handful_of_cases_is_audited_without_alarm(tmp_path: Path, n: int) -> None:
    found = _audited(*_stored(tmp_path, n, _noise, lambda k: k % 2, site=lambda k: f"s{k}"))
    assert _warned(found) == []


def test_no_case_at_all_is_audited() -> None:
    found = audit(Cohort((), TWO, {}, {}), ())
    assert _warned(found) == [] and all(np.isfinite(f.value) for f in found if f.value is not None)


def test_a_cohort_with_one_class_is_audited_without_alarm(tmp_path: Path) -> None:
    found = _audited(*_stored(tmp_path, 60, _noise, lambda k: 0, site=lambda k: "ab"[k % 2]))
    assert _warned(found) == []


def test_images_of_one_value_are_named_as_copies_and_nothing_else_is_said(tmp_path: Path) -> None:
    def even(rng: np.random.Generator, number: int) -> Image:
        return np.full((32, 32), 7, np.uint8)

    found = _audited(*_stored(tmp_path, 48, even, lambda k: k % 2))
    assert set(_warned(found)) == {"exact_duplicates", "conflicting_labels"}
    assert all(np.isfinite(f.value) for f in found if f.value is not None)


def test_a_column_with_a_value_for_each_case_tells_nothing(tmp_path: Path) -> None:
    cohort, store, marks = _stored(tmp_path, 60, _noise, lambda k: k % 2, number=lambda k: f"n{k}")
    found = _audited(cohort, store, marks)
    assert _warned(found) == []
    assert not any("n1" in f.note.replace("n1 ", "n1") for f in found if f.name == "class_balance")


def test_wrong_labels_head_the_list_for_review_with_their_files(tmp_path: Path) -> None:
    wrong = {4, 5, 30}
    cohort, store, marks = _stored(tmp_path, 160, _bright_if_odd, lambda k: k % 2 ^ (k in wrong))
    found = review_list(cohort, [Pair("i0", "i1", False)], store=store, marks=marks)
    assert (found[0].why, found[0].beside) == ("duplicate with another label", "i1")
    labels = [r for r in found if r.why == "label"]
    assert {r.case for r in labels[:3]} == {"i4", "i5", "i30"}
    assert [r.strength for r in labels] == sorted((r.strength for r in labels), reverse=True)  # type: ignore[type-var]
    write_review(tmp_path / "review.csv", found, cohort.cases)
    with (tmp_path / "review.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["file"] == "images/0.png" and rows[0]["file_beside"] == "images/1.png"
    assert (rows[1]["label"], rows[1]["looks_like"]) in (("ill", "healthy"), ("healthy", "ill"))


def test_an_image_upside_down_stands_in_the_list_for_review(tmp_path: Path) -> None:
    def drawn(rng: np.random.Generator, number: int) -> Image:
        image = _bright_if_odd(rng, number)
        return image[::-1].copy() if number == 9 else image

    cohort, store, marks = _stored(tmp_path, 80, drawn, lambda k: k % 2)
    found = review_list(cohort, (), store=store, marks=marks)
    assert any(r.case == "i9" and r.why == "orientation" for r in found)


def test_fingerprints_of_another_version_are_refused_in_one_sentence(tmp_path: Path) -> None:
    _, _, marks = _stored(tmp_path / "s", 4, _noise, lambda k: 0)
    marks.save(tmp_path / "f.npz")
    assert Fingerprints.load(tmp_path / "f.npz").ids == marks.ids
    np.savez(tmp_path / "f.npz", ids=np.array(["a"]), digests=np.array(["b"]), coarse=np.zeros((1, 64)))
    with pytest.raises(BadInput, match=r"^f\.npz holds fingerprints of another version"):
        Fingerprints.load(tmp_path / "f.npz")
