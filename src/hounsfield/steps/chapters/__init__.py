"""The chapters of the report: evidence as plain dicts in, what the templates print out.

What they draw from `Evidence.curves`, each a mapping of names to dicts of lists of one length (a curve that
lacks a list is left out; names in brackets are optional, those after "or" are taken too):

    roc                fpr tpr [low high auroc]
    pr                 recall precision [prevalence]
    scores             positive negative edges
    calibration        predicted observed [low high n]
    calibration_band   predicted or score, observed [low high]
    net_benefit        threshold, model or value [low high], [all or treat_all]
    predictive_values  prevalence ppv npv [ppv_low ppv_high npv_low npv_high]
    risk_coverage      coverage, risk [low high] or accuracy (a list of dicts of value, low, high)
    robustness         level value [low high], and metric, unit, n, reference; named by the change
    history            no mapping but a list: a dict of epoch, train_loss, val_loss, and val_auroc,
                       val_dice or val_sensitivity a member
    dice_by_structure  dice, a number a case [quartiles: three numbers]
    dice_by_volume     reference dice [unit]
    volume_agreement   mean difference, and bias, low, high, unit (so diameter_agreement)
    froc               fps sensitivity [low high]

and from `Evidence.tables`, lists of dicts whose keys are the heads, in reading order; a cell may be a number,
a text, or a dict of value, low, high, n. `records` prints any of them, and a table that no chapter names
stands in the last one (`arrange.PLACES`). Of their own form are:

    subgroup_tests        column metric [label] p p_adjusted i2, or dicts of metrics.subgroups.ColumnTest
    subgroup_differences  group metric [label] p_adjusted, or dicts of metrics.subgroups.Subgroup
    per_site              site metric value low high n n_patients; the site "pooled" is a diamond

Findings go to chapters by their names (`topics.TOPICS`), and answer items of the standards by theirs
(templates/checklist.json).
"""

from hounsfield.steps.chapters.arrange import arranged

__all__ = ["arranged"]
