"""What a reader is shown: tested maps, neighbours, synthetic edits; what is left out is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Evidence
from hounsfield.steps.explain import choose_cases, explain
from hounsfield.steps.explain_edits import edited_cases
from hounsfield.steps.explain_kept import FILE, keep_explained, kept_scores
from hounsfield.steps.explain_scores import Scored, score_methods
from steps.spots import Spots, spots


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Spots:
    return spots(tmp_path_factory.mktemp("spots"))


def explained(some: Spots, **more: object):  # type: ignore[no-untyped-def]
    given = {"training": some.training, "truth": some.truth, **more}
    return explain(some.model, some.prepared, some.predictions, some.called, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def done(some: Spots):  # type: ignore[no-untyped-def]
    return explained(some)


def test_maps_stand_beside_their_own_scores(done) -> None:  # type: ignore[no-untyped-def]
    maps = [p for p in done if p.kind == "maps"]
    assert len(maps) == 12
    for picture in maps:
        titles = [title for title, _ in picture.panels]
        assert titles[0] == "image" and len(titles) == 1 + len(done.scored.shown)
        said = "spot" if "called spot" in picture.caption else "not spot"
        assert all(f" for {said} (" in title for title in titles[1:])
        number = "findings, n = 20" if said == "spot" else "faithfulness +"
        assert all(number in title for title in titles[1:])
        assert {f.name for f in picture.scores} >= {"explanation_randomisation", "explanation_localisation"}
        assert all(pixels.dtype == np.uint8 and pixels.shape == (224, 224, 3) for _, pixels in picture.panels)


def test_similar_and_synthetic_pictures_say_what_they_are(done, some: Spots) -> None:  # type: ignore[no-untyped-def]
    similar = [p for p in done if p.kind == "similar"]
    synthetic = [p for p in done if p.kind == "synthetic"]
    assert len(similar) == 6 and synthetic
    training = {c.id for c in some.training}
    for picture in similar:
        assert len(picture.panels) == 4
        for title, _ in picture.panels[1:]:
            assert title.startswith("training case ") and title.split(": ")[0][14:] in training
        assert "right in 1.000 (95 % CI" in picture.caption
    for picture in synthetic:
        assert [title.startswith("synthetic") for title, _ in picture.panels] == [False, True, True]
        assert (
            picture.caption.startswith("synthetic, no patient") and "of 20 random changes" in picture.caption
        )


def test_every_number_has_its_n(done) -> None:  # type: ignore[no-untyped-def]
    names = {f.name for f in done.findings}
    assert names >= {
        "explanation_randomisation",
        "explanation_faithfulness",
        "explanation_localisation",
        "explanation_similar_cases",
        "explanation_counterfactual",
    }
    for finding in done.findings:
        assert finding.name.startswith("explanation_")
        assert finding.value is None or (
            finding.low is not None and finding.n >= 5 and finding.n_patients >= 5
        )


def test_it_is_a_sequence_of_pictures_that_the_report_can_take(done, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from hounsfield.steps.report import report

    assert len(done) == len(list(done)) == len(done.pictures)
    assert done[0] is done.pictures[0] and done[:2] == done.pictures[:2]
    report(Evidence("Spots", metrics=done.findings), done, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "synthetic" in page and "training case" in page


def test_what_fails_is_not_shown_and_is_named(some: Spots) -> None:
    elsewhere = {case: np.roll(mask, (11, 13), (0, 1)) for case, mask in some.masks.items()}
    found = explained(some, truth=elsewhere.get)
    assert not found.scored.shown
    assert all(len(p.panels) == 1 for p in found if p.kind == "maps")
    for title in ("Grad-CAM", "Integrated gradients", "Occlusion"):
        assert any(note.startswith(f"{title} is withheld: ") for note in found.notes)


def test_without_training_images_it_says_so(some: Spots) -> None:
    found = explained(some, training=(), scored=Scored())
    assert not [p for p in found if p.kind == "similar"]
    assert any("no training images were given" in note for note in found.notes)


def test_without_answers_the_first_cases_are_shown(some: Spots) -> None:
    asked = replace(some.predictions, answers=None)
    assert choose_cases(asked, some.called, most=3) == [0, 1, 2]
    found = explain(some.model, some.prepared, asked, some.called, most=3, training=some.training)
    maps = [p for p in found if p.kind == "maps"]
    assert [p.case for p in maps] == list(asked.ids[:3])
    assert all(p.outcome == "" and "answer" not in p.caption for p in maps)
    (worth,) = [f for f in found.findings if f.name == "explanation_similar_cases"]
    assert worth.value is None and worth.note


def test_volumes_are_mapped_but_not_edited(tmp_path: Path) -> None:
    made = spots(tmp_path, n=20, known=8, slices=6)
    scored = score_methods(made.maps(), ["gradcam"], truth=made.truth)
    assert scored.shown == ("gradcam",), scored.withheld
    found = explain(
        made.model,
        made.prepared,
        made.predictions,
        made.called,
        most=4,
        training=made.training,
        scored=scored,
    )
    assert {p.kind for p in found} == {"maps", "similar"}
    assert "Counterfactual edits are not made of volumes." in found.notes
    assert all(p.panels[1][1].shape == (224, 224, 3) for p in found if p.kind == "maps")


def test_progress_ends_where_it_says(some: Spots) -> None:
    heard: list[tuple[int, int]] = []
    explained(some, scored=Scored(), progress=lambda done, total: heard.append((done, total)))
    assert heard[-1][0] == heard[-1][1]
    assert [d for d, _ in heard] == sorted(d for d, _ in heard)


def test_edits_turn_the_models_own_call_over(some: Spots) -> None:
    maps = some.maps()
    rows = list(range(0, 24, 2))
    shown, findings = edited_cases(maps, rows)
    assert set(shown) == set(rows)
    turned = {f.label: f for f in findings}
    assert turned["turned over"].n == 12
    share = np.mean([bool(panels) for _, panels in shown.values()])
    assert turned["turned over"].value == pytest.approx(share)


def test_scores_are_kept_with_the_model_of_their_own_run(some: Spots, done, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = some.model.directory.parent
    assert kept_scores(some.model) is None
    keep_explained(done, some.model, tmp_path / "another run")
    assert kept_scores(some.model) is None
    try:
        keep_explained(done, some.model, run)
        assert kept_scores(some.model) == done.scored
        again = explain(
            some.model, some.prepared, some.predictions, some.called, most=2, scored=kept_scores(some.model)
        )
        assert again.scored == done.scored
        assert [p.kind for p in again if p.kind == "similar"]  # from RUN/private
        (some.model.directory / FILE).write_text(json.dumps({"format": 1}))
        with pytest.raises(BadInput, match="cannot be read"):
            kept_scores(some.model)
    finally:
        (some.model.directory / FILE).unlink(missing_ok=True)
        (run / "private" / "similar.npz").unlink(missing_ok=True)
