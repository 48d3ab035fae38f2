"""`hu demo mammography` runs the whole path on its phantom and shows what the marker does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hounsfield.applications.catalogue import APPLICATIONS
from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from phantoms import hu

pytestmark = pytest.mark.xdist_group("demo")  # one process makes the demo for all
SMALL = ("fit.epochs=2", "network.width=8", "input.size=[1,64,48]", "validation.members=1")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    out = tmp_path_factory.mktemp("demo") / "demo-run"
    done = hu("demo", "mammography", *SMALL, "--patients", "30", "--out", str(out), "--json")
    assert done.code == 0, done.err
    return out, json.loads(done.out)


def test_the_demo_leaves_dicom_a_model_and_a_report(demo: tuple[Path, dict[str, object]]) -> None:
    out, said = demo
    assert len(list((out / "study" / "dicom").rglob("*.dcm"))) == 120
    assert (out / "run" / "report.html").is_file() and (out / "run" / "model" / "model.json").is_file()
    assert said["phantom"] is True and said["evaluated_on"] == "test"


def test_the_report_says_throughout_that_it_is_a_phantom(demo: tuple[Path, dict[str, object]]) -> None:
    page = (demo[0] / "run" / "report.html").read_text()
    assert page.count("PHANTOM DATA") >= 2
    assert "Mammography: malignant or not (phantom)" in page


def test_the_report_shows_what_the_marker_does(demo: tuple[Path, dict[str, object]]) -> None:
    evidence = json.loads((demo[0] / "run" / "evidence.json").read_text())
    measured = {(f["name"], f["label"]): f for f in evidence["interventions"]}
    inserted = measured["marker_inserted", "mean_score_change"]
    assert inserted["low"] <= inserted["value"] <= inserted["high"] and inserted["n"] > 0
    flipped = measured["marker_inserted", "share_flipped"]
    assert flipped["low"] < flipped["high"]  # never certain, even where every image flips or none does
    assert any(f["group"].startswith("marker=") for f in evidence["subgroups"])
    assert "Marker inserted" in (demo[0] / "run" / "report.html").read_text()


def test_a_demo_does_not_write_over_what_is_there(demo: tuple[Path, dict[str, object]]) -> None:
    done = hu("demo", "mammography", "--out", str(demo[0]))
    assert done.code == 3 and "not empty" in done.err


def test_an_intervention_touches_only_images_that_it_applies_to() -> None:
    insert, remove = APPLICATIONS["mammography"]().interventions
    series = Series("a", ("a",), "dicom", (1, 96, 80), laterality="L", view="CC")
    clean = np.zeros((1, 1, 96, 80), np.uint16)
    clean[..., 20:60, :30] = 900
    without, having = (Case("a", "p", (series,), groups={"marker": m}) for m in "01")
    marked = insert.change(clean, without)
    assert marked is not None and (marked != clean).any()
    assert (marked[..., :30] == clean[..., :30]).all()
    assert insert.change(clean, having) is None and remove.change(clean, without) is None
    wiped = remove.change(marked, having)
    assert wiped is not None and (wiped == clean).all()


def test_an_unknown_application_suggests_the_nearest() -> None:
    with pytest.raises(BadInput, match='did you mean "mammography"'):
        APPLICATIONS["mamography"]
