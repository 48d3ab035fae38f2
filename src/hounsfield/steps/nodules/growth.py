"""Growth of a nodule between two scans: its volume doubling time with an interval, and its category.

The volume is taken to grow exponentially: doubling time = days ln 2 / ln(V2 / V1) (Schwartz, Cancer
1961;14:1272). The interval follows from how far volumes stray by measuring alone. Growth is a quarter more
volume (van Klaveren et al., N Engl J Med 2009;361:2221; Callister et al., Thorax 2015;70:ii1), shrinking a
fifth less, its inverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hounsfield.core.errors import BadInput
from hounsfield.steps.nodules.measure import NoduleMeasures
from hounsfield.steps.nodules.repeatability import TAIL, change_spread

__all__ = ["GROWN", "SHRUNK", "Category", "Growth", "growth_between"]

Category = Literal["new", "grown", "stable", "shrunk", "gone"]
GROWN, SHRUNK = 1.25, 0.8


@dataclass(frozen=True, slots=True)
class Growth:
    """How a nodule changed in `days`: `ratio` of the volumes, and doublings a year with a 95 % interval.

    Doublings are negative where it shrinks; the rate has an interval without holes, the doubling time has one
    only where the rate's does not hold 0.
    """

    days: int
    ratio: float
    doublings_a_year: float
    low: float
    high: float
    category: Category

    @property
    def proved(self) -> bool:
        """Whether the change is beyond what measuring alone may do."""
        return self.low > 0 or self.high < 0

    @property
    def doubling_days(self) -> float:
        """The volume doubling time in days, negative where it shrinks, infinite where nothing changed."""
        return _days(self.doublings_a_year)

    @property
    def doubling_interval(self) -> tuple[float, float]:
        """The 95 % interval of the doubling time in days, the fastest first.

        Its end is infinite where the rate's interval holds 0: it may be this fast, or not grow at all.
        """
        if self.high < 0:
            return _days(self.low), _days(self.high)
        return _days(self.high), (_days(self.low) if self.low > 0 else math.inf)

    @property
    def text(self) -> str:
        """The doubling time and its interval in words."""
        fast, slow = self.doubling_interval
        if not self.proved:
            return f"no change proved in {self.days} days; doubling in {fast:.0f} days or more, if it grows"
        verb = "doubles" if self.high > 0 else "halves"
        a, b = sorted((abs(fast), abs(slow)))
        return f"{verb} in {abs(self.doubling_days):.0f} days (95 % interval {a:.0f} to {b:.0f})"


def growth_between(first: NoduleMeasures, second: NoduleMeasures, *, days: int) -> Growth:
    """The growth from an earlier to a later measurement; raises BadInput unless a day lies between."""
    if days < 1:
        raise BadInput(
            f"the second scan was made {days} days after the first; expected a later day. Swap the two"
            " scans, or"
            " correct their dates"
        )
    change = math.log(second.volume_mm3 / first.volume_mm3)
    error = TAIL * change_spread(first, second)
    per_year = 365.25 / days / math.log(2.0)
    ratio = math.exp(change)
    category: Category = "grown" if ratio > GROWN else "shrunk" if ratio < SHRUNK else "stable"
    return Growth(
        days, ratio, change * per_year, (change - error) * per_year, (change + error) * per_year, category
    )


def _days(doublings_a_year: float) -> float:
    return math.inf if doublings_a_year == 0 else 365.25 / doublings_a_year
