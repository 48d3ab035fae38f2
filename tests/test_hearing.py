"""What is left of a run that was resumed is told by what this one does, not by what an earlier one did."""

from __future__ import annotations

from hounsfield.pipeline.learning import hearing


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, str]] = []

    def begin(self, step: str, detail: str = "") -> None: ...

    def advance(self, done: int, total: int, note: str = "") -> None:
        self.steps.append((done, total, note))

    def end(self, summary: str = "") -> None: ...


def test_epochs_of_an_earlier_run_are_not_counted() -> None:
    told = Told()
    hear = hearing(told, 30)
    hear({"member": 0, "event": "finished before", "finished": 10})
    hear({"member": 1, "epoch": 6, "of": 10})
    hear({"member": 1, "epoch": 7, "of": 10})
    hear({"member": 2, "epoch": 0, "of": 10})
    assert [s[:2] for s in told.steps] == [(0, 20), (1, 14), (2, 14), (3, 14)]
    assert told.steps[1][2] == "member 1 epoch 7/10"


def test_an_uninterrupted_run_counts_every_epoch() -> None:
    told = Told()
    hear = hearing(told, 4)
    for epoch in range(2):
        for member in range(2):
            hear({"member": member, "epoch": epoch, "of": 2})
    assert [s[:2] for s in told.steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
