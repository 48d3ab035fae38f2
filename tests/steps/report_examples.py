"""Evidence of several tasks as a run leaves it, and pictures, for the tests of the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hounsfield.core.evidence import Evidence, Finding, Picture
from hounsfield.steps.detection.evaluate import evaluate_detected
from hounsfield.steps.segmentation.evaluate import evaluate_segmented
from steps.marked_cases import detected
from steps.outlined import outlined, setting

PHANTOM = "PHANTOM DATA - not patients; nothing here says anything about clinical performance"
TOO_SMALL = "n = 9: too few for a number; at least 20 are needed"
DELONG, WILSON, BOOT = (
    "DeLong, clustered by patient",
    "Wilson, effective size by patient",
    "bootstrap over patients",
)

# fmt: off
VALUES = {
    "auroc": (.913, .872, .946, DELONG), "auprc": (.781, .69, .861, BOOT),
    "sensitivity": (.84, .742, .905, WILSON), "specificity": (.91, .856, .945, WILSON),
    "precision": (.764, .661, .843, WILSON), "npv": (.943, .894, .97, WILSON), "f1": (.8, .718, .866, BOOT),
    "accuracy": (.892, .846, .925, WILSON), "mcc": (.73, .62, .82, BOOT), "brier": (.081, .062, .104, BOOT),
    "balanced_accuracy": (.875, .825, .915, DELONG), "ece": (.034, .02, .061, BOOT),
}
AUDIT = (
    Finding("patient_identity", n=1240, n_patients=980, note="980 patients are named for 1,240 cases"),
    Finding("patients_in_both_parts", value=0.0, n=1240, n_patients=980, note="0 patients on both sides"),
    Finding("near_duplicates", value=12.0, n=1240, level="warning", note="12 pairs are the same picture"),
    Finding("site_label_association", value=.412, low=.33, high=.49, n=1240, level="stop",
            note="site B holds 81 % of the malignant cases: a model can learn the site"),
)
CHANGES = (
    Finding("marker_inserted", "", "mean_score_change", .31, .27, .35, 240, 195, BOOT, "warning",
            "a letter in the corner raises the score by 0.31"),
    Finding("marker_inserted", "", "share_flipped", .22, .17, .28, 240, 195, WILSON),
    Finding("noise_added", "", "mean_score_change", -.004, -.012, .005, 240, 195, BOOT),
)
PEOPLE = (("sex", "F", 521, 122), ("sex", "M", 470, 115), ("sex", "", 9, 3), ("age band", "40-49", 210, 51),
          ("age band", "50-59", 790, 189), ("site", "A", 600, 140), ("site", "B", 400, 100))
TABLES: dict[str, Any] = {
    "flow": [("files found", 1312, 1021, ""), ("readable images", 1281, 1003, "no pixel data"),
             ("with a label", 1240, 980, "no row in the label table"),
             ("development", 1000, 785, "5 folds by patient"), ("test", 240, 195, "")],
    "demographics": [(column, value, {"development": n, "test": m}) for column, value, n, m in PEOPLE],
    "refused": [["no pixel data", 22], ["transfer syntax cannot be decoded", 9]],
    "plan": [("input.size", [1, 224, 224], "median image is 512 x 480; 224 fits the time budget"),
             ("network.name", "compact", "1,000 cases: a small network"), ("network.weights", "", ""),
             ("augment.flip_left_right", False, "left and right mean something here")],
    "operating_point": {"value": .42, "rule": "youden", "chosen_on": "validation folds",
                        "low": .37, "high": .49, "n": 1000},
}
CONTEXT: dict[str, Any] = {
    "task": "classification", "target": ["finding"], "hounsfield": "0.1.0", "python": "3.11.9", "seed": 0,
    "packages": {"numpy": "2.4.0", "torch": "2.13.0"}, "plan_digest": "9f2c1d77aa01be44", "device": "cpu",
    "data_digest": "03bb7c90e1f2a6d5", "seconds": {"scan": 3.1, "audit": 8.6, "fit": 402.7, "predict": 9.9},
    "evaluated_on": "test", "command": "hu train study-folder --labels labels.csv --target finding",
}
# fmt: on


def _metrics(label: str = "", shift: float = 0.0) -> list[Finding]:
    return [
        Finding(name, "", label, value - shift, low - shift, high - shift, 240, 219, method)
        for name, (value, low, high, method) in VALUES.items()
    ]


def _curves(names: tuple[str, ...]) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    curves: dict[str, Any] = {"roc": {}, "pr": {}, "calibration": {}, "scores": {}}
    for k, name in enumerate(names):
        yes, no = rng.beta(5 - 0.6 * k, 2, 75), rng.beta(2, 6 - 0.5 * k, 165)
        cuts = np.concatenate([[np.inf], np.sort(np.concatenate([yes, no]))[::-1]])
        tpr, fpr = ((side >= cuts[:, None]).mean(axis=1) for side in (yes, no))
        precision = (tpr * 75 / np.maximum(tpr * 75 + fpr * 165, 1))[1:]
        auroc = {"value": 0.913 - 0.03 * k, "low": 0.872 - 0.03 * k, "high": 0.946 - 0.03 * k, "n": 240}
        band = _span(tpr, 0.06) if len(names) == 1 else {}
        curves["roc"][name] = {"fpr": fpr, "tpr": tpr, "auroc": auroc, **band}
        curves["pr"][name] = {"recall": tpr[1:], "precision": precision, "prevalence": 75 / 240}
        middle = np.array([0.05, 0.15, 0.3, 0.5, 0.7, 0.9])
        seen = np.clip(middle + rng.normal(0, 0.04, 6), 0, 1)
        bins = {"predicted": middle, "observed": seen, "n": [88, 54, 31, 22, 19, 26]}
        curves["calibration"][name] = bins | _span(seen, 0.1)
        edges = np.linspace(0, 1, 21)
        counted = {"positive": np.histogram(yes, edges)[0], "negative": np.histogram(no, edges)[0]}
        curves["scores"][name] = counted | {"edges": edges}
    return curves | {"history": [_member(rng) for _ in range(5)]}


def _span(values: np.ndarray, reach: float) -> dict[str, np.ndarray]:
    return {"low": np.clip(values - reach, 0, 1), "high": np.clip(values + reach, 0, 1)}


def _member(rng: np.random.Generator) -> dict[str, Any]:
    epoch, noise = np.arange(1, 31), rng.normal(0, 0.01, 30)
    falling = np.exp(-epoch / 8)
    losses = {"train_loss": 0.7 * falling + 0.06, "val_loss": 0.62 * falling + 0.2 + noise}
    return {"epoch": epoch, **losses, "val_auroc": 0.93 - 0.35 * np.exp(-epoch / 5) + noise}


def _tables(classes: tuple[str, ...]) -> dict[str, Any]:
    n = len(classes)
    counts = [[52 if i == j else max(9 - 4 * abs(i - j), 1) for j in range(n)] for i in range(n)]
    cell = {"value": 0.82, "low": 0.74, "high": 0.88, "n": 75}
    rows = [{"class": c, "precision": cell, "recall": cell, "f1": cell, "n": 75} for c in classes]
    parts = {part: {c: 400 - 70 * k for k, c in enumerate(classes)} for part in ("development", "test")}
    confusion = {"classes": classes, "counts": counts}
    return TABLES | {"confusion": confusion, "classification_report": rows, "classes": parts}


def binary(*, phantom: bool = True, classes: tuple[str, str] = ("benign", "malignant")) -> Evidence:
    """What a run of a binary task leaves."""
    groups = [Finding(name, "site=C", n=9, n_patients=9, note=TOO_SMALL) for name in ("auroc", "sensitivity")]
    for name, shift in (("auroc", 0.0), ("sensitivity", 0.07)):
        for k, group in enumerate(("site=A", "site=B", "sex=F", "sex=M")):
            at = 0.93 - 0.02 * k - shift
            groups.append(Finding(name, group, "", at, at - 0.06, at + 0.05, 140 - k, 120 - k, DELONG))
    untested = ("Images of another manufacturer than those in the data.", "Patients under 40 years.")
    context = CONTEXT | {"kind": "binary", "positive": classes[1], "classes": list(classes)}
    title = f"{classes[1].capitalize()} or {classes[0]} on mammography"
    rest = (_curves((classes[1],)), _tables(classes), context, phantom)
    return Evidence(title, AUDIT, (*_metrics(),), (*groups,), CHANGES, untested, *rest)


def multiclass() -> Evidence:
    """Four classes; one of them too rare for a number."""
    classes = ("no finding", "mild", "moderate", "severe")
    metrics = [_metrics()[0], Finding("qwk", "", "", 0.71, 0.63, 0.78, 240, 219, BOOT), *_metrics()[7:9]]
    for k, name in enumerate(classes):
        metrics += _metrics(name, shift=0.03 * k)[:4]
    rare = Finding("sensitivity", label="moderate", n=9, n_patients=9, note=TOO_SMALL)
    metrics = [rare if (f.name, f.label) == ("sensitivity", "moderate") else f for f in metrics]
    values = ("", 0.9, 0.85, 0.95, 90, 80, DELONG)
    groups = tuple(Finding("auroc", g, *values) for g in ("site=A", "site=B", "site=A & sex=F"))
    context = CONTEXT | {"kind": "multiclass", "classes": list(classes), "evaluated_on": "cross-validation"}
    rest = ((), ("Other cameras.",), _curves(classes), _tables(classes), context)
    return Evidence("Grades of retinopathy", AUDIT[:3], (*metrics,), groups, *rest)


def multilabel() -> Evidence:
    """Several findings a case, no operating point and no confusion matrix."""
    classes = ("effusion", "pneumothorax", "nodule")
    tables = {k: v for k, v in _tables(classes).items() if k not in ("confusion", "operating_point")}
    metrics = tuple(f for k, name in enumerate(classes) for f in _metrics(name, shift=0.04 * k)[:4])
    context = CONTEXT | {"kind": "multilabel", "classes": list(classes), "evaluated_on": "external"}
    rest = ((), (), (), _curves(classes), tables, context)
    return Evidence("Findings on chest radiographs", AUDIT[:1], metrics, *rest)


def pictures(count: int, *, size: int = 224, noise: float = 6.0) -> tuple[Picture, ...]:
    """Smooth grey images with noise, and two coloured maps over each."""
    rng = np.random.default_rng(0)
    j, i = np.mgrid[:size, :size] / size
    made = []
    for k in range(count):
        disc = 60 + 130 * np.exp(-((i - 0.4 - 0.01 * k) ** 2 + (j - 0.5) ** 2) / 0.05)
        grey = np.clip(disc + rng.normal(0, noise, (size, size)), 0, 255).astype(np.uint8)
        image = np.repeat(grey[..., None], 3, axis=2)
        heat = np.exp(-((i - 0.45) ** 2 + (j - 0.55 + 0.01 * k) ** 2) / 0.02)[..., None]
        warm, cold = (image * (1 - 0.5 * heat) + 120 * heat * tint for tint in ([1, 0.4, 0.1], [0.1, 0.5, 1]))
        pair = (("Grad-CAM", warm), ("occlusion", cold))
        maps = [(title, np.clip(x, 0, 255).astype(np.uint8)) for title, x in pair]
        outcome = "wrong" if k % 3 == 0 else "right"
        caption = f"Score {0.31 + 0.02 * k:.2f}; the truth is malignant."
        made.append(Picture(f"case {k + 1}", outcome, caption, (("image", image), *maps)))
    return tuple(made)


def _found(name: str, value: float, reach: float, **more: Any) -> Finding:
    given = {"n": 240, "n_patients": 219, "method": BOOT, **more}
    return Finding(name, value=value, low=value - reach, high=value + reach, **given)


def _rich_curves() -> dict[str, Any]:
    p, cuts = np.linspace(0.02, 0.98, 40), np.linspace(0.01, 0.8, 40)
    seen = np.clip(p**1.2, 0, 1)
    model = 0.31 * (1 - cuts) - 0.1 * cuts / (1 - cuts) * (1 - cuts) ** 2
    everybody = 0.31 - 0.69 * cuts / (1 - cuts)
    answered = np.linspace(0.2, 1, 30)
    levels = np.array([0, 0.5, 1, 1.5, 2])
    wear = {
        name: {
            "level": levels,
            "value": 0.91 - slope * levels,
            "low": 0.86 - slope * levels,
            "high": 0.95 - slope * levels,
            "metric": "auroc",
            "unit": unit,
            "n": 240,
            "reference": 0.913,
        }
        for name, slope, unit in (
            ("gaussian_noise", 0.05, "sigma, share of the spread"),
            ("blur", 0.08, "sigma in pixels"),
            ("contrast", 0.01, "factor"),
        )
    }
    ppv, npv = 0.84 * p / (0.84 * p + 0.09 * (1 - p)), 0.91 * (1 - p) / (0.91 * (1 - p) + 0.16 * p)
    return {
        "calibration_band": {"malignant": {"predicted": p, "observed": seen, **_span(seen, 0.07)}},
        "net_benefit": {
            "malignant": {
                "threshold": cuts,
                "model": model,
                "all": everybody,
                "low": model - 0.03,
                "high": model + 0.03,
            }
        },
        "risk_coverage": {
            "malignant": {
                "coverage": answered,
                "risk": 0.12 * answered**2,
                "low": 0.1 * answered**2,
                "high": 0.15 * answered**2,
            }
        },
        "robustness": wear,
        "predictive_values": {"malignant": {"prevalence": p, "ppv": ppv, "npv": npv}},
    }


def _rich_tables() -> dict[str, Any]:
    share = {"value": 0.84, "low": 0.742, "high": 0.905, "n": 75}
    sites = [
        ("A", 0.93, 0.88, 0.97),
        ("B", 0.87, 0.8, 0.93),
        ("C", 0.9, 0.82, 0.96),
        ("pooled", 0.905, 0.87, 0.935),
    ]
    return {
        "operating_points": [
            {
                "rule": rule,
                "threshold": cut,
                "sensitivity": share,
                "specificity": {**share, "value": 0.91, "high": 0.945},
            }
            for rule, cut in (("youden", 0.42), ("sensitivity at least 0.95", 0.18), ("cost 10 to 1", 0.21))
        ],
        "subgroup_tests": [
            {"column": "site", "metric": "auroc", "label": "", "p": 0.012, "p_adjusted": 0.018, "i2": 0.61},
            {"column": "sex", "metric": "auroc", "label": "", "p": 0.4, "p_adjusted": 1.0, "i2": 0.0},
        ],
        "subgroup_differences": [
            {
                "group": "site=B",
                "metric": "auroc",
                "label": "",
                "value": -0.06,
                "low": -0.11,
                "high": -0.02,
                "p": 0.004,
                "p_adjusted": 0.013,
            }
        ],
        "per_site": [
            {
                "site": s,
                "metric": "auroc",
                "value": v,
                "low": low,
                "high": high,
                "n": 80,
                "n_patients": 70,
                **({"prediction_low": 0.82, "prediction_high": 0.97} if s == "pooled" else {}),
            }
            for s, v, low, high in sites
        ],
        "coverage": [
            {
                "group": g,
                "coverage": {**share, "value": 0.9, "high": 0.94},
                "set_size": 1.12,
                "referred": 0.08,
            }
            for g in ("everyone", "sex=F", "sex=M", "site=A")
        ],
        "worst": [
            {
                "slice": "site=B & view=MLO",
                "errors": {"value": 0.31, "low": 0.2, "high": 0.44, "n": 52},
                "p_adjusted": 0.02,
            }
        ],
        "label_errors": [
            {"case": f"c{k:04d}", "given": "benign", "likely": "malignant", "score": 0.99 - 0.01 * k}
            for k in range(24)
        ],
        "missing": [
            {"column": "sex", "group": "site=A", "missing": 3, "n": 140},
            {"column": "age band", "group": "site=B", "missing": 41, "n": 100},
        ],
        "representation": [
            {"column": "sex", "group": "F", "share": 0.53, "target": 0.51, "divergence": 0.002}
        ],
        "dictionary": [
            {
                "column": "site",
                "means": "where the image was made",
                "from": "DICOM (0008,0080)",
                "values": ["A", "B"],
            }
        ],
        "training_events": [
            "member 2, epoch 7: loss was not finite; went back to epoch 6 with half the learning rate"
        ],
        "own_table_of_somebody": {"alpha": 1, "beta": 2.5},
    }


def rich() -> Evidence:
    """A binary run with every chapter that a report can have."""
    bare = binary()
    audit = (
        Finding(
            "burnt_in_text", value=2.0, n=1240, level="warning", note="2 images bear text in their pixels"
        ),
        Finding("missing_sex", value=12.0, n=1240, note="1,228 of 1,240 images name sex"),
        Finding(
            "power_for_auroc",
            value=0.87,
            n=240,
            note="a true AUROC of 0.80 is told from 0.90 in 87 % of studies of this size",
        ),
        Finding("plan_mirrors", n=1000, level="warning", note="the plan mirrors chests left to right"),
        Finding("int8_accuracy_loss", value=0.004, low=-0.002, high=0.011, n=240, note="int8 form kept"),
    )
    metrics = (
        _found("calibration_slope", 1.21, 0.25),
        _found("calibration_intercept", -0.18, 0.2),
        _found("conformal_coverage", 0.902, 0.03),
        _found("abstention_rate", 0.08, 0.02),
        _found("out_of_distribution_auroc", 0.97, 0.02),
        _found(
            "explanation_randomisation",
            0.12,
            0.05,
            label="gradcam",
            note="correlation with a randomised network",
        ),
        _found(
            "explanation_localisation",
            0.61,
            0.08,
            label="gradcam",
            note="share of maps whose peak lies in the lesion",
        ),
    )
    gaps = (
        _found("under_diagnosis_gap", 0.06, 0.04, group="sex"),
        _found("over_diagnosis_gap", 0.02, 0.03, group="sex"),
    )
    both = Finding("auroc", "site=A & sex=F", "", 0.9, 0.83, 0.95, 70, 61, DELONG)
    return replace(
        bare,
        audit=(*bare.audit, *audit),
        metrics=(
            *bare.metrics,
            Finding("recall", value=0.84, low=0.74, high=0.91, n=240, method=WILSON),
            *metrics,
        ),
        subgroups=(*bare.subgroups, both, *gaps),
        curves={**bare.curves, **_rich_curves()},
        tables={**bare.tables, **_rich_tables()},
    )


FULL = {"binary": binary, "multiclass": multiclass, "multilabel": multilabel, "rich": rich}
EXAMPLES = {
    **FULL,
    "minimal": lambda: Evidence("Bare"),
    "segmentation": lambda: evaluate_segmented(outlined(40, drop=0.08, images=2, absent=0.2), setting()),
    "detection": lambda: evaluate_detected(detected(40, classes=("nodule", "mass"), boxes=True), setting()),
}
