"""Score every method before any of its maps is shown, and withhold those that fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.metrics.intervals import MIN_DENOMINATOR, shortage
from hounsfield.steps.explain_maps import Asked, Maps, title_of
from hounsfield.steps.explain_tests import (
    MOST_ALIKE,
    CascadeRow,
    completeness,
    faithfulness,
    localisation,
    randomisation,
)

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Scored", "Truth", "multiplications", "score_methods"]

Truth = Callable[[str], NDArray[np.bool_] | None]
"""The mask of a case's finding, (J, I) or (K, J, I) as the network sees it; None where none is known."""

CASES = 16
LOCATED = 20
FEWEST = 8

_FORWARDS = {"attention": 1.0, "gradcam": 2.0, "integrated_gradients": 50.0, "occlusion": 50.0}
"""What a map of an image costs in forward passes; an explainer of another package is taken for 100."""

_FORWARDS_OF_VOLUME = {**_FORWARDS, "occlusion": 130.0}

_BUDGET = {"cpu": 4e12, "other": 4e14}
"""Multiplications that scoring one method may cost: minutes of a processor, seconds of a graphics card."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What was measured of each method, which may be shown, and why the others are withheld.

    `shown` are names of explainers, `withheld` pairs of a method's title and the reason, `cascade` the
    randomisation test from the head downwards.
    """

    shown: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    withheld: tuple[tuple[str, str], ...] = ()
    cascade: tuple[CascadeRow, ...] = ()

    def of(self, method: str) -> tuple[Finding, ...]:
        """The findings of one explainer."""
        return tuple(f for f in self.findings if f.label == title_of(method))


def score_methods(
    maps: Maps,
    methods: Sequence[str],
    *,
    truth: Truth | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Test every method on cases that their network did not learn from, spread over calls and patients.

    `explanation_randomisation` is the mean rank correlation of a map with that of a network whose weights
    are all drawn anew (Adebayo 2018); the upper end of its interval must lie below `MOST_ALIKE`.
    `explanation_faithfulness` is how much more the probability hangs on the pixels that a map names than on
    those that a random one does; its lower end must lie above 0. `explanation_localisation` is the share of
    findings hit by the map's largest value (Zhang 2018), against `truth`; its lower end must lie above the
    rate of a random place in the body. A method that could not be measured is withheld as well; with too few
    cases or patients nothing is tried.
    """
    few = shortage(
        n=len(maps.predictions), n_patients=len(set(maps.predictions.patients)), least=MIN_DENOMINATOR
    )
    if few:
        why = few.replace("print a number", "test maps on")
        return Scored(withheld=tuple((title_of(method), why) for method in methods))
    order = _spread(maps, seed)
    located = _located(maps, truth, order) if truth else []
    asked, withheld = _askable(maps, methods, order)
    findings: dict[str, list[Finding]] = {name: [] for name in asked}
    cascade: list[CascadeRow] = []
    for number, (method, questions) in enumerate(asked.items(), 1):
        finding, rows = randomisation(maps, method, questions, cheap=_cost(maps, method) <= 2, seed=seed)
        cascade += rows
        findings[method].append(finding)
        if located:
            findings[method] += localisation(maps, method, located[: _affordable(maps, method)])
        if method == "integrated_gradients":
            findings[method].append(completeness(maps, questions[:FEWEST]))
        if progress:
            progress(number, len(asked) + 1)
    for method, finding in faithfulness(maps, asked, seed=seed).items():
        findings[method].append(finding)
    reasons = {m: [r for f in found if (r := _failure(f))] for m, found in findings.items()}
    withheld += [(title_of(method), "; ".join(why)) for method, why in reasons.items() if why]
    return Scored(
        tuple(method for method, why in reasons.items() if not why),
        tuple(f for found in findings.values() for f in found),
        tuple(withheld),
        tuple(cascade),
    )


def _failure(finding: Finding) -> str:
    """Why a method with this score is not shown; nothing where it may be."""
    measured = finding.value is not None and finding.low is not None and finding.high is not None
    match finding.name:
        case "explanation_randomisation" if not measured:
            return f"whether it hangs on the weights could not be measured ({finding.note})"
        case "explanation_randomisation" if finding.high >= MOST_ALIKE:  # type: ignore[operator]
            return f"it was not shown to change when the weights are random ({finding.text})"
        case "explanation_faithfulness" if not measured:
            return f"whether the score hangs on what it marks could not be measured ({finding.note})"
        case "explanation_faithfulness" if finding.low <= 0:  # type: ignore[operator]
            return f"the score hangs on what it marks no more than on random places ({finding.text})"
        case "explanation_localisation" if finding.level == "warning":
            return f"it finds the marked findings no more often than chance ({finding.text})"
    return ""


# Which cases, and how many


def _askable(
    maps: Maps, methods: Sequence[str], order: Sequence[int]
) -> tuple[dict[str, list[Asked]], list[tuple[str, str]]]:
    """The questions to score each method on, and the methods that cannot be scored, with the reason."""
    asked: dict[str, list[Asked]] = {}
    withheld = []
    for method in methods:
        most = _affordable(maps, method)
        questions = [maps.said(row) for row in order[: min(CASES, most)]]
        if len(questions) < min(FEWEST, len(order)):
            why = f"its maps of this network are so dear that only {most} could be scored"
            withheld.append((title_of(method), why))
            continue
        try:
            maps.of(method, questions[:1])
        except BadInput as error:
            withheld.append((title_of(method), f"it cannot explain this network: {error}"))
            continue
        asked[method] = questions
    return asked, withheld


def _spread(maps: Maps, seed: int) -> list[int]:
    """All rows in an order in which the first few are spread over the calls, and within one over patients."""
    patients = maps.predictions.patients
    times: dict[tuple[object, ...], int] = {}

    def nth(*what: object) -> int:
        times[what] = times.get(what, -1) + 1
        return times[what]

    keyed = []
    for row in np.random.default_rng([seed, 0xE1]).permutation(len(patients)).tolist():
        asked = maps.said(row)
        keyed.append((nth(asked.output, asked.towards, patients[row]), asked.output, asked.towards, row))
    keyed.sort(key=lambda key: key[0])
    ranked = [(nth("rank", output, towards), row) for _, output, towards, row in keyed]
    return [row for _, row in sorted(ranked, key=lambda pair: pair[0])]


def _located(maps: Maps, truth: Truth, rows: Sequence[int]) -> list[tuple[int, NDArray[np.bool_]]]:
    """Rows whose answer is a finding with a known place, with its mask."""
    predictions, found = maps.predictions, []
    if predictions.answers is None or predictions.answers.ndim == 2:
        return []
    for row in rows:
        if predictions.encoding.kind == "binary" and predictions.answers[row] != 1:
            continue
        mask = truth(predictions.ids[row])
        if mask is not None and mask.any():
            found.append((row, mask))
        if len(found) == LOCATED:
            break
    return found


def _cost(maps: Maps, method: str) -> float:
    return (_FORWARDS if maps.is_flat else _FORWARDS_OF_VOLUME).get(method, 100.0)


def _affordable(maps: Maps, method: str) -> int:
    """How many cases of this method may be scored; it follows from plan and device, never from a clock."""
    network = maps.network(maps.member_of(0))
    device = next(network.parameters()).device.type
    each = (
        3 * multiplications(network, maps.images([0])) * _cost(maps, method)
    )  # the map, that of random weights …
    return int(min(_BUDGET["cpu" if device == "cpu" else "other"] / max(each, 1.0), 1e6))


def multiplications(network: nn.Module, images: NDArray[np.float32]) -> float:
    """Multiplications of convolutions and linear layers that one image costs.

    >>> import torch
    >>> multiplications(torch.nn.Conv2d(2, 3, 3, padding=1), np.zeros((1, 2, 4, 4), np.float32))
    864.0
    """
    import torch

    total = 0.0

    def count(module: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal total
        weight: torch.Tensor = module.weight  # type: ignore[assignment]
        total += out.numel() * weight[0].numel()

    kinds = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, kinds)]
    try:
        with torch.no_grad():
            parameter = next(network.parameters())
            network(torch.from_numpy(images[:1]).to(parameter.device))
    finally:
        for hook in hooks:
            hook.remove()
    return total
