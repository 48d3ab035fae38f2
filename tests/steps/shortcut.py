"""A phantom with a planted shortcut: in one site a mark in the corner goes with the disease.

Site A puts a bright mark on nearly all of its diseased and nearly none of its healthy, site B on nobody. The
disease itself is a faint spot somewhere. In the test cases mark and disease are independent in site A.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, Cohort
from hounsfield.core.index import Series
from hounsfield.core.plan import Augment, Fit, Input, Network, Plan, Validation
from hounsfield.steps.fit import job_of
from hounsfield.steps.job import Job
from hounsfield.steps.member import train_member
from hounsfield.steps.prepare import Prepared
from hounsfield.transforms.normalise import levels_of

SIDE = 20
ENCODING = LabelEncoding("binary", ("healthy", "diseased"), ("disease",))


def plan(method: str, *, epochs: int = 12, seed: int = 0, **more: Any) -> Plan:
    """A small network for these images, with one way of mitigation by site and mark."""
    made = Plan(
        input=Input(size=(1, SIDE, SIDE)),
        augment=Augment(shift_width=0.1, shift_height=0.1),
        network=Network(name="plain", width=8, depth=2),
        fit=Fit(
            learning_rate=3e-3, epochs=epochs, batch_size=32, loss="binary_cross_entropy", schedule="cosine",
            class_weights=False, choose="last",
        ),
        validation=Validation(folds=2, members=1, calibrate="none"),
        seed=seed, device="cpu", threads=1,
    )  # fmt: skip
    asked = {} if method == "none" else {"mitigation.by": "site+mark", "mitigation.method": method}
    return made.changed({**asked, **more})


def shortcut_job(
    folder: Path, made: Plan, *, n: int = 400, tested: int = 400, tied: float = 0.95, seed: int = 0
) -> tuple[Job, tuple[Case, ...]]:
    """Member 0 learns from `n` cases and is validated on `tested` others, in which the mark says nothing."""
    rng = np.random.default_rng([seed, 0x5C])
    disease = rng.integers(0, 2, n + tested)
    in_a = rng.random(n + tested) < 0.7
    goes_with = np.where(np.arange(n + tested) < n, tied, 0.5)
    mark = in_a & (rng.random(n + tested) < np.where(disease == 1, goes_with, 1 - goes_with))
    images = _images(disease, mark, rng)
    cases = tuple(_case(k, int(disease[k]), bool(in_a[k]), bool(mark[k])) for k in range(n + tested))
    fold = {c.id: int(k < n) for k, c in enumerate(cases)}
    cohort = Cohort(cases, ENCODING, dict.fromkeys(fold, DEVELOPMENT), fold)
    levels = np.array([levels_of(x, made.input, bits=8) for x in images], np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    return job_of(cohort, made, Prepared(tuple(c.id for c in cases), images, levels), folder), cases


def _case(k: int, disease: int, in_a: bool, mark: bool) -> Case:
    groups = {"site": "A" if in_a else "B", "mark": "yes" if mark else "no"}
    series = Series(f"c{k}", (f"c{k}",), "raster", (1, SIDE, SIDE))
    return Case(f"c{k}", f"p{k}", (series,), Label((disease,)), groups)


def _images(
    disease: NDArray[np.int64], mark: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.uint8]:
    images = rng.normal(100, 25, (len(disease), SIDE, SIDE))
    j, i = np.mgrid[:SIDE, :SIDE]
    for image, ill, marked in zip(images, disease, mark, strict=True):
        if ill:
            y, x = rng.uniform(6, SIDE - 4, 2)
            image += 55 * np.exp(-((j - y) ** 2 + (i - x) ** 2) / 6)
        if marked:
            image[:3, :3] += 110
    return np.clip(images, 0, 255).astype(np.uint8)[:, None, None]


def judged(job: Job, cases: tuple[Case, ...]) -> dict[str, float]:
    """Accuracy in the worst of the cells of site, mark and disease, overall, and the AUROC in site A."""
    from hounsfield.metrics.discrimination import area

    train_member(job, 0, lambda _: None)
    with np.load(job.member_folder(0) / "validation.npz") as z:
        rows, logits = z["rows"], z["logits"][:, 0].astype(np.float64)
    truth = job.answers[rows]
    right = (logits > 0) == truth
    cell = np.array(
        [f"{cases[r].groups['site']}{cases[r].groups['mark']}{truth[k]}" for k, r in enumerate(rows)]
    )
    in_a = np.array([cases[r].groups["site"] == "A" for r in rows])
    return {
        "worst": float(min(right[cell == c].mean() for c in np.unique(cell))),
        "accuracy": float(right.mean()),
        "auroc_a": float(area(logits[in_a], truth[in_a] == 1) or 0.0),
    }
