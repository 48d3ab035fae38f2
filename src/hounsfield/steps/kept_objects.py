"""What a finished run or evaluation left of a detection, read back: candidates and lesions of its cases."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.metrics.detection_objects import Boxes, Spheres
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.kept_predictions import kept_pixels

__all__ = ["KeptObjects", "kept_objects"]


@dataclass(frozen=True)
class KeptObjects:
    """The table of a run, digests of its plan and data, and the hash of each image where it is known."""

    name: str
    table: Detected
    plan: str
    data: str
    pixels: Mapping[str, str]


def kept_objects(run: Path) -> KeptObjects:
    """What the run or evaluation in a folder found. Raises BadInput where it is not what hounsfield wrote."""
    try:
        context = json.loads((run / "evidence.json").read_text("utf-8"))["context"]
        with (run / "predictions.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
            unit = "pixel" if rows and "diameter_pixel" in rows[0] else "mm"
        owners = _owners(run, context, {row["case"] for row in rows})
        table = _table(rows, owners, [str(c) for c in context["classes"]], unit, context)
    except FileNotFoundError as error:
        raise BadInput(
            f'"{run.name}" holds no predictions.csv with an evidence.json and its private folder; expected '
            "the whole folder of a finished hu train or hu evaluate"
        ) from error
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise BadInput(
            f"what {run.name} found is not what this version of hounsfield wrote; evaluate it again"
        ) from error
    return KeptObjects(
        run.name, table, str(context.get("plan_digest", "")), str(context.get("evaluated_digest", "")),
        kept_pixels(run),
    )  # fmt: skip


def _owners(run: Path, context: Mapping[str, Any], named: set[str]) -> dict[str, str]:
    """The patient of each case that was scored, from the private table; those without an object too.

    Of folds only as many were scored as members were trained.
    """
    with (run / "private" / "cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    scored, members = context["evaluated_on"], int(context.get("members", 0))
    if scored == "test":
        rows = [row for row in rows if row["part"] == "test"]
    elif scored == "cross-validation":
        rows = [row for row in rows if row["fold"] and (not members or int(row["fold"]) < members)]
    owners = {row["case"]: row["patient"] for row in rows}
    if named - owners.keys():
        raise ValueError("cases that the private table does not know")
    return owners


def _table(
    rows: Sequence[Mapping[str, str]],
    owners: Mapping[str, str],
    classes: list[str],
    unit: str,
    context: Mapping[str, Any],
) -> Detected:
    place = {case: n for n, case in enumerate(owners)}
    number = {name: n for n, name in enumerate(classes)}
    boxed = any(f"size_k_{unit}" in row for row in rows)

    def objects(kind: str) -> tuple[Spheres | Boxes, np.ndarray, np.ndarray]:
        some = [row for row in rows if row["kind"] == kind]
        image = np.array([place[row["case"]] for row in some], np.intp)
        centres = np.array([[float(r[f"centre_{a}_{unit}"]) for a in "kji"] for r in some]).reshape(-1, 3)
        size = np.array([float(row[f"diameter_{unit}"]) for row in some])
        score = np.array([float(row["score"] or 0) for row in some])
        out = np.array([row["excluded"] == "1" for row in some], bool)
        held: Spheres | Boxes
        if boxed:
            half = np.array([[float(r[f"size_{a}_{unit}"]) for a in "kji"] for r in some]).reshape(-1, 3) / 2
            held = Boxes.of(
                np.hstack([centres - half, centres + half]), image=image, score=score, excluded=out
            )
        else:
            held = Spheres.of(centres, size, image=image, score=score, excluded=out)
        return held, np.array([number[row["class"]] for row in some], np.int64), size

    candidates, lesions = objects("candidate"), objects("lesion")
    return Detected(
        tuple(classes), tuple(owners), tuple(owners.values()), candidates[0], lesions[0], candidates[1],
        lesions[1], candidates[2], lesions[2], match=str(context["match"]),
        match_iou=float(context["match_iou"]), unit=unit, kind=str(context["evaluated_on"]),
    )  # fmt: skip
