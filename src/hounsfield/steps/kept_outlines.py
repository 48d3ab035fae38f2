"""What a finished run or evaluation left of its outlines, read back by case and structure."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hounsfield.core.errors import BadInput
from hounsfield.steps.kept_predictions import kept_pixels

__all__ = ["KeptOutlines", "Place", "kept_outlines"]

Place = tuple[str, str]
"""A case and a structure."""
Numbers = Mapping[str, float | None]


@dataclass(frozen=True)
class KeptOutlines:
    """What a run left of its outlines: numbers by case and structure, patients and groups by case."""

    name: str
    structures: tuple[str, ...]
    numbers: Mapping[Place, Numbers]
    patients: Mapping[str, str]
    groups: Mapping[str, Mapping[str, str]]
    unit: str
    context: Mapping[str, str]
    pixels: Mapping[str, str] = field(default_factory=dict)

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(case for case, _ in self.numbers))


def kept_outlines(run: Path) -> KeptOutlines:
    """What the run or evaluation in a folder left. Raises BadInput where it is not what hounsfield wrote."""
    try:
        context = json.loads((run / "evidence.json").read_text("utf-8"))["context"]
        with (run / "predictions.csv").open(newline="") as stream:
            head, *rows = list(csv.reader(stream))
        hd95 = next(name for name in head if name.startswith("hd95_"))
        columns = {m: head.index(m) for m in ("dice", "nsd", "predicted_ml", "reference_ml")}
        columns |= {"hd95": head.index(hd95), "assd": head.index(hd95.replace("hd95", "assd"))}
        case, structure = head.index("case"), head.index("structure")
        numbers = {
            (row[case], row[structure]): {m: float(row[k]) if row[k] else None for m, k in columns.items()}
            for row in rows
        }
        first = max(columns.values()) + 1
        groups = {head[k]: {row[case]: row[k] for row in rows} for k in range(first, len(head))}
        groups = {name: values for name, values in groups.items() if name != "patient"}
        owners = {row[case]: row[head.index("patient")] for row in rows} if "patient" in head else {}
        structures = tuple(str(s) for s in context["structures"])
        told = {
            "tolerance": str(context.get("tolerance", "")), "scored": str(context["evaluated_on"]),
            "plan": str(context.get("plan_digest", "")), "data": str(context.get("evaluated_digest", "")),
        }  # fmt: skip
    except FileNotFoundError as error:
        raise BadInput(
            f'"{run.name}" holds no predictions.csv with an evidence.json; expected the folder of a finished '
            "hu train or hu evaluate"
        ) from error
    except (ValueError, KeyError, IndexError, TypeError, StopIteration, RecursionError) as error:
        raise BadInput(
            f"the predictions of {run.name} are not what hounsfield wrote; copy the run's folder again"
        ) from error
    if len(numbers) < len(rows):
        raise BadInput(f"predictions.csv of {run.name} holds a case twice; copy the run's folder again")
    owners = owners or _owners(run, {case for case, _ in numbers})
    unit = hd95.removeprefix("hd95_")
    return KeptOutlines(run.name, structures, numbers, owners, groups, unit, told, kept_pixels(run))


def _owners(run: Path, cases: set[str]) -> dict[str, str]:
    """The patient of each case, from the run's private table."""
    table = run / "private" / "cases.csv"
    if not table.is_file():
        raise BadInput(
            f"{run.name} holds no private folder, so which cases are of one patient is not known; expected "
            "the whole folder of the run, as hu train or hu evaluate left it"
        )
    with table.open(newline="") as stream:
        owners = {row["case"]: row["patient"] for row in csv.DictReader(stream) if row["case"] in cases}
    if cases - owners.keys():
        raise BadInput(
            f"{len(cases - owners.keys())} of {len(cases)} cases of {run.name} are not in its private table; "
            "copy the run's folder again"
        )
    return owners
