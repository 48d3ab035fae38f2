"""The report stands alone, escapes what it is given and shows every number with its interval and n."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Evidence, Finding, Picture
from hounsfield.steps.report import report

VOID = {"meta", "br", "img", "link", "hr", "input", "col", "wbr"}
PHANTOM = "PHANTOM DATA - not patients; nothing here says anything about clinical performance"
TOO_SMALL = "n = 9: too few for a number; at least 20 are needed"
DELONG, WILSON, BOOT = (
    "DeLong, clustered by patient",
    "Wilson, effective size by patient",
    "bootstrap over patients",
)

# fmt: off
VALUES = {
    "auroc": (.913, .872, .946, DELONG), "auprc": (.781, .69, .861, BOOT),
    "sensitivity": (.84, .742, .905, WILSON), "specificity": (.91, .856, .945, WILSON),
    "precision": (.764, .661, .843, WILSON), "npv": (.943, .894, .97, WILSON), "f1": (.8, .718, .866, BOOT),
    "accuracy": (.892, .846, .925, WILSON), "mcc": (.73, .62, .82, BOOT), "brier": (.081, .062, .104, BOOT),
    "balanced_accuracy": (.875, .825, .915, DELONG), "ece": (.034, .02, .061, BOOT),
}
AUDIT = (
    Finding("patient_identity", n=1240, n_patients=980, note="980 patients are named for 1,240 cases"),
    Finding("patients_in_both_parts", value=0.0, n=1240, n_patients=980, note="0 patients on both sides"),
    Finding("near_duplicates", value=12.0, n=1240, level="warning", note="12 pairs are the same picture"),
    Finding("site_label_association", value=.412, low=.33, high=.49, n=1240, level="stop",
            note="site B holds 81 % of the malignant cases: a model can learn the site"),
)
CHANGES = (
    Finding("marker_inserted", "", "mean_score_change", .31, .27, .35, 240, 195, BOOT, "warning",
            "a letter in the corner raises the score by 0.31"),
    Finding("marker_inserted", "", "share_flipped", .22, .17, .28, 240, 195, WILSON),
    Finding("noise_added", "", "mean_score_change", -.004, -.012, .005, 240, 195, BOOT),
)
PEOPLE = (("sex", "F", 521, 122), ("sex", "M", 470, 115), ("sex", "", 9, 3), ("age band", "40-49", 210, 51),
          ("age band", "50-59", 790, 189), ("site", "A", 600, 140), ("site", "B", 400, 100))
TABLES: dict[str, Any] = {
    "flow": [("files found", 1312, 1021, ""), ("readable images", 1281, 1003, "no pixel data"),
             ("with a label", 1240, 980, "no row in the label table"),
             ("development", 1000, 785, "5 folds by patient"), ("test", 240, 195, "")],
    "demographics": [(column, value, {"development": n, "test": m}) for column, value, n, m in PEOPLE],
    "refused": [["no pixel data", 22], ["transfer syntax cannot be decoded", 9]],
    "plan": [("input.size", [1, 224, 224], "median image is 512 x 480; 224 fits the time budget"),
             ("network.name", "compact", "1,000 cases: a small network"), ("network.weights", "", ""),
             ("augment.flip_left_right", False, "left and right mean something here")],
    "operating_point": {"value": .42, "rule": "youden", "chosen_on": "validation folds",
                        "low": .37, "high": .49, "n": 1000},
}
CONTEXT: dict[str, Any] = {
    "task": "classification", "target": ["finding"], "hounsfield": "0.1.0", "python": "3.11.9", "seed": 0,
    "packages": {"numpy": "2.4.0", "torch": "2.13.0"}, "plan_digest": "9f2c1d77aa01be44", "device": "cpu",
    "data_digest": "03bb7c90e1f2a6d5", "seconds": {"scan": 3.1, "audit": 8.6, "fit": 402.7, "predict": 9.9},
    "evaluated_on": "test", "command": "hu train study-folder --labels labels.csv --target finding",
}
# fmt: on


def _metrics(label: str = "", shift: float = 0.0) -> list[Finding]:
    return [
        Finding(name, "", label, value - shift, low - shift, high - shift, 240, 219, method)
        for name, (value, low, high, method) in VALUES.items()
    ]


def _curves(names: tuple[str, ...]) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    curves: dict[str, Any] = {"roc": {}, "pr": {}, "calibration": {}, "scores": {}}
    for k, name in enumerate(names):
        yes, no = rng.beta(5 - 0.6 * k, 2, 75), rng.beta(2, 6 - 0.5 * k, 165)
        cuts = np.concatenate([[np.inf], np.sort(np.concatenate([yes, no]))[::-1]])
        tpr, fpr = ((side >= cuts[:, None]).mean(axis=1) for side in (yes, no))
        precision = (tpr * 75 / np.maximum(tpr * 75 + fpr * 165, 1))[1:]
        auroc = {"value": 0.913 - 0.03 * k, "low": 0.872 - 0.03 * k, "high": 0.946 - 0.03 * k, "n": 240}
        band = _span(tpr, 0.06) if len(names) == 1 else {}
        curves["roc"][name] = {"fpr": fpr, "tpr": tpr, "auroc": auroc, **band}
        curves["pr"][name] = {"recall": tpr[1:], "precision": precision, "prevalence": 75 / 240}
        middle = np.array([0.05, 0.15, 0.3, 0.5, 0.7, 0.9])
        seen = np.clip(middle + rng.normal(0, 0.04, 6), 0, 1)
        bins = {"predicted": middle, "observed": seen, "n": [88, 54, 31, 22, 19, 26]}
        curves["calibration"][name] = bins | _span(seen, 0.1)
        edges = np.linspace(0, 1, 21)
        counted = {"positive": np.histogram(yes, edges)[0], "negative": np.histogram(no, edges)[0]}
        curves["scores"][name] = counted | {"edges": edges}
    return curves | {"history": [_member(rng) for _ in range(5)]}


def _span(values: np.ndarray, reach: float) -> dict[str, np.ndarray]:
    return {"low": np.clip(values - reach, 0, 1), "high": np.clip(values + reach, 0, 1)}


def _member(rng: np.random.Generator) -> dict[str, Any]:
    epoch, noise = np.arange(1, 31), rng.normal(0, 0.01, 30)
    falling = np.exp(-epoch / 8)
    losses = {"train_loss": 0.7 * falling + 0.06, "val_loss": 0.62 * falling + 0.2 + noise}
    return {"epoch": epoch, **losses, "val_auroc": 0.93 - 0.35 * np.exp(-epoch / 5) + noise}


def _tables(classes: tuple[str, ...]) -> dict[str, Any]:
    n = len(classes)
    counts = [[52 if i == j else max(9 - 4 * abs(i - j), 1) for j in range(n)] for i in range(n)]
    cell = {"value": 0.82, "low": 0.74, "high": 0.88, "n": 75}
    rows = [{"class": c, "precision": cell, "recall": cell, "f1": cell, "n": 75} for c in classes]
    parts = {part: {c: 400 - 70 * k for k, c in enumerate(classes)} for part in ("development", "test")}
    confusion = {"classes": classes, "counts": counts}
    return TABLES | {"confusion": confusion, "classification_report": rows, "classes": parts}


def binary(*, phantom: bool = True, classes: tuple[str, str] = ("benign", "malignant")) -> Evidence:
    """What a run of a binary task leaves."""
    groups = [Finding(name, "site=C", n=9, n_patients=9, note=TOO_SMALL) for name in ("auroc", "sensitivity")]
    for name, shift in (("auroc", 0.0), ("sensitivity", 0.07)):
        for k, group in enumerate(("site=A", "site=B", "sex=F", "sex=M")):
            at = 0.93 - 0.02 * k - shift
            groups.append(Finding(name, group, "", at, at - 0.06, at + 0.05, 140 - k, 120 - k, DELONG))
    untested = ("Images of another manufacturer than those in the data.", "Patients under 40 years.")
    context = CONTEXT | {"kind": "binary", "positive": classes[1], "classes": list(classes)}
    title = f"{classes[1].capitalize()} or {classes[0]} on mammography"
    rest = (_curves((classes[1],)), _tables(classes), context, phantom)
    return Evidence(title, AUDIT, (*_metrics(),), (*groups,), CHANGES, untested, *rest)


def multiclass() -> Evidence:
    """Four classes; one of them too rare for a number."""
    classes = ("no finding", "mild", "moderate", "severe")
    metrics = [_metrics()[0], Finding("qwk", "", "", 0.71, 0.63, 0.78, 240, 219, BOOT), *_metrics()[7:9]]
    for k, name in enumerate(classes):
        metrics += _metrics(name, shift=0.03 * k)[:4]
    rare = Finding("sensitivity", label="moderate", n=9, n_patients=9, note=TOO_SMALL)
    metrics = [rare if (f.name, f.label) == ("sensitivity", "moderate") else f for f in metrics]
    values = ("", 0.9, 0.85, 0.95, 90, 80, DELONG)
    groups = tuple(Finding("auroc", g, *values) for g in ("site=A", "site=B", "site=A & sex=F"))
    context = CONTEXT | {"kind": "multiclass", "classes": list(classes), "evaluated_on": "cross-validation"}
    rest = ((), ("Other cameras.",), _curves(classes), _tables(classes), context)
    return Evidence("Grades of retinopathy", AUDIT[:3], (*metrics,), groups, *rest)


def multilabel() -> Evidence:
    """Several findings a case, no operating point and no confusion matrix."""
    classes = ("effusion", "pneumothorax", "nodule")
    tables = {k: v for k, v in _tables(classes).items() if k not in ("confusion", "operating_point")}
    metrics = tuple(f for k, name in enumerate(classes) for f in _metrics(name, shift=0.04 * k)[:4])
    context = CONTEXT | {"kind": "multilabel", "classes": list(classes), "evaluated_on": "external"}
    rest = ((), (), (), _curves(classes), tables, context)
    return Evidence("Findings on chest radiographs", AUDIT[:1], metrics, *rest)


def pictures(count: int, *, size: int = 224, noise: float = 6.0) -> tuple[Picture, ...]:
    """Smooth grey images with noise, and two coloured maps over each."""
    rng = np.random.default_rng(0)
    j, i = np.mgrid[:size, :size] / size
    made = []
    for k in range(count):
        disc = 60 + 130 * np.exp(-((i - 0.4 - 0.01 * k) ** 2 + (j - 0.5) ** 2) / 0.05)
        grey = np.clip(disc + rng.normal(0, noise, (size, size)), 0, 255).astype(np.uint8)
        image = np.repeat(grey[..., None], 3, axis=2)
        heat = np.exp(-((i - 0.45) ** 2 + (j - 0.55 + 0.01 * k) ** 2) / 0.02)[..., None]
        warm, cold = (image * (1 - 0.5 * heat) + 120 * heat * tint for tint in ([1, 0.4, 0.1], [0.1, 0.5, 1]))
        pair = (("Grad-CAM", warm), ("occlusion", cold))
        maps = [(title, np.clip(x, 0, 255).astype(np.uint8)) for title, x in pair]
        outcome = "wrong" if k % 3 == 0 else "right"
        caption = f"Score {0.31 + 0.02 * k:.2f}; the truth is malignant."
        made.append(Picture(f"case {k + 1}", outcome, caption, (("image", image), *maps)))
    return tuple(made)


FULL = {"binary": binary, "multiclass": multiclass, "multilabel": multilabel}
EXAMPLES = {**FULL, "minimal": lambda: Evidence("Bare")}


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
def test_every_metric_stands_with_interval_and_n_as_in_the_json(name: str, tmp_path: Path) -> None:
    text = _text(_section(_page(EXAMPLES[name](), tmp_path), "performance"))
    saved = json.loads((tmp_path / "evidence.json").read_text("utf-8"))
    assert saved["metrics"]
    for f in saved["metrics"]:
        if f["value"] is None:
            assert f"{f['note']} {f['n']}" in text
        else:
            row = f"{f['value']:.3f} {f['low']:.3f} to {f['high']:.3f} {f['n']} ({f['n_patients']})"
            assert row.replace("-", "−") in text


def test_json_has_everything_sorted_and_no_nan(tmp_path: Path) -> None:
    evidence = binary()
    broken = Finding("auroc", value=float("nan"), low=float("-inf"), high=np.float64("nan"), n=12)
    curves = evidence.curves | {"bare": np.array([1.0, np.nan]), "nested": {"n": np.int64(3)}}
    text = _page(replace(evidence, metrics=(broken,), curves=curves), tmp_path)
    raw = (tmp_path / "evidence.json").read_text("utf-8")
    saved = json.loads(raw, parse_constant=lambda word: pytest.fail(f"{word} in the JSON"))
    assert raw == json.dumps(saved, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    assert saved["metrics"][0]["value"] is None and saved["curves"]["bare"] == [1.0, None]
    assert saved["curves"]["nested"] == {"n": 3} and saved["phantom"] is True
    assert set(saved) == set(Evidence.__slots__) and "nan" not in _text(text).lower().split()


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
    rows = re.findall(
        r"<tr>\s*<th scope=\"row\">C\b.*?</tr>", _section(_page(binary(), tmp_path), "subgroups"), re.S
    )
    assert len(rows) == 2
    assert all(TOO_SMALL in row and 'class="estimate"' not in row for row in rows)


def test_what_is_absent_is_called_not_measured(tmp_path: Path) -> None:
    page = _page(Evidence("Bare"), tmp_path)
    for chapter in ("summary", "data", "audit", "performance", "subgroups", "explanations", "training"):
        assert "Not measured." in _section(page, chapter)
    assert "not the same as having tested everything" in _section(page, "untested")
    tally = _text(re.search(r'<p class="tally">.*?</p>', page, re.S)[0])  # type: ignore[index]
    assert tally.startswith("Of 48 items: 0 answered, 0 answered in part,")


def test_checklist_claims_an_item_only_with_its_data(tmp_path: Path) -> None:
    def row(evidence: Evidence) -> str:
        method = _section(_page(evidence, tmp_path), "method")
        return next(_text(r) for r in method.split("<tr ") if "Confusion matrix, accuracy" in r)

    full = binary()
    with_recall = replace(full, metrics=(*full.metrics, Finding("recall", value=0.8, n=9)))
    assert "● answered" in row(with_recall)
    assert "◐ answered in part" in row(replace(full, metrics=full.metrics[:4]))
    refused = tuple(replace(f, value=None, note=TOO_SMALL) for f in full.metrics)
    assert "◐ answered in part confusion matrix accuracy; precision;" in row(replace(full, metrics=refused))


def test_fields_for_a_person_stay_empty(page: str) -> None:
    fields = re.findall(r'<div class="field[^>]*>(.*?)</div>', page, re.S)
    assert len(fields) == 11 and set(fields) == {""}
    assert "not signed" in page


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
    measured = Finding("localisation", value=0.41, low=0.3, high=0.52, n=60, n_patients=55)
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
