"""The nodules of a scan as a reader would want them: those of most concern first, a row each.

Concern is the step of ACR Lung-RADS v2022 (American College of Radiology, 2022) that size, kind and growth
of the nodule alone give: 4B, 4A, 3, 2. Within a step a malignancy score orders them where a model gave every
one a score, then solid size, then size. Growth is `follow_up`'s (a quarter more volume, and more than
measuring alone may do), not Lung-RADS's 1.5 mm. It is an order of reading, not a Lung-RADS assessment: that
also weighs what is not measured here (calcium, fat, cysts, airways, spicules, nodes), and is the reader's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.steps.nodules.follow_up import Followed, FollowUp
from hounsfield.steps.nodules.lungs import Lungs
from hounsfield.steps.nodules.measure import NoduleMeasures

__all__ = ["STEPS", "Listed", "concern", "listed_rows", "reader_list"]

STEPS = ("4B", "4A", "3", "2")


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of the list; `number` counts from 1 in reading order, `nodule` is its place in the scan, from
    1.

    A nodule that is gone is listed last with the measures of the earlier scan, and `nodule` counts there.
    Doubling times are in days, empty where there is no earlier scan or no change is proved.
    """

    number: int
    nodule: int
    concern: str
    side: str
    third: str
    density: str
    diameter_mm: float
    long_axis_mm: float
    short_axis_mm: float
    solid_mm: float
    volume_mm3: float
    mean_hu: float
    mass_mg: float
    change: str
    volume_ratio: float | None
    doubling_days: float | None
    doubling_low_days: float | None
    doubling_high_days: float | None
    malignancy: float | None
    x_mm: float
    y_mm: float
    z_mm: float


def concern(nodule: NoduleMeasures, followed: Followed | None = None) -> str:
    """The step of Lung-RADS v2022 that a nodule's size, kind and growth give.

    >>> from hounsfield.steps.nodules.measure import NoduleMeasures
    >>> def of(mm, kind, solid):
    ...     return NoduleMeasures((0, 0, 0), 1.0, mm, mm, mm, 0.0, 1.0, kind, solid, False, 1.0)
    >>> concern(of(5, "solid", 5)), concern(of(9, "solid", 9)), concern(of(12, "part-solid", 7))
    ('2', '4A', '4A')
    """
    size = (nodule.long_axis_mm + nodule.short_axis_mm) / 2
    new = followed is not None and followed.category == "new"
    growth = followed.growth if followed is not None else None
    growing = growth is not None and growth.category == "grown" and growth.proved
    if nodule.density == "ground-glass":
        return "3" if size >= 30 and not growing else "2"
    if nodule.density == "part-solid":
        return _part_solid(size, nodule.solid_mm, new=new, changed=new or growing)
    if growing:
        return "4B" if size >= 8 else "4A"
    return _solid(size, (4.0, 6.0, 8.0) if new else (6.0, 8.0, 15.0))


def reader_list(
    nodules: Sequence[NoduleMeasures],
    lungs: Lungs,
    *,
    followed: FollowUp | None = None,
    earlier: Sequence[NoduleMeasures] = (),
    malignancy: Sequence[float] | None = None,
) -> list[Listed]:
    """The nodules of a scan in reading order; with `followed` and the `earlier` scan's nodules, their growth.

    `malignancy` has a score from 0 to 1 for every nodule. Raises BadInput where it has another number of
    them.
    """
    if malignancy is not None and len(malignancy) != len(nodules):
        raise BadInput(
            f"{len(malignancy)} malignancy scores for {len(nodules)} nodules; expected one each. Score"
            " every nodule,"
            " or none"
        )
    course = {} if followed is None else {f.second: f for f in followed.nodules if f.second is not None}
    steps = [concern(nodule, course.get(n)) for n, nodule in enumerate(nodules)]

    def urgency(n: int) -> tuple[float, ...]:
        score = 0.0 if malignancy is None else -malignancy[n]
        return STEPS.index(steps[n]), score, -nodules[n].solid_mm, -nodules[n].diameter_mm

    rows = []
    for number, n in enumerate(sorted(range(len(nodules)), key=urgency), start=1):
        score = None if malignancy is None else float(malignancy[n])
        rows.append(_row(number, n, nodules[n], lungs, steps[n], course.get(n), score))
    gone = [] if followed is None else [f for f in followed.nodules if f.category == "gone"]
    for one in gone:
        if one.first is not None and followed is not None:
            was = earlier[one.first]
            here = followed.alignment.to_second(np.array(was.centre_mm))[0]
            rows.append(_row(len(rows) + 1, one.first, was, lungs, "gone", one, None, here_mm=here))
    return rows


def listed_rows(listed: Sequence[Listed]) -> list[Mapping[str, object]]:
    """The list as rows of a table: numbers as a report shows them, None as an empty text."""
    rows: list[Mapping[str, object]] = []
    for one in listed:
        row: dict[str, object] = {}
        for name, value in asdict(one).items():
            if isinstance(value, float):
                digits = 3 if name in ("malignancy", "volume_ratio") else 1
                value = round(value, digits)
            row[name] = "" if value is None else value
        rows.append(row)
    return rows


def _solid(size: float, limits: tuple[float, float, float]) -> str:
    return ("2", "3", "4A", "4B")[sum(size >= limit for limit in limits)]


def _part_solid(size: float, solid_mm: float, *, new: bool, changed: bool) -> str:
    if changed and size >= 6:
        return "4B" if solid_mm >= 4 else "4A"
    if size < 6:
        return "3" if new else "2"
    return _solid(solid_mm, (0.0, 6.0, 8.0))


def _row(
    number: int,
    place: int,
    nodule: NoduleMeasures,
    lungs: Lungs,
    step: str,
    followed: Followed | None,
    score: float | None,
    *,
    here_mm: np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None = None,
) -> Listed:
    growth = None if followed is None else followed.growth
    fast, slow = growth.doubling_interval if growth is not None and growth.proved else (None, None)
    at = np.array(nodule.centre_mm) if here_mm is None else here_mm
    return Listed(
        number=number,
        nodule=place + 1,
        concern=step,
        side=lungs.side_at(at),
        third=lungs.third_at(at),
        density=nodule.density,
        diameter_mm=nodule.diameter_mm,
        long_axis_mm=nodule.long_axis_mm,
        short_axis_mm=nodule.short_axis_mm,
        solid_mm=nodule.solid_mm,
        volume_mm3=nodule.volume_mm3,
        mean_hu=nodule.mean_hu,
        mass_mg=nodule.mass_mg,
        change="" if followed is None else followed.category,
        volume_ratio=None if growth is None else growth.ratio,
        doubling_days=growth.doubling_days if growth is not None and growth.proved else None,
        doubling_low_days=fast,
        doubling_high_days=slow,
        malignancy=score,
        x_mm=float(at[0]),
        y_mm=float(at[1]),
        z_mm=float(at[2]),
    )
