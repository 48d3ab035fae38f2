"""Who is in the chest CT cohort: age, sex, site, body, vessels and nodules.

Site A is a screening centre, site B a clinic whose patients are older and have more nodules; so the site
tells something of malignancy, as it does in life.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np

from hounsfield.applications.chest_ct.body import Body, Sex, sample_body
from hounsfield.applications.chest_ct.nodules import Nodule, sample_nodules
from hounsfield.applications.chest_ct.vessels import Vessels, sample_vessels

__all__ = ["Patient", "Role", "Site", "sample_anatomy", "sample_roles"]

Site = Literal["A", "B"]
_COUNTS = {"A": [0.25, 0.37, 0.22, 0.11, 0.05], "B": [0.12, 0.33, 0.28, 0.17, 0.10]}


@dataclass(frozen=True)
class Role:
    """What is drawn of a patient before the anatomy: cheap, and the same for any scanner."""

    number: int
    site: Site
    sex: Sex
    age: int
    nodules: int
    examined: date


@dataclass(frozen=True)
class Patient:
    """One person: the role, the anatomy and the nodules found a place in it."""

    role: Role
    body: Body
    vessels: Vessels
    nodules: tuple[Nodule, ...]


def sample_roles(*, patients: int, seed: int) -> list[Role]:
    """The cohort in its order; half of it at each site.

    >>> roles = sample_roles(patients=10, seed=0)
    >>> [role.site for role in roles].count("A"), roles == sample_roles(patients=10, seed=0)
    (5, True)
    """
    rng = np.random.default_rng([seed, 10])
    sites = rng.permutation(["A" if n % 2 == 0 else "B" for n in range(patients)])
    roles = []
    for number, site in enumerate(sites.tolist(), start=1):
        own = np.random.default_rng([seed, 11, number])
        age = int(np.clip(round(own.normal(62.0 if site == "A" else 66.0, 7.5)), 45, 84))
        roles.append(
            Role(
                number=number,
                site=site,
                sex="F" if own.random() < (0.42 if site == "A" else 0.48) else "M",
                age=age,
                nodules=int(own.choice(5, p=_COUNTS[site])),
                examined=date(2022, 1, 3) + timedelta(days=int(own.integers(0, 3 * 365))),
            )
        )
    return roles


def sample_anatomy(role: Role, *, seed: int) -> Patient:
    """Body, vessels and nodules of a role; the same whoever else is in the cohort."""
    rng = np.random.default_rng([seed, 12, role.number])
    body = sample_body(rng, sex=role.sex, age=role.age)
    vessels = sample_vessels(rng, body)
    return Patient(role, body, vessels, tuple(sample_nodules(rng, body, vessels, count=role.nodules)))
