"""The report stands alone, escapes what it is given and shows every number with its interval and n."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Evidence, Finding, Picture
from hounsfield.steps.canonical import canonical
from hounsfield.steps.report import report
from steps.report_examples import EXAMPLES, FULL, PHANTOM, TOO_SMALL, binary, multiclass, pictures

VOID = {"meta", "br", "img", "link", "hr", "input", "col", "wbr"}


class _Outline(HTMLParser):
    """Tags with their attributes, and the places where one closes that was not open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")


def _page(evidence: Evidence, folder: Path, shown: tuple[Picture, ...] = ()) -> str:
    return report(evidence, shown, folder).read_text("utf-8")


def _text(piece: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", piece).split())


def _section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}"')[1].split("</section>")[0]


@pytest.fixture(params=EXAMPLES)
def page(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return _page(EXAMPLES[request.param](), tmp_path, pictures(3, size=32))


def test_page_loads_nothing_from_elsewhere_and_runs_no_script(page: str) -> None:
    outline = _Outline(page)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in outline.tags}
    for _, attributes in outline.tags:
        assert all(not name.startswith("on") for name in attributes)
        for name in ("src", "srcset", "href", "xlink:href", "action", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert "http:" not in page and "https:" not in page
    assert not re.search(r"@import|url\(|@font-face", page)
    assert "default-src 'none'" in page


def test_tags_are_balanced_and_ids_unique_and_links_lead_somewhere(page: str) -> None:
    outline = _Outline(page)
    assert outline.faults == [] and outline.open == []
    ids = [a["id"] for _, a in outline.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in outline.tags if tag == "a" and a.get("href")} <= set(ids)
    assert {a["aria-labelledby"] for _, a in outline.tags if "aria-labelledby" in a} <= set(ids)


def test_page_can_be_read_without_eyes(page: str) -> None:
    outline = _Outline(page)
    assert ("a", {"class": "skip", "href": "#content"}) in outline.tags
    assert ("html", {"lang": "en"}) in outline.tags
    assert all(a.get("alt") for tag, a in outline.tags if tag == "img")
    assert all(a.get("aria-label") or a.get("aria-hidden") for tag, a in outline.tags if tag == "svg")
    assert all(a.get("scope") for tag, a in outline.tags if tag == "th")
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", FULL)
def test_every_finding_stands_once_with_interval_and_n_as_in_the_json(name: str, tmp_path: Path) -> None:
    page = _page(EXAMPLES[name](), tmp_path)
    saved = json.loads((tmp_path / "evidence.json").read_text("utf-8"))
    assert saved["metrics"]
    for part in ("audit", "metrics", "subgroups", "interventions"):
        for k, f in enumerate(saved[part], 1):
            assert page.count(f'id="{part}-{k}"') == 1
            row = _text(page.split(f'id="{part}-{k}"')[1].split("</tr>")[0].split("</li>")[0])
            if f["value"] is None:
                assert f["note"] in row
            elif part in ("metrics", "subgroups", "interventions"):
                patients = f" ({f['n_patients']})" if f["n_patients"] else ""
                numbers = f"{f['value']:.3f} {f['low']:.3f} to {f['high']:.3f} {f['n']}{patients}"
                assert numbers.replace("-", "−") in row


def test_json_has_everything_sorted_and_no_nan(tmp_path: Path) -> None:
    evidence = binary()
    broken = Finding("auroc", value=float("nan"), low=float("-inf"), high=np.float64("nan"), n=12)
    curves = evidence.curves | {"bare": np.array([1.0, np.nan]), "nested": {"n": np.int64(3)}}
    text = _page(replace(evidence, metrics=(broken,), curves=curves), tmp_path)
    raw = (tmp_path / "evidence.json").read_text("utf-8")
    saved = json.loads(raw, parse_constant=lambda word: pytest.fail(f"{word} in the JSON"))
    assert raw.encode() == canonical(saved) and "\n" not in raw
    assert saved["metrics"][0]["value"] is None and saved["curves"]["bare"] == [1.0, None]
    assert saved["curves"]["nested"] == {"n": 3} and saved["phantom"] is True
    assert set(saved) == {*Evidence.__slots__, "order"} and "nan" not in _text(text).lower().split()


def test_phantom_banner_heads_the_page_and_every_printed_page(tmp_path: Path) -> None:
    marked, plain = _page(binary(), tmp_path / "a"), _page(binary(phantom=False), tmp_path / "b")
    assert marked.count(PHANTOM) >= 3 and marked.index(PHANTOM) < marked.index("<h1>")
    assert f'<div class="running" aria-hidden="true">{PHANTOM}</div>' in marked
    assert ".running { display: table-header-group; break-inside: avoid;" in marked.split("@media print")[1]
    assert "PHANTOM" not in plain


def test_names_are_escaped(tmp_path: Path) -> None:
    nasty = '<script>alert("x")</script>'
    evidence = binary(classes=("a&b", nasty))
    sub = Finding("auroc", f"site={nasty}", nasty, 0.9, 0.8, 0.95, 50, 40, nasty, "warning", nasty)
    evidence = replace(
        evidence, title=nasty, subgroups=(sub,), untested=(nasty,), audit=(replace(sub, name=nasty),)
    )
    shown = tuple(
        replace(p, case=nasty, caption=nasty, panels=((nasty, p.panels[0][1]),)) for p in pictures(1, size=8)
    )
    page = _page(evidence, tmp_path, shown)
    assert "<script" not in page and "&lt;script&gt;" in page
    assert _Outline(page).faults == []


def test_too_small_group_shows_its_reason_and_no_number(tmp_path: Path) -> None:
    section = _section(_page(binary(), tmp_path), "subgroups")
    rows = [row for row in section.split("<tr ") if re.search(r'<th scope="row">C\b', row)]
    assert len(rows) == 2
    assert all(TOO_SMALL in row and 'class="estimate"' not in row for row in rows)


def test_what_is_absent_is_called_not_measured(tmp_path: Path) -> None:
    page = _page(Evidence("Bare"), tmp_path)
    for chapter in ("summary", "data", "audit", "performance", "subgroups", "explanations", "training"):
        assert "Not measured." in _section(page, chapter)
    assert "not the same as having tested everything" in _section(page, "untested")
    tally = _text(re.search(r'<p class="tally">.*?</p>', page, re.S)[0])  # type: ignore[index]
    assert tally.startswith("Of 48 items the tool answers its own part of 1 .")  # the signature, and no other


def test_checklist_claims_an_item_only_with_its_data(tmp_path: Path) -> None:
    def row(evidence: Evidence) -> str:
        method = _section(_page(evidence, tmp_path), "standards")
        return next(_text(r) for r in method.split("<tr ") if "Confusion matrix, accuracy" in r)

    full = binary()
    with_recall = replace(full, metrics=(*full.metrics, Finding("recall", value=0.8, n=9)))
    assert "● answered" in row(with_recall)
    assert "◐ in part" in row(replace(full, metrics=full.metrics[:4]))
    refused = tuple(replace(f, value=None, note=TOO_SMALL) for f in full.metrics)
    told = row(replace(full, metrics=refused))
    assert "◐ in part confusion matrix lacks accuracy; precision; recall; F1" in told


def test_fields_for_a_person_stay_empty(page: str) -> None:
    fields = re.findall(r'<dd class="field">(.*?)</dd>', page, re.S)
    assert len(fields) == 9 and {_text(field) for field in fields} == {"waits for a person"}
    assert "not signed off by a person" in page


def test_summary_counts_in_hundreds_and_puts_stops_first(tmp_path: Path) -> None:
    text = _text(_section(_page(binary(), tmp_path), "summary"))
    assert "Of 100 cases labelled “malignant”, 84 would be found (95 % CI 74 to 90) and 16 missed." in text
    assert "91 would be cleared (95 % CI 86 to 94) and 9 called positive by mistake" in text
    assert text.index("✕ stop") < text.index("▲ warning") < text.index("Task")


def test_flow_names_how_many_each_step_left_out(tmp_path: Path) -> None:
    data = _text(_section(_page(binary(), tmp_path), "data"))
    assert "31 left out : no pixel data" in data and "41 left out : no row in the label table" in data


def test_maps_are_called_unvalidated_unless_localisation_was_measured(tmp_path: Path) -> None:
    sentence = "were not validated against lesions"
    assert sentence in _page(binary(), tmp_path, pictures(1, size=16))
    measured = Finding("explanation_localisation", value=0.41, low=0.3, high=0.52, n=60, n_patients=55)
    evidence = replace(binary(), metrics=(*binary().metrics, measured))
    assert sentence not in _page(evidence, tmp_path, pictures(1, size=16))


@pytest.mark.parametrize("noise", [6.0, 80.0])
def test_many_pictures_stay_under_three_megabytes(noise: float, tmp_path: Path) -> None:
    page = _page(binary(), tmp_path, pictures(24, noise=noise))
    assert len(page.encode()) < 3_000_000 and page.count("<img ") == 72
    assert "fewer colours or pixels" in page
    assert "fewer colours or pixels" not in _page(binary(), tmp_path, pictures(2, size=64))


def test_same_evidence_gives_the_same_page(tmp_path: Path) -> None:
    first = _page(multiclass(), tmp_path / "a", pictures(2, size=32))
    assert first == _page(multiclass(), tmp_path / "b", pictures(2, size=32))


def test_curve_of_many_points_stays_small(tmp_path: Path) -> None:
    line = np.linspace(0, 1, 50_000)
    curves = {"roc": {"malignant": {"fpr": line, "tpr": np.sqrt(line)}}}
    assert len(_page(Evidence("Large", curves=curves), tmp_path)) < 100_000


def test_unwritable_folder_is_a_bad_input(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(BadInput):
        report(Evidence("Bare"), (), tmp_path / "taken")
