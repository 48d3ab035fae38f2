"""Ours: epochs of a real `fit` of VGG16 with a frozen part, which is cached or computed in every epoch.

`fit` runs in a thread and is held between epochs, so that two such runs can take turns, an epoch each.
The seconds are those of history.json: training and validation, without checkpoints.
"""

from __future__ import annotations

import queue
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from contender import versions_of
from pictures import pictures

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, Cohort
from hounsfield.core.index import Series
from hounsfield.core.plan import Fit, Input, Network, Plan, Validation
from hounsfield.steps.fit import fit, job_of
from hounsfield.steps.prepare import Prepared

SIDE = 150


def _plan(images: int, epochs: int, trainable: int, cache: bool) -> Plan:
    return Plan(
        device="cpu",
        input=Input(size=(1, SIDE, SIDE), channels=3, normalise="unit"),
        network=Network(name="article-c", trainable_layers=trainable),
        fit=Fit(
            optimiser="sgd",
            learning_rate=1e-4,
            momentum=0.9,
            weight_decay=0.0,
            schedule="constant",
            epochs=epochs,
            batch_size=images * 4 // 5,
            loss="binary_cross_entropy",
            precision="float32",
            cache_frozen=cache,
        ),
        validation=Validation(folds=5, members=1),
        threads=1,
    )


def _cohort(images: int) -> Cohort:
    def case(k: int) -> Case:
        return Case(
            f"c{k}", f"p{k}", (Series(f"c{k}", (f"c{k}",), "raster", (1, SIDE, SIDE)),), Label((k % 2,))
        )

    cases = tuple(case(k) for k in range(images))
    folds = {c.id: k % 5 for k, c in enumerate(cases)}
    return Cohort(cases, LabelEncoding("binary", ("0", "1")), {c.id: DEVELOPMENT for c in cases}, folds)


def _prepared(images: int, ids: list[str]) -> Prepared:
    grey = np.rint(pictures(images, (SIDE, SIDE)) * 255).astype(np.uint8)
    levels = np.tile(np.array([1 / 255, 0, -np.inf, np.inf], np.float32), (images, 1))
    return Prepared(tuple(ids), np.repeat(grey[:, None, None], 3, 1), levels)


class OurFrozen:
    """An item is an epoch; the first one computes what is cached."""

    def __init__(self, images: int, epochs: int, trainable: int, cache: bool) -> None:
        self._folder = tempfile.TemporaryDirectory()
        cohort = _cohort(images)
        self._job = job_of(
            cohort,
            _plan(images, epochs, trainable, cache),
            _prepared(images, [c.id for c in cohort.cases]),
            Path(self._folder.name),
        )
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self._go = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._fit, daemon=True)
        self.last: dict[str, Any] = {}

    def _fit(self) -> None:
        self._go.acquire()
        try:
            fit(self._job, progress=self._report)
        except Exception as error:  # noqa: BLE001 - who waits must hear of it
            self._heard.put({"error": repr(error)})

    def _report(self, facts: dict[str, Any]) -> None:
        if "train_loss" in facts:
            self._heard.put(facts)
            self._go.acquire()

    def run(self, items: int) -> float:
        if not self._thread.is_alive():
            self._thread.start()
        seconds = 0.0
        for _ in range(items):
            self._go.release()
            self.last = self._heard.get()
            if "error" in self.last:
                raise RuntimeError(self.last["error"])
            seconds += self.last["seconds"]
        return seconds

    def digest(self) -> dict[str, Any]:
        return {"loss": self.last["train_loss"], "val_loss": self.last["val_loss"]}

    def facts(self) -> dict[str, Any]:
        return {"versions": versions_of("torch"), "first_epoch": self.last["seconds"]}


def make(*, images: int, epochs: int, trainable: int, cache: bool) -> OurFrozen:
    return OurFrozen(images, epochs, trainable, cache)
