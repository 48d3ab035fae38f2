"""A simulation says what stands at two sites, what each site's audit finds, and that phantoms are such."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation.made_study import write_study
from hounsfield.core.case import LabelEncoding
from hounsfield.core.evidence import Finding
from hounsfield.federation.site_audit import audited
from hounsfield.federation.site_cases import SiteCases, at_two_sites, divided, looked_at, of_folder, together
from hounsfield.steps.gather import Question
from phantoms import hu

SIZES = {"Kiel": 20, "Ulm": 18}
ENCODING = LabelEncoding("binary", ("benign", "malignant"), ("finding",))


def changed(table: Path, change: Callable[[list[dict[str, str]]], None]) -> Path:
    """The label table with its rows changed."""
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    change(rows)
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


def copied(root: Path) -> Callable[[list[dict[str, str]]], None]:
    """Two pictures of Kiel are Ulm's too; a patient of Kiel has a third picture at Ulm; ids are phantoms'."""

    def change(rows: list[dict[str, str]]) -> None:
        kiel = [r for r in rows if r["site"] == "Kiel"]
        for k, row in enumerate(kiel[:2]):
            shutil.copy(root / row["file"], root / f"copy{k}.png")
            rows.append({**row, "file": f"copy{k}.png", "site": "Ulm", "patient": f"new{k}"})
        ulm = next(r for r in rows if r["site"] == "Ulm" and r["finding"] == kiel[5]["finding"])
        again = next(r for r in rows if r is not ulm and r["site"] == "Ulm" and r["patient"][0] == "P")
        ulm["patient"] = again["patient"]  # two at Ulm, one at Kiel
        kiel[5]["patient"] = again["patient"]
        for row in rows:
            row["patient"] = f"PHANTOM-{row['patient']}"

    return change


def asked(table: Path) -> Question:
    return Question(labels=str(table), target=("finding",), test_fraction=0.4)


def found_at(sites: tuple[SiteCases, ...], **more: Any) -> dict[str, Finding]:
    cohort = together(sites, ENCODING)
    return {f.name: f for f in audited(sites, cohort, **more) if f.name.endswith("at_two_sites")}


def test_pictures_and_patients_at_two_sites_are_counted_and_clean_sites_are_not_accused(
    tmp_path: Path,
) -> None:
    clean = asked(write_study(tmp_path / "clean", sizes=SIZES))
    looked = looked_at(str(tmp_path / "clean"), clean, tmp_path / "a" / "cache")
    found = found_at(divided(looked, "site", clean)[0], moved=at_two_sites(looked.cohort.cases, "site"))
    assert [f.level for f in found.values()] == ["info", "info"]

    root = tmp_path / "shared"
    question = asked(changed(write_study(root, sizes=SIZES), copied(root)))
    looked = looked_at(str(root), question, tmp_path / "b" / "cache")
    moved = at_two_sites(looked.cohort.cases, "site")
    sites = divided(looked, "site", question)[0]
    found = found_at(sites, moved=moved)
    pictures, patients = found["pictures_at_two_sites"], found["patients_at_two_sites"]
    assert (pictures.level, pictures.value, moved, patients.level) == ("warning", 2.0, 1, "warning")
    sides: dict[str, set[str]] = {}
    for site in sites:
        for c in site.cohort.cases:
            sides.setdefault(site.store.rows[c.id].digest, set()).add(site.cohort.part[c.id])
    leaks = sum(len(parts) > 1 for parts in sides.values())
    assert f"{leaks} of them are learned from at one site" in pictures.note
    assert "2 at Kiel and Ulm; 2 equal in every pixel" in pictures.note
    assert "1 patient(s) have images at several sites" in patients.note and "PHANTOM" not in patients.note


def test_sources_whose_patients_bear_the_same_ids_are_told_so(tmp_path: Path) -> None:
    sites = []
    for name in SIZES:
        table = write_study(tmp_path / name, sizes={name: 16}, prefix=name)
        sites.append(
            of_folder(str(tmp_path / name), asked(table), tmp_path / f"c{name}" / "cache", name=name)
        )
    found = found_at(tuple(sites))["patients_at_two_sites"]
    test = [{c.patient for c in s.cohort.test} for s in sites]
    assert found.value == 16.0 and f", {len(test[0] ^ test[1])} of them" in found.note


def test_a_simulation_of_phantoms_with_shared_pictures_says_both_in_every_place(tmp_path: Path) -> None:
    root = tmp_path / "study"
    table = changed(write_study(root, sizes=SIZES), copied(root))
    words = (
        "federate", "simulate", root, "--labels", table, "--target", "finding", "--by", "site",
        "--test-fraction", "0.4", "--rounds", "1", "network.name=plain", "network.width=4", "network.depth=2",
        "fit.batch_size=8", "federation.local_epochs=1", "federation.smallest_n=5", "device=cpu", "threads=1",
        "--out", tmp_path / "run",
    )  # fmt: skip
    outcome = hu(*words)
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.out.split())
    assert "PHANTOM, not patients" in said
    assert "! pictures at two sites: 2 pair(s) of the same picture stand at two sites" in said
    page = (tmp_path / "run" / "report.html").read_text()
    assert "PHANTOM DATA" in page and "2 pair(s) of the same picture stand at two sites" in page
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    assert evidence["phantom"] is True
    names = {f["name"] for f in evidence["audit"]}
    assert {"exact_duplicates", "near_duplicates", "tests_made", "patients_at_two_sites"} <= names
    assert "stop" not in {f["level"] for f in evidence["audit"]}
    model = json.loads((tmp_path / "run" / "model" / "model.json").read_text())
    assert model["card"]["phantom"] == "yes"


@pytest.mark.parametrize("one, phantom", [("PHANTOM-1", True), ("P1", False)])
def test_a_deployed_run_is_a_phantoms_only_if_every_site_told_so(
    tmp_path: Path, one: str, phantom: bool
) -> None:
    from hounsfield.federation.deployed import _only_phantoms
    from hounsfield.federation.facts import SiteFacts, facts_of

    root = tmp_path / "s"
    table = write_study(root, sizes={"Kiel": 16})
    table = changed(table, lambda rows: [r.update(patient=f"PHANTOM-{r['patient']}") for r in rows][:0])
    table = changed(table, lambda rows: rows[0].update(patient=one))
    site = of_folder(str(root), asked(table), tmp_path / "c" / "cache", name="Kiel")
    facts = facts_of(site.cohort, site.store, smallest_n=5, version="1")
    told = SiteFacts.from_json(facts.to_json())
    assert told.phantom is phantom
    (tmp_path / "facts.json").write_text(json.dumps({"Kiel": json.loads(told.to_json())}))
    assert _only_phantoms(tmp_path) is phantom and not _only_phantoms(tmp_path / "nowhere")
