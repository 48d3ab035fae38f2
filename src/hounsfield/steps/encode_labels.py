"""From what the label cells say to classes in a sensible order: health first, disease positive."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.redact import listed, looks_like_ids
from hounsfield.core.registry import nearest

__all__ = ["encoding_of", "known_labels", "label_texts", "one_spelling", "ordered_classes", "restrict"]

MOST_CLASSES = 60
MISSING = ("", "nan", "na", "n/a")
YES = ("1", "1.0", "yes", "true", "y", "positive", "present", "x")
NO = ("0", "0.0", "no", "false", "n", "negative", "absent")

HEALTHY = ("normal", "healthy", "control", "controls", "negative", "unremarkable", "unaffected")
HEALTHY_WHOLE = ("neg", "none", "false", "absent", "cn", "hc", "n")
NEGATIONS = ("no", "not", "without", "neg", "absence")
PREFIXES = ("non", "not", "no", "neg", "un")


def one_spelling(name: str) -> str:
    """A class's name by which spellings of other case, "_" and blanks count as alike.

    >>> one_spelling(" No_Finding "), one_spelling("no finding")
    ('no finding', 'no finding')
    """
    return " ".join(name.casefold().replace("_", " ").split())


def label_texts(
    rows: Mapping[str, Mapping[str, str]], target: Sequence[str], table: str, notes: list[str]
) -> dict[str, str]:
    """The label of each image as written, several joined by "|"; images without an answer are left out.

    Several `target` columns are one finding each; a row with a blank among them answers nothing. Raises
    BadInput where such a column holds more than yes and no.
    """
    if len(target) == 1:
        texts = {k: row.get(target[0], "").replace(";", "|") for k, row in rows.items()}
        return {k: text for k, text in texts.items() if text.casefold() not in MISSING}
    blank = {k for k, row in rows.items() if any(row.get(c, "").casefold() in MISSING for c in target)}
    for c in target:
        if any(row.get(c, "").casefold() not in (*YES, *NO, *MISSING) for row in rows.values()):
            raise BadInput(
                f'column "{c}" of {table} holds more than yes and no; several --target columns are read '
                "as one finding each; expected 1 and 0, or name one column"
            )
    if blank:
        notes.append(f"{len(blank)} image(s) with a blank in a target column were left out")
    return {
        k: "|".join(c for c in target if row[c].casefold() in YES) or "none"
        for k, row in rows.items()
        if k not in blank
    }


def restrict(
    texts: Mapping[str, str],
    *,
    classes: Sequence[str],
    positive: str,
    encoding: LabelEncoding | None,
    notes: list[str],
) -> dict[str, str]:
    """Keep the classes asked for, and set one class against the rest.

    Raises BadInput for a class that no case has, unless the model's `encoding` knows it: other data may
    lack a class.
    """
    texts = {k: text for k, text in texts.items() if text}
    known = sorted({part for text in texts.values() for part in (text, *text.split("|")) if part})
    ids = looks_like_ids(len(known), len(texts))
    for name in (*classes, *((positive,) if positive else ())):
        if name in known:
            continue
        alike = [k for k in known if _plain(k) == _plain(name)]
        if encoding and name in encoding.classes and not alike:
            notes.append(f'no case has the label "{name}" of the model')
            continue
        hint = f"the labels are like {listed(known, ids=True, most=3)}" if ids else nearest(name, known)
        raise BadInput(f'no case has the label "{name}"; {hint}')
    if classes:
        before = len(texts)
        texts = {k: text for k, text in texts.items() if text in classes}
        notes.append(f"{before - len(texts)} image(s) of classes that were not asked for were left out")
        if not texts:
            raise BadInput("no case has one of the classes asked for; name other --classes")
    if positive:
        rest = f"not {positive}"
        texts = {k: positive if positive in (v, *v.split("|")) else rest for k, v in texts.items()}
        notes.append(f'binary question: "{positive}" against all other labels')
    return texts


def known_labels(texts: Mapping[str, str], encoding: LabelEncoding) -> dict[str, str]:
    """The labels in the spelling of a model's classes; BadInput where a label is none of them."""
    if encoding.kind == "multilabel":
        spelled = {c.casefold(): c for c in encoding.classes}
        parts = {k: [p for p in v.split("|") if p] if v != "none" else [] for k, v in texts.items()}
        texts = {k: "|".join(spelled.get(p.casefold(), p) for p in v) for k, v in parts.items()}
        found = {p for v in texts.values() for p in v.split("|") if p}
    else:
        texts = dict(texts)
        found = set(texts.values())
    unknown = sorted(found - set(encoding.classes))
    if unknown:
        ids = looks_like_ids(len(found), len(texts))
        raise BadInput(
            f"label {listed(unknown[:1], ids=ids)} is not among the classes "
            f"{listed(encoding.classes, ids=False)}; correct the label or leave the row out"
        )
    return texts


def encoding_of(
    texts: Mapping[str, str], target: Sequence[str], *, classes: Sequence[str], positive: str
) -> LabelEncoding:
    """The classes that the labels name: binary, multiclass, or multi-label where cells hold several.

    Raises BadInput for fewer than two classes, more than 60, and a column of ids.
    """
    names = tuple(target) or ("label",)
    values = {v for v in texts.values() if v}
    if len(target) > 1 or any("|" in v for v in values):
        parts = tuple(target) if len(target) > 1 else tuple(sorted({p for v in values for p in v.split("|")}))
        return LabelEncoding("multilabel", tuple(p for p in parts if p not in ("", "none")), names)
    ordered = ordered_classes(values)
    if positive:
        ordered = [v for v in ordered if v != positive] + [positive]
    elif classes:
        ordered = [c for c in classes if c in values]
    if len(ordered) < 2:
        raise BadInput(
            f"all cases have one class only ({ordered}); expected at least two; check the target column"
        )
    if len(ordered) > MOST_CLASSES or looks_like_ids(len(ordered), len(texts)):
        raise BadInput(
            f"the target has {len(ordered)} different values for {len(texts)} images, like "
            f"{listed(ordered, ids=True, most=3)} (A a letter, 9 a digit); expected classes (at most "
            f"{MOST_CLASSES}); choose a column of categories, or band the numbers first"
        )
    return LabelEncoding("binary" if len(ordered) == 2 else "multiclass", tuple(ordered), names)


def ordered_classes(values: set[str]) -> list[str]:
    """Numbers by size; names by alphabet, but what is normal first and what is benign next.

    >>> ordered_classes({"covid", "non-covid"}), ordered_classes({"benign", "normal"})
    (['non-covid', 'covid'], ['normal', 'benign'])
    """
    try:
        return sorted(values, key=float)
    except ValueError:
        return sorted(values, key=lambda v: (_severity(v, values), v.casefold()))


def _severity(name: str, values: set[str]) -> int:
    """0 for a name of health, 1 for a benign finding, 2 for all else.

    "no tumour" is health by its first word. "non" and "un" say so only where they deny another class:
    "non-covid" beside "covid", but not "non-Hodgkin" beside "normal".
    """
    words = _words(name)
    denied = [w for k, w in enumerate(words) if k and words[k - 1] in (*NEGATIONS, "non")]
    if any(w in (*HEALTHY, "benign") for w in denied):  # "not normal", "non-benign"
        return 2
    others = {_plain(v) for v in values if v != name}
    if _plain(name) in HEALTHY_WHOLE or any(w in (*HEALTHY, *NEGATIONS) for w in words):
        return 0
    if len(words) > 1 and words[-1] == "free":
        return 0
    if "non" in words and _denies("".join(w for w in words if w != "non"), others):
        return 0
    plain = _plain(name)
    stems = [plain.removeprefix(p) for p in PREFIXES if plain.startswith(p)]
    stems = [s for s in stems if s not in (*HEALTHY, "benign")]  # "unhealthy" denies health
    if any(s in others or (len(s) > 3 and any(o.startswith(s) for o in others)) for s in stems):
        return 0
    return 1 if "benign" in words else 2


def _denies(rest: str, others: set[str]) -> bool:
    return len(rest) > 1 and any(rest in other or other in rest for other in others if other)


def _words(name: str) -> list[str]:
    """Words in small letters: "CT_NonCOVID" is ct, non, covid."""
    found = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", name)
    return [w.casefold() for w in found]


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
