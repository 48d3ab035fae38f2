"""The folder of a run: what is kept for everyone, what is private, what is only for resuming.

plan.json predictions.csv evidence.json report.html     may be shown
model/                                                  may be given away: no patient is in it
private/                                                file names and patient keys: stays with the data
work/ cache/                                            checkpoints and pixels, until the run is whole
.hounsfield-run                                         says that the folder is ours; locked while in use
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index
from hounsfield.core.model import Calibration, Model, OperatingPoint
from hounsfield.core.plan import Plan
from hounsfield.io.files import require_writable_folder, whole_file, write_text
from hounsfield.steps.duplicates import Fingerprints

__all__ = ["MARKER", "RunFolder", "card_of", "evaluation_folder"]

MARKER = ".hounsfield-run"
"""An empty file that says a folder is ours; it is locked while a process works there."""

RESULTS = {"answers.yaml", "evidence.json", "evidence.sig", "predictions.csv", "report.html"}
LEARNED = (
    "found by search",
    "learned from",
    "images without labels were given",
    "a fold for each value",
    "a member for each value",
)
"""How the reason of a value begins that the run itself has found."""

OWN_FOLDERS = ("cache", "work", "private", "model", "masks", "segmentations", "reports")
OWN_FILES = ("plan.json", "state.json", "measurements.csv", "detections.csv", *sorted(RESULTS))


def card_of(plan: Plan, encoding: LabelEncoding) -> dict[str, str]:
    """The rows that a card of every model begins with."""
    size = plan.input.size if plan.task == "classification" else plan.grid.patch
    return {
        "task": plan.task,
        "application": plan.application or "none",
        "target": ", ".join(encoding.target),
        "network": f"{plan.network.name}, input {'×'.join(map(str, size))}",
    }


class RunFolder:
    """Paths of a run, and the rules by which it is opened, resumed and closed."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.cache = self.path / "cache"
        self.work = self.path / "work"
        self.private = self.path / "private"

    @contextmanager
    def opened(self, *, resume: bool) -> Iterator[None]:
        """Use the folder, alone; where it fails before a first epoch was learned, nothing of ours is left.

        A folder is taken over only if it is new, empty or bears our marker: what else lies in it is the
        user's and is never removed.
        """
        absent = [p for p in (self.path, *self.path.parents) if not p.exists()]
        held = self._held()
        begun = False
        if MARKER not in held:
            self._refuse(held, resume)
        try:
            with self._locked():
                if MARKER in held:
                    held = self._held()
                    self._refuse(held, resume)
                begun = "state.json" in held
                try:
                    require_writable_folder(self.path)
                    yield
                except BaseException:
                    if not begun and not any(self.work.glob("*/*.safetensors")):
                        self._empty()
                    raise
        except BaseException:
            for made in absent:
                with suppress(OSError):
                    made.rmdir()  # only where it is empty
            raise

    def _held(self) -> set[str]:
        return {p.name for p in self.path.iterdir()} if self.path.is_dir() else set()

    def _refuse(self, held: set[str], resume: bool) -> None:
        """BadInput where this folder may not be used in this way."""
        name = self.path.name
        begun = MARKER in held and "state.json" in held
        beginning = MARKER in held and not held & RESULTS and not begun
        if resume and "report.html" in held and "work" not in held:
            raise BadInput(f'the run in "{name}" is finished; nothing is left to resume')
        if resume and not begun and not beginning:
            raise BadInput(f'"{name}" holds no interrupted run; name its --out, or leave --resume out')
        if not resume and held and not beginning:
            hint = "choose another --out or remove it"
            if begun and "report.html" not in held:
                hint = "go on with --resume"
            raise BadInput(f'the output folder "{name}" is not empty; {hint}')

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the marker of this folder; the system lets go of it however this process ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            marker = os.open(self.path / MARKER, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            require_writable_folder(self.path)  # says in a sentence what is wrong
            raise
        try:
            if not _lock(marker):
                raise BadInput(
                    f'another hu is at work in "{self.path.name}"; expected a folder that no run uses; wait '
                    "until it ends, or choose another --out"
                )
            yield
        finally:
            os.close(marker)

    def _empty(self) -> None:
        """Remove what a run writes, by name, and nothing else; the marker last."""
        for name in (*OWN_FOLDERS, *OWN_FILES, MARKER):
            entry = self.path / name
            with suppress(OSError):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)

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
        now = (given or kept).changed({**_learned(kept), **changes})
        now = now.model_copy(update={"application": kept.application})
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
        *,
        phantom: bool = False,
    ) -> Model:
        """The model directory with the members' weights; its plan names a weight file without its path."""
        home = self.path / "model"
        home.mkdir(exist_ok=True)
        for rest in home.glob(".*"):  # of a run that was killed while it copied
            rest.unlink()
        names = []
        for number, source in enumerate(weights):
            name = f"member-{number}.safetensors"
            with whole_file(home / name) as unfinished:
                shutil.copyfile(source, unfinished)
            names.append(name)
        card = card_of(plan, encoding)
        if phantom:
            card["phantom"] = "yes"
        start = re.split(r"[/\\]", plan.network.weights)[-1]
        plan = plan.model_copy(update={"network": plan.network.model_copy(update={"weights": start})})
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
        """Fingerprints and patients of the development part, if the private folder is there.

        An image without a patient bears a key of its own, which says nothing about another set.
        """
        path, table = self.private / "fingerprints.npz", self.private / "cases.csv"
        if not path.is_file() or not table.is_file():
            return None
        with table.open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["part"] == DEVELOPMENT]
        patients = {row["patient"] for row in rows if row["patient"] != f"image {row['case']}"}
        return Fingerprints.load(path).chosen({row["case"] for row in rows}), patients

    def drop_cache(self) -> None:
        """Remove pixels and checkpoints of a finished run."""
        shutil.rmtree(self.cache, ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)


@contextmanager
def evaluation_folder(run: Path) -> Iterator[Path]:
    """A new folder RUN/evaluations/N, made by this call alone; it goes again if nothing is written into it.

    Raises BadInput where `run` is a model by itself: patient ids must not come to lie in a folder that is
    given away.
    """
    if not (run / "model").is_dir():
        raise BadInput(
            f'"{run.name}" is not the folder of a whole run (it holds no model folder), so no report is '
            "written into it; expected the --out of hu train; name a folder for the report with --out"
        )
    home, number = run / "evaluations", 1
    require_writable_folder(home)
    while True:
        try:
            (home / str(number)).mkdir()
            break
        except FileExistsError:
            number += 1
    try:
        yield home / str(number)
    finally:
        for folder in (home / str(number), home):
            with suppress(OSError):
                folder.rmdir()  # only where it is empty


def _learned(plan: Plan) -> dict[str, Any]:
    """What a run itself has put into its plan: found by search, or learned from the images."""
    raw = plan.model_dump(mode="json")
    keys = [k for k, why in plan.reasons.items() if why.startswith(LEARNED)]
    return {key: raw[key.partition(".")[0]][key.partition(".")[2]] for key in keys}


def _lock(descriptor: int) -> bool:
    """Take an open file for this process alone; False where another process has it or has removed it."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return os.fstat(descriptor).st_nlink > 0
