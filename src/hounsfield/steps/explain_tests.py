"""Three tests of a map: does it hang on the weights, does the score hang on it, does it hit the finding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.metrics.intervals import MIN_DENOMINATOR, critical_value, shortage
from hounsfield.metrics.measured import cluster_variance, mean_loss, proportion
from hounsfield.metrics.patients import Patients
from hounsfield.steps.explain_maps import Asked, Maps, title_of

__all__ = [
    "MOST_ALIKE",
    "CascadeRow",
    "completeness",
    "faithfulness",
    "localisation",
    "mean_between_patients",
    "randomisation",
]

MOST_ALIKE = 0.5
"""A map is withheld if its rank correlation with that of a network of random weights may be so high."""

DRAWS = 8
FEW = 6
RANDOM_ORDERS = 2
TOLERANCE = 0.03
"""A map's largest value may lie so far beside the finding, as a share of the longest axis."""


class CascadeRow(NamedTuple):
    """How alike maps stay when the weights of some layers are drawn anew: "head", "half" or "all"."""

    method: str
    layers: str
    rank_correlation: float | None
    low: float | None
    high: float | None
    structural_similarity: float | None
    n: int


def randomisation(
    maps: Maps, method: str, asked: Sequence[Asked], *, cheap: bool, seed: int = 0
) -> tuple[Finding, list[CascadeRow]]:
    """How alike the maps are to those of networks with random weights, from the head downwards.

    The finding is of the whole network drawn anew; maps without any evidence do not count. Methods that
    are not `cheap` are tried on fewer stages and cases.
    """
    stages = {"head": 1, "half": -1, "all": None} if cheap else {"head": 1, "all": None}
    trained, table = maps.of(method, asked), []
    finding = Finding("explanation_randomisation", label=title_of(method))
    for stage, layers in stages.items():
        count = len(asked) if cheap or stage == "all" else FEW
        drawn = _maps_of_random(maps, method, asked[:count], layers, seed)
        finding, row = _alike(maps, method, asked[:count], trained[:count], drawn)
        table.append(row._replace(layers=stage))
    if finding.value is None:
        return finding, table
    head = table[0].rank_correlation
    note = (
        "mean rank correlation of the map with that of a network whose weights are all random: 1 would be "
        f"the same map; structural similarity {table[-1].structural_similarity:.2f}"
        + (f"; with only the head random the rank correlation is {head:.2f}" if head is not None else "")
    )
    return replace(finding, note=note, method=f"{finding.method}; {DRAWS} draws of the weights"), table


def _alike(
    maps: Maps,
    method: str,
    asked: Sequence[Asked],
    trained: Sequence[NDArray[np.float32]],
    drawn: Sequence[NDArray[np.float32]],
) -> tuple[Finding, CascadeRow]:
    from hounsfield.explainers.similarity import rank_correlation, structural_similarity

    kept = [k for k, heat in enumerate(trained) if heat.any()]
    ranks = np.array([rank_correlation(seen(trained[k]), seen(drawn[k])) for k in kept], np.float64)
    shapes = [structural_similarity(trained[k], drawn[k]) for k in kept]
    title, patients = title_of(method), _patients(maps, [asked[k] for k in kept])
    found = mean_between_patients("explanation_randomisation", ranks, patients, label=title, bounds=(-1, 1))
    alike = float(np.mean(shapes)) if shapes else None
    return found, CascadeRow(title, "", found.value, found.low, found.high, alike, found.n)


def seen(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map in the 256 levels in which it is shown, so that rounding errors do not come to have a rank.

    >>> seen(np.array([0.0, 1e-6, 1.0], np.float32)).tolist()
    [0.0, 0.0, 255.0]
    """
    return np.asarray(np.rint(heat * 255), np.float32)


def _maps_of_random(
    maps: Maps, method: str, asked: Sequence[Asked], layers: int | None, seed: int
) -> list[NDArray[np.float32]]:
    """Maps of networks of random weights; several draws share the cases, so that none decides alone."""
    from hounsfield.explainers.randomise import randomised

    found: dict[Asked, NDArray[np.float32]] = {}
    groups: dict[tuple[int, int], list[Asked]] = {}
    for number, question in enumerate(asked):
        groups.setdefault((maps.member_of(question.row), number % DRAWS), []).append(question)
    for (member, draw), some in groups.items():
        network = maps.network(member)
        owners = sum(any(True for _ in m.parameters(recurse=False)) for m in network.modules())
        count = owners // 2 if layers == -1 else layers
        random = randomised(network, layers=count, seed=seed * DRAWS + draw)
        found.update(zip(some, maps.of(method, some, network=random), strict=True))
    return [found[question] for question in asked]


def faithfulness(maps: Maps, asked: Mapping[str, Sequence[Asked]], *, seed: int = 0) -> dict[str, Finding]:
    """Deletion and insertion in the order of each method's map, less the same in smooth random orders.

    `asked` are the questions of each method. The random orders of a question are the same for all methods.
    """
    import torch

    from hounsfield.explainers.removal import order_of, random_map, removal_gap

    heats = {
        (method, question): heat
        for method, questions in asked.items()
        for question, heat in zip(questions, maps.of(method, questions), strict=True)
    }

    def gains_of(question: Asked) -> dict[str, float]:
        methods = [method for method in asked if (method, question) in heats]
        image = maps.images([question.row])[0]
        rng = np.random.default_rng([seed, 0xFA, question.row])
        fields = [random_map(image, rng) for _ in range(RANDOM_ORDERS)]
        orders = [order_of(seen(heats[method, question]), fields[0]) for method in methods]
        orders += [order_of(field, field) for field in fields]
        network = maps.network(maps.member_of(question.row))
        gaps = removal_gap(network, torch.from_numpy(image), orders, maps.probability(question))
        luck = float(gaps[len(methods) :].mean())
        return {method: float(gap) - luck for method, gap in zip(methods, gaps, strict=False)}

    every = list(dict.fromkeys(question for _, question in heats))
    gains = dict(zip(every, maps.each(gains_of, every), strict=True))
    return {
        method: _faithful(maps, method, [(q, gains[q][method]) for q in questions])
        for method, questions in asked.items()
    }


def _faithful(maps: Maps, method: str, gains: Sequence[tuple[Asked, float]]) -> Finding:
    found = mean_between_patients(
        "explanation_faithfulness",
        np.array([gain for _, gain in gains], np.float64),
        _patients(maps, [question for question, _ in gains]),
        label=title_of(method),
    )
    note = (
        "probability of the call that the pixels marked first keep alone, less that left without them, above "
        "the same for smooth random marks: 0 is no better than random; what is taken away is blurred"
    )
    return replace(found, note=note) if found.value is not None else found


def localisation(
    maps: Maps, method: str, located: Sequence[tuple[int, NDArray[np.bool_]]]
) -> tuple[Finding, Finding]:
    """The pointing game (Zhang 2018) and the share of the map inside the finding (Wang 2020).

    `located` are rows with the mask of the finding that is their answer, which the map is asked for. The
    first is a warning where its interval reaches down to the rate of a random place in the body.
    """
    from scipy.ndimage import distance_transform_edt

    from hounsfield.explainers.removal import body_of

    binary, answers = maps.predictions.encoding.kind == "binary", maps.predictions.answers
    asked = [Asked(row, 0 if binary or answers is None else int(answers[row])) for row, _ in located]
    hits, inside, chance, area = [], [], [], []
    masks = [mask for _, mask in located]
    for question, mask, heat in zip(asked, masks, maps.of(method, asked), strict=True):
        near = distance_transform_edt(~mask) <= TOLERANCE * max(mask.shape)
        body = body_of(maps.images([question.row])[0])
        hits.append(bool(heat.any()) and bool(near.ravel()[int(heat.argmax())]))
        inside.append(float(heat[mask].sum() / heat.sum()) if heat.any() else 0.0)
        chance.append(float((near & body).sum() / max(1, body.sum())))
        area.append(float(mask.mean()))
    patients, title = _patients(maps, asked), title_of(method)
    owners = Patients.of(patients, cases=len(asked))
    rate = proportion(np.array(hits), np.ones(len(hits), bool), owners).estimate("hit rate")
    luck = float(np.mean(chance))
    note = (
        f"share of findings hit by the map's largest value, within {TOLERANCE:.0%} of the longest side; a "
        f"random place in the body hits {luck:.3f}"
    )
    missed = rate.low is not None and rate.low <= luck
    hit = Finding(
        "explanation_localisation", label=title, value=rate.value, low=rate.low, high=rate.high, n=len(hits),
        n_patients=owners.count, method=f"pointing game; {rate.method}", note=rate.reason or note,
        level="warning" if missed else "info",
    )  # fmt: skip
    said = f"share of the map inside the finding, which covers {np.mean(area):.3f} of the image"
    energy = mean_between_patients(
        "explanation_energy_inside", np.array(inside), patients, label=title, bounds=(0, 1), note=said
    )
    return hit, energy


def completeness(maps: Maps, asked: Sequence[Asked]) -> Finding:
    """How far integrated gradients fall short of adding up to the change of the logit."""
    import torch

    from hounsfield.explainers.integrated_gradients import BASELINE, attribute

    def gap_of(question: Asked) -> float:
        network = maps.network(maps.member_of(question.row))
        image = torch.from_numpy(maps.images([question.row]))
        return float(attribute(network, image, output=question.output, towards=question.towards).gap[0])

    gaps = maps.each(gap_of, asked)
    title = title_of("integrated_gradients")
    note = f"mean gap between the attributions' sum and the change of the logit; baseline: {BASELINE}"
    return mean_between_patients(
        "explanation_completeness",
        np.array(gaps),
        _patients(maps, asked),
        label=title,
        bounds=(0, 1),
        note=note,
    )


def _patients(maps: Maps, asked: Sequence[Asked]) -> list[str]:
    return [maps.predictions.patients[question.row] for question in asked]


def mean_between_patients(
    name: str,
    values: NDArray[np.float64],
    patients: Sequence[str],
    *,
    label: str = "",
    bounds: tuple[float, float] = (-np.inf, np.inf),
    note: str = "",
) -> Finding:
    """The mean of values (N,) with a t interval between patients, or why there are too few for one.

    Values that can only be 0 or more (`bounds`) and are all 0 have the upper bound of "none in any patient".

    >>> made = mean_between_patients("gap", np.array([.1, .2, .3, .2, .2]), list("abcde"))
    >>> round(made.value, 2), round(made.low, 2), round(made.high, 2), made.n
    (0.2, 0.11, 0.29, 5)
    """
    n, (least, most) = len(values), bounds
    owners = Patients.of(list(patients), cases=n)
    reason = shortage(n=n, n_patients=owners.count, least=MIN_DENOMINATOR)
    if reason:
        return Finding(name, label=label, n=n, n_patients=owners.count, note=reason)
    if least == 0:
        made = mean_loss(values, owners, ceiling=most, least=MIN_DENOMINATOR)
        value, low, high = made.value, made.low, made.high
    else:
        value = float(values.mean())
        spread = math.sqrt(cluster_variance(owners.sums((values - value) / n)))
        half = critical_value(dof=owners.count - 1) * spread
        low, high = max(least, value - half), min(most, value + half)
    return Finding(
        name, label=label, value=value, low=low, high=high, n=n, n_patients=owners.count,
        method="t between patients", note=note,
    )  # fmt: skip
