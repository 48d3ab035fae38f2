"""What a run keeps of its explanations: the tests of the maps beside the model, training cases in private."""

from __future__ import annotations

import json
from pathlib import Path

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model
from hounsfield.io.files import write_json
from hounsfield.steps.explain import Explained
from hounsfield.steps.explain_scores import Scored
from hounsfield.steps.explain_similar import keep_known
from hounsfield.steps.explain_tests import CascadeRow

__all__ = ["FILE", "keep_explained", "kept_scores"]

FILE = "explanations.json"


def keep_explained(explained: Explained, model: Model, run: Path) -> None:
    """Write the tests into the model's folder and the training cases looked through into RUN/private.

    Only for the run that made the model: an evaluation by another leaves both as they are.
    """
    if model.directory.resolve().parent != run.resolve():
        return
    scored = explained.scored
    facts = {
        "shown": scored.shown,
        "findings": scored.findings,
        "withheld": scored.withheld,
        "cascade": [row._asdict() for row in scored.cascade],
    }
    write_json(model.directory / FILE, {"format": 1, **facts})
    if explained.known is not None:
        keep_known(explained.known, model, run / "private")


def kept_scores(model: Model) -> Scored | None:
    """The tests that a model's run has kept, None where there are none; BadInput if they cannot be read."""
    path = model.directory / FILE
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text())
        return Scored(
            tuple(facts["shown"]),
            tuple(Finding(**f) for f in facts["findings"]),
            tuple((title, why) for title, why in facts["withheld"]),
            tuple(CascadeRow(**row) for row in facts["cascade"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{FILE} of the model cannot be read; expected the file that hu train wrote, unchanged; copy the "
            "model again, or remove the file to have the maps tested anew"
        ) from error
