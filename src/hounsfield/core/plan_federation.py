"""The section of a plan that says how several sites train one network together."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from hounsfield.core.plan_sections import Amount, Positive, Section

__all__ = ["Federation"]


class Federation(Section):
    """How sites that show each other no patient train together; off unless asked for ("none").

    In each of `rounds` a site trains `local_epochs` on its own cases and sends its weights, never a case.
    `strategy` joins them: "fedavg" takes their mean, weighed by cases (McMahan 2017); "fedprox" keeps a site
    near the common weights by `mu`/2 of the squared distance (Li 2020); "fedadam" moves the common weights by
    Adam (Reddi 2021) at `server_rate`; "fedbn" leaves the normalisation layers at each site (Li 2021) and,
    with `send_norms`, has each site send its own once, after the last round, for the common model;
    "scaffold" corrects each step for the drift of its site (Karimireddy 2020) and moves by `server_rate`
    (0: what is usual of the strategy). Then `fine_tune_epochs` are trained at each site for itself (0: none).

    `robust` "trimmed_mean" leaves out the `distrusted` greatest and smallest of every weight (Yin 2018),
    "krum" takes the sites that agree best (Blanchard 2017), as if `distrusted` sites were broken. An update
    that is not finite, or longer than `largest_update` (0: no limit), is left out, and its site is named.

    With `secure_aggregation` the coordinator sees only the sum of the sites (Bonawitz 2017). `epsilon` above
    0 spends at most (`epsilon`, `delta`) of differential privacy on a patient: each one's gradient is cut to
    `clip` and noise is added (Abadi 2016).

    A round goes on with `smallest_sites` answers, after `round_minutes` without those that are late. A number
    of fewer than `smallest_n` patients leaves no site, and a site with fewer takes no part.
    """

    strategy: Literal["none", "fedavg", "fedprox", "fedadam", "fedbn", "scaffold"] = "none"
    rounds: Positive = 20
    local_epochs: Positive = 1
    mu: Amount = 0.01
    server_rate: Amount = 0.0
    send_norms: bool = True
    robust: Literal["none", "trimmed_mean", "krum"] = "none"
    distrusted: Positive = 1
    largest_update: Amount = 0.0
    secure_aggregation: bool = False
    epsilon: Amount = 0.0
    delta: float = Field(1e-5, gt=0, lt=1)
    clip: float = Field(1.0, gt=0)
    fine_tune_epochs: int = Field(0, ge=0)
    smallest_sites: int = Field(2, ge=2)
    smallest_n: Positive = 10
    round_minutes: float = Field(30.0, gt=0)

    @property
    def on(self) -> bool:
        """True if the plan is for several sites."""
        return self.strategy != "none"

    @property
    def private(self) -> bool:
        """True if a budget of differential privacy is set."""
        return self.epsilon > 0

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.secure_aggregation and self.robust != "none":
            raise ValueError(
                f"federation.robust is {self.robust}, which must see every site's weights, and "
                "federation.secure_aggregation hides them; choose one of the two"
            )
        if self.secure_aggregation and self.strategy == "scaffold":
            raise ValueError(
                "federation.strategy is scaffold, whose corrections are sent in the open, and "
                "federation.secure_aggregation is on; choose another strategy, or switch it off"
            )
        return self
