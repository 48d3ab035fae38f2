"""A chapter stands where its data are, and nowhere else; what a run leaves in an odd form harms no report."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hounsfield.core.evidence import Evidence, Finding
from hounsfield.steps.canonical import plain
from hounsfield.steps.chapters.trust import kept_gallery
from hounsfield.steps.page import Seal, page_of
from hounsfield.steps.standards import Given
from steps.report_examples import EXAMPLES, binary, pictures, rich

OPTIONAL = ("decisions", "uncertainty", "robustness", "failures", "further")
STYLE = Path(__file__).parents[2] / "src/hounsfield/steps/templates/report.css"
KINDS = ("maps", "similar", "synthetic")
BY = ("A. Reader", "2026-03-14")


def _page(evidence: Evidence, shown: tuple[Any, ...] = (), **more: Any) -> str:
    return page_of(plain(evidence), kept_gallery(shown), **more).html


def _text(piece: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", piece).split())


def _chapters(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', page)


def test_chapters_are_numbered_in_order_and_listed() -> None:
    for make in EXAMPLES.values():
        page = _page(make())
        numbers = [int(n) for n in re.findall(r'<h2 [^>]*><span class="no">(\d+)</span>', page)]
        assert numbers == list(range(1, len(_chapters(page)) + 1))
        contents = page.split('<nav class="contents"')[1].split("</nav>")[0]
        assert re.findall(r'href="#(\w+)"', contents) == _chapters(page)


def test_new_chapters_stand_only_where_their_data_are() -> None:
    assert set(OPTIONAL) <= set(_chapters(_page(rich())))
    assert not set(OPTIONAL) & set(_chapters(_page(Evidence("Bare"))))


@pytest.mark.parametrize(
    ("chapter", "curve"),
    [
        ("decisions", {"net_benefit": {"m": {"threshold": [0, 1], "value": [1, 0], "treat_all": [0, -1]}}}),
        ("decisions", {"calibration_band": {"m": {"score": [0.1, 0.9], "observed": [0.2, 0.8]}}}),
        ("uncertainty", {"risk_coverage": {"m": {"coverage": [0.5, 1], "accuracy": [{"value": 1}] * 2}}}),
        ("robustness", {"robustness": {"blur": {"level": [0, 1, 2], "value": [0.9, 0.8, None]}}}),
        ("robustness", {"robustness": {"scanner": {"level": ["a", "b"], "value": [0.9, 0.8]}}}),
    ],
)  # fmt: skip
def test_one_curve_makes_its_chapter_with_a_figure(chapter: str, curve: dict[str, Any]) -> None:
    page = _page(Evidence("One", curves=curve))
    assert chapter in _chapters(page)
    section = page.split(f'<section id="{chapter}"')[1].split("</section>")[0]
    assert '<svg class="plot"' in section and "None" not in _text(section)


@pytest.mark.parametrize(
    "curve",
    [{}, {"threshold": [], "model": []}, {"threshold": [1]}, {"threshold": [1], "model": [1, 2]}, None, [1]],
)  # fmt: skip
def test_a_curve_that_cannot_be_drawn_is_left_out(curve: Any) -> None:
    keys = ("net_benefit", "calibration_band", "risk_coverage", "robustness", "predictive_values")
    for key in keys:
        assert not set(OPTIONAL) & set(_chapters(_page(Evidence("Odd", curves={key: {"m": curve}}))))
        _page(Evidence("Odd", curves={key: curve}))


@pytest.mark.parametrize(
    "table",
    [[1, 2], [[1, 2], [3]], [{"a": 1}, {"b": None}], {"x": 1, "y": [1, 2]}, {"x": {"v": 1}}, [], {}, "text",
     7, [{}], [{"value": float("nan")}], [{"a": {"value": None, "note": "few"}}], [None], [[]],
     [{"a": True}]],
)  # fmt: skip
def test_tables_of_any_form_are_printed_or_left_out(table: Any) -> None:
    names = "of_somebody worst coverage missing label_errors operating_points per_site subgroup_tests"
    for name in f"{names} subgroup_differences training_events mitigation drift predictive_values".split():
        _page(Evidence("Odd", tables={name: table}))


def test_no_table_of_a_run_is_lost() -> None:
    page = _page(rich())
    assert "Own table of somebody" in page and "2.500" in page.split('<section id="further"')[1]


def test_long_tables_are_folded_and_opened_on_paper() -> None:
    page = _page(rich())
    assert "<summary>14 more rows</summary>" in page
    assert (
        "details::details-content { content-visibility: visible" in STYLE.read_text().split("@media print")[1]
    )


def test_a_difference_that_survives_holm_is_marked_and_another_not() -> None:
    section = _page(rich()).split('<section id="subgroups"')[1].split("</section>")[0]
    assert section.count("differs, Holm p = 0.013") == 1
    tests = re.findall(r'<ul class="plain tests">(.*?)</ul>', section, re.S)
    assert "differs" in tests[0] and "0.018" in tests[0] and "differs" not in tests[1]


def test_sites_have_a_diamond_for_their_mean() -> None:
    section = _page(rich()).split('<section id="subgroups"')[1].split("</section>")[0]
    assert section.count('class="diamond"') == 1 and section.count('class="prediction"') == 1


def test_maps_bear_the_scores_that_were_measured_and_edits_are_called_synthetic() -> None:
    page = _page(rich(), pictures(1, size=8))
    assert "not validated against lesions" not in page and "Explanation localisation" in page
    score = Finding("explanation_localisation", label="Grad-CAM", value=0.61, low=0.5, high=0.7, n=60)
    shown = [replace(p, scores=(score,), kind=k) for p, k in zip(pictures(3, size=8), KINDS, strict=True)]
    section = _page(rich(), tuple(shown)).split('<section id="explanations"')[1]
    assert (
        _text(section).count("Grad-CAM explanation localisation 0.610 (95 % CI 0.500 to 0.700; n = 60)") == 3
    )
    titles = [_text(t) for t in re.findall("<h3>(.*?)</h3>", section.split("</section>")[0])]
    assert titles[-2:] == [
        "Similar confirmed cases from training patients 1 shown", "Synthetic edits: no real images 1 shown"
    ]  # fmt: skip
    assert 'synthetic edit"' in section


def test_answers_of_people_stand_where_they_belong_with_name_and_date() -> None:
    answers = {
        "intended_use": Given("Triage <b>only</b>", *BY), "prevalence": Given(0.006, *BY),
        "threshold_range": Given((0.05, 0.3), *BY), "harm_ratio": Given(20.0, *BY),
        "sign_off": Given("Head", *BY), "failures_read": Given("dense breasts", *BY),
    }  # fmt: skip
    page = _page(rich(), answers=answers, seal=Seal("sha256:" + "ab" * 32))
    text = _text(page)
    assert "Triage &lt;b&gt;only&lt;/b&gt; A. Reader, 2026-03-14" in text and "<b>only" not in page
    assert "read and signed off by A. Reader, 2026-03-14" in text and "dense breasts" in text
    # Bayes: .84 * .006 / (.84 * .006 + .09 * .994)
    assert "positive predictive value of 0.053" in text and 'class="wanted"' in page


def test_unanswered_and_unsigned_say_so_and_why() -> None:
    page = _text(_page(rich(), seal=Seal(why_not="The home is read-only.")))
    assert "Not signed. The home is read-only." in page and "not signed off by a person" in page
    assert "A filled checklist is no safety evidence." in page and "(to be checked)" in page


def test_a_share_is_never_drawn_on_the_scale_of_another_number() -> None:
    slope = Finding("calibration_slope", value=1.4, low=1.1, high=1.9, n=90)
    page = _page(replace(binary(), metrics=(*binary().metrics, slope)))
    scale = page.split('<section id="performance"')[1].split('class="scale"')[1].split("</span>")[0]
    assert ">1</i>" in scale and ">2</i>" not in scale


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXTS = [("ink", "paper"), ("muted", "paper"), ("accent", "paper"), ("ink", "panel"), ("muted", "panel"),
         ("stop", "paper"), ("stop", "stop-bg"), ("warn", "paper"), ("warn", "warn-bg"), ("good", "paper"),
         ("ink", "warn-bg"), ("ink", "stop-bg")]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_texts_and_lines_have_the_contrast_of_wcag_aa(scheme: str) -> None:
    begins = {"light": "", "dark": "prefers-color-scheme: dark", "print": "@media print"}[scheme]
    css = STYLE.read_text().split(begins or ":root", 1)[1]
    rules = (css if scheme == "light" else css.split(":root", 1)[1]).split("}")[0]
    colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6});", rules))
    for text, ground in TEXTS:
        assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for k in range(8):  # graphical objects need 3 : 1 (WCAG 1.4.11)
        assert _contrast(colours[f"c{k}"], colours["paper"]) >= 3, k
