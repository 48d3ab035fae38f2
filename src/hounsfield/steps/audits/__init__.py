"""The checks of the audit, one idea a file; importing this enters them into `CHECKS`."""

from hounsfield.steps.audits import (
    association,
    copies,
    eyes,
    groups,
    orientation,
    patients,
    shift,
    shortcuts,
    suspects,
)
from hounsfield.steps.audits.contract import ALPHA, CHECKS, Claim, Material, settled

__all__ = ["ALPHA", "CHECKS", "Claim", "Material", "settled"]
__all__ += [
    "association", "copies", "eyes", "groups", "orientation", "patients", "shift", "shortcuts", "suspects",
]  # fmt: skip
