"""The folder of a run: what is kept for everyone, what is private, what is only for resuming.

plan.json predictions.csv evidence.json report.html     may be shown
model/                                                  may be given away: no patient is in it
private/                                                file names and patient keys: stays with the data
work/ cache/                                            checkpoints and pixels, until the run is whole
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index
from hounsfield.core.model import Calibration, Model, OperatingPoint
from hounsfield.core.plan import Plan
from hounsfield.io.files import require_writable_folder, write_text
from hounsfield.steps.duplicates import Fingerprints

__all__ = ["RunFolder"]


class RunFolder:
    """Paths of a run, and the rules by which it is opened, resumed and closed."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.cache = self.path / "cache"
        self.work = self.path / "work"
        self.private = self.path / "private"

    @contextmanager
    def opened(self, *, resume: bool) -> Iterator[None]:
        """Use the folder; where it fails before a first epoch was learned, nothing of it is left."""
        existed, before = self.path.exists(), self._held()
        begun = "state.json" in before
        if resume and not begun and not self._is_beginning(before):
            raise BadInput(
                f'"{self.path.name}" holds no interrupted run; name its --out, or leave --resume out'
            )
        if resume and "report.html" in before and "work" not in before:
            raise BadInput(f'the run in "{self.path.name}" is finished; nothing is left to resume')
        if not resume and before and not self._is_beginning(before):
            hint = "choose another --out or remove it"
            if begun and "report.html" not in before:
                hint = "go on with --resume"
            raise BadInput(f'the output folder "{self.path.name}" is not empty; {hint}')
        try:
            require_writable_folder(self.path)
            yield
        except BaseException:
            if not begun and not any(self.work.glob("member-*/*.safetensors")):
                self._empty(whole=not existed)
            raise

    def _held(self) -> set[str]:
        return {p.name for p in self.path.iterdir()} if self.path.is_dir() else set()

    def _is_beginning(self, held: set[str]) -> bool:
        """True if a run was killed here before it had a state: only its plan and decoded pixels lie here."""
        inside = {p.name for p in self.cache.iterdir()} if self.cache.is_dir() else set()
        rest = {n for n in held - {"cache", "plan.json"} if not n.startswith(".writable")}
        known = {n for n in inside if n.lstrip(".").startswith(("pixels.", "prepared.", "levels."))}
        return bool(held) and not rest and inside == known

    def _empty(self, *, whole: bool) -> None:
        for entry in self.path.iterdir() if self.path.is_dir() else ():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if whole and self.path.is_dir():
            self.path.rmdir()

    def require_same(self, plan: str, data: str) -> None:
        """Remember which plan and data this run is of; refuse to resume on another."""
        state = self.path / "state.json"
        if state.is_file():
            kept = json.loads(state.read_text())
            for what, given in (("data", data), ("plan", plan)):
                if kept[what] != given:
                    raise BadInput(
                        f"--resume was given {what} {given}, but the run was begun with {what} {kept[what]}; "
                        f"give the same {what} again, or start a new run in another --out"
                    )
            return
        write_text(state, json.dumps({"plan": plan, "data": data}) + "\n")

    def keep_plan(self, plan: Plan) -> None:
        write_text(self.path / "plan.json", plan.to_json() + "\n")

    def kept_plan(self, given: Plan | None, changes: Mapping[str, Any]) -> Plan | None:
        """The plan this run was begun with, None if it has none yet; BadInput if another is given now."""
        path = self.path / "plan.json"
        if not path.is_file():
            return None
        kept = Plan.from_json(path.read_text())
        now = (given or kept).changed(dict(changes)).model_copy(update={"application": kept.application})
        if now.digest() != kept.digest():
            raise BadInput(
                f"--resume was given plan {now.digest()}, but the run was begun with plan {kept.digest()}; "
                "leave --plan and KEY=VALUE as they were, or start a new run in another --out"
            )
        return kept

    def model(
        self,
        plan: Plan,
        encoding: LabelEncoding,
        weights: tuple[Path, ...],
        point: OperatingPoint,
        calibration: Calibration,
        data_digest: str,
    ) -> Model:
        """The model directory with the members' weights in it."""
        home = self.path / "model"
        home.mkdir(exist_ok=True)
        names = []
        for number, source in enumerate(weights):
            name = f"member-{number}.safetensors"
            partial = home / f".{name}.part"
            shutil.copyfile(source, partial)
            partial.replace(home / name)
            names.append(name)
        card = {
            "task": plan.task,
            "application": plan.application or "none",
            "target": ", ".join(encoding.target),
            "network": f"{plan.network.name}, input {'×'.join(map(str, plan.input.size))}",
        }
        return Model(home, plan, encoding, tuple(names), point, calibration, data_digest, card)

    def keep_private(self, index: Index, cohort: Cohort, marks: Fingerprints) -> None:
        """Which file and patient a case id is, and what duplicates are recognised by."""
        self.keep_files(
            cohort.cases, {c.id: (cohort.part[c.id], cohort.fold.get(c.id, "")) for c in cohort.cases}
        )
        write_text(self.private / "source.txt", index.source + "\n")
        marks.save(self.private / "fingerprints.npz")

    def keep_files(
        self, cases: Sequence[Case], places: Mapping[str, tuple[str, int | str]] | None = None
    ) -> None:
        """A private table: which patient and files a case id is, its part and its fold."""
        self.private.mkdir(exist_ok=True)
        self.private.chmod(0o700)
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "patient", "files", "part", "fold"])
        for c in cases:
            part, fold = (places or {}).get(c.id, ("", ""))
            writer.writerow([c.id, c.patient, "|".join(c.images[0].files), part, fold])
        write_text(self.private / "cases.csv", stream.getvalue())

    def kept_marks(self) -> tuple[Fingerprints, set[str]] | None:
        """Fingerprints and patients of the training data, if the private folder is there."""
        path = self.private / "fingerprints.npz"
        if not path.is_file():
            return None
        with (self.private / "cases.csv").open(newline="") as stream:
            patients = {row["patient"] for row in csv.DictReader(stream)}
        return Fingerprints.load(path), patients

    def drop_cache(self) -> None:
        """Remove pixels and checkpoints of a finished run."""
        shutil.rmtree(self.cache, ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)
