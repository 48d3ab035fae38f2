"""The order of the report: which chapters there are, their numbers, and what each of them is given."""

from __future__ import annotations

from typing import Any

from hounsfield.steps import figures
from hounsfield.steps.chapters.clinical import clinical
from hounsfield.steps.chapters.data import TABLES, data_tables, flow
from hounsfield.steps.chapters.decisions import decisions
from hounsfield.steps.chapters.groups import other_tables, sites, subgroups
from hounsfield.steps.chapters.numbers import curve_drawings, headline, hundreds, metric_blocks, recalls
from hounsfield.steps.chapters.records import records
from hounsfield.steps.chapters.regions import REGIONS, detected, measures, outlined
from hounsfield.steps.chapters.topics import PARTS, SEVERITY, all_findings, by_chapter
from hounsfield.steps.chapters.trust import failures, robustness, shown_gallery, uncertainty
from hounsfield.steps.standards import Given

__all__ = ["ANCHORS", "arranged", "with_anchors"]

Row = dict[str, Any]

CHAPTERS = (
    ("use", "Intended use"),
    ("summary", "Summary"),
    ("untested", "What was not tested"),
    ("data", "Data"),
    ("audit", "Audit of the data"),
    ("performance", "Performance"),
    ("clinical", "The clinical question"),
    ("decisions", "Calibration and decisions"),
    ("uncertainty", "Uncertainty and abstention"),
    ("subgroups", "Subgroups"),
    ("interventions", "Shortcuts"),
    ("robustness", "Robustness"),
    ("failures", "Failures"),
    ("explanations", "Explanations"),
    ("training", "Training"),
    ("standards", "Account of the standards"),
    ("glossary", "Glossary"),
    ("further", "Further tables"),
)
WHERE_THERE_IS_DATA = ("clinical", "decisions", "uncertainty", "robustness", "failures", "further")
OF_A_MODEL = ("performance", "subgroups", "interventions", "explanations", "training")
"""Chapters that a measurement, which no model learned, does not have."""

OF_REGIONS = {"explanations": "Cases", "decisions": "Decisions"}
"""What chapters are called where outlines or found objects are evaluated."""

PLACES = {
    "performance": ("tables.confusion", "tables.classification_report", "tables.metric_fingerprint",
                    "tables.drift", "tables.drift_limits", "tables.gates", "tables.segmentation_report",
                    "tables.measuring_rules", "tables.froc", "tables.detection_report"),
    "clinical": ("tables.clinical", "curves.clinical"),
    "decisions": (
        "curves.calibration", "curves.calibration_band", "curves.net_benefit", "curves.predictive_values",
        "tables.operating_point", "tables.operating_points", "tables.predictive_values",
    ),
    "uncertainty": ("curves.risk_coverage", "tables.coverage", "tables.referral_reasons"),
    "subgroups": (
        "tables.subgroup_tests", "tables.subgroup_differences", "tables.per_site", "tables.mitigation",
        "tables.diagnosis_gaps", "tables.site_thresholds", "tables.subgroup_metrics",
    ),
    "robustness": ("curves.robustness", "tables.robustness"),
    "failures": ("tables.worst", "tables.worst_slices", "tables.failures", "tables.worst_cases",
                 "tables.missed_lesions", "tables.false_positives"),
    "training": ("tables.plan", "curves.history", "tables.training_events", "tables.events"),
    "audit": ("tables.label_errors", "tables.label_error_candidates", "tables.duplicates",
              "tables.near_duplicates", "tables.pairs"),
    "data": (
        "tables.flow", "tables.notes", "tables.classes", "tables.demographics", "tables.refused",
        *(f"tables.{name}" for _, _, names in TABLES for name in names),
    ),
}  # fmt: skip
"""In which chapter a table or curve stands; a table that is not named here stands in the last chapter."""

ANCHORS = {place: chapter for chapter, places in reversed(PLACES.items()) for place in places}


EXPLANATIONS = "explanation"
"""How the names of tables begin that stand beside the maps."""


def with_anchors(content: Row) -> Row:
    """The content with an "anchor" in every finding: the id of the row of the page that shows it."""
    return {
        **content,
        **{p: [{**f, "anchor": f"{p}-{k}"} for k, f in enumerate(content[p], 1)] for p in PARTS},
    }


def arranged(content: Row, kept: Row, answers: dict[str, Given]) -> Row:
    """Everything that the templates print, by chapter; `content` has anchors, `kept` are the pictures."""
    found = by_chapter(content)
    tables = content["tables"]
    regions = content["context"].get("task") in REGIONS
    performance = found.get("performance", [])
    page: Row = {
        "regions": regions,
        "measuring": content["context"].get("task") == "measurement",
        "alarms": _alarms(content),
        "headline": headline(content),
        "hundreds": hundreds(content),
        "recalls": recalls(content),
        "flow": flow(content),
        "data_tables": data_tables(tables),
        "size": found.get("size", []),
        "audit": sorted(found.get("audit", []), key=lambda f: SEVERITY.get(f["level"], 2)),
        "metrics": measures(content, performance) if regions else metric_blocks(performance),
        "outlined": outlined(content),
        "detected": detected(content),
        "fingerprint": records(tables.get("metric_fingerprint")),
        "drift": records(tables.get("drift") or tables.get("drift_limits")),
        "gates": records(tables.get("gates")),
        "drawings": curve_drawings(content),
        "clinical": clinical(content, found.get("clinical", []), kept),
        "decisions": decisions(content, found.get("decisions", []), answers),
        "uncertainty": uncertainty(content, found.get("uncertainty", [])),
        "subgroups": subgroups(content, found.get("subgroups", [])),
        "sites": sites(content),
        "gaps": figures.forest_blocks(found.get("gaps", []), "name", one_scale=True),
        "group_tables": other_tables(content),
        "interventions": figures.forest_blocks(found.get("interventions", []), "name", one_scale=True),
        "robustness": robustness(content, found.get("robustness", [])),
        "failures": failures(content, found.get("failures", [])),
        "gallery": shown_gallery(kept),
        "explanation_scores": figures.forest_blocks(found.get("explanations", []), "name"),
        "explanation_tables": [
            (name, table)
            for name in sorted(tables)
            if name.startswith(EXPLANATIONS) and (table := records(tables[name]))
        ],
        "plan_rows": _plan_rows(tables.get("plan") or []),
        "training_findings": found.get("training", []),
        "events": [
            str(e)
            for key in ("training_events", "events")
            if isinstance(tables.get(key), list)
            for e in tables[key]
        ],
        "further": [
            (name, table)
            for name in sorted(tables)
            if f"tables.{name}" not in ANCHORS
            and not name.startswith(EXPLANATIONS)
            and (table := records(tables[name]))
        ],
    }
    chapters = _chapters(page)
    return {**page, "chapters": chapters, "number_of": _numbers_of(found, chapters)}


def _chapters(page: Row) -> list[Row]:
    """The chapters that have something to say; fewer of them always stand for outlines and found objects."""
    where = (*WHERE_THERE_IS_DATA, *(("interventions", "explanations") if page["regions"] else ()))
    maps = page["gallery"]["n"] or page["explanation_scores"] or page["explanation_tables"]
    filled = {**page, "explanations": maps}
    titles = OF_REGIONS if page["regions"] else {}
    never = OF_A_MODEL if page["measuring"] else ()
    there = [
        (key, titles.get(key, title))
        for key, title in CHAPTERS
        if key not in never and (key not in where or filled[key])
    ]
    return [{"id": key, "title": title, "number": k} for k, (key, title) in enumerate(there, 1)]


def _numbers_of(found: dict[str, list[Row]], chapters: list[Row]) -> dict[str, int]:
    """The chapter's number of every anchor, for a reader of paper."""
    number = {c["id"]: c["number"] for c in chapters}
    number["signature"] = number["standards"]
    inside = {"size": "data", "gaps": "subgroups"}
    return number | {
        f["anchor"]: number[inside.get(name, name)] for name, findings in found.items() for f in findings
    }


def _plan_rows(rows: list[Any]) -> Row:
    """The choices that were made, and those that only say what is off or as usual."""
    usual = [
        row for row in rows if not row[2] or str(row[2]).lower().startswith(("off", "not used", "default"))
    ]
    return {"chosen": [row for row in rows if row not in usual], "usual": usual}


def _alarms(content: Row) -> list[Row]:
    loud = [f for f in all_findings(content) if f["level"] in ("stop", "warning")]
    return sorted(loud, key=lambda f: SEVERITY[f["level"]])
