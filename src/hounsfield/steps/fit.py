"""Train the members of the ensemble, side by side where there are cores, and keep what they learned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput, GateRefused, HounsfieldError, MissingDependency
from hounsfield.core.plan import Plan
from hounsfield.steps.prepare import Prepared

__all__ = ["Fitted", "Progress", "fit"]

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Fitted:
    """What training left: weight files, histories, and every member's logits on its own fold.

    `logits` (N, outputs) averages the members that did not learn from a case; `seen` (N,) is True
    where there is at least one such member. Rows follow the development cases. `stressed` (M, outputs) are
    logits of the same cases as the calibration is to see them (augmented, if the plan says so), each of
    the case in `stressed_rows` (M,).
    """

    weights: tuple[Path, ...]
    histories: tuple[list[dict[str, Any]], ...]
    logits: NDArray[np.float64]
    seen: NDArray[np.bool_]
    answers: NDArray[np.int64]
    stressed: NDArray[np.float64]
    stressed_rows: NDArray[np.int64]


def fit(
    cohort: Cohort, plan: Plan, prepared: Prepared, folder: Path, *, progress: Progress | None = None
) -> Fitted:
    """Train `plan.validation.members` networks; a member that is finished is not trained again.

    On a CPU with several cores members train in processes of their own, so that many cores are used
    although a small batch fills few; on two cores threads are as fast (docs/benchmarks.md).
    Raises HounsfieldError where the loss is not finite.
    """
    from hounsfield.steps.member import Job, train_member, write_job
    from hounsfield.tasks.classification import answers_of

    say = progress or (lambda _: None)
    cases = cohort.development
    members = plan.validation.members
    cores = plan.threads or available_cores()
    beside = members_beside(plan)
    job = Job(
        folder=folder,
        plan=plan,
        encoding=cohort.encoding,
        prepared=prepared,
        rows=prepared.rows([c.id for c in cases]),
        answers=answers_of(cases, cohort.encoding),
        fold=np.array([cohort.fold[c.id] for c in cases], np.int64),
        threads=max(1, cores // beside),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_job(job)
    waiting = [m for m in range(members) if not (job.member_folder(m) / "history.json").is_file()]
    if len(waiting) > 1 and beside > 1:
        _side_by_side(job.folder, waiting, beside, say, threads=job.threads)
    else:
        for member in waiting:
            # as many threads as beside its siblings: a resumed member must end at the same weights
            train_member(job, member, say)
    return _collect(job.folder, members, job.answers, cohort.encoding.outputs)


def members_beside(plan: Plan) -> int:
    """How many members train at once: one a core on a CPU, one after another on a GPU."""
    from hounsfield.steps.member import pick_device

    if pick_device(plan.device).type != "cpu":
        return 1
    return min(plan.validation.members, plan.threads or available_cores())


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _side_by_side(folder: Path, waiting: list[int], beside: int, say: Progress, *, threads: int) -> None:
    """Run members in processes that end when this one does, a line of JSON an epoch."""
    import selectors

    queue = list(waiting)
    running: dict[int, subprocess.Popen[str]] = {}
    # The children find this very package, however this process found it.
    home = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        **os.environ,
        "PYTHONPATH": home,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
    }
    with selectors.DefaultSelector() as selector:
        try:
            while queue or running:
                while queue and len(running) < beside:
                    member = queue.pop(0)
                    running[member] = _start(folder, member, environment)
                    selector.register(_stdout(running[member]), selectors.EVENT_READ, member)
                for key, _ in selector.select(timeout=1.0):
                    line = key.fileobj.readline()  # type: ignore[union-attr]
                    if line:
                        _hear(json.loads(line), say)
                        continue
                    selector.unregister(key.fileobj)
                    _ended(running.pop(key.data), key.data, folder)
        finally:
            for process in running.values():
                process.kill()
                process.wait()


def _start(folder: Path, member: int, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "hounsfield.steps.member", str(folder), str(member)]
    errors = (folder / f"member-{member}.log").open("w")
    with errors:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdout is None:
        raise HounsfieldError("a training process has no output to listen to; train again")
    return process.stdout


def _hear(facts: dict[str, Any], say: Progress) -> None:
    if "error" not in facts:
        say(facts)
        return
    kinds = {c.exit_code: c for c in (BadInput, GateRefused, MissingDependency)}
    raise kinds.get(facts["exit_code"], HounsfieldError)(facts["error"])


def _ended(process: subprocess.Popen[str], member: int, folder: Path) -> None:
    code = process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()
    if code:
        log = (folder / f"member-{member}.log").read_text().strip().splitlines()
        last = log[-1][:200] if log else "it left no message; it may have been killed for memory"
        raise HounsfieldError(
            f"the process that trained member {member} ended with code {code} ({last}); rerun with --resume"
        )


def _collect(folder: Path, members: int, answers: NDArray[np.int64], outputs: int) -> Fitted:
    total = np.zeros((len(answers), outputs))
    count = np.zeros(len(answers))
    weights, histories = [], []
    stressed, stressed_rows = [], []
    for member in range(members):
        home = folder / f"member-{member}"
        with np.load(home / "validation.npz", allow_pickle=False) as z:
            total[z["rows"]] += z["logits"]
            count[z["rows"]] += 1
            views = z["stressed"].astype(np.float64)
            stressed.append(views.reshape(-1, outputs))
            stressed_rows.append(np.tile(z["rows"], len(views)))
        weights.append(home / "weights.safetensors")
        histories.append(json.loads((home / "history.json").read_text()))
    seen = count > 0
    logits = total / np.maximum(count, 1)[:, None]
    return Fitted(
        tuple(weights),
        tuple(histories),
        logits,
        seen,
        answers,
        np.concatenate(stressed),
        np.concatenate(stressed_rows),
    )
