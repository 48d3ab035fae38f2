"""What diabetes leaves in a retina, by grade of the International Clinical Diabetic Retinopathy scale
(Wilkinson et al., Ophthalmology 2003;110:1677):

0  nothing;
1  microaneurysms only;
2  more than those, less than 3;
3  more than 20 haemorrhages in each of the four quadrants, or definite venous beading in two or more, or
   prominent intraretinal microvascular abnormalities (IRMA) in one or more;
4  new vessels, or preretinal or vitreous haemorrhage.

A lesion counts only where it can be seen: all are placed in the part of the retina that a photograph shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hounsfield.applications.retinopathy import lesion_shapes as shapes
from hounsfield.applications.retinopathy.eye import Anatomy
from hounsfield.applications.retinopathy.field import Doubles
from hounsfield.applications.retinopathy.lesion_shapes import NO_SPOTS, NO_TUBES, QUADRANTS, Places, Seen
from hounsfield.applications.retinopathy.vessels import Tree

__all__ = ["KINDS", "Lesions", "sample_lesions"]

KINDS = (
    "microaneurysm", "haemorrhage", "hard exudate", "cotton wool spot", "IRMA", "new vessel",
    "preretinal haemorrhage", "vitreous haemorrhage",
)  # fmt: skip
"""The lesions by their number in a mask, from 1."""


@dataclass(frozen=True)
class Lesions:
    """The lesions of an eye: spots (n, 12) as `paint.paint_spots` takes them, new or abnormal vessels as
    pieces (n, 8), the quadrants of beading, and how thick the blood in the vitreous is.
    """

    microaneurysms: Doubles = field(default_factory=lambda: NO_SPOTS)
    haemorrhages: Doubles = field(default_factory=lambda: NO_SPOTS)
    exudates: Doubles = field(default_factory=lambda: NO_SPOTS)
    cotton_wool: Doubles = field(default_factory=lambda: NO_SPOTS)
    irma: Doubles = field(default_factory=lambda: NO_TUBES)
    new_vessels: Doubles = field(default_factory=lambda: NO_TUBES)
    preretinal: Doubles = field(default_factory=lambda: NO_SPOTS)
    vitreous: float = 0.0
    beading: tuple[tuple[int, int], ...] = ()


def sample_lesions(
    rng: np.random.Generator, anatomy: Anatomy, tree: Tree, *, grade: int, seen: Seen
) -> Lesions:
    """Lesions that make an eye of that grade; `seen` says which places (n, 2) in mm a photograph shows.

    >>> from hounsfield.applications.retinopathy.eye import sample_anatomies
    >>> eye = sample_anatomies(np.random.default_rng(0), age=50, seed=(0,))["R"]
    >>> rng, bare = np.random.default_rng(1), Tree(np.zeros((0, 8)))
    >>> mild = sample_lesions(rng, eye, bare, grade=1, seen=lambda p: np.hypot(*p.T) < 5)
    >>> len(mild.microaneurysms) >= 3, len(mild.haemorrhages)
    (True, 0)
    """
    if grade == 0:
        return Lesions()
    place = Places(rng, anatomy, seen)
    if grade == 1:
        return Lesions(microaneurysms=shapes.microaneurysms(rng, place, int(rng.integers(3, 11))))
    rules = _rules_of(rng, grade)
    counts = _haemorrhage_counts(rng, grade, crowded="haemorrhages" in rules)
    beading = (
        tuple(QUADRANTS[i] for i in rng.permutation(4)[: rng.integers(2, 5)]) if "beading" in rules else ()
    )
    wool = int(rng.integers(1, 4)) if rng.random() < (0.4 if grade == 2 else 0.7) else 0
    leaks = int(rng.integers(1, 4)) if rng.random() < (0.7 if grade == 2 else 0.75) else 0
    return Lesions(
        microaneurysms=shapes.microaneurysms(
            rng, place, int(rng.integers(6, 22) * (1 if grade == 2 else 1.5))
        ),
        haemorrhages=shapes.haemorrhages(rng, place, counts),
        exudates=shapes.exudates(rng, place, leaks),
        cotton_wool=shapes.cotton_wool(rng, place, wool),
        irma=shapes.irma(rng, place, tree) if "irma" in rules else NO_TUBES,
        new_vessels=shapes.new_vessels(rng, anatomy, place, tree, rules) if grade == 4 else NO_TUBES,
        preretinal=shapes.preretinal(rng, place) if "preretinal" in rules else NO_SPOTS,
        vitreous=float(rng.uniform(0.5, 1.0)) if "vitreous" in rules else 0.0,
        beading=beading,
    )


def _rules_of(rng: np.random.Generator, grade: int) -> set[str]:
    """Which signs make the grade: one for certain, others by chance."""
    if grade == 2:
        return set()
    if grade == 3:
        chance = {"haemorrhages": 0.6, "beading": 0.45, "irma": 0.4}
    else:
        chance = {"disc": 0.45, "elsewhere": 0.6, "preretinal": 0.4, "vitreous": 0.12}
    names = list(chance)
    sure = names[int(rng.choice(len(names), p=np.array(list(chance.values())) / sum(chance.values())))]
    rules = {sure} | {n for n in names if rng.random() < 0.5 * chance[n]}
    return rules | ({"beading"} if grade == 4 and rng.random() < 0.3 else set())


def _haemorrhage_counts(rng: np.random.Generator, grade: int, *, crowded: bool) -> list[int]:
    if crowded:
        return [int(n) for n in rng.integers(21, 30, 4)]
    most = {2: 18, 3: 40, 4: 30}[grade]
    count = int(rng.integers(3 if grade == 2 else 10, most))
    return [min(int(n), 20) for n in rng.multinomial(count, rng.dirichlet([2.0] * 4))]
