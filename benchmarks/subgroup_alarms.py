"""How often the bias audit raises an alarm where no group differs, and how often it sees one that does.

    python benchmarks/subgroup_alarms.py [--cohorts 400] [--seed 0] [--only WORDS]

Cohorts of 200 to 3,000 cases with three to six group columns (their pairs are looked at too), one or several
images a patient, rare or frequent findings, scores calibrated or not. "None differs": every group has the
same scores given the answer. "One differs": in one site the scores of the sick are shifted down by so many
standard deviations. Prints a table in Markdown; about ten minutes on two cores for 400 cohorts of each kind.
"""

from __future__ import annotations

import argparse

import numpy as np

from hounsfield.core.case import LabelEncoding
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.intervals import clopper_pearson
from hounsfield.steps.evaluate_groups import by_group
from hounsfield.steps.failures import worst_slices

BINARY = LabelEncoding("binary", ("0", "1"), ("finding",))
COLUMNS = {
    "sex": (0.5, 0.5),
    "age band": (0.1, 0.2, 0.4, 0.2, 0.1),
    "site": (0.4, 0.3, 0.2, 0.1),
    "scanner": (0.6, 0.3, 0.1),
    "view": (0.5, 0.5),
    "density": (0.1, 0.4, 0.4, 0.1),
}


def cohort(seed: int, drop: float) -> tuple[Predictions, np.ndarray]:
    """A cohort drawn from the seed; in site 1 the scores of the sick are lower by `drop`."""
    rng = np.random.default_rng(seed)
    patients = int(rng.integers(200, 1500))
    images = rng.integers(1, 3 if rng.random() < 0.5 else 2, patients)
    owner = np.repeat(np.arange(patients), images)
    answers = (rng.random(patients) < rng.choice([0.1, 0.3, 0.5]))[owner].astype(np.int64)
    chosen = rng.permutation(list(COLUMNS))[: rng.integers(3, 7)].tolist()
    groups = {
        c: rng.choice(len(COLUMNS[c]), patients, p=COLUMNS[c])[owner] for c in sorted({*chosen, "site"})
    }
    signal = rng.normal(0, 0.7, patients)[owner] + rng.normal(0, 0.7, len(owner))
    signal += answers * (1.6 - drop * (groups["site"] == 1))
    scores = 1 / (1 + np.exp(-(signal - 0.8) * rng.choice([0.7, 1.0, 1.6])))
    ids = tuple(map(str, range(len(owner))))
    named = {c: tuple(f"{c} {v}" for v in values) for c, values in groups.items()}
    found = Predictions(BINARY, ids, tuple(map(str, owner)), scores[:, None], answers, named)
    return found, (scores >= np.quantile(scores, 1 - answers.mean())).astype(np.int64)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--cohorts", type=int, default=400)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--only", default="", help="only kinds of cohort whose name holds this")
    given = asked.parse_args()
    print("| cohorts | what was looked for | share with an alarm | 95 % interval |")
    print("| --- | --- | --- | --- |")
    for drop, words in ((0.0, "none differs"), (0.5, "one site, 0.5 sd"), (1.0, "one site, 1 sd")):
        if given.only not in words:
            continue
        alarms = {"a group that differs": 0, "a worst slice": 0, "either": 0, "the right column": 0}
        for k in range(given.cohorts):
            p, called = cohort(given.seed + 10_000 * round(10 * drop) + k, drop)
            found = [f for f in by_group(p, called, seed=k).findings if f.level == "warning"]
            alarms["a group that differs"] += bool(found)
            alarms["the right column"] += any("site" in f.label for f in found)
            slices = bool(worst_slices(p, called)[0])
            alarms["a worst slice"] += slices
            alarms["either"] += bool(found) or slices
        for name, count in alarms.items():
            if name == "the right column" and not drop:
                continue
            low, high = clopper_pearson(count, given.cohorts)
            share = f"{count / given.cohorts:.1%} | {low:.1%} to {high:.1%}"
            print(f"| {given.cohorts}, {words} | {name} | {share} |", flush=True)


if __name__ == "__main__":
    main()
