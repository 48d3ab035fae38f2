"""What each kind of calibration loses when cross-fitted, and what referral is worth, on a run that is kept.

hu train SOURCE --out RUN --keep-cache
python benchmarks/referral.py RUN [--limit 0.05]

Every case is scored, called and referred by what was fitted on the other folds. First table: log loss, Brier
score, expected calibration error and accuracy of each `validation.calibrate`, fitted on the images as they
are and on augmented views. Second: referral at the plan's conformal error, and with an error limit.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.io.model_store import read_model
from hounsfield.metrics.calibration import ece
from hounsfield.steps.calibrate import Seen, calibrated, cross_fitted
from hounsfield.steps.cross_referred import cross_referred
from hounsfield.steps.fit import fit
from hounsfield.steps.job import read_job
from hounsfield.steps.refer import referral_rule
from hounsfield.steps.referral_evidence import referral_findings

Kind = Literal["none", "temperature", "platt", "isotonic", "auto"]
SHOWN = ("referred_share", "accuracy_when_not_referred", "accuracy_when_referred", "conformal_coverage",
         "conformal_set_size")  # fmt: skip


@dataclass(frozen=True)
class Left:
    """What a finished training left of its validation cases."""

    logits: NDArray[np.float64]
    answers: NDArray[np.int64]
    patients: list[str]
    fold: NDArray[np.int64]
    augmented: Seen

    @property
    def images(self) -> Seen:
        return self.logits, np.arange(len(self.logits))


def left_by(run: Path) -> Left:
    """Read RUN/work; nothing is trained, since every member is finished."""
    job = read_job(run / "work")
    fitted = fit(job)
    with (run / "private" / "cases.csv").open(newline="") as stream:
        patient = {row["case"]: row["patient"] for row in csv.DictReader(stream)}
    rows = (np.cumsum(fitted.seen) - 1)[fitted.stressed_rows]
    return Left(
        fitted.logits[fitted.seen], fitted.answers[fitted.seen],
        [patient[job.prepared.ids[r]] for r in job.rows[fitted.seen].tolist()],
        job.fold[fitted.seen], (fitted.stressed, rows),
    )  # fmt: skip


def calibrations(model: Model, left: Left) -> None:
    """The first table; a binary task."""
    for where, seen in (("augmented", left.augmented), ("images", left.images)):
        for kind in get_args(Kind):
            plan = model.plan.validation.model_copy(update={"calibrate": kind})
            who = [left.patients[r] for r in seen[1].tolist()]
            whole = calibrated(seen[0], left.answers[seen[1]], model.encoding, plan, patients=who)
            scores, called = cross_fitted(
                left.logits, left.answers, left.patients, left.fold, model.encoding, plan, seen=seen
            )
            p, y = scores[:, 0], left.answers
            loss = float(-np.log(np.maximum(np.where(y == 1, p, 1 - p), 1e-12)).mean())
            error = ece(p, y).value or 0.0
            print(
                f"| {where} | {kind} | {loss:.4f} | {((p - y) ** 2).mean():.4f} | "
                f"{error:.4f} | {(called == y).mean():.4f} | {whole.method} |"
            )


def referrals(model: Model, left: Left, limit: float) -> None:
    """The second table."""
    plan = model.plan.validation.model_copy(update={"error_limit": limit})
    model = replace(model, plan=model.plan.model_copy(update={"validation": plan}))
    given = left.logits, left.answers, left.patients, left.fold
    crossed = cross_fitted(*given, model.encoding, plan, seen=left.augmented)
    rule = referral_rule(
        *crossed, left.answers, left.patients, model.encoding, plan,
        thresholds=model.operating_point.values,
    )  # fmt: skip
    n, model = len(left.answers), replace(model, referral=rule)
    told = cross_referred(
        model, *given, crossed, seen=left.augmented, typicality=np.full(n, np.nan), unlike=[""] * n
    )
    names = tuple(map(str, range(n)))
    table = Predictions(
        model.encoding, names, tuple(left.patients), crossed[0], left.answers, {}, "cross-validation",
        True, told,
    )  # fmt: skip
    print(f"error limit {limit:g}: {told.counts if told else ''} {'; '.join(rule.notes)}")
    for f in referral_findings(model, table, crossed[1]).findings:
        if f.name in SHOWN and not f.group:
            print(f"| {f.name} {f.label} | {f.text} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibration and referral of a run, cross-fitted.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--limit", type=float, default=0.05)
    asked = parser.parse_args()
    model, left = read_model(asked.run), left_by(asked.run)
    print(f"{len(left.answers)} validation cases, {len(left.augmented[0])} views of them")
    calibrations(model, left)
    for limit in (0.0, asked.limit):
        referrals(model, left, limit)


if __name__ == "__main__":
    main()
