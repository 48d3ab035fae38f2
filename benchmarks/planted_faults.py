"""How many planted faults the audit catches, and how often it cries in a clean cohort.

python benchmarks/planted_faults.py [--seeds 3] [--clean 400] [--only WORD] [--real FOLDER] [--workers 2]

Every fault is planted into a synthetic cohort (seeded, textured chests or eyes, with sex, age, site and
scanner drawn at random), the cohort is audited as `hu audit` does, and the fault counts as caught if a
finding of the expected name warns or stops. A clean cohort counts as a false alarm if anything warns or
stops. With `--real` (the folder named by HU_DATA) copies, flips and marks are planted into real images too,
and clean cohorts are real images whose labels were dealt out at random.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import planted.copies
import planted.faults  # noqa: F401  (entered into FAULTS by being imported)
from planted.clean import alarms_of
from planted.cohorts import caught, clean_study
from planted.real import alarms_of_real, caught_in_real, real_faults
from planted.register import FAULTS

T = TypeVar("T")


def caught_fault(job: tuple[str, int]) -> tuple[str, bool]:
    """Whether a fault by name was caught in the cohort of a seed."""
    name, seed = job
    entry = FAULTS[name]
    n = entry.n or (120, 200)[seed % 2]
    study = clean_study(1000 + seed, n=n, parts=entry.parts, picture=entry.picture)
    return name, caught(entry.plant(study), entry.names)


def shared(work: Callable[[Any], T], jobs: Sequence[Any], workers: int) -> Iterator[T]:
    """The results in the order of the jobs, made by several processes of one thread each."""
    if workers < 2:
        yield from map(work, jobs)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(work, jobs)


def told(results: Iterable[tuple[str, bool]], title: str) -> None:
    """A line a fault, and the share of all with its interval."""
    hits: list[bool] = []
    kinds = 0
    print(title, flush=True)
    for name, some in groupby(results, key=lambda r: r[0]):
        own = [hit for _, hit in some]
        print(f"  {name:<60} {sum(own)} of {len(own)}", flush=True)
        hits, kinds = hits + own, kinds + 1
    print(f"caught {_share(sum(hits), len(hits))} in {kinds} kinds of fault", flush=True)


def told_alarms(results: Iterable[tuple[str, int, tuple[str, ...]]], title: str) -> None:
    """The alarms, by kind of cohort and in all."""
    by_kind: dict[str, list[bool]] = {}
    print(title, flush=True)
    for kind, n, said in results:
        by_kind.setdefault(kind, []).append(bool(said))
        if said:
            print(f"  alarm in {kind} (n = {n}): {'; '.join(said)}", flush=True)
    for kind, alarmed in by_kind.items():
        print(f"  {kind:<60} {sum(alarmed)} of {len(alarmed)}")
    every = [a for alarmed in by_kind.values() for a in alarmed]
    print(f"cohorts with a false alarm: {_share(sum(every), len(every))}", flush=True)


def _share(hits: int, n: int) -> str:
    """A share with its exact 95 % interval (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    if not n:
        return "0 of 0"
    low = 0.0 if not hits else float(beta.ppf(0.025, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(0.975, hits + 1, n - hits))
    return f"{hits} of {n} ({hits / n:.1%}, 95 % CI {low:.1%} to {high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clean", type=int, default=400)
    parser.add_argument("--only", default="")
    parser.add_argument("--real", default=os.environ.get("HU_DATA", ""))
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    began = time.perf_counter()
    names = [name for name in FAULTS if asked.only in name]
    jobs = [(name, seed) for name in names for seed in range(asked.seeds)]
    told(shared(caught_fault, jobs, asked.workers), f"planted into synthetic cohorts, {asked.seeds} of each")
    told_alarms(shared(alarms_of, range(asked.clean), asked.workers), "\nclean synthetic cohorts")
    if asked.real and Path(asked.real).is_dir():
        found = real_faults(asked.real, max(1, asked.seeds // 3))
        told(shared(caught_in_real, found, asked.workers), "\nplanted into real images")
        quiet = [(asked.real, number) for number in range(asked.clean // 8)]
        told_alarms(
            shared(alarms_of_real, quiet, asked.workers), "\nreal images with labels dealt out at random"
        )
    print(f"\n{time.perf_counter() - began:.0f} s with {asked.workers} worker(s)")


if __name__ == "__main__":
    main()
