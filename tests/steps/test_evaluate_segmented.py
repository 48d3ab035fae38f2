"""Outlines are measured as their rules say, by patient; groups alarm where they differ; few cases warn."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest

from hounsfield.metrics.measured import cluster_variance
from hounsfield.metrics.patients import Patients
from hounsfield.steps.canonical import plain
from hounsfield.steps.chapters.trust import kept_gallery
from hounsfield.steps.page import page_of
from hounsfield.steps.regions.enough import patients_to_halve
from hounsfield.steps.regions.permuted import permutation_test
from hounsfield.steps.segmentation.evaluate import evaluate_segmented
from hounsfield.steps.segmentation.pictures import Shown, chosen_cases, segmentation_pictures
from hounsfield.steps.standards import account
from steps.outlined import lacking, outlined, setting


def _found(evidence, name, label="", part="metrics"):
    return next(f for f in getattr(evidence, part) if (f.name, f.label, f.group) == (name, label, ""))


def test_each_structure_has_its_mean_and_all_together_the_mean_of_these() -> None:
    table = outlined(40, absent=0.3)
    evidence = evaluate_segmented(table, setting())
    means = {}
    for name in table.structures:
        dice = [c.overlap.dice for c in table.cases[name] if c.overlap.dice is not None]
        means[name] = np.mean(dice)
        f = _found(evidence, "dice", name)
        assert f.value == pytest.approx(means[name]) and f.low < f.value < f.high and f.n == len(dice)
    whole = _found(evidence, "dice")
    assert (
        whole.value == pytest.approx(np.mean(list(means.values()))) and whole.low < whole.value < whole.high
    )


def test_the_mean_over_structures_counts_what_structures_of_a_patient_have_in_common() -> None:
    # one value twice is worth one: the interval of the mean of two equal structures is that of either
    table = outlined(30, structures=("left",))
    twice = replace(
        table, structures=("left", "right"), cases=dict.fromkeys(("left", "right"), table.cases["left"])
    )
    evidence = evaluate_segmented(twice, setting())
    one, both = _found(evidence, "dice", "left"), _found(evidence, "dice")
    assert (both.low, both.high) == pytest.approx((one.low, one.high), abs=1e-9)


def test_images_of_one_patient_do_not_count_as_patients() -> None:
    table = outlined(30, structures=("vessel",), images=4)
    evidence = evaluate_segmented(table, setting())
    f, each = _found(evidence, "dice"), _found(evidence, "dice_by_patient")
    assert (f.n, f.n_patients, each.n, each.n_patients) == (120, 30, 30, 30)
    dice = np.array([c.overlap.dice for c in table.cases["vessel"]])
    owners = Patients.of(list(table.patients), cases=120)
    error = np.sqrt(cluster_variance(owners.sums((dice - dice.mean()) / 120)))
    assert (f.high - f.low) / (2 * error) == pytest.approx(2.045, rel=0.02)  # Student's t of 29
    assert each.value == pytest.approx(dice.reshape(30, 4).mean())


def test_a_single_structure_has_no_label() -> None:
    evidence = evaluate_segmented(outlined(20, structures=("vessel",)), setting())
    assert {f.label for f in evidence.metrics} == {""} and evidence.context["structures"] == ["vessel"]


def test_empty_masks_are_counted_and_said() -> None:
    table = outlined(40, structures=("lesion",), absent=0.4)
    evidence = evaluate_segmented(table, setting())
    absent = [c for c in table.cases["lesion"] if c.overlap.reference_ml == 0]
    both = sum(c.overlap.dice is None for c in absent)
    left, dice, far = (_found(evidence, n) for n in ("absent_left_alone", "dice", "hd95"))
    assert (left.n, left.value) == (len(absent), pytest.approx(both / len(absent)))
    assert dice.n == 40 - both and f"{both} cases with both masks empty are left out" in dice.note
    assert (
        far.n == 40 - len(absent) and f"{len(absent)} cases with an empty mask have no distance" in far.note
    )
    rules = {row["rule"]: row["here"] for row in evidence.tables["measuring_rules"]}
    assert "there is no Dice" in rules["empty masks"] and rules["tolerance"] == "surface Dice within 1 mm"


def test_what_nobody_outlined_is_left_out_and_a_structure_nobody_outlined_says_so() -> None:
    table = outlined(30)
    held = (None,) * 10 + table.cases["anterior"][10:]
    cases = {**table.cases, "anterior": held, "posterior": (None,) * 30}
    evidence = evaluate_segmented(replace(table, cases=cases), setting())
    assert _found(evidence, "dice", "anterior").n == 20
    assert _found(evidence, "dice", "posterior").value is None
    whole, one = _found(evidence, "dice"), _found(evidence, "dice", "anterior")
    assert (whole.value, whole.note) == (one.value, "without posterior: too few cases")
    assert any("anterior in 10 cases" in row["here"] for row in evidence.tables["measuring_rules"])


def test_pixels_stay_pixels_where_no_spacing_is_known() -> None:
    evidence = evaluate_segmented(outlined(20, structures=("vessel",), unit="pixel"), setting())
    names = {f.name for f in evidence.metrics}
    assert "volume_error_pixels" in names and "volume_error_ml" not in names
    assert evidence.curves["volume_agreement"]["vessel"]["unit"] == "pixels"


def test_a_site_with_worse_outlines_alarms_and_others_do_not() -> None:
    quiet = evaluate_segmented(outlined(60), setting())
    assert not [f for f in (*quiet.subgroups, *quiet.metrics) if f.level != "info"]
    loud = evaluate_segmented(outlined(60, drop=0.06), setting())
    alarms = [f.label for f in loud.subgroups if f.level == "warning"]
    assert {"Dice of anterior by site", "Dice of posterior by site"} <= set(alarms)
    assert not [a for a in alarms if a.endswith("by sex") or "volume" in a]
    assert [f.label for f in loud.metrics if f.name == "worst_slice"] == ["site=B"]
    marked = {row["group"] for row in loud.tables["subgroup_differences"]}
    assert "site=B" in marked and not any(g.startswith("sex=F") and "&" not in g for g in marked)
    assert any(" & " in f.group for f in loud.subgroups)


def test_a_difference_within_patients_only_is_no_difference_of_groups() -> None:
    # four patients' hundred images differ as much as their groups do: the patients are the units
    rng = np.random.default_rng(0)
    base = np.repeat(rng.normal(0.8, 0.05, 12), 100)
    groups = np.repeat(np.arange(12) % 2, 100)
    base += 0.05 * groups
    owners = np.repeat(np.arange(12), 100)
    by_patient = permutation_test(base, np.ones(1200), owners, groups)
    by_image = permutation_test(base, np.ones(1200), np.arange(1200), groups)
    assert by_image.p_value < 0.001 < 0.01 < by_patient.p_value


def test_the_permutation_p_value_is_that_of_all_permutations() -> None:
    rng = np.random.default_rng(4)
    values, weights = rng.normal(0.8, 0.1, 12), rng.integers(1, 4, 12).astype(float)
    values[:6] -= 0.15

    def welch(first: tuple[int, ...]) -> float:
        sides = [np.array(first), np.array([k for k in range(12) if k not in first])]
        means, scatter = [], []
        for side in sides:
            mean = (values[side] * weights[side]).sum() / weights[side].sum()
            means.append(mean)
            scatter.append((((values[side] - mean) * weights[side]) ** 2).sum())
        spread = [
            6 * (s + 2 * sum(scatter) / 10) / 7 / weights[side].sum() ** 2
            for s, side in zip(scatter, sides, strict=True)
        ]
        return (means[0] - means[1]) ** 2 / sum(spread)

    observed = welch(tuple(range(6)))
    exact = np.mean([welch(c) >= observed - 1e-12 for c in combinations(range(12), 6)])
    found = permutation_test(values * weights, weights, np.arange(12), np.repeat([0, 1], 6))
    assert found.statistic == pytest.approx(observed)
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4999) + 2e-4)


def test_few_patients_warn_how_little_they_prove() -> None:
    few = evaluate_segmented(outlined(7), setting())
    (said,) = [f for f in few.audit if f.level == "warning"]
    assert said.name == "half_width" and said.note.startswith("7 patients only bound the Dice to 0.")
    assert "about 21 patients" in said.note and patients_to_halve(7) == 21
    assert not [f for f in evaluate_segmented(outlined(60), setting()).audit if f.level == "warning"]
    none = evaluate_segmented(outlined(3), setting())
    assert [f.note for f in none.audit if f.level == "warning"] == [
        "3 patients, and no number of the Dice can be given: no structure has a number: n = 3: too few "
        "to print a number"
    ]


def test_worst_cases_come_first_and_bear_volumes() -> None:
    table = outlined(40, absent=0.2)
    rows = evaluate_segmented(table, setting()).tables["worst_cases"]
    assert [r["Dice"] for r in rows] == sorted(r["Dice"] for r in rows)
    assert rows[0]["Dice"] == 0 and rows[0]["HD95 (mm)"] == "a mask is empty"
    assert rows[0]["reader's volume (ml)"] == 0 and rows[0]["predicted volume (ml)"] == pytest.approx(0.2)


def test_sites_have_a_mean_unless_they_share_patients() -> None:
    table = outlined(60, structures=("vessel",))
    rows = evaluate_segmented(table, setting()).tables["per_site"]
    assert [r["site"] for r in rows] == ["A", "B", "C", "pooled"] and rows[-1]["prediction_low"] is not None
    shared = replace(table, patients=tuple(f"p{k % 20}" for k in range(60)))
    assert [r["site"] for r in evaluate_segmented(shared, setting()).tables["per_site"]] == ["A", "B", "C"]


def _glossary() -> set[str]:
    text = files("hounsfield.steps").joinpath("templates", "glossary.json").read_text("utf-8")
    return {
        key for key, term in json.loads(text).items() if "segmentation" in term.get("tasks", ["segmentation"])
    }


def _section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}"')[1].split("</section>")[0]


def _text(piece: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", piece).split())


def test_the_page_speaks_of_outlines_and_of_no_classes() -> None:
    evidence = evaluate_segmented(outlined(60, drop=0.06, images=2, absent=0.2), setting())
    assert {f.name for f in (*evidence.audit, *evidence.metrics, *evidence.subgroups)} <= _glossary()
    page = page_of(plain(evidence), kept_gallery(())).html
    text = _text(page)
    for word in (
        "AUROC",
        "ROC curve",
        "Confusion matrix.",
        "calibration of the prob",
        "None",
        "interventions",
    ):
        assert word not in text.replace("Confusion matrix, accuracy", "").replace("28 AUROC, average", ""), (
            word
        )
    performance, summary = _section(page, "performance"), _text(_section(page, "summary"))
    assert "Not measured" not in performance and performance.count('<svg class="plot"') == 5
    assert "the model outlines anterior, posterior in each image" in summary and "Dice · mean" in summary
    assert "validation Dice" in _section(page, "training")
    assert 'id="explanations"' not in page and 'id="interventions"' not in page
    assert "Outlines with the lowest Dice" in _section(page, "failures")


def test_the_account_counts_what_outlines_answer() -> None:
    evidence = evaluate_segmented(outlined(60), setting())
    rows = {row.number: row for row in account(plain(evidence)).rows}
    for number in (27, 28, 29, 30, 31, 36, 41):
        assert rows[number].state == "does not apply"
    assert rows[32].tool == rows[33].tool == rows[18].tool == rows[45].tool == rows[35].tool == "answered"
    assert rows[34].tool == "in part"  # no external data


def _disc(shift: int = 0, label: int = 1) -> np.ndarray:
    k, j, i = np.mgrid[:8, :40, :40]
    return label * (((j - 20) ** 2 + (i - 20 - shift) ** 2 < 64) & (abs(k - 4) < 3)).astype(np.int64)


def test_pictures_show_both_outlines_in_the_plane_where_most_is_marked() -> None:
    image = np.random.default_rng(0).normal(size=(1, 8, 40, 40)).astype(np.float32)
    shown = Shown(
        "a", image, _disc(), _disc(3), (3.0, 1.0, 1.0), {"tumour": 0.8}, {"tumour": 3.0}, rank="worst"
    )
    (picture,) = segmentation_pictures([shown])
    titles = [title for title, _ in picture.panels]
    assert titles == ["image", "slice 5 of 8", "row 21 of 40", "column 21 of 40"]
    assert (picture.outcome, picture.kind) == (
        "wrong",
        "worst",
    ) and "Dice 0.800, HD95 3.0 mm" in picture.caption
    bare, drawn = picture.panels[0][1], picture.panels[1][1]
    for colour in ((86, 180, 233), (230, 159, 0)):
        assert (drawn == colour).all(axis=2).any() and not (bare == colour).all(axis=2).any()


def test_thin_structures_are_filled_and_colours_stay_colours() -> None:
    image = np.zeros((3, 1, 200, 200), np.uint8)
    image[0] = 200
    line = np.zeros((1, 200, 200), np.int64)
    line[0, 100, 20:180] = 1
    (picture,) = segmentation_pictures(
        [Shown("a", image, line, np.roll(line, 1, 1), (1, 1, 1), {"vessel": 0.0})]
    )
    assert "white both, blue the reader only, orange the model only" in picture.panels[1][0]
    assert picture.kind == "outlined" and picture.panels[0][1].shape == (520, 520, 3)
    counts = [
        (picture.panels[1][1] == colour).all(axis=2).sum() for colour in ((86, 180, 233), (230, 159, 0))
    ]
    assert counts == pytest.approx([160 * 2.6**2] * 2, rel=0.3)


def test_chosen_cases_are_the_worst_the_middle_and_the_best() -> None:
    table = outlined(21, structures=("x",))
    dice = [c.overlap.dice for c in table.cases["x"]]
    chosen = dict(chosen_cases(table, each=(2, 1, 2)))
    order = np.argsort(dice)
    assert [chosen[r] for r in order[[0, 1, 10, 19, 20]]] == ["worst", "worst", "median", "best", "best"]
    empty = replace(table, cases={"x": tuple(lacking(False) for _ in range(21))})
    assert chosen_cases(empty) == ()
