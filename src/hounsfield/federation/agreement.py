"""One plan for sites that show each other nothing: the names of the classes, the input and the intensities
follow from their aggregated facts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Plan
from hounsfield.federation.facts import SiteFacts
from hounsfield.federation.proposal import Proposal
from hounsfield.networks import EITHER_NORM
from hounsfield.steps.design import design
from hounsfield.steps.encode_labels import one_spelling, ordered_classes
from hounsfield.steps.fingerprint import Fingerprint

__all__ = ["Agreement", "agreed", "federated_plan", "merged"]

_MOST_LOCAL = 10
_SET_BY_USER = "set by the user"


@dataclass(frozen=True)
class Agreement:
    """What is proposed, which sites cannot take part and why, and notes on how it came about."""

    proposal: Proposal
    refused: dict[str, str]
    notes: tuple[str, ...]


def agreed(
    facts: Mapping[str, SiteFacts],
    *,
    plan: Plan | None = None,
    changes: Mapping[str, Any] | None = None,
    classes: Sequence[str] = (),
    seed: int = 0,
    budget_minutes: float = 8.0,
) -> Agreement:
    """The plan and classes that the sites' facts give; `plan` is taken as it is where it was made already.

    `classes` are the names to be used, the positive one last; else those of most sites. A site with others is
    refused and named. Raises BadInput where fewer than two sites are left, or their images do not go
    together.
    """
    encoding, refused = _common_classes(facts, tuple(classes))
    left = {name: told for name, told in facts.items() if name not in refused}
    if len(left) < 2:
        why = "; ".join(f"{name}: {said}" for name, said in refused.items())
        raise BadInput(f"{len(left)} site(s) could take part; expected at least 2 ({why or 'no other site'})")
    whole, notes = merged(left)
    made = plan or design(whole, encoding, seed=seed, budget_minutes=budget_minutes)
    made = made.changed(dict(changes)) if changes else made
    fixed = set(changes or ()) | {key for key, why in made.reasons.items() if why == _SET_BY_USER}
    dealt = plan is None or not plan.federation.on
    return Agreement(Proposal(federated_plan(made, fixed=fixed, dealt=dealt), encoding), refused, notes)


def federated_plan(
    plan: Plan, *, fixed: set[str] | frozenset[str] = frozenset(), dealt: bool = False
) -> Plan:
    """The plan as sites can follow it: one network, no statistic of one site that weighs in another.

    With `dealt` the epochs of a plan that was made for one place are dealt to the rounds. Keys in `fixed`
    were set by the user and stay. Raises BadInput for what needs all cases in one place.
    """
    _refuse_impossible(plan)
    federation = plan.federation
    local = federation.local_epochs
    if dealt and "federation.local_epochs" not in fixed:
        most = plan.fit.epochs if "fit.epochs" in fixed else _MOST_LOCAL
        local = min(most, max(1, round(plan.fit.epochs / federation.rounds)))
    wanted: dict[str, tuple[Any, str]] = {
        "federation.strategy": (
            federation.strategy if federation.on else "fedavg", "the mean of the sites, weighed by cases"
        ),
        "federation.local_epochs": (local, "as many epochs in all as one cohort of this size is given"),
        "fit.epochs": (federation.rounds * local, "rounds times the local epochs of each"),
        "fit.weight_average": (0.0, "the mean over sites stands in for the mean over steps"),
        "fit.class_weights": (False, "each site would weigh its classes by its own counts"),
        "fit.choose": ("last", "the last round: no site's cases choose"),
        "fit.patience": (0, "off: the rounds are counted"),
        "validation.members": (1, "one network that all sites train"),
        "export.int8": (False, "off"),
    }  # fmt: skip
    if plan.network.name in EITHER_NORM:
        wanted["network.norm"] = ("group", "no statistics of a batch are mixed among sites or leave one")
    if federation.strategy == "scaffold":
        wanted["fit.optimiser"] = ("sgd", "SCAFFOLD corrects plain gradient steps")
        wanted["fit.momentum"] = (0.0, "off: SCAFFOLD corrects plain gradient steps")
        wanted["fit.learning_rate"] = (max(plan.fit.learning_rate, 0.1), "of plain gradient steps")
    if federation.private:
        wanted["augment.mixup"] = (0.0, "off: a mixture would be of two patients")
    news = {key: value for key, (value, _) in wanted.items() if key not in fixed}
    why = {key: reason for key, (_, reason) in wanted.items() if key not in fixed}
    made = plan.changed(news)
    if made.federation.private:
        from hounsfield.federation.privacy.private_step import refuse_unprotected

        refuse_unprotected(made)
    return made.model_copy(update={"reasons": {**made.reasons, **why}})


def merged(facts: Mapping[str, SiteFacts]) -> tuple[Fingerprint, tuple[str, ...]]:
    """One fingerprint of all sites, and notes. Raises BadInput, naming them, where images differ in kind."""
    names, told = list(facts), [f.fingerprint for f in facts.values()]
    _require_alike(names, told)
    n = np.array([t.n for t in told], np.float64)
    counts: Counter[str] = Counter()
    for f in facts.values():
        counts.update({one_spelling(name): k for name, k in f.patients_by_class.items() if k is not None})
    known = [k for k in counts.values() if k]
    modalities = {t.modality for t in told}
    sharp = max(t.sharpness_auroc for t in told)
    spacings = [t.spacing_mm for t in told]
    whole = Fingerprint(
        n=int(n.sum()),
        patients=sum(t.patients for t in told),
        size=_sizes(told, n),
        aspects=(min(t.aspects[0] for t in told), max(t.aspects[1] for t in told)),
        channels=max(t.channels for t in told),
        bits=max(t.bits for t in told),
        modality=modalities.pop() if len(modalities) == 1 else "",
        spacing_mm=tuple(np.median(spacings, 0).tolist()) if all(spacings) else (),
        imbalance=max(known) / min(known) if known else 1.0,
        levels=(
            float(np.average([t.levels[0] for t in told], weights=n)),
            float(np.average([t.levels[1] for t in told], weights=n)),
        ),
        sharpness_auroc=sharp,
    )
    notes = [f"{len(told)} sites, {whole.patients} patients to learn from"]
    if modalities:
        notes.append(f"the images are of several modalities ({', '.join(sorted(modalities))})")
    if all(spacings) and np.ptp(spacings, 0).max() > 0.1 * max(map(max, spacings)):
        notes.append("spacings differ among sites; every image is brought to the plan's size")
    return whole, tuple(notes)


def _sizes(told: Sequence[Fingerprint], n: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[int, int, int]:
    """The median size along each axis, a site counted as often as it has cases."""
    found = []
    for axis in range(3):
        sizes = np.array([t.size[axis] for t in told])
        order = np.argsort(sizes, kind="stable")
        place = int(np.searchsorted(np.cumsum(n[order]), n.sum() / 2))
        found.append(int(sizes[order][min(place, len(sizes) - 1)]))
    return found[0], found[1], found[2]


def _require_alike(names: Sequence[str], told: Sequence[Fingerprint]) -> None:
    for what, values in (
        ("channels", [t.channels for t in told]),
        ("kind", ["2D images" if t.is_flat else "volumes" for t in told]),
    ):
        if len(set(values)) > 1:
            listed = ", ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))
            raise BadInput(
                f"the sites' images differ in {what} ({listed}); expected all alike; leave a site out, or "
                "convert its images"
            )


def _common_classes(
    facts: Mapping[str, SiteFacts], classes: tuple[str, ...]
) -> tuple[LabelEncoding, dict[str, str]]:
    """The encoding of most sites, and those with other classes, each with a sentence."""
    votes: Counter[tuple[str, ...]] = Counter()
    if classes:
        votes[tuple(map(one_spelling, classes))] += 1
    else:
        for told in facts.values():
            votes[tuple(sorted(map(one_spelling, told.classes)))] += 1
    if not votes:
        raise BadInput("no site has told its facts; expected at least 2")
    wanted = _leading(votes)
    if wanted is None:
        listed = "; ".join(f"{name}: {', '.join(told.classes)}" for name, told in facts.items())
        raise BadInput(f"the sites do not agree on their classes ({listed}); name them with --classes")
    spelled = {one_spelling(c): c for told in facts.values() for c in told.classes} | {
        one_spelling(c): c for c in classes
    }
    several = Counter(told.kind == "multilabel" for told in facts.values()).most_common(1)[0][0]
    kind = "multilabel" if several else "binary" if len(wanted) == 2 else "multiclass"
    refused = {}
    for name, told in facts.items():
        mine = set(map(one_spelling, told.classes))
        alike = (told.kind == "multilabel") == several
        if not alike or not mine <= wanted or (several and mine != wanted):
            refused[name] = (
                f"it has the classes {', '.join(told.classes)} ({told.kind}); expected "
                f"{', '.join(spelled[c] for c in sorted(wanted))} ({kind})"
            )
    order = classes or ordered_classes({spelled[c] for c in wanted})
    target = next((told.target for name, told in facts.items() if name not in refused), ())
    return LabelEncoding(kind, tuple(order), target), refused


def _leading(votes: Counter[tuple[str, ...]]) -> set[str] | None:
    """The classes that most sites have; of several the one that holds the others, None where none does."""
    most = max(votes.values())
    leading = [set(names) for names, n in votes.items() if n == most]
    return next((names for names in leading if all(names >= other for other in leading)), None)


def _refuse_impossible(plan: Plan) -> None:
    faults = {
        "pretrain.epochs": plan.pretrain.epochs > 0,
        "mitigation.method": plan.mitigation.method != "none",
        "validation.outer_folds": plan.validation.outer_folds > 0,
        "validation.folds_by": bool(plan.validation.folds_by),
    }
    named = [key for key, there in faults.items() if there]
    if plan.task != "classification":
        raise BadInput(f"a plan of {plan.task} was given; sites learn together to classify; give such a plan")
    if named:
        raise BadInput(f"{', '.join(named)} needs all cases in one place; switch it off for several sites")
    if plan.input.normalise == "histogram" and not plan.input.landmarks:
        raise BadInput(
            "input.normalise=histogram learns its landmarks from all images, which no site has; choose "
            "zscore, or give input.landmarks"
        )
