"""What a model card says of privacy: what was promised and spent, and what that does not prove."""

from __future__ import annotations

from collections.abc import Sequence

from hounsfield.core.plan import Federation
from hounsfield.federation.privacy.ledger import Spending

__all__ = ["NOT_PROVED", "privacy_facts"]

NOT_PROVED = (
    "The budget speaks of training on one patient of one site. It does not cover what sites told before "
    "(counts, sizes and intensities of many patients), the counts of an evaluation, a patient who is at two "
    "sites, other models from the same patients, or what the model says of a patient who is shown to it. "
    "Attacks that fail in the tests show that the noise is on, not that no better attack exists."
)


def privacy_facts(federation: Federation, spent: Sequence[Spending] = ()) -> dict[str, str]:
    """Rows of a model card, from the plan and, where it is known, what each site has spent.

    >>> list(privacy_facts(Federation(strategy="fedavg")).items())
    [('differential privacy', 'none: the model may hold what it saw of single patients'), \
('secure aggregation', 'none: the coordinator saw the weights of each site')]
    """
    hidden = "none: the coordinator saw the weights of each site"
    if federation.secure_aggregation:
        hidden = "SecAgg+: the coordinator saw only sums of the sites' weights"
    if not federation.private:
        plain = "none: the model may hold what it saw of single patients"
        return {"differential privacy": plain, "secure aggregation": hidden}
    return {
        "differential privacy": _budget(federation, spent),
        "secure aggregation": hidden,
        "privacy not proved": NOT_PROVED,
    }


def _budget(federation: Federation, spent: Sequence[Spending]) -> str:
    limit = f"at most epsilon {federation.epsilon:g} at delta {federation.delta:g}"
    if not spent:
        return (
            f"{limit}, for each patient of a site (add or remove), by the account that each site keeps; "
            f"gradients of patients cut to {federation.clip:g}"
        )
    most = max(spent, key=lambda s: s.epsilon)
    return (
        f"epsilon {most.epsilon:.2f} at delta {most.delta:g} where most was spent ({limit}), for each "
        f"patient of a site (add or remove); {most.accountant.upper()} accountant of Opacus, {most.steps} "
        f"steps of DP-SGD with Poisson sampling, gradients of patients cut to {most.clip:g}, noise of "
        f"{most.noise:.3g} times that"
    )
