"""What in a plan does not fit the images or itself, each in one sentence that says what to change.

Where a matter is one of judgement (a mirrored chest, a wide rotation), a key that the user set is only an
"info": it was told. A contradiction stays a "warning" whoever wrote it. What is not known of the images
(the modality of a PNG) is said to be unknown, and nothing is made of it but what the classes' names say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hounsfield.core.cohort import Cohort
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Series
from hounsfield.core.plan import Plan

__all__ = ["warnings_of"]

_RADIOGRAPHS = ("CR", "DX", "RG", "RF")
_SECTIONS = ("CT", "MR", "PT", "NM")
_UPRIGHT = (*_RADIOGRAPHS, *_SECTIONS, "MG", "US", "XA")
_UNKNOWN = ("", "OT")
_CHEST = ("CHEST", "THORA", "LUNG", "RIB", "HEART", "CARDIAC", "PNEUMO", "CXR", "COVID")
_TRUNK = (*_CHEST, "ABDOMEN", "LIVER", "SPLEEN", "TRUNK", "BODY")
_WITHOUT_BATCH_NORM = ("article-", "vgg", "convnext", "vit", "deit", "beit", "swin", "eva", "cait", "mixer")
_WIDEST_TURN_DEG = 45


@dataclass(frozen=True, slots=True)
class _Images:
    """The images of a cohort by what is known of them, and whether a class's name speaks of the chest."""

    series: tuple[Series, ...]
    of_chest: bool

    def of(self, modalities: Sequence[str]) -> tuple[Series, ...]:
        return tuple(s for s in self.series if s.modality.upper() in modalities)

    def other_than(self, modality: str) -> tuple[Series, ...]:
        """Images of another modality; one that is unknown is no other."""
        return tuple(s for s in self.series if s.modality.upper() not in (modality, *_UNKNOWN))

    @property
    def unknown(self) -> tuple[Series, ...]:
        return self.of(_UNKNOWN)


def warnings_of(plan: Plan, cohort: Cohort) -> tuple[Finding, ...]:
    """Findings of level "warning" or "info" about this plan on these images; none where it fits.

    >>> from hounsfield.core.case import Case, LabelEncoding
    >>> film = Series("a", ("a",), "dicom", (1, 64, 64), modality="DX", body_part="CHEST")
    >>> cohort = Cohort((Case("a", "p", (film,)),), LabelEncoding("binary", ("0", "1")), {"a": "test"}, {})
    >>> [f.name for f in warnings_of(Plan().changed({"augment.flip_left_right": True}), cohort)]
    ['plan_mirrors']
    """
    names = " ".join(cohort.encoding.classes) + " " + " ".join(cohort.encoding.target)
    images = _Images(tuple(c.images[0] for c in cohort.cases), _speaks_of(names, _CHEST))
    checks = (_upside_down, _mirrored, _slices, _turned, _wrapped, _values, _spacing, _artefacts)
    return (
        *(finding for check in checks for finding in check(plan, images)),
        *_contradictions(plan, len(images.series)),
    )


def _upside_down(plan: Plan, images: _Images) -> Iterator[Finding]:
    if not plan.augment.flip_up_down:
        return
    level, change = _level(plan, "augment.flip_up_down"), "set augment.flip_up_down=false"
    if found := images.of(_UPRIGHT):
        note = f"the plan turns {_counted(found)} upside down, as no patient is imaged; {change}"
        yield Finding("plan_turns_upside_down", n=len(found), level=level, note=note)
    elif found := images.unknown:
        note = f"the plan turns {len(found)} images upside down, {_if_chest(images)}, {change}"
        level = level if images.of_chest else "info"
        yield Finding("plan_turns_upside_down", n=len(found), level=level, note=note)


def _mirrored(plan: Plan, images: _Images) -> Iterator[Finding]:
    """Left for right: in training, and when scores are averaged over mirrored images."""
    keys = {
        "augment.flip_left_right": (plan.augment.flip_left_right, "augment.flip_left_right=false"),
        "validation.test_time": (plan.validation.test_time == "flip", "validation.test_time=none"),
    }
    used = [key for key, (is_on, _) in keys.items() if is_on]
    if not used:
        return
    change = "set " + " and ".join(keys[key][1] for key in used)
    level = _level(plan, *used)
    films = images.of(_RADIOGRAPHS)
    chests = tuple(s for s in films if not s.body_part or _speaks_of(s.body_part, _TRUNK))
    sections = tuple(s for s in images.of(_SECTIONS) if _speaks_of(s.body_part, _TRUNK))
    if chests:
        named = sum(bool(s.body_part) for s in chests)
        which = (
            "of the trunk" if named == len(chests) else f"({named} of them say that they are of the trunk)"
        )
        note = (
            f"the plan mirrors {_counted(chests)} {which}: a chest gets its heart on the right, and side "
            f"markers read backwards; {change}"
        )
        yield Finding("plan_mirrors", n=len(chests), level=level, note=note)
    elif films:
        note = (
            f"the plan mirrors {_counted(films)}, whose side markers then read backwards; where sides "
            f"matter, {change}"
        )
        yield Finding("plan_mirrors", n=len(films), note=note)
    elif sections:
        note = (
            f"the plan mirrors {_counted(sections)} of the trunk, whose organs are not alike on both sides; "
            f"where sides matter, {change}"
        )
        yield Finding("plan_mirrors", n=len(sections), note=note)
    elif found := images.unknown:
        note = f"the plan mirrors {len(found)} images, {_if_chest(images)}, {change}"
        yield Finding("plan_mirrors", n=len(found), level=level if images.of_chest else "info", note=note)


def _slices(plan: Plan, images: _Images) -> Iterator[Finding]:
    found = tuple(s for s in images.of((*_SECTIONS, *_UNKNOWN)) if not s.is_flat)
    if plan.augment.flip_slices and found:
        note = (
            f"the plan turns {len(found)} volumes head to feet, which also mirrors the body; "
            "set augment.flip_slices=false"
        )
        level = _level(plan, "augment.flip_slices") if images.of(_SECTIONS) else "info"
        yield Finding("plan_turns_head_to_feet", n=len(found), level=level, note=note)


def _turned(plan: Plan, images: _Images) -> Iterator[Finding]:
    found = images.of((*_RADIOGRAPHS, "MG"))
    if plan.augment.rotation_deg > _WIDEST_TURN_DEG and found:
        note = (
            f"the plan turns {_counted(found)} by up to {plan.augment.rotation_deg:g} degrees, as no patient "
            "stands or lies; set augment.rotation_deg to 20 or less"
        )
        yield Finding("plan_turns_far", n=len(found), level=_level(plan, "augment.rotation_deg"), note=note)


def _wrapped(plan: Plan, images: _Images) -> Iterator[Finding]:
    if plan.augment.fill == "wrap" and plan.augment.is_spatial:
        note = (
            "augment.fill=wrap lets what leaves an image on one side come in on the other, where no anatomy "
            "belongs; set augment.fill to reflect or nearest"
        )
        n = len(images.series)
        yield Finding("plan_wraps_anatomy", n=n, level=_level(plan, "augment.fill"), note=note)


def _values(plan: Plan, images: _Images) -> Iterator[Finding]:
    if plan.input.normalise == "window" and (found := images.other_than("CT")):
        note = (
            f"input.normalise=window takes one window for all, but {_counted(found)} measure in no common "
            "unit; set input.normalise to zscore or percentile"
        )
        yield Finding("plan_windows_without_units", n=len(found), level="warning", note=note)
    if plan.input.normalise == "histogram" and (found := images.of(("CT",))):
        note = (
            f"input.normalise=histogram takes the Hounsfield units, which mean the same everywhere, from "
            f"{_counted(found)}; set input.normalise=window"
        )
        yield Finding("plan_discards_units", n=len(found), level="warning", note=note)


def _spacing(plan: Plan, images: _Images) -> Iterator[Finding]:
    unknown = sum(len(s.spacing_mm) != 3 for s in images.series)
    if plan.input.spacing_mm and unknown:
        note = (
            f"input.spacing_mm is asked for, but {unknown} of {len(images.series)} images do not say their "
            "spacing; leave it empty, or bring images with a spacing"
        )
        yield Finding("plan_needs_spacing", n=unknown, level="warning", note=note)


def _artefacts(plan: Plan, images: _Images) -> Iterator[Finding]:
    keys = [f"augment.{name}" for name in ("bias_field", "motion", "ghosting") if getattr(plan.augment, name)]
    if keys and (found := images.other_than("MR")):
        note = (
            f"{' and '.join(keys)} imitate{'s' * (len(keys) == 1)} how MR images are made, but "
            f"{_counted(found)} are none; set {' and '.join(f'{key}=0' for key in keys)}"
        )
        yield Finding("plan_imitates_mr", n=len(found), level=_level(plan, *keys), note=note)


def _contradictions(plan: Plan, n: int) -> Iterator[Finding]:
    """Parts of a plan that do not go together, whatever the images."""
    for name, note in (*_of_training(plan), *_of_start(plan)):
        yield Finding(name, n=n, level="warning", note=note)


def _of_training(plan: Plan) -> Iterator[tuple[str, str]]:
    fit = plan.fit
    if plan.augment.mixup and fit.loss == "ordinal":
        note = "augment.mixup blends two grades into a share of each, which for fit.loss=ordinal is no grade "
        yield "plan_mixes_grades", note + "between them; set augment.mixup=0"
    name = plan.network.name.removeprefix("timm:")
    batch_norm = not name.startswith(_WITHOUT_BATCH_NORM) or "_bn" in name
    if batch_norm and 1 in (fit.batch_size, fit.micro_batch):
        key = "fit.batch_size" if fit.batch_size == 1 else "fit.micro_batch"
        note = f"{key}=1 has batch normalisation take its mean and spread from single images; set {key} to 8 "
        note += "or more, or take a network without batch normalisation"
        yield "plan_normalises_single_images", note
    if plan.export.int8 and not plan.export.onnx:
        note = (
            "export.int8 is asked for, but export.onnx, from which it is made, is off; set export.onnx=true"
        )
        yield "plan_quantises_nothing", note


def _of_start(plan: Plan) -> Iterator[tuple[str, str]]:
    network = plan.network
    if network.weights or plan.pretrain.epochs:
        return
    if plan.fit.unfreeze:
        note = (
            "fit.unfreeze thaws a network by and by, but nothing in it is pretrained; set network.weights, "
        )
        yield "plan_unfreezes_random_weights", note + "or leave fit.unfreeze empty"
    if network.trainable_layers >= 0:
        note = (
            f"network.trainable_layers={network.trainable_layers} freezes layers that hold random numbers; "
        )
        yield "plan_freezes_random_weights", note + "set network.weights, or network.trainable_layers=-1"


def _level(plan: Plan, *keys: str) -> str:
    """Softer where the user set every one of the keys."""
    return "info" if all(plan.reasons.get(key) == "set by the user" for key in keys) else "warning"


def _speaks_of(text: str, words: Sequence[str]) -> bool:
    return any(word in text.upper() for word in words)


def _counted(series: Sequence[Series]) -> str:
    """How many images, and of which modalities; a text that is none of them may name somebody."""
    kinds = Counter(
        s.modality.upper() if re.fullmatch("[A-Za-z]{2,7}", s.modality) else "other" for s in series
    ).most_common()
    held = ", ".join(f"{kind} {n}" for kind, n in kinds) if len(kinds) > 1 else kinds[0][0]
    return f"{len(series)} image{'s' * (len(series) != 1)} ({held})"


def _if_chest(images: _Images) -> str:
    if images.of_chest:
        return "whose modality is not known, but whose classes speak of the chest: if they are radiographs"
    return "whose modality is not known: if they are chest radiographs"
