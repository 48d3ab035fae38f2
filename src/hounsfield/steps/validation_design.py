"""What a validation design asks of the plan: as many folds and members as a column has values."""

from __future__ import annotations

from collections.abc import Collection

from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Plan

__all__ = ["with_design"]


def with_design(plan: Plan, cohort: Cohort, *, fixed: Collection[str] = ()) -> Plan:
    """The plan with the folds that its design gives these cases; keys in `fixed` were set by the user.

    With `validation.folds_by` there is a fold for each value, and at least a member for each fold. Raises
    BadInput where the user's members leave a value out of the validation, and where nested cross-validation
    is asked for beside a test part, whose numbers are then the reported ones.
    """
    rule = plan.validation
    if rule.outer_folds and cohort.test:
        raise BadInput(
            "validation.outer_folds asks for nested cross-validation, but a test part is there, on which the "
            "report's numbers would be measured; leave one of the two out (--resplit --test-fraction 0 "
            "takes the test part of the data back, if it is not another's to keep)"
        )
    if not rule.folds_by:
        return plan
    members = rule.members
    if rule.folds != cohort.folds and "validation.folds" in fixed:
        raise BadInput(
            f"validation.folds={rule.folds}, but validation.folds_by={rule.folds_by} makes {cohort.folds}, "
            "one for each value; leave validation.folds out"
        )
    if members < cohort.folds and "validation.members" in fixed:
        raise BadInput(
            f"validation.members={members} would leave {cohort.folds - members} of {cohort.folds} values of "
            f"{rule.folds_by} without a member that has not seen them; set validation.members={cohort.folds} "
            "or leave it out"
        )
    members = cohort.folds if "validation.members" not in fixed else members
    why = {
        "validation.folds": f"a fold for each value of {rule.folds_by}",
        "validation.members": plan.reasons.get("validation.members", "")
        if "validation.members" in fixed
        else f"a member for each value of {rule.folds_by} that is left out",
    }
    section = rule.model_copy(update={"folds": cohort.folds, "members": members})
    return plan.model_copy(update={"validation": section, "reasons": {**plan.reasons, **why}})
