"""How the common weights do on a site's held-back cases, in counts of many: the answer to `evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hounsfield.core.case import Case
from hounsfield.core.errors import HounsfieldError
from hounsfield.core.model import Calibration
from hounsfield.federation.layout import Vector
from hounsfield.federation.privacy.shared_counts import Counts, counted
from hounsfield.federation.site_cases import encoded_as
from hounsfield.tasks.classification import answers_of, probabilities, targets_of

if TYPE_CHECKING:
    from hounsfield.federation.site import Site

__all__ = ["counts_at"]


def counts_at(site: Site, weights: Vector, number: int) -> tuple[Counts, int]:
    """Counts of the site's test patients by `shared_counts.counted`, and of how many patients they are.

    `weights` (P,) are those after round `number`; what of the network is the site's own is taken up as it was
    then. Raises HounsfieldError where no case was held back.
    """
    proposal = site.proposal
    if proposal is None:
        raise HounsfieldError("no plan was accepted yet; expected a proposal before an evaluation")
    cohort = encoded_as(site.cases.cohort, proposal.encoding)
    cases, encoding = cohort.test, proposal.encoding
    if not cases:
        raise HounsfieldError("the site holds no case back to evaluate on; give it a test part")
    training = site.training
    training.give_kept(site.own.before(number + 1))
    logits = training.logits(weights, site.prepared.rows([c.id for c in cases]))
    scores = probabilities(logits.astype(np.float64), encoding, Calibration())
    names = encoding.classes if encoding.outputs > 1 else (encoding.positive_name,)
    counts = counted(
        scores,
        targets_of(answers_of(cases, encoding), encoding) > 0.5,
        patients=[c.patient for c in cases],
        labels=names,
        groups=_groups(cases),
        smallest_n=proposal.plan.federation.smallest_n,
    )
    return counts, len({c.patient for c in cases})


def _groups(cases: tuple[Case, ...]) -> dict[str, list[str]]:
    columns = sorted({column for case in cases for column in case.groups})
    return {column: [str(case.groups.get(column) or "") for case in cases] for column in columns}
