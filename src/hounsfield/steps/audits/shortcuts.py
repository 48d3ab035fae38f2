"""Properties of files and images that give the answer away: size, depth, border, markers, sharpness, what is
at the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.steps.audits.chance import Ranked, ranks_differ
from hounsfield.steps.audits.contract import CHECKS, Claim, Material
from hounsfield.steps.audits.letters import Letters
from hounsfield.steps.same_picture.looks import CELLS, SIDE

__all__ = ["burnt_in", "margins", "properties"]

LEAST = 20
LIMITS = {"file": 0.65, "frame": 0.65, "look": 0.85}
"""Area under the ROC curve from which a property is a warning: disease changes how an image looks, not its
file.
"""
MARGIN_LIMIT = 0.85
WORTH_TELLING = 0.6


@CHECKS.register("properties of files and images")
def properties(material: Material) -> list[Claim]:
    """Every measure against the answer."""
    if material.measures is None:
        return []
    claims = []
    for measure in material.measures.numbers:
        for question, classes in material.questions:
            found = ranks_differ(measure.values, material.patients, classes)
            if found.n < LEAST or found.p == 1.0:
                continue
            named = material.class_name(question, found.best)
            doubt = {
                "file": "it says nothing of the patient, and a model may learn it instead of disease",
                "frame": "it is none of the anatomy, and a model may learn it instead of disease",
                "look": "it may be the disease itself or the device; see whether it holds within one site "
                "and scanner",
            }[measure.kind]
            note = (
                f"{measure.words} alone tells {named} from the rest with an AUROC of {found.auroc:.2f} "
                f"({'higher' if found.higher else 'lower'} there, n = {found.n}); "
                f"{doubt}{'' if measure.kind == 'look' else ': make it alike, or leave it out'}"
            )
            claims.append(
                _claim(
                    f"{measure.name}_label_association",
                    question,
                    found,
                    LIMITS[measure.kind],
                    note,
                    "shortcut",
                )
            )
    return claims


@CHECKS.register("margins of the image")
def margins(material: Material) -> list[Claim]:
    """Whether a place at the edge of the image, where no organ is, tells the answer: the most telling one."""
    planes = material.planes
    if planes is None:
        return []
    looked = _cells(planes)
    edge = [(j, i) for j, i in np.ndindex(CELLS, CELLS) if not (0 < j < CELLS - 1 and 0 < i < CELLS - 1)]
    claims = []
    for question, classes in material.questions:
        ranked = [
            (ranks_differ(values[:, j, i], material.patients, classes), kind, _place(j, i))
            for kind, values in looked.items()
            for j, i in edge
        ]
        found, kind, place = max(ranked, key=lambda r: r[0].auroc)
        if found.n < LEAST:
            continue
        named = material.class_name(question, found.best)
        note = (
            f"the {kind} of the image's margin {place} tells {named} from the rest with an AUROC of "
            f"{found.auroc:.2f}, the most of {len(ranked)}; a marker, a tag or the collimation may "
            "be there: look at images of both classes, and crop or mask it"
        )
        most = replace(found, p=min(1.0, found.p * len(ranked)))
        claims.append(_claim("margin_label_association", question, most, MARGIN_LIMIT, note, "place", place))
    return claims


def _cells(planes: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """The brightest point and the mean of each cell (N, CELLS, CELLS), as a rank among the image's
    values.

    A rank, since a bright lesion makes all the rest darker where values are brought to one range.
    """
    step, n = SIDE // CELLS, len(planes)
    blocks = planes.reshape(n, CELLS, step, CELLS, step)
    looked = {"brightest point": blocks.max((2, 4)), "mean": blocks.mean((2, 4))}
    found = {name: np.empty((n, CELLS, CELLS)) for name in looked}
    for row, plane in enumerate(planes):
        ordered = np.sort(plane, axis=None)
        for name, values in looked.items():
            below, upto = (np.searchsorted(ordered, values[row], side) for side in ("left", "right"))
            found[name][row] = (below + upto) / (2 * ordered.size)
    return found


@CHECKS.register("burnt-in text and markers")
def burnt_in(material: Material) -> list[Claim]:
    """How many images of each class bear letters or markers, where, and whether there are lines of text."""
    if material.measures is None:
        return []
    letters = material.measures.letters
    bearing = np.array([bool(x.found) for x in letters])
    texts = sum(x.in_lines > 0 for x in letters)
    n = len(letters)
    if not bearing.any():
        note = "no image bears anything like a burnt-in letter or marker"
        return [Claim(Finding("burnt_in_marks", value=0.0, n=n, note=note))]
    told = []
    for question, classes in material.questions:
        for number in sorted(set(classes[classes >= 0].tolist())):
            of_class = classes == number
            told.append(f"{bearing[of_class].mean():.0%} of {material.class_name(question, number)}")
    note = (
        f"{int(bearing.sum())} of {n} images bear something like a burnt-in letter or marker "
        f"({', '.join(told[:8])}), most often {_usual_place(material, letters)}"
    )
    claims = [Claim(Finding("burnt_in_marks", value=float(bearing.mean()), n=n, note=note))]
    if texts:
        note = (
            f"{texts} of {n} images seem to bear lines of text, which may name the patient and may tell the "
            "class; look at them, and cover what is written before images are shared or learned from"
        )
        claims.append(Claim(Finding("burnt_in_text", value=float(texts), n=n, level="warning", note=note)))
    return claims


def _usual_place(material: Material, letters: Sequence[Letters]) -> str:
    cells = np.zeros((CELLS, CELLS), np.int64)
    for case, held in zip(material.cases, letters, strict=True):
        j, i = case.images[0].shape[1:]
        height, width = j / max(j, i), i / max(j, i)
        for x in held.found:
            row = int((x.top + x.height / 2) / height * CELLS)
            column = int((x.left + x.width / 2) / width * CELLS)
            cells[min(row, CELLS - 1), min(column, CELLS - 1)] += 1
    return _place(*divmod(int(cells.argmax()), CELLS))


def _place(j: int, i: int) -> str:
    """A cell of the 8×8 grid in words.

    >>> _place(0, 7), _place(4, 0)
    ('at the top right', 'in the middle left')
    """
    third = CELLS / 3
    rows, columns = ("top", "middle", "bottom"), ("left", "centre", "right")
    row, column = rows[int(j / third)], columns[int(i / third)]
    return f"{'in' if row == 'middle' else 'at'} the {row} {column}"


def _claim(
    name: str, question: str, found: Ranked, limit: float, note: str, family: str, group: str = ""
) -> Claim:
    level = "warning" if found.auroc >= limit else "info"
    finding = Finding(
        name, group=group, label=question, value=found.auroc, n=found.n, n_patients=found.n,
        method="AUROC, Kruskal-Wallis by patient", level=level, note=note,
    )  # fmt: skip
    worth_telling = found.auroc >= WORTH_TELLING  # else it is tested, but nobody is to be bothered with it
    return Claim(finding, found.p if worth_telling else 1.0, family)
